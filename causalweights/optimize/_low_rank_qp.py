"""Quadratic programs whose matrix is LL' + diag(residual), never formed.

Both exact methods run on them: each linear system is solved by the identity of Woodbury
(1950) in O(n r^2) time and O(n r) memory. The diagonal is what a low-rank approximation
leaves of the exact one (FITC; Snelson and Ghahramani 2006), without which the optimum
exploits the directions that were discarded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgError, cho_solve

from causalweights.optimize._certificate import FloatArray, IntArray
from causalweights.optimize._dense_systems import SHORT
from causalweights.optimize._factor import Bordered, BorderedFactor, cholesky
from causalweights.optimize._moments import Moments
from causalweights.optimize._problem import Simplices

# Rows that are read at a time, so that copies stay small beside the factor.
PIECE = 2048
# Smallest diagonal, in units of the matrix, that Woodbury's identity can divide by.
SMALLEST_DIAGONAL = 1e-13
# A correction gains one or two digits; the outer methods correct the rest.
REFINEMENTS, REFINED = 1, 1e-12


class LowRankOperator:
    """The symmetric matrix LL' + diag(residual) for `simplex_qp`.

    Products and entries are accumulated in double precision, whatever the type of L.

    Parameters
    ----------
    L : array-like of shape (n, r)
        Factor, for instance of a pivoted Cholesky decomposition; float32 stays float32.
    residual : float or array-like of shape (n,), default=0.0
        Non-negative diagonal, for instance diag(K) less the squared rows of L.

    Attributes
    ----------
    shape : (n, n)
    dtype : float64
    L : ndarray of shape (n, r)
    residual : ndarray of shape (n,)

    Raises
    ------
    ValueError
        For wrong shapes, NaN or infinite entries, and a negative residual.

    Notes
    -----
    `simplex_qp` recognizes the class and takes O(n r^2) time a linear system and O(n r)
    memory, for "auto", "active_set" and "interior_point".

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.optimize import LowRankOperator, simplex_qp
    >>> x = np.array([-1.0, 1.0, 3.0])
    >>> operator = LowRankOperator(x[:, None], residual=0.0)
    >>> simplex_qp(operator, np.zeros(3), 1.0).weights.round(4)
    array([0.5556, 0.3333, 0.1111])
    """

    def __init__(self, L: ArrayLike, residual: ArrayLike = 0.0) -> None:
        L = np.asarray(L)
        if L.dtype != np.float32:
            L = L.astype(np.float64, copy=False)
        if L.ndim != 2 or L.shape[0] == 0:
            raise ValueError(f"L must have shape (n, r) with n > 0, got {L.shape}.")
        n = L.shape[0]
        diagonal = np.asarray(residual, dtype=np.float64)
        if diagonal.shape not in ((), (n,)):
            raise ValueError(f"residual must have shape ({n},), got {diagonal.shape}.")
        for name, array in (("L", L), ("residual", diagonal)):
            if not np.isfinite(array).all():
                raise ValueError(f"{name} contains NaN or infinity.")
        if np.any(diagonal < 0.0):
            raise ValueError(
                "residual must be non-negative; clip rounding with numpy.maximum."
            )
        self.L = L
        self.residual = np.broadcast_to(diagonal, (n,))
        self.shape = (n, n)
        self.dtype = np.dtype(np.float64)

    @property
    def factor(self) -> NDArray[Any]:
        """L, under the name it has in `kernels.LowRankFactor` and for `box_qp`."""
        return self.L

    def block(self, rows: IntArray, columns: IntArray | None = None) -> FloatArray:
        """Entries at `rows` and `columns` (the rows again by default)."""
        columns = rows if columns is None else columns
        entries = self.L[rows].astype(np.float64) @ self.L[columns].T.astype(np.float64)
        same = np.asarray(rows)[:, None] == np.asarray(columns)
        return entries + np.where(same, self.residual[rows][:, None], 0.0)

    def matvec(self, v: FloatArray, columns: IntArray | None = None) -> FloatArray:
        """Product with v, which holds the entries of `columns` when these are given."""
        v = np.asarray(v, dtype=np.float64)
        if columns is not None:
            full = np.zeros(self.shape[0])
            full[columns] = v
            v = full
        return times(self.L, inner(self.L, v)) + self.residual * v

    def diagonal(self) -> FloatArray:
        """Diagonal entries."""
        squares = np.einsum("ij,ij->i", self.L, self.L, dtype=np.float64)
        return squares + self.residual

    def restrict(self, rows: IntArray) -> LowRankOperator:
        """Return the operator of some rows and columns."""
        return LowRankOperator(self.L[rows], self.residual[rows])


@dataclass(frozen=True, slots=True, eq=False)
class LowRankQP:
    """Canonical problem with the matrix LL' + diag(delta); L (n, r), delta (n,).

    `delta` is the ridge and whatever else is diagonal.
    """

    L: NDArray[Any]
    delta: FloatArray
    q: FloatArray
    simplices: Simplices
    moments: Moments | None = None

    @property
    def ridge(self) -> FloatArray:
        return self.delta

    def product(self, v: FloatArray) -> FloatArray:
        return times(self.L, inner(self.L, v))

    def gradient(self, v: FloatArray) -> FloatArray:
        return self.product(v) + self.delta * v - self.q

    def free_systems(self) -> LowRankFreeSystems:
        return LowRankFreeSystems(self)

    def newton_systems(self) -> LowRankNewtonSystems:
        return LowRankNewtonSystems(self)


class LowRankFreeSystems:
    """Factors LL' + diag(delta) on the free rows, dense while these are few."""

    shift = 0.0

    def __init__(self, problem: LowRankQP) -> None:
        self.problem = problem

    def factor(self, free: IntArray, B: FloatArray, r: FloatArray) -> Bordered | None:
        """Return the factor, or None when the block is numerically singular."""
        L, diagonal = self._rows(free), self.problem.delta[free]
        truncate = self.problem.moments is not None
        try:
            if free.size <= L.shape[1]:
                return BorderedFactor(_dense(L, diagonal), B, r, truncate=truncate)
            return WoodburyFactor(L, diagonal, B, r, truncate=truncate)
        except LinAlgError:
            return None

    def regularized(
        self, free: IntArray, B: FloatArray, r: FloatArray
    ) -> Bordered | None:
        """Factor with a diagonal that keeps steps short; None when rows are many."""
        L, diagonal = self._rows(free), self.problem.delta[free]
        if free.size > 2 * L.shape[1]:
            return None
        A = _dense(L, diagonal)
        A.flat[:: free.size + 1] += SHORT * float(A.diagonal().max())
        try:
            return BorderedFactor(A, B, r, truncate=self.problem.moments is not None)
        except LinAlgError:
            return None

    def _rows(self, free: IntArray) -> NDArray[Any]:
        every = free.size == self.problem.q.size
        return self.problem.L if every else self.problem.L[free]


