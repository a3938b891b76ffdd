"""Blocks of pivots: their law, their bits, and where rounding ends them."""

import numpy as np
import pytest

from causalweights.kernels import (
    Energy,
    Gaussian,
    Laplace,
    Linear,
    Matern,
    Polynomial,
    pivoted_cholesky,
)

# n cancellations of entries of size one.
EXACT = 1e-12
# The last pivots are small, and divide.
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


ROUTES = {
    "greedy 16": {"method": "greedy", "block_size": 16},
    "greedy 200": {"method": "greedy", "block_size": 200},
    "random 1": {"method": "random", "block_size": 1},
    "random 16": {"method": "random", "block_size": 16},
    "random": {"method": "random"},
}
routes = pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
single_or_double = pytest.mark.parametrize("dtype", [np.float64, np.float32])


class Dense:
    """A matrix that can be asked like an operator."""

    def __init__(self, K):
        self.K, self.shape, self.dtype = K, K.shape, K.dtype

    def diagonal(self):
        return np.diag(self.K)

    def block(self, rows, columns=None):
        rows = slice(None) if rows is None else rows
        columns = slice(None) if columns is None else columns
        return self.K[rows][:, columns]


def check_certificate(low, K, tolerance=EXACT):
    """Assert that residual and trace error are those of the factor returned."""
    size = np.max(np.diag(K))
    left = np.diag(K) - np.sum(low.factor**2, axis=1)
    np.testing.assert_allclose(low.residual, left, rtol=0, atol=tolerance * size)
    assert np.all(low.residual >= 0)
    assert low.trace_error == pytest.approx(
        left.sum() / np.trace(K), rel=1e-6, abs=tolerance
    )


@routes
@kernels
@pytest.mark.parametrize("tol", [1e-1, 1e-4])
def test_blocks_reconstruct_to_the_tolerance(kernel, route, tol, two_samples):
    X, _ = two_samples(120, 1, 3)
    operator = kernel.operator(X)
    K = operator.dense()
    low = pivoted_cholesky(operator, tol, 120, **route)
    assert low.trace_error <= tol
    check_certificate(low, K)
    error = K - low.factor @ low.factor.T
    bound = np.sqrt(np.outer(low.residual, low.residual))
    assert np.all(np.abs(error) <= bound + EXACT * np.max(K))
    assert len(set(low.pivots)) == len(low.pivots)
    core = low.factor[low.pivots]
    np.testing.assert_array_equal(np.triu(core, 1), 0.0)
    np.testing.assert_array_equal(low.residual[low.pivots], 0.0)
    # The last column was needed, and fewer are the first ones of many.
    r = len(low.pivots)
    shorter = pivoted_cholesky(operator, tol, r - 1, **route)
    assert shorter.trace_error > tol
    np.testing.assert_array_equal(shorter.pivots, low.pivots[:-1])
    np.testing.assert_allclose(
        shorter.factor, low.factor[:, :-1], atol=COMPLETE * np.max(K)
    )


@routes
@single_or_double
@pytest.mark.parametrize("d", [1, 2, 4])
def test_smooth_kernels_stop_at_rounding_level(route, dtype, d, two_samples):
    """Pivots that are noise would let the columns grow: the error says so."""
    X, _ = two_samples(300, 1, d)
    X = np.vstack([X, X[:60]])
    K = Gaussian(3.0)(X)
    for seed in range(3):
        low = pivoted_cholesky(
            Gaussian(3.0).operator(X.astype(dtype)),
            0.0,
            360,
            dtype=dtype,
            random_state=seed,
            **route,
        )
        left = np.diag(K) - np.sum(low.factor.astype(np.float64) ** 2, axis=1)
        eps = np.finfo(dtype).eps
        assert np.min(left) >= -64 * eps
        assert low.trace_error <= 500 * eps
        np.testing.assert_allclose(low.residual, left, rtol=0, atol=64 * eps)


