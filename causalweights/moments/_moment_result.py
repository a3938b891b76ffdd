"""What estimators of moment models store, and how they report it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import chi2, f, norm
from sklearn.utils.validation import check_is_fitted

from causalweights._typing import FloatArray
from causalweights.inference._great_table import great_table
from causalweights.inference._result import _number

if TYPE_CHECKING:
    import pandas as pd
    from statsmodels.iolib.summary import Summary


@dataclass(frozen=True, slots=True)
class TestResult:
    """A test.

    Attributes
    ----------
    name : str
    statistic : float
    df : int or None
        Degrees of freedom of the chi-squared law, or of an F law's numerator; None
        where the p-value comes from draws.
    pvalue : float
        NaN without degrees of freedom.
    null : str
        The hypothesis, in words.
    df_denominator : float or None
        Of an F law.
    """

    __test__ = False  # pytest: not a class of tests

    name: str
    statistic: float
    df: int | None
    pvalue: float
    null: str
    df_denominator: float | None = None

    @classmethod
    def of(
        cls,
        name: str,
        statistic: float,
        df: int,
        null: str,
        df_denominator: float | None = None,
    ) -> TestResult:
        """Return a test with the p-value of its chi-squared or F law."""
        if df == 0:
            pvalue = np.nan
        elif df_denominator is None:
            pvalue = float(chi2.sf(statistic, df))
        else:
            pvalue = float(f.sf(statistic, df, df_denominator))
        return cls(name, float(statistic), int(df), pvalue, null, df_denominator)

    def __str__(self) -> str:
        law = "" if self.df is None else f" ~ chi2({self.df})"
        if self.df_denominator is not None:
            law = f" ~ F({self.df}, {self.df_denominator:g})"
        p = "" if np.isnan(self.pvalue) else f", p = {self.pvalue:.4f}"
        return f"{self.name}: {self.statistic:.4f}{law}{p}. H0: {self.null}."


@dataclass(frozen=True, eq=False)
class MomentResult:
    """Estimated parameters with their covariance.

    Attributes
    ----------
    params : ndarray of shape (p,)
    cov : ndarray of shape (p, p)
    names : list of str
    n_samples : float
        Rows, or the sum of frequency weights.
    j : TestResult or None
        Of the overidentifying restrictions.
    details : dict
        What the summary's head shows beside.
    title : str

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.moments import MomentResult
    >>> found = MomentResult(np.array([2.0, 1.0]), np.eye(2) / 4, ["educ", "exper"])
    >>> found.conf_int().round(2).tolist()
    [[1.02, 2.98], [0.02, 1.98]]
    >>> found.wald_test("educ = 2 * exper").statistic
    0.0
    """

    params: FloatArray
    cov: FloatArray
    names: list[str]
    n_samples: float = 0.0
    j: TestResult | None = None
    details: dict[str, Any] = field(default_factory=dict)
    title: str = "Moment model"

    @property
    def se(self) -> FloatArray:
        """Standard errors, (p,)."""
        return np.sqrt(np.diagonal(self.cov))

    @property
    def statistic(self) -> FloatArray:
        """Wald statistics of zeros, (p,), normal in large samples."""
        return self.params / self.se

    @property
    def pvalue(self) -> FloatArray:
        """Two-sided p-values of zeros, (p,)."""
        return 2 * norm.sf(np.abs(self.statistic))

    def conf_int(self, level: float = 0.95) -> FloatArray:
        """Return normal confidence intervals, (p, 2)."""
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1, got {level!r}.")
        half = norm.ppf(0.5 + level / 2) * self.se
        return np.column_stack([self.params - half, self.params + half])

    def wald_test(self, hypothesis: Any, values: Any = None) -> TestResult:
        """Test linear restrictions ``R params = values``, chi2(rank of R).

        Parameters
        ----------
        hypothesis : str, sequence of str, or array-like of shape (k, p)
            A formula of names and numbers such as ``"educ = 0.1, exper = expersq"``
            (needs formulaic); names, which are tested to be zero together; or R.
        values : array-like of shape (k,) or None, default=None
            With R; None is zeros.

        Raises
        ------
        ValueError
            For unknown names, other shapes, and restrictions that repeat each other.
        """
        R, r, null = self._restrictions(hypothesis, values)
        rank = np.linalg.matrix_rank(R)
        if rank < len(R):
            raise ValueError(
                f"the {len(R)} restrictions have rank {rank}: leave out those that "
                "follow from others."
            )
        gap = R @ self.params - r
        statistic = float(gap @ np.linalg.solve(R @ self.cov @ R.T, gap))
        return TestResult.of("Wald test", statistic, len(R), null)

    def _restrictions(
        self, hypothesis: Any, values: Any
    ) -> tuple[FloatArray, FloatArray, str]:
        if isinstance(hypothesis, str):
            hypothesis = [hypothesis]
        given = list(hypothesis)
        if not all(isinstance(part, str) for part in given):
            R = np.atleast_2d(np.asarray(hypothesis, dtype=np.float64))
            r = np.zeros(len(R)) if values is None else np.asarray(values, dtype=float)
            if R.ndim != 2 or R.shape[1] != len(self.params) or r.shape != (len(R),):
                raise ValueError(
                    f"R has shape {R.shape} and values {r.shape}: pass one row of "
                    f"{len(self.params)} numbers, and one value, a restriction."
                )
            return R, r, "R params = values"
        if values is not None:
            raise ValueError("values belong to a matrix R; a formula holds its own.")
        if not any("=" in part for part in given):
            unknown = [name for name in given if name not in self.names]
            if unknown:
                raise ValueError(
                    f"no parameter is called {', '.join(unknown)}: the names are "
                    f"{', '.join(self.names)}."
                )
            R = np.eye(len(self.names))[[self.names.index(name) for name in given]]
            return R, np.zeros(len(R)), f"{', '.join(given)} = 0"
        from formulaic.errors import FormulaicError
        from formulaic.utils.constraints import LinearConstraints

        text = ", ".join(given)
        try:
            found = LinearConstraints.from_spec(text, variable_names=self.names)
        except (FormulaicError, KeyError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"{text!r} is no linear restriction of {', '.join(self.names)}: {error}"
            ) from error
        R = np.asarray(found.constraint_matrix, dtype=np.float64)
        return R, np.asarray(found.constraint_values, dtype=np.float64), text

    def to_frame(self, level: float = 0.95) -> pd.DataFrame:
        """Return a DataFrame, one row a parameter."""
        import pandas as pd

        interval = self.conf_int(level)
        return pd.DataFrame(
            {
                "estimate": self.params,
                "se": self.se,
                "z": self.statistic,
                "pvalue": self.pvalue,
                "lower": interval[:, 0],
                "upper": interval[:, 1],
            },
            index=pd.Index(self.names, name="parameter"),
        )

    def summary(self, level: float = 0.95) -> Summary:
        """Return a statsmodels Summary (text, ``as_html()``, ``as_latex()``)."""
        from statsmodels.iolib.summary import Summary
        from statsmodels.iolib.table import SimpleTable
        from statsmodels.iolib.tableformatting import fmt_2cols, fmt_params

        head = {"No. observations": f"{self.n_samples:g}"}
        for key, value in self.details.items():
            head[key] = f"{value:.4g}" if isinstance(value, float) else str(value)
        if self.j is not None:
            p = "" if np.isnan(self.j.pvalue) else f", p {self.j.pvalue:.3f}"
            head["J"] = f"{self.j.statistic:.4f}, df {self.j.df}{p}"
        items = list(head.items())
        items += [("", "")] * (len(items) % 2)
        half = len(items) // 2
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
        summary.tables += [left, self._table(level, SimpleTable, fmt_params)]
        return summary

    def _table(self, level: float, table: Any, formatting: Any) -> Any:
        frame = self.to_frame(level)
        ends = (0.5 - level / 2, 0.5 + level / 2)
        low, high = (f"{end:.3f}".rstrip("0") for end in ends)
        headers = ["estimate", "std err", "z", "P>|z|", f"[{low}", f"{high}]"]
        rows = [
            [
                *map(_number, (row.estimate, row.se)),
                f"{row.z:.3f}",
                f"{row.pvalue:.3f}",
                *map(_number, (row.lower, row.upper)),
            ]
            for row in frame.itertuples()
        ]
        return table(rows, headers=headers, stubs=self.names, txt_fmt=formatting)

    def to_latex(self, level: float = 0.95) -> str:
        """Return the parameters as a LaTeX tabular."""
        from statsmodels.iolib.table import SimpleTable
        from statsmodels.iolib.tableformatting import fmt_params

        return self._table(level, SimpleTable, fmt_params).as_latex_tabular()

    def to_html(self, level: float = 0.95) -> str:
        """Return the parameters as an HTML table."""
        return self.to_frame(level).to_html(float_format=_number)

    def to_great_table(self, level: float = 0.95) -> Any:
        """Return a ``great_tables.GT`` of the parameters (extra ``tables``)."""
        return great_table(self.to_frame(level), f"Parameters, {level:.0%} intervals")

    def _repr_html_(self) -> str:
        return self.summary().as_html()

    def __repr__(self) -> str:
        parts = [
            f"{name}: {_number(value)} (se {_number(se)})"
            for name, value, se in zip(self.names, self.params, self.se, strict=True)
        ]
        return f"MomentResult({', '.join(parts)})"


class MomentMixin:
    """Parameters with their uncertainty, stored alike and told by a `MomentResult`."""

    result_: MomentResult

    def _store_result(self, result: MomentResult) -> None:
        """Set ``result_``, ``params_``, ``cov_``, ``se_`` and ``names_``."""
        self.result_ = result
        self.params_, self.cov_, self.se_ = result.params, result.cov, result.se
        self.names_ = result.names

    def conf_int(self, level: float = 0.95) -> FloatArray:
        """Return confidence intervals, (p, 2): see `MomentResult.conf_int`."""
        check_is_fitted(self)
        return self.result_.conf_int(level)

    def wald_test(
        self, hypothesis: str | Sequence[str] | FloatArray, values: Any = None
    ) -> TestResult:
        """Test linear restrictions: see `MomentResult.wald_test`."""
        check_is_fitted(self)
        return self.result_.wald_test(hypothesis, values)

    def j_test(self) -> TestResult:
        """Return the test of the overidentifying restrictions.

        Its p-value is NaN where there are none: as many moments as parameters.
        """
        check_is_fitted(self)
        if self.result_.j is None:
            raise ValueError("this estimator has no test of its moments.")
        return self.result_.j

    def summary(self, level: float = 0.95) -> Any:
        """Return a statsmodels Summary: see `MomentResult.summary`."""
        check_is_fitted(self)
        return self.result_.summary(level)

    def to_frame(self, level: float = 0.95) -> Any:
        """Return a DataFrame: see `MomentResult.to_frame`."""
        check_is_fitted(self)
        return self.result_.to_frame(level)

    def to_latex(self, level: float = 0.95) -> str:
        """Return a LaTeX tabular: see `MomentResult.to_latex`."""
        check_is_fitted(self)
        return self.result_.to_latex(level)

    def to_html(self, level: float = 0.95) -> str:
        """Return an HTML table: see `MomentResult.to_html`."""
        check_is_fitted(self)
        return self.result_.to_html(level)
