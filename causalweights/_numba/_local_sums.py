"""Sums over pairs of points of the unit cube of a product of 1-d kernels.

One sample lies sorted in the cells of a grid. A strip, all cells that differ in the
last axis alone, holds its points in the order of that axis' cells, so that what a ball
or a box covers of a strip is one run. A grid of one cell gives the sums over all pairs.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from causalweights._numba._blocks import exp2
from causalweights._numba._pointers import address, scratch

GAUSSIAN, BETA, TRIANGULAR, TRICUBE, COSINE, SILVERMAN = range(6)

# Points evaluated at a time: what is written of them stays in the first-level cache.
TILE = 256
# Runs are evaluated in whole vectors: points have as many places more than they count.
LANES = 8
_LOG2E = 1.4426950408889634074
# Smaller powers of two come out of `exp2` as the smallest normal number, not as zero.
UNDERFLOW = -1021.0

_strip = scratch(TILE)


class Kernel(NamedTuple):
    """A product kernel; its constant factor is left to the caller.

    Attributes
    ----------
    code : int
    power : int
        Of 1 - t^2, at most 3 (``BETA`` only).
    shape : ndarray of shape (5,)
        Coefficients of 1, t^2, ..., t^8 before exp(-t^2/2) (``GAUSSIAN`` only).
    plain : bool
        Whether it is exp(-t^2/2) itself.
    ball : bool
        Whether pairs are cut off by their distance, else axis by axis.
    reflect : bool
    bandwidth : float
    """

    code: int
    power: int
    shape: Any
    plain: bool
    ball: bool
    reflect: bool
    bandwidth: float


class Cells(NamedTuple):
    """A sample sorted by cells.

    Attributes
    ----------
    points : ndarray of shape (d, m + LANES)
        Coordinates, then zeros.
    starts : ndarray of int of shape (cells + 1,)
        Where each cell's points start; the last axis' index runs fastest.
    counts : ndarray of int of shape (d,)
        Cells along each axis.
    """

    points: Any
    starts: Any
    counts: Any


@njit(cache=True, nogil=True, error_model="numpy")
def _cell(x, count):
    """Return the cell of a coordinate; the first and the last take what is outside."""
    return min(max(math.floor(x * count), 0), count - 1)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _add_values(kernel, args, out, width):
    """Add ``k(args / h)`` to ``out``."""
    # Divisions, as elsewhere: near the end of a support a unit in the last place of t
    # is a large share of the value.
    h, scale = kernel.bandwidth, 1.0 / kernel.bandwidth
    if kernel.code == GAUSSIAN:
        a, b, c = kernel.shape[0], kernel.shape[1], kernel.shape[2]
        e, f = kernel.shape[3], kernel.shape[4]
        for i in range(width):
            t = args[i] * scale
            s = t * t
            y = -0.5 * _LOG2E * s
            value = exp2(y) if y > UNDERFLOW else 0.0
            out[i] += (a + s * (b + s * (c + s * (e + s * f)))) * value
    elif kernel.code == BETA:
        one, two, three = kernel.power >= 1, kernel.power >= 2, kernel.power >= 3
        for i in range(width):
            t = args[i] / h
            inner = (1.0 - t) * (1.0 + t)
            value = inner if one else 1.0
            value *= inner if two else 1.0
            value *= inner if three else 1.0
            out[i] += value if abs(args[i]) <= h else 0.0
    elif kernel.code == TRIANGULAR:
        for i in range(width):
            out[i] += max(1.0 - abs(args[i]) / h, 0.0)
    elif kernel.code == TRICUBE:
        for i in range(width):
            t = abs(args[i]) / h
            inner = max(1.0 - t * t * t, 0.0)
            out[i] += inner * inner * inner
    elif kernel.code == COSINE:
        for i in range(width):
            t = abs(args[i]) / h
            out[i] += math.sin(0.5 * math.pi * max(1.0 - t, 0.0))
    else:
        for i in range(width):
            t = abs(args[i]) * scale * math.sqrt(0.5)
            y = -_LOG2E * t
            if y > UNDERFLOW:
                out[i] += exp2(y) * math.sin(t + 0.25 * math.pi)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _evaluate_gaussian(kernel, x, images, cells, start, width, work):
    """Do the work of `_evaluate` for exp(-t^2/2).

    Distances share one exponential. An image adds the ratio to the point itself, which
    is the nearest of the images: exp((t^2 - t'^2)/2) <= 1.
    """
    signs, shifts, sizes = images
    axis, out = work[1], work[2]
    scale = 0.5 * _LOG2E / (kernel.bandwidth * kernel.bandwidth)
    for i in range(width):
        axis[i] = 0.0
    for k in range(x.shape[0]):
        v = address(cells.points[k])
        for i in range(width):
            gap = x[k] - v[start + i]
            axis[i] += gap * gap
    for i in range(width):
        y = -scale * axis[i]
        out[i] = exp2(y) if y > UNDERFLOW else 0.0
    for k in range(x.shape[0]):
        if sizes[k] == 1:
            continue
        v = address(cells.points[k])
        for i in range(width):
            axis[i] = 1.0
        for image in range(sizes[k]):
            sign, shift = signs[k, image], shifts[k, image]
            if sign < 0.0 and shift == 0.0:
                continue
            for i in range(width):
                gap = x[k] - v[start + i]
                arg = (x[k] + sign * v[start + i]) + shift
                y = scale * (gap * gap - arg * arg)
                axis[i] += exp2(y) if y > UNDERFLOW else 0.0
        for i in range(width):
            out[i] *= axis[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _evaluate(kernel, x, images, cells, start, width, work):
    """Write the kernel of x and ``width`` sorted points to the last of ``work``."""
    if kernel.plain:
        _evaluate_gaussian(kernel, x, images, cells, start, width, work)
        return
    signs, shifts, sizes = images
    args, axis, out = work
    for i in range(width):
        out[i] = 1.0
    for k in range(x.shape[0]):
        v = address(cells.points[k])
        for i in range(width):
            axis[i] = 0.0
        for image in range(sizes[k]):
            sign, shift = signs[k, image], shifts[k, image]
            for i in range(width):
                args[i] = (x[k] + sign * v[start + i]) + shift
            _add_values(kernel, args, axis, width)
        for i in range(width):
            out[i] *= axis[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _room(kernel, cells, d, radius):
    """Return room for the images and for the runs of a point."""
    count = 4 * int((radius + 1.0) / 2.0) + 6 if kernel.reflect else 1
    strips = 1
    for k in range(d - 1):
        strips *= cells.counts[k]
    images = np.empty((d, count)), np.empty((d, count)), np.empty(d, np.int64)
    return images, (np.empty((3, d), np.int64), np.empty((strips, 2), np.int64))


@njit(cache=True, nogil=True, error_model="numpy")
def _find_images(kernel, x, radius, images):
    """List for each axis the images of a point v: ``sign v + shift``.

    Those at which x + sign v + shift is within ``radius`` for some v in [0, 1].
    """
    signs, shifts, sizes = images
    if not kernel.reflect:
        signs[:], shifts[:], sizes[:] = -1.0, 0.0, 1
        return
    reach = int((radius + 1.0) / 2.0) + 1
    for k in range(x.shape[0]):
        size = 0
        for m in range(-reach, reach + 1):
            low = x[k] + 2.0 * m
            if low - 1.0 <= radius and low >= -radius:
                signs[k, size], shifts[k, size] = -1.0, 2.0 * m
                size += 1
            if low <= radius and low + 1.0 >= -radius:
                signs[k, size], shifts[k, size] = 1.0, 2.0 * m
                size += 1
        sizes[k] = size


@njit(cache=True, nogil=True, error_model="numpy")
def _find_runs(kernel, cells, x, radius, room):
    """List the runs of sorted points that may be within ``radius``, return how many.

    No image is nearer than the point itself: distances are those without reflection.
    """
    (low, high, at), runs = room
    starts, counts = cells.starts, cells.counts
    last = x.shape[0] - 1
    for k in range(last):
        low[k] = at[k] = _cell(x[k] - radius, counts[k])
        high[k] = _cell(x[k] + radius, counts[k])
    found = 0
    while True:
        strip, gaps = 0, 0.0
        for k in range(last):
            strip = strip * counts[k] + at[k]
            side = 1.0 / counts[k]
            gap = max(at[k] * side - x[k], x[k] - (at[k] + 1) * side, 0.0)
            gaps += gap * gap
        rest = radius * radius - (gaps if kernel.ball else 0.0)
        if rest >= 0.0:
            half, first = math.sqrt(rest), strip * counts[last]
            start = starts[first + _cell(x[last] - half, counts[last])]
            stop = starts[first + _cell(x[last] + half, counts[last]) + 1]
            if stop > start:
                runs[found, 0], runs[found, 1] = start, stop
                found += 1
        k = last - 1
        while k >= 0 and at[k] == high[k]:
            at[k] = low[k]
            k -= 1
        if k < 0:
            return found
        at[k] += 1


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _dot(values, weights, start, width):
    """Return a sum of products, in an order fixed by their number."""
    total = 0.0
    for i in range(width):
        total += values[i] * weights[start + i]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def gather(kernel, cells, rows, radius, weights, out, j0, j1):
    """Write sums over the sorted points for rows j0 to j1.

    Parameters
    ----------
    kernel : Kernel
    cells : Cells
    rows : ndarray of shape (n, d)
    radius : ndarray of shape (n,)
        Pairs farther apart may be left out.
    weights : ndarray of shape (q, m)
        In the order of the points.
    out : ndarray of shape (n, q)
    j0, j1 : int
    """
    q, m = weights.shape
    columns = address(weights)
    images, room = _room(kernel, cells, rows.shape[1], radius[j0:j1].max())
    work = _strip(columns), _strip(columns), _strip(columns)
    for j in range(j0, j1):
        x = rows[j]
        _find_images(kernel, x, radius[j], images)
        out[j] = 0.0
        for run in range(_find_runs(kernel, cells, x, radius[j], room)):
            stop = room[1][run, 1]
            for start in range(room[1][run, 0], stop, TILE):
                width = min(TILE, stop - start)
                whole = (width + LANES - 1) // LANES * LANES
                _evaluate(kernel, x, images, cells, start, whole, work)
                for k in range(q):
                    out[j, k] += _dot(work[2], columns, k * m + start, width)


@njit(cache=True, nogil=True, error_model="numpy")
def scatter(kernel, cells, rows, radius, first, second, sums, squares, i0, i1):
    """Add the rows' kernel values to the sorted points i0 to i1.

    Parameters
    ----------
    kernel, cells, rows, radius
        As for `gather`.
    first, second : ndarray of shape (n,) or (0,)
        What the kernel is multiplied by, before it is added and before its square
        is; those of size 0 are left out.
    sums, squares : ndarray of shape (m,) or (0,)
        What is added to.
    i0, i1 : int
    """
    out1, out2 = address(sums), address(squares)
    images, room = _room(kernel, cells, rows.shape[1], radius.max())
    work = _strip(out1), _strip(out1), _strip(out1)
    count = cells.counts[0]
    apart = (cells.starts.shape[0] - 1) // count
    for j in range(rows.shape[0]):
        x = rows[j]
        start = cells.starts[_cell(x[0] - radius[j], count) * apart]
        stop = cells.starts[(_cell(x[0] + radius[j], count) + 1) * apart]
        if start >= i1 or stop <= i0:
            continue
        _find_images(kernel, x, radius[j], images)
        for run in range(_find_runs(kernel, cells, x, radius[j], room)):
            stop = min(room[1][run, 1], i1)
            for start in range(max(room[1][run, 0], i0), stop, TILE):
                width = min(TILE, stop - start)
                whole = (width + LANES - 1) // LANES * LANES
                _evaluate(kernel, x, images, cells, start, whole, work)
                if first.size:
                    for i in range(width):
                        out1[start + i] += first[j] * work[2][i]
                if second.size:
                    for i in range(width):
                        # Its square alone may be too small for a number.
                        part = second[j] * work[2][i]
                        out2[start + i] += part * part
