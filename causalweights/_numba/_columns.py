"""Several results from one pass over a Gram matrix: bandwidths, means of columns."""

import numpy as np
from numba import njit

from causalweights._numba._gram import add_products, whole_blocks
from causalweights._numba._pointers import address, number, scratch
from causalweights._numba._profiles import apply_profile
from causalweights._numba._strips import (
    TILE,
    kernel_strip,
    one_strip,
    raw_kind,
    raw_strip,
    tile_width,
    unpack,
    work_strips,
)

_raw_strip = scratch(4 * TILE)


@njit(cache=True, nogil=True, error_model="numpy")
def grid_rows(table, scales, i0, i1, m, V, array):
    """Add ``K_h[i0:i1] @ V.T`` to ``array[h]`` (k, n) for every scale, in float64.

    The kernel has one term; its distances are computed once. V (k, m) is padded with
    zeros to whole register blocks.
    """
    vectors, count, long = address(V), V.shape[0], V.shape[1]
    program, points = unpack(table, vectors)
    out, n = address(array), array.shape[2]
    raw, values = _raw_strip(vectors), one_strip(vectors)
    origin, apart = np.int64(0), np.int64(TILE)
    code, none = program.codes[0], number(vectors, 0.0)
    tile = tile_width(points)
    for j0 in range(0, m, tile):
        width = whole_blocks(vectors, min(tile, m - j0))
        for i in range(i0, i1, 4):
            raw_strip(raw_kind(code), points, i, j0, width, raw, origin, apart)
            for h in range(scales.shape[0]):
                apply_profile(
                    code, scales[h], none, none, raw, origin, apart, values, origin,
                    apart, width, points.norms_x, i, points.norms_y, j0,
                )  # fmt: skip
                for k in range(count):
                    at, start = k * long + j0, (h * count + k) * n + i
                    add_products(values, width, vectors, at, out, start, min(4, i1 - i))


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _run_sum(values, start, stop):
    """Return the sum of values[start:stop], in an order fixed by their number."""
    total = number(values, 0.0)
    for j in range(start, stop):
        total += values[j]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def cell_rows(table, labels, i0, i1, like, array):
    """Add the sums over each cell's columns of rows i0:i1 to ``array`` (n, C).

    ``labels`` (m,) tell the cells of the columns, in increasing order; ``like`` is an
    array of the points' type.
    """
    kind = address(like)
    program, points = unpack(table, kind)
    m = labels.shape[0]
    work, values = work_strips(kind), one_strip(kind)
    origin, apart = np.int64(0), np.int64(TILE)
    tile = tile_width(points)
    for j0 in range(0, m, tile):
        here = min(tile, m - j0)
        width = whole_blocks(kind, here)
        for i in range(i0, i1, 4):
            kernel_strip(program, points, i, j0, width, work, values, origin, apart)
            start = 0
            while start < here:
                cell, stop = labels[j0 + start], start + 1
                while stop < here and labels[j0 + stop] == cell:
                    stop += 1
                for r in range(min(4, i1 - i)):
                    total = _run_sum(values, r * TILE + start, r * TILE + stop)
                    array[i + r, cell] += total
                start = stop


__all__ = ["cell_rows", "grid_rows"]
