"""Public entry: quadratic programs on a box with a coupling and a ball, exactly.

Checks and reduces the input, picks a route (active set or interior point, the ball by
its multiplier around either) and certifies the result from scratch.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from causalweights._blas import single_blas_thread
from causalweights.optimize._ball_multiplier import BallOutcome, solve_by_sets
from causalweights.optimize._box_checks import SOLVERS, check_box, check_start
from causalweights.optimize._box_interior_point import follow_path
from causalweights.optimize._box_problem import (
    Ball,
    BoxOutcome,
    BoxProblem,
    BoxReduction,
    duality_gap,
    reduce_box,
)
from causalweights.optimize._certificate import FloatArray, relative_gap
from causalweights.optimize._checks import check_options

BoxSolver = Literal["auto", "active_set", "interior_point"]
# Up to here BLAS threads gain little, cost much on a busy machine and change bits.
SERIAL_ROWS = 1500
# A guess that needs more set changes than this was a poor one.
POLISH_STEPS = 10


@dataclass(frozen=True, slots=True, eq=False)
class BoxMultipliers:
    """Multipliers of the constraints beside the bounds.

    Attributes
    ----------
    coupling : float
        Positive where the low bound of the coupling holds the weights back, negative
        where the high one does, 0 where neither does.
    ball : float
        Non-negative; the solution also minimises the objective plus
        ball / 2 |v_B - center|^2. 0 where the ball is inactive, inf where a radius of
        zero fixes its rows.
    """

    coupling: float
    ball: float


@dataclass(frozen=True, slots=True, eq=False)
class BoxQPResult:
    """Solution of `box_qp` with its certificate.

    Attributes
    ----------
    weights : ndarray of shape (n,)
        Feasible weights, also when `converged` is False.
    value : float
        Objective v'(K + diag(ridge))v/2 - q'v.
    gap : float
        Duality gap, recomputed from the data at `weights` and `multipliers`: value -
        minimum <= gap.
    relative_gap : float
        gap / (uniform_value - value); 0 when both are below rounding level, inf when
        the weights do not improve on uniform ones and the gap is larger than that.
    n_iter : int
        Linear systems factored, over all multipliers of the ball and a fallback.
    converged : bool
        relative_gap <= tol, or gap below the level that rounding of the data hides.
    solver : str
        Route that produced the weights: "active_set", "interior_point", or
        "constraints" where these leave a single point.
    status : str
        Why the route ended, and why it was taken after a fallback.
    multipliers : BoxMultipliers
        Of the coupling and of the ball.
    uniform_value : float
        Objective at weights of one, moved into the constraints.
    """

    weights: FloatArray
    value: float
    gap: float
    relative_gap: float
    n_iter: int
    converged: bool
    solver: str
    status: str
    multipliers: BoxMultipliers
    uniform_value: float


def box_qp(
    K: Any,
    q: ArrayLike,
    ridge: ArrayLike = 0.0,
    *,
    lower: ArrayLike = 0.0,
    upper: ArrayLike,
    coupling: ArrayLike | None = None,
    coupling_bounds: tuple[float, float] | None = None,
    ball: Ball | None = None,
    start: ArrayLike | None = None,
    solver: BoxSolver = "auto",
    tol: float = 1e-6,
    max_iter: int = 100,
) -> BoxQPResult:
    """Minimise v'(K + diag(ridge))v/2 - q'v over a box, a coupling and a ball.

    The constraints are lower <= v <= upper, low <= coupling'v <= high, and sum over
    i in ball.rows of (v_i - ball.center_i)^2 <= ball.radius^2. This is the program of
    kernel mean matching (Huang et al. 2007: coupling 1/n, bounds 1 -+ eps) and of its
    double weighting (Segovia-Martin, Mazuelas and Liu 2023: source weights followed by
    target weights, the ball around target weights of one). The active set method,
    exact in a few linear solves, is tried first; the interior point takes over when it
    cycles or when the matrix is singular. The ball enters by its multiplier, found by
    Newton's method, exact to rounding.

    Parameters
    ----------
    K : array-like of shape (n, n) or LowRankOperator
        Symmetric and positive semi-definite; symmetry is checked on 256 rows. An
        object with `factor` (n, r) and `residual` (n,), such as a `LowRankOperator` or
        what `kernels.pivoted_cholesky` returns, stands for factor @ factor.T +
        diag(residual), which is never formed.
    q : array-like of shape (n,)
        Linear term.
    ridge : float or array-like of shape (n,), default=0.0
        Non-negative diagonal. With 0 the minimiser may not be unique.
    lower, upper : float or array-like of shape (n,)
        Finite bounds.
    coupling : array-like of shape (n,), default=None
        Coefficients of one linear constraint.
    coupling_bounds : tuple of two floats, default=None
        Its low and high bound; either may be infinite, and both may be equal.
    ball : Ball, default=None
        Rows, center and radius.
    start : array-like of shape (n,), default=None
        Warm start; only which rows lie at a bound matters.
    solver : {"auto", "active_set", "interior_point"}, default="auto"
        "auto" and "active_set" are the same: set changes, with the interior point
        behind them.
    tol : float, default=1e-6
        Relative gap that counts as converged; every route runs to its finite end.
    max_iter : int, default=100
        Limit on the steps of each route, for each multiplier of the ball.

    Returns
    -------
    BoxQPResult

    Raises
    ------
    ValueError
        For NaN or infinite entries, wrong shapes, and constraints that no point meets.

    Notes
    -----
    A linear solve is one Cholesky factorisation of the free rows (n^3/3 flops). Where
    the ridge makes a sketch of K with r < n/4 columns accurate enough, it is O(n r^2)
    and about ten products with K instead. Memory is n^2 doubles beyond K at most. A
    low-rank K takes O(n r^2) a solve and O(n r) memory throughout. Plain problems
    take 4-10 solves, a ball multiplies that by about three.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.optimize import Ball, box_qp
    >>> K, q = np.diag([2.0, 1.0]), np.array([1.0, 2.0])
    >>> box_qp(K, q, upper=1.0).weights
    array([0.5, 1. ])
    >>> result = box_qp(K, q, upper=1.0, ball=Ball([1], 0.0, 0.8))
    >>> result.weights, result.multipliers.ball
    (array([0.5, 0.8]), 1.5)
    """
    check_options(SOLVERS, solver, tol, max_iter)
    problem = check_box(K, q, ridge, lower, upper, coupling, coupling_bounds, ball)
    first = check_start(start, problem.size)
    solved = solve_problem(problem, solver, max_iter, start=first)
    return certify(problem, solved, tol, uniform_value(problem))


@dataclass(frozen=True, slots=True, eq=False)
class Solved:
    """Weights (n,) of a problem as solved, with what a neighbouring problem reuses."""

    weights: FloatArray
    reduction: BoxReduction
    outcome: BallOutcome


def solve_problem(
    problem: BoxProblem,
    solver: str,
    max_iter: int,
    *,
    start: FloatArray | None = None,
    warm: Solved | None = None,
) -> Solved:
    """Solve a checked problem on the rows that can move, and repair the result."""
    reduction = reduce_box(problem)
    reduced = reduction.problem
    if reduced.size == 0:
        return Solved(problem.repair(reduction.expand(np.empty(0))), reduction, _POINT)
    previous = None
    if warm is not None:
        start = warm.weights
        if warm.outcome.inner.v.size == reduced.size:
            previous = warm.outcome
    first = None if start is None else start[reduction.movable]
    with single_blas_thread if reduced.size <= SERIAL_ROWS else nullcontext():
        outcome = _solve_reduced(reduced, solver, max_iter, first, previous)
    weights = problem.repair(reduction.expand(outcome.inner.v))
    return Solved(weights, reduction, outcome)


_POINT = BallOutcome(
    BoxOutcome(
        np.empty(0), 0.0, np.empty(0, np.int8), 0, 0, True, "constraints",
        "the constraints leave a single point",
    )
)  # fmt: skip


def _solve_reduced(
    problem: BoxProblem,
    solver: str,
    max_iter: int,
    start: FloatArray | None,
    warm: BallOutcome | None,
) -> BallOutcome:
    """Active set first, interior point when that does not finish."""
    if solver == "interior_point":
        return _interior_point(problem, max_iter)
    first = solve_by_sets(problem, start=start, warm=warm, max_iter=max_iter)
    if first.inner.finished:
        return first
    second = _interior_point(problem, max_iter)
    status = (
        f"active set left after {first.n_iter} steps ({first.inner.status}); "
        f"{second.inner.status}"
    )
    return replace(
        second,
        inner=replace(second.inner, status=status),
        n_iter=first.n_iter + second.n_iter,
    )


def _interior_point(problem: BoxProblem, max_iter: int) -> BallOutcome:
    """Follow the central path, then change sets from the bounds it finds."""
    end = follow_path(problem, max_iter)
    found = end.outcome
    guess = replace(found, inner=replace(found.inner, v=end.guess))
    polished = solve_by_sets(problem, warm=guess, max_iter=POLISH_STEPS)
    n_iter = found.n_iter + polished.n_iter
    if polished.inner.finished:
        feasible = problem.repair(polished.inner.v)
        gradient = problem.gradient(feasible)
        gap = duality_gap(problem, feasible, gradient, polished.inner.nu, polished.mu)
        if gap.value <= max(end.gap, gap.floor):
            inner = replace(
                polished.inner,
                solver="interior_point",
                status="path followed, bounds polished",
            )
            return replace(polished, inner=inner, n_iter=n_iter)
    return replace(found, n_iter=n_iter)


def uniform_value(problem: BoxProblem) -> float:
    """Objective at weights of one, moved into the constraints."""
    uniform = problem.uniform()
    return 0.5 * float(uniform @ (problem.gradient(uniform) - problem.q))


def certify(
    problem: BoxProblem, solved: Solved, tol: float, reference: float
) -> BoxQPResult:
    """Recompute gradient, value and gap of the repaired weights on all rows."""
    outcome, weights = solved.outcome, solved.weights
    gradient = problem.gradient(weights)
    value = 0.5 * float(weights @ (gradient - problem.q))
    fixed = problem.rows.size > 0 and problem.radius == 0.0
    bounded = problem
    if fixed:
        # Bounds that meet at the center say the same, with a finite multiplier.
        lower, upper = problem.lower.copy(), problem.upper.copy()
        lower[problem.rows] = upper[problem.rows] = weights[problem.rows]
        bounded = replace(problem.penalized(0.0), lower=lower, upper=upper)
    nu, mu = outcome.inner.nu, outcome.mu
    gap = duality_gap(bounded, weights, gradient, nu, mu)
    relative = relative_gap(gap.value, reference - value, gap.floor)
    return BoxQPResult(
        weights=weights,
        value=value,
        gap=gap.value,
        relative_gap=relative,
        n_iter=outcome.n_iter,
        converged=bool(relative <= tol or gap.value <= gap.floor),
        solver=outcome.inner.solver,
        status=outcome.inner.status,
        multipliers=BoxMultipliers(nu, np.inf if fixed else mu),
        uniform_value=reference,
    )
