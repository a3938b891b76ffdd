"""Estimates from subsamples drawn without replacement, of rows or of clusters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.parallel import delayed

from causalweights._blas import single_blas_thread
from causalweights._progress import run_jobs
from causalweights._typing import FloatArray, IntArray
from causalweights._validation import check_groups

# The grid of sizes: from sqrt(n) to 3 sqrt(n), more only where a stratum asks for it,
# and never more than half of the units, where a subsample says little about another
# sample.
_GRID = 20
_WIDEST = 3.0
_LARGEST_SHARE = 0.5
# Neighbors on each side whose intervals must agree with that of the size chosen.
WINDOW = 2
# An arm of one row has no spread.
_FEWEST_IN_STRATUM = 2
# Dropping failures conditions on success; beyond this share the law is another one.
_MOST_FAILED = 0.05
# The q (B + 1)-th of B draws: with few of them numpy's default is too near the middle.
QUANTILE: Final = "weibull"
# Subsamples of one task: large enough to hide the cost of sending it.
_CHUNK = 25
_ADVICE = "Give larger sizes (one as sizes=[b]), or strata= to keep the arms' shares."


@dataclass(frozen=True, slots=True, eq=False)
class Subsamples:
    """Estimates of C quantities from the whole sample and from subsamples.

    Attributes
    ----------
    estimate : ndarray of shape (C,)
    values : ndarray of shape (n_sizes, n_subsamples, C)
        NaN where the statistic failed.
    sizes : ndarray of shape (n_sizes,)
    n_units : int
        Rows, or clusters, that the subsamples were drawn from.
    """

    estimate: FloatArray
    values: FloatArray
    sizes: IntArray
    n_units: int

    def roots(self) -> FloatArray:
        """Return what stands for estimate minus truth, of the shape of ``values``."""
        scales = np.sqrt(self.sizes / (self.n_units - self.sizes))
        return (self.values - self.estimate) * scales[:, None, None]

    def intervals(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Return lower and upper end points at each size, (n_sizes, C)."""
        tails = [(1 - level) / 2, (1 + level) / 2]
        low, high = np.nanquantile(self.roots(), tails, axis=1, method=QUANTILE)
        return self.estimate - high, self.estimate - low


def draw_subsamples(
    statistic: Callable[[IntArray], Any],
    n: int,
    estimate: FloatArray,
    *,
    sizes: Sequence[int] | None = None,
    least: float = 0.0,
    n_subsamples: int = 500,
    strata: Any = None,
    groups: Any = None,
    random_state: Any = None,
    n_jobs: int | None = None,
    advice: str = _ADVICE,
) -> Subsamples:
    """Return a statistic's values (C,) on subsamples of each size.

    As in `subsample_interval`, with ``estimate`` (C,) the statistic of all rows,
    ``least`` the smallest size of the default grid and ``advice`` the end of errors
    that say a subsample is too small. The draws depend on the seed, the units and the
    size's position in the grid, not on the statistic.
    """
    if n_subsamples < 20:
        raise ValueError(
            f"n_subsamples={n_subsamples} is too few for quantiles: use 20 at least, "
            "better 500."
        )
    if n < 8:
        raise ValueError(f"n={n} rows are too few to draw subsamples of: 8 at least.")
    clusters, strata_of = _units(n, strata, groups)
    members = [np.flatnonzero(strata_of == h) for h in range(strata_of.max() + 1)]
    counts = np.array([len(m) for m in members])
    grid = _sizes(sizes, counts, least, advice)
    if not np.all(np.isfinite(estimate)):
        raise ValueError(
            f"the statistic of all rows is {np.squeeze(estimate)}, not finite."
        )
    # None is seed 0, so that a refit gives the same interval.
    seeds = check_random_state(0 if random_state is None else random_state)
    seed = int(seeds.randint(np.iinfo(np.int32).max))
    tasks = [
        (k, range(r, min(r + _CHUNK, n_subsamples)), _allocate(int(b), counts))
        for k, b in enumerate(grid)
        for r in range(0, n_subsamples, _CHUNK)
    ]
    jobs = (
        delayed(_evaluate)(statistic, len(estimate), clusters, members, seed, *task)
        for task in tasks
    )
    parts = run_jobs(jobs, n_jobs, "subsamples")
    values = np.concatenate([part for part, _ in parts])
    values = values.reshape(len(grid), n_subsamples, len(estimate))
    reasons = [reasons for _, reasons in parts]
    first = _first_usable(values, grid, reasons, tasks, advice)
    return Subsamples(estimate, values[first:], grid[first:], len(strata_of))


