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


@pytest.fixture(scope="session")
def shifted():
    """Return ``(design, seed, n=200) -> (X, y, X_target, y_target, h)`` of A or B.

    B: x1 uniform on (-2, 1) in the source and (-1, 2) in the target. h (n, 2) holds the
    probabilities of the target rows' labels.
    """

    def score_a(x):
        return 3 * (x[:, 0] + 0.5 * x[:, 1] ** 2 - 0.7)

    def score_b(x):
        return 4 * np.sin(1.5 * x[:, 0]) + x[:, 1]

    def make(design, seed, n=200):
        rng = np.random.default_rng(seed)
        if design == "A":
            X = rng.normal(size=(n, 2))
            target = np.array([1.0, 0.5]) + 0.8 * rng.normal(size=(n, 2))
        else:
            X, target = (
                np.column_stack([rng.uniform(*ends, size=n), rng.normal(size=n)])
                for ends in ((-2, 1), (-1, 2))
            )
        score = score_a if design == "A" else score_b
        p, p_target = (1 / (1 + np.exp(-score(x))) for x in (X, target))
        y, y_target = ((rng.random(n) < q).astype(int) for q in (p, p_target))
        return X, y, target, y_target, np.column_stack([1 - p_target, p_target])

    return make


@pytest.fixture(scope="session")
def three_classes():
    """Return ``(n, seed, t=None) -> (X, y, X_target)`` with three classes, d = 2."""

    def make(n, seed, t=None):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n, 2))
        target = np.array([0.7, -0.3]) + 0.8 * rng.normal(size=(t or n, 2))
        utility = X @ np.array([[1.0, -1.0, 0.0], [0.0, 0.5, -1.0]]) * 1.5
        return X, np.argmax(utility + rng.gumbel(size=(n, 3)), axis=1), target

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


@pytest.fixture(scope="session")
def minimax_arrays():
    """Return ``(n, D, seed=0) -> [(weighted, shares, tau), ...]``, one for each D.

    Design A with labels, P(1) = 1 / (1 + exp(-3 (x1 + x2^2 / 2 - .7))), features 1, x.
    """

    def make(n, D, seed=0):
        rng = np.random.default_rng(seed)
        source = rng.normal(size=(n, 2))
        target = np.array([1.0, 0.5]) + 0.8 * rng.normal(size=(n, 2))
        score = 3 * (source[:, 0] + 0.5 * source[:, 1] ** 2 - 0.7)
        labels = (rng.random(n) < 1 / (1 + np.exp(-score))).astype(int)
        kernel = Gaussian(neighbor_distance(np.vstack([source, target])))
        path = MatchingProblem(source, target, kernel).path(D)
        x, w = (np.column_stack([np.ones(n), rows]) for rows in (source, target))
        return [
            (
                solution.alpha[:, None] * w,
                np.full(n, 1 / n),
                np.stack([(solution.beta * (labels == y)) @ x / n for y in (0, 1)]),
            )
            for solution in path.solutions
        ]

    return make


@pytest.fixture(scope="session")
def random_moments():
    """Return ``(seed, C, t, m, off=0.2) -> (weighted, shares, tau)``.

    Unequal shares, rows without weight, features of different scales; moments that
    labels have, times up to 1 + off either way.
    """

    def make(seed, n_classes, t, m, off=0.2):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(t, m)) * np.logspace(-1, 1, m)
        x[:, 0] = 1.0
        weighted = np.where(rng.random(t) < 0.1, 0.0, rng.random(t))[:, None] * x
        shares = rng.dirichlet(np.full(t, 2.0))
        q = rng.dirichlet(np.full(n_classes, 0.5), t)
        tau = (q * shares[:, None]).T @ weighted
        return weighted, shares, tau * rng.uniform(1 - off, 1 + off, tau.shape)

    return make


@pytest.fixture(scope="session")
def label_set():
    """Return ``(weighted, shares, tau, lam) -> (p, constraints)`` of cvxpy.

    p (t, C) holds masses of rows and labels, with moments within lam of tau.
    """
    import cvxpy as cp

    def make(weighted, shares, tau, lam):
        p = cp.Variable((len(shares), len(tau)), bounds=[0.0, 1.0])
        distance = p.T @ weighted - tau
        return p, [cp.sum(p, axis=1) == shares, cp.abs(distance) <= lam]

    return make
