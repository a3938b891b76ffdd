"""Rows that share one weight: averages over clusters, and their Gram operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from causalweights._typing import FloatArray, IntArray
from causalweights.kernels import GramOperator, LowRankFactor, pivoted_cholesky

# Kernel values evaluated at a time, 128 MB in double precision.
TILE_VALUES = 16_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Clusters of rows; a row's mass is its share of its cluster's.

    Attributes
    ----------
    of_row : (n,), cluster of each row, 0, ..., G - 1
    share : (n,), in proportion to the sampling weights, sum one in a cluster
    first : (G,), one row of each
    """

    of_row: IntArray
    share: FloatArray
    first: IntArray

    @classmethod
    def of(cls, labels: IntArray, masses: FloatArray) -> Clusters:
        """Return the clusters of rows with equal labels; shares follow the masses."""
        _, first, of_row = np.unique(labels, return_index=True, return_inverse=True)
        return cls(of_row, masses / np.bincount(of_row, masses)[of_row], first)

    @property
    def n_clusters(self) -> int:
        """Number of clusters G."""
        return len(self.first)

    def of_rows(self, rows: np.ndarray) -> Clusters:
        """Return the clusters of some rows, all of a cluster or none."""
        return Clusters.of(self.of_row[rows], self.share[rows])

    def matrix(self) -> sparse.csc_array:
        """Return C (n, G), the rows' shares."""
        rows = np.arange(len(self.share))
        return sparse.csc_array(
            (self.share, (rows, self.of_row)), (len(rows), self.n_clusters)
        )

    def sum(self, values: FloatArray) -> FloatArray:
        """Return the clusters' sums of values (n,)."""
        return np.bincount(self.of_row, values).astype(np.float64)

    def mean(self, values: FloatArray) -> FloatArray:
        """Return the clusters' means C'values of values (n,) or (n, p)."""
        return np.asarray(self.matrix().T @ values)

    def spread(self, masses: FloatArray) -> FloatArray:
        """Return the rows' masses C v of the clusters' v."""
        return self.share * masses[self.of_row]


class ClusteredGram:
    """The operator C'KC of the means of a kernel's functions over clusters.

    It never holds K: a product takes one with K, and a block is formed in tiles, each
    entry at the cost of its clusters' pairs of rows.
    """

    def __init__(
        self, operator: GramOperator, clusters: Clusters | None, C: Any = None
    ) -> None:
        self._operator = operator
        self._C = C if clusters is None else clusters.matrix()
        self.shape, self.dtype = (self._C.shape[1],) * 2, operator.dtype

    def _members(self, clusters: Any) -> tuple[IntArray, sparse.csc_array]:
        """Return the rows of some clusters, one after another, and their shares."""
        C = self._C if clusters is None else self._C[:, clusters]
        places = np.arange(len(C.indices))
        shares = sparse.csc_array((C.data, places, C.indptr), (len(places), C.shape[1]))
        return C.indices, shares

    def block(self, rows: ArrayLike | None, columns: Any = None) -> np.ndarray:
        """Return the block of some clusters, all where None."""
        right, B = self._members(columns)
        wanted = np.arange(self.shape[0]) if rows is None else np.asarray(rows)
        sizes = np.cumsum(np.diff(self._C.indptr)[wanted])
        out = np.empty((len(wanted), B.shape[1]), self.dtype)
        start = 0
        while start < len(wanted):
            # At least one cluster, and as many as fit.
            before = sizes[start - 1] if start else 0
            most = before + TILE_VALUES // max(1, len(right))
            stop = max(start + 1, int(np.searchsorted(sizes, most, side="right")))
            left, A = self._members(wanted[start:stop])
            out[start:stop] = A.T @ (self._operator.block(left, right) @ B)
            start = stop
        return out

    def matvec(self, v: ArrayLike, columns: Any = None, rows: Any = None) -> np.ndarray:
        """Return the matrix (its given rows and columns) times v, (m,) or (m, k)."""
        right, B = self._members(columns)
        left, A = self._members(rows)
        return A.T @ self._operator.matvec(B @ np.asarray(v), right, left)

    def diagonal(self) -> np.ndarray:
        """Return the mean of K over each cluster's pairs of rows."""
        members, C = self._members(None)
        out = C.data**2 * self._operator.diagonal()[members]
        out = np.add.reduceat(out, C.indptr[:-1])
        for g in np.flatnonzero(np.diff(C.indptr) > 1):
            own = slice(C.indptr[g], C.indptr[g + 1])
            share = C.data[own]
            out[g] = share @ self._operator.block(members[own], members[own]) @ share
        return out

    def low_rank(self, *, rank: int, **options: Any) -> LowRankFactor:
        """Return a pivoted Cholesky factor of rank at most ``rank``."""
        return pivoted_cholesky(self, rank=rank, **options)

    def restrict(self, rows: IntArray) -> ClusteredGram:
        """Return the same operator on some clusters."""
        members, shares = self._members(rows)
        return ClusteredGram(self._operator.restrict(members), None, shares)

    def astype(self, dtype: Any) -> ClusteredGram:
        """Return the same operator in another precision."""
        return ClusteredGram(self._operator.astype(dtype), None, self._C)
