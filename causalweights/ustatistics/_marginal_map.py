"""Maps of one coordinate at a time: ranks, and cells between neighboring rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from causalweights._typing import FloatArray, IntArray
from causalweights.ustatistics._cell_cdf import cell_cdf


@dataclass(frozen=True, slots=True)
class Ranks:
    """The mid-ranks of one coordinate.

    Attributes
    ----------
    values : ndarray of shape (m,)
        Distinct values of the reference rows, increasing.
    below : ndarray of shape (m + 1,)
        Weight of the rows below each value, and of all rows.
    """

    values: FloatArray
    below: FloatArray

    @classmethod
    def of(cls, x: FloatArray, weight: FloatArray) -> Ranks:
        """Return the ranks among reference values x (n,) of positive weight (n,)."""
        # Weights break ties, so that sums have the same bits for any order of rows.
        order = np.lexsort((weight, x))
        x, total = x[order], np.concatenate([[0.0], np.cumsum(weight[order])])
        first = np.flatnonzero(np.concatenate([[True], x[1:] != x[:-1]]))
        return cls(x[first], total[np.append(first, len(x))])

    def image(self, x: FloatArray) -> FloatArray:
        """Return {W(below x) + W(up to x)} / (2 W)."""
        position = np.searchsorted(self.values, x)
        tied = self.values[np.minimum(position, len(self.values) - 1)] == x
        upto = self.below[position + tied]
        return (self.below[position] + upto) / (2.0 * self.below[-1])


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells that one coordinate is cut into, within each of G groups of rows.

    Attributes
    ----------
    edges : ndarray of shape (G, s + 1)
        Edges of the cells, not decreasing; the first and last are the same for all.
    heights : ndarray of shape (G, s + 1)
        Images of the edges, times the last of them.
    """

    edges: FloatArray
    heights: FloatArray

    def locate(self, x: FloatArray, group: IntArray) -> IntArray:
        """Return the cell of each value: the lowest whose right edge is not below it.

        Parameters
        ----------
        x : ndarray of shape (m,)
            Within the outer edges.
        group : ndarray of shape (m,)
            Group, 0 to G - 1.
        """
        n_cells = self.edges.shape[1] - 1
        if len(self.edges) == 1:
            return np.searchsorted(self.edges[0, 1:-1], x)
        # Bisection of all rows at once.
        edges, right = self.edges.ravel(), group * (n_cells + 1) + 1
        low = np.zeros(len(x), dtype=np.intp)
        high = np.full(len(x), n_cells - 1)
        for _ in range((n_cells - 1).bit_length()):
            middle = (low + high) // 2
            above = edges[right + middle] < x
            low = np.where(above, middle + 1, low)
            high = np.where(above, high, middle)
        return low

    def image(
        self, x: FloatArray, group: IntArray, within: str
    ) -> tuple[FloatArray, IntArray]:
        """Return the image of each value, and its child group ``group * s + cell``."""
        n_cells = self.edges.shape[1] - 1
        x = np.clip(x, self.edges[0, 0], self.edges[0, -1])
        child = group * n_cells + self.locate(x, group)
        left = child + group  # rows hold one edge more than cells
        edges, heights = self.edges.ravel(), self.heights.ravel()
        start, width = edges[left], edges[left + 1] - edges[left]
        # A cell without width sends its value to its right end.
        share = np.ones(len(x))
        np.divide(x - start, width, out=share, where=width > 0)
        bottom, top = heights[left], heights[left + 1]
        filled = (top - bottom) * cell_cdf(share - 0.5, within)
        return (bottom + filled) / self.heights[group, -1], child


