"""First stages: how far the excluded instruments explain each endogenous column."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import f as f_law

from causalweights._typing import FloatArray
from causalweights.moments._k_class import LinearEquation, residuals_on
from causalweights.moments._moment_result import TestResult
from causalweights.moments._sandwich import inverse_covariance
from causalweights.moments._weak_iv import (
    TAUS,
    EffectiveF,
    Smoother,
    cragg_donald,
    effective_f,
    kleibergen_paap,
    small_sample,
    stock_yogo_bias,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class FirstStage:
    """Strength of the instruments of a linear equation.

    Attributes
    ----------
    names : list of str
        The m endogenous columns.
    n_excluded : int
        q.
    r2 : ndarray of shape (m,)
        Of the regressions on all instruments; centered where those hold a constant.
    partial_r2 : ndarray of shape (m,)
        Of the excluded instruments, given the exogenous columns.
    shea_r2 : ndarray of shape (m,)
        The same, of what the other endogenous columns leave.
    f, pvalue : ndarray of shape (m,)
        F statistics of no relation to the excluded instruments, with the fit's
        ``cov_type``, and their p-values.
    df_denominator : float
        Of the F law.
    cragg_donald : float
        F statistic of all columns together, for homoskedastic errors.
    kleibergen_paap : float
        The same with the fit's ``cov_type``.
    underidentification : TestResult
        Kleibergen and Paap's LM test with the fit's ``cov_type``.
    effective_f : EffectiveF or None
        Montiel Olea and Pflueger's statistic and its critical values, for one
        endogenous column.
    stock_yogo : dict of float to float, or None
        Critical values of ``cragg_donald`` by the bias of two-stage least squares
        relative to that of least squares, for one endogenous column and at least two
        excluded instruments.
    """

    names: list[str]
    n_excluded: int
    r2: FloatArray
    partial_r2: FloatArray
    shea_r2: FloatArray
    f: FloatArray
    pvalue: FloatArray
    df_denominator: float
    cragg_donald: float
    kleibergen_paap: float
    underidentification: TestResult
    effective_f: EffectiveF | None
    stock_yogo: dict[float, float] | None

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame, one row an endogenous column."""
        import pandas as pd

        return pd.DataFrame(
            {
                "r2": self.r2,
                "partial_r2": self.partial_r2,
                "shea_r2": self.shea_r2,
                "f": self.f,
                "pvalue": self.pvalue,
            },
            index=pd.Index(self.names, name="endogenous"),
        )

    def __str__(self) -> str:
        table = self.to_frame().to_string(float_format=lambda value: f"{value:.4g}")
        return "\n".join([table, *self._joint()])

    def _repr_html_(self) -> str:
        table = self.to_frame().to_html(float_format="{:.4g}".format)
        return table + "".join(f"<div>{escape(line)}</div>" for line in self._joint())

    def _joint(self) -> list[str]:
        """Return what is said of all columns together, line by line."""
        lines = [
            f"{self.n_excluded} excluded instruments",
            f"Cragg-Donald F: {self.cragg_donald:.4g}",
            f"Kleibergen-Paap rk Wald F: {self.kleibergen_paap:.4g}",
            str(self.underidentification),
        ]
        if self.stock_yogo is not None:
            lines.append(f"Stock-Yogo critical values: {_table(self.stock_yogo)}")
        if self.effective_f is not None:
            lines.append(f"Effective F: {self.effective_f.statistic:.4g}")
            lines.append(f"  critical values: {_table(self.effective_f.critical)}")
            lines.append(f"  simplified: {_table(self.effective_f.simplified)}")
        return lines


def _table(values: dict[float, float]) -> str:
    return ", ".join(f"{tau:.0%} {value:.4g}" for tau, value in values.items())


