"""Nystrom's approximation from landmarks, and the choice of these."""

import pickle

import numpy as np
import pytest

from causalweights.kernels import (
    Energy,
    Gaussian,
    LandmarkFeatures,
    Laplace,
    Linear,
    Matern,
    Polynomial,
    choose_landmarks,
    nystrom,
    nystrom_factor,
    pivoted_cholesky,
)
from causalweights.kernels._choose import ridge_leverage

# Rounding, times the condition number of a few well separated landmarks.
EXACT = 1e-9
# Single precision, likewise.
SINGLE = 1e-4

KERNELS = {
    "gaussian": Gaussian(bandwidth=1.5),
    "bandwidths": Gaussian(bandwidth=[0.7, 2.0]),
    "laplace": Laplace(bandwidth=2.0),
    "matern": Matern(bandwidth=1.0, nu=0.5),
    "energy": Energy(),
    "polynomial": Polynomial(degree=2),
    "compound": Gaussian(bandwidth=1.5) * Linear(1.0) + 0.5 * Laplace(bandwidth=2.0),
}
kernels = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
METHODS = ["pivoted", "kmeans++", "leverage", "uniform"]
methods = pytest.mark.parametrize("method", METHODS)


@kernels
@pytest.mark.parametrize("pivoting", ["greedy", "random"])
@pytest.mark.parametrize("d", [3, 20])
def test_features_at_the_pivots_are_the_factor(kernel, pivoting, d, two_samples):
    X, _ = two_samples(150, 1, d)
    operator = kernel.operator(X)
    low = pivoted_cholesky(operator, 0.0, 10, method=pivoting)
    features = nystrom(kernel, X[low.pivots])
    size = np.max(operator.diagonal())
    np.testing.assert_array_equal(features.kept, np.arange(10))
    phi, residual = features.transform(X)
    np.testing.assert_allclose(phi, low.factor, atol=EXACT * np.sqrt(size))
    np.testing.assert_allclose(residual, low.residual, atol=EXACT * size)
    same = nystrom_factor(operator, low.pivots)
    np.testing.assert_array_equal(same.pivots, low.pivots)
    np.testing.assert_allclose(same.factor, low.factor, atol=EXACT * np.sqrt(size))
    np.testing.assert_allclose(same.residual, low.residual, atol=EXACT * size)
    assert same.trace_error == pytest.approx(low.trace_error, rel=1e-6)


@kernels
def test_features_are_nystroms(kernel, brute_force, two_samples):
    X, Z = two_samples(60, 25, 4)
    landmarks = Z[:9]
    phi, residual = nystrom(kernel, landmarks).transform(X)
    cross = kernel(X, landmarks)
    wanted = cross @ np.linalg.solve(kernel(landmarks), cross.T)
    K = kernel(X)
    size = np.max(K)
    np.testing.assert_allclose(phi @ phi.T, wanted, atol=EXACT * size)
    np.testing.assert_allclose(residual, np.diag(K - wanted), atol=EXACT * size)
    # A projection: what it leaves is positive semi-definite.
    assert np.linalg.eigvalsh(K - phi @ phi.T)[0] >= -EXACT * size


@kernels
def test_blocks_are_rows_of_the_whole(kernel, two_samples):
    X, Z = two_samples(90, 12, 20)
    features = nystrom(kernel, Z)
    whole, residual = features.transform(X)
    parts = [features.transform(X[a : a + 17]) for a in range(0, 90, 17)]
    size = np.max(kernel.operator(X).diagonal())
    np.testing.assert_allclose(
        np.vstack([phi for phi, _ in parts]), whole, atol=EXACT * size
    )
    np.testing.assert_allclose(
        np.concatenate([r for _, r in parts]), residual, atol=EXACT * size
    )


@kernels
def test_features_travel(kernel, two_samples):
    X, Z = two_samples(30, 8, 3)
    features = nystrom(kernel, Z)
    there = pickle.loads(pickle.dumps(features))
    assert isinstance(there, LandmarkFeatures)
    for mine, theirs in zip(features.transform(X), there.transform(X)):
        np.testing.assert_array_equal(mine, theirs)
    with pytest.raises(ValueError, match="read-only"):
        features.core[0, 0] = 1.0
    Z[:] = 0.0  # the caller's array is not held
    np.testing.assert_array_equal(features.transform(X)[0], there.transform(X)[0])


