"""Primal-dual interior point method for box problems with a coupling and a ball.

Mehrotra's predictor-corrector (Mehrotra 1992, SIAM J. Optim. 2, 575-601) with one
factorisation a step, the coupling and the ball in its border. Insensitive to
conditioning, so that it solves problems without a ridge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError

from causalweights.optimize._ball_multiplier import BallOutcome
from causalweights.optimize._box_active_set import sets_of
from causalweights.optimize._box_problem import (
    EPS,
    BoxOutcome,
    BoxProblem,
    duality_gap,
)
from causalweights.optimize._box_systems import System
from causalweights.optimize._certificate import FloatArray
from causalweights.optimize._interior_point import EXTRAS

# Share of its range by which the start keeps away from a bound.
INSIDE = 0.1
# Share of the longest step that keeps the iterate inside.
TO_BOUNDARY = 0.995
# The path stops at this share of the first gap, or after so many steps without gain:
# from a start near one bound to a solution at a far one, the first steps gain nothing.
PATH_TOLERANCE, PATIENCE = 1e-13, 12
# The start's least slack in the ball, in units of its squared radius.
SMALLEST_SLACK = 1e-6
# The ball's slack needs no upper bound; one this far off does nothing.
FAR = 1e3


@dataclass(slots=True, eq=False)
class _Iterate:
    """Primal x, multipliers y of the equations h(v) = s and z of the bounds.

    x (n + k,) holds v and the values s of the coupling, where it is an interval, and
    of (radius^2 - |v_B - center|^2) / 2, which is at most radius^2 / 2.
    """

    x: FloatArray
    low: FloatArray
    high: FloatArray
    z_low: FloatArray
    z_high: FloatArray
    y: FloatArray

    def room(self) -> tuple[FloatArray, FloatArray]:
        return self.x - self.low, self.high - self.x

    def average(self) -> float:
        """Mean product of room and multiplier over the bounds."""
        below, above = self.room()
        total = float(below @ self.z_low + above @ self.z_high)
        return total / (2 * self.x.size)


class _Equations:
    """The constraints beside the bounds as equations h(v) = s, s within bounds."""

    def __init__(self, problem: BoxProblem) -> None:
        self.problem = problem
        low, high = problem.bounds
        self.coupled = bool(np.isfinite(low) or np.isfinite(high))
        self.equality = self.coupled and low == high
        self.ball = problem.rows.size > 0
        self.count = int(self.coupled) + int(self.ball)

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Return the bounds of s; an infinite one becomes far and harmless."""
        low, high = [], []
        if self.coupled and not self.equality:
            problem = self.problem
            reach = problem.row * problem.lower, problem.row * problem.upper
            least, most = np.minimum(*reach).sum(), np.maximum(*reach).sum()
            width = most - least
            low.append(max(problem.bounds[0], least - width))
            high.append(min(problem.bounds[1], most + width))
        if self.ball:
            low.append(0.0)
            high.append(FAR * self.problem.radius**2)
        return np.array(low), np.array(high)

    def values(self, v: FloatArray) -> FloatArray:
        """Return h(v), (k,)."""
        values = []
        if self.coupled:
            values.append(float(self.problem.row @ v))
        if self.ball:
            w = v[self.problem.rows] - self.problem.center
            values.append(0.5 * (self.problem.radius**2 - float(w @ w)))
        return np.array(values)

    def slopes(self, v: FloatArray) -> FloatArray:
        """Return the gradients of h as columns, (n, k)."""
        columns = np.zeros((v.size, self.count))
        if self.coupled:
            columns[:, 0] = self.problem.row
        if self.ball:
            rows = self.problem.rows
            columns[rows, -1] = self.problem.center - v[rows]
        return columns

    def targets(self, s: FloatArray) -> FloatArray:
        """Return what h must equal, with the fixed value of an equality."""
        return np.append(self.problem.bounds[0], s) if self.equality else s

    def multipliers(self, y: FloatArray) -> tuple[float, float]:
        """Return nu and mu."""
        nu = float(y[0]) if self.coupled else 0.0
        return nu, max(float(y[-1]), 0.0) if self.ball else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class PathEnd:
    """Best feasible point of the path, its gap, and a guess of the bounds that hold."""

    outcome: BallOutcome
    gap: float
    guess: FloatArray


