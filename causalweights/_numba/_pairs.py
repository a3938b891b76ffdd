"""Order statistics of the distances between rows, without storing all of them.

Non-negative numbers are ordered as their bit patterns are, so the upper 16 bits sort
distances into bins; a second pass keeps the few that lie in the bins asked for.
"""

import numpy as np
from numba import njit

from causalweights._numba._gram import ROWS, whole_blocks
from causalweights._numba._pointers import address, columns, integers
from causalweights._numba._strips import TILE, one_strip, raw_strip, tile_width, unpack

BINS = 1 << 15  # of the 16 bits one is the sign
_SHIFT = 48


@njit(cache=True, nogil=True, error_model="numpy")
def visit_pairs(table, kind, p, pieces, n, first, last, counts, kept):
    """Sort piece p's distances of pairs i < j into bins, or keep some of them.

    Blocks of rows go to the pieces by turns. Without ``first`` (negative) distances are
    counted in ``counts`` (4, BINS), a histogram for each row of a strip, as neighbors
    often fall in the same bin. Otherwise those in bins ``first`` to ``last`` are
    written to ``kept``, which has one place more than there are.
    """
    out = address(kept)
    _, points = unpack(table, out)
    values, tally = one_strip(out), address(counts)
    words = integers(values)
    tile, step = tile_width(points), columns(out)
    origin, apart = np.int64(0), np.int64(TILE)
    found = 0
    for b0 in range(p * ROWS, n, pieces * ROWS):
        for i in range(b0, min(b0 + ROWS, n), 4):
            for j0 in range(i // step * step, n, tile):
                here = min(tile, n - j0)
                width = whole_blocks(out, here)
                raw_strip(kind, points, i, j0, width, values, origin, apart)
                for j in range(max(0, i + 1 - j0), here):
                    for r in range(min(4, n - i, j0 + j - i)):
                        bin = words[r * TILE + j] >> _SHIFT
                        if first < 0:
                            tally[r * BINS + bin] += 1
                        else:
                            out[found] = values[r * TILE + j]
                            found += first <= bin <= last


__all__ = ["BINS", "visit_pairs"]
