"""Standardisation of covariates: weighted mean and ddof-0 SD, constants found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from causalweights._typing import FloatArray


@dataclass(frozen=True, slots=True)
class Scaling:
    """Centre and scale of the columns that vary.

    Attributes
    ----------
    mean, scale : ndarray of shape (d,)
        Weighted mean and ddof-0 standard deviation of each kept column.
    kept : ndarray of shape (d,)
        Positions of the kept columns.
    constant : ndarray
        Positions of the constant ones.
    """

    mean: FloatArray
    scale: FloatArray
    kept: np.ndarray
    constant: np.ndarray

    def transform(self, X: np.ndarray) -> FloatArray:
        """Return the standardised kept columns of X, a new float64 array."""
        out = np.array(np.asarray(X)[:, self.kept], dtype=np.float64, order="C")
        out -= self.mean
        out /= self.scale
        return out


def fit_scaling(X: np.ndarray, sample_weight: FloatArray | None = None) -> Scaling:
    """Return the scaling of X; raise a ValueError when every column is constant."""
    # One memory layout, so that a frame and an array give the same bits. Dividing by
    # the largest entry keeps squares of huge or tiny values finite.
    X = np.ascontiguousarray(X, dtype=np.float64)
    size = np.max(np.abs(X), axis=0)
    size[size == 0] = 1.0
    unit = X / size
    if sample_weight is None:
        mean = unit.mean(axis=0)
        # A second pass takes the rounding of the first mean out.
        mean += (unit - mean).mean(axis=0)
        scale = np.sqrt(np.mean((unit - mean) ** 2, axis=0))
    else:
        share = sample_weight / sample_weight.sum()
        mean = share @ unit
        mean += share @ (unit - mean)
        scale = np.sqrt(share @ (unit - mean) ** 2)
    return make_scaling(size, mean, scale, np.ptp(unit, axis=0) == 0)


def make_scaling(
    size: FloatArray, mean: FloatArray, scale: FloatArray, one_value: np.ndarray
) -> Scaling:
    """Return the scaling from mean and SD of the columns divided by ``size``, (d,).

    A column is constant where it holds one value, or an SD of rounding size.
    """
    noise = 10 * np.finfo(np.float64).eps  # entries are at most 1 in size here
    constant = one_value | (scale <= noise)
    if np.all(constant):
        raise ValueError(
            "all columns of X are constant: there is nothing to balance or to learn "
            "from. Check that X holds covariates."
        )
    kept = np.flatnonzero(~constant)
    return Scaling(
        (mean * size)[kept], (scale * size)[kept], kept, np.flatnonzero(constant)
    )