@pytest.mark.parametrize("block_size", [1, 8, 64])
def test_blocked_greedy_pivots_are_half_the_largest(block_size, two_samples):
    X, _ = two_samples(200, 1, 4)
    for kernel in (Gaussian(1.5), Energy()):
        K = kernel(X)
        low = pivoted_cholesky(
            kernel.operator(X), 0.0, 60, method="greedy", block_size=block_size
        )
        share = 1.0 if block_size == 1 else 0.5
        left = np.diag(K).copy()
        for r, pivot in enumerate(low.pivots):
            assert left[pivot] >= share * np.max(left) - EXACT * np.max(K)
            left -= low.factor[:, r] ** 2


@pytest.mark.parametrize("block_size", [1, 3, 16])
def test_law_of_random_pivots_does_not_depend_on_the_block(block_size):
    rng = np.random.default_rng(5)
    A = rng.normal(size=(4, 3)) * [1.0, 0.5, 0.2]
    A[1] = 0.9 * A[0] + 0.1 * A[1]  # two rows that are nearly redundant
    K = A @ A.T + 0.01 * np.eye(4)
    law = np.zeros((4, 4))
    for i in range(4):
        left = np.diag(K) - K[i] ** 2 / K[i, i]
        left[i] = 0.0
        law[i] = K[i, i] / np.trace(K) * left / left.sum()
    count, n_draws = np.zeros((4, 4)), 1000
    for seed in range(n_draws):
        low = pivoted_cholesky(
            Dense(K),
            0.0,
            2,
            method="random",
            block_size=block_size,
            random_state=seed,
        )
        count[tuple(low.pivots)] += 1
    # Five standard errors of each of twelve frequencies.
    error = np.sqrt(law * (1 - law) / n_draws)
    assert np.all(np.abs(count / n_draws - law) <= 5 * error)


