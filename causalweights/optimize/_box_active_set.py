"""Primal-dual active set method for box problems with one coupling row.

Each step guesses which rows are free or at a bound, and whether the coupling is active,
takes a Newton step on the free rows and moves every row whose sign condition fails
(Hintermueller, Ito and Kunisch 2003, SIAM J. Optim. 13, 865-888). It usually ends after
a few steps at the exact solution, but may cycle: the caller must be ready to fall back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError

from causalweights.optimize._active_set import PATIENCE, release
from causalweights.optimize._box_problem import (
    AT_LOWER,
    AT_UPPER,
    EPS,
    FREE,
    BoxOutcome,
    BoxProblem,
)
from causalweights.optimize._box_systems import System
from causalweights.optimize._certificate import (
    ROUNDING_UNITS,
    FloatArray,
)

# Corrections that reach rounding level: two after a loose solve, one to confirm.
CORRECTIONS = 6


@dataclass(slots=True, eq=False)
class _Guess:
    """Which bounds hold: sets (n,) codes of rows, edge -1, 0 or 1 of the coupling."""

    sets: NDArray[np.int8]
    edge: int

    def key(self) -> int:
        return hash((self.sets.tobytes(), self.edge))


@dataclass(slots=True, eq=False)
class _Solution:
    """Minimiser on a guess: v (n,), gradient (n,), nu, and the system it took."""

    v: FloatArray
    gradient: FloatArray
    nu: float
    system: System | None


def sets_of(problem: BoxProblem, v: FloatArray) -> NDArray[np.int8]:
    """Code every row of v as free or at a bound."""
    sets = np.full(problem.size, FREE, dtype=np.int8)
    sets[v <= problem.lower] = AT_LOWER
    sets[v >= problem.upper] = AT_UPPER
    return sets


def solve_box_active_set(
    problem: BoxProblem,
    v: FloatArray | None = None,
    *,
    edge: int = 0,
    nu: float = 0.0,
    max_iter: int = 100,
) -> BoxOutcome:
    """Solve a problem without a ball by set changes, from all rows free or from v.

    Returns an unfinished outcome, with the reason, when the free block is singular,
    when a guess returns, or when the number of changes stops falling.
    """
    equality = problem.bounds[0] == problem.bounds[1]
    if v is None:
        v = problem.uniform()
        sets = np.full(problem.size, FREE, dtype=np.int8)
    else:
        sets = sets_of(problem, v)
    guess = _Guess(sets, -1 if equality else edge)
    at = _Solution(v, np.empty(0), nu, None)
    seen: set[int] = set()
    fewest, stalled = problem.size + 2, 0

    def ended(step: int, finished: bool, status: str) -> BoxOutcome:
        inside = np.clip(at.v, problem.lower, problem.upper)
        return BoxOutcome(
            inside, at.nu, guess.sets, guess.edge, step, finished, "active_set", status,
            at.system if finished else None,
        )  # fmt: skip

    for step in range(1, max_iter + 1):
        seen.add(guess.key())
        solution = _solve_on_guess(problem, guess, at)
        if solution is None:
            return ended(step, False, "the free block is singular")
        at = solution
        changed, following = _next_guess(problem, guess, at, equality)
        if changed == 0:
            return ended(step, True, "sets repeated")
        guess = following
        if guess.key() in seen:
            return ended(step, False, "the sets cycled")
        fewest, stalled = (changed, 0) if changed < fewest else (fewest, stalled + 1)
        if stalled >= PATIENCE:
            return ended(step, False, "set changes stopped falling")
    return ended(max_iter, False, "step limit")


def _solve_on_guess(
    problem: BoxProblem, guess: _Guess, at: _Solution
) -> _Solution | None:
    """Minimise over the free rows by Newton corrections down to rounding level."""
    v = np.where(guess.sets == AT_LOWER, problem.lower, at.v)
    v = np.where(guess.sets == AT_UPPER, problem.upper, v)
    free = np.flatnonzero(guess.sets == FREE)
    row = problem.row[free]
    active = guess.edge != 0
    target = problem.bounds[0] if guess.edge < 0 else problem.bounds[1]
    nu = at.nu if active else 0.0
    if free.size == 0:
        gradient = problem.gradient(v)
        return None if active else _Solution(v, gradient, 0.0, None)
    try:
        system = problem.hessian.system(free, problem.ridge[free])
        border = system.solve(row) if active else row
        pivot = float(row @ border)
        if active and not pivot > 0.0:
            return None
        for correction in range(CORRECTIONS):
            gradient = problem.gradient(v)
            residual = gradient[free] - nu * row
            level = problem.rounding(v, gradient)
            if not np.isfinite(level):
                return None
            # Without a first correction a coupling that has just become active is off.
            if np.max(np.abs(residual)) <= level and (correction or not active):
                break
            change = system.solve(-residual, 0.3 * level)
            if active:
                missing = target - float(problem.row @ v)
                step = (missing - float(row @ change)) / pivot
                change, nu = change + step * border, nu + step
            v[free] += change
        else:
            gradient = problem.gradient(v)
    except LinAlgError:
        again = problem.hessian.retreat()
        return _solve_on_guess(problem, guess, at) if again else None
    return _Solution(v, gradient, nu, system)


def _next_guess(
    problem: BoxProblem, guess: _Guess, at: _Solution, equality: bool
) -> tuple[int, _Guess]:
    """Move rows that break a sign condition; return their number and the new guess."""
    reduced = at.gradient - at.nu * problem.row
    # Multipliers within rounding of zero stay where they are, or ties flip for ever.
    level = problem.rounding(at.v, at.gradient, units=1.0)
    sets = guess.sets
    new = sets.copy()
    free = sets == FREE
    new[free & (at.v <= problem.lower)] = AT_LOWER
    new[free & (at.v >= problem.upper)] = AT_UPPER
    violation = np.where(sets == AT_LOWER, -reduced, np.where(free, 0.0, reduced))
    release(new, violation, level)
    edge = guess.edge if equality else _next_edge(problem, guess.edge, at)
    changed = int(np.count_nonzero(new != sets)) + (edge != guess.edge)
    return changed, _Guess(new, edge)


def _next_edge(problem: BoxProblem, edge: int, at: _Solution) -> int:
    """Return the bound at which the coupling is held next, 0 for none."""
    if edge != 0:
        # nu is the price of the low bound where positive, of the high one where not.
        return edge if edge * at.nu < 0.0 else 0
    total = float(problem.row @ at.v)
    slack = ROUNDING_UNITS * EPS * float(np.abs(problem.row) @ np.abs(at.v))
    if total < problem.bounds[0] - slack:
        return -1
    return 1 if total > problem.bounds[1] + slack else 0
