"""Many rows: column generation while the optimum looks sparse, then proximal Newton."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from causalweights.optimize._certificate import FloatArray, IntArray
from causalweights.optimize._low_rank_model import LowRankModel
from causalweights.optimize._operator_qp import OperatorQP
from causalweights.optimize._problem import (
    FactoredOperator,
    Outcome,
    Simplices,
    SubOperator,
)
from causalweights.optimize._proximal_newton import RelativeGap, solve_proximal_newton
from causalweights.optimize._working_set import DenseSolver, solve_working_set

# A working set that grows beyond this is a dense optimum's: other methods win.
LARGEST_WORKING_SET = 4000
# Room for the low-rank factor; its rank is what fits, within these limits.
FACTOR_BYTES = 1_200_000_000
SMALLEST_RANK, LARGEST_RANK, ROWS_A_RANK = 64, 1024, 8
TRACE_TOLERANCE = 1e-6
# Share of the mean diagonal that stands in where ridge and residual are both zero.
FLOOR = 1e-8


def is_factored(operator: Any) -> bool:
    """Whether an operator is a `FactoredOperator`, or part of one."""
    while isinstance(operator, SubOperator):
        operator = operator.operator
    return hasattr(operator, "low_rank") and hasattr(operator, "astype")


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
    model: LowRankModel | None = None,
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
    model : Hessian of the models, where there is one already
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
    single = operator.dtype == np.float32
    quick = operator if single else operator.astype(np.float32)
    problem = OperatorQP(operator, quick, ridge, q, simplices)
    if model is None:
        model = low_rank_model(operator if single else quick, ridge)
    second = solve_proximal_newton(
        problem, model, start, relative_gap, tol, max_iter, expired
    )
    if first is None:
        return second
    steps = first.n_iter + second.n_iter
    status = f"working set left after {first.n_iter} rounds ({first.status}); "
    return Outcome(
        second.v, steps, second.finished, second.solver, status + second.status
    )
