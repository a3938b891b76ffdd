"""Weighted conformal prediction of arrays (Tibshirani, Barber, Candès & Ramdas 2019).

A band [low(x), high(x)] and a scale s(x) that do not depend on the calibration rows
give them scores R_i = max(low(x_i) - y_i, y_i - high(x_i)) / s(x_i). With w the density
ratio of target to source, a target row's own score is at most the quantile

    q(x) = inf {r : sum_i w(x_i) 1(R_i <= r) >= level (sum_i w(x_i) + w(x))}

with probability ``level`` or more, so that [low - q s, high + q s] covers its outcome.
A row that itself has more than 1 - level of the total weight has q(x) = inf.
"""

from __future__ import annotations

import warnings

import numpy as np

from causalweights._typing import FloatArray

# Target weight below which the source is taken not to reach a row.
REACH = 0.1
# Share of the total weight that is rounding of sums: without it .55 of 100 rows would
# be 56 of them.
ROUNDING = 1e-10


def density_ratio(beta: FloatArray, alpha: FloatArray, beyond: float) -> FloatArray:
    """Return target density over source density, up to a constant factor.

    Source weights beta and target weights alpha solve ``beta p_source = alpha
    p_target``, so the ratio is beta / alpha where alpha is not small. Elsewhere the
    target has rows that the source does not reach, and the ratio is ``beyond``: with 0
    for calibration rows and inf for new ones, intervals are for the target within
    reach, and infinite outside of it, so that they cover the whole target.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.shift._conformal import density_ratio
    >>> beta, alpha = np.array([0.8, 0.8, 0.1]), np.array([1.0, 0.4, 0.05])
    >>> density_ratio(beta, alpha, np.inf)
    array([0.8, 2. , inf])
    """
    reached = alpha >= REACH
    return np.divide(beta, alpha, out=np.full(len(beta), beyond), where=reached)


def conformity_scores(
    y: FloatArray, low: FloatArray, high: FloatArray, scale: FloatArray
) -> FloatArray:
    """Return how far outcomes (n,) lie outside of a band, in its scale; < 0 within."""
    return np.maximum(low - y, y - high) / scale


def weighted_quantiles(
    scores: FloatArray, weights: FloatArray, own: FloatArray, level: float
) -> FloatArray:
    """Return each new row's quantile of weighted scores, its own weight at infinity.

    Parameters
    ----------
    scores, weights : ndarray of shape (n,)
        Of the calibration rows; weights not negative, of positive sum.
    own : ndarray of shape (m,)
        Weights of the new rows, not negative; inf is allowed.
    level : float in (0, 1)

    Returns
    -------
    ndarray of shape (m,)
        One of the scores, or inf.

    Notes
    -----
    Time O((n + m) log n), memory O(n + m). Only ratios of weights matter, and the order
    of the rows does not, to the bit: equal scores are ordered by weight.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.shift._conformal import weighted_quantiles
    >>> scores, weights = np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 2.0])
    >>> weighted_quantiles(scores, weights, np.array([0.0, 1.0, 4.0]), 0.75)
    array([ 2.,  3., inf])
    """
    order = np.lexsort((weights, scores))
    mass = np.cumsum(weights[order])
    wanted = (1.0 - ROUNDING) * level * (mass[-1] + own)
    return np.append(scores[order], np.inf)[np.searchsorted(mass, wanted)]


def prediction_limits(
    low: FloatArray, high: FloatArray, scale: FloatArray, quantiles: FloatArray
) -> FloatArray:
    """Return lower and upper limits (m, 2): the band moved outwards by the quantiles.

    A negative quantile moves it inwards; limits that cross then meet half-way.
    """
    lower, upper = low - quantiles * scale, high + quantiles * scale
    middle = 0.5 * (low + high)
    return np.column_stack([np.minimum(lower, middle), np.maximum(upper, middle)])


def warn_of_intervals(
    quantiles: FloatArray, own: FloatArray, ess: float, level: float, stacklevel: int
) -> None:
    """Warn of infinite intervals, and of few effective rows to calibrate with.

    From the quantiles and weights of the new rows and the effective size of the
    calibration rows; ``stacklevel`` as seen from here.
    """
    if (1.0 - level) * ess < 1.0 - ROUNDING:
        warnings.warn(
            f"the calibration rows are worth {ess:.1f} rows of equal weight, of which "
            f"a level of {level:g} needs {1.0 / (1.0 - level):.0f}: intervals rest on "
            "few scores or are infinite. Use more source rows, or a weighter with more "
            "equal weights.",
            UserWarning,
            stacklevel=stacklevel,
        )
    infinite, beyond = np.isinf(quantiles), np.isinf(own)
    if not infinite.any():
        return
    reasons = {
        f"hold more than {1.0 - level:.2g} of the total weight themselves": ~beyond,
        f"are beyond the source's reach (target weight below {REACH:g})": beyond,
    }
    counts = {why: int(np.sum(infinite & rows)) for why, rows in reasons.items()}
    said = "; ".join(f"{count} {why}" for why, count in counts.items() if count)
    warnings.warn(
        f"{infinite.sum()} of {len(infinite)} intervals are infinite. Of these rows "
        f"{said}. The source has too few rows like them for finite limits.",
        UserWarning,
        stacklevel=stacklevel,
    )
