"""How far a quadratic form moves when a low-rank factor stands for the matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from causalweights.kernels._low_rank import LowRankFactor


@dataclass(frozen=True, slots=True)
class ErrorBound:
    """Bounds on a quadratic form minus its replacement.

    Attributes
    ----------
    lower, upper : float
        ``lower <= c'Kc - replacement <= upper``.
    crude : float
        ``|c|^2`` times the residual's trace, at least ``max(-lower, upper)``: known
        from the trace error and the effective sample size alone.
    """

    lower: float
    upper: float
    crude: float


def objective_error_bound(
    factor: LowRankFactor, c: ArrayLike, *, corrected: ArrayLike | bool = True
) -> ErrorBound:
    """Bound ``c'Kc - c'(L L' + diag(residual))c`` for coefficients c.

    ``R = K - L L'`` is positive semi-definite with diagonal ``r``, hence ``|R_ij| <=
    sqrt(r_i r_j)`` and ``0 <= c'Rc <= s^2`` with ``s = sum_i |c_i| sqrt(r_i)``. With
    ``a``, ``b`` the sums of ``r_i c_i^2`` over the rows whose diagonal is corrected
    and over the others, the difference is ``c'Rc - a``, that is b plus the sum off the
    diagonal, and lies in ``[max(-a, 2 b + a - s^2), s^2 - a]``. Time and memory O(n).

    Parameters
    ----------
    factor : LowRankFactor
    c : array-like of shape (n,)
        Coefficients, of any sign. One sample: weights w. A squared discrepancy
        ``w'K_SS w - 2 w'K_ST v + v'K_TT v`` with its linear term from the same joint
        factor (rows S, then T): w, then -v; this covers ``q = K_ST v`` as well, for
        which alone ``|q_i - L_i L_T'v| <= sqrt(r_i) sum_j |v_j| sqrt(r_j)``.
    corrected : bool or array-like of bool of shape (n,), default=True
        Rows where the replacement has the residual on its diagonal; with the joint
        factor those of S, False for plain truncation.

    Returns
    -------
    ErrorBound
        Of the form itself: halve it for an objective that halves the form. Rounding,
        about ``1e-15 c'Kc`` (``1e-7`` for a float32 factor), is not in it.

    Raises
    ------
    ValueError
        Where shapes do not agree or a coefficient is not finite.

    Notes
    -----
    Let w minimize the replacement over a set. By as much as ``upper(w) - lower(v)``,
    at most, can any other v of the set have a smaller true value.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.kernels import Gaussian, objective_error_bound
    >>> X = np.linspace(0, 4, 40)[:, None]
    >>> K, w = Gaussian(bandwidth=1.0)(X), np.full(40, 1 / 40)
    >>> low = Gaussian(bandwidth=1.0).operator(X).low_rank(rank=3)
    >>> error = w @ K @ w - np.sum((low.factor.T @ w) ** 2) - w**2 @ low.residual
    >>> bound = objective_error_bound(low, w)
    >>> bool(bound.lower <= error <= bound.upper <= bound.crude)
    True
    """
    r = np.asarray(factor.residual, dtype=np.float64)
    c = np.abs(np.asarray(c, dtype=np.float64))
    if c.shape != r.shape:
        raise ValueError(
            f"c has shape {c.shape}, the factor {len(r)} rows: pass one coefficient a "
            "row (of a joint factor: those of both samples)."
        )
    if not np.all(np.isfinite(c)):
        raise ValueError("c holds NaN or infinity: pass finite coefficients.")
    mask = np.asarray(corrected)
    if mask.dtype != bool or mask.shape not in ((), r.shape):
        raise ValueError(
            f"corrected must be True, False or a mask of shape {r.shape}, got "
            f"{mask.dtype} of shape {mask.shape}."
        )
    squares = r * c * c
    a = float(np.sum(squares, where=mask))
    b = float(np.sum(squares, where=~mask))
    whole = float(np.sum(c * np.sqrt(r))) ** 2
    return ErrorBound(
        lower=max(-a, 2.0 * b + a - whole),
        upper=whole - a,
        crude=float(np.sum(c * c)) * float(np.sum(r)),
    )
