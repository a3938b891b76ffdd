"""Cholesky solution of the bordered systems shared by the solvers.

[A  -B; B' D][x; y] = [r; s] with A positive definite on sum-zero vectors of each group
and B the (n, G) group indicators, followed by the columns of moments where there are
any, by block elimination.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from causalweights.optimize._certificate import FloatArray, IntArray

# Conjugate gradients on a single precision factor either converge in a few steps or
# the matrix is too ill-conditioned for that factor.
REFINEMENT_STEPS = 12
REFINEMENT_TOLERANCE = 1e-13
# Pivots whose squared ratio is below this carry no correct digit in double precision.
PIVOT_RATIO = 1e-15
# Directions of the constraints below this share of the largest carry no information.
SCHUR_RATIO = 1e-13


def lift(A: FloatArray, labels: IntArray, shift: float) -> None:
    """Add `shift` to every within-group entry of A, in place.

    On the constraint set this adds a constant to the objective, and it makes kernels
    that are positive definite only for sum-zero vectors (minus a distance) definite.
    """
    if shift == 0.0:
        return
    if labels.size == 0 or np.all(labels == labels[0]):
        A += shift
        return
    for start in range(0, labels.size, 256):
        rows = slice(start, start + 256)
        A[rows] += shift * (labels[rows, None] == labels)


def default_shift(K: FloatArray) -> float:
    """Lift that makes minus a distance matrix definite: four times its maximum."""
    size = max(float(K.max()), -float(K.min()))
    return 4.0 * size if size > 0.0 else 1.0


def cholesky(A: NDArray, ratio: float) -> tuple[NDArray, bool]:
    """Factor symmetric A in its own storage; LinAlgError when it is singular.

    `ratio` is the smallest squared ratio of pivots that is taken as definite.
    """
    # A symmetric C-ordered array is its own transpose in Fortran order: no copy.
    factor = cho_factor(A.T, lower=True, overwrite_a=True, check_finite=False)
    pivots = np.abs(factor[0].diagonal()).astype(np.float64)
    if not pivots.min() ** 2 > ratio * pivots.max() ** 2:
        raise LinAlgError("the matrix is numerically singular")
    return factor


class Bordered:
    """Block elimination of [A -B; B' D] for any way of applying the inverse of A.

    B (n, m) holds the group indicators first and then, if there are any, columns of
    moments; D is diagonal, `corner` (m,), or zero. A subclass defines `_apply`.
    """

    def _apply(self, r: FloatArray) -> FloatArray:
        raise TypeError(f"{type(self).__name__} does not say how A is inverted.")

    def _set_border(
        self,
        B: FloatArray,
        r: FloatArray,
        corner: FloatArray | None = None,
        truncate: bool = False,
    ) -> None:
        self._B = B
        solutions = self._apply(np.column_stack([B, r]))
        self._border, self._first = solutions[:, :-1], solutions[:, -1]
        schur = B.T @ self._border
        if corner is not None:
            schur.flat[:: schur.shape[0] + 1] += corner
        self._schur = _truncated(schur) if truncate else _definite(schur)

    def solve(self, r: FloatArray, s: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return x, y with A x - B y = r and B'x + D y = s."""
        return self._join(self._apply(r), s)

    def solve_first(self, s: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return x, y for the right side that was given to the constructor."""
        return self._join(self._first, s)

    def _join(self, x: FloatArray, s: FloatArray) -> tuple[FloatArray, FloatArray]:
        y = self._schur(s - self._B.T @ x)
        return x + self._border @ y, y


def _exact(A: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """Return the inverse of A, which may be empty; LinAlgError when it is singular."""
    if A.size == 0:
        return lambda s: s
    factor = cholesky(A, PIVOT_RATIO)
    return lambda s: cho_solve(factor, s, check_finite=False)


def _definite(schur: FloatArray) -> Callable[[FloatArray], FloatArray]:
    factor = cho_factor(schur, lower=True)
    return lambda s: cho_solve(factor, s)


def _truncated(schur: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """Solve by the eigenvectors that carry information.

    Moments may depend on each other on the rows that are free at the moment; then the
    multipliers of least norm are taken, and the caller checks that s is met.
    """
    schur = 0.5 * (schur + schur.T)
    root = np.sqrt(np.maximum(schur.diagonal(), np.finfo(np.float64).tiny))
    values, vectors = np.linalg.eigh(schur / root / root[:, None])
    kept = values > SCHUR_RATIO * values[-1]
    vectors = vectors[:, kept] / root[:, None]
    return lambda s: vectors @ ((vectors.T @ s) / values[kept])


class BorderedFactor(Bordered):
    """Factorisation of [A -B; B' D]; A (n, n) is symmetric and is overwritten.

    The first right side r (n,) is given at once, to be solved together with the
    border. Raises LinAlgError when A is not numerically positive definite, judged by
    the squared ratio of its pivots.
    """

    def __init__(
        self,
        A: FloatArray,
        B: FloatArray,
        r: FloatArray,
        ratio: float = PIVOT_RATIO,
        corner: FloatArray | None = None,
        truncate: bool = False,
    ) -> None:
        self._factor = cholesky(A, ratio)
        self._set_border(B, r, corner, truncate)

    def _apply(self, r: FloatArray) -> FloatArray:
        return cho_solve(self._factor, r, check_finite=False)


class UpdatedFactor(Bordered):
    """The factor for some rows of A from the one for a few rows more or less.

    `base` belongs to the rows `old`, both `old` and `free` are sorted, and
    `block(rows, columns)` returns entries of A. Rows that leave are held at zero by
    multipliers, rows that come are eliminated by their Schur complement: k of them
    cost O(k n**2), where a new factor costs n**3 / 3. LinAlgError where the rows that
    come are numerically singular beside the others.
    """

    def __init__(
        self,
        base: Bordered,
        old: IntArray,
        free: IntArray,
        block: Callable[[IntArray, IntArray], FloatArray],
        B: FloatArray,
        r: FloatArray,
        truncate: bool = False,
    ) -> None:
        came = np.setdiff1d(free, old, assume_unique=True)
        gone = np.flatnonzero(np.isin(old, free, assume_unique=True, invert=True))
        self._base, self._n_old, self._n_gone = base, old.size, gone.size
        self._came = np.searchsorted(free, came)
        self._kept = np.flatnonzero(np.isin(free, old, assume_unique=True))
        self._place = np.searchsorted(old, free[self._kept])
        self._columns = np.zeros((old.size, gone.size + came.size))
        self._columns[gone, np.arange(gone.size)] = 1.0
        self._columns[:, gone.size :] = block(old, came)
        self._inverse = base._apply(self._columns)
        schur = self._columns.T @ self._inverse
        self._leave = _exact(schur[: gone.size, : gone.size].copy())
        self._cross = schur[: gone.size, gone.size :]
        corner = block(came, came)
        rest = corner - schur[gone.size :, gone.size :]
        rest += self._cross.T @ self._leave(self._cross)
        if np.any(rest.diagonal() <= PIVOT_RATIO * corner.diagonal()):
            raise LinAlgError("the rows that come are numerically singular")
        self._come = _exact(rest)
        self._set_border(B, r, truncate=truncate)

    def _apply(self, r: FloatArray) -> FloatArray:
        extended = np.zeros((self._n_old, *r.shape[1:]))
        extended[self._place] = r[self._kept]
        x = self._base._apply(extended)
        image = self._columns.T @ x
        held, coming = image[: self._n_gone], image[self._n_gone :]
        come = self._come(r[self._came] - coming + self._cross.T @ self._leave(held))
        leave = self._leave(held - self._cross @ come)
        x -= self._inverse @ np.concatenate([leave, come])
        out = np.empty_like(r, dtype=np.float64)
        out[self._kept], out[self._came] = x[self._place], come
        return out


class RefinedFactor(Bordered):
    """The same from a single precision factor, refined to double precision.

    Half the time and memory of a double precision factor. Every solve runs conjugate
    gradients, preconditioned by the factor, on `multiply`, the exact product with A;
    LinAlgError when they do not converge at once.
    """

    def __init__(
        self,
        A: NDArray[Any],
        B: FloatArray,
        r: FloatArray,
        multiply: Callable[[FloatArray], FloatArray],
        truncate: bool = False,
    ) -> None:
        self._factor = cholesky(A, float(np.finfo(np.float32).eps))
        self._multiply = multiply
        self._set_border(B, r, None, truncate)

    def _precondition(self, r: FloatArray) -> FloatArray:
        # Scaled per column: a residual near 1e-13 of tiny data would underflow.
        size = np.maximum(np.abs(r).max(axis=0), np.finfo(np.float64).tiny)
        single = (r / size).astype(np.float32)
        return cho_solve(self._factor, single, check_finite=False) * size

    def _apply(self, r: FloatArray) -> FloatArray:
        residual = r.reshape(r.shape[0], -1).astype(np.float64)
        wanted = REFINEMENT_TOLERANCE * np.linalg.norm(residual, axis=0)
        x = np.zeros_like(residual)
        z = self._precondition(residual)
        direction, inner = z, np.sum(residual * z, axis=0)
        for _ in range(REFINEMENT_STEPS):
            image = self._multiply(direction)
            curvature = np.sum(direction * image, axis=0)
            # A column that is solved already has a zero direction.
            step = np.divide(
                inner, curvature, out=np.zeros_like(inner), where=curvature > 0.0
            )
            x += step * direction
            residual = residual - step * image
            if np.all(np.linalg.norm(residual, axis=0) <= wanted):
                return x.reshape(r.shape)
            z = self._precondition(residual)
            new = np.sum(residual * z, axis=0)
            ratio = np.divide(new, inner, out=np.zeros_like(new), where=inner > 0.0)
            direction, inner = z + ratio * direction, new
        raise LinAlgError("too ill-conditioned for a single precision factor")
