"""Interior point method for transport on a list of arcs to ridge-penalized sources.

minimise  sum_a c_a p_a + sum_j r_j (w_j - o_j)^2  over p >= 0 with the target masses t,
w the masses that arrive at the sources and o an origin (`_transport_qp` says why). With
prices u and levels l the conditions are  s = c + u_j - l_i >= 0,  p s = 0  and
w_j - o_j = u_j / (2 r_j);  a source without ridge has the price zero. A Newton step is
one Cholesky factorization of a matrix of the smaller side's size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.sparse import csr_array

from causalweights.optimize._certificate import FloatArray
from causalweights.optimize._transport_arcs import Arcs

MAX_STEPS = 100
# Steps without a smaller gap that end it: far from the optimum, where masses of very
# different size bring the products p s into line first, and where rounding is reached.
FAR_STALL, NEAR_STALL, NEAR = 30, 4, 1e-8
STEP_TO_BOUNDARY, SHORTEST_STEP = 0.995, 1e-8
# Smaller target masses, in units of their mean, are raised to this until the end: of
# products p s that start too far apart no step makes progress.
SMALLEST_MASS = 1e-10
# Share of the first objective below which the gap is rounding whatever is left of it.
NOTHING_LEFT = 1e-16
# Shares added to the diagonal where rounding takes definiteness away: a ridge far above
# the distances leaves it to entries 1e15 times smaller than the largest.
BOOSTS = (0.0, 1e-14, 1e-12, 1e-10)
# From this share of all pairs on dense products are faster than sparse ones.
DENSE_SHARE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """The penalty sum_j r_j (w_j - o_j)^2.

    Attributes
    ----------
    ridge, origin : (n,) float, r and o; the origin is zero where the ridge is
    free : (n,) bool, whether there is a ridge, and a price
    slope : (n,) float, 1 / (2 r), one without a ridge
    """

    ridge: FloatArray
    origin: FloatArray
    free: NDArray[np.bool_]
    slope: FloatArray

    def prices(self, w: FloatArray) -> FloatArray:
        """Return the derivative of the penalty."""
        return 2.0 * self.ridge * (w - self.origin)

    def value(self, w: FloatArray) -> float:
        """Return the penalty."""
        return float(self.ridge @ (w - self.origin) ** 2)

    def mismatch(self, w: FloatArray, u: FloatArray) -> FloatArray:
        """Return w - o - u / (2 r), zero without a ridge.

        The duality gap of w and u is that of the transport plus sum r mismatch^2.
        """
        return np.where(self.free, w - self.origin - self.slope * u, 0.0)


@dataclass(slots=True, eq=False)
class Iterate:
    """Masses and slacks of the arcs, prices of the sources, levels of the targets."""

    p: FloatArray
    s: FloatArray
    u: FloatArray
    levels: FloatArray

    def length(self, dp: FloatArray, ds: FloatArray) -> float:
        """Return how far masses and slacks stay non-negative."""
        longest = np.inf
        for value, change in ((self.p, dp), (self.s, ds)):
            falling = change < 0.0
            if falling.any():
                longest = min(longest, np.min(-value[falling] / change[falling]))
        return float(longest)


def interior_point(
    arcs: Arcs, t: FloatArray, penalty: Ridge, accuracy: float, max_steps: int
) -> tuple[FloatArray, FloatArray, int]:
    """Return masses of the arcs, prices of the sources and the number of steps.

    Ends where the gap is at most `accuracy` times the objective or falls no more; the
    masses are feasible whichever it is.
    """
    masses = np.maximum(t, SMALLEST_MASS * t.mean())
    now = _start(arcs, masses, penalty)
    system = NewtonSystem(arcs, penalty)
    best_gap, best, best_step, first, step = np.inf, now, 0, 0.0, 0
    for step in range(min(MAX_STEPS, max_steps) + 1):
        w = arcs.by_source(now.p)
        mismatch = penalty.mismatch(w, now.u)
        gap = float(now.p @ now.s) + float(penalty.ridge @ mismatch**2)
        value = float(arcs.cost @ now.p) + penalty.value(w)
        first = value if step == 0 else first
        if gap < best_gap:
            best_gap, best, best_step = gap, now, step
        if gap <= max(accuracy * value, NOTHING_LEFT * first):
            break
        patience = NEAR_STALL if best_gap <= NEAR * value else FAR_STALL
        if not np.isfinite(gap) or step > best_step + patience:
            break
        try:
            following = _advance(arcs, masses, system, now, mismatch)
        except LinAlgError:
            break
        if following is None:
            break
        now = following
    mass = best.p * (t / arcs.by_target(best.p))[arcs.target]
    return mass, best.u, step


def _start(arcs: Arcs, t: FloatArray, penalty: Ridge) -> Iterate:
    """Return a feasible iterate: each target's mass spread evenly over its arcs."""
    degree = arcs.by_target(np.ones(len(arcs.cost)))
    p = (t / degree)[arcs.target]
    u = penalty.prices(arcs.by_source(p))
    paid = arcs.cost + u[arcs.source]
    levels = arcs.least(paid)
    spread = float(t @ (arcs.by_target(paid) / degree - levels))
    levels -= max(spread, 1e-3 * float(arcs.cost @ p))
    return Iterate(p, paid - levels[arcs.target], u, levels)


