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
    rounding_level,
)
from causalweights.optimize._factor import Bordered
from causalweights.optimize._moments import MOMENT_ACCURACY, Moments
from causalweights.optimize._problem import (
    FreeFactory,
    OnSimplices,
    Outcome,
    QuadraticProgram,
    feasible,
)

AT_ZERO, FREE, AT_UPPER = np.int8(-1), np.int8(0), np.int8(1)
# The sides of a moment's interval; FREE is strictly between them.
AT_LOW, AT_HIGH = AT_ZERO, AT_UPPER
# Steps without a new smallest number of set changes before giving up.
PATIENCE = 8
# A step frees at most as many rows as stay free, or this number: a sparse optimum
# would otherwise be overshot in both directions in turn.
SMALLEST_RELEASE = 64
# Standardized moments within this of a side count as on it.
MOMENT_ROUNDING = 1e-12
SINGULAR = "the free block is singular"
EPS = float(np.finfo(np.float64).eps)

Sets = NDArray[np.int8]


def solve_active_set(
    problem: QuadraticProgram,
    start: FloatArray | None = None,
    max_iter: int = 100,
    tight: Sets | None = None,
) -> Outcome:
    """Solve the canonical problem by set changes, from all rows free or from `start`.

    `tight` says on which side of its interval each moment starts. Returns an unfinished
    outcome, with the reason, when the free block is singular, when a set returns, or
    when the number of changes stops falling.
    """
    sets = initial_sets(problem, start)
    tight = initial_tight(problem.moments, start) if tight is None else tight
    seen: set[int] = set()
    fewest, stalled = problem.q.size + 1, 0
    systems = problem.free_systems()
    v, lam = problem.simplices.interior(), None

    def ended(step: int, reason: str, finished: bool = False) -> Outcome:
        point = feasible(problem, v)
        return Outcome(point, step, finished, "active_set", reason, lam)

    for step in range(1, max_iter + 1):
        seen.add(hash(sets.tobytes() + tight.tobytes()))
        solution = _solve_on_sets(problem, systems, sets, tight)
        if isinstance(solution, str):
            return ended(step, solution)
        v, priced, levels, lam = solution
        changed, sets = next_sets(problem, sets, v, priced, levels)
        if problem.moments is not None and lam is not None:
            moved, tight = next_tight(problem, tight, v, priced, lam)
            changed += moved
        if changed == 0:
            return ended(step, "sets repeated", finished=True)
        if hash(sets.tobytes() + tight.tobytes()) in seen:
            return ended(step, "the sets cycled")
        fewest, stalled = (changed, 0) if changed < fewest else (fewest, stalled + 1)
        if stalled >= PATIENCE:
            return ended(step, "set changes stopped falling")
    return ended(max_iter, "step limit")


def initial_sets(problem: QuadraticProgram, start: FloatArray | None) -> Sets:
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


def initial_tight(moments: Moments | None, start: FloatArray | None) -> Sets:
    """Code every moment as free or on a side: the exact ones, and those of `start`."""
    if moments is None:
        return np.empty(0, dtype=np.int8)
    tight = np.full(moments.low.size, FREE, dtype=np.int8)
    if start is not None:
        value = moments.C.T @ start
        tight[value >= moments.high - MOMENT_ACCURACY] = AT_HIGH
        tight[value <= moments.low + MOMENT_ACCURACY] = AT_LOW
    tight[moments.exact] = AT_LOW
    return tight


def next_sets(
    problem: OnSimplices,
    sets: Sets,
    v: FloatArray,
    gradient: FloatArray,
    multipliers: FloatArray,
) -> tuple[int, Sets]:
    """Move rows that break a sign condition; return their number and the new sets.

    `gradient` is that of the objective less the moments at their multipliers.
    """
    reduced = gradient - multipliers[problem.simplices.labels]
    # Multipliers within rounding of zero stay where they are, or ties flip for ever.
    level = rounding_level(gradient + problem.q, problem.q, EPS) / ROUNDING_UNITS
    new = sets.copy()
    free = sets == FREE
    new[free & (v <= 0.0)] = AT_ZERO
    new[free & (v >= problem.simplices.upper)] = AT_UPPER
    violation = np.where(sets == AT_ZERO, -reduced, np.where(free, 0.0, reduced))
    release(new, violation, level)
    return int(np.count_nonzero(new != sets)), new