def _allocate(size: int, counts: IntArray) -> IntArray:
    """Split a size over strata by their shares, by largest remainders."""
    exact = size * counts / counts.sum()
    out = np.floor(exact).astype(np.intp)
    missing = size - out.sum()
    out[np.argsort(out - exact, kind="stable")[:missing]] += 1
    return out


def _evaluate(
    statistic: Callable[[IntArray], Any],
    n_values: int,
    clusters: list[IntArray] | None,
    members: list[IntArray],
    seed: int,
    k: int,
    numbers: range,
    sizes: IntArray,
) -> tuple[FloatArray, list[str]]:
    """Return statistics of the numbered subsamples of size k, NaN with a reason."""
    values, reasons = np.full((len(numbers), n_values), np.nan), []
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
                value = np.asarray(statistic(np.sort(drawn)), dtype=float)
            except ValueError as error:
                reasons.append(str(error))
                continue
            if np.all(np.isfinite(value)):
                values[i] = value
            else:
                reasons.append(f"the statistic was {value}")
    return values, reasons


def _first_usable(
    values: FloatArray,
    grid: IntArray,
    reasons: list[list[str]],
    tasks: list[Any],
    advice: str,
) -> int:
    """Return the first size from which on few subsamples failed."""
    failed = np.isnan(values[:, :, 0]).sum(axis=1)
    bad = np.flatnonzero(failed > _MOST_FAILED * values.shape[1])
    first = int(bad[-1]) + 1 if len(bad) else 0
    if len(grid) - first < min(len(grid), 2 * WINDOW + 1):
        k = first - 1
        reason = next(r[0] for r, task in zip(reasons, tasks) if r and task[0] == k)
        raise ValueError(
            f"the statistic failed on {failed[k]} of {values.shape[1]} subsamples of "
            f"size {grid[k]}, more than {_MOST_FAILED:.0%}. First reason: {reason} "
            f"{advice}"
        )
    return first


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


def _sizes(
    sizes: Sequence[int] | None, counts: IntArray, wanted: float, advice: str
) -> IntArray:
    """Return the checked grid of subsample sizes for strata of these many units."""
    n_units = int(counts.sum())
    # Shares are kept, so the smallest stratum says how small a subsample may be.
    least = int(np.ceil(_FEWEST_IN_STRATUM * n_units / counts.min()))
    if sizes is None:
        start = max(np.sqrt(n_units), least, np.ceil(wanted))
        top = max(_WIDEST * np.sqrt(n_units), 2 * start)
        top = min(top, _LARGEST_SHARE * n_units)
        grid = np.unique(np.linspace(start, top, _GRID).astype(int))
        if top < start or len(grid) <= 2 * WINDOW:
            least_stratum = f", {counts.min()} in the smallest stratum,"
            raise ValueError(
                f"{n_units} units{least_stratum if len(counts) > 1 else ''} are too "
                f"few for a grid of subsample sizes from {start:.0f} on. {advice}"
            )
        return grid
    grid = np.asarray(sizes)
    if grid.ndim != 1 or grid.dtype.kind not in "iu" or np.any(np.diff(grid) <= 0):
        raise ValueError(f"sizes must be increasing integers, got {sizes!r}.")
    if len(grid) != 1 and len(grid) <= 2 * WINDOW:
        raise ValueError(
            f"sizes holds {len(grid)}: give one, or at least {2 * WINDOW + 1} for the "
            "minimum-volatility rule to choose from."
        )
    if grid[0] < least or grid[-1] >= n_units:
        raise ValueError(
            f"sizes must lie between {least} (two of the smallest stratum, at its "
            f"share) and {n_units - 1} (below the number of units), got {grid[0]} to "
            f"{grid[-1]}."
        )
    return grid
