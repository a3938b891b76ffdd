"""Overlap of the arms in a propensity or any other score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from causalweights._typing import FloatArray
from causalweights.diagnostics._samples import WeightedArms, collect_arms

if TYPE_CHECKING:
    import pandas as pd


def overlap_summary(
    scores: ArrayLike,
    treatment: ArrayLike,
    weights: Any = None,
    *,
    sample_weight: ArrayLike | None = None,
    control: Any = None,
    quantiles: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95),
) -> pd.DataFrame:
    """Compare the arms' distributions of a score, and count rows without counterparts.

    The common support of a score runs from the largest of the arms' minima to the
    smallest of their maxima. Weights cannot represent a row outside it by rows of every
    arm; its effect is an extrapolation.

    Parameters
    ----------
    scores : array-like of shape (n,) or (n, S)
        Propensity of the treatment, its logit, or another score; several columns (such
        as the propensity of each of K arms) are summarised one by one.
    treatment : array-like of shape (n,)
        Label of each row's arm.
    weights : array-like of shape (n,), fitted weighter or None, default=None
        Weights for the quantiles and the share of weight outside the support; the
        support itself is that of the rows of positive ``sample_weight``.
    sample_weight : array-like of shape (n,) or None, default=None
        Sampling or frequency weights; rows of weight zero are left out.
    control : label or None, default=None
        Needed for string labels only.
    quantiles : sequence of float, default=(0.05, 0.25, 0.5, 0.75, 0.95)
        Levels of the (weighted) quantiles: the smallest score with at least this share
        of the weight at or below it.

    Returns
    -------
    DataFrame
        One row an arm (indexed by score and arm where there are several scores): ``n``,
        ``min``, the quantiles ``q05``, ..., ``max``, ``n_outside`` (rows outside the
        common support), ``share_outside`` (their share of the arm's weight).
        ``attrs["support"]`` is a list with the ends of each score's support,
        ``attrs["n_outside"]`` the rows outside the support of some score,
        ``attrs["share_outside"]`` their share of all rows' sampling weight.

    Notes
    -----
    The support is empty (its lower end above its upper end) where a score separates two
    arms: every row then counts as outside.

    Examples
    --------
    >>> from causalweights.diagnostics import overlap_summary
    >>> table = overlap_summary([0.1, 0.3, 0.5, 0.4, 0.6, 0.9], [0, 0, 0, 1, 1, 1])
    >>> table[["n", "min", "q50", "max", "n_outside"]]
         n  min  q50  max  n_outside
    arm
    0    3  0.1  0.3  0.5          2
    1    3  0.4  0.6  0.9          2
    >>> table.attrs["support"], table.attrs["n_outside"]
    ([(0.4, 0.5)], 4)
    """
    import pandas as pd

    matrix = _check_scores(scores)
    levels = _check_quantiles(quantiles)
    samples = collect_arms(
        treatment,
        weights,
        sample_weight=sample_weight,
        estimand="ate",
        control=control,
        X=scores,
    )
    if len(matrix) != len(samples.rows):
        raise ValueError(
            f"scores has {len(matrix)} rows, treatment {len(samples.rows)}: pass one "
            "score a row."
        )
    matrix = matrix[samples.rows]
    arms = samples.arms
    records, supports = [], []
    outside = np.zeros(len(matrix), dtype=bool)
    for score in matrix.T:
        low, high = common_support(score, samples)
        beyond = (score < low) | (score > high) | (low > high)
        records += _records(score, samples, beyond, levels)
        supports.append((low, high))
        outside |= beyond
    labels = [arms.label(k) for k in range(arms.n_arms)]
    if np.ndim(scores) == 1:
        index = pd.Index(labels, name="arm")
    else:
        product = [list(getattr(scores, "columns", range(matrix.shape[1]))), labels]
        index = pd.MultiIndex.from_product(product, names=["score", "arm"])
    table = pd.DataFrame(records, index=index)
    s = samples.before
    table.attrs["support"] = supports
    table.attrs["n_outside"] = int(outside.sum())
    table.attrs["share_outside"] = float(s[outside].sum() / s.sum())
    return table


def common_support(score: FloatArray, samples: WeightedArms) -> tuple[float, float]:
    """Return the ends of the range that every arm covers."""
    arms = samples.arms
    by_arm = [score[arms.codes == k] for k in range(arms.n_arms)]
    return float(max(v.min() for v in by_arm)), float(min(v.max() for v in by_arm))


def weighted_quantile(
    values: FloatArray, weights: FloatArray, levels: Sequence[float]
) -> FloatArray:
    """Return the smallest values with at least these shares of the weight below."""
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weights[order])
    # A level that rounding has pushed past a step belongs to that step.
    share = share / share[-1] * (1 + 4 * np.finfo(np.float64).eps)
    position = np.searchsorted(share, levels, side="left")
    return values[order][np.minimum(position, len(values) - 1)]


def _records(
    score: FloatArray,
    samples: WeightedArms,
    beyond: np.ndarray,
    levels: Sequence[float],
) -> list[dict[str, float]]:
    total = samples.before if samples.after is None else samples.after
    records = []
    for k in range(samples.arms.n_arms):
        rows = samples.arms.codes == k
        values, weights, out = score[rows], total[rows], beyond[rows]
        record: dict[str, float] = {"n": len(values), "min": float(values.min())}
        cuts = weighted_quantile(values, weights, levels)
        for level, cut in zip(levels, cuts):
            record[f"q{round(100 * level, 6):02g}"] = float(cut)
        record["max"] = float(values.max())
        record["n_outside"] = int(out.sum())
        record["share_outside"] = float(weights[out].sum() / weights.sum())
        records.append(record)
    return records


def _check_scores(scores: Any) -> FloatArray:
    matrix = np.asarray(scores, dtype=np.float64)
    if matrix.ndim not in (1, 2) or matrix.size == 0:
        raise ValueError(f"scores must be a vector or matrix, got {matrix.shape}.")
    if not np.all(np.isfinite(matrix)):
        raise ValueError(
            "scores contain NaN or infinity: a propensity of 0 or 1 has no logit; pass "
            "the propensity itself."
        )
    return matrix.reshape(len(matrix), -1)


def _check_quantiles(quantiles: Sequence[float]) -> list[float]:
    levels = [float(q) for q in quantiles]
    if not all(0 < q < 1 for q in levels):
        raise ValueError(f"quantiles must lie between 0 and 1, got {levels}.")
    return levels
