"""Confidence intervals by subsampling, for weights on which the bootstrap may fail.

Politis, Romano & Wolf (1999), chapters 2 and 9.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from causalweights._blas import single_blas_thread
from causalweights._typing import FloatArray, IntArray
from causalweights._validation import check_groups

# The grid of sizes: from sqrt(n) to 3 sqrt(n), and never more than half of the units,
# where a subsample says little about another sample.
_GRID = 20
_WIDEST = 3.0
_LARGEST_SHARE = 0.5
# Neighbors on each side whose intervals must agree with that of the size chosen.
_WINDOW = 2
# An arm of one row has no spread.
_FEWEST_IN_STRATUM = 2
# Dropping failures conditions on success; beyond this share the law is another one.
_MOST_FAILED = 0.05
# Subsamples of one task: large enough to hide the cost of sending it.
_CHUNK = 25


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
    subsamples of size b, the interval is ``[estimate - c_{(1+level)/2} / sqrt(n),
    estimate - c_{(1-level)/2} / sqrt(n)]``. It is valid wherever sqrt(n) (estimate -
    truth) has a limit law, with b large and b/n small; no smoothness is needed.

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
        sqrt(n) to 3 sqrt(n), at most n / 2.
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
        failures at any size.

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
    _check_options(n, n_subsamples, level)
    clusters, strata_of = _units(n, strata, groups)
    n_units = len(strata_of)
    members = [np.flatnonzero(strata_of == h) for h in range(strata_of.max() + 1)]
    counts = np.array([len(m) for m in members])
    grid = _sizes(sizes, counts)
    if estimate is None:
        estimate = statistic(np.arange(n))
    estimate = float(estimate)
    if not np.isfinite(estimate):
        raise ValueError(f"the statistic of all rows is {estimate}, not finite.")
    # None is seed 0, so that a refit gives the same interval.
    seeds = check_random_state(0 if random_state is None else random_state)
    seed = int(seeds.randint(np.iinfo(np.int32).max))
    tasks = [
        (k, range(r, min(r + _CHUNK, n_subsamples)), _allocate(int(b), counts))
        for k, b in enumerate(grid)
        for r in range(0, n_subsamples, _CHUNK)
    ]
    parts = Parallel(n_jobs=n_jobs)(
        delayed(_evaluate)(statistic, clusters, members, seed, *task) for task in tasks
    )
    values = np.concatenate([part for part, _ in parts]).reshape(len(grid), -1)
    _refuse_failures(values, grid, [reasons for _, reasons in parts], tasks)
    scales = np.sqrt(grid / (n_units - grid))
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.nanquantile(values - estimate, tails, axis=1) * scales
    lowers, uppers = estimate - high, estimate - low
    chosen = 0 if len(grid) == 1 else minimum_volatility(lowers, uppers)
    return SubsamplingResult(
        estimate=estimate,
        lower=float(lowers[chosen]),
        upper=float(uppers[chosen]),
        se=float(np.nanstd(values[chosen], ddof=1) * scales[chosen]),
        size=int(grid[chosen]),
        sizes=grid,
        lowers=lowers,
        uppers=uppers,
        estimates=values,
        n_failed=int(np.isnan(values).sum()),
    )


def minimum_volatility(
    lowers: FloatArray, uppers: FloatArray, *, window: int = _WINDOW
) -> int:
    """Return the position whose neighborhood of intervals varies least.

    Volatility is the standard deviation of the lower plus that of the upper end points
    over positions up to ``window`` away; positions nearer to an end of the grid have
    no full neighborhood and are not chosen. Ties: the first.

    Parameters
    ----------
    lowers, uppers : ndarray of shape (n_sizes,)
        With n_sizes at least ``2 * window + 1``.
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
    return int(np.argmin(windows.std(axis=2).sum(axis=0))) + window


def _allocate(size: int, counts: IntArray) -> IntArray:
    """Split a size over strata by their shares, by largest remainders."""
    exact = size * counts / counts.sum()
    out = np.floor(exact).astype(np.intp)
    missing = size - out.sum()
    out[np.argsort(out - exact, kind="stable")[:missing]] += 1
    return out


