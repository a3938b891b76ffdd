"""Linear constraints on weighted moments, in the units the solvers work in.

The caller asks for |A'w - b| <= tol in each group. A column is centered and scaled by
its mean and standard deviation over the group's rows that have a choice, which changes
nothing on the simplex and makes the numbers scale free; columns that the others imply
are dropped. What is left is low <= C'v <= high, with one column for each group and
moment.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, solve_triangular

from causalweights.optimize._certificate import FloatArray, IntArray, group_sums

if TYPE_CHECKING:
    from causalweights.optimize._checks import CheckedQP
    from causalweights.optimize._problem import Simplices

# How far a weighted moment may be from its target, in standard deviations.
MOMENT_ACCURACY = 1e-8
# A column is implied by others when this share of its norm, at most, is its own; below
# MOMENT_ACCURACY, so that meeting the others meets its target.
OWN_SHARE = 1e-9
# A column whose spread is this share of its size is a constant with rounding.
CONSTANT = 1e-13
# Tolerances below this, in standard deviations, are exact constraints.
EXACT_WIDTH = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class CheckedMoments:
    """What the caller asks for: A (n, p); targets and tol (G, p)."""

    A: FloatArray
    targets: FloatArray
    tol: FloatArray

    def describe(self, g: int, k: int) -> str:
        """Name a moment and what is asked of it."""
        group = f" of group {g}" if self.targets.shape[0] > 1 else ""
        within = f" within {self.tol[g, k]:g}" if self.tol[g, k] > 0.0 else ""
        return f"moment {k}{group} (target {self.targets[g, k]:.6g}{within})"


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Constraints low <= C'v <= high of the canonical problem.

    Attributes
    ----------
    C : (n, m), standardized columns, zero outside the moment's own group
    low, high : (m,), equal for exact constraints
    label : (m,) int, canonical group
    group, index : (m,) int, the caller's group and moment
    scale : (m,), standard deviations that the columns were divided by
    asked : what the caller asked for
    """

    C: FloatArray
    low: FloatArray
    high: FloatArray
    label: IntArray
    group: IntArray
    index: IntArray
    scale: FloatArray
    asked: CheckedMoments

    @property
    def exact(self) -> NDArray[np.bool_]:
        return self.low == self.high

    def missing(self, v: FloatArray) -> FloatArray:
        """Signed distance from C'v to the interval of each constraint."""
        value = self.C.T @ v
        return np.clip(value, self.low, self.high) - value

    def excess(self, v: FloatArray, multipliers: FloatArray) -> float:
        """Return what the constraints add to the duality gap; never negative.

        A multiplier pairs with the lower bound when positive, else with the upper one.
        """
        side = np.where(multipliers > 0.0, self.low, self.high)
        return float(np.abs(multipliers) @ np.abs(self.C.T @ v - side))

    def restrict(self, rows: IntArray) -> Moments:
        return replace(self, C=self.C[rows])

    def in_units(self, multipliers: FloatArray | None) -> FloatArray:
        """Multipliers of the caller's columns, (G, p); zero for dropped ones."""
        result = np.zeros(self.asked.targets.shape)
        if multipliers is not None:
            result[self.group, self.index] = multipliers / self.scale
        return result


def reduce_moments(
    checked: CheckedQP, base: FloatArray, rows: IntArray, simplices: Simplices
) -> Moments | None:
    """Bring the constraints to canonical form on `rows`, given the other weights.

    Raises ValueError for targets that constant or collinear columns cannot meet.
    """
    asked = checked.moments
    if asked is None:
        return None
    columns, found = [], []
    for g in range(checked.n_groups):
        inside = checked.labels[rows] == g
        members = rows[inside]
        fixed = (
            asked.targets[g]
            - asked.A[checked.labels == g].T @ (base[checked.labels == g])
        )
        mass = simplices.mass[simplices.labels[inside][0]] if members.size else 0.0
        Z, low, high, scale, kept = _standardize(asked, g, members, fixed, mass)
        kept = _independent(asked, g, Z, low, high, scale, kept)
        for k in kept:
            column = np.zeros(rows.size)
            column[inside] = Z[:, k]
            columns.append(column)
            label = int(simplices.labels[inside][0])
            found.append((low[k], high[k], scale[k], label, g, int(k)))
    if not found:
        return None
    sides, names = np.array([f[:3] for f in found]), np.array([f[3:] for f in found])
    return Moments(
        C=np.ascontiguousarray(np.column_stack(columns)),
        low=sides[:, 0],
        high=sides[:, 1],
        label=names[:, 0],
        group=names[:, 1],
        index=names[:, 2],
        scale=sides[:, 2],
        asked=asked,
    )


