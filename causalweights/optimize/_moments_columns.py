"""Column generation under moment constraints.

As in `_working_set`, with rows priced by the gradient less the moments at their
multipliers, and a first working set that holds a vertex at which all moments are met,
so that every restricted problem can be solved.
"""

from __future__ import annotations

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
    DenseQP,
    Outcome,
    Simplices,
    SymmetricOperator,
)
from causalweights.optimize._reduction import Reduction
from causalweights.optimize._working_set import (
    LARGEST_SET,
    SMALLEST_ADDITION,
    DenseSolver,
    WorkingMatrix,
    entering,
    first_rows,
    group_levels,
    kept_positions,
    memory_rows,
    wants_dense,
    whole_matrix,
)


def solve_moment_columns(
    problem: Reduction,
    operator: SymmetricOperator,
    scores: FloatArray,
    solve_dense: DenseSolver,
    max_iter: int = 100,
) -> Outcome:
    """Solve by column generation; go dense when half of the rows are wanted."""
    moments, simplices = problem.moments, problem.simplices
    assert moments is not None
    ridge, q, n = problem.ridge, problem.q, problem.q.size
    eps = float(np.finfo(operator.dtype).eps)
    vertex = feasible_point(simplices, moments)
    rows = first_rows(simplices, scores, problem.working_set, problem.start)
    matrix = WorkingMatrix(operator, np.union1d(rows, np.flatnonzero(vertex)))
    v = vertex if problem.start is None else problem.start
    last_drop, lam = np.inf, np.zeros(moments.low.size)
    for step in range(1, max_iter + 1):
        rows = matrix.rows
        if wants_dense(rows.size, n, LARGEST_SET):
            matrix.keep(np.empty(0, dtype=np.intp))
            dense = DenseQP(whole_matrix(operator), ridge, q, simplices, moments)
            return _outgrown(solve_dense(dense, v, max_iter), step - 1)
        outcome = solve_dense(_restricted(problem, matrix, moments), v[rows], max_iter)
        v = np.zeros(n)
        v[rows] = outcome.v
        if outcome.multipliers is not None:
            lam = outcome.multipliers
        product, reduced = _price(operator, ridge, q, simplices, moments, v, lam)
        level = rounding_level(product, q, eps) / ROUNDING_UNITS
        size = int(np.count_nonzero(v))
        violators = entering(reduced, rows, level, size)
        if violators.size == 0:
            done = outcome.finished
            return Outcome(v, step, done, "working_set", "no row violates", lam)
        value = 0.5 * float(v @ (product - 2.0 * q))
        idle = rows.size > 2 * size + 4 * SMALLEST_ADDITION
        if idle and value < last_drop - eps * abs(value):
            # Dropping only after a strict decrease rules out cycles.
            last_drop = value
            matrix.keep(kept_positions(v[rows], reduced[rows], size))
        if matrix.rows.size + violators.size > memory_rows(n):
            return Outcome(v, step, False, "working_set", "memory limit", lam)
        matrix.extend(violators)
    return Outcome(v, max_iter, False, "working_set", "round limit", lam)


def _restricted(problem: Reduction, matrix: WorkingMatrix, moments: Moments) -> DenseQP:
    rows: IntArray = matrix.rows
    return DenseQP(
        matrix.K,
        problem.ridge[rows],
        problem.q[rows],
        problem.simplices.restrict(rows),
        moments.restrict(rows),
    )


def _price(
    operator: SymmetricOperator,
    ridge: FloatArray,
    q: FloatArray,
    simplices: Simplices,
    moments: Moments,
    v: FloatArray,
    lam: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return (K + ridge) v and the reduced gradient of every row."""
    support = np.flatnonzero(v)
    product = np.asarray(operator.matvec(v[support], columns=support), np.float64)
    product = product + ridge * v
    gradient = product - q - moments.C @ lam
    return product, gradient - group_levels(simplices, gradient, v)[simplices.labels]


def _outgrown(last: Outcome, rounds: int) -> Outcome:
    note = f"working set outgrown after {rounds} rounds; {last.status}"
    steps = rounds + last.n_iter
    return Outcome(last.v, steps, last.finished, last.solver, note, last.multipliers)
