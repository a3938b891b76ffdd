"""Many rows: column generation while the optimum looks sparse, then proximal Newton."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from causalweights.optimize._certificate import FloatArray, IntArray
from causalweights.optimize._low_rank_model import LowRankModel
from causalweights.optimize._operator_qp import OperatorQP
from causalweights.optimize._problem import FactoredOperator, Outcome, Simplices
from causalweights.optimize._proximal_newton import Stop, solve_proximal_newton
from causalweights.optimize._working_set import (
    ColumnProblem,
    DenseSolver,
    group_levels,
    solve_working_set,
)

# Beyond this many rows the problem is solved on a part of them, and priced on all; the
# part's own gap takes this share of the tolerance.
PART_ROWS, PART_TOL = 100_000, 0.5
# A working set that grows beyond this is a dense optimum's: other methods win.
LARGEST_WORKING_SET = 4000
# Room for the low-rank factor; its rank is what fits, within these limits.
FACTOR_BYTES = 1_200_000_000
SMALLEST_RANK, LARGEST_RANK, ROWS_A_RANK = 64, 1024, 8
TRACE_TOLERANCE = 1e-6
# Share of the mean diagonal that stands in where ridge and residual are both zero.
FLOOR = 1e-8


def is_factored(operator: Any) -> bool:
    """Whether an operator is a `FactoredOperator`."""
    return all(hasattr(operator, name) for name in ("low_rank", "astype", "restrict"))


def suitable_rank(n: int) -> int:
    """Rank that fits in memory and pays for its algebra."""
    fits = int(FACTOR_BYTES / (4 * n))
    return min(n, max(SMALLEST_RANK, min(LARGEST_RANK, fits, n // ROWS_A_RANK)))


def low_rank_model(
    operator: FactoredOperator, ridge: FloatArray, rank: int | None = None
) -> LowRankModel:
    """Factor the operator in single precision and add residual and ridge."""
    n = operator.shape[0]
    found = operator.low_rank(
        tol=TRACE_TOLERANCE, rank=rank or suitable_rank(n), dtype=np.float32
    )
    diagonal = found.residual + ridge
    floor = FLOOR * float(np.mean(operator.diagonal()))
    return LowRankModel(found.factor, np.maximum(diagonal, floor))


def solve_large(
    operator: FactoredOperator,
    ridge: FloatArray,
    q: FloatArray,
    simplices: Simplices,
    scores: FloatArray,
    solve_dense: DenseSolver,
    stop: Stop,
    *,
    columns_first: bool = True,
    initial: IntArray | None = None,
    start: FloatArray | None = None,
) -> Outcome:
    """Solve exactly where the optimum is sparse, else until `stop` says so.

    Parameters
    ----------
    scores : (n,), gradient at uniform weights; small entries enter first
    solve_dense : route for the restricted problems
    columns_first : whether to look for a sparse optimum at all
    initial, start : first working set; warm start
    """
    first = None
    if columns_first:
        first = solve_working_set(
            ColumnProblem(operator, ridge, q, simplices), scores, solve_dense,
            initial=initial, start=start, max_iter=stop.max_iter,
            limit=LARGEST_WORKING_SET,
        )  # fmt: skip
        if first.finished:
            return first
        start = first.v
    if start is None:
        start = simplices.interior()
    # With bounds a part may be too small to hold the mass.
    in_parts = q.size > 2 * PART_ROWS and not np.isfinite(simplices.upper).any()
    problem = OperatorQP(operator, ridge, q, simplices)
    second = (_solve_in_parts if in_parts else _solve_whole)(problem, start, stop)
    if first is None:
        return second
    steps = first.n_iter + second.n_iter
    status = f"working set left after {first.n_iter} rounds ({first.status}); "
    return replace(second, n_iter=steps, status=status + second.status)


def _solve_whole(problem: OperatorQP, start: FloatArray, stop: Stop) -> Outcome:
    """Solve on all rows by proximal Newton."""
    model = low_rank_model(problem.quick, problem.ridge)
    return solve_proximal_newton(problem, model, start, stop)


def _solve_in_parts(problem: OperatorQP, start: FloatArray, stop: Stop) -> Outcome:
    """Solve on a random part of the rows, price the others, exchange, repeat.

    The part's optimum is nearly that of all rows when the part itself is large: the
    weights of a dense optimum are a smooth function of the covariates. Every round
    costs one product of all rows with the support.
    """
    n, simplices = problem.q.size, problem.simplices
    order = np.random.default_rng(0).permutation(n)
    part = np.union1d(order[:PART_ROWS], np.flatnonzero(start))
    inside = replace(stop, tol=PART_TOL * stop.tol)
    v, rounds, reason = start, 0, "round limit"
    while rounds < stop.max_iter:
        piece = problem.restrict(part)
        found = _solve_whole(piece, piece.simplices.repair(v[part]), inside)
        rounds += found.n_iter
        v = np.zeros(n)
        v[part] = found.v
        gradient = problem.gradient(v)
        gap = simplices.gap(gradient, v)
        if stop.relative_gap(gap, problem.value(v, gradient)) <= stop.tol:
            return Outcome(v, rounds, True, "proximal_newton", "solved in parts")
        if stop.expired():
            reason = "time limit"
            break
        support = np.flatnonzero(v)
        reduced = gradient - group_levels(simplices, gradient, v)[simplices.labels]
        reduced[support] = np.inf
        worst = np.argpartition(reduced, PART_ROWS // 2)[: PART_ROWS // 2]
        new = np.union1d(support, worst[reduced[worst] < 0.0])
        if np.array_equal(new, part):
            reason = "no row enters"
            break
        part = new
    return Outcome(v, rounds, False, "proximal_newton", reason)
