"""Solutions of a box problem along a list of radii of its ball, each from the last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from causalweights.optimize._box_checks import (
    SOLVERS,
    check_box,
    check_feasible,
    check_radius,
    check_upper,
)
from causalweights.optimize._box_problem import Ball, BoxProblem
from causalweights.optimize._box_qp import (
    BoxQPResult,
    BoxSolver,
    Solved,
    certify,
    solve_problem,
    uniform_value,
)
from causalweights.optimize._checks import check_options


@dataclass(frozen=True, slots=True, eq=False)
class BallPath:
    """Solutions of `ball_path`.

    Attributes
    ----------
    results : tuple of BoxQPResult
        One a radius, in the order of the radii.
    first_inactive : int or None
        Position of the first radius at which the ball is inactive, None where it is
        active throughout.
    n_solved : int
        Radii that took a solution; the others share the result before them.
    """

    results: tuple[BoxQPResult, ...]
    first_inactive: int | None
    n_solved: int


def ball_path(
    K: Any,
    q: ArrayLike,
    ridge: ArrayLike = 0.0,
    *,
    rows: ArrayLike,
    center: ArrayLike,
    radii: Sequence[float],
    uppers: Sequence[ArrayLike],
    lower: ArrayLike = 0.0,
    coupling: ArrayLike | None = None,
    coupling_bounds: tuple[float, float] | None = None,
    solver: BoxSolver = "auto",
    tol: float = 1e-6,
    max_iter: int = 100,
) -> BallPath:
    """Solve `box_qp` for several radii of the ball, each from the last solution.

    Double weighting selects D over a grid: radius (1 - 1/sqrt(D)) sqrt(t), upper bounds
    B / sqrt(D) on the source weights. Where the ball is inactive and the next radius
    and bounds keep that solution optimal, nothing is solved: with a ridge, increasing
    radii reach that point, and the path stops there.

    Parameters
    ----------
    K, q, ridge, lower, coupling, coupling_bounds, solver, tol, max_iter :
        As in `box_qp`.
    rows : array-like of int of shape (m,)
        Rows of the ball.
    center : float or array-like of shape (m,)
        Its center.
    radii : sequence of float
        Its radii, in any order; increasing ones are the fastest.
    uppers : sequence of (float or array-like of shape (n,))
        Upper bounds on the weights, one entry a radius.

    Returns
    -------
    BallPath

    Raises
    ------
    ValueError
        Where `box_qp` would, and where radii and uppers differ in number.

    Notes
    -----
    After the first radius, one takes about three linear solves.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.optimize import ball_path
    >>> path = ball_path(
    ...     np.eye(2), [2.0, 3.0], rows=[0, 1], center=1.0, radii=[1.0, 5.0, 6.0],
    ...     uppers=[9.0, 9.0, 9.0],
    ... )
    >>> [result.weights.round(3).tolist() for result in path.results]
    [[1.447, 1.894], [2.0, 3.0], [2.0, 3.0]]
    >>> path.first_inactive, path.n_solved
    (1, 2)
    """
    check_options(SOLVERS, solver, tol, max_iter)
    radii, uppers = list(radii), list(uppers)
    if not radii or len(radii) != len(uppers):
        raise ValueError(
            "radii and uppers must be of the same positive length, got "
            f"{len(radii)} and {len(uppers)}."
        )
    for radius in radii:
        check_radius(radius)
    ball = Ball(rows, center, float(radii[0]))
    first = check_box(K, q, ridge, lower, uppers[0], coupling, coupling_bounds, ball)
    results: list[BoxQPResult] = []
    solved: Solved | None = None
    problem, first_inactive, n_solved = first, None, 0
    for position, (radius, upper) in enumerate(zip(radii, uppers)):
        previous = problem
        high = check_upper(upper, first.lower)
        problem = replace(first, radius=float(radius), upper=high)
        check_feasible(problem)
        if results and _still_optimal(previous, problem, results[-1]):
            results.append(results[-1])
        else:
            solved = solve_problem(problem, solver, max_iter, warm=solved)
            results.append(certify(problem, solved, tol, uniform_value(problem)))
            n_solved += 1
        if first_inactive is None and results[-1].multipliers.ball == 0.0:
            first_inactive = position
    return BallPath(tuple(results), first_inactive, n_solved)


def _still_optimal(
    previous: BoxProblem, problem: BoxProblem, result: BoxQPResult
) -> bool:
    """Tell whether a solution without an active ball solves the next problem too."""
    if result.multipliers.ball != 0.0:
        return False
    v = result.weights
    if problem.distance(v) > problem.radius or np.any(v > problem.upper):
        return False
    held = (v >= previous.upper) & (previous.upper > previous.lower)
    return bool(np.all(problem.upper[held] == previous.upper[held]))
