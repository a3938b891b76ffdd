"""Column generation for the canonical problem, exact when the optimum is sparse.

The problem is solved on a working set of rows; all other rows are priced by one
product with the support; the worst violators enter; and so on until no row violates
(the restricted master of simplicial decomposition; von Hohenbalken 1977, Math.
Program. 13, 49-68, with single rows as columns).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from causalweights.optimize._certificate import (
    ROUNDING_UNITS,
    FloatArray,
    IntArray,
    rounding_level,
)
from causalweights.optimize._moments import Moments
from causalweights.optimize._moments_feasible import feasible_point
from causalweights.optimize._problem import (
    ArrayOperator,
    DenseQP,
    Outcome,
    Simplices,
    SymmetricOperator,
)

SMALLEST_ADDITION = 64
FIRST_SIZE = 512
LARGEST_SET = 12_000
# With a limit: rounds after which this share of rows must not violate any more.
SEARCH_ROUNDS, SPARSE_SHARE = 3, 0.25
DENSE_BYTES = 3_000_000_000

DenseSolver = Callable[[DenseQP, FloatArray | None, int], Outcome]


class WorkingMatrix:
    """Dense K on a growing list of rows; only entries of new rows are evaluated."""

    def __init__(self, operator: SymmetricOperator, rows: IntArray) -> None:
        self._operator = operator
        self.rows = rows
        self._store = self._evaluate(rows, rows)

    def _evaluate(self, rows: IntArray, columns: IntArray) -> FloatArray:
        return np.ascontiguousarray(self._operator.block(rows, columns), np.float64)

    @property
    def K(self) -> FloatArray:
        return self._store[: self.rows.size, : self.rows.size]

    def extend(self, new: IntArray) -> None:
        old, total = self.rows.size, self.rows.size + new.size
        if total > self._store.shape[0]:
            # Room for as much again: repeated growth then copies each entry once or
            # twice, not once a round.
            capacity = min(total + old // 2, self._operator.shape[0])
            store = np.empty((capacity, capacity))
            store[:old, :old] = self.K
            self._store = store
        self._store[old:total, :old] = self._evaluate(new, self.rows)
        self._store[:old, old:total] = self._store[old:total, :old].T
        self._store[old:total, old:total] = self._evaluate(new, new)
        self.rows = np.concatenate([self.rows, new])

    def keep(self, positions: IntArray) -> None:
        self._store = self.K[np.ix_(positions, positions)]
        self.rows = self.rows[positions]


@dataclass(frozen=True, slots=True, eq=False)
class ColumnProblem:
    """The canonical problem through an operator, with or without moments."""

    operator: SymmetricOperator
    ridge: FloatArray
    q: FloatArray
    simplices: Simplices
    moments: Moments | None = None

    def restricted(self, matrix: WorkingMatrix) -> DenseQP:
        """Return the problem of the working set's rows."""
        rows, moments = matrix.rows, self.moments
        return DenseQP(
            matrix.K,
            self.ridge[rows],
            self.q[rows],
            self.simplices.restrict(rows),
            None if moments is None else moments.restrict(rows),
        )

    def whole(self) -> DenseQP:
        """Form the matrix of all rows."""
        K = whole_matrix(self.operator)
        return DenseQP(K, self.ridge, self.q, self.simplices, self.moments)

    def price(
        self, v: FloatArray, lam: FloatArray | None
    ) -> tuple[FloatArray, FloatArray]:
        """Return (K + ridge) v and the reduced gradient of every row."""
        support = np.flatnonzero(v)
        image = self.operator.matvec(v[support], columns=support)
        product = np.asarray(image, np.float64) + self.ridge * v
        gradient = product - self.q
        if self.moments is not None and lam is not None:
            gradient = gradient - self.moments.C @ lam
        levels = group_levels(self.simplices, gradient, v)
        return product, gradient - levels[self.simplices.labels]

    def first(
        self, scores: FloatArray, initial: IntArray | None, start: FloatArray | None
    ) -> tuple[IntArray, FloatArray]:
        """Return the first working set and a point to start from on it."""
        rows = first_rows(self.simplices, scores, initial, start)
        if self.moments is not None:
            # A vertex that meets the moments keeps the restricted problem feasible.
            vertex = feasible_point(self.simplices, self.moments)
            rows = np.union1d(rows, np.flatnonzero(vertex))
            return rows, vertex if start is None else start
        if start is not None:
            return rows, start
        point = np.zeros(scores.size)
        point[rows] = self.simplices.interior()[rows]
        return rows, point


