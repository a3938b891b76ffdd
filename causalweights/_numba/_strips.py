"""Strips of a Gram matrix: four rows by up to `TILE` columns, from points to values."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from causalweights._numba._blocks import (
    absolute,
    add_scaled,
    affine,
    any_less,
    less,
    outer_sum,
    product,
    squared,
    store,
)
from causalweights._numba._pointers import address, columns, number, pointer, scratch
from causalweights._numba._profiles import (
    ENERGY,
    LAPLACE,
    LINEAR,
    POLYNOMIAL,
    add_strip,
    apply_profile,
    multiply_strip,
)

# Columns of a strip: its four rows of float64 fill half of a first-level cache.
TILE = 512
# Up to here distances are summed coordinate by coordinate, which is exact for
# near-duplicates; above, dot products are faster by more than the repair costs.
DIRECT_MAX = 16
# Squared distances below this share of the squared norms are summed again coordinate
# by coordinate: the expansion |x|^2 + |y|^2 - 2x'y has lost two leading digits there.
_CANCEL = 1e-2

SQUARED, ABSOLUTE, PRODUCT = range(3)


class Program(NamedTuple):
    """A kernel as a sum of products of terms; arrays are pointers in compiled code.

    Attributes
    ----------
    size : int
        The number T of terms.
    codes, group : int arrays (T,)
        What each term is, and the product it belongs to; terms of one are adjacent.
    params : array (T, 3), flat
        Scale, first and second parameter.
    coefs : array (G,)
        A factor for each product.
    """

    size: int
    codes: Any
    group: Any
    params: Any
    coefs: Any


class Points(NamedTuple):
    """Two samples, laid out for blocks and padded with zeros to whole ones.

    Attributes
    ----------
    d, n, m : int
        Coordinates, padded rows and padded columns.
    by_products : int
        Whether squared distances come from dot products.
    rows : array (n, d), flat
    panel : array (m / step, d, step), flat
    norms_x, norms_y : arrays (a, n) and (a, m), flat
        Distances to the origins of the energy terms.
    squares_x, squares_y : arrays (n,), (m,)
        Squared norms.
    """

    d: int
    n: int
    m: int
    by_products: int
    rows: Any
    panel: Any
    norms_x: Any
    norms_y: Any
    squares_x: Any
    squares_y: Any


def table(program, points):
    """Return both as one array of integers, of sizes and addresses.

    Compiled functions take this and not the arrays, whose descriptions, nested in
    tuples, take the compiler longer than the loops do. The arrays must outlive it.
    """
    fields = [*program, *points]
    return np.array(
        [x.ctypes.data if isinstance(x, np.ndarray) else x for x in fields], np.int64
    )


@njit(cache=True, nogil=True)
def unpack(table, like):
    """Return the program and the points of a table; ``like`` points to their type."""
    whole = address(table)
    program = Program(
        table[0],
        pointer(table[1], whole),
        pointer(table[2], whole),
        pointer(table[3], like),
        pointer(table[4], like),
    )
    points = Points(
        table[5],
        table[6],
        table[7],
        table[8],
        pointer(table[9], like),
        pointer(table[10], like),
        pointer(table[11], like),
        pointer(table[12], like),
        pointer(table[13], like),
        pointer(table[14], like),
    )
    return program, points


# What `kernel_strip` needs besides its output: three strips.
work_strips = scratch(12 * TILE)
one_strip = scratch(4 * TILE)


@njit(cache=True, nogil=True, error_model="numpy")
def _squared_by_products(points, i, j0, width, out, at, stride):
    rows, panel, d = points.rows, points.panel, points.d
    step = columns(rows)
    zero = number(rows, 0.0)
    two, share = number(rows, -2.0), number(rows, _CANCEL)
    for c in range(0, width, step):
        here = (j0 + c) * d
        size = outer_sum(points.squares_x, i, points.squares_y, j0 + c)
        value = add_scaled(size, product(rows, i * d, panel, here, d), two)
        least = affine(size, share, zero)
        if any_less(value, least):
            exact = squared(rows, i * d, panel, here, d)
            value = less(value, least, exact, value)
        store(value, out, at + c, stride)


@njit(cache=True, nogil=True, error_model="numpy")
def raw_strip(kind, points, i, j0, width, out, at, stride):
    """Write squared or L1 distances, or dot products, of rows i:i+4.

    ``width`` columns from ``j0`` on, both whole blocks, go to ``out[at]``.
    """
    rows, panel, d = points.rows, points.panel, points.d
    step = columns(rows)
    if kind == ABSOLUTE:
        for c in range(0, width, step):
            block = absolute(rows, i * d, panel, (j0 + c) * d, d)
            store(block, out, at + c, stride)
    elif kind == PRODUCT:
        for c in range(0, width, step):
            block = product(rows, i * d, panel, (j0 + c) * d, d)
            store(block, out, at + c, stride)
    elif points.by_products != 0:
        _squared_by_products(points, i, j0, width, out, at, stride)
    else:
        for c in range(0, width, step):
            block = squared(rows, i * d, panel, (j0 + c) * d, d)
            store(block, out, at + c, stride)


@njit(cache=True, nogil=True)
def raw_kind(code):
    """Return which raw quantity a term is a function of."""
    if code == LAPLACE:
        return ABSOLUTE
    return PRODUCT if code == LINEAR or code == POLYNOMIAL else SQUARED


@njit(cache=True, nogil=True, error_model="numpy")
def kernel_strip(program, points, i, j0, width, work, out, at, stride):
    """Write the kernel values of rows i:i+4 and ``width`` columns from ``j0`` on.

    ``work`` is `work_strips`. A single term needs none of it: its raw quantity is
    written to ``out`` and turned into the value there.
    """
    codes, group, params = program.codes, program.group, program.params
    one, zero = number(out, 1.0), number(out, 0.0)
    raw, start, apart = (out, at, stride) if program.size == 1 else (work, 0, TILE)
    have = -1
    for t in range(program.size):
        kind = raw_kind(codes[t])
        if kind != have:
            raw_strip(kind, points, i, j0, width, raw, start, apart)
            have = kind
        first = t == 0 or group[t] != group[t - 1]
        last = t == program.size - 1 or group[t + 1] != group[t]
        # The first product is made in place, later ones aside and then added.
        total, there, step = out, at, stride
        if group[t] > 0:
            total, there, step = work, 8 * TILE, TILE
        target, where, gap = total, there, step
        if not first:
            target, where, gap = work, 4 * TILE, TILE
        a = int(params[3 * t + 1]) if codes[t] == ENERGY else 0
        apply_profile(
            codes[t], params[3 * t], params[3 * t + 1], params[3 * t + 2],
            raw, start, apart, target, where, gap, width,
            points.norms_x, a * points.n + i, points.norms_y, a * points.m + j0,
        )  # fmt: skip
        if not first:
            multiply_strip(total, there, step, target, where, gap, width)
        coef = program.coefs[group[t]]
        if last and (group[t] > 0 or coef != one):
            old = one if group[t] > 0 else zero
            add_strip(out, at, stride, total, there, step, width, old, coef)


@njit(cache=True, nogil=True, error_model="numpy")
def tile_width(points):
    """Return the columns of a tile: their coordinates should stay in the cache."""
    fitting = 2**15 // points.d // 64 * 64
    return min(TILE, max(64, fitting))
