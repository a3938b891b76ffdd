"""Column generation for the canonical problem, exact when the optimum is sparse.

The problem is solved on a working set of rows; all other rows are priced by one
product with the support; the worst violators enter; and so on until no row violates
(the restricted master of simplicial decomposition; von Hohenbalken 1977, Math.
Program. 13, 49-68, with single rows as columns).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from causalweights.optimize._certificate import (
    ROUNDING_UNITS,
    FloatArray,
    IntArray,
    rounding_level,
)
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


def solve_working_set(
    operator: SymmetricOperator,
    ridge: FloatArray,
    q: FloatArray,
    simplices: Simplices,
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
    n = q.size
    eps = float(np.finfo(operator.dtype).eps)
    matrix = WorkingMatrix(operator, first_rows(simplices, scores, initial, start))
    v = simplices.interior() if start is None else start
    if start is None:
        v = np.where(np.isin(np.arange(n), matrix.rows), v, 0.0)
    last_drop, exact = np.inf, True
    for step in range(1, max_iter + 1):
        rows = matrix.rows
        if limit is not None and rows.size > limit:
            return Outcome(v, step - 1, False, "working_set", "outgrown")
        if limit is None and wants_dense(rows.size, n, largest):
            # Release the small matrix before the large one is formed and factored.
            matrix.keep(np.empty(0, dtype=np.intp))
            K = whole_matrix(operator)
            last = solve_dense(DenseQP(K, ridge, q, simplices), v, max_iter)
            note = f"working set outgrown after {step - 1} rounds; {last.status}"
            steps = step - 1 + last.n_iter
            return Outcome(last.v, steps, last.finished, last.solver, note)
        outcome = solve_dense(
            DenseQP(matrix.K, ridge[rows], q[rows], simplices.restrict(rows)),
            v[rows],
            max_iter,
        )
        exact = outcome.finished
        v = np.zeros(n)
        v[rows] = outcome.v
        support = np.flatnonzero(v)
        product = np.asarray(operator.matvec(v[support], columns=support), np.float64)
        product = product + ridge * v
        gradient = product - q
        reduced = gradient - group_levels(simplices, gradient, v)[simplices.labels]
        level = rounding_level(product, q, eps) / ROUNDING_UNITS
        violators = entering(reduced, rows, level, support.size)
        if violators.size == 0:
            return Outcome(v, step, exact, "working_set", "no row violates")
        if limit is not None and step >= SEARCH_ROUNDS:
            share = np.count_nonzero(reduced < -level) / n
            if share > SPARSE_SHARE:
                return Outcome(v, step, False, "working_set", "the optimum is dense")
        value = 0.5 * float(v @ (gradient - q))
        idle = rows.size > 2 * support.size + 4 * SMALLEST_ADDITION
        if idle and value < last_drop - eps * abs(value):
            # Dropping only after a strict decrease rules out cycles: no working set
            # that was reduced can come back with the same value.
            last_drop = value
            matrix.keep(kept_positions(v[rows], reduced[rows], support.size))
        if matrix.rows.size + violators.size > memory_rows(n):
            return Outcome(v, step, False, "working_set", "memory limit")
        matrix.extend(violators)
    return Outcome(v, max_iter, False, "working_set", "round limit")


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
