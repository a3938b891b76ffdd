"""Predictions of several models made comparable: ranks and centres within folds.

A model that left out rows of high outcomes predicts low effects for them. Compared over
folds, that turns the ranking against the truth.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from causalweights._typing import FloatArray


def mid_ranks(values: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the weight of smaller values plus half of that of equal ones, (n,).

    Ties share a rank, and whole-number weights are copies.
    """
    _, block = np.unique(values, return_inverse=True)
    share = np.bincount(block, weights=weight)
    return (np.cumsum(share) - share / 2)[block]


def ranks_within(effects: FloatArray, folds: Any, weight: FloatArray) -> FloatArray:
    """Return ranks in (0, 1) within each fold; for None the effects as they are."""
    out = effects.copy()
    for own in _members(folds, len(effects)):
        total = weight[own].sum()
        out[own] = mid_ranks(effects[own], weight[own]) / total if total > 0 else 0.5
    return out


def centered_within(effects: FloatArray, folds: Any, weight: FloatArray) -> FloatArray:
    """Return effects whose mean in each fold is the overall mean; None: unchanged."""
    out = effects.copy()
    overall = np.average(effects, weights=weight)
    for own in _members(folds, len(effects)):
        if weight[own].sum() > 0:
            out[own] += overall - np.average(effects[own], weights=weight[own])
    return out


def _members(folds: Any, n: int) -> list[np.ndarray]:
    if folds is None:
        return []
    labels = np.asarray(folds)
    if labels.shape != (n,):
        raise ValueError(
            f"folds must hold one label a row, shape ({n},); got shape {labels.shape}."
        )
    codes = np.unique(labels, return_inverse=True)[1]
    return [codes == k for k in range(codes.max() + 1)]
