"""Linear systems of the two exact methods for a dense matrix.

`FreeSystems` serves the active set method, `NewtonSystems` the interior point method.
Both lift the matrix when it is definite only for vectors that sum to zero, and remember
what worked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError

from causalweights.optimize._certificate import FloatArray, IntArray
from causalweights.optimize._factor import (
    Bordered,
    BorderedFactor,
    RefinedFactor,
    UpdatedFactor,
    default_shift,
    lift,
)

if TYPE_CHECKING:
    from causalweights.optimize._problem import DenseQP

# A single precision factor pays from this size on, and while the free rows are most
# of all rows, so that its exact products can use K without a copy.
SINGLE_ROWS, SINGLE_SHARE = 5000, 0.6
# Changed rows, as a share of those of the last factor, up to which it is updated.
UPDATE_SHARE = 1 / 32
# Diagonal additions tried when a Cholesky factorisation fails, in units of the matrix.
EXTRAS = (0.0, 1e-15, 1e-13, 1e-11, 1e-9)
# Diagonal, in units of the matrix, that keeps steps within a singular matrix short.
SHORT = 1e-13


class FreeSystems:
    """Factors K + ridge on the free rows.

    The matrix is lifted when it is definite only for sum-zero vectors, and factored in
    single precision while that is accurate enough; what failed once is not tried again.
    """

    def __init__(self, problem: DenseQP) -> None:
        self.problem = problem
        self.shift = 0.0
        self._single = True
        self._last: tuple[IntArray, Bordered] | None = None
        self._allowance = 0

    def factor(self, free: IntArray, B: FloatArray, r: FloatArray) -> Bordered | None:
        """Return the factor, or None when the block is numerically singular."""
        factor = self._updated(free, B, r)
        if factor is not None:
            return factor
        self._last = None  # its memory is free for the next one
        factor = self._fresh(free, B, r)
        if isinstance(factor, BorderedFactor):
            self._last = free, factor
            self._allowance = int(UPDATE_SHARE * free.size)
        return factor

    def _updated(self, free: IntArray, B: FloatArray, r: FloatArray) -> Bordered | None:
        """Return the factor from the last one if few rows changed, else None."""
        if self._last is None:
            return None
        old, base = self._last
        self._allowance -= np.setxor1d(old, free, assume_unique=True).size
        if self._allowance < 0:
            return None
        problem, labels = self.problem, self.problem.simplices.labels

        def block(rows: IntArray, columns: IntArray) -> FloatArray:
            A = problem.K[np.ix_(rows, columns)]
            A += self.shift * (labels[rows, None] == labels[columns])
            return A + problem.ridge[rows, None] * (rows[:, None] == columns)

        truncate = problem.moments is not None
        try:
            factor = UpdatedFactor(base, old, free, block, B, r, truncate)
        except LinAlgError:
            return None
        self._last = free, factor
        return factor

    def _fresh(self, free: IntArray, B: FloatArray, r: FloatArray) -> Bordered | None:
        n = self.problem.q.size
        large = free.size >= max(SINGLE_ROWS, SINGLE_SHARE * n)
        for single in (True, False) if self._single and large else (False,):
            try:
                return self._attempt(free, B, r, single)
            except LinAlgError:
                pass
            if self.shift == 0.0:
                self.shift = default_shift(self.problem.K)
                try:
                    return self._attempt(free, B, r, single)
                except LinAlgError:
                    self.shift = 0.0
            self._single = False
        return None

    def regularized(
        self, free: IntArray, B: FloatArray, r: FloatArray
    ) -> Bordered | None:
        """Factor a singular block with a diagonal that keeps its steps short."""
        A = free_block(self.problem, free)
        shift = default_shift(self.problem.K)
        lift(A, self.problem.simplices.labels[free], shift)
        A.flat[:: free.size + 1] += SHORT * (shift + float(np.abs(A.diagonal()).max()))
        try:
            return BorderedFactor(A, B, r, truncate=self.problem.moments is not None)
        except LinAlgError:
            return None

    def _attempt(
        self, free: IntArray, B: FloatArray, r: FloatArray, single: bool
    ) -> Bordered:
        dtype = np.float32 if single else np.float64
        A = free_block(self.problem, free, dtype)
        lift(A, self.problem.simplices.labels[free], self.shift)
        truncate = self.problem.moments is not None
        if not single:
            return BorderedFactor(A, B, r, truncate=truncate)
        E = B[:, : self.problem.simplices.mass.size]

        def multiply(x: FloatArray) -> FloatArray:
            full = np.zeros((self.problem.q.size, x.shape[1]))
            full[free] = x
            image = (self.problem.K @ full)[free]
            image += self.problem.ridge[free, None] * x
            return image + self.shift * (E @ (E.T @ x))

        return RefinedFactor(A, B, r, multiply, truncate)


class NewtonSystems:
    """Factors K + a positive diagonal, in one buffer, adding to it if it must.

    The added amount only slows the step: residuals stay those of the exact problem.
    """

    def __init__(self, problem: DenseQP) -> None:
        self.problem = problem
        self._buffer = np.empty_like(problem.K, order="C")
        self._lifted = 0.0
        size = float(np.abs(problem.K.diagonal()).max()) + float(problem.ridge.max())
        self._size = max(size, float(np.abs(problem.q).max()))

    def factor(
        self, diagonal: FloatArray, B: FloatArray, corner: FloatArray | None
    ) -> Bordered | None:
        """Return the factor of [K + diagonal, -B; B', corner], or None."""
        problem, buffer = self.problem, self._buffer
        for lifting in (False, True):
            if lifting and self._lifted == 0.0:
                self._lifted = default_shift(problem.K)
            elif lifting:
                break
            # Without the lift large additions would only hide an indefinite matrix.
            for extra in EXTRAS if self._lifted > 0.0 else EXTRAS[:2]:
                np.copyto(buffer, problem.K)
                lift(buffer, problem.simplices.labels, self._lifted)
                added = extra * (self._size + self._lifted)
                buffer.flat[:: diagonal.size + 1] += diagonal + added
                try:
                    # The wide range of pivots near the solution is harmless: it sits
                    # in the barrier's diagonal.
                    return BorderedFactor(
                        buffer,
                        B,
                        problem.q,
                        ratio=0.0,
                        corner=corner,
                        truncate=problem.moments is not None,
                    )
                except LinAlgError:
                    continue
        return None


def free_block(
    problem: DenseQP, free: IntArray, dtype: type[np.floating] = np.float64
) -> NDArray:
    """Copy K + diag(ridge) on the free rows."""
    if free.size == problem.q.size:
        A = np.array(problem.K, dtype=dtype, order="C")
    else:
        A = np.empty((free.size, free.size), dtype=dtype)
        # In strips, so that a single precision copy needs no double precision one.
        for i in range(0, free.size, 512):
            A[i : i + 512] = problem.K[np.ix_(free[i : i + 512], free)]
    A.flat[:: free.size + 1] += problem.ridge[free]
    return A
