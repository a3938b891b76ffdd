"""Confidence intervals by subsampling, for weights on which the bootstrap may fail.

Politis, Romano & Wolf (1999), chapters 2 and 9.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from causalweights._typing import FloatArray, IntArray
from causalweights.inference._subsamples import WINDOW, draw_subsamples


@dataclass(frozen=True, slots=True, eq=False)
class SubsamplingResult:
    """A subsampling interval, and what it was chosen from.

    Attributes
    ----------
    estimate, lower, upper : float
        Of the whole sample, and its interval at ``size``.
    se : float
        Standard deviation of the rescaled subsample estimates at ``size``.
    size : int
        Rows (clusters, with ``groups``) of a subsample, by the minimum-volatility rule.
    sizes : ndarray of shape (n_sizes,)
    lowers, uppers : ndarray of shape (n_sizes,)
        Interval at each size.
    estimates : ndarray of shape (n_sizes, n_subsamples)
        NaN marks a subsample on which the statistic failed.
    n_failed : int
        Number of those.
    """

    estimate: float
    lower: float
    upper: float
    se: float
    size: int
    sizes: IntArray
    lowers: FloatArray
    uppers: FloatArray
    estimates: FloatArray
    n_failed: int


def subsample_interval(
    statistic: Callable[[IntArray], float],
    n: int,
    *,
    estimate: float | None = None,
    sizes: Sequence[int] | None = None,
    n_subsamples: int = 500,
    level: float = 0.95,
    strata: Any = None,
    groups: Any = None,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> SubsamplingResult:
    r"""Return a confidence interval from subsamples drawn without replacement.

    With c_q the q-quantile of ``sqrt(b / (1 - b/n)) (estimate_b - estimate)`` over
    subsamples of size b (of B draws the q (B + 1)-th, interpolated), the interval is
    ``[estimate - c_{(1+level)/2} / sqrt(n), estimate - c_{(1-level)/2} / sqrt(n)]``. It
    is valid wherever sqrt(n) (estimate - truth) has a limit law, with b large and b/n
    small; no smoothness is needed.

    Parameters
    ----------
    statistic : callable
        Takes sorted positions (b,) of rows and returns a finite float, computed from
        scratch (weights included) on those rows. A ValueError counts as a failure.
        Several processes call it if ``n_jobs`` asks for them.
    n : int
        Number of rows.
    estimate : float or None, default=None
        The statistic of all rows; None computes it.
    sizes : sequence of int or None, default=None
        One size, or at least five increasing ones to choose from. None: 20 from
        sqrt(n) to 3 sqrt(n), at most n / 2; more where a stratum would have less than
        two rows.
    n_subsamples : int, default=500
        At each size.
    level : float, default=0.95
        Between 0 and 1.
    strata : array-like of shape (n,) or None, default=None
        Treatment arms: a subsample keeps their shares, and so must be large enough to
        hold two rows of each.
    groups : array-like of shape (n,) or None, default=None
        Clusters, drawn whole; n and sizes then count clusters in every formula. With
        ``strata``, a cluster must lie in one stratum.
    random_state : int, RandomState or None, default=None
        Seed of the subsamples; None is seed 0.
    n_jobs : int or None, default=None
        Subsamples at once, through joblib; the result does not depend on it.

    Returns
    -------
    SubsamplingResult

    Raises
    ------
    ValueError
        For bad input, a statistic that is not finite on all rows, and more than 5 % of
        failures at the only size, or at so large a one that less than five remain.

    Notes
    -----
    *Orientation.* The root estimate_b - estimate stands for estimate - truth, so its
    upper quantile bounds the truth from below [1]_. The percentile form, estimate +
    sqrt(b/n) (q - estimate), found in published code for these weights, mirrors the
    interval: the same for a symmetric law only.

    *Finite population.* Given the sample, the mean of b of n rows has variance
    s^2 (1 - b/n) / b, and for a linear statistic the factor 1 - b/n is the only error
    of the root's variance. Dividing by it gives the delete-d jackknife's scale, with
    d = n - b, for which the histogram is consistent [2]_; it tends to one with b/n,
    so that the general theory is untouched.

    *Failures* make a subsample say less of the whole sample than its size promises:
    sizes up to the largest with more than 5 % of them are left out.

    *Size.* The one with the least volatility: standard deviation of the lower plus
    that of the upper end points over the sizes up to two places away ([1]_, section
    9.3).

    *Strata* hold the arms' sizes fixed. An average over the pooled sample (ATE) of
    effects that differ between the arms also varies with their shares, which the
    interval then leaves out; leave ``strata`` out to count it.

    Time: n_sizes * n_subsamples statistics. Memory: as many floats.

    References
    ----------
    .. [1] Politis, Romano & Wolf (1999). Subsampling. Springer. Theorem 2.2.1.
    .. [2] Wu (1990). On the asymptotic properties of the jackknife histogram. Annals
       of Statistics 18(3).

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.inference import subsample_interval
    >>> y = np.random.default_rng(0).normal(size=400)
    >>> out = subsample_interval(lambda rows: y[rows].mean(), 400, sizes=[40])
    >>> bool(out.lower < 0 < out.upper), bool(0.04 < out.se < 0.06)
    (True, True)
    """
    _check_level(level)
    if estimate is None:
        estimate = statistic(np.arange(n))
    drawn = draw_subsamples(
        statistic, n, np.array([float(estimate)]), sizes=sizes,
        n_subsamples=n_subsamples, strata=strata, groups=groups,
        random_state=random_state, n_jobs=n_jobs,
    )  # fmt: skip
    lowers, uppers = (ends[:, 0] for ends in drawn.intervals(level))
    chosen = 0 if len(lowers) == 1 else minimum_volatility(lowers, uppers)
    return SubsamplingResult(
        estimate=float(drawn.estimate[0]),
        lower=float(lowers[chosen]),
        upper=float(uppers[chosen]),
        se=float(np.nanstd(drawn.roots()[chosen], ddof=1)),
        size=int(drawn.sizes[chosen]),
        sizes=drawn.sizes,
        lowers=lowers,
        uppers=uppers,
        estimates=drawn.values[:, :, 0],
        n_failed=int(np.isnan(drawn.values).sum()),
    )


def minimum_volatility(
    lowers: FloatArray, uppers: FloatArray, *, window: int = WINDOW
) -> int:
    """Return the position whose neighborhood of intervals varies least.

    Volatility is the standard deviation of the lower plus that of the upper end points
    over positions up to ``window`` away; positions nearer to an end of the grid have
    no full neighborhood and are not chosen. Ties: the first.

    Parameters
    ----------
    lowers, uppers : ndarray of shape (n_sizes,) or (n_sizes, C)
        With n_sizes at least ``2 * window + 1``; volatilities of C intervals are added.
    window : int, default=2

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.inference import minimum_volatility
    >>> lowers = np.array([9.0, 5.0, 2.0, 1.0, 1.0, 1.1, 1.0, 1.0])
    >>> minimum_volatility(lowers, lowers + 1)
    5
    """
    ends = np.array([lowers, uppers], dtype=float)
    width = 2 * window + 1
    if ends.shape[1] < width:
        raise ValueError(
            f"{ends.shape[1]} intervals for a neighborhood of {width}: give more sizes."
        )
    windows = np.lib.stride_tricks.sliding_window_view(ends, width, axis=1)
    volatility = np.moveaxis(windows.std(axis=-1), 1, -1)
    return int(np.argmin(volatility.reshape(-1, volatility.shape[-1]).sum(0))) + window


def _check_level(level: float) -> None:
    """Raise for a level that no interval has."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level!r}.")
