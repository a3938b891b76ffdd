"""Bandwidths of local polynomials by leave-one-out, near a rule of thumb."""

from __future__ import annotations

from typing import Any

import numpy as np

from causalweights._typing import FloatArray
from causalweights.learners._local_smoother import Smoother

# The rule of thumb, in standard deviations, at n = 1: about equal smoothing.
_RULE = {"epanechnikov": 3.0, "triangular": 3.3, "gaussian": 1.35}
# Between two neighbors of the bandwidths that "loo" compares.
_RATIO = 1.6
# Errors that differ by fewer standard errors do not tell bandwidths apart.
_STANDARD_ERRORS = 2.0
# Rows whose leave-one-out errors compare bandwidths.
_SEARCH_ROWS = 2000


def rule_of_thumb(smoother: Smoother, degree: int, kernel: str) -> float:
    """Return a bandwidth of the best rate for a fit of a degree, whatever the data."""
    effective, d = 1.0 / np.sum(smoother.masses**2), smoother.Z.shape[1]
    return float(_RULE[kernel] * effective ** (-1.0 / (2 * degree + 2 + d)))


def bandwidth_grid(bandwidth: Any, smoother: Smoother, rule: float) -> FloatArray:
    """Return the bandwidths to compare, largest first."""
    if not isinstance(bandwidth, str):
        return np.unique(np.asarray(bandwidth, dtype=np.float64))[::-1]
    low = float(np.median(smoother.reach(smoother.Z)))
    high = float(np.linalg.norm(np.ptp(smoother.Z, axis=0)))
    if not 0 < low < high:
        return np.array([np.inf])
    ends = np.log(np.array([low, high]) / rule) / np.log(_RATIO)
    steps = np.arange(np.floor(ends[1]), np.ceil(ends[0]) - 1, -1)
    return np.array([np.inf, *rule * _RATIO**steps])


def compare_bandwidths(
    smoother: Smoother, grid: FloatArray, basis: tuple
) -> tuple[FloatArray, FloatArray]:
    """Return weighted leave-one-out errors and their standard errors above the least.

    On all rows up to 2000, on as many evenly spaced ones of the sorted rows above. NaN
    where leave-one-out errors are not defined.
    """
    n = len(smoother.y)
    rows = np.unique(np.linspace(0, n - 1, min(n, _SEARCH_ROWS)).astype(np.intp))
    share = smoother.masses[rows] / smoother.masses[rows].sum()
    reach = smoother.reach(smoother.Z[rows])
    squares = np.array(
        [smoother.leave_one_out(np.maximum(h, reach), basis, rows) ** 2 for h in grid]
    )
    errors = squares @ share
    excess = squares - squares[np.argmin(errors)]
    spread = excess - (excess @ share)[:, None]
    return errors, np.sqrt(spread**2 @ share**2)


def choose_bandwidth(
    grid: FloatArray, errors: FloatArray, spread: FloatArray, rule: float
) -> float:
    """Return the bandwidth nearest to the rule of thumb among those as good as any."""
    good = errors - np.min(errors) <= _STANDARD_ERRORS * spread
    distance = np.abs(np.log(grid / rule))
    return float(grid[np.argmin(np.where(good, distance, np.inf))])


def check_bandwidth(bandwidth: Any) -> None:
    """Refuse what is no positive bandwidth, nor a list of them; infinity is one."""
    if isinstance(bandwidth, str):
        return
    values = np.asarray(bandwidth, dtype=np.float64)
    if values.ndim > 1 or values.size == 0 or not np.all(values > 0):
        raise ValueError(
            f"bandwidth={bandwidth!r}: give 'loo', a positive number or a list of "
            "positive numbers."
        )
