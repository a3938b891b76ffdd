"""Primal-dual active set method for the canonical problem.

Each step guesses which rows are free, at zero or at their upper bound, solves the
equality-constrained problem and moves every row whose sign condition fails. This is a
semi-smooth Newton method (Hintermueller, Ito and Kunisch 2003, SIAM J. Optim. 13,
865-888): it usually ends after 4-10 steps at the exact solution, but may cycle, so the
caller must be ready to fall back.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError

from causalweights.optimize._certificate import (
    ROUNDING_UNITS,
    FloatArray,
    IntArray,
    rounding_level,
)
from causalweights.optimize._factor import (
    BorderedFactor,
    RefinedFactor,
    default_shift,
    lift,
)
from causalweights.optimize._problem import DenseQP, Outcome

AT_ZERO, FREE, AT_UPPER = np.int8(-1), np.int8(0), np.int8(1)
# Steps without a new smallest number of set changes before giving up.
PATIENCE = 8
# A step frees at most as many rows as stay free, or this number: a sparse optimum
# would otherwise be overshot in both directions in turn.
SMALLEST_RELEASE = 64
EPS = float(np.finfo(np.float64).eps)
# A single precision factor pays from this size on, and while the free rows are most
# of all rows, so that its exact products can use K without a copy.
SINGLE_ROWS, SINGLE_SHARE = 5000, 0.6


def solve_active_set(
    problem: DenseQP, start: FloatArray | None = None, max_iter: int = 100
) -> Outcome:
    """Solve the canonical problem by set changes, from all rows free or from `start`.

    Returns an unfinished outcome, with the reason, when the free block is singular,
    when a set returns, or when the number of changes stops falling.
    """
    sets = initial_sets(problem, start)
    seen: set[int] = set()
    fewest, stalled = problem.q.size + 1, 0
    factory = FreeFactory(problem)
    v = problem.simplices.interior()
    for step in range(1, max_iter + 1):
        seen.add(hash(sets.tobytes()))
        solution = _solve_on_sets(factory, sets)
        if solution is None:
            return _unfinished(problem, v, step, "the free block is singular")
        v, gradient, multipliers = solution
        changed, sets = next_sets(problem, sets, v, gradient, multipliers)
        if changed == 0:
            feasible = problem.simplices.repair(v)
            return Outcome(feasible, step, True, "active_set", "sets repeated")
        if hash(sets.tobytes()) in seen:
            return _unfinished(problem, v, step, "the sets cycled")
        fewest, stalled = (changed, 0) if changed < fewest else (fewest, stalled + 1)
        if stalled >= PATIENCE:
            return _unfinished(problem, v, step, "set changes stopped falling")
    return _unfinished(problem, v, max_iter, "step limit")


def initial_sets(problem: DenseQP, start: FloatArray | None) -> NDArray[np.int8]:
    """Code every row as free, at zero or at its upper bound."""
    sets = np.full(problem.q.size, FREE, dtype=np.int8)
    if start is None:
        return sets
    simplices = problem.simplices
    sets[start <= 0.0] = AT_ZERO
    sets[start >= simplices.upper] = AT_UPPER
    # A group without a free row has no multiplier: free all of it.
    empty = simplices.sums((sets == FREE).astype(np.float64)) == 0.0
    sets[empty[simplices.labels]] = FREE
    return sets


def next_sets(
    problem: DenseQP,
    sets: NDArray[np.int8],
    v: FloatArray,
    gradient: FloatArray,
    multipliers: FloatArray,
) -> tuple[int, NDArray[np.int8]]:
    """Move rows that break a sign condition; return their number and the new sets."""
    reduced = gradient - multipliers[problem.simplices.labels]
    # Multipliers within rounding of zero stay where they are, or ties flip for ever.
    level = rounding_level(gradient + problem.q, problem.q, EPS) / ROUNDING_UNITS
    new = sets.copy()
    free = sets == FREE
    new[free & (v <= 0.0)] = AT_ZERO
    new[free & (v >= problem.simplices.upper)] = AT_UPPER
    violation = np.where(sets == AT_ZERO, -reduced, np.where(free, 0.0, reduced))
    violators = np.flatnonzero(violation > level)
    limit = max(SMALLEST_RELEASE, int(np.count_nonzero(new == FREE)))
    if violators.size > limit:
        worst = np.argpartition(-violation[violators], limit)[:limit]
        violators = violators[worst]
    new[violators] = FREE
    return int(np.count_nonzero(new != sets)), new


class FreeFactory:
    """Factors K + ridge on the free rows and remembers what worked.

    The matrix is lifted when it is definite only for sum-zero vectors, and factored in
    single precision while that is accurate enough; what failed once is not tried again.
    """

    def __init__(self, problem: DenseQP) -> None:
        self.problem = problem
        self.shift = 0.0
        self._single = True

    def factor(
        self, free: IntArray, E: FloatArray, r: FloatArray
    ) -> BorderedFactor | None:
        """Return the factor, or None when the block is numerically singular."""
        n = self.problem.q.size
        large = free.size >= max(SINGLE_ROWS, SINGLE_SHARE * n)
        for single in (True, False) if self._single and large else (False,):
            try:
                return self._attempt(free, E, r, single)
            except LinAlgError:
                pass
            if self.shift == 0.0:
                self.shift = default_shift(self.problem.K)
                try:
                    return self._attempt(free, E, r, single)
                except LinAlgError:
                    self.shift = 0.0
            self._single = False
        return None

    def _attempt(
        self, free: IntArray, E: FloatArray, r: FloatArray, single: bool
    ) -> BorderedFactor:
        dtype = np.float32 if single else np.float64
        A = free_block(self.problem, free, dtype)
        lift(A, self.problem.simplices.labels[free], self.shift)
        if not single:
            return BorderedFactor(A, E, r)

        def multiply(x: FloatArray) -> FloatArray:
            full = np.zeros((self.problem.q.size, x.shape[1]))
            full[free] = x
            image = (self.problem.K @ full)[free]
            image += self.problem.ridge[free, None] * x
            return image + self.shift * (E @ (E.T @ x))

        return RefinedFactor(A, E, r, multiply)


def _solve_on_sets(
    factory: FreeFactory, sets: NDArray[np.int8]
) -> tuple[FloatArray, FloatArray, FloatArray] | None:
    """Minimise over the free rows; return (v, gradient, multipliers)."""
    problem = factory.problem
    simplices = problem.simplices
    free = np.flatnonzero(sets == FREE)
    E = simplices.restrict(free).indicator()
    if np.any(E.sum(axis=0) == 0.0):
        return None
    v = np.zeros(problem.q.size)
    at_upper = sets == AT_UPPER
    v[at_upper] = simplices.upper[at_upper]
    rhs = problem.q[free]
    if at_upper.any():
        rhs = rhs - (problem.K @ v)[free]
    factor = factory.factor(free, E, rhs)
    if factor is None:
        return None
    missing = simplices.mass - simplices.sums(v)
    try:
        v[free], lifted = factor.solve_first(missing)
        multipliers = lifted - factory.shift * missing
        return _refine(problem, factor, free, v, multipliers)
    except LinAlgError:
        return None


def _refine(
    problem: DenseQP,
    factor: BorderedFactor,
    free: IntArray,
    v: FloatArray,
    multipliers: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray] | None:
    """Apply iterative refinement until the free gradient is flat to rounding."""
    simplices = problem.simplices
    labels = simplices.labels[free]
    gradient = problem.gradient(v)
    for _ in range(3):
        residual = gradient[free] - multipliers[labels]
        level = rounding_level(gradient + problem.q, problem.q, EPS)
        if not np.isfinite(level):
            return None
        if np.max(np.abs(residual)) <= level:
            break
        # The missing mass is of rounding size, so the lift does not touch the
        # multipliers here.
        change, lifted = factor.solve(-residual, simplices.mass - simplices.sums(v))
        v[free] += change
        multipliers = multipliers + lifted
        gradient = problem.gradient(v)
    return v, gradient, multipliers


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


def _unfinished(problem: DenseQP, v: FloatArray, step: int, reason: str) -> Outcome:
    feasible = problem.simplices.repair(v)
    return Outcome(feasible, step, False, "active_set", reason)