def explained(
    equation: LinearEquation, constant: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return R-squared, partial R-squared and Shea's, (m,) each.

    Parameters
    ----------
    equation : LinearEquation
    constant : ndarray of shape (n,)
        A column of ones, multiplied as the rows are.

    References
    ----------
    .. [1] Shea (1997), Instrument relevance in multivariate linear models, Review of
       Economics and Statistics 79; Godfrey (1999), 81, for the formula.
    """
    D, partial = equation.X[:, equation.endogenous], equation.partialled()[1]
    unit = (constant / np.linalg.norm(constant))[:, None]
    outside = np.linalg.norm(residuals_on(equation.basis, unit))
    center = unit if outside < 1e-8 else unit[:, :0]
    left = np.sum(residuals_on(equation.basis, D) ** 2, axis=0)
    total = np.sum(residuals_on(center, D) ** 2, axis=0)
    fitted = equation.excluded.T @ partial
    shea = inverse_diagonal(partial) / inverse_diagonal(fitted)
    return (
        1 - left / total,
        np.sum(fitted**2, axis=0) / np.sum(partial**2, axis=0),
        shea,
    )


def inverse_diagonal(columns: FloatArray) -> FloatArray:
    """Return the diagonal of ``(A'A)^{-1}``, (m,)."""
    norms = np.linalg.norm(columns, axis=0)
    inverse = np.linalg.inv(np.linalg.qr(columns / norms, mode="r"))
    return np.sum(inverse**2, axis=1) / norms**2


def partial_f(
    equation: LinearEquation, smooth: Smoother | None = None, *, n_groups: int = 0
) -> tuple[FloatArray, FloatArray, float]:
    """Return F statistics of each endogenous column, p-values, (m,), and the law's df.

    Parameters
    ----------
    equation : LinearEquation
    smooth : callable or None, default=None
    n_groups : int, default=0
        Clusters of ``smooth``; zero without.

    Notes
    -----
    The Wald statistic of the q coefficients, over q, with the small-sample factor n - c
    over n of the covariance (with clusters, Stata's), c being the number of all
    instruments; F(q, n - c), with G clusters F(q, G - 1).
    """
    D = equation.partialled()[1]
    q, df = equation.n_excluded, equation.df_reduced
    gamma = equation.excluded.T @ D
    errors = residuals_on(equation.excluded, D)
    if smooth is None:
        f = np.sum(gamma**2, axis=0) / q / (np.sum(errors**2, axis=0) / df)
    else:
        f = np.empty(len(gamma.T))
        for j, (g, e) in enumerate(zip(gamma.T, errors.T, strict=True)):
            scores = equation.scores(equation.excluded, e)
            f[j] = g @ inverse_covariance(scores.T @ smooth(scores)) @ g
        f *= small_sample(equation, n_groups) / q
    df = float(n_groups - 1) if n_groups else df
    return f, f_law.sf(f, q, df), df


def first_stage(
    equation: LinearEquation,
    smooth: Smoother | None,
    *,
    n_groups: int,
    names: list[str],
    constant: FloatArray,
) -> FirstStage:
    """Return the report of an equation with at least one endogenous column.

    Warns
    -----
    UserWarning
        For no more clusters than excluded instruments.
    """
    q, m = equation.n_excluded, equation.n_endogenous
    if 0 < n_groups <= q:
        warnings.warn(
            f"{q} excluded instruments and only {n_groups} clusters: the robust F and "
            "the Kleibergen-Paap statistics are not defined (NaN).",
            UserWarning,
            stacklevel=3,
        )
        f, df = np.full(m, np.nan), np.nan
        pvalue, lm, rk = f, np.nan, np.nan
    else:
        f, pvalue, df = partial_f(equation, smooth, n_groups=n_groups)
        lm, rk = kleibergen_paap(equation, smooth, n_groups=n_groups)
    one = m == 1
    return FirstStage(
        names, q, *explained(equation, constant), f, pvalue, df, cragg_donald(equation),
        rk,
        TestResult.of(
            "Kleibergen-Paap rk LM", lm, q - m + 1, "the model is under-identified"
        ),
        effective_f(equation, smooth, n_groups=n_groups) if one else None,
        {tau: stock_yogo_bias(q, tau) for tau in TAUS} if one and q > 1 else None,
    )  # fmt: skip
