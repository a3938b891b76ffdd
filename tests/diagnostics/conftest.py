"""Data with known imbalance, and the least a fitted weighter has."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest


@dataclass
class StandIn:
    """The attributes that every fitted weighter stores."""

    weights_: np.ndarray
    masses_: np.ndarray
    target_masses_: np.ndarray
    estimand_: str
    control_: Any
    focal_: Any
    weight_type: str = "sampling"


@pytest.fixture
def stand_in():
    """Return a maker of weighters whose weights are as given."""

    def make(weights, treatment, *, sample_weight=None, estimand="ate", **fitted):
        treatment = np.asarray(treatment)
        s = np.ones(len(treatment)) if sample_weight is None else sample_weight
        masses, w = np.zeros(len(s)), np.zeros(len(s))
        for label in np.unique(treatment):
            rows = treatment == label
            total = np.asarray(s * weights, dtype=float)[rows]
            masses[rows] = total / total.sum()
            w[rows] = weights[rows] * s[rows].sum() / total.sum()
        control, focal = fitted.get("control", 0), fitted.get("focal", 1)
        chosen = {"att": treatment == focal, "atc": treatment == control}
        target = s * chosen.get(estimand, np.ones(len(s)))
        weight_type = fitted.get("weight_type", "sampling")
        return StandIn(
            w, masses, target / target.sum(), estimand, control, focal, weight_type
        )

    return make


@pytest.fixture
def data(rng):
    """Return covariates (two continuous, one binary, one constant), arm, weights."""
    n = 120
    X = np.column_stack(
        [
            rng.normal(size=n),
            rng.exponential(size=n),
            rng.integers(0, 2, size=n),
            np.full(n, 0.1),
        ]
    )
    treatment = (rng.random(n) < 1 / (1 + np.exp(-X[:, 0]))).astype(int)
    return X, treatment, rng.exponential(size=n)
