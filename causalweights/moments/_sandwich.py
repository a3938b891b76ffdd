"""Covariance of estimators that weight moments, and tests of the moments left over."""

from __future__ import annotations

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, null_space

from causalweights._typing import FloatArray


def sandwich(
    G: FloatArray, W: FloatArray, omega: FloatArray, n_samples: float
) -> FloatArray:
    """Return the covariance of theta for a given weight of the moments, (p, p).

    ``(G'WG)^{-1} G'W Omega W G (G'WG)^{-1} / N`` is valid for every W, efficient or
    not; with W = Omega^{-1} it is ``(G'Omega^{-1}G)^{-1} / N``.

    Parameters
    ----------
    G : ndarray of shape (m, p)
        Mean derivative of the moments.
    W : ndarray of shape (m, m)
        Weight that the estimator used.
    omega : ndarray of shape (m, m)
        Covariance of the moments.
    n_samples : float
        N.

    References
    ----------
    .. [1] Hansen (1982), Large sample properties of generalized method of moments
       estimators, Econometrica 50, theorem 3.1.
    """
    A = selector(G, W)
    cov = A @ omega @ A.T / n_samples
    return 0.5 * (cov + cov.T)


def selector(G: FloatArray, W: FloatArray) -> FloatArray:
    """Return ``(G'WG)^{-1} G'W``, (p, m): theta answers the moments by minus this.

    Raises
    ------
    ValueError
        Where the moments do not determine the parameters.
    """
    weighted = G.T @ W
    bread = weighted @ G
    unit = 1.0 / np.sqrt(np.maximum(np.diagonal(bread), np.finfo(np.float64).tiny))
    scaled = unit[:, None] * bread * unit
    if not np.all(np.isfinite(scaled)) or np.linalg.cond(scaled) > 1e14:
        raise ValueError(
            "the model is under-identified at the estimate: the moments' derivatives "
            "are linearly dependent. Add instruments, or drop parameters."
        )
    return unit[:, None] * np.linalg.solve(scaled, unit[:, None] * weighted)


def windmeijer(
    cov: FloatArray, cov_first: FloatArray, G: FloatArray, W: FloatArray,
    slopes: FloatArray,
) -> FloatArray:  # fmt: skip
    """Return the two-step covariance corrected for the estimated weight, (p, p).

    With D = d theta / d theta_1, how the estimate moves with the first step's through
    the weight, ``V + D V + V D' + D V_1 D'``.

    Parameters
    ----------
    cov, cov_first : ndarray of shape (p, p)
        V of the two-step and V_1 of the one-step estimator.
    G, W : ndarray of shape (m, p), (m, m)
        W = Omega(theta_1)^{-1}.
    slopes : ndarray of shape (m, p)
        Columns ``dOmega(theta_1) / d theta_j W mbar``, with the mean moments at theta.

    References
    ----------
    .. [1] Windmeijer (2005), A finite sample correction for the variance of linear
       efficient two-step GMM estimators, Journal of Econometrics 126.
    """
    D = selector(G, W) @ slopes
    corrected = cov + D @ cov + cov @ D.T + D @ cov_first @ D.T
    return 0.5 * (corrected + corrected.T)


def inverse_covariance(omega: FloatArray) -> FloatArray:
    """Return the inverse of a covariance of moments, (m, m).

    Raises
    ------
    ValueError
        Where it is singular.
    """
    diagonal = np.diagonal(omega)
    singular = ValueError(
        f"the covariance of the {len(omega)} moments is singular, so that it gives no "
        "weight: there are too few rows or clusters for so many moments, or moments "
        "repeat each other. Use fewer instruments, or steps=1."
    )
    if not np.all(np.isfinite(omega)) or np.any(diagonal <= 0):
        raise singular
    unit = 1.0 / np.sqrt(diagonal)
    scaled = unit[:, None] * omega * unit
    try:
        factor = cho_factor(scaled, lower=True)
    except LinAlgError:
        raise singular from None
    # Rounding leaves roots of a few eps where a moment is given by the others.
    if np.min(np.diagonal(factor[0])) < 1e-7:
        raise singular
    inverse = unit[:, None] * cho_solve(factor, np.eye(len(omega))) * unit
    return 0.5 * (inverse + inverse.T)


def overidentification(
    mbar: FloatArray, G: FloatArray, omega: FloatArray, n_samples: float
) -> float:
    """Return the J statistic of any consistent estimator, chi2(m - p).

    The moments are projected on the complement of G, which estimating theta does not
    touch: with N'G = 0, ``N mbar'N (N'Omega N)^{-1} N'mbar``. At an estimate with W =
    Omega^{-1} this is ``N mbar'W mbar``.

    Parameters
    ----------
    mbar : ndarray of shape (m,)
    G : ndarray of shape (m, p)
    omega : ndarray of shape (m, m)
    n_samples : float

    References
    ----------
    .. [1] Newey & McFadden (1994), Large sample estimation and hypothesis testing,
       Handbook of Econometrics 4, section 9.5.
    """
    unit = 1.0 / np.sqrt(np.diagonal(omega))
    free = null_space((unit[:, None] * G).T)
    left = free.T @ (unit * mbar)
    covariance = free.T @ (unit[:, None] * omega * unit) @ free
    return float(n_samples * left @ np.linalg.solve(covariance, left))
