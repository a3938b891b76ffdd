"""Tiled Gram loops: dense blocks and fused products that never form the matrix.

A kernel arrives as a sum of products of terms: ``codes`` (T,), ``group`` (T,) tells
which product a term belongs to, ``params`` (T, 3), ``coefs`` (G,). Points of the second
sample come transposed (d, m), so that a sweep over points is contiguous. Up to
``DIRECT_MAX`` dimensions distances are summed coordinate by coordinate, which is exact
for near-duplicates; above, a BLAS product of a row block and a column panel is faster.
Each output row is summed in a fixed order by one thread.
"""

import numpy as np
from numba import njit

from causalweights._numba._profiles import (
    ENERGY,
    FAST,
    GAUSSIAN,
    LAPLACE,
    LINEAR,
    POLYNOMIAL,
    apply_profile,
)

TILE = 512
ROWS = 64
DIRECT_MAX = 16
SUM = FAST | {"reassoc"}
# Squared distances below this share of the squared norms are summed again coordinate
# by coordinate: the expansion |x|^2 + |y|^2 - 2x'y has lost two leading digits there.
_CANCEL = 1e-2


@njit(cache=True, nogil=True, fastmath=FAST)
def _squared(x, Yt, j0, m, acc):
    d = x.shape[0]
    k = 2 - d % 2  # an odd number of coordinates starts with one, an even with two
    a, ya = x[0], Yt[0, j0 : j0 + m]
    if k == 1:
        for j in range(m):
            u = a - ya[j]
            acc[j] = u * u
    else:
        b, yb = x[1], Yt[1, j0 : j0 + m]
        for j in range(m):
            u, v = a - ya[j], b - yb[j]
            acc[j] = u * u + v * v
    if (d - k) % 4:
        a, ya = x[k], Yt[k, j0 : j0 + m]
        b, yb = x[k + 1], Yt[k + 1, j0 : j0 + m]
        for j in range(m):
            u, v = a - ya[j], b - yb[j]
            acc[j] += u * u + v * v
        k += 2
    while k < d:
        a, ya = x[k], Yt[k, j0 : j0 + m]
        b, yb = x[k + 1], Yt[k + 1, j0 : j0 + m]
        c, yc = x[k + 2], Yt[k + 2, j0 : j0 + m]
        e, ye = x[k + 3], Yt[k + 3, j0 : j0 + m]
        for j in range(m):
            u, v, s, t = a - ya[j], b - yb[j], c - yc[j], e - ye[j]
            acc[j] += (u * u + v * v) + (s * s + t * t)
        k += 4


@njit(cache=True, nogil=True, fastmath=FAST)
def _absolute(x, Yt, j0, m, acc):
    a, ya = x[0], Yt[0, j0 : j0 + m]
    for j in range(m):
        acc[j] = abs(a - ya[j])
    k = 1
    while k + 1 < x.shape[0]:
        a, ya = x[k], Yt[k, j0 : j0 + m]
        b, yb = x[k + 1], Yt[k + 1, j0 : j0 + m]
        for j in range(m):
            acc[j] += abs(a - ya[j]) + abs(b - yb[j])
        k += 2
    if k < x.shape[0]:
        a, ya = x[k], Yt[k, j0 : j0 + m]
        for j in range(m):
            acc[j] += abs(a - ya[j])


@njit(cache=True, nogil=True, fastmath=FAST)
def _product(x, Yt, j0, m, acc):
    a, ya = x[0], Yt[0, j0 : j0 + m]
    for j in range(m):
        acc[j] = a * ya[j]
    k = 1
    while k + 1 < x.shape[0]:
        a, ya = x[k], Yt[k, j0 : j0 + m]
        b, yb = x[k + 1], Yt[k + 1, j0 : j0 + m]
        for j in range(m):
            acc[j] += a * ya[j] + b * yb[j]
        k += 2
    if k < x.shape[0]:
        a, ya = x[k], Yt[k, j0 : j0 + m]
        for j in range(m):
            acc[j] += a * ya[j]


@njit(cache=True, nogil=True, fastmath=SUM)
def _one_squared(x, y):
    total = x.dtype.type(0)
    for k in range(x.shape[0]):
        u = x[k] - y[k]
        total += u * u
    return total


@njit(cache=True, nogil=True, fastmath=FAST)
def _squared_from_product(x, Y, j0, m, dots, xx, yy, acc):
    threshold = dots.dtype.type(_CANCEL)
    two = dots.dtype.type(2.0)
    suspicious = False
    for j in range(m):
        size = xx + yy[j]
        value = size - two * dots[j]
        acc[j] = value
        suspicious |= value < threshold * size
    if suspicious:
        for j in range(m):
            if acc[j] < threshold * (xx + yy[j]):
                acc[j] = _one_squared(x, Y[j0 + j])


