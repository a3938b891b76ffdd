"""Frank-Wolfe gap over a product of bounded simplices.

For a convex objective the gap bounds the excess over the minimum, whichever solver
produced the weights (Jaggi 2013, "Revisiting Frank-Wolfe", section 2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

# Rounding of a gradient entry that is a difference of two sums of n terms: about
# sqrt(n) eps of their size, with room for a factor of a few.
ROUNDING_UNITS = 16.0


def frank_wolfe_gap(
    gradient: ArrayLike,
    weights: ArrayLike,
    groups: ArrayLike | None = None,
    lower: ArrayLike = 0.0,
    upper: ArrayLike | None = None,
) -> float:
    """Compute the Frank-Wolfe gap of feasible weights.

    The gap is max over feasible v of gradient'(weights - v). The linear program
    separates over groups and is solved exactly: without upper bounds all free mass
    goes to the smallest gradient entry, with them the rows are filled in increasing
    order of the gradient. For a convex objective, objective - minimum <= gap.

    Parameters
    ----------
    gradient : array-like of shape (n,)
        Gradient of the objective at `weights`.
    weights : array-like of shape (n,)
        Weights that sum to one in each group and respect the bounds.
    groups : array-like of int of shape (n,), default=None
        Group labels 0..G-1; None is one group.
    lower, upper : float or array-like of shape (n,), default=0.0 and None
        Bounds on the weights; an `upper` of None is no bound.

    Returns
    -------
    float
        The absolute gap. Each row contributes a non-negative term, so it is free of
        cancellation and never negative for feasible weights.

    Notes
    -----
    O(n) time without upper bounds, O(n log n) with them; O(n) memory.

    Examples
    --------
    >>> from causalweights.optimize import frank_wolfe_gap
    >>> frank_wolfe_gap([0.0, 1.0, 3.0], [0.5, 0.5, 0.0])
    0.5
    >>> frank_wolfe_gap([0.0, 1.0, 3.0], [0.5, 0.5, 0.0], upper=0.5)
    0.0
    """
    gradient = np.asarray(gradient, dtype=np.float64)
    weights = np.asarray(weights, dtype=np.float64)
    n = gradient.shape[0]
    labels = np.zeros(n, np.intp) if groups is None else np.asarray(groups, np.intp)
    low = np.broadcast_to(np.asarray(lower, dtype=np.float64), (n,))
    bound = np.inf if upper is None else upper
    high = np.broadcast_to(np.asarray(bound, dtype=np.float64), (n,))
    n_groups = int(labels.max()) + 1
    mass = group_sums(labels, weights - low, n_groups)
    return bounded_gap(gradient, weights - low, labels, mass, high - low)


def group_sums(labels: IntArray, values: FloatArray, n_groups: int) -> FloatArray:
    """Sum values over each group."""
    sums = np.bincount(labels, weights=values, minlength=n_groups)
    return np.asarray(sums, dtype=np.float64)


def bounded_gap(
    gradient: FloatArray,
    weights: FloatArray,
    labels: IntArray,
    mass: FloatArray,
    upper: FloatArray,
) -> float:
    """Gap for weights in [0, upper] with sum `mass[g]` in group g."""
    levels = linear_program_levels(gradient, labels, mass, upper)
    reduced = gradient - levels[labels]
    # Rows below the level are filled to their bound by the linear program.
    vertex = np.where(reduced < 0.0, upper, 0.0)
    return float((weights - vertex) @ reduced)


def linear_program_levels(
    gradient: FloatArray, labels: IntArray, mass: FloatArray, upper: FloatArray
) -> FloatArray:
    """Return the gradient of the last row that the linear program fills, by group."""
    levels = np.full(mass.shape, np.inf)
    np.minimum.at(levels, labels, gradient)
    if np.all(upper >= mass[labels]):
        return levels
    for g in range(mass.shape[0]):
        rows = np.flatnonzero(labels == g)
        order = rows[np.argsort(gradient[rows], kind="stable")]
        filled = np.cumsum(np.minimum(upper[order], mass[g]))
        # The last row closes the group even when rounding leaves a sum just short.
        last = min(int(np.searchsorted(filled, mass[g])), order.size - 1)
        levels[g] = gradient[order[last]]
    return levels


def rounding_level(product: FloatArray, q: FloatArray, eps: float) -> float:
    """Size of a gap that rounding alone can cause; `product` is (K + ridge) w."""
    magnitude = np.max(np.abs(product)) + np.max(np.abs(q))
    return ROUNDING_UNITS * eps * float(magnitude)


def relative_gap(gap: float, improvement: float, floor: float) -> float:
    """Gap over improvement on uniform weights; 0 when both are below `floor`."""
    if gap <= floor and improvement <= floor:
        return 0.0
    if improvement <= 0.0:
        return float("inf")
    return gap / improvement
