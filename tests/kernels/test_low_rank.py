"""Pivoted Cholesky: the factor, its certificate, and its Nystrom features."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalweights._numba._gram import DIRECT_MAX
from causalweights.kernels import (
    Energy,
    Gaussian,
    Laplace,
    Linear,
    LowRankFactor,
    Matern,
    Polynomial,
    pivoted_cholesky,
)

# n cancellations of entries of size one.
EXACT = 1e-12
# A factor of all n columns: the last pivots are small, and divide.
COMPLETE = 1e-8
# Single precision: 6e-8 an entry, amplified by the last pivots.
SINGLE = 1e-5

KERNELS = {
    "gaussian": Gaussian(bandwidth=1.5),
    "laplace": Laplace(bandwidth=2.0),
    "matern": Matern(bandwidth=1.0, nu=0.5),
    "energy": Energy(),
    "polynomial": Polynomial(degree=2),
    "compound": Gaussian(bandwidth=1.5) * Linear(1.0) + 0.5 * Laplace(bandwidth=2.0),
}
kernels = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)


def check_certificate(low, K, tolerance=EXACT):
    """Assert that residual and trace error are those of the factor returned."""
    size = np.max(np.diag(K))
    left = np.diag(K) - np.sum(low.factor**2, axis=1)
    np.testing.assert_allclose(low.residual, left, rtol=0, atol=tolerance * size)
    assert np.all(low.residual >= 0)
    assert low.trace_error == pytest.approx(
        left.sum() / np.trace(K), rel=1e-6, abs=tolerance
    )


@kernels
@pytest.mark.parametrize("d", [1, 4, DIRECT_MAX + 1])
@pytest.mark.parametrize("tol", [1e-1, 1e-3, 1e-6])
def test_reconstructs_to_the_tolerance(kernel, d, tol, two_samples):
    X, _ = two_samples(120, 1, d)
    operator = kernel.operator(X)
    K = operator.dense()
    low = operator.low_rank(tol=tol, rank=120)
    assert low.trace_error <= tol
    check_certificate(low, K)
    error = K - low.factor @ low.factor.T
    # The residual matrix is positive semi-definite: its entries are bounded by the
    # diagonal, its norm by the trace.
    bound = np.sqrt(np.outer(low.residual, low.residual))
    assert np.all(np.abs(error) <= bound + EXACT * np.max(K))
    assert np.linalg.norm(error, 2) <= tol * np.trace(K) + EXACT * np.trace(K)
    if low.factor.shape[1] > 1:
        shorter = operator.low_rank(tol=tol, rank=low.factor.shape[1] - 1)
        assert shorter.trace_error > tol


@kernels
def test_pivots_are_the_largest_residuals(kernel, two_samples):
    X, _ = two_samples(60, 1, 3)
    K = kernel(X)
    low = kernel.operator(X).low_rank(tol=0.0, rank=10)
    left = np.diag(K).copy()
    for r, pivot in enumerate(low.pivots):
        assert left[pivot] >= np.max(left) - EXACT * np.max(np.diag(K))
        left -= low.factor[:, r] ** 2
    assert len(set(low.pivots)) == len(low.pivots) == 10


def test_ties_go_to_the_lowest_index():
    low = Gaussian(1e-3).operator(np.arange(6.0)[:, None]).low_rank(tol=0.0)
    np.testing.assert_array_equal(low.pivots, np.arange(6))
    np.testing.assert_allclose(low.factor, np.eye(6), atol=EXACT)


@kernels
@pytest.mark.parametrize("d", [3, DIRECT_MAX + 1])
def test_pivot_block_is_lower_triangular(kernel, d, two_samples):
    X, _ = two_samples(80, 1, d)
    low = kernel.operator(X).low_rank(tol=0.0, rank=15)
    core = low.factor[low.pivots]
    np.testing.assert_array_equal(np.triu(core, 1), 0.0)
    assert np.all(np.diag(core) > 0)
    np.testing.assert_array_equal(low.residual[low.pivots], 0.0)


@kernels
@pytest.mark.parametrize("rank", [0, 1, 7])
def test_rank_is_capped(kernel, rank, two_samples):
    X, _ = two_samples(60, 1, 4)
    low = kernel.operator(X).low_rank(tol=0.0, rank=rank)
    assert low.factor.shape == (60, rank)
    assert low.pivots.shape == (rank,)
    assert low.residual.shape == (60,)
    check_certificate(low, kernel(X))


@pytest.mark.parametrize("name", ["laplace", "matern", "energy"])
def test_full_rank_is_exact(name, two_samples):
    X, _ = two_samples(100, 1, 3)
    kernel = KERNELS[name]
    low = kernel.operator(X).low_rank(tol=0.0, rank=1000)
    assert low.factor.shape == (100, 100)
    np.testing.assert_allclose(low.factor @ low.factor.T, kernel(X), atol=COMPLETE)
    assert low.trace_error <= EXACT


@kernels
@pytest.mark.parametrize("d", [2, DIRECT_MAX + 1])
def test_repeated_rows_add_no_rank(kernel, d, two_samples):
    X, _ = two_samples(20, 1, d)
    X = np.vstack([X, X, X[:5]])
    low = kernel.operator(X).low_rank(tol=0.0, rank=45)
    assert low.factor.shape[1] <= 20
    np.testing.assert_allclose(low.factor[:20], low.factor[20:40], atol=COMPLETE)
    np.testing.assert_allclose(low.factor @ low.factor.T, kernel(X), atol=COMPLETE)


@pytest.mark.parametrize("d", [1, 2, 5, DIRECT_MAX + 1])
def test_linear_kernel_stops_at_its_rank(d, two_samples):
    X, _ = two_samples(90, 1, d)
    assert Linear().operator(X).low_rank(tol=0.0).factor.shape == (90, d)
    low = Linear(constant=2.0).operator(X).low_rank(tol=0.0)
    assert low.factor.shape == (90, d + 1)
    np.testing.assert_allclose(low.factor @ low.factor.T, X @ X.T + 2, atol=COMPLETE)


def test_constant_kernel_has_rank_one():
    low = Polynomial(degree=2).operator(np.zeros((7, 2))).low_rank(tol=0.0)
    np.testing.assert_allclose(low.factor, np.ones((7, 1)), rtol=EXACT)
    assert low.trace_error == 0.0


def test_zero_kernel_has_rank_zero():
    low = Linear().operator(np.zeros((7, 2))).low_rank()
    assert low.factor.shape == (7, 0)
    assert low.trace_error == 0.0
    np.testing.assert_array_equal(low.residual, np.zeros(7))
    assert low.features(np.zeros((3, 0))).shape == (3, 0)


def test_one_row():
    low = Energy(origin=[1.0]).operator(np.array([[5.0]])).low_rank()
    np.testing.assert_allclose(low.factor, [[2.0]])


@kernels
@pytest.mark.parametrize("d", [3, DIRECT_MAX + 1])
def test_features_are_nystroms(kernel, d, two_samples):
    X, Z = two_samples(80, 30, d)
    low = kernel.operator(X).low_rank(tol=0.0, rank=12)
    landmarks = X[low.pivots]
    features = low.features(kernel(Z, landmarks))
    assert features.shape == (30, len(low.pivots))
    other = low.features(kernel(X, landmarks))
    size = np.max(np.abs(low.factor))
    np.testing.assert_allclose(other, low.factor, atol=COMPLETE * size)
    nystrom = kernel(Z, landmarks) @ np.linalg.solve(
        kernel(landmarks), kernel(landmarks, X)
    )
    size = np.max(np.abs(nystrom))
    np.testing.assert_allclose(features @ low.factor.T, nystrom, atol=COMPLETE * size)


@kernels
def test_single_precision_is_as_good_as_its_entries(kernel, two_samples):
    X, _ = two_samples(200, 1, 2)
    X = np.vstack([X, X[:50]]).astype(np.float32)
    K = kernel(X.astype(np.float64))
    size = np.max(np.diag(K))
    for tol in (1e-2, 0.0):
        low = kernel.operator(X).low_rank(tol=tol, rank=250)
        assert low.factor.dtype == np.float64
        assert np.all(np.isfinite(low.factor))
        check_certificate(low, K, SINGLE)
        error = np.abs(K - low.factor @ low.factor.T)
        bound = np.sqrt(np.outer(low.residual, low.residual))
        assert np.all(error <= bound + 10 * SINGLE * size)


def test_any_operator_with_columns_and_diagonal_will_do(two_samples):
    X, _ = two_samples(50, 1, 2)
    K = KERNELS["gaussian"](X)

    class Dense:
        shape, dtype = K.shape, K.dtype

        def diagonal(self):
            return np.diag(K)

        def block(self, rows, columns=None):
            rows = slice(None) if rows is None else rows
            columns = slice(None) if columns is None else columns
            return K[rows][:, columns]

    low = pivoted_cholesky(Dense(), tol=1e-6)
    assert isinstance(low, LowRankFactor)
    same = KERNELS["gaussian"].operator(X).low_rank(tol=1e-6)
    np.testing.assert_array_equal(low.pivots, same.pivots)
    np.testing.assert_allclose(low.factor, same.factor, atol=EXACT)


def test_bits_do_not_depend_on_threads(two_samples):
    X, _ = two_samples(1500, 1, DIRECT_MAX + 1)
    one, two = (
        Gaussian(3.0).operator(X, n_threads=k).low_rank(tol=0.0, rank=30)
        for k in (1, 2)
    )
    np.testing.assert_array_equal(one.factor, two.factor)
    np.testing.assert_array_equal(one.pivots, two.pivots)


@settings(max_examples=40)
@given(
    name=st.sampled_from(list(KERNELS)),
    n=st.integers(1, 40),
    ties=st.integers(0, 5),
    d=st.sampled_from([1, 3, DIRECT_MAX + 1]),
    tol=st.sampled_from([0.0, 1e-8, 1e-3]),
    scale=st.sampled_from([1e-2, 1.0, 20.0]),
    seed=st.integers(0, 10_000),
)
def test_certificate_is_true(name, n, ties, d, tol, scale, seed):
    X = scale * np.random.default_rng(seed).normal(size=(n, d))
    X = np.vstack([X, X[:ties]])
    kernel = KERNELS[name]
    low = kernel.operator(X).low_rank(tol=tol, rank=60)
    check_certificate(low, kernel(X), 1e-10)
    assert low.trace_error <= max(tol, 1e-10)
