"""Many rows: column generation while the optimum looks sparse, then proximal Newton."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from causalweights.optimize._certificate import FloatArray, IntArray
from causalweights.optimize._low_rank_model import LowRankModel
from causalweights.optimize._operator_qp import OperatorQP
from causalweights.optimize._problem import FactoredOperator, Outcome, Simplices
from causalweights.optimize._proximal_newton import RelativeGap, solve_proximal_newton
from causalweights.optimize._working_set import (
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
    relative_gap: RelativeGap,
    tol: float,
    *,
    columns_first: bool = True,
    initial: IntArray | None = None,
    start: FloatArray | None = None,
    max_iter: int = 100,
    expired: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Solve exactly where the optimum is sparse, else to a relative gap of `tol`.

    Parameters
    ----------
    scores : (n,), gradient at uniform weights; small entries enter first
    solve_dense : route for the restricted problems
    relative_gap : function of (gap, value) of this problem
    columns_first : whether to look for a sparse optimum at all
    initial, start : first working set; warm start
    """
    first = None
    if columns_first:
        first = solve_working_set(
            operator, ridge, q, simplices, scores, solve_dense,
            initial=initial, start=start, max_iter=max_iter,
            limit=LARGEST_WORKING_SET,
        )  # fmt: skip
        if first.finished:
            return first
        start = first.v
    if start is None:
        start = simplices.interior()
    # With bounds a part may be too small to hold the mass.
    in_parts = q.size > 2 * PART_ROWS and not np.isfinite(simplices.upper).any()
    second = (_solve_in_parts if in_parts else _solve_whole)(
        operator, ridge, q, simplices, start, relative_gap, tol, max_iter, expired
    )
    if first is None:
        return second
    steps = first.n_iter + second.n_iter
    status = f"working set left after {first.n_iter} rounds ({first.status}); "
    return replace(second, n_iter=steps, status=status + second.status)


def _quick(operator: FactoredOperator) -> FactoredOperator:
    single = operator.dtype == np.float32
    return operator if single else operator.astype(np.float32)


def _solve_whole(
    operator: FactoredOperator,
    ridge: FloatArray,
    q: FloatArray,
    simplices: Simplices,
    start: FloatArray,
    relative_gap: RelativeGap,
    tol: float,
    max_iter: int,
    expired: Callable[[], bool],
) -> Outcome:
    """Solve on all rows by proximal Newton."""
    quick = _quick(operator)
    problem = OperatorQP(operator, quick, ridge, q, simplices)
    model = low_rank_model(quick, ridge)
    return solve_proximal_newton(
        problem, model, start, relative_gap, tol, max_iter, expired
    )


def _solve_in_parts(
    operator: FactoredOperator,
    ridge: FloatArray,
    q: FloatArray,
    simplices: Simplices,
    start: FloatArray,
    relative_gap: RelativeGap,
    tol: float,
    max_iter: int,
    expired: Callable[[], bool],
) -> Outcome:
    """Solve on a random part of the rows, price the others, exchange, repeat.

    The part's optimum is nearly that of all rows when the part itself is large: the
    weights of a dense optimum are a smooth function of the covariates. Every round
    costs one product of all rows with the support.
    """
    whole = OperatorQP(operator, _quick(operator), ridge, q, simplices)
    rng = np.random.default_rng(0)
    order = rng.permutation(q.size)
    part = np.union1d(order[:PART_ROWS], np.flatnonzero(start))
    v, rounds, reason = start, 0, "round limit"
    while rounds < max_iter:
        found = _solve_whole(
            operator.restrict(part), ridge[part], q[part], simplices.restrict(part),
            simplices.restrict(part).repair(v[part]), relative_gap, PART_TOL * tol,
            max_iter, expired,
        )  # fmt: skip
        rounds += found.n_iter
        v = np.zeros(q.size)
        v[part] = found.v
        gradient = whole.gradient(v)
        gap = simplices.gap(gradient, v)
        if relative_gap(gap, whole.value(v, gradient)) <= tol:
            return Outcome(v, rounds, True, "proximal_newton", "solved in parts")
        if expired():
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