def follow_path(problem: BoxProblem, max_iter: int = 100) -> PathEnd:
    """Follow the central path to rounding level; every row must have lower < upper."""
    equations = _Equations(problem)
    at, steps, stalled, first = _start(problem, equations), 0, 0, None
    best, best_gap, best_average = problem.uniform(), np.inf, np.inf
    guess, nu, mu = best, 0.0, 0.0
    for _ in range(max_iter):
        steps += 1
        feasible = problem.repair(at.x[: problem.size])
        gradient = problem.gradient(feasible)
        now = equations.multipliers(at.y)
        gap = duality_gap(problem, feasible, gradient, *now)
        first = gap.value if first is None else first
        # Far from the path's end the gap at the repaired point says little.
        better = gap.value < 0.9 * best_gap or at.average() < 0.9 * best_average
        stalled = 0 if better else stalled + 1
        best_average = min(best_average, at.average())
        if gap.value < best_gap:
            best, best_gap, (nu, mu) = feasible, gap.value, now
            guess = _guess(problem, at)
        if gap.value <= max(PATH_TOLERANCE * first, 1e-3 * gap.floor):
            break
        system = _factor_newton(problem, at, now[1]) if stalled < PATIENCE else None
        if system is None or not _advance(problem, equations, at, system):
            break
    edge = int(-np.sign(nu)) if _coupling_is_active(problem, best) else 0
    inner = BoxOutcome(
        best, nu, sets_of(problem, best), edge, steps, True, "interior_point",
        "path followed",
    )  # fmt: skip
    outcome = BallOutcome(inner, mu, problem.distance(best), n_iter=steps)
    return PathEnd(outcome, best_gap, guess)


def _start(problem: BoxProblem, equations: _Equations) -> _Iterate:
    low, high = problem.lower, problem.upper
    point = problem.uniform()
    mean = float(np.mean(point - low))
    scale = np.minimum(high - low, mean if mean > 0.0 else np.inf)
    v = np.clip(point, low + INSIDE * scale, high - INSIDE * scale)
    v = _inside_ball(problem, v)
    gradient = problem.gradient(v)
    s_low, s_high = equations.bounds()
    values = equations.values(v)[equations.count - s_low.size :]
    width = INSIDE * np.minimum(s_high - s_low, np.maximum(np.abs(values), EPS))
    if equations.ball:
        width[-1] = SMALLEST_SLACK * problem.radius**2
    s = np.clip(values, s_low + width, s_high - width)
    x, low, high = np.append(v, s), np.append(low, s_low), np.append(high, s_high)
    size = max(float(np.abs(gradient).max()), EPS * float(np.abs(problem.q).max()))
    size = max(size, float(np.finfo(float).tiny))
    room = np.minimum(v - problem.lower, problem.upper - v)
    # Equal products at the start: a far bound gets a small multiplier.
    product = size * float(np.mean(room))
    z_low, z_high = product / (x - low), product / (high - x)
    y = np.zeros(equations.count)
    y[equations.count - s.size :] = (z_low - z_high)[v.size :]
    return _Iterate(x, low, high, z_low, z_high, y)


def _inside_ball(problem: BoxProblem, v: FloatArray) -> FloatArray:
    """Move v towards the point nearest the center, halfway into the ball or further."""
    anchor = problem.nearest()
    least, now = problem.distance(anchor), problem.distance(v)
    wanted = 0.5 * (least + problem.radius)
    if now <= wanted or now <= least:
        return v
    return v + (now - wanted) / (now - least) * (anchor - v)


def _factor_newton(problem: BoxProblem, at: _Iterate, mu: float) -> System | None:
    """Factor K + ridge + mu 1_B + z/(v - lower) + z/(upper - v), lifted if it must.

    The added amount only slows the step: residuals stay those of the exact problem.
    """
    n = problem.size
    below, above = at.room()
    diagonal = problem.ridge + (at.z_low / below + at.z_high / above)[:n]
    diagonal[problem.rows] += mu
    size = float(problem.hessian.root.max() ** 2 + problem.ridge.max())
    everything = np.arange(n)
    for extra in EXTRAS:
        try:
            # The wide range of pivots near the solution is harmless: it sits in the
            # barrier's diagonal.
            added = diagonal + extra * size
            return problem.hessian.system(everything, added, ratio=0.0)
        except LinAlgError:
            continue
    return None


