"""Weighted means and variances, and the denominators of mean differences."""

from __future__ import annotations

import numpy as np

from causalweights._typing import FloatArray


def two_valued(X: FloatArray) -> np.ndarray:
    """Return which columns hold exactly two values, (d,) bool."""
    low, high = X.min(axis=0), X.max(axis=0)
    return np.all((X == low) | (X == high), axis=0) & (low < high)


def weighted_moments(
    X: FloatArray,
    weights: FloatArray,
    binary: np.ndarray,
    copies: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return the weighted mean and variance of each column, (d,) each.

    The variance is ``sum w (x - m)^2 * W / (W^2 - sum w^2)`` with W = sum w, which has
    ddof 1 for equal weights; for columns of two values ``sum w (x - m)^2 / W``, that is
    p (1 - p). A row that stands for ``copies`` equal rows adds ``w^2 / copies`` to the
    sum of squares. NaN where one row holds all the weight.
    """
    used = weights > 0
    X, w = X[used], weights[used]
    total = w.sum()
    share = w / total
    mean = share @ X
    # A second pass takes the rounding of the first mean out.
    mean += share @ (X - mean)
    squares = share @ (X - mean) ** 2
    each = share**2 if copies is None else share**2 / copies[used]
    freedom = 1 - each.sum()
    enough = freedom > len(w) * np.finfo(np.float64).eps
    variance = np.where(binary, squares, squares / freedom if enough else np.nan)
    # Rounding must not give a column that does not vary here a tiny variance.
    same = np.ptp(X, axis=0) == 0
    return np.where(same, X[0], mean), np.where(same & enough, 0.0, variance)


def denominators(
    arm_variances: FloatArray, full_variance: FloatArray, arms: list[int] | None
) -> FloatArray:
    """Return the SD that each column's mean differences are divided by, (d,).

    Root of the mean of the chosen arms' variances (the full sample's where ``arms`` is
    None). A column without variance in those arms takes the full sample's SD.
    """
    chosen = full_variance if arms is None else arm_variances[arms].mean(axis=0)
    missing = ~np.isfinite(chosen) | (chosen <= 0)
    return np.sqrt(np.where(missing, full_variance, chosen))


def scaled_difference(difference: FloatArray, scale: FloatArray) -> FloatArray:
    """Return the difference over the scale; zero for a column that is constant."""
    out = np.zeros_like(difference)
    return np.divide(difference, scale, out=out, where=scale > 0)
