"""How a cell is filled: distribution functions on the unit interval around zero."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from causalweights._typing import FloatArray


def constant(t: FloatArray) -> FloatArray:
    """Return the distribution function of the uniform density."""
    return t + 0.5


def linear(t: FloatArray) -> FloatArray:
    """Return that of the triangular density, a continuous one."""
    tail = 2.0 * (0.5 - np.abs(t)) ** 2
    return np.where(t <= 0, tail, 1.0 - tail)


def quadratic(t: FloatArray) -> FloatArray:
    """Return that of the quadratic B-spline, a density with a derivative."""
    tail = 16.0 / 3.0 * (0.5 - np.abs(t)) ** 3
    middle = 0.5 + 2.0 * t - 16.0 / 3.0 * t**3
    return np.where(np.abs(t) <= 0.25, middle, np.where(t < 0, tail, 1.0 - tail))


CELL_CDFS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "constant": constant,
    "linear": linear,
    "quadratic": quadratic,
}


def cell_cdf(t: FloatArray, within: str = "constant") -> FloatArray:
    """Return H(t) in [0, 1]: 0 up to t = -1/2, 1 from t = 1/2.

    Parameters
    ----------
    t : ndarray
        Position in the cell, in widths from its middle.
    within : {"constant", "linear", "quadratic"}
        Degree of the density's pieces.
    """
    return CELL_CDFS[within](np.clip(t, -0.5, 0.5))