def release(sets: Sets, violation: FloatArray, level: float) -> None:
    """Free the rows with the largest violation, as many as are free, in place."""
    violators = np.flatnonzero(violation > level)
    limit = max(SMALLEST_RELEASE, int(np.count_nonzero(sets == FREE)))
    if violators.size > limit:
        worst = np.argpartition(-violation[violators], limit)[:limit]
        violators = violators[worst]
    sets[violators] = FREE


def next_tight(
    problem: QuadraticProgram,
    tight: Sets,
    v: FloatArray,
    gradient: FloatArray,
    lam: FloatArray,
) -> tuple[int, Sets]:
    """Free moments with a multiplier of the wrong sign; hold those too far."""
    moments = problem.moments
    assert moments is not None
    level = rounding_level(gradient + problem.q, problem.q, EPS)
    value = moments.C.T @ v
    new = tight.copy()
    new[(tight == AT_LOW) & (lam < -level)] = FREE
    new[(tight == AT_HIGH) & (lam > level)] = FREE
    free = tight == FREE
    new[free & (value < moments.low - MOMENT_ROUNDING)] = AT_LOW
    new[free & (value > moments.high + MOMENT_ROUNDING)] = AT_HIGH
    new[moments.exact] = AT_LOW
    return int(np.count_nonzero(new != tight)), new


def constraints(
    problem: QuadraticProgram, tight: Sets
) -> tuple[FloatArray, FloatArray, NDArray[np.intp]]:
    """Return B (n, G + t), s with B'v = s, and the moments that are tight."""
    simplices, moments = problem.simplices, problem.moments
    if moments is None:
        return simplices.indicator(), simplices.mass, np.empty(0, dtype=np.intp)
    held = np.flatnonzero(tight != FREE)
    side = np.where(tight[held] == AT_LOW, moments.low[held], moments.high[held])
    B = np.column_stack([simplices.indicator(), moments.C[:, held]])
    return B, np.append(simplices.mass, side), held


def _solve_on_sets(
    problem: QuadraticProgram, systems: FreeFactory, sets: Sets, tight: Sets
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray | None] | str:
    """Minimise over the free rows with the tight moments as equations.

    Returns v, the gradient less the moments at their multipliers, the multipliers of
    the groups and those of all moments; or the reason why there is no such point.
    """
    simplices = problem.simplices
    n_groups = simplices.mass.size
    free = np.flatnonzero(sets == FREE)
    B, s, held = constraints(problem, tight)
    on_free = B[free]
    if np.any(on_free[:, :n_groups].sum(axis=0) == 0.0):
        return "a group has no free row"
    v = np.zeros(problem.q.size)
    at_upper = sets == AT_UPPER
    v[at_upper] = simplices.upper[at_upper]
    rhs = problem.q[free]
    if at_upper.any():
        rhs = rhs - problem.product(v)[free]
    factor = systems.factor(free, on_free, rhs)
    if factor is None:
        return SINGULAR
    missing = s - B.T @ v
    try:
        v[free], y = factor.solve_first(missing)
        y[:n_groups] -= systems.shift * missing[:n_groups]
        refined = _refine(problem, factor, free, (on_free, B, s), v, y)
    except LinAlgError:
        return SINGULAR
    if refined is None:
        return SINGULAR
    if problem.moments is None:
        return *refined, None
    v, gradient, y = refined
    if np.abs(B.T @ v - s).max() > MOMENT_ACCURACY:
        return "the free rows cannot meet the moments"
    lam = np.zeros(problem.moments.low.size)
    lam[held] = y[n_groups:]
    return v, gradient - B[:, n_groups:] @ y[n_groups:], y[:n_groups], lam


def _refine(
    problem: QuadraticProgram,
    factor: Bordered,
    free: NDArray[np.intp],
    border: tuple[FloatArray, FloatArray, FloatArray],
    v: FloatArray,
    y: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray] | None:
    """Apply iterative refinement until the free gradient is flat to rounding."""
    on_free, B, s = border
    gradient = problem.gradient(v)
    for _ in range(3):
        residual = gradient[free] - on_free @ y
        level = rounding_level(gradient + problem.q, problem.q, EPS)
        if not np.isfinite(level):
            return None
        missed = s - B.T @ v
        # A small ridge makes large terms cancel in the constraints as well.
        met = problem.moments is None or np.abs(missed).max() <= MOMENT_ROUNDING
        if met and np.max(np.abs(residual)) <= level:
            break
        # The missing mass is of rounding size, so the lift does not touch the
        # multipliers here.
        change, more = factor.solve(-residual, missed)
        v[free] += change
        y = y + more
        gradient = problem.gradient(v)
    return v, gradient, y
