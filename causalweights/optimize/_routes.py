"""The choice of a route: by size, by structure, or as asked for."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from causalweights._blas import single_blas_thread
from causalweights.optimize._active_set import solve_active_set
from causalweights.optimize._certificate import FloatArray
from causalweights.optimize._interior_point import solve_interior_point
from causalweights.optimize._large import is_factored, solve_large
from causalweights.optimize._low_rank_qp import LowRankOperator, LowRankQP
from causalweights.optimize._problem import (
    ArrayOperator,
    DenseQP,
    Outcome,
    QuadraticProgram,
    SymmetricOperator,
)
from causalweights.optimize._proximal_newton import Stop
from causalweights.optimize._reduction import Reduction
from causalweights.optimize._working_set import (
    ColumnProblem,
    solve_working_set,
    whole_matrix,
)

# Above this many rows "auto" forms no matrix.
DENSE_ROWS = 4000
# Up to here BLAS threads gain little, cost much on a busy machine and change bits.
SERIAL_ROWS = 4000
# Up to this many rows the interior point is the fallback at once.
SMALL_ROWS = 1000


def solve_by_route(
    problem: Reduction, scores: FloatArray, solver: str, stop: Stop
) -> Outcome:
    """Take the route that was asked for, or the one that suits the size.

    Only proximal Newton stops before its finite end; the others know `max_iter` alone.
    """
    large = problem.rows.size > DENSE_ROWS
    operator, max_iter = problem.operator, stop.max_iter
    able = is_factored(operator) and problem.moments is None
    if solver == "proximal_newton" and not able:
        raise ValueError(
            "solver='proximal_newton' needs K as an operator with `low_rank` and "
            "`astype`, such as kernel.operator(X), and no moments."
        )
    if able and (solver == "proximal_newton" or (solver == "auto" and large)):
        return _solve_large(problem, operator, scores, solver, stop)
    if isinstance(operator, LowRankOperator) and solver != "working_set":
        return _solve_low_rank(problem, operator, solver, max_iter)
    if solver == "working_set" or (solver == "auto" and large):
        return _solve_by_columns(problem, operator, scores, max_iter)
    K = whole_matrix(operator)
    dense = DenseQP(K, problem.ridge, problem.q, problem.simplices, problem.moments)
    if solver == "interior_point":
        with _blas_for(problem.rows.size):
            return solve_interior_point(dense, max_iter)
    if solver == "active_set" or problem.rows.size <= SMALL_ROWS:
        return solve_dense(dense, problem.start, max_iter)
    with _blas_for(problem.rows.size):
        first = solve_active_set(dense, problem.start, max_iter)
    if first.finished:
        return first
    # Set changes that do not settle are typical of a sparse optimum, which column
    # generation finds far faster than the interior point on all rows.
    second = _solve_by_columns(problem, ArrayOperator(K), scores, max_iter)
    return _after(first, second)


def _solve_low_rank(
    problem: Reduction, operator: LowRankOperator, solver: str, max_iter: int
) -> Outcome:
    """Solve through the factor: O(n r^2) a step whatever the number of rows."""
    delta = operator.residual + problem.ridge
    program = LowRankQP(
        operator.L, delta, problem.q, problem.simplices, problem.moments
    )
    if solver == "interior_point":
        return solve_interior_point(program, max_iter)
    return solve_dense(program, problem.start, max_iter)


def _solve_large(
    problem: Reduction, operator: Any, scores: FloatArray, solver: str, stop: Stop
) -> Outcome:
    return solve_large(
        operator,
        problem.ridge,
        problem.q,
        problem.simplices,
        scores,
        solve_dense,
        stop,
        columns_first=solver == "auto",
        initial=problem.working_set,
        start=problem.start,
    )


def _solve_by_columns(
    problem: Reduction,
    operator: SymmetricOperator,
    scores: FloatArray,
    max_iter: int,
) -> Outcome:
    program = ColumnProblem(
        operator, problem.ridge, problem.q, problem.simplices, problem.moments
    )
    return solve_working_set(
        program,
        scores,
        solve_dense,
        initial=problem.working_set,
        start=problem.start,
        max_iter=max_iter,
    )


def solve_dense(
    problem: QuadraticProgram, start: FloatArray | None, max_iter: int = 100
) -> Outcome:
    """Active set first; interior point when that does not finish."""
    with _blas_for(problem.q.size):
        first = solve_active_set(problem, start, max_iter)
        if first.finished:
            return first
        return _after(first, solve_interior_point(problem, max_iter))


def _blas_for(n: int) -> AbstractContextManager[None]:
    return single_blas_thread if n <= SERIAL_ROWS else nullcontext()


def _after(first: Outcome, second: Outcome) -> Outcome:
    """Report a fallback: the second outcome, with the steps and end of the first."""
    steps = first.n_iter + second.n_iter
    status = f"active set left after {first.n_iter} steps ({first.status}); "
    return replace(second, n_iter=steps, status=status + second.status)
