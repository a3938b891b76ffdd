"""The box problem that the solvers receive, its repair and its duality gap.

minimise  v'(K + diag(ridge)) v / 2 - q'v,  lower <= v <= upper,
low <= row'v <= high,  sum over i in B of (v_i - center_i)^2 <= radius^2,
the last two being optional.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalweights.optimize._box_systems import Hessian, System
from causalweights.optimize._certificate import (
    ROUNDING_UNITS,
    FloatArray,
    IntArray,
    rounding_level,
)
from causalweights.optimize._projection import project_box_slab

EPS = float(np.finfo(np.float64).eps)
# Rows outside the ball cost this little when the point nearest its center is sought.
OUTSIDE_WEIGHT = 1e-6
# A coupling that is off by less, relative to its terms, is off by rounding.
SUM_ROUNDING = 1e-15
AT_LOWER, FREE, AT_UPPER = np.int8(-1), np.int8(0), np.int8(1)
# Where a row of the coupling or of the ball multiplies nothing.
NOWHERE = np.empty(0, dtype=np.intp)


@dataclass(frozen=True, slots=True, eq=False)
class Ball:
    """The constraint sum over `rows` of (v_i - center_i)^2 <= radius^2.

    Attributes
    ----------
    rows : array-like of int of shape (m,)
        Distinct row numbers.
    center : float or array-like of shape (m,)
    radius : float
        Non-negative; 0 fixes the rows at the center.
    """

    rows: ArrayLike
    center: ArrayLike
    radius: float


@dataclass(frozen=True, slots=True, eq=False)
class BoxProblem:
    """Canonical box problem; every array is float64 of shape (n,).

    Attributes
    ----------
    hessian : K
    ridge, q, lower, upper : (n,)
    row : (n,), coefficients of the coupling, zeros for none
    bounds : low and high of the coupling, infinite for none
    rows, center, radius : (m,) int, (m,), float; the ball, no rows for none
    """

    hessian: Hessian
    ridge: FloatArray
    q: FloatArray
    lower: FloatArray
    upper: FloatArray
    row: FloatArray
    bounds: tuple[float, float]
    rows: IntArray
    center: FloatArray
    radius: float

    @property
    def size(self) -> int:
        return self.q.size

    def gradient(self, v: FloatArray) -> FloatArray:
        return self.hessian.product(v) + self.ridge * v - self.q

    def rounding(
        self, v: FloatArray, gradient: FloatArray, units: float = ROUNDING_UNITS
    ) -> float:
        """Size of an entry of the gradient that rounding alone can cause.

        Terms of K v may cancel, so that its rounding is a few units of their sum,
        which sqrt(k_ii k_jj) |v_j| bounds generously.
        """
        root = self.hessian.root
        terms = float(root.max(initial=0.0)) * float(root @ np.abs(v))
        level = rounding_level(gradient + self.q, self.q, EPS)
        return units / ROUNDING_UNITS * level + EPS * terms

    def distance(self, v: FloatArray) -> float:
        """Return the distance of v from the center of the ball."""
        return float(np.linalg.norm(v[self.rows] - self.center))

    def penalized(self, mu: float) -> BoxProblem:
        """Return the problem with mu / 2 |v_B - center|^2 in place of the ball."""
        if mu == 0.0:
            return replace(self, rows=NOWHERE, center=np.empty(0), radius=np.inf)
        ridge, q = self.ridge.copy(), self.q.copy()
        ridge[self.rows] += mu
        q[self.rows] += mu * self.center
        return replace(
            self, ridge=ridge, q=q, rows=NOWHERE, center=np.empty(0), radius=np.inf
        )

    def uniform(self) -> FloatArray:
        """Return weights of one, moved into the constraints."""
        ones = np.ones(self.size)
        v = project_box_slab(ones, ones, self.lower, self.upper, self.row, self.bounds)
        return self._pull(v)

    def nearest(self) -> FloatArray:
        """Return the point of box and coupling nearest to the center of the ball."""
        point, weight = np.ones(self.size), np.ones(self.size)
        if self.rows.size:
            weight[:] = OUTSIDE_WEIGHT
            weight[self.rows] = 1.0
            point[self.rows] = self.center
        return project_box_slab(
            point, weight, self.lower, self.upper, self.row, self.bounds
        )

    def repair(self, v: FloatArray) -> FloatArray:
        """Return a feasible point next to v; rows at a bound stay there if possible."""
        v = np.clip(np.nan_to_num(v, nan=0.0), self.lower, self.upper)
        total, slack = float(self.row @ v), SUM_ROUNDING * float(abs(self.row) @ abs(v))
        if not self.bounds[0] - slack <= total <= self.bounds[1] + slack:
            weight = np.ones(self.size)
            v = project_box_slab(
                v, weight, self.lower, self.upper, self.row, self.bounds
            )
        return self._pull(v)

    def _pull(self, v: FloatArray) -> FloatArray:
        """Move v into the ball: its free rows towards the center, else all of it."""
        if not self.distance(v) > self.radius:
            return v
        shrunk = self._shrink(v)
        total = float(self.row @ shrunk)
        within = self.bounds[0] <= total <= self.bounds[1]
        if within and self.distance(shrunk) <= self.radius * (1.0 + 4.0 * EPS):
            return shrunk
        anchor = self.nearest()
        toward = v[self.rows] - self.center
        change = anchor[self.rows] - v[self.rows]
        # |toward + share change| = radius; the smaller root, without cancellation.
        a, b = float(change @ change), float(toward @ change)
        c = float(toward @ toward) - self.radius**2
        root = np.sqrt(max(b * b - a * c, 0.0))
        share = min(1.0, c / (root - b)) if root > b else 1.0
        return np.clip(v + share * (anchor - v), self.lower, self.upper)

    def _shrink(self, v: FloatArray) -> FloatArray:
        """Scale rows of the ball that are at no bound until its radius is met."""
        part = v[self.rows]
        low, high = self.lower[self.rows], self.upper[self.rows]
        free = (part > low) & (part < high)
        squares = (part - self.center) ** 2
        moving = float(squares[free].sum())
        allowed = self.radius**2 - float(squares[~free].sum())
        if not (moving > 0.0 and allowed >= 0.0):
            return v
        scaled = self.center + np.sqrt(allowed / moving) * (part - self.center)
        shrunk = v.copy()
        shrunk[self.rows] = np.where(free, np.clip(scaled, low, high), part)
        return shrunk


@dataclass(frozen=True, slots=True, eq=False)
class Gap:
    """Duality gap, and the level below which rounding hides it."""

    value: float
    floor: float


def duality_gap(
    problem: BoxProblem,
    v: FloatArray,
    gradient: FloatArray,
    nu: float,
    mu: float,
) -> Gap:
    """Bound the excess of a feasible v over the minimum, for multipliers nu and mu.

    The Lagrangian f - nu (row'v - low or high) + mu / 2 (|v_B - center|^2 - radius^2)
    is at most f on the feasible set for mu >= 0 and the bound that nu's sign picks.
    Its minimum over the box is at least its value at v plus, row by row, the minimum of
    L'_i (u_i - v_i) + (ridge_i + mu 1_B) (u_i - v_i)^2 / 2, since K is positive
    semi-definite. Every term of the difference is non-negative: nothing cancels.
    """
    target = problem.bounds[0] if nu > 0.0 else problem.bounds[1]
    # A multiplier of a bound that is not there is worth nothing.
    nu = nu if np.isfinite(target) else 0.0
    slope = gradient - nu * problem.row
    curvature = problem.ridge
    slack = 0.0
    if nu != 0.0:
        slack = abs(nu) * abs(float(problem.row @ v) - target)
    if mu > 0.0:
        from_center = v[problem.rows] - problem.center
        slope, curvature = slope.copy(), curvature.copy()
        slope[problem.rows] += mu * from_center
        curvature[problem.rows] += mu
        slack += 0.5 * mu * max(problem.radius**2 - float(from_center @ from_center), 0)
    down, up = problem.lower - v, problem.upper - v
    free = np.divide(
        -slope, curvature, out=np.where(slope > 0, down, up), where=curvature > 0.0
    )
    move = np.clip(free, down, up)
    rows = -move * (slope + 0.5 * curvature * move)
    # Rounding of the gradient, times the moves; and that of the value's own terms.
    floor = problem.rounding(v, gradient) * float(np.abs(move).sum())
    terms = np.abs(gradient + problem.q) + np.abs(problem.q) + abs(nu * problem.row)
    size = float(problem.hessian.root @ np.abs(v)) ** 2 + float(terms @ np.abs(v))
    if mu > 0.0:
        size += mu * problem.radius**2
    floor += ROUNDING_UNITS * EPS * size
    return Gap(float(rows.sum()) + slack, floor)


@dataclass(frozen=True, slots=True, eq=False)
class BoxOutcome:
    """What a route returns for a problem without a ball.

    Attributes
    ----------
    v : (n,), as solved: within the box, the coupling up to rounding
    nu : multiplier of the coupling
    sets, edge : rows at a bound, and whether the coupling is at its low (-1) or high
        (1) value
    n_iter, finished, solver, status : as in the result
    system : factored Hessian on the free rows, or None
    """

    v: FloatArray
    nu: float
    sets: NDArray[np.int8]
    edge: int
    n_iter: int
    finished: bool
    solver: str
    status: str
    system: System | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BoxReduction:
    """The problem on the rows that can move, with what maps it back."""

    problem: BoxProblem
    movable: IntArray
    fixed_values: FloatArray

    def expand(self, v: FloatArray) -> FloatArray:
        full = self.fixed_values.copy()
        full[self.movable] = v
        return full


def reduce_box(problem: BoxProblem) -> BoxReduction:
    """Remove rows that their bounds, or a ball of radius zero, leave no choice."""
    lower, upper = problem.lower, problem.upper
    if problem.rows.size and problem.radius == 0.0:
        lower, upper = lower.copy(), upper.copy()
        lower[problem.rows] = upper[problem.rows] = problem.center
    fixed = lower >= upper
    movable = np.flatnonzero(~fixed)
    values = np.where(fixed, lower, 0.0)
    if movable.size == problem.size:
        return BoxReduction(problem, movable, values)
    q = problem.q - problem.hessian.product(values)
    shift = float(problem.row @ values)
    row = problem.row[movable]
    bounds = (problem.bounds[0] - shift, problem.bounds[1] - shift)
    if not row.any():
        bounds = (-np.inf, np.inf)
    moves = ~fixed[problem.rows]
    still = problem.rows[~moves]
    used = float(np.sum((values[still] - problem.center[~moves]) ** 2))
    place = np.cumsum(~fixed) - 1
    reduced = BoxProblem(
        hessian=problem.hessian.restrict(movable),
        ridge=problem.ridge[movable],
        q=q[movable],
        lower=lower[movable],
        upper=upper[movable],
        row=row,
        bounds=bounds,
        rows=place[problem.rows[moves]].astype(np.intp),
        center=problem.center[moves],
        radius=float(np.sqrt(max(problem.radius**2 - used, 0.0))),
    )
    return BoxReduction(reduced, movable, values)