@kernels
def test_dependent_landmarks_are_dropped(kernel, two_samples):
    X, Z = two_samples(40, 6, 5)
    twice = np.vstack([Z, Z[::-1], Z[2:4]])
    features = nystrom(kernel, twice)
    np.testing.assert_array_equal(features.kept, np.arange(6))
    np.testing.assert_array_equal(features.landmarks, Z)
    np.testing.assert_array_equal(
        features.transform(X)[0], nystrom(kernel, Z).transform(X)[0]
    )
    low = nystrom_factor(kernel.operator(X), [3, 5, 3, 9, 5])
    np.testing.assert_array_equal(low.pivots, [3, 5, 9])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_smooth_kernel_keeps_what_its_type_can_tell_apart(dtype, two_samples):
    X, Z = two_samples(200, 300, 2)
    kernel = Gaussian(3.0)
    features = nystrom(kernel, Z, dtype=dtype)
    phi, residual = features.transform(X)
    assert phi.dtype == dtype and residual.dtype == np.float64
    eps = np.finfo(dtype).eps
    assert 5 < phi.shape[1] < 300
    assert np.all(residual <= 0.05)
    # A few hundred near-dependent landmarks magnify rounding.
    error = np.abs(phi.astype(np.float64) @ phi.T.astype(np.float64) - kernel(X))
    assert np.max(error) <= np.max(residual) + 5e3 * eps


@kernels
def test_single_precision_is_close(kernel, two_samples):
    X, Z = two_samples(100, 10, 4)
    phi, residual = nystrom(kernel, Z).transform(X)
    single, left = nystrom(kernel, Z, dtype=np.float32).transform(X.astype(np.float32))
    assert single.dtype == np.float32
    assert single.flags.c_contiguous
    size = np.max(kernel.operator(X).diagonal())
    np.testing.assert_allclose(single, phi, atol=SINGLE * size)
    np.testing.assert_allclose(left, residual, atol=SINGLE * size)
    # Nothing is left at the landmarks, and rounding does not make it negative.
    for dtype in (np.float64, np.float32):
        _, left = nystrom(kernel, Z, dtype=dtype).transform(Z)
        assert np.all((left >= 0) & (left <= SINGLE * size))


def test_landmarks_of_a_zero_kernel_leave_everything():
    features = nystrom(Linear(), np.zeros((3, 2)))
    phi, residual = features.transform(np.ones((4, 2)))
    assert phi.shape == (4, 0)
    np.testing.assert_array_equal(residual, 2.0)


def test_nystrom_refuses_what_it_cannot_use(two_samples):
    X, Z = two_samples(30, 6, 3)
    with pytest.raises(ValueError, match="needs data: call resolve"):
        nystrom(Gaussian(), Z)
    with pytest.raises(ValueError, match="NaN or infinity"):
        nystrom(Energy(), np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="dtype must be"):
        nystrom(Energy(), Z, dtype=int)
    features = nystrom(Energy(), Z)
    with pytest.raises(ValueError, match="same covariates"):
        features.transform(X[:, :2])
    operator = Energy().operator(X)
    for rows in ([30], [-1], [[0]], [0.5]):
        with pytest.raises(ValueError, match="row numbers from 0 to 29"):
            nystrom_factor(operator, rows)
    assert nystrom_factor(operator, []).factor.shape == (30, 0)


def test_many_landmarks_take_several_panels(two_samples):
    X, _ = two_samples(400, 1, 3)
    operator = Laplace(1.0).operator(X)
    low = nystrom_factor(operator, np.arange(300))
    K = operator.dense()
    np.testing.assert_allclose(low.factor[:300] @ low.factor.T, K[:300], atol=EXACT)


# ---- the choice of landmarks -----------------------------------------------------


@methods
@pytest.mark.parametrize("name", ["gaussian", "energy", "compound"])
def test_chosen_rows_are_distinct_and_reproducible(method, name, two_samples):
    X, _ = two_samples(500, 1, 3)
    kernel = KERNELS[name]
    rows = choose_landmarks(kernel, X, 40, method=method)
    assert rows.shape == (40,) and rows.dtype.kind == "i"
    assert len(set(rows)) == 40 and np.min(rows) >= 0 and np.max(rows) < 500
    again = choose_landmarks(kernel, X, 40, method=method, random_state=0)
    np.testing.assert_array_equal(rows, again)
    other = choose_landmarks(kernel, X, 40, method=method, random_state=1)
    assert set(rows) != set(other)