def _advance(
    arcs: Arcs,
    t: FloatArray,
    system: NewtonSystem,
    now: Iterate,
    mismatch: FloatArray,
) -> Iterate | None:
    """Take one predictor-corrector step; None where it would be too short."""
    p, s = now.p, now.s
    # Zero but for rounding, which this stops from piling up.
    off = arcs.cost + now.u[arcs.source] - now.levels[arcs.target] - s
    lacking = t - arcs.by_target(p)
    system.factorize(p / s)
    product = p * s
    mean = float(product.mean())
    dp, ds, _, _ = system.direction(-product, s, off, lacking, mismatch)
    length = min(1.0, now.length(dp, ds))
    ahead = float(np.mean((p + length * dp) * (s + length * ds)))
    aim = (ahead / mean) ** 3 * mean - product - dp * ds
    dp, ds, du, dl = system.direction(aim, s, off, lacking, mismatch)
    length = min(1.0, STEP_TO_BOUNDARY * now.length(dp, ds))
    if not length > SHORTEST_STEP:
        return None
    return Iterate(
        p + length * dp, s + length * ds, now.u + length * du, now.levels + length * dl
    )


class NewtonSystem:
    """The Newton equations, reduced to the smaller of the two sides."""

    def __init__(self, arcs: Arcs, penalty: Ridge) -> None:
        self.arcs, self.penalty = arcs, penalty
        m, n = arcs.shape
        self.priced = penalty.free[arcs.source]
        counts = np.bincount(arcs.target, minlength=m)
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        self.is_dense = len(arcs.cost) > DENSE_SHARE * n * m
        self.by_source = n <= m

    def factorize(self, theta: FloatArray) -> None:
        """Factorize for theta = p / s."""
        arcs = self.arcs
        priced = theta * self.priced
        self.theta = theta
        self.rows = arcs.by_target(theta)
        self.columns = arcs.by_source(priced) + self.penalty.slope
        self.coupling = self._matrix(priced)
        if self.by_source:
            scaled = self._matrix(priced / self.rows[arcs.target])
            reduced: Any = scaled.T @ self.coupling
            diagonal = self.columns
        else:
            scaled = self._matrix(priced / self.columns[arcs.source])
            reduced = scaled @ self.coupling.T
            diagonal = self.rows
        reduced = -reduced if self.is_dense else -reduced.toarray()
        at = np.diag_indices(len(diagonal))
        reduced[at] += diagonal
        for boost in BOOSTS:
            reduced[at] += boost * diagonal
            try:
                self.factor = cho_factor(reduced, check_finite=False)
                return
            except LinAlgError:
                continue
        raise LinAlgError("not positive definite")

    def direction(
        self,
        aim: FloatArray,
        s: FloatArray,
        off: FloatArray,
        lacking: FloatArray,
        mismatch: FloatArray,
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return changes of p, s, u and the levels for s dp + p ds = aim."""
        arcs, theta = self.arcs, self.theta
        fixed = aim / s - theta * off
        a = lacking - arcs.by_target(fixed)
        b = np.where(self.penalty.free, arcs.by_source(fixed) + mismatch, 0.0)
        if self.by_source:
            right = b + self.coupling.T @ (a / self.rows)
            du = cho_solve(self.factor, right, check_finite=False)
            dl = (a + self.coupling @ du) / self.rows
        else:
            right = a + self.coupling @ (b / self.columns)
            dl = cho_solve(self.factor, right, check_finite=False)
            du = (b + self.coupling.T @ dl) / self.columns
        ds = off + du[arcs.source] - dl[arcs.target]
        return aim / s - theta * ds, ds, du, dl

    def _matrix(self, values: FloatArray) -> Any:
        matrix = csr_array((values, self.arcs.source, self.starts), self.arcs.shape)
        return matrix.toarray() if self.is_dense else matrix
