"""The target population of balancing weights: rows of the sample, or rows beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from causalweights._typing import FloatArray
from causalweights._validation import Arms


@dataclass(frozen=True, slots=True, eq=False)
class Goal:
    """Rows (m, d) and masses (m,) of the target, in the scale of the criterion.

    `of_sample` (n,) holds the masses of the sample's own rows: all zero where the
    target lies outside.
    """

    rows: FloatArray
    masses: FloatArray
    of_sample: FloatArray

    @classmethod
    def within(cls, points: FloatArray, masses: FloatArray) -> Goal:
        """Return the goal made of the sample's rows (n, d) with masses (n,)."""
        used = masses > 0
        return cls(points[used], masses[used], masses)

    @classmethod
    def outside(cls, rows: FloatArray, masses: FloatArray, n: int) -> Goal:
        """Return the goal made of other rows, for a sample of n."""
        return cls(rows, masses / masses.sum(), np.zeros(n))

    @property
    def is_outside(self) -> bool:
        """Whether the target's rows are not the sample's."""
        return not self.of_sample.any()


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """The sample's rows followed by the target's where that lies outside.

    So that sample and target are weightings of the same rows.
    """

    points: FloatArray
    arms: Arms
    target: FloatArray
    n_outside: int

    @classmethod
    def of(cls, points: FloatArray, arms: Arms, goal: Goal) -> Pooled:
        """Return the pooled rows; rows outside have no mass in any arm."""
        if not goal.is_outside:
            return cls(points, arms, goal.of_sample, 0)
        m = len(goal.rows)
        codes = np.concatenate([arms.codes, np.zeros(m, arms.codes.dtype)])
        target = np.concatenate([goal.of_sample, goal.masses])
        rows = np.vstack([points, goal.rows])
        return cls(rows, replace(arms, codes=codes), target, m)

    def pad(self, values: FloatArray) -> FloatArray:
        """Return values of the sample's rows followed by zeros."""
        return np.concatenate([values, np.zeros(self.n_outside)])