class _Newton:
    """The Newton equations at one iterate, for any complementarity targets."""

    def __init__(
        self, problem: BoxProblem, equations: _Equations, at: _Iterate, system: System
    ) -> None:
        n = problem.size
        self.at, self.system = at, system
        self.below, self.above = at.room()
        v = at.x[:n]
        self.E = equations.slopes(v)
        slack_y = at.y[equations.count - (at.x.size - n) :]
        gradient = problem.gradient(v) - self.E @ at.y
        self.dual = np.append(gradient, slack_y) - at.z_low + at.z_high
        self.missing = equations.targets(at.x[n:]) - equations.values(v)
        self.barrier = (at.z_low / self.below + at.z_high / self.above)[n:]
        # An equality has no s of its own, and nothing in the corner.
        self.fixed = equations.count - self.barrier.size
        self.border = np.empty_like(self.E)
        for j in range(equations.count):
            self.border[:, j] = system.solve(self.E[:, j])
        corner = np.append(np.zeros(self.fixed), 1.0 / self.barrier)
        self.schur = self.E.T @ self.border + np.diag(corner)

    def direction(
        self, r_low: FloatArray, r_high: FloatArray, bend: float = 0.0
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return the changes of x, z_low, z_high and y.

        `bend` is what the curvature of the ball takes off its equation.
        """
        at, n = self.at, self.E.shape[0]
        rhs = -self.dual + r_low / self.below - r_high / self.above
        dv = self.system.solve(rhs[:n])
        ds = rhs[n:] / self.barrier
        wanted = self.missing + np.append(np.zeros(self.fixed), ds)
        if bend > 0.0:
            wanted[-1] += bend
        dy = np.linalg.solve(self.schur, wanted - self.E.T @ dv).astype(np.float64)
        ds = ds - dy[self.fixed :] / self.barrier
        dx = np.append(dv + self.border @ dy, ds)
        dz_low = (r_low - at.z_low * dx) / self.below
        dz_high = (r_high + at.z_high * dx) / self.above
        return dx, dz_low, dz_high, dy


def _advance(
    problem: BoxProblem, equations: _Equations, at: _Iterate, system: System
) -> bool:
    """Take one predictor-corrector step in place; False when it cannot go on.

    Where the system's route failed and there is another, nothing moves yet.
    """
    below, above = at.room()

    def longest(dx: FloatArray, dz_low: FloatArray, dz_high: FloatArray) -> float:
        pairs = (below, dx), (above, -dx), (at.z_low, dz_low), (at.z_high, dz_high)
        return min(_ratio(value, change) for value, change in pairs)

    def to_sphere(dx: FloatArray) -> float:
        """Longest step within the ball, whose equation holds at every iterate."""
        if not equations.ball:
            return np.inf
        change = dx[problem.rows]
        w = at.x[problem.rows] - problem.center
        a, b, c = 0.5 * float(change @ change), -float(w @ change), float(at.x[-1])
        # The positive root of c + b x - a x^2, without cancellation.
        root = np.sqrt(b * b + 4.0 * a * c)
        if b > 0.0:
            return (b + root) / (2.0 * a)
        return 2.0 * c / (root - b) if root > b else np.inf

    try:
        newton = _Newton(problem, equations, at, system)
        products = below * at.z_low, above * at.z_high
        count = 2 * at.x.size
        average = at.average()
        dx, dl, dh, _ = newton.direction(-products[0], -products[1])
        length = min(1.0, longest(dx, dl, dh), to_sphere(dx))
        ahead = float((below + length * dx) @ (at.z_low + length * dl))
        ahead += float((above - length * dx) @ (at.z_high + length * dh))
        target = average * (ahead / count / average) ** 3
        # Corrections of a step that is not taken in full mislead (Colombo and Gondzio
        # 2008, Comput. Optim. Appl. 41, 277-305).
        share = length**2
        change = dx[problem.rows]
        dx, dl, dh, dy = newton.direction(
            target - products[0] - share * dx * dl,
            target - products[1] + share * dx * dh,
            0.5 * float(change @ change),
        )
    except (LinAlgError, np.linalg.LinAlgError):
        return problem.hessian.retreat()
    length = min(1.0, TO_BOUNDARY * min(longest(dx, dl, dh), to_sphere(dx)))
    at.x, at.y = at.x + length * dx, at.y + length * dy
    at.z_low, at.z_high = at.z_low + length * dl, at.z_high + length * dh
    if equations.ball:
        at.x[-1] = equations.values(at.x[: problem.size])[-1]
    below, above = at.room()
    inside = min(below.min(), above.min(), at.z_low.min(), at.z_high.min()) > 0.0
    return bool(inside and np.isfinite(at.x).all() and np.isfinite(at.y).all())


def _ratio(value: FloatArray, change: FloatArray) -> float:
    """Longest step that keeps value + step * change non-negative."""
    falling = change < 0.0
    if not falling.any():
        return np.inf
    return float(np.min(-value[falling] / change[falling]))


def _guess(problem: BoxProblem, at: _Iterate) -> FloatArray:
    """Set rows to the bound that the path drives them to."""
    n = problem.size
    v = at.x[:n]
    below, above = (room[:n] for room in at.room())
    z_low, z_high = at.z_low[:n], at.z_high[:n]
    scale = max(float(z_low.max()), float(z_high.max()), np.finfo(float).tiny)
    size = max(float(np.mean(np.abs(v))), np.finfo(float).tiny)
    guess = np.where(below / size <= z_low / scale, problem.lower, v)
    return np.where(above / size <= z_high / scale, problem.upper, guess)


def _coupling_is_active(problem: BoxProblem, v: FloatArray) -> bool:
    total = float(problem.row @ v)
    size = float(np.abs(problem.row) @ np.abs(v))
    return min(total - problem.bounds[0], problem.bounds[1] - total) <= 1e-6 * size
