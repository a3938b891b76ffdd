"""A function's posterior from its moments, and the moments' covariance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from causalweights._typing import FloatArray, IntArray
from causalweights.inference import cluster_sums
from causalweights.moments._data import MomentData
from causalweights.moments._kernel_iv_design import FunctionMoments

IVCovType = Literal["robust", "unadjusted", "cluster"]
# Prior variances that are averaged over, in units of the outcome's variance.
VARIANCES = (0.0, 0.01, 0.1, 1.0, 10.0, 100.0)
# Added to the covariance of moments of a unit outcome: without noise there is none.
_LEAST_VARIANCE = 1e-8
# Share of a flat column's information that others leave where it depends on them.
_DEPENDENT = 1e-10
# Priors of less weight change nothing.
_LEAST_WEIGHT = 1e-12


def covariance_kind(cov_type: IVCovType, groups: IntArray | None) -> IVCovType:
    """Return the covariance that groups, or none, make of the one asked for.

    Raises
    ------
    ValueError
        For clusters that are missing or unused.
    """
    if groups is None:
        if cov_type == "cluster":
            raise ValueError("cov_type='cluster' needs groups: one label a row.")
        return cov_type
    if cov_type == "unadjusted":
        raise ValueError(
            "groups are given, but cov_type='unadjusted' does not use clusters: take "
            "cov_type='cluster', or leave groups out."
        )
    return "cluster"


class Prior(NamedTuple):
    """Variances of slopes and of one smooth part, in units of the outcome's."""

    slope: float
    smooth: float
    part: int


def prior_grid(
    slopes: Sequence[float], smooths: Sequence[float], n_parts: int
) -> list[Prior]:
    """Return all combinations."""
    return [
        Prior(float(slope), float(smooth), part)
        for part in range(n_parts)
        for slope in slopes
        for smooth in smooths
    ]


@dataclass(frozen=True, slots=True, eq=False)
class PriorFit:
    """Posterior of theta under one prior.

    Coefficients are computed in units of their prior standard deviation, so that none
    has an infinite or an undefined precision; flat ones in their own units.

    Attributes
    ----------
    columns : ndarray of shape (k,)
        Those of theta that are not zero under the prior.
    scale : ndarray of shape (k,)
        Prior standard deviations.
    flat : ndarray of bool of shape (k,)
    factor : tuple
        Cholesky factor of the scaled posterior precision.
    mean : ndarray of shape (p,)
    evidence : float
        Log-density of the moments, flat coefficients integrated out.
    """

    columns: np.ndarray
    scale: FloatArray
    flat: np.ndarray
    factor: tuple[FloatArray, bool]
    mean: FloatArray
    evidence: float

    def covariance(self) -> FloatArray:
        """Return the posterior covariance, (p, p)."""
        out = np.zeros((len(self.mean), len(self.mean)))
        inverse = self.scale[:, None] * self._inverse() * self.scale
        out[np.ix_(self.columns, self.columns)] = inverse
        return out

    def effective_dim(self) -> float:
        """Return how many directions the moments determine."""
        return float(len(self.flat) - np.diag(self._inverse())[~self.flat].sum())

    def _inverse(self) -> FloatArray:
        return cho_solve(self.factor, np.eye(len(self.scale)))


def prior_fits(
    moments: FunctionMoments, omega: FloatArray, priors: Sequence[Prior]
) -> list[PriorFit]:
    r"""Return the posteriors of theta given the mean moments.

    .. math:: m \mid \theta \sim N(A \theta, \Omega / N), \quad
              \theta = (c, \beta, f), \quad c \sim \text{flat}, \quad
              \beta \sim N(0, \sigma_l^2 I), \quad f \sim N(0, \sigma_s^2 I) .

    The mean minimises the moments' norm in the weight of efficient GMM, plus a ridge.

    Parameters
    ----------
    moments : FunctionMoments
    omega : ndarray of shape (L, L)
    priors : sequence of Prior

    Raises
    ------
    ValueError
        Where slopes of infinite variance are not identified.
    """
    noise = cho_factor(omega / moments.n_samples, lower=True)
    weighted = cho_solve(noise, moments.A)
    M, b = moments.A.T @ weighted, weighted.T @ moments.m
    fixed = moments.m @ cho_solve(noise, moments.m) + _log_det(noise)
    fixed += len(omega) * np.log(2.0 * np.pi)
    return [_prior_fit(M, b, fixed, moments.bounds, prior) for prior in priors]


def _prior_fit(
    M: FloatArray, b: FloatArray, fixed: float, bounds: tuple[int, ...], prior: Prior
) -> PriorFit:
    first = bounds[0]
    part = np.arange(bounds[prior.part], bounds[prior.part + 1])
    columns = np.concatenate([np.arange(first), part])
    vague = np.isinf(prior.slope)
    flat = np.zeros(len(columns), dtype=bool)
    flat[:first] = vague
    scale = np.full(len(columns), np.sqrt(prior.smooth))
    scale[:first] = 1.0 if vague else np.sqrt(prior.slope)
    flat[0], scale[0] = True, 1.0
    J = scale[:, None] * M[np.ix_(columns, columns)] * scale
    J[np.diag_indices_from(J)] += ~flat
    factor = _checked_factor(J, flat)
    solved = cho_solve(factor, scale * b[columns])
    mean = np.zeros(len(b))
    mean[columns] = scale * solved
    twice = fixed - b @ mean + _log_det(factor) - flat.sum() * np.log(2.0 * np.pi)
    return PriorFit(columns, scale, flat, factor, mean, -0.5 * float(twice))


