"""Designs of shifted samples."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from causalweights.kernels import Gaussian
from causalweights.shift import MatchingProblem
from causalweights.shift._bandwidth import neighbor_distance


@pytest.fixture(scope="session")
def design_a():
    """Return ``(n, seed, t=None) -> (source, target)``: N(0, I), N((1, 1/2), .64 I)."""

    def make(n, seed, t=None):
        rng = np.random.default_rng(seed)
        source = rng.normal(size=(n, 2))
        return source, np.array([1.0, 0.5]) + 0.8 * rng.normal(size=(t or n, 2))

    return make


@pytest.fixture(scope="session")
def problem(design_a):
    """Return ``(n, seed=0, t=None, **options) -> MatchingProblem`` of design A."""

    def make(n, seed=0, t=None, **options):
        source, target = design_a(n, seed, t)
        kernel = Gaussian(neighbor_distance(np.vstack([source, target])))
        return MatchingProblem(source, target, kernel, **options)

    return make


@pytest.fixture(scope="session")
def labelled(design_a):
    """Return ``(n, seed, t=None) -> (X, y, X_target)`` of design A, with classes."""

    def make(n, seed, t=None):
        source, target = design_a(n, seed, t)
        score = 3 * (source[:, 0] + 0.5 * source[:, 1] ** 2 - 0.7)
        draws = np.random.default_rng(seed + 1000).random(n)
        return source, (draws < 1 / (1 + np.exp(-score))).astype(int), target

    return make


@pytest.fixture
def both(labelled):
    """Return the same data in both styles, target rows mixed with source rows.

    X, y, X_target; then pooled X and y (target's masked by -1) and sample_domain.
    """
    X, y, target = labelled(90, 0, 60)
    order = np.random.default_rng(5).permutation(150)
    domain = np.repeat([1, -1], [90, 60])[order]
    masked = np.concatenate([y, np.full(60, -1)])[order]
    pooled = np.vstack([X, target])[order]
    rows = order[domain == 1], order[domain == -1] - 90
    separate = {"X": X[rows[0]], "y": y[rows[0]], "X_target": target[rows[1]]}
    return separate, {"X": pooled, "y": masked, "sample_domain": domain}


class Nothing(BaseEstimator):
    """A weighter that gives no row any weight."""

    def fit(self, X, y=None, *, X_target=None):
        self.beta_ = np.zeros(len(X))
        return self

    def predict_weights(self, X):
        return np.zeros(len(X))


@pytest.fixture
def nothing():
    return Nothing()
