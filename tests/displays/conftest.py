"""Data with known imbalance, and the least a fitted weighter has."""

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")


class StandIn:
    """The attributes that every fitted weighter stores, for an ATT."""

    estimand_, control_, focal_ = "att", 0, 1
    weight_type = "sampling"

    def __init__(self, weights, treatment):
        self.weights_ = np.where(treatment == 1, 1.0, weights)
        for label in (0, 1):
            rows = treatment == label
            self.weights_[rows] /= self.weights_[rows].mean()
        counts = np.bincount(treatment)
        self.masses_ = self.weights_ / counts[treatment]
        self.target_masses_ = (treatment == 1) / counts[1]


@pytest.fixture
def data(rng):
    """Return covariates, arm and positive weights."""
    X = rng.normal(size=(150, 4))
    treatment = (rng.random(150) < 1 / (1 + np.exp(-X[:, 0]))).astype(int)
    return X, treatment, rng.exponential(size=150)


@pytest.fixture
def weighter(data):
    """Return a fitted stand-in whose control weights are drawn at random."""
    _, treatment, weights = data
    return StandIn(weights, treatment)