def _checked_factor(J: FloatArray, flat: np.ndarray) -> tuple[FloatArray, bool]:
    """Return the Cholesky factor, or refuse flat columns that depend on each other."""
    try:
        factor = cho_factor(J, lower=True)
    except np.linalg.LinAlgError:
        factor = None
    # Flat columns come first: a pivot is what those before it leave.
    if factor is None or np.any(
        (np.diag(factor[0]) ** 2 < _DEPENDENT * np.diag(J)) & flat
    ):
        raise ValueError(
            "the instruments do not identify the slopes: give slope_variance a finite "
            "value, or pass other instruments."
        )
    return factor


def _log_det(factor: tuple[FloatArray, bool]) -> float:
    return 2.0 * float(np.log(np.diag(factor[0])).sum())


@dataclass(frozen=True, slots=True, eq=False)
class KernelIVFit:
    """The posterior mean of theta, averaged over priors.

    Attributes
    ----------
    mean : ndarray of shape (p,)
    evidence : ndarray of shape (K,)
        Of each prior.
    weight : ndarray of shape (K,)
        Proportional to the exponential of the evidence, sum one.
    effective_dim : float
        Directions that the moments determine, averaged.
    omega : ndarray of shape (L, L)
        Covariance of the moments that the mean rests on.
    n_iter : int
    converged : bool
    """

    mean: FloatArray
    evidence: FloatArray
    weight: FloatArray
    effective_dim: float
    omega: FloatArray
    n_iter: int
    converged: bool


def fit_kernel_iv(
    moments: FunctionMoments,
    data: MomentData,
    priors: Sequence[Prior],
    cov_type: IVCovType = "robust",
    tol: float = 1e-6,
    max_iter: int = 50,
) -> KernelIVFit:
    """Iterate the posterior mean and the covariance of the moments.

    The first covariance is that of the outcome itself. Converged where fitted values
    move by at most ``tol`` standard deviations of the outcome.
    """
    omega = residual_covariance(moments, data, moments.u, "unadjusted")
    fitted, converged = np.zeros_like(moments.u), False
    for n_iter in range(1, max_iter + 1):
        if n_iter > 1:
            omega = residual_covariance(moments, data, moments.u - fitted, cov_type)
        fits = prior_fits(moments, omega, priors)
        evidence = np.array([fit.evidence for fit in fits])
        weight = np.exp(evidence - evidence.max())
        weight /= weight.sum()
        mean = weight @ np.array([fit.mean for fit in fits])
        before, fitted = fitted, moments.H @ mean
        change = np.sqrt(moments.masses @ (fitted - before) ** 2)
        converged = bool(n_iter > 1 and change <= tol)
        if converged:
            break
    dim = sum(
        share * fit.effective_dim()
        for share, fit in zip(weight, fits, strict=True)
        if share > _LEAST_WEIGHT
    )
    return KernelIVFit(mean, evidence, weight, dim, omega, n_iter, converged)


def expected_error(
    moments: FunctionMoments, omega: FloatArray, mean: FloatArray, prior: Prior
) -> FloatArray:
    """Return the posterior expectation of the squared error of ``mean``, (p, p).

    Under a prior that need not be the mean's own.
    """
    fit = prior_fits(moments, omega, [prior])[0]
    difference = fit.mean - mean
    return fit.covariance() + np.outer(difference, difference)


def residual_covariance(
    moments: FunctionMoments,
    data: MomentData,
    residual: FloatArray,
    cov_type: IVCovType,
) -> FloatArray:
    """Return Omega, the covariance of sqrt(N) times the mean of ``B residual``.

    Robust and clustered ones are shrunk: L (L + 1) / 2 covariances are many beside the
    rows, and their errors enter the weights of the moments.
    """
    L = len(moments.m)
    least = _LEAST_VARIANCE * np.eye(L)
    if cov_type == "unadjusted":
        return float(moments.masses @ residual**2) * np.eye(L) + least
    scores = (data.moment_weight * residual)[:, None] * moments.B
    if cov_type == "robust":
        return shrunk_covariance(scores, data.copies) + least
    assert data.groups is not None
    sums = cluster_sums(data.copies[:, None] * scores, data.groups)
    G = len(sums)
    factor = G / (G - 1) * G / moments.n_samples
    return shrunk_covariance(np.sqrt(factor) * sums, np.ones(G)) + least


def shrunk_covariance(scores: FloatArray, copies: FloatArray) -> FloatArray:
    """Return the mean of ``s s'`` over rows, shrunk to a multiple of the identity.

    By the share of Ledoit and Wolf, the rows' mean taken as zero. In an orthonormal
    basis the identity is the covariance of homoskedastic moments.

    Parameters
    ----------
    scores : ndarray of shape (n, L)
    copies : ndarray of shape (n,)
        How many rows each row stands for.

    References
    ----------
    .. [1] Ledoit & Wolf (2004), A well-conditioned estimator for large-dimensional
       covariance matrices, Journal of Multivariate Analysis 88.
    """
    share = copies / copies.sum()
    S = scores.T @ (share[:, None] * scores)
    target = np.trace(S) / len(S)
    squares = np.sum(S**2)
    noise = share @ np.sum(scores**2, axis=1) ** 2 - squares
    spread = squares - target**2 * len(S)
    part = min(1.0, noise / copies.sum() / spread) if spread > 0 else 1.0
    return part * target * np.eye(len(S)) + (1.0 - part) * S
