"""The joint map: a histogram version of the Knothe-Rosenblatt transformation."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from causalweights._typing import FloatArray, IntArray
from causalweights.ustatistics._marginal_map import Cells, split_groups


def group_numbers(n: int, d: int) -> list[int]:
    """Return into how many groups each of d coordinates is split, n rows in all.

    The d-th root of n, rounded down; then the first ones get one more, as long as the
    product stays below n.

    Examples
    --------
    >>> group_numbers(1000, 3), group_numbers(999, 3)
    ([10, 10, 10], [10, 10, 9])
    """
    root = round(n ** (1 / d))
    # Compared as integers: the floating root of 1000 is 9.999...
    root -= root**d > n
    sizes = [root] * d
    for k in range(d):
        sizes[k] += 1
        if prod(sizes) >= n:
            sizes[k] -= 1
            break
    return sizes


@dataclass(frozen=True, slots=True)
class JointMap:
    """A tree of cells: groups of the first coordinate, each split by the second, ...

    Attributes
    ----------
    levels : tuple of Cells of length d
        In the order of splitting. Level k has the cells of all the groups above; its
        cell ``b`` of group ``g`` is group ``g * s_k + b`` of the next.
    order : ndarray of shape (d,)
        Column that each level splits.
    within : str
        How a cell is filled.
    """

    levels: tuple[Cells, ...]
    order: IntArray
    within: str

    @classmethod
    def of(
        cls,
        X: FloatArray,
        weight: FloatArray,
        ends: FloatArray,
        order: IntArray,
        within: str = "constant",
        rng: np.random.RandomState | None = None,
    ) -> JointMap:
        """Return the map of reference rows X (n, d), outer edges ``ends`` (2, d).

        Rows tied where a group is split are told apart by the other coordinates, so
        their order is no matter. Time O(d n log n).
        """
        sizes = group_numbers(*X.shape)
        if rng is not None:
            sizes = rng.permutation(sizes).tolist()
        X, ends = X[:, order], ends[:, order]
        rows = np.lexsort((weight, *X.T[::-1]))
        X, weight = X[rows], weight[rows]
        group = np.zeros(len(X), dtype=np.intp)
        counts: IntArray = np.array([len(X)])
        levels = []
        for x, n_cells, limits in zip(X.T, sizes, ends.T):
            # The sort is stable: ties stay in lexicographic order.
            rows = np.lexsort((x, group))
            cells, counts = split_groups(
                x[rows], weight[rows], counts, n_cells, tuple(limits), rng
            )
            group[rows] = np.repeat(np.arange(len(counts)), counts)
            levels.append(cells)
        return cls(tuple(levels), order, within)

    @property
    def sizes(self) -> IntArray:
        """Number of groups each column is split into, (d,), in the columns' order."""
        sizes = np.empty(len(self.levels), dtype=np.intp)
        sizes[self.order] = [cells.edges.shape[1] - 1 for cells in self.levels]
        return sizes

    def image(self, X: FloatArray) -> FloatArray:
        """Return the images (m, d) of rows X (m, d)."""
        out = np.empty(X.shape)
        group: IntArray = np.zeros(len(X), dtype=np.intp)
        for column, cells in zip(self.order, self.levels):
            out[:, column], group = cells.image(X[:, column], group, self.within)
        return out
