"""The ball constraint by its multiplier, a root in one dimension.

With mu / 2 |v_B - center|^2 in the objective the solution's distance from the center
falls with mu, and one over that distance is nearly linear in mu: Newton's method on it
(More and Sorensen 1983, SIAM J. Sci. Stat. Comput. 4, 553-572), kept in a bracket,
needs a few solutions by set changes, each of which starts from the last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import LinAlgError

from causalweights.optimize._box_active_set import solve_box_active_set
from causalweights.optimize._box_problem import FREE, BoxOutcome, BoxProblem
from causalweights.optimize._certificate import FloatArray

# Distances from the center are compared with the radius up to this relative error.
RADIUS_TOLERANCE = 1e-11
MAX_ROOT_STEPS = 60
# Outside the reach of Newton steps, the multiplier moves by this factor.
STRETCH = 10.0
# Newton steps lose little by a slope of this relative accuracy.
SLOPE_ACCURACY = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class BallOutcome:
    """What a route returns for a problem with a ball, or without (mu = 0).

    Attributes
    ----------
    inner : solution of the problem with the multiplier in the objective
    mu : multiplier of the ball
    distance : of the solution from the center
    slope : minus half the derivative of the squared distance in mu, None for unknown
    tangent : (n,), derivative of the solution in mu, None for unknown
    n_iter : steps over all multipliers tried
    """

    inner: BoxOutcome
    mu: float = 0.0
    distance: float = 0.0
    slope: float | None = None
    tangent: FloatArray | None = None
    n_iter: int = 0


def solve_by_sets(
    problem: BoxProblem,
    *,
    start: FloatArray | None = None,
    warm: BallOutcome | None = None,
    max_iter: int = 100,
) -> BallOutcome:
    """Solve by set changes for each multiplier of the ball, until its radius is met.

    Starts from the bounds of `start`, or from the solution `warm` of a neighbouring
    problem. Returns at the first unfinished set changes.
    """
    if problem.rows.size == 0:
        outcome = _solve(problem, warm, 0.0, start, max_iter)
        return BallOutcome(outcome, n_iter=outcome.n_iter)
    search = _Search(problem)
    n_iter, mu = 0, search.first(warm)
    for _ in range(MAX_ROOT_STEPS):
        inner = _solve(problem.penalized(mu), warm, mu, start, max_iter)
        n_iter += inner.n_iter
        slope, tangent = _derivatives(problem, inner)
        distance = problem.distance(inner.v)
        warm = BallOutcome(inner, mu, distance, slope, tangent, n_iter)
        if not inner.finished or search.settled(warm):
            return warm
        mu = search.following(warm)
    unsettled = "the multiplier of the ball did not settle"
    inner = replace(inner, finished=False, status=unsettled)
    return BallOutcome(inner, mu, distance, n_iter=n_iter)


def _solve(
    problem: BoxProblem,
    last: BallOutcome | None,
    mu: float,
    start: FloatArray | None,
    max_iter: int,
) -> BoxOutcome:
    """Change sets from the bounds of `start`, or from the last solution's tangent."""
    if last is None:
        return solve_box_active_set(problem, start, max_iter=max_iter)
    v, inner = last.inner.v, last.inner
    if last.tangent is not None:
        v = v + (mu - last.mu) * last.tangent
    return solve_box_active_set(
        problem, v, edge=inner.edge, nu=inner.nu, max_iter=max_iter
    )


class _Search:
    """Bracketed root search; low and high are multipliers on either side of it."""

    def __init__(self, problem: BoxProblem) -> None:
        self.radius = problem.radius
        self.low, self.high = 0.0, np.inf
        self.low_tried = False
        diagonal = problem.hessian.root**2 + problem.ridge
        self.scale = float(diagonal[problem.rows].mean())

    def first(self, warm: BallOutcome | None) -> float:
        """Return the step from the last radius, or no multiplier."""
        if warm is None:
            return 0.0
        return max(newton(warm, self.radius), 0.0)

    def settled(self, at: BallOutcome) -> bool:
        """Narrow the bracket; tell whether the radius is met, or cannot be reached."""
        if at.distance > self.radius:
            self.low, self.low_tried = max(self.low, at.mu), True
        else:
            self.high = min(self.high, at.mu)
        if at.mu == 0.0 and at.distance <= self.radius:
            return True
        if abs(at.distance - self.radius) <= RADIUS_TOLERANCE * self.radius:
            return True
        return self.high < np.inf and self.high - self.low <= 4e-16 * self.high

    def following(self, at: BallOutcome) -> float:
        """Return the next multiplier: Newton's, or one that narrows the bracket."""
        candidate = newton(at, self.radius)
        if self.low < candidate < self.high and candidate != at.mu:
            return candidate
        if not self.low_tried and candidate <= self.low:
            return 0.0
        if self.high == np.inf:
            return STRETCH * (self.low if self.low > 0.0 else 0.01 * self.scale)
        if self.low == 0.0:
            return self.high / STRETCH
        return float(np.sqrt(self.low * self.high))


def newton(at: BallOutcome, radius: float) -> float:
    """Newton step on 1 / distance(mu) = 1 / radius; no step where it is unknown."""
    if at.slope is None or not at.slope > 0.0:
        return at.mu
    return at.mu + at.distance**2 / at.slope * (at.distance - radius) / radius


def _derivatives(
    problem: BoxProblem, outcome: BoxOutcome
) -> tuple[float | None, FloatArray | None]:
    """Return minus half the derivative of the squared distance, and that of v, in mu.

    On the free rows v' = -A^-1 w with w = v_B - center, less what an active coupling
    forbids; the rows at a bound stay there.
    """
    if outcome.system is None:
        return None, None
    free = np.flatnonzero(outcome.sets == FREE)
    full = np.zeros(problem.size)
    full[problem.rows] = outcome.v[problem.rows] - problem.center
    w, row = full[free], problem.row[free]
    try:
        change = outcome.system.solve(w, SLOPE_ACCURACY * float(np.linalg.norm(w)))
        if outcome.edge != 0:
            border = outcome.system.solve(row)
            change = change - float(row @ change) / float(row @ border) * border
    except LinAlgError:
        return None, None
    tangent = np.zeros(problem.size)
    tangent[free] = -change
    return float(w @ change), tangent
