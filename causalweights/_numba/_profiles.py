"""Kernel profiles: from strips of distances or dot products to kernel values.

A strip is four rows of a flat array, ``stride`` apart. The exponential is the hot spot
of every Gram computation, see `_vectors.exp2`; what surrounds it is written so that a
profile is one pass over a strip that still lies in the cache.
"""

from numba import njit

from causalweights._numba._blocks import (
    add_scaled,
    affine,
    exp2,
    load,
    multiply,
    outer_sum,
    root,
    store,
    subtract,
)
from causalweights._numba._pointers import columns, number

# Codes shared with the kernel objects: what a term computes from its raw distance.
GAUSSIAN, LAPLACE, MATERN12, MATERN32, MATERN52, ENERGY, LINEAR, POLYNOMIAL = range(8)

_LOG2E = 1.4426950408889634074


@njit(cache=True, nogil=True, error_model="numpy")
def apply_profile(
    code, scale, first, second, raw, start, apart, out, at, stride, width,
    norms_x, i, norms_y, j,
):  # fmt: skip
    """Write a term's kernel values for one strip.

    Parameters
    ----------
    code, scale, first, second : int and three numbers
        The term.
    raw, start, apart : pointer, offset and stride
        Squared or L1 distances, or dot products.
    out, at, stride, width : pointer, offset, stride and number of columns
        Where the values go; it may be the same place. Whole blocks are written.
    norms_x, i, norms_y, j : pointers and offsets
        Distances of rows and columns to the origin (energy only).
    """
    step = columns(out)
    zero, one, rate = number(out, 0.0), number(out, 1.0), number(out, -_LOG2E)
    if code == GAUSSIAN or code == LAPLACE:
        rate *= scale
        for c in range(0, width, step):
            t = affine(load(raw, start + c, apart), rate, zero)
            store(exp2(t), out, at + c, stride)
    elif code == MATERN12 or code == MATERN32 or code == MATERN52:
        # (1 + a1 r + a2 r^2) exp(-r), r the distance over the bandwidth.
        a1 = zero if code == MATERN12 else one
        a2 = number(out, 1.0 / 3.0) if code == MATERN52 else zero
        for c in range(0, width, step):
            r = affine(root(load(raw, start + c, apart)), scale, zero)
            shape = affine(multiply(r, affine(r, a2, a1)), one, one)
            decay = exp2(affine(r, rate, zero))
            store(multiply(shape, decay), out, at + c, stride)
    elif code == ENERGY:
        half = number(out, 0.5)
        for c in range(0, width, step):
            norms = outer_sum(norms_x, i, norms_y, j + c)
            gap = subtract(norms, root(load(raw, start + c, apart)))
            store(affine(gap, half, zero), out, at + c, stride)
    else:
        degree = int(second) if code == POLYNOMIAL else 1
        for c in range(0, width, step):
            base = affine(load(raw, start + c, apart), scale, first)
            power = base
            for _ in range(degree - 1):
                power = multiply(power, base)
            store(power, out, at + c, stride)


@njit(cache=True, nogil=True, error_model="numpy")
def multiply_strip(out, at, stride, factor, start, apart, width):
    """Multiply a strip by another one."""
    step = columns(out)
    for c in range(0, width, step):
        value = multiply(load(out, at + c, stride), load(factor, start + c, apart))
        store(value, out, at + c, stride)


@njit(cache=True, nogil=True, error_model="numpy")
def add_strip(out, at, stride, term, start, apart, width, old, new):
    """Write ``old * out + new * term``, both strips."""
    step = columns(out)
    zero = number(out, 0.0)
    for c in range(0, width, step):
        value = affine(load(out, at + c, stride), old, zero)
        value = add_scaled(value, load(term, start + c, apart), new)
        store(value, out, at + c, stride)