class LowRankNewtonSystems:
    """Factors LL' + a positive diagonal for the interior point method."""

    def __init__(self, problem: LowRankQP) -> None:
        self.problem = problem

    def factor(
        self, diagonal: FloatArray, B: FloatArray, corner: FloatArray | None
    ) -> Bordered | None:
        """Return the factor of [LL' + diagonal, -B; B', corner], or None."""
        L, q = self.problem.L, self.problem.q
        truncate = self.problem.moments is not None
        try:
            if q.size <= L.shape[1]:
                A = _dense(L, diagonal)
                return BorderedFactor(A, B, q, 0.0, corner, truncate)
            return WoodburyFactor(L, diagonal, B, q, corner, truncate, ratio=0.0)
        except LinAlgError:
            return None


class WoodburyFactor(Bordered):
    """Factorisation of [LL' + D, -B; B' corner] through I + L'D^-1 L (r, r).

    Raises LinAlgError when D is too small to be divided by, unless `ratio` is 0.
    """

    def __init__(
        self,
        L: NDArray[Any],
        diagonal: FloatArray,
        B: FloatArray,
        r: FloatArray,
        corner: FloatArray | None = None,
        truncate: bool = False,
        ratio: float = SMALLEST_DIAGONAL,
    ) -> None:
        size = float(np.einsum("ij,ij->i", L, L).max(initial=0.0))
        if not diagonal.min() > ratio * size:
            raise LinAlgError("the diagonal is too small for Woodbury's identity")
        self._L = L
        self._diagonal = diagonal
        small = np.eye(L.shape[1])
        for rows, part in pieces(L):
            part = part / np.sqrt(diagonal[rows])[:, None]
            small += part.T @ part
        self._small = cholesky(small, 0.0) if small.size else None
        self._set_border(B, r, corner, truncate)

    def _approximate(self, r: FloatArray) -> FloatArray:
        scaled = r / self._diagonal[:, None]
        if self._small is None:
            return scaled
        inside = cho_solve(self._small, inner(self._L, scaled), check_finite=False)
        return scaled - times(self._L, inside) / self._diagonal[:, None]

    def _apply(self, r: FloatArray) -> FloatArray:
        # The identity cancels where the diagonal is small: refine with exact products.
        wanted = r.reshape(r.shape[0], -1)
        x = self._approximate(wanted)
        size = np.linalg.norm(wanted, axis=0)
        for _ in range(REFINEMENTS):
            image = times(self._L, inner(self._L, x)) + self._diagonal[:, None] * x
            residual = wanted - image
            poor = np.linalg.norm(residual, axis=0) > REFINED * size
            if not poor.any():
                break
            x += np.where(poor, self._approximate(residual), 0.0)
        return x.reshape(r.shape)


def _dense(L: NDArray[Any], diagonal: FloatArray) -> FloatArray:
    L = L.astype(np.float64, copy=False)
    A = L @ L.T
    A.flat[:: A.shape[0] + 1] += diagonal
    return A


def pieces(L: NDArray[Any]) -> Iterator[tuple[slice, FloatArray]]:
    """Yield slices of rows with L on them, in double precision."""
    for first in range(0, L.shape[0], PIECE):
        rows = slice(first, first + PIECE)
        yield rows, L[rows].astype(np.float64, copy=False)


def inner(L: NDArray[Any], x: FloatArray) -> FloatArray:
    """L'x in double precision."""
    if L.dtype == np.float64:
        return L.T @ x
    total = np.zeros((L.shape[1], *x.shape[1:]))
    for rows, part in pieces(L):
        total += part.T @ x[rows]
    return total


def times(L: NDArray[Any], x: FloatArray) -> FloatArray:
    """L @ x in double precision."""
    if L.dtype == np.float64:
        return L @ x
    return np.concatenate([part @ x for _, part in pieces(L)])
