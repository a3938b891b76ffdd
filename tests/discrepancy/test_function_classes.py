"""Suprema of function classes: closed forms, brute force, and what they promise."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from causalweights.discrepancy import (
    HalfSpaces,
    MeanDifferences,
    ReLU,
    Sigmoid,
    kolmogorov_smirnov,
    supremum,
)


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 3)), rng.normal(0.4, 1.2, size=(50, 3))


def brute(cls, X, Y, draws=20_000):
    """The largest difference over many random parameters, by the definition."""
    rng = np.random.default_rng(1)
    radius = np.sqrt((np.vstack([X, Y]) ** 2).sum(axis=1).max())
    theta = rng.normal(size=(draws, X.shape[1]))
    theta /= np.linalg.norm(theta, axis=1, keepdims=True)
    theta *= cls.bound * np.where(rng.random((draws, 1)) < 0.7, 1.0, rng.random())
    b = rng.uniform(-1, 1, draws) * cls.bound * radius

    def mean(Z):
        eta = Z @ theta.T + b
        values = np.maximum(eta, 0) if isinstance(cls, ReLU) else 1 / (1 + np.exp(-eta))
        return values.mean(axis=0)

    return np.abs(mean(X) - mean(Y)).max()


@pytest.mark.parametrize("cls", [Sigmoid(), Sigmoid(4.0), ReLU(), ReLU(0.5)])
def test_search_beats_random_functions(cls, samples):
    X, Y = samples
    found = supremum(cls, X, Y)
    assert not found.exact
    assert found.value >= brute(cls, X, Y) - 1e-9
    # It is attained by a function of the class.
    radius = np.sqrt((np.vstack([X, Y]) ** 2).sum(axis=1).max())
    assert np.linalg.norm(found.parameters[:-1]) <= cls.bound * (1 + 1e-12)
    assert abs(found.parameters[-1]) <= cls.bound * radius * (1 + 1e-12)
    values = cls.resolve(np.vstack([X, Y]), None).evaluate
    pair = [values(Z, found.parameters[None]).mean() for Z in (X, Y)]
    assert_allclose(abs(pair[0] - pair[1]), found.value, rtol=1e-12)


def test_one_dimensional_relu_is_found_on_a_grid():
    rng = np.random.default_rng(2)
    X, Y = rng.normal(size=(40, 1)), rng.exponential(size=(30, 1))
    grid = np.unique(np.concatenate([X, Y]))
    gaps = [
        abs(np.maximum(s * (X - t), 0).mean() - np.maximum(s * (Y - t), 0).mean())
        for t in grid
        for s in (-1, 1)
    ]
    found = supremum(ReLU(), X, Y)
    assert_allclose(found.value, max(gaps), rtol=1e-9)


def test_a_larger_bound_finds_more(samples):
    values = [supremum(Sigmoid(b), *samples).value for b in (0.3, 1.0, 3.0, 10.0)]
    assert np.all(np.diff(values) > 0)


def test_half_spaces_along_coordinates_are_kolmogorov_smirnov(samples):
    X, Y = samples
    rng = np.random.default_rng(3)
    X = X.round(1)  # ties
    a, b = rng.random(60), rng.random(50)
    found = supremum(HalfSpaces(), X, Y, x_weights=a, y_weights=b)
    expected = [kolmogorov_smirnov(X[:, j], Y[:, j], a, b) for j in range(3)]
    assert found.exact
    assert_allclose(found.value, max(expected), rtol=1e-12)


def test_random_directions_see_a_joint_difference():
    rng = np.random.default_rng(4)
    Z = rng.normal(size=(4000, 2))
    X = Z @ np.linalg.cholesky([[1, 0.8], [0.8, 1]]).T
    Y = rng.normal(size=(4000, 2))
    plain = supremum(HalfSpaces(), X, Y).value
    assert supremum(HalfSpaces(50), X, Y, random_state=0).value > 3 * plain


def test_mean_differences_are_the_largest(samples):
    X, Y = samples
    gaps = np.abs(X.mean(axis=0) - Y.mean(axis=0))
    found = supremum(MeanDifferences(), X, Y)
    assert found.exact and found.value == pytest.approx(gaps.max(), rel=1e-12)


@pytest.mark.parametrize("cls", [Sigmoid(), ReLU(), HalfSpaces(3), MeanDifferences()])
def test_equal_samples_differ_by_nothing_and_seeds_repeat(cls, samples):
    X, Y = samples
    assert supremum(cls, X, X).value == pytest.approx(0.0, abs=1e-12)
    first, again = (supremum(cls, X, Y, random_state=7) for _ in range(2))
    assert first.value == again.value
    np.testing.assert_array_equal(first.parameters, again.parameters)


def test_bad_options_are_refused(samples):
    X, Y = samples
    for bad in (Sigmoid, ReLU):
        with pytest.raises(ValueError, match="bound must be positive"):
            bad(0.0)
    with pytest.raises(ValueError, match="n_directions must be 0 or more"):
        HalfSpaces(-1)
    with pytest.raises(ValueError, match="same covariates"):
        supremum(Sigmoid(), X, Y[:, :2])
