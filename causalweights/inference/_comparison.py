"""One table of several results: effects below each other, models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from causalweights._typing import FloatArray
from causalweights.inference._result import EffectResult, _number

if TYPE_CHECKING:
    import pandas as pd

_ROWS, _SIZE = "No. observations", "Effective sample size"


@dataclass(frozen=True, eq=False)
class ComparisonTable:
    """Estimated models side by side: a row a parameter, a column a model.

    ``str`` is text, with standard errors in brackets below the estimates.

    Attributes
    ----------
    names : list of str
        Of the C models.
    parameters : list of str
        Of the R parameters, in the order in which models bring them.
    estimates, se : ndarray of shape (R, C)
        NaN where a model has not the parameter.
    foot : dict of str to ndarray of shape (C,)
        J and its p-value, numbers of rows, effective sample sizes; NaN where a model
        has none, and only what some model has.
    """

    names: list[str]
    parameters: list[str]
    estimates: FloatArray
    se: FloatArray
    foot: dict[str, FloatArray]

    def to_frame(self) -> pd.DataFrame:
        """Return the numbers: rows (parameter, "estimate" or "se"), (foot, "")."""
        import pandas as pd

        rows = [(name, part) for name in self.parameters for part in ("estimate", "se")]
        values = np.stack([self.estimates, self.se], axis=1)
        values = values.reshape(-1, len(self.names))
        index = pd.MultiIndex.from_tuples(
            rows + [(name, "") for name in self.foot], names=["row", "value"]
        )
        return pd.DataFrame(
            np.vstack([values, *self.foot.values()]), index=index, columns=self.names
        )

    def _table(self) -> Any:
        from statsmodels.iolib.table import SimpleTable
        from statsmodels.iolib.tableformatting import fmt_params

        rows, stubs = [], []
        for name, estimates, errors in zip(self.parameters, self.estimates, self.se):
            rows += [
                [_shown(v) for v in estimates],
                [_shown(v, "({})") for v in errors],
            ]
            stubs += [name, ""]
        for name, values in self.foot.items():
            rows.append([f"{v:.0f}" if name == _ROWS else _shown(v) for v in values])
            stubs.append(name)
        return SimpleTable(rows, headers=self.names, stubs=stubs, txt_fmt=fmt_params)

    def to_latex(self) -> str:
        """Return a LaTeX tabular."""
        return self._table().as_latex_tabular()

    def to_html(self) -> str:
        """Return an HTML table."""
        return self._table().as_html()

    def _repr_html_(self) -> str:
        return self.to_html()

    def __str__(self) -> str:
        return self._table().as_text()

    def __repr__(self) -> str:
        return f"ComparisonTable({', '.join(self.names)})"


def compare(
    *results: Any, names: Sequence[str] | None = None
) -> pd.DataFrame | ComparisonTable:
    """Return one table of several results or fitted estimators.

    Parameters
    ----------
    *results : EffectResult, MomentResult or estimators with ``result_``
        All of one kind.
    names : sequence of str or None, default=None
        Labels; None takes each effect's weights and outcome model, each model's method,
        numbered where they repeat.

    Returns
    -------
    DataFrame or ComparisonTable
        Of effects: estimand, contrast, effect, se, z, pvalue, lower, upper; a row a
        contrast. Of moment models: parameters in rows, models side by side.

    Raises
    ------
    TypeError
        For other objects, and results of both kinds.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights import EffectResult, compare
    >>> a = EffectResult(2.0, 0.5, np.array([[0.25]]), names=["1 vs 0"])
    >>> compare(a, a, names=["first", "second"])["effect"].tolist()
    [2.0, 2.0]

    >>> from causalweights import GMM, LinearIV
    >>> from causalweights.datasets import load_card
    >>> card = load_card(instruments=["nearc2", "nearc4"])
    >>> sample = dict(X=card.X, y=card.y, instruments=card.instruments)
    >>> fits = [e(fit_intercept=True).fit(**sample) for e in (LinearIV, GMM)]
    >>> compare(*fits).to_frame().loc["educ"].round(4).to_dict("list")
    {'2SLS': [0.1571, 0.0524], 'GMM, two-step': [0.1552, 0.0522]}
    """
    if not results:
        raise ValueError("compare needs at least one result.")
    plain = [getattr(r, "result_", r) for r in results]
    # Moment models are a floor above: known by what they have.
    models = [hasattr(r, "params") and hasattr(r, "details") for r in plain]
    for r, model in zip(plain, models, strict=True):
        if not (model or isinstance(r, EffectResult)):
            raise TypeError(
                "compare takes results of effects or of moment models, or estimators "
                f"fitted for them, got {type(r).__name__}."
            )
    if any(models) != all(models):
        raise TypeError(
            "compare takes effects or moment models, not both in one table."
        )
    if names is None:
        names = _distinct([_own_name(r) for r in plain])
    if len(names) != len(plain):
        raise ValueError(f"{len(names)} names for {len(plain)} results.")
    table = _side_by_side if all(models) else _below_each_other
    return table(plain, list(names))


def _own_name(result: Any) -> str:
    """Return what a result says of its method."""
    if not isinstance(result, EffectResult):
        return str(result.details.get("Method", result.title))
    parts = (result.details.get(key, "none") for key in ("Weights", "Outcome model"))
    return " + ".join(str(part) for part in parts if part != "none") or "result"


def _below_each_other(results: list[EffectResult], names: list[str]) -> pd.DataFrame:
    import pandas as pd

    frames = [r.to_frame() for r in results]
    for frame, r in zip(frames, results, strict=True):
        frame.insert(0, "contrast", r.contrast)
        frame.insert(0, "estimand", r.estimand)
        frame.index.name = "arms"
    if all(len(f) == 1 for f in frames):
        table = pd.concat(frames)
        table.index = pd.Index(names, name="estimator")
        return table
    return pd.concat(frames, keys=names, names=["estimator"])


def _side_by_side(results: list[Any], names: list[str]) -> ComparisonTable:
    parameters = list(dict.fromkeys(name for r in results for name in r.names))
    estimates = np.full((len(parameters), len(results)), np.nan)
    errors = estimates.copy()
    foot = {
        key: np.full(len(results), np.nan) for key in ("J", "J p-value", _ROWS, _SIZE)
    }
    for c, r in enumerate(results):
        rows = [parameters.index(name) for name in r.names]
        estimates[rows, c], errors[rows, c] = r.params, r.se
        if r.j is not None:
            foot["J"][c], foot["J p-value"][c] = r.j.statistic, r.j.pvalue
        foot[_ROWS][c] = r.n_samples
        foot[_SIZE][c] = r.details.get(_SIZE, np.nan)
    kept = {key: row for key, row in foot.items() if not np.all(np.isnan(row))}
    return ComparisonTable(names, parameters, estimates, errors, kept)


def _shown(value: float, pattern: str = "{}") -> str:
    return "" if np.isnan(value) else pattern.format(_number(value))


def _distinct(names: list[str]) -> list[str]:
    """Return the names with a number behind those that repeat an earlier one."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return out
