"""The arcsine kernel: its integral, its features."""

import numpy as np
import pytest
from scipy.special import erf

from causalweights.moments._sigmoid_kernel import (
    sigmoid_features,
    sigmoid_kernel,
    sigmoid_variance,
)


@pytest.mark.parametrize("d", [1, 3])
def test_kernel_is_the_covariance_of_random_units(d):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(4, d)), 3.0 * rng.normal(size=(3, d))
    b, w = rng.normal(size=400_000), rng.normal(size=(d, 400_000))
    left, right = erf(b + X @ w), erf(b + Y @ w)
    # Products of units are below one, so that the mean's error is below 1 / sqrt(n).
    np.testing.assert_allclose(
        sigmoid_kernel(X, Y), left @ right.T / len(b), atol=4 / np.sqrt(len(b))
    )


def test_variance_is_the_diagonal():
    X = np.array([[0.0, 0.0], [1.0, -2.0], [40.0, 3.0], [1e9, 0.0]])
    np.testing.assert_allclose(
        sigmoid_variance(X), np.diag(sigmoid_kernel(X, X)), rtol=1e-7
    )
    assert sigmoid_variance(X)[0] == pytest.approx(2 / np.pi * np.arcsin(2 / 3))
    assert sigmoid_variance(X)[-1] == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(("n", "d"), [(200, 1), (60, 4)])
def test_features_make_up_the_kernel(n, d):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, d))
    Phi, mapping = sigmoid_features(X, 200)
    np.testing.assert_allclose(Phi @ Phi.T, sigmoid_kernel(X, X), atol=1e-9)
    np.testing.assert_allclose(mapping.transform(X), Phi, atol=1e-5)
    if d == 1:  # few directions: it is smooth
        assert Phi.shape[1] < 40


def test_few_features_are_nystroms():
    rng = np.random.default_rng(2)
    X, new = rng.normal(size=(150, 3)), rng.normal(size=(5, 3))
    Phi, mapping = sigmoid_features(X, 20)
    S = mapping.landmarks
    assert len(S) == Phi.shape[1] == 20
    cross = sigmoid_kernel(new, S)
    projected = cross @ np.linalg.solve(sigmoid_kernel(S, S), cross.T)
    phi = mapping.transform(new)
    np.testing.assert_allclose(phi @ phi.T, projected, atol=1e-9)
