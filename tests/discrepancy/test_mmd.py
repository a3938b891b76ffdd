"""Squared MMD and energy distance against brute force, scipy and scikit-learn."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import energy_distance as scipy_energy_distance
from sklearn.metrics.pairwise import rbf_kernel

from causalweights.discrepancy import energy_distance, mmd_matrix, squared_mmd
from causalweights.kernels import (
    Energy,
    Gaussian,
    Laplace,
    Linear,
    Matern,
    Polynomial,
)

# Sums of a few thousand terms of size one in double precision.
ATOL = 1e-13

KERNELS = [
    Gaussian(bandwidth=1.3),
    Gaussian(bandwidth="median"),
    Laplace(bandwidth=2.0),
    Matern(bandwidth=1.0, nu=2.5),
    Energy(),
    Linear(),
    Polynomial(degree=2),
    Gaussian(bandwidth=1.0) + 0.5 * Linear(),
]


@pytest.fixture
def samples(rng):
    X = rng.normal(size=(37, 3))
    Y = rng.normal(0.5, 1.5, size=(23, 3))
    return X, Y, rng.exponential(size=37), rng.exponential(size=23)


def brute_force(kernel, X, Y, a, b):
    """Evaluate the double sums on the dense matrix of both samples."""
    pooled = np.vstack([X, Y])
    signed = np.concatenate([a / a.sum(), -b / b.sum()])
    return signed @ kernel(pooled) @ signed


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_squared_mmd_is_the_double_sum(kernel, samples):
    X, Y, a, b = samples
    value = squared_mmd(kernel, X, Y, x_weights=a, y_weights=b)
    assert value == pytest.approx(brute_force(kernel, X, Y, a, b), abs=ATOL)
    plain = squared_mmd(kernel, X, Y)
    uniform = brute_force(kernel, X, Y, np.ones(37), np.ones(23))
    assert plain == pytest.approx(uniform, abs=ATOL)


def test_gaussian_is_scikit_learns(samples):
    X, Y, _, _ = samples
    gamma = 0.5 / 1.3**2
    expected = (
        rbf_kernel(X, X, gamma).mean()
        + rbf_kernel(Y, Y, gamma).mean()
        - 2 * rbf_kernel(X, Y, gamma).mean()
    )
    assert squared_mmd(Gaussian(bandwidth=1.3), X, Y) == pytest.approx(
        expected, abs=ATOL
    )


def test_energy_distance_is_its_definition(samples):
    X, Y, a, b = samples
    a, b = a / a.sum(), b / b.sum()
    expected = 2 * a @ cdist(X, Y) @ b - a @ cdist(X, X) @ a - b @ cdist(Y, Y) @ b
    value = energy_distance(X, Y, x_weights=a, y_weights=b)
    assert value == pytest.approx(expected, abs=ATOL)


@pytest.mark.parametrize("origin", [None, (3.0, -1.0, 10.0)])
def test_energy_distance_is_twice_the_mmd_of_any_origin(samples, origin):
    X, Y, a, b = samples
    square = squared_mmd(Energy(origin=origin), X, Y, x_weights=a, y_weights=b)
    value = energy_distance(X, Y, x_weights=a, y_weights=b)
    assert value == pytest.approx(2 * square, abs=10 * ATOL)


def test_energy_distance_in_one_dimension_is_scipys(samples):
    X, Y, a, b = samples
    expected = scipy_energy_distance(X[:, 0], Y[:, 0], a, b) ** 2
    value = energy_distance(X[:, :1], Y[:, :1], x_weights=a, y_weights=b)
    assert value == pytest.approx(expected, abs=ATOL)


def test_energy_distance_survives_a_far_origin(samples):
    X, Y, _, _ = samples
    far = energy_distance(X + 1e6, Y + 1e6)
    # Adding 1e6 rounds the data at 1e-10.
    assert far == pytest.approx(energy_distance(X, Y), abs=1e-9)


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_sample_against_itself_is_zero(kernel, samples, rng):
    X, _, a, _ = samples
    order = rng.permutation(len(X))
    assert squared_mmd(kernel, X, X, x_weights=a, y_weights=a) == 0.0
    shuffled = squared_mmd(kernel, X, X[order], x_weights=a, y_weights=7 * a[order])
    assert 0.0 <= shuffled < ATOL


def test_integer_weights_are_replication(samples, rng):
    X, Y, _, b = samples
    copies = rng.integers(0, 4, size=len(X))
    kernel = Gaussian(bandwidth=1.0)
    weighted = squared_mmd(kernel, X, Y, x_weights=copies, y_weights=b)
    replicated = squared_mmd(kernel, np.repeat(X, copies, axis=0), Y, y_weights=b)
    assert weighted == pytest.approx(replicated, abs=ATOL)


def test_weights_do_not_change_the_median_bandwidth(samples):
    X, Y, _, _ = samples
    kernel = Gaussian(bandwidth="median")
    weights = (np.arange(len(X)) < 5).astype(float)
    fixed = kernel.resolve(np.vstack([X, Y]))
    assert squared_mmd(kernel, X, Y, x_weights=weights) == squared_mmd(
        fixed, X, Y, x_weights=weights
    )


def test_mmd_matrix_holds_all_pairs(samples):
    X, _, a, _ = samples
    n = len(X)
    masses = np.column_stack(
        [a, np.ones(n), np.where(np.arange(n) < 9, a, 0), np.arange(n) == 20]
    )
    kernel = Matern(bandwidth=1.0)
    table = mmd_matrix(kernel, X, masses)
    for g in range(4):
        for h in range(4):
            pair = squared_mmd(
                kernel, X, X, x_weights=masses[:, g], y_weights=masses[:, h]
            )
            assert table[g, h] == pytest.approx(pair, abs=ATOL)
    np.testing.assert_array_equal(table, table.T)
    np.testing.assert_array_equal(table.diagonal(), 0.0)
    # Scale of the masses and rows that nobody uses change nothing.
    extended = mmd_matrix(kernel, np.vstack([X, 9 + X[:2]]), np.pad(
        5 * masses, ((0, 2), (0, 0))
    ))  # fmt: skip
    np.testing.assert_allclose(extended, table, atol=ATOL)


def test_matrix_needs_no_gram_matrix_in_memory(rng):
    # 8 n^2 bytes would be 800 MB here; the streamed product takes a few.
    import tracemalloc

    X = rng.normal(size=(10_000, 2))
    kernel = Gaussian(bandwidth=1.0)
    squared_mmd(kernel, X[:10], X[:10])
    tracemalloc.start()
    value = squared_mmd(kernel, X[:5000], X[5000:])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0 < value < 0.01
    assert peak < 20e6


def test_single_precision_agrees(samples):
    X, Y, a, b = samples
    double = squared_mmd(Gaussian(bandwidth=1.0), X, Y, x_weights=a, y_weights=b)
    single = squared_mmd(
        Gaussian(bandwidth=1.0),
        X.astype(np.float32),
        Y.astype(np.float32),
        x_weights=a,
        y_weights=b,
    )
    assert single == pytest.approx(double, abs=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X: squared_mmd(Linear(), X, X[:, :1]), "same covariates"),
        (lambda X: squared_mmd(Linear(), X[0], X), "X must be a matrix"),
        (lambda X: squared_mmd(Linear(), X, X[:0]), "Y must be a matrix"),
        (lambda X: energy_distance(X * np.nan, X), "NaN"),
        (
            lambda X: squared_mmd(Linear(), X, X, x_weights=-np.ones(4)),
            "x_weights contains negative",
        ),
        (
            lambda X: squared_mmd(Linear(), X, X, y_weights=np.zeros(4)),
            "y_weights is zero",
        ),
        (lambda X: mmd_matrix(Linear(), X, np.ones(4)), "one weighting a column"),
        (lambda X: mmd_matrix(Linear(), X, np.ones((3, 2))), "masses has shape"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.arange(8.0).reshape(4, 2))


@pytest.mark.parametrize("kernel", [Gaussian(bandwidth=1.3), Energy()])
def test_biased_and_unbiased_forms_agree_at_order_one_over_n(kernel):
    """The V-statistic exceeds the U-statistic by the mean gap of the diagonals / n."""
    rng = np.random.default_rng(4)
    for n in (50, 200):
        X, Y = rng.normal(size=(n, 2)), rng.normal(0.3, 1, size=(n, 2))
        Kx, Ky, Kxy = kernel(X), kernel(Y), kernel(X, Y)
        off = [(K.sum() - np.trace(K)) / (n * (n - 1)) for K in (Kx, Ky)]
        unbiased = sum(off) - 2 * Kxy.mean()
        excess = sum(np.trace(K) / n - o for K, o in zip((Kx, Ky), off)) / n
        biased = squared_mmd(kernel, X, Y)
        assert biased - unbiased == pytest.approx(excess, abs=1e-12)
        assert 0 < excess < 4 / n