def solve_working_set(
    problem: ColumnProblem,
    scores: FloatArray,
    solve_dense: DenseSolver,
    *,
    initial: IntArray | None = None,
    start: FloatArray | None = None,
    max_iter: int = 100,
    largest: int = LARGEST_SET,
    limit: int | None = None,
) -> Outcome:
    """Solve by column generation; go dense when half of the rows are wanted.

    Parameters
    ----------
    scores : (n,), gradient at uniform weights; small entries enter first
    solve_dense : route for the restricted problems
    initial : rows to start from, for instance nearest neighbours of the target
    start : (n,), warm start; its support joins the working set
    largest : set size beyond which the whole matrix is formed, memory allowing
    limit : set size beyond which to give up instead, with the last feasible point
    """
    q, n = problem.q, problem.q.size
    eps = float(np.finfo(problem.operator.dtype).eps)
    rows, v = problem.first(scores, initial, start)
    matrix = WorkingMatrix(problem.operator, rows)
    moments, last_drop = problem.moments, np.inf
    lam = None if moments is None else np.zeros(moments.low.size)

    def left(steps: int, why: str, finished: bool = False) -> Outcome:
        return Outcome(v, steps, finished, "working_set", why, lam)

    for step in range(1, max_iter + 1):
        rows = matrix.rows
        if limit is not None and rows.size > limit:
            return left(step - 1, "outgrown")
        if limit is None and wants_dense(rows.size, n, largest):
            # Release the small matrix before the large one is formed and factored.
            matrix.keep(np.empty(0, dtype=np.intp))
            last = solve_dense(problem.whole(), v, max_iter)
            note = f"working set outgrown after {step - 1} rounds; {last.status}"
            return replace(last, n_iter=step - 1 + last.n_iter, status=note)
        outcome = solve_dense(problem.restricted(matrix), v[rows], max_iter)
        v = np.zeros(n)
        v[rows] = outcome.v
        if outcome.multipliers is not None:
            lam = outcome.multipliers
        product, reduced = problem.price(v, lam)
        level = rounding_level(product, q, eps) / ROUNDING_UNITS
        size = int(np.count_nonzero(v))
        violators = entering(reduced, rows, level, size)
        if violators.size == 0:
            return left(step, "no row violates", outcome.finished)
        share = np.count_nonzero(reduced < -level) / n
        if limit is not None and step >= SEARCH_ROUNDS and share > SPARSE_SHARE:
            return left(step, "the optimum is dense")
        value = 0.5 * float(v @ (product - 2.0 * q))
        idle = rows.size > 2 * size + 4 * SMALLEST_ADDITION
        if idle and value < last_drop - eps * abs(value):
            # Dropping only after a strict decrease rules out cycles: no working set
            # that was reduced can come back with the same value.
            last_drop = value
            matrix.keep(kept_positions(v[rows], reduced[rows], size))
        if matrix.rows.size + violators.size > memory_rows(n):
            return left(step, "memory limit")
        matrix.extend(violators)
    return left(max_iter, "round limit")


def first_rows(
    simplices: Simplices,
    scores: FloatArray,
    initial: IntArray | None,
    start: FloatArray | None,
) -> IntArray:
    """Choose the first working set; every group is represented and has an interior."""
    chosen = np.zeros(scores.size, dtype=bool)
    if initial is not None:
        chosen[initial] = True
    if start is not None:
        chosen[start > 0.0] = True
    given = bool(chosen.any())
    for g in range(simplices.mass.size):
        members = np.flatnonzero(simplices.labels == g)
        order = members[np.argsort(scores[members], kind="stable")]
        room = np.minimum(simplices.upper, simplices.mass[g])
        # Twice the mass, so that the restricted problem has a strict interior.
        needed = 2.0 * simplices.mass[g] - room[members[chosen[members]]].sum()
        spare = order[~chosen[order]]
        count = int(np.searchsorted(np.cumsum(room[spare]), needed)) + 1
        count = 0 if needed <= 0.0 else count
        size = FIRST_SIZE // simplices.mass.size
        wanted = 0 if given and chosen[members].any() else size
        chosen[spare[: max(count, wanted)]] = True
    return np.flatnonzero(chosen)


def group_levels(
    simplices: Simplices, gradient: FloatArray, v: FloatArray
) -> FloatArray:
    """Mean gradient over the free rows of each group, the group's multiplier.

    The mean is weighted by v, so that dust left by an interior point does not count.
    Without a free row, any level between the rows at their bound and those at zero is
    a multiplier.
    """
    free = np.where(v < simplices.upper, v, 0.0)
    totals = simplices.sums(free)
    levels = simplices.sums(free * gradient) / np.where(totals > 0.0, totals, 1.0)
    for g in np.flatnonzero(totals <= 0.0):
        members = simplices.labels == g
        at_bound = members & (v > 0.0)
        full = at_bound.any()
        levels[g] = gradient[at_bound].max() if full else gradient[members].min()
    return levels


def entering(
    reduced: FloatArray, rows: IntArray, level: float, support: int
) -> IntArray:
    """Return the most violating rows outside the set, as many as the support."""
    outside = reduced < -level
    outside[rows] = False
    violators = np.flatnonzero(outside)
    size = max(SMALLEST_ADDITION, support)
    if violators.size <= size:
        return violators
    worst = np.argpartition(reduced[violators], size)[:size]
    return np.sort(violators[worst])


def kept_positions(v: FloatArray, reduced: FloatArray, support: int) -> IntArray:
    """Keep the support and the idle rows closest to entering."""
    size = support + max(SMALLEST_ADDITION, support // 2)
    order = np.argsort(np.where(v > 0.0, -np.inf, reduced), kind="stable")
    return np.sort(order[: min(size, v.size)])


def wants_dense(size: int, n: int, largest: int) -> bool:
    """Whether the set is so large that the whole matrix is the better problem."""
    return (2 * size > n or size > largest) and 8 * n * n <= DENSE_BYTES


def memory_rows(n: int) -> int:
    """Largest working set; half of the budget is left for its factor."""
    return min(n, int(np.sqrt(DENSE_BYTES / 8)))


def whole_matrix(operator: SymmetricOperator) -> FloatArray:
    """Form the operator's matrix; an array is returned as it is."""
    if isinstance(operator, ArrayOperator):
        return operator.array
    every = np.arange(operator.shape[0])
    return np.ascontiguousarray(operator.block(every, every), np.float64)