def _evaluate(
    statistic: Callable[[IntArray], float],
    clusters: list[IntArray] | None,
    members: list[IntArray],
    seed: int,
    k: int,
    numbers: range,
    sizes: IntArray,
) -> tuple[FloatArray, list[str]]:
    """Return statistics of the numbered subsamples of size k, NaN with a reason."""
    values, reasons = np.full(len(numbers), np.nan), []
    with single_blas_thread:
        for i, r in enumerate(numbers):
            # A stream for each subsample: the same draws in whatever task it falls.
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(k, r)))
            drawn = np.concatenate(
                [rng.choice(m, b, replace=False) for m, b in zip(members, sizes)]
            )
            if clusters is not None:
                drawn = np.concatenate([clusters[g] for g in drawn])
            try:
                value = float(statistic(np.sort(drawn)))
            except ValueError as error:
                reasons.append(str(error))
                continue
            if np.isfinite(value):
                values[i] = value
            else:
                reasons.append(f"the statistic was {value}")
    return values, reasons


def _refuse_failures(
    values: FloatArray, grid: IntArray, reasons: list[list[str]], tasks: list[Any]
) -> None:
    failed = np.isnan(values).sum(axis=1)
    bad = np.flatnonzero(failed > _MOST_FAILED * values.shape[1])
    if len(bad):
        k = bad[0]
        first = next(r[0] for r, task in zip(reasons, tasks) if r and task[0] == k)
        raise ValueError(
            f"the statistic failed on {failed[k]} of {values.shape[1]} subsamples of "
            f"size {grid[k]}, more than {_MOST_FAILED:.0%}. First reason: {first} "
            "Use larger sizes, or strata= to keep the arms' shares."
        )


def _check_options(n: int, n_subsamples: int, level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level!r}.")
    if n_subsamples < 20:
        raise ValueError(
            f"n_subsamples={n_subsamples} is too few for quantiles: use 20 at least, "
            "better 500."
        )
    if n < 8:
        raise ValueError(f"n={n} rows are too few to draw subsamples of: 8 at least.")


def _units(n: int, strata: Any, groups: Any) -> tuple[list[IntArray] | None, IntArray]:
    """Return the rows of each cluster (None: rows are the units), units' strata."""
    codes = np.zeros(n, dtype=np.intp)
    if strata is not None:
        labels = np.asarray(strata)
        if labels.shape != (n,):
            raise ValueError(
                f"strata has shape {labels.shape} for n={n} rows: pass one label a row."
            )
        codes = np.unique(labels, return_inverse=True)[1]
    clusters = check_groups(groups, n)
    if clusters is None:
        return None, codes
    order = np.argsort(clusters, kind="stable")
    starts = np.flatnonzero(np.diff(clusters[order])) + 1
    rows: list[IntArray] = list(np.split(order, starts))
    if any(np.ptp(codes[r]) > 0 for r in rows):
        raise ValueError(
            "a cluster of groups holds rows of several strata: clusters are drawn "
            "whole, so leave strata out."
        )
    return rows, np.array([codes[r[0]] for r in rows])


def _sizes(sizes: Sequence[int] | None, counts: IntArray) -> IntArray:
    """Return the checked grid of subsample sizes for strata of these many units."""
    n_units = int(counts.sum())
    # Shares are kept, so the smallest stratum says how small a subsample may be.
    least = int(np.ceil(_FEWEST_IN_STRATUM * n_units / counts.min()))
    if sizes is None:
        top = min(_WIDEST * np.sqrt(n_units), _LARGEST_SHARE * n_units)
        start = max(np.sqrt(n_units), least)
        grid = np.unique(np.linspace(start, top, _GRID).astype(int))
        if top < start or len(grid) <= 2 * _WINDOW:
            raise ValueError(
                f"{n_units} units, {counts.min()} in the smallest stratum, are too few "
                "for a grid of subsample sizes: give one size as sizes=[b]."
            )
        return grid
    grid = np.asarray(sizes)
    if grid.ndim != 1 or grid.dtype.kind not in "iu" or np.any(np.diff(grid) <= 0):
        raise ValueError(f"sizes must be increasing integers, got {sizes!r}.")
    if len(grid) != 1 and len(grid) <= 2 * _WINDOW:
        raise ValueError(
            f"sizes holds {len(grid)}: give one, or at least {2 * _WINDOW + 1} for the "
            "minimum-volatility rule to choose from."
        )
    if grid[0] < least or grid[-1] >= n_units:
        raise ValueError(
            f"sizes must lie between {least} (two of the smallest stratum, at its "
            f"share) and {n_units - 1} (below the number of units), got {grid[0]} to "
            f"{grid[-1]}."
        )
    return grid
