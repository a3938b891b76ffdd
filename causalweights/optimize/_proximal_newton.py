"""Proximal Newton method for many rows: low-rank models around the exact gradient.

First, rounds of models: the Hessian is replaced by a low-rank factor plus its residual
diagonal, the gradient is exact (one product with the support), and the exact objective
is minimised over the hull of the proposals. A few rounds give three digits, whatever
the number of rows. Then, sets: a primal-dual active set method whose linear systems are
solved by conjugate gradients with the same model as preconditioner; it ends after a few
set changes at the exact solution. No n x n matrix is ever formed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError

from causalweights.optimize._active_set import AT_UPPER, AT_ZERO, FREE, next_sets
from causalweights.optimize._certificate import FloatArray
from causalweights.optimize._face import Face
from causalweights.optimize._hull import Hull
from causalweights.optimize._low_rank_model import LowRankModel, minimize_model
from causalweights.optimize._operator_qp import OperatorQP
from causalweights.optimize._problem import Outcome, Simplices

# Points whose hull is searched: the current one and the last proposals.
MEMORY = 8
# A model counts as minimised when at most this share of its rows still changes sides.
SETTLED = 1e-3
# Relative gap from which set changes converge faster than further models.
CLOSE = 1e-3
# A tolerance this loose is left to the models: set changes rise before they converge.
LOOSE = 1e-4
# Models give way to set changes when this many rounds do not halve the gap.
SLOW = 5
# Rounds without fewer set changes after which they are given up.
PATIENCE = 6
REDUCTION, MAX_PRODUCTS = 1e-3, 150
# Residuals this many times above what the recurrence says were lost to rounding.
LOST = 20.0

UNSETTLED, SETTLED_SETS = "set changes do not settle", "sets settled"


@dataclass(frozen=True, slots=True, eq=False)
class Stop:
    """When to stop.

    Attributes
    ----------
    relative_gap : function of (gap, value)
    tol : relative gap that is small enough
    max_iter : rounds at most
    expired : tells between rounds whether the time is over
    """

    relative_gap: Callable[[float, float], float]
    tol: float
    max_iter: int = 100
    expired: Callable[[], bool] = lambda: False


@dataclass(slots=True, eq=False)
class _State:
    """Feasible v with its gradient, gap and relative gap, and rounds so far."""

    v: FloatArray
    gradient: FloatArray
    gap: float = np.inf
    relative: float = np.inf
    rounds: int = 0


class _Search:
    """One problem, its model and the stopping rule."""

    def __init__(self, problem: OperatorQP, model: LowRankModel, stop: Stop) -> None:
        self.problem, self.model, self.stop = problem, model, stop

    def state(self, v: FloatArray, rounds: int = 0) -> _State:
        state = _State(v, self.problem.gradient(v), rounds=rounds)
        self.assess(state)
        return state

    def assess(self, state: _State) -> None:
        """Fill in the gap; go over to double precision where single cannot tell."""
        problem = self.problem
        self._measure(state)
        done = state.relative <= self.stop.tol
        if not problem.exact and (
            done or not problem.resolves(state.gap, state.gradient)
        ):
            problem.exact = True
            state.gradient = problem.gradient(state.v)
            self._measure(state)

    def _measure(self, state: _State) -> None:
        state.gap = self.problem.simplices.gap(state.gradient, state.v)
        value = self.problem.value(state.v, state.gradient)
        state.relative = self.stop.relative_gap(state.gap, value)

    def stopped(self, state: _State) -> str:
        """Return why the search must end here, or an empty string."""
        if state.relative <= self.stop.tol:
            return "relative gap below tol"
        if state.rounds >= self.stop.max_iter:
            return "round limit"
        return "time limit" if self.stop.expired() else ""


def solve_proximal_newton(
    problem: OperatorQP,
    model: LowRankModel,
    start: FloatArray,
    stop: Stop,
) -> Outcome:
    """Solve to a relative gap of `stop.tol` from a feasible start.

    Parameters
    ----------
    model : Hessian of the models and preconditioner; any will do, a close one is fast

    Notes
    -----
    A round costs one product of all rows with the support, O(n |S| d), and O(n r + r^3)
    of algebra; a set change also up to 150 products of the support with itself.
    """
    search = _Search(problem, model, stop)
    state, free, reason = _rounds_of_models(search, search.state(start))
    if not reason:
        state, reason = _rounds_of_sets(search, state, free)
    if reason == UNSETTLED:
        # Rare: optima with most rows at a bound. Models descend from anywhere.
        state, _, reason = _rounds_of_models(search, state, to_the_end=True)
    finished = reason in ("relative gap below tol", SETTLED_SETS)
    return Outcome(state.v, state.rounds, finished, "proximal_newton", reason)


def _rounds_of_models(
    search: _Search, state: _State, to_the_end: bool = False
) -> tuple[_State, NDArray[np.bool_] | None, str]:
    """Return the best point, the free rows of the last model, and why it must end.

    Without a reason to end they return where set changes promise more.
    """
    problem, simplices = search.problem, search.problem.simplices
    hull, free = Hull(MEMORY), None
    hull.add(state.v, state.gradient)
    gaps, tight = [state.gap], search.stop.tol < LOOSE
    while not (reason := search.stopped(state)):
        slow = len(gaps) > SLOW and min(gaps[-SLOW:]) > 0.5 * min(gaps[:-SLOW])
        if slow and to_the_end:
            return state, free, "no more progress"
        if tight and not to_the_end and (slow or state.relative <= CLOSE):
            break
        step = minimize_model(
            search.model, simplices, state.v, state.gradient,
            inside=free, settled=SETTLED,
        )  # fmt: skip
        free = (step.v > 0.0) & (step.v < simplices.upper)
        hull.add(step.v, problem.gradient(step.v))
        exact = problem.exact
        best = _State(*hull.minimize(), rounds=state.rounds + 1)
        search.assess(best)
        if problem.exact and not exact:
            hull.clear()  # gradients of two precisions do not mix
        hull.add(best.v, best.gradient)
        state = best
        gaps.append(state.gap)
    return state, free, reason


def _rounds_of_sets(
    search: _Search, state: _State, free: NDArray[np.bool_] | None
) -> tuple[_State, str]:
    """Change sets until they settle; returns the point with the smallest gap."""
    problem, model = search.problem, search.model
    simplices = problem.simplices
    problem.exact = True
    # The hull's point has dust wherever one of its points had weight; the model's not.
    step = minimize_model(
        model, simplices, state.v, problem.gradient(state.v), inside=free
    )
    sets = np.where(step.v > 0.0, FREE, AT_ZERO)
    sets[step.v >= simplices.upper] = AT_UPPER
    best, current = state, search.state(step.v, state.rounds)
    point, slope = current.v, current.gradient
    fewest, waited = sets.size + 1, 0
    while True:
        best = current if current.gap < best.gap else best
        best.rounds = current.rounds
        if reason := search.stopped(best):
            return best, reason
        try:
            face = Face(problem, model, np.flatnonzero(sets == FREE))
        except LinAlgError:
            return best, UNSETTLED
        solved, slope = _solve_on_face(problem, face, point, slope)
        changes, sets = next_sets(problem, sets, solved, slope, face.levels(slope))
        waited = 0 if changes < fewest else waited + 1
        fewest = min(fewest, changes)
        if waited >= PATIENCE:
            return best, UNSETTLED
        point = _on_sets(simplices, solved, sets)
        if not np.array_equal(point, solved):
            slope = problem.gradient(point)
        previous, rounds = current.gap, current.rounds + 1
        repaired = simplices.repair(point)
        if np.array_equal(repaired, point):
            current = _State(point, slope, rounds=rounds)
            search.assess(current)
        else:
            current = search.state(repaired, rounds)
        if changes == 0 and not current.gap < 0.5 * previous:
            best = current if current.gap < best.gap else best
            best.rounds = rounds
            return best, SETTLED_SETS


def _solve_on_face(
    problem: OperatorQP, face: Face, point: FloatArray, slope: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Solve on the free rows, the others held; return the point and its gradient."""
    solved = point.copy()
    before = face.slope(slope)
    solved[face.rows], products = face.solve(
        point[face.rows], slope[face.rows], REDUCTION, MAX_PRODUCTS
    )
    gradient = problem.gradient(solved)
    if products < MAX_PRODUCTS and face.slope(gradient) > LOST * REDUCTION * before:
        problem.exact_inside = True
    return solved, gradient


def _on_sets(simplices: Simplices, v: FloatArray, sets: NDArray[np.int8]) -> FloatArray:
    """Move rows to the bounds of their sets and make up for it on the free rows."""
    point = np.where(sets == AT_ZERO, 0.0, v)
    point = np.where(sets == AT_UPPER, simplices.upper, point)
    free = np.where(sets == FREE, np.maximum(point, 0.0), 0.0)
    totals = simplices.sums(free)
    wanted = simplices.mass - simplices.sums(np.where(sets == FREE, 0.0, point))
    usable = (totals > 0.0) & (wanted > 0.0)
    factor = np.where(usable, wanted / np.where(usable, totals, 1.0), 1.0)
    return np.where(sets == FREE, free * factor[simplices.labels], point)
