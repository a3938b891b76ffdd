"""Bootstrap of moment estimators, percentile-t with recentred moments.

Hall and Horowitz (1996): pairs are drawn with replacement, and their moments are
recentred so that the estimate satisfies them in the sample that is drawn from, also
where there are more moments than parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from causalweights._blas import single_blas_thread
from causalweights._typing import FloatArray, IntArray
from causalweights.inference._subsamples import QUANTILE
from causalweights.moments._data import MomentData
from causalweights.moments._models import MomentModel

# Dropping failures conditions on success; beyond this share the law is another one.
_MOST_FAILED = 0.05
# Draws of one task: large enough to hide the cost of sending it.
_CHUNK = 25

Refit = Callable[[MomentModel, MomentData], tuple[FloatArray, FloatArray]]


class RecenteredModel(MomentModel):
    """A model less what the instruments explain of its residuals at an estimate.

    Parameters
    ----------
    model : MomentModel
    shift : ndarray of shape (n, r)
        Of each row of the data that it will see.
    theta : ndarray of shape (p,)
        The estimate, to start from.
    """

    def __init__(
        self, model: MomentModel, shift: FloatArray, theta: FloatArray
    ) -> None:
        self.model, self.shift, self.theta = model, shift, theta
        self.conditional, self.linear = model.conditional, model.linear

    def residual(self, theta: FloatArray, data: MomentData) -> FloatArray:
        return self.model.residual(theta, data) - self.shift

    def residual_jac(self, theta: FloatArray, data: MomentData) -> FloatArray:
        return self.model.residual_jac(theta, data)

    def start(self, data: MomentData) -> FloatArray:
        return self.theta


def explained_residual(
    residual: FloatArray, B: FloatArray, weight: FloatArray
) -> FloatArray:
    """Return the weighted regression of residuals (n, r) on B (n, L), (n, r).

    Residuals less it have mean zero times every column of B. For B one this is their
    mean.
    """
    root = np.sqrt(weight)[:, None]
    return B @ np.linalg.lstsq(root * B, root * residual)[0]


def whole_copies(copies: FloatArray) -> IntArray:
    """Return how many rows each row stands for, (n,).

    Raises
    ------
    ValueError
        For numbers that are not whole.
    """
    counts = np.round(copies).astype(np.intp)
    if np.any(counts != copies):
        raise ValueError(
            "the bootstrap draws copies of rows: frequency weights must be whole "
            "numbers."
        )
    return counts


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """What a bootstrap draws: rows, or clusters.

    Attributes
    ----------
    rows : list of ndarray
        Rows of each unit.
    clustered : bool
    """

    rows: Sequence[IntArray]
    clustered: bool

    @classmethod
    def of(cls, data: MomentData) -> Units:
        """Return the units of a sample.

        Raises
        ------
        ValueError
            For frequency weights that do not count.
        """
        positions = np.repeat(np.arange(len(data.y)), whole_copies(data.copies))
        if data.groups is None:
            return cls(list(positions[:, None]), False)
        labels = data.groups[positions]
        order = np.argsort(labels, kind="stable")
        starts = np.flatnonzero(np.diff(labels[order])) + 1
        return cls(np.split(positions[order], starts), True)

    def draw(
        self, data: MomentData, rng: np.random.Generator
    ) -> tuple[MomentData, IntArray]:
        """Return a sample of as many units, and the rows that it consists of."""
        drawn = rng.integers(len(self.rows), size=len(self.rows))
        parts = [self.rows[g] for g in drawn]
        rows = np.concatenate(parts)
        sample = data.take(rows)
        if data.weight_type == "frequency":
            sample = replace(sample, sample_weight=np.ones(len(rows)))
        if self.clustered:  # a cluster that is drawn twice is two clusters
            labels = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
            sample = replace(sample, groups=labels)
        return sample, rows


def bootstrap_t(
    refit: Refit,
    model: MomentModel,
    data: MomentData,
    theta: FloatArray,
    shift: FloatArray | None,
    *,
    n_boot: int = 999,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> FloatArray:
    """Return t statistics of bootstrap estimates, (n_boot less failures, p).

    Parameters
    ----------
    refit : callable
        Model and data to an estimate (p,) and its covariance (p, p).
    model : MomentModel
    data : MomentData
    theta : ndarray of shape (p,)
        Estimate of the sample.
    shift : ndarray of shape (n, r) or None
        Taken off the residuals, so that the sample meets the moments at the estimate.
    n_boot : int, default=999
    random_state : int, RandomState instance or None, default=None
        None is seed 0.
    n_jobs : int or None, default=None
        Processes; the draws do not depend on it.

    Raises
    ------
    ValueError
        Where more than a twentieth of the samples have no estimate.
    """
    if not isinstance(n_boot, Integral) or n_boot < 1:
        raise ValueError(f"n_boot must be a whole number from 1 on, got {n_boot!r}.")
    seeds = check_random_state(0 if random_state is None else random_state)
    seed = int(seeds.randint(np.iinfo(np.int32).max))
    units = Units.of(data)
    parts = Parallel(n_jobs=n_jobs)(
        delayed(_t_statistics)(
            refit, model, data, theta, shift, units, seed,
            range(r, min(r + _CHUNK, int(n_boot))),
        )
        for r in range(0, int(n_boot), _CHUNK)
    )  # fmt: skip
    found = np.concatenate([values for values, _ in parts])
    failed = np.isnan(found[:, 0])
    if failed.sum() > _MOST_FAILED * n_boot:
        reason = next(reasons[0] for _, reasons in parts if reasons)
        raise ValueError(
            f"{failed.sum()} of {n_boot} bootstrap samples have no estimate, more than "
            f"{_MOST_FAILED:.0%}. First reason: {reason}"
        )
    return found[~failed]


def _t_statistics(
    refit: Refit,
    model: MomentModel,
    data: MomentData,
    theta: FloatArray,
    shift: FloatArray | None,
    units: Units,
    seed: int,
    numbers: range,
) -> tuple[FloatArray, list[str]]:
    """Return the numbered t statistics, NaN with a reason."""
    values, reasons = np.full((len(numbers), len(theta)), np.nan), []
    with single_blas_thread:
        for i, r in enumerate(numbers):
            # A stream for each sample: the same draws in whatever task it falls.
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(r,)))
            sample, rows = units.draw(data, rng)
            own = model
            if shift is not None:
                own = RecenteredModel(model, shift[rows], theta)
            try:
                estimate, cov = refit(own, sample)
            except ValueError as error:  # LinAlgError is one
                reasons.append(str(error))
                continue
            variance = np.diagonal(cov)
            if np.all(variance > 0):
                values[i] = (estimate - theta) / np.sqrt(variance)
            else:
                reasons.append("a standard error is zero.")
    return values, reasons


def percentile_t(
    theta: FloatArray, se: FloatArray, draws: FloatArray, level: float
) -> FloatArray:
    """Return symmetric intervals, (p, 2): theta and se times the quantile of |t|.

    Their coverage is off by less than that of equal-tailed ones (Hall & Horowitz,
    1996): in 250 samples of a heteroskedastic model with n = 100, 0.94 and 0.92.
    """
    half = np.quantile(np.abs(draws), level, axis=0, method=QUANTILE) * se
    return np.column_stack([theta - half, theta + half])
