"""Closed forms of the chi-squared divergence, and the weight matrix they rest on.

With the sample as reference, V = mbar'(Omega_kappa + lam R)^{-1} mbar / 2 exactly. For
every divergence this is the limit of V for small moments, so that Omega_kappa, the
covariance of the moments' residuals from a kernel ridge regression on the data, is
what the estimator weights by.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from causalweights._typing import FloatArray
from causalweights.moments._dual import Factor


@dataclass(frozen=True, slots=True, eq=False)
class Chi2Dual:
    """Closed-form solution of the inner problem.

    Attributes
    ----------
    value : float
        V.
    a, b : ndarray of shape (D,), (q,)
        Coefficients of f, and multipliers.
    p : ndarray of shape (n,)
        Implied weights, sum one; they may be negative.
    """

    value: float
    a: FloatArray
    b: FloatArray
    p: FloatArray


def omega_kappa(
    M: FloatArray, Phi: FloatArray, w: FloatArray, kappa: float
) -> FloatArray:
    """Return the covariance of the moments' kernel ridge residuals, (q, q).

    ``Mc'(W - W Pc (Pc'W Pc + kappa I)^{-1} Pc'W) Mc`` with W = diag(w) and columns
    centred under w; the ordinary centred covariance at kappa = inf. Time O(n (D +
    q)^2), no n x n matrix.

    Parameters
    ----------
    M : ndarray of shape (n, q)
    Phi : ndarray of shape (n, D)
    w : ndarray of shape (n,)
        Sum one.
    kappa : float
        Positive or inf.
    """
    rooted = np.sqrt(w)[:, None]
    Mc = rooted * (M - w @ M)
    omega = Mc.T @ Mc
    if np.isfinite(kappa):
        Pc = rooted * (Phi - w @ Phi)
        cross = Pc.T @ Mc
        omega -= cross.T @ _ridge(Pc, kappa).solve(cross)
    return 0.5 * (omega + omega.T)


def chi2_dual(
    M: FloatArray,
    Phi: FloatArray,
    w: FloatArray,
    kappa: float,
    lam: float,
    R: FloatArray | None = None,
) -> Chi2Dual:
    """Return the inner problem's solution for the chi-squared divergence.

    Parameters
    ----------
    M : ndarray of shape (n, q)
    Phi : ndarray of shape (n, D)
    w : ndarray of shape (n,)
        Weights of the sample, sum one, which is the reference as well.
    kappa, lam : float
        As in `inner_dual`.
    R : ndarray of shape (q, q) or None, default=None
        None is the identity.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.moments._chi2 import chi2_dual
    >>> M, w = np.array([[-1.0], [1.0], [3.0]]), np.full(3, 1 / 3)
    >>> found = chi2_dual(M, np.empty((3, 0)), w, np.inf, 0.0)
    >>> bool(np.isclose(found.value, 0.5 * M.mean() ** 2 / M.var()))
    True
    """
    mbar = w @ M
    total = penalized(omega_kappa(M, Phi, w, kappa), lam, R)
    b = Factor(total).solve(mbar)
    u = -(M - mbar) @ b
    a: FloatArray = np.zeros(Phi.shape[1])
    if np.isfinite(kappa):
        rooted = np.sqrt(w)
        Pc = Phi - w @ Phi
        a = _ridge(rooted[:, None] * Pc, kappa).solve(-(w * u) @ Pc)
        u = u + Pc @ a
    return Chi2Dual(0.5 * float(mbar @ b), a, b, w * (1.0 + u))


def penalized(omega: FloatArray, lam: float, R: FloatArray | None) -> FloatArray:
    """Return ``omega + lam R``."""
    return omega + lam * (np.eye(len(omega)) if R is None else R)


def linear_solution(
    mean_outcome: FloatArray, mean_slopes: FloatArray, W: FloatArray
) -> FloatArray:
    """Return theta that minimises ``(y - G theta)'W(y - G theta)``, (p,).

    Linear moments m = y b(z) - (t'theta) b(z) with a fixed weight: one step of GMM,
    maximum moment restrictions and the two-step form of chi-squared are all this.

    Parameters
    ----------
    mean_outcome : ndarray of shape (q,)
        Mean of y b(z).
    mean_slopes : ndarray of shape (q, p)
        Mean of b(z) t'.
    W : ndarray of shape (q, q)
        Positive definite.

    Raises
    ------
    ValueError
        If the slopes' columns are linearly dependent.
    """
    lower = np.linalg.cholesky(0.5 * (W + W.T))
    theta, _, rank, _ = np.linalg.lstsq(lower.T @ mean_slopes, lower.T @ mean_outcome)
    if rank < mean_slopes.shape[1]:
        raise ValueError(
            f"the moments determine {rank} of {mean_slopes.shape[1]} parameters: "
            "regressors are collinear, or the instruments do not tell them apart."
        )
    return theta


def _ridge(Pc: FloatArray, kappa: float) -> Factor:
    gram = Pc.T @ Pc
    gram[np.diag_indices_from(gram)] += kappa
    return Factor(gram)
