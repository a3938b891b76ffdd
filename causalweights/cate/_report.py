"""What a fitted effect regression stores, and what it warns of."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from causalweights.cate._first_stage import FirstStage
from causalweights.cate._second_stage import SecondStage

_MOST_CLIPPED, _MOST_DROPPED = 0.01, 0.05


def store_stages(estimator: Any, first: FirstStage, second: SecondStage) -> None:
    """Set the fitted attributes that show both stages."""
    given = np.flatnonzero(first.rows)
    plans = [cross.plan for cross in first.crosses]
    folds = np.full((len(plans), len(first.rows)), -1)
    for rep, plan in enumerate(plans):
        folds[rep, given] = plan.fold
    estimator.folds_ = _unstacked(folds)
    estimator.units_ = _unstacked([given[plan.units] for plan in plans])
    for name, values in (("pseudo_outcome_", "f"), ("weights_", "weight")):
        columns = [
            np.column_stack([getattr(one, values) for one in row])
            for row in second.targets
        ]
        single = [c[:, 0] if c.shape[1] == 1 else c for c in columns]
        setattr(estimator, name, _unstacked(single))
    models = [row[0] if len(row) == 1 else row for row in second.models]
    estimator.cate_models_ = models
    estimator.nuisances_ = {
        kind: np.mean([first.by_unit(rep, kind) for rep in range(len(plans))], 0)
        for kind in ("propensity", "means", "mean")
        if getattr(first.crosses[0], kind) is not None
    }
    estimator.n_clipped_ = first.n_clipped()
    estimator.n_dropped_ = sum(one.n_dropped for row in second.targets for one in row)


def _unstacked(values: Any) -> np.ndarray:
    """Return the only repetition's array, or all of them."""
    return np.asarray(values[0] if len(values) == 1 else values)


def warn_of(estimator: Any, first: FirstStage, second: SecondStage) -> None:
    """Warn of many clipped propensities and of many dropped rows."""
    total = sum(len(cross.plan.units) for cross in first.crosses)
    if estimator.n_clipped_ > _MOST_CLIPPED * total:
        share = estimator.n_clipped_ / total
        _warn(
            f"{share:.1%} of estimated propensities were outside [{first.clip:g}, "
            f"{1 - first.clip:g}] and were clipped: check overlap, or use a "
            "calibrated propensity_model."
        )
    rows = sum(len(one.f) for row in second.targets for one in row)
    if estimator.n_dropped_ > _MOST_DROPPED * rows:
        _warn(
            f"{estimator.n_dropped_ / rows:.1%} of rows weigh less than "
            f"min_relative_weight={estimator.min_relative_weight:g} of the mean and "
            "were dropped: the effect there is extrapolated."
        )


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=6)