def test_random_pivots_are_nearly_optimal(two_samples):
    """Two columns do better than one eigenvector."""
    X, _ = two_samples(400, 1, 5)
    X[:8] *= 20.0  # outliers, which greedy pivots run after
    K = Gaussian(2.5)(X)
    values = np.linalg.eigvalsh(K)[::-1]
    operator = Gaussian(2.5).operator(X)
    for rank in (20, 40, 80):
        best, half = (values[k:].sum() / values.sum() for k in (rank, rank // 2))
        errors = [
            pivoted_cholesky(
                operator, 0.0, rank, method="random", random_state=seed
            ).trace_error
            for seed in range(5)
        ]
        assert best <= np.mean(errors) <= half


@routes
def test_seed_decides(route, two_samples):
    X, _ = two_samples(300, 1, 3)
    operator = Gaussian(1.0).operator(X)
    first, again, zero, other = (
        pivoted_cholesky(operator, 0.0, 30, random_state=seed, **route)
        for seed in (None, None, 0, 1)
    )
    np.testing.assert_array_equal(first.factor, again.factor)
    np.testing.assert_array_equal(first.factor, zero.factor)
    differs = not np.array_equal(first.pivots, other.pivots)
    assert differs is (route["method"] == "random")


@routes
@single_or_double
def test_pieces_of_rows_do_not_matter(route, dtype, two_samples, monkeypatch):
    X, _ = two_samples(700, 1, 3)
    operator = Gaussian(1.0).operator(X.astype(dtype))
    whole = pivoted_cholesky(operator, 0.0, 90, dtype=dtype, **route)
    monkeypatch.setattr("causalweights.kernels._panels.CHUNK", 64)
    monkeypatch.setattr("causalweights.kernels._panels.SLAB_VALUES", 2000)
    pieces = pivoted_cholesky(operator, 0.0, 90, dtype=dtype, **route)
    assert whole.factor.dtype == pieces.factor.dtype == dtype
    np.testing.assert_array_equal(pieces.pivots, whole.pivots)
    atol = COMPLETE if dtype == np.float64 else 1e-3
    np.testing.assert_allclose(pieces.factor, whole.factor, atol=atol)
    np.testing.assert_allclose(pieces.residual, whole.residual, atol=atol)


@routes
@single_or_double
def test_bits_of_blocks_do_not_depend_on_threads(
    route, dtype, two_samples, monkeypatch
):
    monkeypatch.setattr("causalweights.kernels._panels.CHUNK", 128)
    X, _ = two_samples(900, 1, 6)
    one, two, three = (
        pivoted_cholesky(
            Gaussian(3.0).operator(X.astype(dtype), n_threads=k),
            0.0,
            40,
            dtype=dtype,
            **route,
        )
        for k in (1, 2, 3)
    )
    for other in (two, three):
        np.testing.assert_array_equal(one.factor, other.factor)
        np.testing.assert_array_equal(one.pivots, other.pivots)
        np.testing.assert_array_equal(one.residual, other.residual)


@kernels
@routes
def test_single_precision_factor_has_its_own_residual(kernel, route, two_samples):
    X, Z = two_samples(200, 30, 3)
    K = kernel(X)
    size = np.max(np.diag(K))
    low = pivoted_cholesky(kernel.operator(X), 1e-3, 200, dtype=np.float32, **route)
    assert low.factor.dtype == np.float32
    assert low.residual.dtype == np.float64
    factor = low.factor.astype(np.float64)
    left = np.diag(K) - np.sum(factor**2, axis=1)
    rest = np.setdiff1d(np.arange(200), low.pivots)
    clipped = np.maximum(left[rest], 0.0)
    np.testing.assert_allclose(low.residual[rest], clipped, atol=EXACT * size)
    np.testing.assert_allclose(left[low.pivots], 0.0, atol=SINGLE * size)
    new = low.features(kernel(Z, X[low.pivots]))
    assert new.dtype == np.float32
    exact = pivoted_cholesky(kernel.operator(X), 1e-3, 200, **route)
    np.testing.assert_array_equal(low.pivots, exact.pivots)
    np.testing.assert_allclose(
        factor @ factor.T, exact.factor @ exact.factor.T, atol=SINGLE * size
    )


def test_memory_is_given_back_where_few_columns_do(two_samples):
    X, _ = two_samples(5000, 1, 2)
    low = pivoted_cholesky(Linear().operator(X), 0.0, 300)
    assert low.factor.shape == (5000, 2)
    assert low.factor.base is None
    assert low.factor.flags.c_contiguous
    np.testing.assert_allclose(low.factor @ low.factor[0], X @ X[0], atol=COMPLETE)


def test_many_rows_are_pivoted_at_random(two_samples, monkeypatch):
    X, _ = two_samples(300, 1, 3)
    operator = Gaussian(1.0).operator(X)

    def pivots(**options):
        return list(pivoted_cholesky(operator, 0.0, 40, **options).pivots)

    greedy, random = pivots(method="greedy"), pivots(method="random")
    assert pivots() == greedy != random
    monkeypatch.setattr("causalweights.kernels._low_rank.GREEDY_ROWS", 299)
    assert pivots() == random
    assert pivots(method="greedy", block_size=1) == greedy
    assert pivoted_cholesky(operator, 0.0, 40.0).factor.shape == (300, 40)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tol": -1.0}, "tol must be"),
        ({"tol": np.nan}, "tol must be"),
        ({"rank": -1}, "rank must be"),
        ({"rank": 2.5}, "rank must be"),
        ({"method": "best"}, "method must be one of"),
        ({"block_size": 0}, "block_size must be"),
        ({"dtype": np.int64}, "dtype must be"),
    ],
)
def test_refuses_unknown_options(options, message):
    with pytest.raises(ValueError, match=message):
        pivoted_cholesky(Linear().operator(np.ones((3, 1))), **options)


@pytest.mark.parametrize("method", ["greedy", "random"])
def test_refuses_kernel_values_that_overflow(method):
    X = np.array([[1.0], [1e19], [-2e19]], dtype=np.float32)
    with pytest.raises(ValueError, match="not finite: rescale"):
        pivoted_cholesky(Polynomial(degree=2).operator(X), method=method)
    with pytest.raises(ValueError, match="not finite: rescale"):
        pivoted_cholesky(Dense(np.full((2, 2), np.nan)))
