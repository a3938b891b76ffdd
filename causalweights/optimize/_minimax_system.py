"""The minimax program in canonical form, and the systems of its interior point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from causalweights.optimize._certificate import (
    FloatArray,
    bounded_gap,
    linear_program_levels,
    relative_gap,
)

# Corrections of the solution of a system.
REFINEMENTS = 3
EPS = float(np.finfo(np.float64).eps)

# Right sides of a system: of v, of t, of the sum.
Sides = tuple[FloatArray, float, float]


class MinimaxProblem:
    """The program in v = w - lower, 0 <= v <= room, sum of v = mass."""

    def __init__(
        self, F: FloatArray, h: FloatArray, ridge: FloatArray, low: FloatArray,
        high: FloatArray, center: FloatArray,
    ) -> None:  # fmt: skip
        self.F, self.h, self.ridge, self.low = F, h - low @ F, ridge, low
        self.apart = low - center  # of v = 0, from where the ridge pulls to
        self.mass = max(0.0, 1.0 - float(low.sum()))
        self.room = np.minimum(high - low, self.mass)
        # Rows that a bound can hold from above before they hold all the mass.
        self.capped = np.flatnonzero(self.room < self.mass)
        total = self.room.sum()
        share = self.mass / total if total > 0.0 else 0.0
        self.interior = self.room * share
        self.at_start = self.value(self.interior)[0]
        size = float(np.abs(F).max()) + float(np.abs(h).max())
        self.floor = 16.0 * EPS * (size + float(ridge.max()))

    def difference(self, v: FloatArray) -> FloatArray:
        """Return the imbalances F'w - h."""
        return np.asarray(v @ self.F - self.h)

    def value(self, v: FloatArray) -> tuple[float, float]:
        """Return the objective and its first term."""
        off, largest = self.apart + v, float(np.abs(self.difference(v)).max())
        return largest + 0.5 * float(off @ (self.ridge * off)), largest

    def certificate(self, v: FloatArray, z: FloatArray) -> tuple[float, float]:
        """Return the duality gap of v and prices z of sum of |z| <= 1; the level."""
        difference = self.difference(v)
        slope = self.F @ z + self.ridge * (self.apart + v)
        labels, mass = np.zeros(v.size, np.intp), np.array([v.sum()])
        gap = bounded_gap(slope, v, labels, mass, self.room)
        level = linear_program_levels(slope, labels, mass, self.room)[0]
        return gap + float(np.abs(difference).max() - z @ difference), float(level)

    def relative(self, gap: float, value: float) -> float:
        """Return the gap over what was gained on the start."""
        return relative_gap(gap, self.at_start - value, self.floor)


class Slacks:
    """The inequalities as s >= 0: v, room - v where it can bind, t - d and t + d."""

    def __init__(self, problem: MinimaxProblem) -> None:
        self.problem, self.capped = problem, problem.capped
        n, b, J = problem.low.size, self.capped.size, problem.h.size
        self._ends = [n, n + b, n + b + J]

    def at(self, v: FloatArray, t: float) -> FloatArray:
        """Return the slacks of a point."""
        d = self.problem.difference(v)
        above = self.problem.room[self.capped] - v[self.capped]
        return np.concatenate([v, above, t - d, t + d])

    def move(self, dv: FloatArray, dt: float) -> FloatArray:
        """Return the change of the slacks along a direction."""
        d = dv @ self.problem.F
        return np.concatenate([dv, -dv[self.capped], dt - d, dt + d])

    def split(self, values: FloatArray) -> list[FloatArray]:
        """Return the parts of values, one a slack, by kind."""
        return np.split(values, self._ends)


@dataclass(slots=True, eq=False)
class Point:
    """A strictly feasible point and its multipliers."""

    v: FloatArray
    t: float
    level: float
    z: FloatArray

    def prices(self, slacks: Slacks) -> FloatArray:
        """Return signed prices of the functions with sum of |z| at most one."""
        _, _, plus, minus = slacks.split(self.z)
        prices = plus - minus
        return np.asarray(prices / max(1.0, float(np.abs(prices).sum())))


