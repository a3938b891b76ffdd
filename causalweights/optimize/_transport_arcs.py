"""Arcs between target and source rows: first lists, and the pricing of all pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from causalweights.optimize._certificate import FloatArray, IntArray, group_sums

# Distances of a block of target rows to all source rows: 8 MB.
BLOCK_ENTRIES = 1_000_000
# Arcs a row of either side starts with, and arcs a target row gains in a round.
NEAREST, ADDED = 8, 8
# Rounding of a cost plus a price, in units of the largest price.
ROUNDING_UNITS = 32.0
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, eq=False)
class Arcs:
    """Pairs of a target and a source row, sorted in this order, with their distances.

    Attributes
    ----------
    target, source : (arcs,) int
    cost : (arcs,) float
    shape : numbers of target and source rows (m, n); every target row has an arc
    """

    target: IntArray
    source: IntArray
    cost: FloatArray
    shape: tuple[int, int]

    def least(self, values: FloatArray) -> FloatArray:
        """Return the least of the arcs' values over each target row, (m,)."""
        levels = np.full(self.shape[0], np.inf)
        np.minimum.at(levels, self.target, values)
        return levels

    def by_target(self, values: FloatArray) -> FloatArray:
        """Sum the arcs' values over each target row, (m,)."""
        return group_sums(self.target, values, self.shape[0])

    def by_source(self, values: FloatArray) -> FloatArray:
        """Sum the arcs' values over each source row, (n,)."""
        return group_sums(self.source, values, self.shape[1])


def blocks_of(n_rows: int, n_columns: int) -> list[slice]:
    """Return slices of rows whose blocks with all columns stay small."""
    size = max(1, BLOCK_ENTRIES // n_columns)
    return [slice(k, min(k + size, n_rows)) for k in range(0, n_rows, size)]


def all_arcs(X: FloatArray, Y: FloatArray) -> Arcs:
    """Return every pair."""
    return arcs_of(X, Y, np.arange(len(X) * len(Y)))


def nearest_arcs(X: FloatArray, Y: FloatArray) -> Arcs:
    """Return the pairs of which one row is among the nearest to the other."""
    n, m = len(X), len(Y)
    to = KDTree(X).query(Y, min(NEAREST, n))[1].reshape(m, -1)
    back = KDTree(Y).query(X, min(NEAREST, m))[1].reshape(n, -1)
    from_targets = np.arange(m)[:, None] * n + to
    from_sources = back * n + np.arange(n)[:, None]
    keys = np.concatenate([from_targets.ravel(), from_sources.ravel()])
    return arcs_of(X, Y, np.unique(keys))


def arcs_of(X: FloatArray, Y: FloatArray, keys: IntArray) -> Arcs:
    """Return the arcs with the sorted keys target n + source."""
    target, source = np.divmod(keys, len(X))
    square = np.zeros(len(keys))
    for x, y in zip(X.T, Y.T):
        square += (y[target] - x[source]) ** 2
    return Arcs(target, source, np.sqrt(square), (len(Y), len(X)))


def with_keys(X: FloatArray, Y: FloatArray, arcs: Arcs, keys: IntArray) -> Arcs:
    """Return the arcs and those with the keys, each once."""
    known = arcs.target * len(X) + arcs.source
    return arcs_of(X, Y, np.union1d(known, keys))


def price(
    X: FloatArray, Y: FloatArray, u: FloatArray, levels: FloatArray
) -> tuple[FloatArray, IntArray]:
    """Return min_j (c_ij + u_j), (m,), and keys of pairs that lie below the levels.

    Of each target row at most `ADDED` pairs, those that lie lowest.
    """
    floor, found = np.empty(len(Y)), [np.empty(0, dtype=np.intp)]
    keep, scale = min(ADDED, len(X)), np.abs(u).max()
    for rows in blocks_of(len(Y), len(X)):
        paid = cdist(Y[rows], X)
        paid += u
        floor[rows] = paid.min(axis=1)
        size = scale + np.abs(floor[rows])
        bound = levels[rows] - ROUNDING_UNITS * EPS * size
        below = np.flatnonzero(floor[rows] < bound)
        j = np.argpartition(paid[below], keep - 1, axis=1)[:, :keep]
        lower = np.take_along_axis(paid[below], j, axis=1) < bound[below, None]
        found.append(((rows.start + below)[:, None] * len(X) + j)[lower])
    return floor, np.concatenate(found)
