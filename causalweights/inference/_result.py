"""The result every average-effect estimator stores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm

from causalweights._typing import FloatArray
from causalweights.inference._great_table import great_table
from causalweights.inference._sensitivity import (
    Sensitivity,
    e_value,
    robustness_value,
)
from causalweights.inference._subsamples import QUANTILE

if TYPE_CHECKING:
    import pandas as pd
    from statsmodels.iolib.summary import Summary


@dataclass(frozen=True, eq=False)
class EffectResult:
    """Estimated effects with their covariance.

    Attributes
    ----------
    effect, se : float, or ndarray of shape (K-1,)
        Contrasts with the control arm; floats for two arms.
    cov : ndarray of shape (K-1, K-1)
    names : list of str
        One label a contrast.
    contrast : {"difference", "ratio", "odds_ratio"}
    estimand : str
    n_samples : int
    details : dict
        What the summary's head shows beside: weights, outcome model, sizes.
    title : str
    sensitivity : Sensitivity or None
        What `summary(sensitivity=True)` needs.
    draws : ndarray of shape (B, K-1) or None
        What stands for estimate minus truth, of logarithms for ratios: rescaled
        estimates of subsamples less the estimate. Intervals and p-values then come
        from their quantiles instead of the normal law.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights import EffectResult
    >>> result = EffectResult(2.0, 0.5, np.array([[0.25]]), names=["1 vs 0"])
    >>> result.conf_int().round(2).tolist()
    [[1.02, 2.98]]
    """

    effect: float | FloatArray
    se: float | FloatArray
    cov: FloatArray
    names: list[str]
    contrast: str = "difference"
    estimand: str = "ate"
    n_samples: int = 0
    details: dict[str, Any] = field(default_factory=dict)
    title: str = "Average treatment effect"
    sensitivity: Sensitivity | None = None
    draws: FloatArray | None = None

    def conf_int(self, level: float = 0.95) -> FloatArray:
        """Return confidence intervals, (K-1, 2).

        Normal ones; with ``draws``, the effect less their upper and their lower
        quantile. Ratios and odds ratios: on the log scale, by the delta method, then
        back.

        Parameters
        ----------
        level : float, default=0.95
            Between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1, got {level!r}.")
        effect, se = np.atleast_1d(self.effect), np.atleast_1d(self.se)
        difference = self.contrast == "difference"
        if self.draws is None:
            high = norm.ppf(0.5 + level / 2) * (se if difference else se / effect)
            low = -high
        else:
            tails = [0.5 - level / 2, 0.5 + level / 2]
            low, high = np.quantile(self.draws, tails, axis=0, method=QUANTILE)
        if difference:
            return np.column_stack([effect - high, effect - low])
        return np.column_stack([effect / np.exp(high), effect / np.exp(low)])

    @property
    def statistic(self) -> FloatArray:
        """Wald statistic of no effect, (K-1,); for ratios, of the log against 0."""
        effect, se = np.atleast_1d(self.effect), np.atleast_1d(self.se)
        if self.contrast == "difference":
            return effect / se
        return np.log(effect) * effect / se

    @property
    def pvalue(self) -> FloatArray:
        """Two-sided p-value of no effect, (K-1,).

        Of the normal law; with ``draws``, one minus the level at which the interval
        reaches no effect; at least 2 / (B + 1), for B draws say no more.
        """
        if self.draws is None:
            return 2 * norm.sf(np.abs(self.statistic))
        effect = np.atleast_1d(self.effect)
        error = effect if self.contrast == "difference" else np.log(effect)
        tails = [
            min(_share_up_to(e, d), _share_up_to(-e, -d))
            for e, d in zip(error, self.draws.T)
        ]
        return np.minimum(2 * np.array(tails), 1.0)

    def to_frame(self, level: float = 0.95) -> pd.DataFrame:
        """Return a DataFrame, one row a contrast."""
        import pandas as pd

        interval = self.conf_int(level)
        return pd.DataFrame(
            {
                "effect": np.atleast_1d(self.effect),
                "se": np.atleast_1d(self.se),
                "z": self.statistic,
                "pvalue": self.pvalue,
                "lower": interval[:, 0],
                "upper": interval[:, 1],
            },
            index=pd.Index(self.names, name=self.contrast),
        )

    def summary(self, level: float = 0.95, *, sensitivity: bool = False) -> Summary:
        """Return a statsmodels Summary (text, ``as_html()``, ``as_latex()``).

        Parameters
        ----------
        level : float, default=0.95
            Of the intervals.
        sensitivity : bool, default=False
            Append what an unmeasured confounder must do to explain the effect, and
            its confidence limit, away: `e_value`, and for differences
            `robustness_value`.
        """
        from statsmodels.iolib.summary import Summary
        from statsmodels.iolib.table import SimpleTable
        from statsmodels.iolib.tableformatting import fmt_2cols, fmt_params

        head = {
            "Estimand": self.estimand.upper(),
            "Contrast": self.contrast.replace("_", " "),
            "No. observations": f"{self.n_samples}",
            **{k: _short(v) for k, v in self.details.items()},
        }
        items = list(head.items())
        half = -(-len(items) // 2)
        items += [("", "")] * (2 * half - len(items))
        left, right = (
            SimpleTable(
                [[value] for _, value in part],
                stubs=[f"{pad}{key}:" if key else "" for key, _ in part],
                title=title,
                txt_fmt=fmt_2cols,
            )
            for part, pad, title in (
                (items[:half], "", self.title),
                (items[half:], "   ", None),
            )
        )
        left.extend_right(right)
        summary = Summary()
        summary.tables.append(left)
        summary.tables.append(self._parameter_table(level, SimpleTable, fmt_params))
        if sensitivity:
            summary.tables.append(
                self._sensitivity_table(level, SimpleTable, fmt_params)
            )
        return summary

    def _sensitivity_table(self, level: float, table: Any, formatting: Any) -> Any:
        parts = self.sensitivity
        if parts is None:
            raise ValueError(
                "this result does not hold what a sensitivity analysis needs (the "
                "outcome's standard deviation, residuals and weights): take the "
                "result_ of WeightedEffect, fitted with weights and "
                "se='influence'."
            )
        effect, se = np.atleast_1d(self.effect), np.atleast_1d(self.se)
        sd = parts.sd_outcome if self.contrast == "difference" else None
        columns = {
            "E-value": e_value(
                effect, se, kind=self.contrast, sd_outcome=sd, level=level
            )
        }
        if self.contrast == "difference":
            columns["robustness"] = robustness_value(
                effect, se, parts.scale, level=level
            )
        headers = [h for name in columns for h in (name, f"{name} (limit)")]
        values = np.column_stack([v for pair in columns.values() for v in pair])
        return table(
            [[f"{v:.3f}" for v in row] for row in values],
            headers=headers,
            stubs=self.names,
            title="Sensitivity to an unmeasured confounder",
            txt_fmt=formatting,
        )

    def _parameter_table(self, level: float, table: Any, formatting: Any) -> Any:
        frame = self.to_frame(level)
        tail = f"{(1 - level) / 2:.3f}".rstrip("0")
        other = f"{(1 + level) / 2:.3f}".rstrip("0")
        p = "P>|z|" if self.draws is None else "p"
        headers = ["effect", "std err", "z", p, f"[{tail}", f"{other}]"]
        rows = [
            [
                _number(row.effect),
                _number(row.se),
                f"{row.z:.3f}",
                f"{row.pvalue:.3f}",
                _number(row.lower),
                _number(row.upper),
            ]
            for row in frame.itertuples()
        ]
        return table(rows, headers=headers, stubs=self.names, txt_fmt=formatting)

    def to_latex(self, level: float = 0.95) -> str:
        """Return the contrasts as a LaTeX tabular."""
        from statsmodels.iolib.table import SimpleTable
        from statsmodels.iolib.tableformatting import fmt_params

        return self._parameter_table(level, SimpleTable, fmt_params).as_latex_tabular()

    def to_html(self, level: float = 0.95) -> str:
        """Return the contrasts as an HTML table."""
        return self.to_frame(level).to_html(float_format=_number)

    def to_great_table(self, level: float = 0.95) -> Any:
        """Return a ``great_tables.GT`` of the contrasts (extra ``tables``)."""
        title = f"{self.estimand.upper()}, {level:.0%} intervals"
        return great_table(self.to_frame(level), title)

    def _repr_html_(self) -> str:
        return self.summary().as_html()

    # What maketables asks of a result, by attributes alone: `ETable` puts several side
    # by side, for HTML, LaTeX, Word and Typst.

    @property
    def __maketables_coef_table__(self) -> pd.DataFrame:
        names = {"effect": "b", "z": "t", "pvalue": "p"}
        return self.to_frame().rename(
            columns={**names, "lower": "ci95l", "upper": "ci95u"}
        )

    @property
    def __maketables_depvar__(self) -> str:
        return self.estimand.upper()

    @property
    def __maketables_default_stat_keys__(self) -> list[str]:
        told = ("Weights", "Outcome model")
        return ["N", *(key for key in told if key in self.details)]

    def __maketables_stat__(self, key: str) -> Any:
        known = {"N": self.n_samples, "se_type": self.details.get("Std. error")}
        return known.get(key, self.details.get(key))

    def __repr__(self) -> str:
        parts = [
            f"{name}: {_number(e)} (se {_number(s)})"
            for name, e, s in zip(
                self.names,
                np.atleast_1d(self.effect),
                np.atleast_1d(self.se),
                strict=True,
            )
        ]
        return f"EffectResult({self.estimand.upper()} {', '.join(parts)})"


def _share_up_to(value: float, draws: FloatArray) -> float:
    """Return the largest q, at least 1 / (B + 1), whose quantile is up to the value."""
    q = np.arange(1, len(draws) + 1) / (len(draws) + 1)
    return float(np.interp(value, np.sort(draws), q))


def _number(value: float) -> str:
    """Format to four significant digits, without exponent where it fits a column."""
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    size = abs(value)
    if 1e-4 <= size < 1e7:
        digits = max(0, 3 - int(np.floor(np.log10(size))))
        return f"{value:.{max(digits, 1) if size < 1e5 else 0}f}"
    return f"{value:.3e}"


def _short(value: Any) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
