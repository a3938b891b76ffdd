"""Gram matrices and their products with vectors, tile by tile.

Rows come in blocks of `ROWS`, columns in tiles of up to `TILE`. Each output row is
summed by one thread in an order that depends on the shapes alone, so results do not
depend on how the rows are divided. No BLAS: it may divide sums between threads.
"""

import numpy as np
from numba import njit

from causalweights._numba._blocks import (
    add_row_products,
    load,
    row_sums,
    transpose,
    zeros,
)
from causalweights._numba._pointers import address, columns
from causalweights._numba._strips import (
    DIRECT_MAX,
    TILE,
    Points,
    Program,
    kernel_strip,
    one_strip,
    table,
    tile_width,
    unpack,
    work_strips,
)
from causalweights._numba._vectors import VECTORS

# Rows of a block: the rows and columns that are mirrored together stay in the cache.
ROWS = 64


@njit(cache=True, nogil=True, error_model="numpy")
def whole_blocks(like, width):
    """Round a number of columns up to whole register blocks."""
    step = columns(like)
    return (width + step - 1) // step * step


@njit(cache=True, nogil=True, error_model="numpy")
def _mirror(out, m, i0, i1, j0, j1):
    """Copy block (i, j) to (j, i); j1 - j0 is a multiple of a vector's lanes."""
    lanes = columns(out) // VECTORS
    whole = i0 + (i1 - i0) // lanes * lanes
    for j in range(j0, j1, lanes):
        for i in range(i0, whole, lanes):
            transpose(out, i * m + j, j * m + i, m)
    for j in range(j0, j1):
        for i in range(whole, i1):
            out[j * m + i] = out[i * m + j]


@njit(cache=True, nogil=True, error_model="numpy")
def dense_rows(table, i0, i1, m, symmetric, array):
    """Fill rows ``i0:i1`` of a flat (n, m) array.

    Of one sample (``symmetric``; i0 a multiple of `ROWS`) up to the diagonal, with
    their mirror image. From the top, so that memory is touched first where it is
    filled: the system clears fresh pages, and they should still be in the cache.
    """
    out = address(array)
    program, points = unpack(table, out)
    work, edge = work_strips(out), one_strip(out)
    tile = tile_width(points)
    for b0 in range(i0, i1, ROWS):
        b1 = min(b0 + ROWS, i1)
        end = b1 if symmetric else m
        for j0 in range(0, end, tile):
            width = min(tile, end - j0)
            whole = whole_blocks(out, width)
            for i in range(b0, b1, 4):
                inside = i + 4 <= b1 and whole == width
                target, at, apart = out, i * m + j0, m
                if not inside:
                    target, at, apart = edge, 0, TILE
                kernel_strip(program, points, i, j0, whole, work, target, at, apart)
                for r in range(0 if inside else min(4, b1 - i)):
                    for j in range(width):
                        out[(i + r) * m + j0 + j] = edge[r * TILE + j]
            if symmetric and j0 < b0:
                _mirror(out, m, b0, b1, j0, min(j0 + width, b0))


@njit(cache=True, nogil=True, error_model="numpy")
def add_products(values, width, V, at, out, start, count):
    """Add the products of a strip with ``V[at:at+width]`` to ``out[start:]``."""
    total = zeros(values)
    for c in range(0, width, columns(values)):
        total = add_row_products(total, load(values, c, TILE), V, at + c)
    sums = row_sums(total)
    out[start] += sums[0]
    if count > 1:
        out[start + 1] += sums[1]
    if count > 2:
        out[start + 2] += sums[2]
    if count > 3:
        out[start + 3] += sums[3]


@njit(cache=True, nogil=True, error_model="numpy")
def matmat_rows(table, i0, i1, m, V, array):
    """Add ``K[i0:i1] @ V.T`` to an array (k, n) in float64, tile by tile.

    V (k, m) is padded with zeros to whole blocks of columns.
    """
    vectors, long = address(V), V.shape[1]
    program, points = unpack(table, vectors)
    out, n = address(array), array.shape[1]
    work, values = work_strips(vectors), one_strip(vectors)
    # Literals would be types of their own, each compiled again.
    origin, apart = np.int64(0), np.int64(TILE)
    tile = tile_width(points)
    for j0 in range(0, m, tile):
        width = whole_blocks(vectors, min(tile, m - j0))
        for i in range(i0, i1, 4):
            kernel_strip(program, points, i, j0, width, work, values, origin, apart)
            for k in range(V.shape[0]):
                at, start = k * long + j0, k * n + i
                add_products(values, width, vectors, at, out, start, min(4, i1 - i))


@njit(cache=True, nogil=True, fastmath={"contract"})
def subtract_outer(column, L, pivot_row, r):
    """Subtract ``L[:, :r] @ pivot_row[:r]`` from ``column``; L is stored (r, n)."""
    for k in range(r):
        factor = pivot_row[k]
        source = L[k]
        for i in range(column.shape[0]):
            column[i] -= factor * source[i]


__all__ = [
    "DIRECT_MAX",
    "ROWS",
    "TILE",
    "Points",
    "Program",
    "dense_rows",
    "matmat_rows",
    "subtract_outer",
    "table",
]
