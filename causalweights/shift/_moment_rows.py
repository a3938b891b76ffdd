"""What an interior point needs of the target rows' own programs, in closed form.

Row j of the program maximises f_j(q_j) + s_j'q_j over probabilities q_j, for scores s_j
that the moments' coefficients give it. Complementary pairs (x, z) are lists of positive
arrays (C, t); the first x is q.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from scipy.special import entr, logsumexp, softmax

from causalweights._typing import FloatArray
from causalweights.shift._probabilities import top_k_potential


class _PairedRows(ABC):
    """Rows with the pairs q and z = nu - f'(q) - s only; f adds up over classes."""

    # -q_y times the second derivative of f by q_y.
    bend: float

    def __init__(self, q: FloatArray, z: FloatArray):
        self.x, self.z = [q], [z]

    @abstractmethod
    def slope(self, q: FloatArray) -> FloatArray:
        """Return f'(q), up to a constant for each row."""

    def prepare(self, s: FloatArray) -> None:
        """Linearise at the current point, whose scores are s."""
        q, z = self.x[0], self.z[0]
        off = z + self.slope(q) + s
        # nu is free: what the classes in use say of it.
        self.missing = (q * off).sum(axis=0) - off
        self.theta = q / (self.bend + z)
        self.total = self.theta.sum(axis=0)

    def pair(self, y: int, w: int) -> FloatArray:
        """Return the derivative of q_y by the score of another class w."""
        return -self.theta[y] * self.theta[w] / self.total

    def apply(self, ds: FloatArray) -> FloatArray:
        """Return the change of q that a change of scores makes."""
        moved = self.theta * ds
        return moved - self.theta * (moved.sum(axis=0) / self.total)

    def force(self, targets: list[FloatArray]) -> FloatArray:
        """Return the change of q at unchanged scores, given those of x z wanted."""
        self.target = targets[0]
        self.free = self.apply(self.target / self.x[0] - self.missing)
        return self.free

    def direction(self, ds: FloatArray) -> None:
        """Find the changes of all pairs for a change of scores."""
        dq = self.free + self.apply(ds)
        self.dx = [dq]
        self.dz = [(self.target - self.z[0] * dq) / self.x[0]]


class LinearRows(_PairedRows):
    """f(q) = cost'q."""

    bend = 0.0

    def __init__(self, shape: tuple[int, int], cost: FloatArray | float = 0.0):
        self.cost = np.broadcast_to(np.asarray(cost, dtype=np.float64), shape)
        share = np.full(shape, 1.0 / shape[0])
        super().__init__(share, 1.0 + self.cost.max(axis=0) - self.cost)

    def slope(self, q: FloatArray) -> FloatArray:
        return self.cost

    def value(self, q: FloatArray) -> FloatArray:
        """Return f of each row."""
        return (self.cost * q).sum(axis=0)

    def conjugate(self, s: FloatArray) -> FloatArray:
        """Return the largest f(q) + s'q of each row."""
        return (self.cost + s).max(axis=0)


class EntropyRows(_PairedRows):
    """f(q) = -sum_y q_y log q_y, where z is zero at the optimum.

    On the way there, z keeps small q from the boundary until the others are in place.
    """

    bend = 1.0

    def __init__(self, shape: tuple[int, int]):
        super().__init__(np.full(shape, 1.0 / shape[0]), np.ones(shape))

    def start(self, s: FloatArray, product: float) -> None:
        """Start near the solution for these scores."""
        share = 10.0 * product
        q = (1.0 - share) * softmax(s, axis=0) + share / len(s)
        self.x, self.z = [q], [product / q]

    def slope(self, q: FloatArray) -> FloatArray:
        return -np.log(q)

    def value(self, q: FloatArray) -> FloatArray:
        """Return f of each row."""
        return np.asarray(entr(q).sum(axis=0))

    def conjugate(self, s: FloatArray) -> FloatArray:
        """Return the largest f(q) + s'q of each row."""
        return np.asarray(logsumexp(s, axis=0))


class SpreadRows:
    """f(q) = 1 - max_y q_y. Pairs: q and z; u - q and h, where sum_y h_y = 1.

    z = nu + h - s, and at the optimum h is the rule of the 0-1 loss.
    """

    def __init__(self, shape: tuple[int, int]):
        share = np.full(shape, 1.0 / shape[0])
        self.x = [share, share]
        self.z = [1.0 + share, share]

    def prepare(self, s: FloatArray) -> None:
        """Linearise at the current point.

        The largest q is u, with change du; then (first + second) dq = x + second du -
        dnu for forces x, and dq and the changes of h sum to zero.
        """
        (q, room), (z, h) = self.x, self.z
        self.first, self.second = z / q, h / room
        self.kept = 1.0 / (self.first + self.second)
        self.lost, self.left = self.second * self.kept, self.first * self.kept
        self.kappa = (self.second * self.left).sum(axis=0)
        self.total, self.shift = self.kept.sum(axis=0), self.lost.sum(axis=0)
        self.scale = self.kappa * self.total + self.shift**2
        self.freest = self.kept.argmax(axis=0), np.arange(s.shape[1])

    def pair(self, y: int, w: int) -> FloatArray:
        """Return the derivative of q_y by the score of another class w."""
        i, both = self.second, self.second[y] + self.second[w]
        others = [k for k in range(len(i)) if k not in (y, w)]
        # Multiplied out: the inverse's own formula subtracts what is nearly equal.
        moved = i[y] * i[w] * self.kept[others].sum(axis=0) - both
        moved -= (self.lost[others] * (self.first[others] + both)).sum(axis=0)
        return moved * self.kept[y] * self.kept[w] / self.scale

    def _move(
        self, x: FloatArray, lift: FloatArray | float
    ) -> tuple[FloatArray, FloatArray]:
        """Return the changes of q and of u - q for forces x on q and lift on u.

        Both from their own formula: as differences they would lose the digits that tell
        how classes that share the largest q differ.
        """
        a, b = (self.lost * x).sum(axis=0) + lift, (self.kept * x).sum(axis=0)
        du = (a * self.total - b * self.shift) / self.scale
        dnu = (a * self.shift + self.kappa * b) / self.scale
        pushed = self.kept * (x - dnu)
        dq, droom = pushed + self.lost * du, self.left * du - pushed
        excess = dq.sum(axis=0)
        dq[self.freest] -= excess
        droom[self.freest] += excess
        return dq, droom

    def apply(self, ds: FloatArray) -> FloatArray:
        """Return the change of q that a change of scores makes."""
        return self._move(ds, 0.0)[0]

    def force(self, targets: list[FloatArray]) -> FloatArray:
        """Return the change of q at unchanged scores, given those of x z wanted."""
        self.targets = targets
        rest = targets[1] / self.x[1]
        self.lift = rest.sum(axis=0)
        self.pull = targets[0] / self.x[0] - rest
        return self._move(self.pull, self.lift)[0]

    def direction(self, ds: FloatArray) -> None:
        """Find the changes of all pairs for a change of scores."""
        self.dx = list(self._move(ds + self.pull, self.lift))
        self.dz = [
            (target - z * dx) / x
            for target, x, z, dx in zip(self.targets, self.x, self.z, self.dx)
        ]

    def value(self, q: FloatArray) -> FloatArray:
        return 1.0 - q.max(axis=0)

    def conjugate(self, s: FloatArray) -> FloatArray:
        """Return the largest f(q) + s'q, (t,)."""
        return top_k_potential(s.T)[0]
