"""How far moments may be from what is asked, in the steps of an interior point.

Two cases, counterparts of each other: any distance r = moments - tau within a tolerance
at no price, and any distance at a price. Both keep complementary pairs (x, z) of
positive arrays (2, C, m); the first half belongs to r >= -lam or to positive r.
"""

from __future__ import annotations

import numpy as np

from causalweights._typing import FloatArray

SIGN = np.array([1.0, -1.0])[:, None, None]
# First slacks at least and multipliers: far from zero, near the path for features of
# at most one.
SLACK, MULTIPLIER = 0.1, 10.0


def step_length(x: FloatArray, dx: FloatArray) -> float:
    """Return the largest step up to one that keeps x + step dx >= 0."""
    fastest = float((dx / x).min())
    return 1.0 if fastest >= -1.0 else -1.0 / fastest


class Within:
    """|r| <= lam: slacks x = lam + r, lam - r; multipliers z with mu = z[0] - z[1]."""

    def __init__(self, lam: FloatArray, r: FloatArray):
        self.lam = lam
        self.aim, self.inside = lam, 0.0
        self.x = np.maximum(self.aim + SIGN * r, SLACK)
        self.z = np.full(self.x.shape, MULTIPLIER)

    def start(self, mu: FloatArray, r: FloatArray, product: float) -> None:
        """Start near coefficients of a neighbouring program."""
        self.x = np.maximum(self.aim + SIGN * r, product)
        self.z = np.maximum(SIGN * mu, 0.0) + product / self.x

    def draw_in(self, r: FloatArray) -> None:
        """Aim inside the tolerances by twice what rounding puts outside, or by less."""
        excess = float((np.abs(r) - self.lam).max())
        self.inside = 2.0 * excess if excess > 0.0 else 0.5 * self.inside
        self.aim = self.lam - self.inside

    @property
    def mu(self) -> FloatArray:
        """Coefficients, (C, m)."""
        return self.z[0] - self.z[1]

    def prepare(self, r: FloatArray) -> FloatArray:
        """Return what the step's matrix has on its diagonal beside the curvature."""
        self.missing = self.aim + SIGN * r - self.x
        self.ratio = self.z / self.x
        self.width = 1.0 / self.ratio.sum(axis=0)
        return self.width

    def force(self, target: FloatArray) -> FloatArray:
        """Return the right-hand side, given the change of x z wanted."""
        self.pull = target / self.x - self.ratio * self.missing
        self.pushed = self.width * (SIGN * self.pull).sum(axis=0)
        return self.pushed

    def direction(self, dmu: FloatArray) -> None:
        # The change of r that fits dmu, not the one the rows found: ratio would
        # multiply their rounding errors. The next step makes up for the difference.
        dr = self.pushed - self.width * dmu
        self.dx = SIGN * dr + self.missing
        self.dz = self.pull - self.ratio * SIGN * dr

    def advance(self, primal: float, dual: float) -> None:
        self.x = self.x + primal * self.dx
        self.z = self.z + dual * self.dz

    def support(self, mu: FloatArray) -> float:
        """Return the largest -mu'r."""
        return float((self.lam * np.abs(mu)).sum())

    def price(self, r: FloatArray) -> float:
        """Return infinity outside the tolerance."""
        return 0.0 if bool(np.all(np.abs(r) <= self.lam)) else np.inf


class Elastic:
    """Distance r = x[0] - x[1] at a price: z = price + mu, price - mu."""

    def __init__(self, prices: FloatArray, r: FloatArray):
        self.prices = prices
        self.mu = np.zeros(r.shape)
        self.x = 1.0 + np.maximum(SIGN * r, 0.0)
        self.z = prices + SIGN * self.mu

    def prepare(self, r: FloatArray) -> FloatArray:
        """Return what the step's matrix has on its diagonal beside the curvature."""
        self.missing = self.x[0] - self.x[1] - r
        self.ratio = self.x / self.z
        return self.ratio.sum(axis=0)

    def force(self, target: FloatArray) -> FloatArray:
        """Return the right-hand side, given the change of x z wanted."""
        self.pull = target / self.z
        return self.missing + (SIGN * self.pull).sum(axis=0)

    def direction(self, dmu: FloatArray) -> None:
        self.dmu, self.dz = dmu, SIGN * dmu
        self.dx = self.pull - self.ratio * self.dz

    def advance(self, primal: float, dual: float) -> None:
        self.x = self.x + primal * self.dx
        self.mu = self.mu + dual * self.dmu
        self.z = self.prices + SIGN * self.mu

    def support(self, mu: FloatArray) -> float:
        """Return the largest -mu'r less the price: none, as |mu| <= price."""
        return 0.0

    def price(self, r: FloatArray) -> float:
        return float((self.prices * np.abs(r)).sum())
