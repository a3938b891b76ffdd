"""Random Fourier features: their mean is the kernel, their diagonal exactly so."""

import pickle

import numpy as np
import pytest

from causalweights.kernels import (
    Energy,
    Gaussian,
    Laplace,
    Linear,
    Matern,
    Polynomial,
    random_fourier_features,
)

N_FREQUENCIES = 40_000
# An average of cosines has a standard deviation of at most one over the root of their
# number: five of these.
SAMPLING = 5 / np.sqrt(N_FREQUENCIES)
ROUNDING = 1e-12

ROTATING = {
    "gaussian": Gaussian(1.3),
    "bandwidths": Gaussian([0.5, 1.0, 4.0]),
    "matern 1/2": Matern(1.5, nu=0.5),
    "matern 3/2": Matern(0.8, nu=1.5),
    "matern 5/2": Matern([0.6, 1.0], nu=2.5),
    "sum": Gaussian(1.0) + Matern(2.0, nu=0.5),
    "product": Gaussian(2.0) * Matern(1.0, nu=1.5),
    "multiple": 0.7 * Gaussian(1.0),
}
KERNELS = {
    **ROTATING,
    "laplace": Laplace(2.5),
    "laplace bandwidths": Laplace([1.0, 3.0]),
    "compound": 0.5 * (Laplace(3.0) * Gaussian(2.0)) + 0.25 * Matern(1.0),
}


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
@pytest.mark.parametrize("d", [1, 3])
def test_the_mean_is_the_kernel(kernel, d, two_samples):
    X, Z = two_samples(6, 5, d)
    features = random_fourier_features(kernel, d, 2 * N_FREQUENCIES)
    phi, psi = features.transform(X), features.transform(Z)
    assert phi.shape == (6, 2 * N_FREQUENCIES)
    size = kernel(X)[0, 0]
    np.testing.assert_allclose(phi @ psi.T, kernel(X, Z), atol=SAMPLING * size)
    # Each feature pair has the same length everywhere.
    np.testing.assert_allclose(np.sum(phi**2, axis=1), size, rtol=ROUNDING)


@pytest.mark.parametrize("kernel", ROTATING.values(), ids=ROTATING)
def test_orthogonal_frequencies_have_the_same_mean(kernel, two_samples):
    X, Z = two_samples(6, 5, 4)
    features = random_fourier_features(kernel, 4, 2 * N_FREQUENCIES, orthogonal=True)
    error = features.transform(X) @ features.transform(Z).T - kernel(X, Z)
    assert np.max(np.abs(error)) <= SAMPLING * kernel(X)[0, 0]


def test_orthogonal_frequencies_are_orthogonal_and_vary_less(two_samples):
    X, _ = two_samples(30, 1, 6)
    kernel = Gaussian(3.0)
    w = random_fourier_features(kernel, 6, 28, orthogonal=True).frequencies
    assert w.shape == (14, 6)
    for start in (0, 6, 12):
        part = w[start : start + 6]
        inner = part @ part.T
        np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=ROUNDING)
    K, error = kernel(X), {True: 0.0, False: 0.0}
    for orthogonal in error:
        for seed in range(20):
            phi = random_fourier_features(
                kernel, X, 24, orthogonal=orthogonal, random_state=seed
            ).transform(X)
            error[orthogonal] += np.sum((phi @ phi.T - K) ** 2)
    assert error[True] < 0.8 * error[False]


@pytest.mark.parametrize(
    ("weights", "counts"),
    [((1.0, 1.0), (5, 5)), ((0.9, 0.1), (8, 2)), ((1.0, 1e-9), (9, 1))],
)
def test_terms_share_the_frequencies(weights, counts):
    kernel = weights[0] * Gaussian(1.0) + weights[1] * Matern(1.0)
    features = random_fourier_features(kernel, 2, 20)
    squares = features.amplitudes**2
    wanted = np.repeat(np.array(weights) / counts, counts)
    np.testing.assert_allclose(squares, wanted, rtol=ROUNDING)


def test_a_term_of_weight_zero_has_no_frequencies():
    features = random_fourier_features(0.0 * Gaussian(1.0), 2, 10)
    assert features.transform(np.ones((3, 2))).shape == (3, 0)
    features = random_fourier_features(Gaussian(1.0) + 0.0 * Energy(), 2, 10)
    assert features.frequencies.shape == (5, 2)


def test_features_are_reproducible_and_travel(two_samples):
    X, _ = two_samples(20, 1, 3)
    first, again, other = (
        random_fourier_features(Gaussian(), X, 50, random_state=seed)
        for seed in (None, 0, 1)
    )
    np.testing.assert_array_equal(first.frequencies, again.frequencies)
    assert not np.array_equal(first.frequencies, other.frequencies)
    there = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(there.transform(X), first.transform(X))
    resolved = random_fourier_features(Gaussian().resolve(X), 3, 50)
    np.testing.assert_array_equal(resolved.frequencies, first.frequencies)
    single = first.transform(X.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, first.transform(X), atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: random_fourier_features(Energy(), 2), "Energy does not depend"),
        (lambda: random_fourier_features(Linear(), 2), "Linear does not depend"),
        (lambda: random_fourier_features(Polynomial(), 2), "Polynomial does not"),
        (
            lambda: random_fourier_features(Gaussian(1.0) * Linear(1.0), 2),
            "Linear does not depend",
        ),
        (lambda: random_fourier_features(Gaussian(), 2), "needs data: call resolve"),
        (lambda: random_fourier_features(Gaussian(1.0), 0), "at least 1"),
        (lambda: random_fourier_features(Gaussian(1.0), 2, 7), "even integer"),
        (lambda: random_fourier_features(Gaussian(1.0), 2, 0), "even integer"),
        (
            lambda: random_fourier_features(Gaussian([1.0, 2.0, 3.0]), 2, 4),
            "n_features be at least 6",
        ),
        (
            lambda: random_fourier_features(Laplace(1.0), 2, orthogonal=True),
            "Use orthogonal=False",
        ),
        (
            lambda: random_fourier_features(Gaussian(1.0), 2).transform(np.eye(3)),
            "same covariates",
        ),
    ],
)
def test_refuses_what_has_no_features(call, message):
    with pytest.raises(ValueError, match=message):
        call()