def _standardize(
    asked: CheckedMoments, g: int, members: IntArray, fixed: FloatArray, mass: float
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, IntArray]:
    """Center and scale the columns of one group; leave out constants and no bounds.

    Returns (Z, low, high, scale, kept); `fixed` (p,) is what the free rows must sum to.
    """
    A, tol = asked.A[members], asked.tol[g]
    size = np.abs(asked.A).max(axis=0) if members.size == 0 else np.abs(A).max(axis=0)
    center = A.mean(axis=0) if members.size else np.zeros(A.shape[1])
    Z = A - center
    scale = np.sqrt((Z**2).mean(axis=0)) if members.size else np.zeros(A.shape[1])
    constant = scale <= CONSTANT * size
    scale = np.where(constant, np.where(size > 0.0, size, 1.0), scale)
    Z /= scale
    target = (fixed - mass * center) / scale
    wide = np.where(tol / scale <= EXACT_WIDTH, 0.0, tol / scale)
    off = np.where(constant, np.abs(target) - wide, 0.0)
    if off.max(initial=0.0) > MOMENT_ACCURACY:
        k = int(np.argmax(off))
        value = asked.targets[g, k] - target[k] * scale[k]
        raise ValueError(
            f"{asked.describe(g, k)} cannot be met: its column is constant on the rows "
            f"that may move, so the weighted mean is always {value:.6g}, "
            f"{abs(target[k]) * scale[k]:.3g} away. Drop it or correct its target."
        )
    kept = np.flatnonzero(~constant & np.isfinite(wide))
    return Z, target - wide, target + wide, scale, kept


def _independent(
    asked: CheckedMoments,
    g: int,
    Z: FloatArray,
    low: FloatArray,
    high: FloatArray,
    scale: FloatArray,
    kept: IntArray,
) -> IntArray:
    """Leave out exact constraints that others imply.

    The rule is QR with column pivoting on the standardized columns: a column goes when
    the part that earlier ones do not explain is below OWN_SHARE of its norm. Its target
    must then be the same combination of theirs.
    """
    exact = kept[low[kept] == high[kept]]
    if exact.size == 0:
        return kept
    _, R, order = qr(Z[:, exact], mode="economic", pivoting=True)
    own = np.abs(R.diagonal()) > OWN_SHARE * np.sqrt(Z.shape[0])
    rank = int(np.count_nonzero(np.logical_and.accumulate(own)))
    first, gone = exact[order[:rank]], exact[order[rank:]]
    if gone.size == 0:
        return kept
    implied = solve_triangular(R[:rank, :rank], R[:rank, rank:]).T @ low[first]
    off = np.abs(implied - low[gone])
    worst = int(np.argmax(off))
    if off[worst] > MOMENT_ACCURACY * max(1.0, float(np.abs(low[exact]).max())):
        k = int(gone[worst])
        raise ValueError(
            f"{asked.describe(g, k)} cannot be met together with the others: its "
            f"column is a combination of theirs, and their targets put it "
            f"{off[worst] * scale[k]:.3g} away. Drop it or correct its target."
        )
    return np.setdiff1d(kept, gone)


def restore(simplices: Simplices, moments: Moments, v: FloatArray) -> FloatArray:
    """Move v onto the constraints by the smallest change relative to its rows.

    Rows at zero or at their bound stay there. Newton's method: each pass squares the
    distance, so three are enough from a point that is close.
    """
    for _ in range(3):
        missing = moments.missing(v)
        if np.abs(missing).max() <= 1e-15:
            break
        short = (missing != 0.0) | moments.exact
        room = np.where(np.isfinite(simplices.upper), simplices.upper - v, v)
        weight = np.minimum(v, np.maximum(room, 0.0))
        B = np.column_stack([simplices.indicator(), moments.C[:, short]])
        s = np.append(simplices.mass - simplices.sums(v), missing[short])
        y = np.linalg.lstsq(B.T @ (weight[:, None] * B), s, rcond=1e-14)[0]
        v = np.clip(v + weight * (B @ y), 0.0, simplices.upper)
    return v


def centered(checked: CheckedQP) -> FloatArray:
    """Columns less their means over the group, in the caller's units."""
    assert checked.moments is not None
    A, labels, n_groups = checked.moments.A, checked.labels, checked.n_groups
    counts = np.bincount(labels, minlength=n_groups)
    sums = np.stack([group_sums(labels, a, n_groups) for a in A.T], axis=1)
    return A - (sums / counts[:, None])[labels]
