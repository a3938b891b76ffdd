"""Public entry: quadratic programs on products of simplices, solved exactly.

Checks and reduces the input, picks a route (active set, interior point
or working set) and certifies the result from scratch.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from causalweights._blas import single_blas_thread
from causalweights.optimize._active_set import solve_active_set
from causalweights.optimize._certificate import (
    FloatArray,
    group_sums,
    relative_gap,
    rounding_level,
)
from causalweights.optimize._checks import CheckedQP, check_problem
from causalweights.optimize._interior_point import solve_interior_point
from causalweights.optimize._problem import (
    ArrayOperator,
    DenseQP,
    Outcome,
    Simplices,
    SymmetricOperator,
)
from causalweights.optimize._reduction import (
    Reduction,
    product_of,
    reduce_problem,
    reference_weights,
)
from causalweights.optimize._working_set import (
    group_levels,
    solve_working_set,
    whole_matrix,
)

Solver = Literal["auto", "active_set", "interior_point", "working_set"]
# Above this many rows "auto" starts from a working set.
DENSE_ROWS = 4000
# Up to here BLAS threads gain little, cost much on a busy machine and change bits.
SERIAL_ROWS = 1500
# Up to this many rows the interior point is the fallback at once.
SMALL_ROWS = 1000
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, eq=False)
class SimplexQPResult:
    """Solution of `simplex_qp` with its certificate.

    Attributes
    ----------
    weights : ndarray of shape (n,)
        Feasible weights, also when `converged` is False.
    value : float
        Objective w'(K + diag(ridge))w/2 - q'w.
    gap : float
        Frank-Wolfe gap over all rows: value - minimum <= gap.
    relative_gap : float
        gap / (uniform_value - value); 0 when both are below rounding level, inf when
        the weights do not improve on uniform ones and the gap is larger than that.
    n_iter : int
        Linear systems solved (active set, interior point and a fallback together), or
        pricing rounds of the working set.
    converged : bool
        relative_gap <= tol, or gap below the rounding level of double precision,
        16 eps (max |(K + ridge) w| + max |q|), or that of the terms of K w where these
        cancel, beyond which no gap can be resolved.
    solver : str
        Route that produced the weights: "active_set", "interior_point",
        "working_set", or "constraints" where these leave a single point.
    status : str
        Why the route ended, and why it was taken after a fallback.
    multipliers : ndarray of shape (G,)
        Gradient of the free rows of each group: with ridge > 0 and no upper bound,
        w_i = max(0, (multipliers[g] + q_i - (K w)_i) / ridge_i).
    uniform_value : float
        Objective at uniform weights (moved into the bounds).
    """

    weights: FloatArray
    value: float
    gap: float
    relative_gap: float
    n_iter: int
    converged: bool
    solver: str
    status: str
    multipliers: FloatArray
    uniform_value: float


def simplex_qp(
    K: ArrayLike | SymmetricOperator,
    q: ArrayLike,
    ridge: ArrayLike = 0.0,
    *,
    groups: ArrayLike | None = None,
    lower: ArrayLike = 0.0,
    upper: ArrayLike | None = None,
    solver: Solver = "auto",
    tol: float = 1e-6,
    max_iter: int = 100,
    start: ArrayLike | None = None,
    working_set: ArrayLike | None = None,
) -> SimplexQPResult:
    """Minimise w'(K + diag(ridge))w/2 - q'w over a product of bounded simplices.

    Weights sum to one in each group and lie between `lower` and `upper`. The active
    set method, exact in a handful of linear solves, is tried first; the interior
    point takes over when it cycles or when the matrix is singular. Many rows, or a
    matrix given as an operator, are handled by column generation, exact and fast
    when the solution is sparse. Every route runs to its finite end: `tol` only
    decides what counts as converged.

    Parameters
    ----------
    K : array-like of shape (n, n) or operator
        Symmetric, positive semi-definite for vectors that sum to zero in each group;
        minus a distance matrix qualifies. An operator has `shape`, `dtype`,
        `block(rows, columns)`, `matvec(v, columns)` and `diagonal()`. Symmetry of an
        array is checked on a sample of 256 rows.
    q : array-like of shape (n,)
        Linear term.
    ridge : float or array-like of shape (n,), default=0.0
        Non-negative diagonal. With 0 the minimiser may not be unique.
    groups : array-like of int of shape (n,), default=None
        Labels 0..G-1, each present; None is one group.
    lower, upper : float or array-like of shape (n,), default=0.0 and None
        Bounds on the weights; an `upper` of None is no bound.
    solver : {"auto", "active_set", "interior_point", "working_set"}, default="auto"
        "active_set" and "interior_point" form the whole matrix; the first still falls
        back to the second. "auto" takes the active set up to 4000 rows, with the
        interior point (up to 1000 rows) or the working set behind it, and the working
        set from there on.
    tol : float, default=1e-6
        Relative gap that counts as converged.
    max_iter : int, default=100
        Limit on the steps of each route.
    start : array-like of shape (n,), default=None
        Warm start; only its support (and the rows at a bound) matters.
    working_set : array-like of int, default=None
        First rows of the working set, for instance the nearest source rows of each
        target row. By default those with the smallest gradient at uniform weights.

    Returns
    -------
    SimplexQPResult

    Raises
    ------
    ValueError
        For NaN or infinite entries, wrong shapes, and bounds that a group cannot meet.

    Notes
    -----
    Time is 4-10 Cholesky factorisations of the free rows (n^3/3 flops at most each;
    12-25 for the interior point), memory n^2 doubles beyond K. The working set needs
    the same in its own size plus one n x support product a round.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.optimize import simplex_qp
    >>> x = np.array([0.0, 1.0])
    >>> K = -np.abs(x[:, None] - x)
    >>> simplex_qp(K, -np.abs(x - 0.25)).weights
    array([0.75, 0.25])
    """
    checked = check_problem(
        K, q, ridge, groups, lower, upper, solver, tol, max_iter, start, working_set
    )
    reference = reference_weights(checked)
    product = product_of(checked.operator, reference)
    uniform_gradient = product + checked.ridge * reference - checked.q
    uniform_value = 0.5 * float(reference @ (uniform_gradient - checked.q))
    problem = reduce_problem(checked)
    if problem.rows.size == 0:
        only = "the constraints leave a single point"
        outcome = Outcome(np.empty(0), 0, True, "constraints", only)
    else:
        scores = uniform_gradient[problem.rows]
        outcome = _solve(problem, scores, solver, max_iter)
    weights = problem.expand(outcome.v, checked)
    return _certify(checked, weights, outcome, uniform_value, tol)


def _solve(
    problem: Reduction, scores: FloatArray, solver: Solver, max_iter: int
) -> Outcome:
    """Take the route that was asked for, or the one that suits the size."""
    large = problem.rows.size > DENSE_ROWS
    if solver == "working_set" or (solver == "auto" and large):
        return _solve_by_columns(problem, problem.operator, scores, max_iter)
    K = whole_matrix(problem.operator)
    dense = DenseQP(K, problem.ridge, problem.q, problem.simplices)
    if solver == "interior_point":
        return solve_interior_point(dense, max_iter)
    if solver == "active_set" or problem.rows.size <= SMALL_ROWS:
        return solve_dense(dense, problem.start, max_iter)
    first = solve_active_set(dense, problem.start, max_iter)
    if first.finished:
        return first
    # Set changes that do not settle are typical of a sparse optimum, which column
    # generation finds far faster than the interior point on all rows.
    second = _solve_by_columns(problem, ArrayOperator(K), scores, max_iter)
    return _after(first, second)


def _solve_by_columns(
    problem: Reduction,
    operator: SymmetricOperator,
    scores: FloatArray,
    max_iter: int,
) -> Outcome:
    return solve_working_set(
        operator,
        problem.ridge,
        problem.q,
        problem.simplices,
        scores,
        solve_dense,
        initial=problem.working_set,
        start=problem.start,
        max_iter=max_iter,
    )


def solve_dense(
    problem: DenseQP, start: FloatArray | None, max_iter: int = 100
) -> Outcome:
    """Active set first; interior point when that does not finish."""
    few = problem.q.size <= SERIAL_ROWS
    with single_blas_thread if few else nullcontext():
        first = solve_active_set(problem, start, max_iter)
        if first.finished:
            return first
        return _after(first, solve_interior_point(problem, max_iter))


def _after(first: Outcome, second: Outcome) -> Outcome:
    """Report a fallback: the second outcome, with the steps and end of the first."""
    steps = first.n_iter + second.n_iter
    status = f"active set left after {first.n_iter} steps ({first.status}); "
    return Outcome(
        second.v, steps, second.finished, second.solver, status + second.status
    )


def _certify(
    checked: CheckedQP,
    weights: FloatArray,
    outcome: Outcome,
    uniform_value: float,
    tol: float,
) -> SimplexQPResult:
    """Recompute gradient, value and gap of the returned weights over all rows."""
    product = product_of(checked.operator, weights) + checked.ridge * weights
    gradient = product - checked.q
    value = 0.5 * float(weights @ (gradient - checked.q))
    shifted = weights - checked.lower
    mass = group_sums(checked.labels, shifted, checked.n_groups)
    room = checked.upper - checked.lower
    simplices = Simplices(checked.labels, mass, room)
    gap = simplices.gap(gradient, shifted)
    # Terms of K w may cancel, so its rounding is that of sqrt(k_ii k_jj) w_j.
    root = np.sqrt(np.abs(checked.operator.diagonal()))
    terms = np.append(product, root.max() * (root @ np.abs(weights)))
    eps = float(np.finfo(checked.operator.dtype).eps)
    relative = relative_gap(
        gap, uniform_value - value, rounding_level(terms, checked.q, eps)
    )
    resolved = gap <= rounding_level(terms, checked.q, EPS)
    return SimplexQPResult(
        weights=weights,
        value=value,
        gap=gap,
        relative_gap=relative,
        n_iter=outcome.n_iter,
        converged=bool(relative <= tol or resolved),
        solver=outcome.solver,
        status=outcome.status,
        multipliers=group_levels(simplices, gradient, shifted),
        uniform_value=uniform_value,
    )
