"""Products of a symmetric Gram matrix with few vectors, from half of its values.

Below the diagonal each value serves two rows. Blocks of rows are dealt to a fixed
number of pieces, each with its own sums, so that the result depends neither on threads
nor on the order in which pieces are worked off.
"""

import numpy as np
from numba import njit

from causalweights._numba._blocks import (
    add_column_products,
    add_row_products,
    load,
    row_sums,
    zeros,
)
from causalweights._numba._gram import ROWS, whole_blocks
from causalweights._numba._pointers import address, columns, number, scratch
from causalweights._numba._strips import (
    TILE,
    kernel_strip,
    one_strip,
    tile_width,
    unpack,
    work_strips,
)

# Vectors multiplied at once; more would spend longer on sums than on the values.
MAX_VECTORS = 4
PIECES = 16
_column_sums = scratch(MAX_VECTORS * TILE)


@njit(cache=True, nogil=True, error_model="numpy")
def _add_both(values, width, mirrored, V, v, i, j0, sums, at):
    """Return the row sums of a strip times V[v + j]; add its column sums to ``sums``.

    Column sums are those of the first ``mirrored`` columns times V[v + i].
    """
    total, step = zeros(values), columns(values)
    for c in range(0, mirrored, step):
        block = load(values, c, TILE)
        total = add_row_products(total, block, V, v + j0 + c)
        add_column_products(sums, at + c, block, V, v + i)
    for c in range(mirrored, width, step):
        total = add_row_products(total, load(values, c, TILE), V, v + j0 + c)
    return row_sums(total)


@njit(cache=True, nogil=True, error_model="numpy")
def symmetric_piece(table, p, pieces, n, V, array):
    """Add piece p of ``K @ V.T`` to ``array[p]`` (k, n), in float64.

    Pieces take blocks of rows by turns, back and forth, since later ones are longer.
    V (k, m) is padded with zeros to whole register blocks.
    """
    vectors, count, long = address(V), V.shape[0], V.shape[1]
    program, points = unpack(table, vectors)
    out, here = address(array), p * count * n
    work, values, sums = (
        work_strips(vectors), one_strip(vectors), _column_sums(vectors)
    )  # fmt: skip
    origin, apart = np.int64(0), np.int64(TILE)
    tile, zero = tile_width(points), number(vectors, 0.0)
    for turn in range((n + ROWS * pieces - 1) // (ROWS * pieces)):
        b0 = ROWS * (turn * pieces + (p if turn % 2 == 0 else pieces - 1 - p))
        if b0 >= n:
            continue
        b1 = min(b0 + ROWS, n)
        for j0 in range(0, b1, tile):
            width = whole_blocks(vectors, min(tile, b1 - j0))
            mirrored = max(min(width, b0 - j0), 0)
            for c in range(count * TILE):
                sums[c] = zero
            for i in range(b0, b1, 4):
                kernel_strip(program, points, i, j0, width, work, values, origin, apart)
                for k in range(count):
                    rows = _add_both(
                        values, width, mirrored, vectors, k * long, i, j0, sums,
                        k * TILE,
                    )  # fmt: skip
                    at = here + k * n + i
                    for r in range(min(4, b1 - i)):
                        out[at + r] += rows[r]
            for k in range(count):
                at = here + k * n + j0
                for c in range(mirrored):
                    out[at + c] += sums[k * TILE + c]


__all__ = ["MAX_VECTORS", "PIECES", "symmetric_piece"]
