"""Sums of powers of (1 - t^2) over windows of sorted points, by cumulated moments.

Points lie in bins, and moments are taken about a bin's center and cumulated within the
bin, from both ends: what a window covers of a bin is read off without a difference.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

# From here on moments are quicker than the points, which are exact.
FEW = 16


class Bins(NamedTuple):
    """Sorted points of the unit interval in bins.

    Attributes
    ----------
    points : ndarray of shape (m,)
    labels : ndarray of int of shape (m,)
        Each point's bin.
    starts : ndarray of int of shape (bins + 1,)
    centers : ndarray of shape (bins,)
    """

    points: Any
    labels: Any
    starts: Any
    centers: Any


@njit(cache=True, nogil=True, error_model="numpy")
def cut_bins(points, width):
    """Return points in bins of at most that width, which start at a point each."""
    m, found = points.shape[0], 0
    labels, starts = np.empty(m, np.int64), np.empty(m + 1, np.int64)
    centers = np.empty(m)
    for i in range(m):
        if i == 0 or points[i] - points[starts[found - 1]] > width:
            starts[found] = i
            found += 1
        labels[i] = found - 1
        centers[found - 1] = 0.5 * (points[starts[found - 1]] + points[i])
    starts[found] = m
    return Bins(points, labels, starts[: found + 1].copy(), centers[:found].copy())


@njit(cache=True, nogil=True, error_model="numpy")
def cumulate(bins, h, weights, heads, tails):
    """Write each bin's moments up to, and from, each point on: (m, degree + 1)."""
    m, terms = heads.shape
    for i in range(m):
        b = bins.labels[i]
        z, power = (bins.points[i] - bins.centers[b]) / h, weights[i]
        for k in range(terms):
            heads[i, k] = power + (heads[i - 1, k] if i > bins.starts[b] else 0.0)
            tails[i, k] = power
            power *= z
    for i in range(m - 2, -1, -1):
        if bins.labels[i] == bins.labels[i + 1]:
            for k in range(terms):
                tails[i, k] += tails[i + 1, k]


@njit(cache=True, nogil=True, error_model="numpy")
def _first_above(points, offset, shift, bound, strict):
    """Return the first i at which ``points[i] + offset + shift`` is above the bound.

    By the sums as they are rounded, which is how kernels decide what is in reach.
    """
    low, high = 0, points.shape[0]
    while low < high:
        middle = (low + high) // 2
        value = (points[middle] + offset) + shift
        if value > bound or (value == bound and not strict):
            high = middle
        else:
            low = middle + 1
    return low


@njit(cache=True, nogil=True, error_model="numpy")
def _value(t, power):
    inner, value = (1.0 - t) * (1.0 + t), 1.0
    for _ in range(power):
        value *= inner
    return value


@njit(cache=True, nogil=True, error_model="numpy")
def _expand(a, sign, power, out):
    """Write the coefficients in z of (1 - t^2)^power, t = a + sign z."""
    out[:] = 0.0
    out[0] = 1.0
    inner, slope = (1.0 - a) * (1.0 + a), -2.0 * sign * a
    for r in range(power):
        for k in range(2 * r + 2, -1, -1):
            value = inner * out[k]
            if k >= 1:
                value += slope * out[k - 1]
            if k >= 2:
                value -= out[k - 2]
            out[k] = value


@njit(cache=True, nogil=True, error_model="numpy")
def _add_image(first, other, terms, out):
    """Add twice the product of two polynomials, the cross term of a square."""
    for k in range(terms):
        total = 0.0
        for i in range(k + 1):
            total += first[i] * other[k - i]
        out[k] += 2.0 * total


@njit(cache=True, nogil=True, error_model="numpy")
def _window(bins, moments, weights, x, image, start, stop, h, power, square, room):
    """Return what points start to stop add to the sum at x.

    ``image`` 0 takes k(x - v), -1 and 1 k(x + v) and k(x + v - 2); with ``square`` 0
    takes the square, an image its own and twice its product with k(x - v).
    """
    heads, tails = moments
    direct, mirrored, whole = room
    exponent = 2 * power if square else power
    sign, shift = (-1.0 if image == 0 else 1.0), (-2.0 if image == 1 else 0.0)
    total = 0.0
    while start < stop:
        b = bins.labels[start]
        end = min(stop, bins.starts[b + 1])
        if end - start < FEW:
            for i in range(start, end):
                t = ((x + sign * bins.points[i]) + shift) / h
                value = _value(t, exponent)
                if square and image != 0:
                    t0 = (x - bins.points[i]) / h
                    value += 2.0 * _value(t, power) * _value(t0, power)
                total += weights[i] * value
        else:
            center = bins.centers[b]
            _expand(((x + sign * center) + shift) / h, sign, exponent, whole)
            if square and image != 0:
                _expand((x - center) / h, -1.0, power, direct)
                _expand(((x + center) + shift) / h, 1.0, power, mirrored)
                _add_image(direct, mirrored, whole.shape[0], whole)
            # A window is longer than a bin: it never lies strictly inside one.
            row = heads[end - 1] if start == bins.starts[b] else tails[start]
            for k in range(whole.shape[0]):
                total += whole[k] * row[k]
        start = end
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def window_sums(bins, moments, weights, rows, h, power, square, reflect, out, j0, j1):
    """Write sums over the points of a kernel, or its square, for rows j0 to j1.

    Parameters
    ----------
    bins : Bins
    moments : pair of ndarray of shape (m, terms)
        From `cumulate`: 2 power + 1 terms, 4 power + 1 for squares.
    weights : ndarray of shape (m,)
    rows : ndarray of shape (n,)
    h : float
        At most 1/2 with ``reflect``: a point has one image in reach.
    power : int
        Of 1 - t^2, t the distance over h.
    square, reflect : bool
    out : ndarray of shape (n,)
    j0, j1 : int
    """
    v, m, terms = bins.points, bins.points.shape[0], moments[0].shape[1]
    room = np.empty(terms), np.empty(terms), np.empty(terms)
    for j in range(j0, j1):
        x = rows[j]
        start = _first_above(v, -x, 0.0, -h, False)
        stop = _first_above(v, -x, 0.0, h, True)
        args = h, power, square, room
        total = _window(bins, moments, weights, x, 0, start, stop, *args)
        if reflect:
            stop = _first_above(v, x, 0.0, h, True)
            total += _window(bins, moments, weights, x, -1, 0, stop, *args)
            start = _first_above(v, x, -2.0, -h, False)
            total += _window(bins, moments, weights, x, 1, start, m, *args)
        out[j] = total
