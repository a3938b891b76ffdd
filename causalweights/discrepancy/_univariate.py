"""Discrepancies of weighted samples on the real line."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from causalweights._typing import FloatArray
from causalweights._validation import check_sample_weight


def kolmogorov_smirnov(
    x: ArrayLike,
    y: ArrayLike,
    x_weights: ArrayLike | None = None,
    y_weights: ArrayLike | None = None,
) -> float:
    """Return the largest distance between two weighted distribution functions.

    Parameters
    ----------
    x : array-like of shape (n,)
        First sample.
    y : array-like of shape (m,)
        Second sample.
    x_weights, y_weights : array-like of shape (n,), (m,) or None, default=None
        Non-negative weights, normalised to sum one; None is equal weights.

    Returns
    -------
    float
        Between 0 and 1. For a binary variable the difference in proportions.

    Notes
    -----
    Both functions are evaluated after all of a value's ties, from the right, so the
    order of the rows does not matter. Time O((n + m) log(n + m)).

    Examples
    --------
    >>> from causalweights.discrepancy import kolmogorov_smirnov
    >>> kolmogorov_smirnov([0, 1, 1, 2], [1, 2])
    0.25
    >>> kolmogorov_smirnov([0, 1, 1, 2], [1, 2], x_weights=[0, 1, 0, 1])
    0.0
    """
    x, a = _sample(x, x_weights, "x")
    y, b = _sample(y, y_weights, "y")
    values, position = np.unique(np.concatenate([x, y]), return_inverse=True)
    mass_x = np.bincount(position[: len(x)], weights=a, minlength=len(values))
    mass_y = np.bincount(position[len(x) :], weights=b, minlength=len(values))
    # Differences first: equal samples then give zero exactly.
    distance = np.max(np.abs(np.cumsum(mass_x - mass_y)))
    return float(min(distance, 1.0))


def _sample(
    values: ArrayLike, weights: ArrayLike | None, name: str
) -> tuple[FloatArray, FloatArray]:
    """Return a finite vector and its weights, of sum one."""
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or len(vector) == 0:
        raise ValueError(f"{name} must be a vector with rows, got {vector.shape}.")
    if not np.all(np.isfinite(vector)):
        raise ValueError(f"{name} contains NaN or infinity.")
    try:
        checked = check_sample_weight(weights, len(vector))
    except ValueError as error:
        message = str(error).replace("sample_weight", f"{name}_weights")
        raise ValueError(message) from None
    return vector, checked / checked.sum()
