"""What tests of a linear equation need after its fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from causalweights._typing import FloatArray, IntArray
from causalweights.moments import _iv_tests as tests
from causalweights.moments._data import MomentData
from causalweights.moments._gmm_covariance import CovarianceOptions
from causalweights.moments._k_class import KClassFit, LinearEquation, linear_equation
from causalweights.moments._moment_covariance import smoother
from causalweights.moments._moment_result import TestResult
from causalweights.moments._weak_iv import (
    Smoother,
    cragg_donald,
    effective_statistic,
    reduced_form_covariances,
)


def weighted_equation(data: MomentData) -> LinearEquation:
    """Return the equation with rows multiplied by the roots of their weights."""
    root = np.sqrt(data.sample_weight)
    return linear_equation(
        root * data.y, root[:, None] * data.X, root[:, None] * data.Z, data.copies
    )


def check_shared_names(data: MomentData) -> None:
    """Refuse columns of one name that differ between X and the instruments."""
    for name in set(data.x_names) & set(data.z_names):
        x, z = data.X[:, data.x_names.index(name)], data.Z[:, data.z_names.index(name)]
        if not np.array_equal(x, z):
            raise ValueError(
                f"X and instruments both have a column {name!r}, with other values: an "
                "exogenous column must be the same in both; rename one otherwise."
            )


def excluded_names(data: MomentData) -> list[str]:
    """Return the names of the instruments that equal no column of X."""
    known = {column.tobytes() for column in data.X.T + 0.0}
    return [
        name for name, column in zip(data.z_names, data.Z.T + 0.0, strict=True)
        if column.tobytes() not in known
    ]  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class LinearIVState:
    """What tests after a fit need.

    Attributes
    ----------
    equation : LinearEquation
    options : CovarianceOptions
        Resolved.
    groups : ndarray of shape (n,) or (n, 2) or None
    n_groups : int
        Clusters, of the way that has fewer; zero without.
    residuals : ndarray of shape (n,)
        Multiplied by the roots of the weights, as all columns here.
    x_names, z_names, excluded : list of str
        The last: instruments that are no columns of X.
    Z : ndarray of shape (n, c)
    weight : ndarray of shape (n,)
    """

    equation: LinearEquation
    options: CovarianceOptions
    groups: IntArray | None
    n_groups: int
    residuals: FloatArray
    x_names: list[str]
    z_names: list[str]
    excluded: list[str]
    Z: FloatArray
    weight: FloatArray

    @classmethod
    def of(
        cls,
        data: MomentData,
        equation: LinearEquation,
        residuals: FloatArray,
        options: CovarianceOptions,
    ) -> LinearIVState:
        """Return the state of a fit to the data."""
        return cls(
            equation, options, data.groups, data.n_clusters, residuals, data.x_names,
            data.z_names, excluded_names(data),
            np.sqrt(data.sample_weight)[:, None] * data.Z, data.sample_weight,
        )  # fmt: skip

    @property
    def endogenous(self) -> list[str]:
        """Names of the endogenous columns."""
        return [
            name for name, endogenous in zip(
                self.x_names, self.equation.endogenous, strict=True
            ) if endogenous
        ]  # fmt: skip

    def smooth(self) -> Smoother | None:
        """Return the product with T; None for ``"unadjusted"``."""
        return None if self.options.cov_type == "unadjusted" else self.robust_smooth()

    def robust_smooth(self) -> Smoother:
        """Return the product with T; of ``"robust"`` for ``"unadjusted"``."""
        kind = self.options.cov_type
        bandwidth = float(self.options.bandwidth) if kind == "hac" else 0.0
        return smoother(
            "robust" if kind == "unadjusted" else kind, self.equation.copies,
            groups=self.groups, kernel=self.options.kernel, bandwidth=bandwidth,
        )  # fmt: skip

    def tested(self, columns: str | Sequence[str] | None) -> np.ndarray:
        """Return which columns of X to test, of names or all endogenous ones."""
        if not self.endogenous:
            raise ValueError("no column of X is endogenous: there is nothing to test.")
        if columns is None:
            return self.equation.endogenous
        names = [columns] if isinstance(columns, str) else list(columns)
        unknown = [name for name in names if name not in self.endogenous]
        if unknown or not names:
            raise ValueError(
                f"columns={names!r} are to be tested for exogeneity; the endogenous "
                f"columns are {', '.join(self.endogenous)}."
            )
        return np.isin(self.x_names, names)

    def strength(self) -> dict[str, str]:
        """Return the summary's entry on the strength of the instruments."""
        m = self.equation.n_endogenous
        if m == 0:
            return {}
        if m > 1:
            return {"Cragg-Donald F": f"{cragg_donald(self.equation):.4g}"}
        W2 = reduced_form_covariances(
            self.equation, self.smooth(), n_groups=self.n_groups
        )[2]
        return {"Effective F": f"{effective_statistic(self.equation, W2):.4g}"}

    def overidentification(self) -> TestResult:
        """Return Sargan's test, or Hansen's J with a robust covariance."""
        smooth = self.smooth()
        if self.equation.n_excluded == self.equation.n_endogenous:
            name = "Sargan" if smooth is None else "Hansen's J"
            return TestResult.of(name, 0.0, 0, tests.VALID)
        if smooth is None:
            return tests.sargan(self.equation, self.residuals)
        return tests.score_overid(self.equation, self.residuals, smooth)


def k_class_scores(
    fit: KClassFit, state: LinearIVState, *, projected: bool
) -> FloatArray:
    """Return the rows' scores, (n, p): the estimate's error is bread times their sum.

    Parameters
    ----------
    fit : KClassFit
    state : LinearIVState
    projected : bool
        Whether the scores are of the projected regressors, for k that tends to one,
        or of the ones that the estimating equation uses.
    """
    columns = fit.projected if projected else fit.regressors
    return state.equation.scores(columns, fit.residuals)


def k_class_covariance(
    fit: KClassFit, state: LinearIVState, scores: FloatArray, *, debiased: bool
) -> FloatArray:
    """Return the covariance of k-class estimates, (p, p).

    Parameters
    ----------
    fit : KClassFit
    state : LinearIVState
    scores : ndarray of shape (n, p)
    debiased : bool
        Multiply by n / (n - p), clusters by (n - 1) / (n - p).
    """
    n, p, smooth = state.equation.n_samples, len(fit.params), state.smooth()
    if debiased and n <= p:
        raise ValueError(f"debiased=True needs more than {p} rows, got {n:g}.")
    factor = (n - (state.n_groups > 0)) / (n - p) if debiased else 1.0
    if smooth is None:
        return fit.bread * (factor * float(fit.residuals @ fit.residuals) / n)
    cov = factor * fit.bread @ (scores.T @ smooth(scores)) @ fit.bread
    return 0.5 * (cov + cov.T)