@methods
def test_choice_looks_at_a_sample_only(method, two_samples):
    X, _ = two_samples(300, 1, 4)
    few, more = (
        choose_landmarks(Energy(), X, rank, method=method, sample=30, random_state=3)
        for rank in (12, 30)
    )
    assert len(few) == 12 and len(more) == 30
    if method != "uniform":  # the same thirty rows, of which the second takes all
        assert set(few) <= set(more)
        assert set(more) != set(range(30))


@pytest.mark.parametrize("method", METHODS[:2])
def test_copies_are_taken_once(method, two_samples):
    X, _ = two_samples(300, 1, 3)
    X[np.arange(300) % 2 == 1] = X[0]
    assert len(choose_landmarks(Energy(), X, 300, method=method)) == 150


@pytest.mark.parametrize("method", METHODS[:2])
def test_rare_groups_are_found(method):
    """A group of two rows in two thousand is far from all others."""
    rng = np.random.default_rng(0)
    X = rng.normal(scale=0.05, size=(2000, 2))
    X[:2] += 30.0
    X[2:12] -= 30.0
    kernel = Gaussian(1.0)
    for seed in range(5):
        rows = choose_landmarks(kernel, X, 8, method=method, random_state=seed)
        group = np.where(rows < 2, 0, np.where(rows < 12, 1, 2))
        assert set(group) == {0, 1, 2}


def test_spread_draws_follow_squared_distances():
    X = np.array([[0.0], [1.0], [3.0], [3.0]])
    kernel = Linear()
    second = {0: [], 1: [], 2: [], 3: []}
    for seed in range(1500):
        first, then = choose_landmarks(
            kernel, X, 2, method="kmeans++", random_state=seed
        )
        second[int(first)].append(int(then))
    for first, draws in second.items():
        squared = (X[:, 0] - X[first, 0]) ** 2
        law = squared / squared.sum()
        frequency = np.bincount(draws, minlength=4) / len(draws)
        error = np.sqrt(law * (1 - law) / len(draws))
        assert np.all(np.abs(frequency - law) <= 5 * error)


def test_leverage_scores_are_those_of_the_factor_and_its_residual(two_samples):
    X, _ = two_samples(120, 1, 2)
    operator = Gaussian(1.0).operator(X)
    scores = ridge_leverage(operator, 15, np.random.RandomState(0))
    low = pivoted_cholesky(
        operator, 0.0, 15, method="random", random_state=np.random.RandomState(0)
    )
    ridge = low.residual.sum() / 15
    L = low.factor @ low.factor.T
    wanted = np.diag(L @ np.linalg.inv(L + ridge * np.eye(120)))
    wanted = wanted + low.residual / (low.residual + ridge)
    np.testing.assert_allclose(scores, wanted, atol=EXACT)
    # They stand for the scores of K, which take a matrix of all rows.
    K = operator.dense()
    exact = np.diag(K @ np.linalg.inv(K + ridge * np.eye(120)))
    assert np.all(scores >= 0.5 * exact)
    assert exact.sum() <= scores.sum() <= 2 * exact.sum()


def test_choice_of_a_zero_kernel_is_empty():
    for method in METHODS[:3]:
        rows = choose_landmarks(Linear(), np.zeros((5, 2)), 3, method=method)
        assert len(rows) <= 1


def test_median_is_resolved_on_the_sample(two_samples):
    X, _ = two_samples(200, 1, 3)
    rows = choose_landmarks(Gaussian(), X, 10)
    same = choose_landmarks(Gaussian().resolve(X), X, 10)
    np.testing.assert_array_equal(rows, same)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "best"}, "method must be one of"),
        ({"rank": 0}, "rank must be an integer"),
        ({"rank": 1.5}, "rank must be an integer"),
        ({"sample": 4}, "cannot hold rank=5 landmarks"),
    ],
)
def test_choice_refuses_unknown_options(options, message):
    with pytest.raises(ValueError, match=message):
        choose_landmarks(Energy(), np.eye(8), **{"rank": 5, **options})