class NewtonBorder:
    """[D + F S F', -F delta, -1] and its two borders, by one factor of order J."""

    def __init__(self, slacks: Slacks, s: FloatArray, z: FloatArray) -> None:
        problem, theta = slacks.problem, z / s
        below, above, plus, minus = slacks.split(theta)
        D = problem.ridge + below
        D[slacks.capped] += above
        self.slacks, self.F, self.theta = slacks, problem.F, theta
        self.D, self.root = D, np.sqrt(plus + minus)
        scaled = (problem.F / np.sqrt(D)[:, None]) * self.root
        C = scaled.T @ scaled
        C.flat[:: C.shape[0] + 1] += 1.0
        self.factor = cho_factor(C, overwrite_a=True, check_finite=False)
        eta = (plus - minus) / self.root
        solved = cho_solve(self.factor, eta, check_finite=False)
        self.tilt = problem.F @ (self.root * solved) / D  # M^{-1} F delta
        self.ones = self.inverse(np.ones(D.size))
        self.own = float(np.sum(4.0 * plus * minus / (plus + minus)) + eta @ solved)
        self.delta = problem.F @ (plus - minus)
        self.total = float(plus.sum() + minus.sum())

    def inverse(self, g: FloatArray) -> FloatArray:
        """Return (D + F S F')^{-1} g."""
        right = self.root * ((g / self.D) @ self.F)
        inner = cho_solve(self.factor, right, check_finite=False)
        return (g - self.F @ (self.root * inner)) / self.D

    def _bordered(
        self, g: FloatArray, g_t: float, missing: float
    ) -> tuple[FloatArray, float, float]:
        """Eliminate the change of v: a system of order two is left."""
        base = self.inverse(g)
        A = np.array([
            [self.own, -self.delta @ self.ones],
            [self.tilt.sum(), self.ones.sum()],
        ])  # fmt: skip
        b = np.array([g_t + self.delta @ base, missing - base.sum()])
        dt, dy = np.linalg.solve(A, b)
        return base + self.tilt * dt + self.ones * dy, float(dt), float(dy)

    def _missed(self, right: Sides, dv: FloatArray, dt: float, dy: float) -> Sides:
        """Return what a solution leaves of the right side."""
        image = self.D * dv + self.F @ (self.root**2 * (dv @ self.F))
        return (
            right[0] - image + self.delta * dt + dy,
            right[1] - self.total * dt + float(self.delta @ dv),
            right[2] - float(dv.sum()),
        )

    @staticmethod
    def _size(rest: Sides) -> float:
        return max(float(np.abs(rest[0]).max()), abs(rest[1]), abs(rest[2]))

    def solve(
        self, r: FloatArray, dual: FloatArray, dual_t: float, missing: float
    ) -> tuple[FloatArray, float, float, FloatArray]:
        """Return the changes of w, t, the level and z; r is what z is driven to."""
        below, above, plus, minus = self.slacks.split(r)
        g = -dual - self.F @ (plus - minus) + below
        g[self.slacks.capped] -= above
        right = (g, -dual_t + float(plus.sum() + minus.sum()), missing)
        dv, dt, dy = self._bordered(*right)
        rest = self._missed(right, dv, dt, dy)
        # Near the solution D spans the whole range of doubles: refine while it helps.
        for _ in range(REFINEMENTS):
            change = self._bordered(*rest)
            better = dv + change[0], dt + change[1], dy + change[2]
            left = self._missed(right, *better)
            if not self._size(left) < 0.5 * self._size(rest):
                break
            (dv, dt, dy), rest = better, left
        dz = r - self.theta * self.slacks.move(dv, dt)
        return dv, float(dt), float(dy), dz
