"""Exact Euclidean projections onto a box cut by a ball or by a slab.

Both problems have one multiplier, along which the solution is piecewise linear: the
right piece is found by its breakpoints, and the multiplier in closed form.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from causalweights.optimize._certificate import FloatArray
from causalweights.optimize._checks import check_vector


def project_box_ball(
    point: ArrayLike,
    radius: float,
    *,
    lower: ArrayLike = 0.0,
    upper: ArrayLike = 1.0,
    center: ArrayLike = 1.0,
) -> FloatArray:
    """Project a point onto {x : lower <= x <= upper, |x - center| <= radius}.

    The solution is center + clip(s (point - center), lower - center, upper - center)
    with 0 <= s <= 1. Its distance to the center is increasing in s, and the share s at
    which it equals the radius is found exactly from the sorted values at which
    coordinates reach a bound.

    Parameters
    ----------
    point : array-like of shape (n,)
        Finite values.
    radius : float
        Non-negative and finite.
    lower, upper, center : float or array-like of shape (n,), default=0.0, 1.0, 1.0
        Finite, with lower <= center <= upper.

    Returns
    -------
    ndarray of shape (n,)
        The projection, within the box exactly and within the ball to rounding.

    Raises
    ------
    ValueError
        For NaN or infinite values, wrong shapes, a negative radius, or a center
        outside the box.

    Notes
    -----
    O(n log n) time, O(n) memory.

    Examples
    --------
    >>> from causalweights.optimize import project_box_ball
    >>> project_box_ball([0.4, 1.2, -3.0], 0.5)
    array([0.925..., 1.        , 0.505...])
    """
    y = np.asarray(point, dtype=np.float64)
    if y.ndim != 1 or not np.isfinite(y).all():
        raise ValueError("point must be one-dimensional and finite.")
    if not (np.isfinite(radius) and radius >= 0.0):
        raise ValueError(f"radius must be finite and non-negative, got {radius!r}.")
    low, high, middle = (
        check_vector(name, value, y.size)
        for name, value in (("lower", lower), ("upper", upper), ("center", center))
    )
    outside = np.flatnonzero((middle < low) | (middle > high))
    if outside.size:
        raise ValueError(
            f"center must lie between lower and upper; it does not in row {outside[0]}."
        )
    inside = np.clip(y, low, high)
    if np.linalg.norm(inside - middle) <= radius:
        return inside
    share = _share(y - middle, low - middle, high - middle, radius)
    return np.clip(middle + share * (y - middle), low, high)


def _share(d: FloatArray, low: FloatArray, high: FloatArray, radius: float) -> float:
    """Return s with |clip(s d, low, high)| = radius, where low <= 0 <= high.

    A coordinate is d s up to s = bound / d and its bound from there on.
    """
    bound = np.where(d > 0.0, high, -low)
    size = np.abs(d)
    # s never exceeds one, so that a row not yet at its bound there is never stopped.
    stops = np.divide(bound, size, out=np.full(d.size, 2.0), where=size > bound)
    order = np.argsort(stops, kind="stable")
    stops, size, bound = stops[order], size[order], bound[order]
    stopped = np.concatenate([[0.0], np.cumsum(bound**2)])
    # Summed from the back: the difference of two totals would cancel.
    moving = np.concatenate([np.cumsum((size**2)[::-1])[::-1], [0.0]])
    squares = stopped[:-1] + stops**2 * moving[:-1]
    piece = int(np.searchsorted(squares, radius**2))
    if piece >= d.size or moving[piece] == 0.0:
        return float(min(stops[-1], 1.0))
    return float(np.sqrt(max(radius**2 - stopped[piece], 0.0) / moving[piece]))


def project_box_slab(
    point: FloatArray,
    weight: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    row: FloatArray,
    bounds: tuple[float, float],
) -> FloatArray:
    """Minimise sum of weight (v - point)^2 over the box and bounds on row'v.

    v = clip(point + nu row / weight, lower, upper), and row'v increases with nu. Where
    no point of the box meets the bounds, the nearest one in row'v is returned.
    """

    def place(nu: float) -> FloatArray:
        return np.clip(point + nu * row / weight, lower, upper)

    v = place(0.0)
    total = float(row @ v)
    if bounds[0] <= total <= bounds[1]:
        return v
    target = bounds[0] if total < bounds[0] else bounds[1]
    moving = np.flatnonzero((row != 0.0) & (upper > lower))
    if moving.size == 0:
        return v
    scale = weight[moving] / row[moving]
    ends = np.concatenate(
        [(lower - point)[moving] * scale, (upper - point)[moving] * scale]
    )
    ends = np.unique(ends)
    first, last = 0, ends.size - 1
    if row @ place(ends[0]) >= target:
        return place(ends[0])
    if row @ place(ends[-1]) <= target:
        return place(ends[-1])
    while last - first > 1:
        middle = (first + last) // 2
        if row @ place(ends[middle]) < target:
            first = middle
        else:
            last = middle
    below, above = float(row @ place(ends[first])), float(row @ place(ends[last]))
    share = (target - below) / (above - below)
    return place(float(ends[first] + share * (ends[last] - ends[first])))
