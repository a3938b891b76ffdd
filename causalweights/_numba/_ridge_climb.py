"""Local maxima of a difference of means over functions s(theta'x + b), compiled.

BFGS with a weak Wolfe line search by bisection (Lewis & Overton 2013, Mathematical
Programming 141): it needs no second derivative, and holds where the ReLU has kinks.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

SIGMOID, RELU = range(2)

# Armijo and curvature constants, and bisections of a line search.
_DECREASE, _CURVATURE, _BISECTIONS = 1e-4, 0.9, 30
# Relative decrease and gradient below which a climb is over.
_STILL, _FLAT = 1e-12, 1e-10


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _loss(columns, measure, free, bound, edge, link, sign, point, eta, gradient):
    """Return -sign sum_i measure_i s(theta'z_i + b) and write its gradient.

    theta = bound u / sqrt(1 + |u|^2) and b = edge tanh(v) with free = (u, v) reach the
    whole interior of the constraints. ``columns`` is (d, n).
    """
    d, n = columns.shape
    scale = math.sqrt(1.0 + np.sum(free[:d] ** 2))
    for j in range(d):
        point[j] = bound * free[j] / scale
    bend = math.tanh(free[d])
    point[d] = edge * bend
    eta[:] = point[d]
    for j in range(d):
        for i in range(n):
            eta[i] += point[j] * columns[j, i]
    value = total = 0.0
    if link == SIGMOID:
        for i in range(n):
            s = 1.0 / (1.0 + math.exp(-eta[i]))
            value += measure[i] * s
            eta[i] = measure[i] * s * (1.0 - s)
    else:
        for i in range(n):
            above = measure[i] if eta[i] > 0.0 else 0.0
            value += above * eta[i]
            eta[i] = above
    along = 0.0
    for j in range(d):
        slope = 0.0
        for i in range(n):
            slope += eta[i] * columns[j, i]
        gradient[j] = slope
        along += slope * free[j] / scale
    for i in range(n):
        total += eta[i]
    for j in range(d):
        tangent = gradient[j] - free[j] / scale * along
        gradient[j] = -sign * bound / scale * tangent
    gradient[d] = -sign * edge * (1.0 - bend * bend) * total
    return -sign * value


@njit(cache=True, nogil=True, error_model="numpy")
def _update(H, s, y, first):
    """Update the inverse Hessian in place by BFGS; skip where curvature is absent."""
    curvature = np.sum(s * y)
    if not curvature > 0.0:
        return
    if first:
        H[:] = curvature / np.sum(y * y) * np.eye(len(s))
    Hy = np.zeros(len(s))
    for i in range(len(s)):
        Hy[i] = np.sum(H[i] * y)
    factor = (1.0 + np.sum(y * Hy) / curvature) / curvature
    for i in range(len(s)):
        for j in range(len(s)):
            H[i, j] += factor * s[i] * s[j] - (Hy[i] * s[j] + s[i] * Hy[j]) / curvature


@njit(cache=True, nogil=True, error_model="numpy")
def climb(columns, measure, starts, signs, bound, edge, link, max_steps):
    """Return a local maximum of sign * difference from each start.

    Parameters
    ----------
    columns : (d, n)
        Rows' coordinates, C-contiguous.
    measure : (n,)
    starts : (k, d + 1)
        Free coordinates, see `_loss`.
    signs : (k,)
    bound, edge : float
        Largest length of theta and of b.
    link : int
        ``SIGMOID`` or ``RELU``.
    max_steps : int

    Returns
    -------
    (k, d + 1)
        Free coordinates.
    """
    k, p = starts.shape
    ends, eta, point = starts.copy(), np.empty(columns.shape[1]), np.empty(p)
    g, g_new, direction, trial = np.empty(p), np.empty(p), np.empty(p), np.empty(p)
    for c in range(k):
        free, sign, H, first = ends[c], signs[c], np.eye(p), True
        value = _loss(columns, measure, free, bound, edge, link, sign, point, eta, g)
        for _ in range(max_steps):
            if np.max(np.abs(g)) <= _FLAT:
                break
            for i in range(p):
                direction[i] = -np.sum(H[i] * g)
            along = np.sum(direction * g)
            if not along < 0.0:
                H[:] = np.eye(p)
                direction[:] = -g
                along = -np.sum(g * g)
                first = True
            step = 1.0 / math.sqrt(-along) if first else 1.0
            low, high, new = 0.0, np.inf, value
            for _ in range(_BISECTIONS):
                trial[:] = free + step * direction
                new = _loss(
                    columns, measure, trial, bound, edge, link, sign, point, eta, g_new
                )
                if new > value + _DECREASE * step * along:
                    high = step
                elif np.sum(g_new * direction) < _CURVATURE * along:
                    low = step
                else:
                    break
                step = 2.0 * step if high == np.inf else 0.5 * (low + high)
            if not new < value:
                break
            _update(H, trial - free, g_new - g, first)
            first = False
            gained = value - new
            free[:] = trial
            g[:] = g_new
            value = new
            if gained <= _STILL * abs(value):
                break
    return ends
