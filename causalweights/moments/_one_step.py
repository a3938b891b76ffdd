"""Efficient estimation with learned optimal instruments (Chamberlain, 1987).

Where E[psi | z] = 0, the instruments D(z)'V(z)^{-1} with D(z) = E[dpsi/dtheta | z] and
V(z) = Var(psi | z) attain the efficiency bound. Both are ridge regressions on the
features of z, learned on other folds than the rows that they weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from causalweights._typing import FloatArray, IntArray
from causalweights.moments._data import MomentData
from causalweights.moments._gmm_covariance import CovarianceOptions
from causalweights.moments._moment_covariance import moment_covariance
from causalweights.moments._profile import Restriction
from causalweights.moments._sandwich import sandwich

_RIDGES = np.geomspace(1e-8, 1e2, 21)
# Squared residuals are at least this share of their mean before the logarithm.
_LEAST_SQUARE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class OneStep:
    """Root of the efficient moments.

    Attributes
    ----------
    theta : ndarray of shape (p,)
    cov : ndarray of shape (p, p)
    converged : bool
    """

    theta: FloatArray
    cov: FloatArray
    converged: bool


def efficient_step(
    restriction: Restriction,
    features: FloatArray,
    theta: FloatArray,
    data: MomentData,
    folds: Sequence[tuple[IntArray, IntArray]],
    options: CovarianceOptions,
    tol: float = 1e-9,
    max_iter: int = 50,
) -> OneStep:
    """Solve the moments with instruments learned at a preliminary theta.

    Parameters
    ----------
    restriction : Restriction
        Its residuals are used, not its instruments.
    features : ndarray of shape (n, L)
        Of the instruments, at the scale of a kernel with unit diagonal.
    theta : ndarray of shape (p,)
        Consistent.
    data : MomentData
    folds : list of (train, test)
    options : CovarianceOptions
        Resolved.
    tol, max_iter : float and int
        Of Newton's method: it stops at steps of ``tol`` standard errors.
    """
    instruments = learned_instruments(
        restriction.residual(theta), restriction.jacobian(theta), features,
        data.sample_weight / data.n_samples, folds,
    )  # fmt: skip
    weighted = data.moment_weight[:, None, None] * instruments

    def scores_at(theta: FloatArray) -> FloatArray:
        return np.einsum("npr,nr->np", weighted, restriction.residual(theta))

    scores = scores_at(theta)
    unit = np.sqrt(data.masses @ scores**2)
    unit = np.where(unit > 0, unit, 1.0)
    for _ in range(max_iter):
        H = np.einsum(
            "n,npr,nrk->pk", data.masses, weighted, restriction.jacobian(theta)
        )
        cov = combined_covariance(scores, H, data, options)
        mean = data.masses @ scores
        step = -np.linalg.solve(H, mean)
        if np.all(np.abs(step) <= tol * np.sqrt(np.diagonal(cov))):
            return OneStep(theta + step, cov, True)
        for share in 0.5 ** np.arange(30):  # from a bad start full steps may diverge
            scores = scores_at(theta + share * step)
            new = data.masses @ scores
            if np.linalg.norm(new / unit) < np.linalg.norm(mean / unit):
                break
        theta = theta + share * step
    return OneStep(theta, cov, False)


def combined_covariance(
    scores: FloatArray, slopes: FloatArray, data: MomentData, options: CovarianceOptions
) -> FloatArray:
    """Return the covariance of the root of p moments, ``H^{-1} Omega H^{-T} / N``.

    Parameters
    ----------
    scores : ndarray of shape (n, p)
        Each row's moments, times its sampling weight.
    slopes : ndarray of shape (p, p)
        H, their mean derivative.
    data : MomentData
    options : CovarianceOptions
        Resolved; ``"unadjusted"`` counts as ``"robust"``.
    """
    kind = "robust" if options.cov_type == "unadjusted" else options.cov_type
    omega = moment_covariance(
        scores, data.copies, cov_type=kind, groups=data.groups, kernel=options.kernel,
        bandwidth=options.lags,
    )  # fmt: skip
    return sandwich(slopes, np.eye(len(slopes)), omega, data.n_samples)


def learned_instruments(
    residual: FloatArray,
    jacobian: FloatArray,
    features: FloatArray,
    w: FloatArray,
    folds: Sequence[tuple[IntArray, IntArray]],
) -> FloatArray:
    """Return D(z)'V(z)^{-1} of each row, (n, p, r), learned on other folds.

    V(z) has one correlation matrix, and standard deviations whose logarithms are
    regressions, so that it is positive definite; a wrong form costs efficiency, not
    consistency.

    Parameters
    ----------
    residual : ndarray of shape (n, r)
    jacobian : ndarray of shape (n, r, p)
    features : ndarray of shape (n, L)
    w : ndarray of shape (n,)
        Row weights, sum one.
    folds : list of (train, test)
    """
    n, r, p = jacobian.shape
    squares = np.maximum(residual**2, _LEAST_SQUARE * (w @ residual**2))
    targets = np.hstack([jacobian.reshape(n, r * p), np.log(squares)])
    fitted = np.empty_like(targets)
    for train, test in folds:
        fitted[test] = ridge_predictions(
            features[train], targets[train], w[train], features[test]
        )
    slopes = fitted[:, : r * p].reshape(n, r, p)
    spread = np.exp(0.5 * fitted[:, r * p :])
    scaled = residual / spread
    precision = np.linalg.inv((w[:, None] * scaled).T @ scaled)
    return np.einsum("nrp,nr,rs,ns->nps", slopes, 1 / spread, precision, 1 / spread)


def ridge_predictions(
    B: FloatArray, targets: FloatArray, w: FloatArray, B_new: FloatArray
) -> FloatArray:
    """Return ridge predictions, each target's penalty by weighted leave-one-out.

    Instruments are exponentials of what is predicted: wiggles of a small penalty make a
    few rows dominate, and extrapolations have no bound. So the penalty is halfway, in
    logarithms, from the best to the largest within a standard error, and predictions
    stay within the range of the fit.

    Parameters
    ----------
    B, B_new : ndarray of shape (n, L), (m, L)
    targets : ndarray of shape (n, k)
    w : ndarray of shape (n,)
        Positive row weights.

    Returns
    -------
    ndarray of shape (m, k)
    """
    share = w / w.sum()
    center, mean = share @ B, share @ targets
    rooted = np.sqrt(share)[:, None]
    U, sizes, Vt = np.linalg.svd(rooted * (B - center), full_matrices=False)
    outcome = rooted * (targets - mean)
    projected = U.T @ outcome
    squares = np.empty((len(_RIDGES), *targets.shape))
    for k, ridge in enumerate(_RIDGES):
        shrink = sizes**2 / (sizes**2 + ridge)
        leverage = np.einsum("nk,k,nk->n", U, shrink, U) + share
        left = outcome - U @ (shrink[:, None] * projected)
        squares[k] = (left / (1.0 - leverage)[:, None]) ** 2
    chosen = _RIDGES[_smooth_enough(squares)]
    shrunk = sizes[:, None] / (sizes[:, None] ** 2 + chosen)
    coef = Vt.T @ (shrunk * projected)
    fitted = (B - center) @ coef
    found = np.clip((B_new - center) @ coef, fitted.min(axis=0), fitted.max(axis=0))
    return mean + found


def _smooth_enough(squares: FloatArray) -> IntArray:
    """Return the middle of the best and the last within a standard error of it, (k,).

    ``squares`` (m, n, k) are terms of each row, for m penalties that increase.
    """
    errors = squares.sum(axis=1)
    least = errors.argmin(axis=0)
    columns = np.arange(errors.shape[1])
    spread = squares[least, :, columns].std(axis=1) * np.sqrt(squares.shape[1])
    within = errors <= errors[least, columns] + spread
    largest = len(errors) - 1 - within[::-1].argmax(axis=0)
    return (least + largest) // 2
