"""Pivoted Cholesky of a Gram operator, column by column, without forming it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular

from causalweights._numba._gram import subtract_outer


class _Columns(Protocol):
    shape: tuple[int, int]
    dtype: np.dtype

    def block(
        self, rows: ArrayLike | None, columns: ArrayLike | None = None
    ) -> np.ndarray: ...

    def diagonal(self) -> np.ndarray: ...


@dataclass(frozen=True, slots=True)
class LowRankFactor:
    """A factor of a positive semi-definite matrix, K about ``factor @ factor.T``.

    Attributes
    ----------
    factor : ndarray of shape (n, r)
    pivots : ndarray of shape (r,)
        Rows whose columns were taken, in order.
    residual : ndarray of shape (n,)
        Diagonal of ``K - factor @ factor.T``, non-negative. Add it where the factor
        stands for K in an optimisation (as FITC does): an optimiser exploits the
        directions that plain truncation leaves out.
    trace_error : float
        Sum of the residual over the trace of K.
    """

    factor: np.ndarray
    pivots: np.ndarray
    residual: np.ndarray
    trace_error: float

    def features(self, columns: ArrayLike) -> np.ndarray:
        """Return the factor's rows for new points from ``k(x_new, pivots)``, (m, r)."""
        core, columns = self.factor[self.pivots], np.asarray(columns)
        if not len(core):  # scipy 1.13 solves no empty system
            return columns[:, :0]
        return solve_triangular(core, columns.T, lower=True).T


def pivoted_cholesky(
    operator: _Columns, *, tol: float = 1e-4, rank: int = 400
) -> LowRankFactor:
    """Return the greedy pivoted Cholesky factor of a symmetric operator.

    Time O(n r (d + r)), memory O(n r): r columns are asked of the operator, each the
    one with the largest residual diagonal (ties: the lowest index).

    Parameters
    ----------
    operator : GramOperator
        Of one sample, so that it has a diagonal.
    tol : float, default=1e-4
        Stop where the residual's trace is at most this share of the trace.
    rank : int, default=400
        Largest number of columns.

    Returns
    -------
    LowRankFactor

    References
    ----------
    Harbrecht, Peters & Schneider (2012), Applied Numerical Mathematics 62.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.kernels import Gaussian, pivoted_cholesky
    >>> X = np.linspace(0, 1, 50)[:, None]
    >>> low = pivoted_cholesky(Gaussian(bandwidth=1.0).operator(X), tol=1e-10)
    >>> low.factor.shape[1] < 12 and low.trace_error < 1e-10
    True
    """
    residual = np.array(operator.diagonal(), dtype=np.float64)
    n = len(residual)
    trace = residual.sum()
    rows = np.zeros((min(rank, n), n))
    pivots: list[int] = []
    # Residuals below the rounding of K's entries are noise.
    floor = np.finfo(operator.dtype).eps * 8 * max(residual.max(initial=0.0), 0.0)
    while len(pivots) < min(rank, n) and residual.sum() > tol * trace:
        p = int(np.argmax(residual))
        if residual[p] <= floor:
            break
        r = len(pivots)
        # A row of a symmetric operator: the compiled sweeps run along rows.
        column = operator.block([p], None)[0].astype(np.float64)
        subtract_outer(column, rows, np.ascontiguousarray(rows[:r, p]), r)
        # The pivot's own entry from the column, not from the running difference.
        if column[p] <= floor:
            break
        column /= np.sqrt(column[p])
        column[pivots] = 0.0
        rows[r] = column
        residual -= column * column
        np.maximum(residual, 0.0, out=residual)
        residual[p] = 0.0
        pivots.append(p)
    factor = np.ascontiguousarray(rows[: len(pivots)].T)
    error = float(residual.sum() / trace) if trace > 0 else 0.0
    return LowRankFactor(factor, np.array(pivots, dtype=np.intp), residual, error)
