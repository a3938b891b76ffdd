"""Kernels of drawn features, and the bandwidth of the largest variance."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.distance import pdist

from causalweights import IPMBalancer
from causalweights.discrepancy import squared_mmd
from causalweights.kernels import (
    Gaussian,
    Laplace,
    Matern,
    MeanSigmoid,
    RandomFourier,
    largest_variance_bandwidth,
    median_distance,
)

KERNELS = [MeanSigmoid(300, bound=2.0), RandomFourier(300, kernel=Gaussian(1.5))]


@pytest.mark.parametrize("kernel", KERNELS)
def test_gram_is_the_features_inner_product(kernel, two_samples):
    X, Y, *_ = two_samples(40, 30, 3)
    fixed = kernel.resolve(np.vstack([X, Y]))
    phi, psi = fixed.features.transform(X), fixed.features.transform(Y)
    assert_allclose(fixed(X, Y), phi @ psi.T, atol=1e-13)
    assert_allclose(kernel(X, Y), fixed(X, Y), atol=1e-13)
    assert np.linalg.matrix_rank(fixed(X)) <= 300
    copy = pickle.loads(pickle.dumps(fixed))
    np.testing.assert_array_equal(copy(X), fixed(X))


def test_the_discrepancy_is_the_mean_of_squared_differences(two_samples):
    X, Y, *_ = two_samples(50, 60, 2)
    fixed = MeanSigmoid(500).resolve(np.vstack([X, Y]))
    theta, b = fixed.features.theta, fixed.features.b
    assert_allclose(np.linalg.norm(theta, axis=1), 1.0)
    assert np.abs(b).max() <= np.linalg.norm(np.vstack([X, Y]), axis=1).max()
    gaps = [
        np.mean(1 / (1 + np.exp(-(X @ t + c))))
        - np.mean(1 / (1 + np.exp(-(Y @ t + c))))
        for t, c in zip(theta, b, strict=True)
    ]
    squared = squared_mmd(fixed, X, Y)
    assert_allclose(squared, np.mean(np.square(gaps)), rtol=1e-9)


def test_random_fourier_discrepancies_average_to_the_kernels(two_samples):
    X, Y, *_ = two_samples(60, 60, 2)
    kernel = Gaussian(1.0)
    draws = [
        squared_mmd(
            RandomFourier(100, kernel=kernel).resolve(X, random_state=seed), X, Y
        )
        for seed in range(200)
    ]
    truth = squared_mmd(kernel, X, Y)
    assert abs(np.mean(draws) - truth) < 4 * np.std(draws) / np.sqrt(200)


@pytest.mark.parametrize("kernel", KERNELS)
def test_balancing_is_exact_seeded_and_extends_to_new_rows(kernel):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 3))
    a = (X[:, 0] + rng.normal(size=150) > 0).astype(int)
    options = dict(discriminator=kernel, ridge=1e-3)
    fits = [IPMBalancer(**options, random_state=s).fit(X, a) for s in (0, 0, 1)]
    assert fits[0].converged_ and fits[0].relative_gap_ < 1e-8
    np.testing.assert_array_equal(fits[0].weights_, fits[1].weights_)
    assert np.abs(fits[0].weights_ - fits[2].weights_).max() > 1e-3
    assert_allclose(fits[0].predict_weights(X, a), fits[0].weights_, atol=1e-7)
    # The kernel of the fit is that of the features at the standardised rows.
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    means = fits[0].kernel_.features.transform(Z)
    masses = [np.where(a == k, fits[0].masses_, 0) for k in (0, 1)]
    masses.append(np.full(150, 1 / 150))
    pairs = [masses[i] - masses[j] for i, j in ((0, 2), (1, 2), (0, 1))]
    total = sum(np.sum((p @ means) ** 2) for p in pairs)
    assert_allclose(fits[0].discrepancy_, total, rtol=1e-8)


def test_feature_kernels_refuse_what_they_cannot_do():
    for bad in (lambda: MeanSigmoid(0), lambda: RandomFourier(2.5)):
        with pytest.raises(ValueError, match="n_features must be a positive integer"):
            bad()
    with pytest.raises(ValueError, match="bound must be positive"):
        MeanSigmoid(bound=0.0)
    with pytest.raises(ValueError, match="cannot be a part of a sum"):
        (MeanSigmoid() + Gaussian(1.0))(np.eye(3))
    with pytest.raises(ValueError, match="even integer"):
        RandomFourier(3, kernel=Gaussian(1.0))(np.eye(3))


@pytest.mark.parametrize(
    ("family", "metric", "profile"),
    [
        (Gaussian, "sqeuclidean", lambda D, h: np.exp(-D / (2 * h**2))),
        (Laplace, "cityblock", lambda D, h: np.exp(-D / h)),
        (Matern, "euclidean", lambda D, h: (1 + D / h) * np.exp(-D / h)),
    ],
)
def test_maxvar_beats_every_bandwidth_on_a_fine_grid(family, metric, profile):
    X = np.random.default_rng(0).normal(size=(150, 4)) * [1, 2, 0.5, 1]
    D = pdist(X, metric)
    h = family(bandwidth="maxvar").resolve(X).bandwidth
    grid = h * np.exp(np.linspace(-4, 4, 801))
    best = max(np.var(profile(D, g)) for g in grid)
    assert np.var(profile(D, h)) >= best * (1 - 1e-9)


def test_maxvar_scales_with_the_rows_and_repeats():
    X = np.random.default_rng(1).normal(size=(2500, 2))
    h = Gaussian(bandwidth="maxvar").resolve(X).bandwidth
    assert h == Gaussian(bandwidth="maxvar").resolve(X, random_state=0).bandwidth
    other = Gaussian(bandwidth="maxvar").resolve(X, random_state=1).bandwidth
    assert other != h and abs(np.log(other / h)) < 0.1
    assert_allclose(
        Gaussian(bandwidth="maxvar").resolve(7 * X).bandwidth, 7 * h, rtol=1e-3
    )
    same = np.ones((20, 2))
    assert Gaussian(bandwidth="maxvar").resolve(same).bandwidth == np.sqrt(0.5)


def test_maxvar_is_an_option_of_the_balancer():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(120, 3))
    a = rng.integers(0, 2, 120)
    fit = IPMBalancer(discriminator="gaussian", bandwidth="maxvar").fit(X, a)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    expected = largest_variance_bandwidth(
        lambda h, rows: Gaussian(bandwidth=h)(rows), Z, np.sqrt(median_distance(Z) / 2)
    )
    assert_allclose(fit.bandwidth_, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="'maxvar'"):
        Gaussian(bandwidth="largest")