@njit(cache=True, nogil=True)
def _kernel_row(
    x, Y, Yt, j0, m, codes, group, params, coefs, nx, ny, i, dots, use_dots, sqx, sqy,
    work, out,
):  # fmt: skip
    """Write the kernel values of one row against columns j0:j0+m into ``out``.

    The first product is computed in ``out`` itself, later ones are added to it.
    """
    raw, value, product = work[0, :m], work[1, :m], work[2, :m]
    have = -1  # which raw quantity ``raw`` holds: 0 squared, 1 absolute, 2 product
    for t in range(codes.shape[0]):
        code = codes[t]
        if code == LAPLACE:
            need = 1
        elif code == LINEAR or code == POLYNOMIAL:
            need = 2
        else:
            need = 0
        if need != have:
            raw = work[0, :m]
            if need == 1:
                _absolute(x, Yt, j0, m, raw)
            elif need == 2 and use_dots:
                raw = dots
            elif need == 2:
                _product(x, Yt, j0, m, raw)
            elif use_dots:
                _squared_from_product(x, Y, j0, m, dots, sqx[i], sqy[j0 : j0 + m], raw)
            else:
                _squared(x, Yt, j0, m, raw)
            have = need
        a = int(params[t, 1]) if code == ENERGY else 0
        first = t == 0 or group[t] != group[t - 1]
        last = t == codes.shape[0] - 1 or group[t + 1] != group[t]
        total = out if group[t] == 0 else product
        target = total if first else value
        apply_profile(code, params[t], raw, nx[a, i], ny[a, j0 : j0 + m], target)
        if not first:
            for j in range(m):
                total[j] *= value[j]
        if last:
            coef = coefs[group[t]]
            if group[t] > 0:
                for j in range(m):
                    out[j] += coef * product[j]
            elif coef != 1:
                for j in range(m):
                    out[j] *= coef


@njit(cache=True, nogil=True)
def _panel_product(X, b0, b1, Y, j0, m, use_dots, buffer):
    """Return ``X[b0:b1] @ Y[j0:j0+m].T`` in the buffer, where dots are wanted."""
    dots = buffer[: (b1 - b0) * m].reshape(b1 - b0, m)
    if use_dots:
        np.dot(X[b0:b1], Y[j0 : j0 + m].T, dots)
    return dots


@njit(cache=True, nogil=True)
def _mirror(out, i0, i1, j0, j1):
    """Copy block (i, j) to (j, i), eight columns at a time for the cache's sake."""
    for c0 in range(j0, j1, 8):
        c1 = min(c0 + 8, j1)
        for i in range(i0, i1):
            for j in range(c0, c1):
                out[j, i] = out[i, j]


@njit(cache=True, nogil=True)
def dense_rows(
    X, Y, Yt, codes, group, params, coefs, nx, ny, sqx, sqy, use_dots, i0, i1,
    symmetric, out,
):  # fmt: skip
    """Fill rows ``i0:i1`` of ``out`` (n, m).

    Of one sample (``symmetric``) from the diagonal on, with their mirror image.
    """
    m_all = Y.shape[0]
    work = np.empty((3, TILE), X.dtype)
    buffer = np.empty(ROWS * TILE, X.dtype)
    for b0 in range(i0, i1, ROWS):
        b1 = min(b0 + ROWS, i1)
        for j0 in range(b0 if symmetric else 0, m_all, TILE):
            m = min(TILE, m_all - j0)
            dots = _panel_product(X, b0, b1, Y, j0, m, use_dots, buffer)
            for i in range(b0, b1):
                _kernel_row(
                    X[i], Y, Yt, j0, m, codes, group, params, coefs, nx, ny, i,
                    dots[i - b0], use_dots, sqx, sqy, work, out[i, j0 : j0 + m],
                )  # fmt: skip
            if symmetric:
                _mirror(out, b0, b1, max(j0, b1), j0 + m)
        if symmetric:
            # A product by BLAS need not be symmetric to the last bit.
            for i in range(b0, b1):
                for j in range(b0, i):
                    out[i, j] = out[j, i]


@njit(cache=True, nogil=True, fastmath=SUM)
def _inner(a, b):
    total = a.dtype.type(0)
    for j in range(a.shape[0]):
        total += a[j] * b[j]
    return total


@njit(cache=True, nogil=True)
def matmat_rows(
    X, Y, Yt, codes, group, params, coefs, nx, ny, sqx, sqy, use_dots, i0, i1, V, out
):
    """Add ``K[i0:i1] @ V`` into ``out`` (n, k) in float64, tile by tile."""
    m_all, width = V.shape
    work = np.empty((3, TILE), X.dtype)
    buffer = np.empty(ROWS * TILE, X.dtype)
    store = np.empty(ROWS * TILE, X.dtype)
    part = np.empty((ROWS, width), X.dtype)
    vector = V.reshape(m_all * width)
    for j0 in range(0, m_all, TILE):
        m = min(TILE, m_all - j0)
        for b0 in range(i0, i1, ROWS):
            b1 = min(b0 + ROWS, i1)
            dots = _panel_product(X, b0, b1, Y, j0, m, use_dots, buffer)
            values = store[: (b1 - b0) * m].reshape(b1 - b0, m)
            for i in range(b0, b1):
                row = values[i - b0]
                _kernel_row(
                    X[i], Y, Yt, j0, m, codes, group, params, coefs, nx, ny, i,
                    dots[i - b0], use_dots, sqx, sqy, work, row,
                )  # fmt: skip
                if width == 1:
                    out[i, 0] += _inner(row, vector[j0 : j0 + m])
            if width > 1:
                np.dot(values, V[j0 : j0 + m], part[: b1 - b0])
                for i in range(b0, b1):
                    for c in range(width):
                        out[i, c] += part[i - b0, c]


@njit(cache=True, nogil=True, fastmath=SUM)
def subtract_outer(column, L, pivot_row, r):
    """Subtract ``L[:, :r] @ pivot_row[:r]`` from ``column``; L is stored (r, n)."""
    for k in range(r):
        factor = pivot_row[k]
        source = L[k]
        for i in range(column.shape[0]):
            column[i] -= factor * source[i]


__all__ = [
    "DIRECT_MAX",
    "GAUSSIAN",
    "ROWS",
    "TILE",
    "dense_rows",
    "matmat_rows",
    "subtract_outer",
]