def split_groups(
    x: FloatArray,
    weight: FloatArray,
    counts: IntArray,
    n_cells: int,
    ends: tuple[float, float],
    rng: np.random.RandomState | None = None,
) -> tuple[Cells, IntArray]:
    """Cut every group of rows into cells of as equal a count as can be.

    Parameters
    ----------
    x, weight : ndarray of shape (n,)
        Rows sorted by group, within it by x.
    counts : ndarray of shape (G,)
        Rows of each group, at least ``n_cells``.
    n_cells : int
        Cells a group; the first take the remainder, one row each.
    ends : (float, float)
        Outer edges.
    rng : RandomState or None
        Cut at a random place of each gap, and let random cells take the remainder;
        None cuts at the midpoints.

    Returns
    -------
    cells : Cells
    counts : ndarray of shape (G * n_cells,)
        Rows of each cell.
    """
    n_groups, base = len(counts), counts // n_cells
    turn = np.broadcast_to(np.arange(n_cells), (n_groups, n_cells))
    if rng is not None:
        turn = np.argsort(rng.random_sample((n_groups, n_cells)), axis=1)
    sizes = base[:, None] + (turn < (counts - base * n_cells)[:, None])
    starts = np.concatenate([[0], np.cumsum(sizes.ravel())[:-1]])
    inner = starts.reshape(n_groups, n_cells)[:, 1:]
    before, after = x[inner - 1], x[inner]
    share = 0.5 if rng is None else rng.random_sample(inner.shape)
    cuts = before + (after - before) * share
    # Between neighboring floats a cut may round up to the upper one, and take it along.
    cuts = np.where(cuts < after, cuts, before)
    edges = np.empty((n_groups, n_cells + 1))
    edges[:, 0], edges[:, 1:-1], edges[:, -1] = ends[0], cuts, ends[1]
    # A cell's image is its share of the group's weight, or the reference would not be
    # uniform where counts differ by one; random cells even that out by themselves.
    shares = np.add.reduceat(weight, starts) / (1 if rng is None else sizes.ravel())
    heights = np.zeros_like(edges)
    np.cumsum(shares.reshape(n_groups, n_cells), axis=1, out=heights[:, 1:])
    return Cells(edges, heights), sizes.ravel()


@dataclass(frozen=True, slots=True)
class RankMap:
    """Mid-ranks of every coordinate.

    Attributes
    ----------
    coordinates : tuple of Ranks of length d
    """

    coordinates: tuple[Ranks, ...]

    @classmethod
    def of(cls, X: FloatArray, weight: FloatArray) -> RankMap:
        """Return the map of reference rows X (n, d) of positive weight (n,)."""
        return cls(tuple(Ranks.of(x, weight) for x in X.T))

    def image(self, X: FloatArray) -> FloatArray:
        """Return the images (m, d) of rows X (m, d)."""
        parts = zip(X.T, self.coordinates)
        return np.column_stack([ranks.image(x) for x, ranks in parts])


@dataclass(frozen=True, slots=True)
class MarginalMap:
    """One cell a reference row, in every coordinate.

    Attributes
    ----------
    coordinates : tuple of Cells of length d
        Each of one group.
    within : str
        How a cell is filled.
    """

    coordinates: tuple[Cells, ...]
    within: str

    @classmethod
    def of(
        cls,
        X: FloatArray,
        weight: FloatArray,
        ends: FloatArray,
        within: str = "constant",
        rng: np.random.RandomState | None = None,
    ) -> MarginalMap:
        """Return the map of reference rows X (n, d), outer edges ``ends`` (2, d)."""
        n, cells = len(X), []
        for j, x in enumerate(X.T):
            order = np.lexsort((weight, x))
            whole, limits = np.array([n]), (ends[0, j], ends[1, j])
            cells.append(
                split_groups(x[order], weight[order], whole, n, limits, rng)[0]
            )
        return cls(tuple(cells), within)

    def image(self, X: FloatArray) -> FloatArray:
        """Return the images (m, d) of rows X (m, d)."""
        whole = np.zeros(len(X), dtype=np.intp)
        parts = zip(X.T, self.coordinates)
        return np.column_stack(
            [cells.image(x, whole, self.within)[0] for x, cells in parts]
        )
