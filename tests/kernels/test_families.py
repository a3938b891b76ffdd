"""Kernel families: formulas, algebra, bandwidths and refusals."""

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.gaussian_process import kernels as gp
from sklearn.metrics import pairwise

from causalweights._numba._gram import DIRECT_MAX, TILE
from causalweights.kernels import (
    Energy,
    Gaussian,
    Kernel,
    Laplace,
    Linear,
    Matern,
    Polynomial,
    median_distance,
)

H = 2.5
FAMILIES = {
    "gaussian": Gaussian(bandwidth=H),
    "laplace": Laplace(bandwidth=H),
    "matern12": Matern(bandwidth=H, nu=0.5),
    "matern32": Matern(bandwidth=H, nu=1.5),
    "matern52": Matern(bandwidth=H, nu=2.5),
    "energy": Energy(),
    "linear": Linear(constant=0.5),
    "polynomial": Polynomial(degree=3, gamma=0.1, constant=0.7),
}
# Both routes: coordinates summed one by one, and the expansion by BLAS.
DIMENSIONS = [1, 3, 10, DIRECT_MAX, DIRECT_MAX + 1, 50]
# Whole and broken tiles and row blocks.
SIZES = [1, 2, 63, 65, 513, 700, TILE + 1]
# Relative to the largest entry; a few hundred roundings of 1e-16.
EXACT = 1e-12
# Eigenvalues of a matrix of n entries of size one carry n roundings at most.
EIGENVALUE_ATOL = 1e-10

families = pytest.mark.parametrize("kernel", FAMILIES.values(), ids=FAMILIES)
dimensions = pytest.mark.parametrize("d", DIMENSIONS)


def assert_exact(actual, expected):
    size = np.max(np.abs(expected))
    np.testing.assert_allclose(actual, expected, rtol=EXACT, atol=EXACT * size)


@families
@dimensions
def test_matches_the_formula(kernel, d, two_samples, brute_force):
    X, Y = two_samples(65, 70, d)
    assert_exact(kernel(X, Y), brute_force(kernel, X, Y))
    assert_exact(kernel(X), brute_force(kernel, X, X))


@families
@pytest.mark.parametrize("d", [3, DIRECT_MAX + 1])
@pytest.mark.parametrize("n", SIZES)
def test_sizes_that_fill_no_tile(kernel, d, n, two_samples, brute_force):
    X, Y = two_samples(n, 5, d)
    assert_exact(kernel(X, Y), brute_force(kernel, X, Y))
    assert_exact(kernel(Y, X), brute_force(kernel, Y, X))
    columns = np.unique(np.linspace(0, n - 1, 7).astype(int))
    dense = kernel(X)
    assert dense.shape == (n, n)
    assert_exact(dense[:, columns], brute_force(kernel, X, X[columns]))


@dimensions
def test_matches_scikit_learn(d, two_samples):
    X, Y = two_samples(65, 40, d)
    assert_exact(Gaussian(H)(X, Y), pairwise.rbf_kernel(X, Y, gamma=0.5 / H**2))
    assert_exact(Laplace(H)(X, Y), pairwise.laplacian_kernel(X, Y, gamma=1 / H))
    assert_exact(Linear()(X, Y), pairwise.linear_kernel(X, Y))
    assert_exact(
        Polynomial(degree=4, gamma=0.2, constant=1.5)(X, Y),
        pairwise.polynomial_kernel(X, Y, degree=4, gamma=0.2, coef0=1.5),
    )
    for nu in (0.5, 1.5, 2.5):
        judge = gp.Matern(length_scale=H * np.sqrt(2 * nu), nu=nu)
        assert_exact(Matern(H, nu=nu)(X, Y), judge(X, Y))


@families
@dimensions
def test_one_sample_is_exactly_symmetric(kernel, d, two_samples):
    X, _ = two_samples(200, 1, d)
    K = kernel(X)
    np.testing.assert_array_equal(K, K.T)


@dimensions
def test_unit_diagonal_is_exact(d, two_samples):
    X, _ = two_samples(200, 1, d)
    for name in ("gaussian", "laplace", "matern12", "matern32", "matern52"):
        np.testing.assert_array_equal(np.diag(FAMILIES[name](X)), np.ones(200))


# ---- algebra ---------------------------------------------------------------------


@dimensions
def test_sums_products_and_multiples(d, two_samples, brute_force):
    X, Y = two_samples(70, 65, d)
    a, b, c = FAMILIES["gaussian"], FAMILIES["laplace"], FAMILIES["polynomial"]
    A, B, C = (brute_force(k, X, Y) for k in (a, b, c))
    for kernel, expected in [
        (a + b, A + B),
        (a + b + c, A + B + C),
        (a * b, A * B),
        (a * b * c, A * B * C),
        (3.0 * a, 3 * A),
        (a * 3, 3 * A),
        (0.0 * a, 0 * A),
        (2.0 * a + b * c, 2 * A + B * C),
        ((a + b) * (c + 0.5 * a), (A + B) * (C + 0.5 * A)),
        (2.0 * (3.0 * (a * b)), 6 * A * B),
    ]:
        assert_exact(kernel(X, Y), expected)


@pytest.mark.parametrize("d", [2, DIRECT_MAX + 1])
def test_energies_with_different_origins_keep_their_own(d, two_samples, brute_force):
    X, Y = two_samples(70, 65, d)
    a, b = Energy(), Energy(origin=np.full(d, 2.0))
    A, B = brute_force(a, X, Y), brute_force(b, X, Y)
    assert_exact((a + b)(X, Y), A + B)
    assert_exact((b * a)(X, Y), A * B)
    operator = (b * a + 2.0 * b).operator(X)
    assert_exact(operator.diagonal(), np.diag(operator.dense()))


def test_numpy_scalars_multiply_too(two_samples):
    X, Y = two_samples(5, 6, 2)
    kernel = np.float64(2.0) * Gaussian(H)
    assert isinstance(kernel, Kernel)
    np.testing.assert_array_equal(kernel(X, Y), 2 * Gaussian(H)(X, Y))


@pytest.mark.parametrize("family", [Gaussian, Laplace, Matern])
@pytest.mark.parametrize("d", [2, DIRECT_MAX + 1])
def test_bandwidth_list_is_the_average(family, d, two_samples):
    X, Y = two_samples(70, 65, d)
    average = np.mean([family(h)(X, Y) for h in (0.5, 1.0, 4.0)], axis=0)
    assert_exact(family([0.5, 1.0, 4.0])(X, Y), average)
    assert_exact(family(np.array([0.5]))(X, Y), family(0.5)(X, Y))


@families
def test_pickles_compares_and_hashes_by_value(kernel):
    copy = pickle.loads(pickle.dumps(kernel))
    assert copy == kernel
    assert hash(copy) == hash(kernel)
    assert hash(2.0 * kernel + kernel) == hash(2.0 * copy + copy)


def test_is_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Gaussian(1.0).bandwidth = 2.0


# ---- median rule -----------------------------------------------------------------


def test_median_bandwidth_follows_the_contract(two_samples):
    X, _ = two_samples(80, 1, 4)
    h = Gaussian().resolve(X).bandwidth
    assert 2 * h**2 == pytest.approx(median_distance(X), rel=EXACT)
    assert Laplace().resolve(X).bandwidth == median_distance(X, "cityblock")
    assert Matern(nu=2.5).resolve(X) == Matern(median_distance(X, "euclidean"), nu=2.5)
    assert Gaussian(2.0).resolve(X) == Gaussian(2.0)


def test_operator_resolves_on_both_samples(two_samples):
    X, Y = two_samples(30, 40, 3)
    kernel = Gaussian() + 2.0 * Laplace() * Matern()
    resolved = kernel.resolve(np.vstack([X, Y]))
    np.testing.assert_array_equal(kernel(X, Y), resolved(X, Y))
    np.testing.assert_array_equal(kernel(X), kernel.resolve(X)(X))


# ---- positive semi-definiteness --------------------------------------------------


@settings(max_examples=60)
@given(
    name=st.sampled_from([*FAMILIES, "sum", "product"]),
    n=st.integers(1, 40),
    d=st.sampled_from([1, 2, 5, DIRECT_MAX + 1]),
    ties=st.integers(0, 3),
    scale=st.sampled_from([1e-3, 1.0, 30.0]),
    seed=st.integers(0, 10_000),
)
def test_is_positive_semi_definite(name, n, d, ties, scale, seed):
    X = scale * np.random.default_rng(seed).normal(size=(n, d))
    X = np.vstack([X, X[:ties]])
    gaussian, energy = FAMILIES["gaussian"], FAMILIES["energy"]
    compound = {"sum": 2.0 * gaussian + energy, "product": gaussian * energy}
    K = {**FAMILIES, **compound}[name](X)
    smallest = np.linalg.eigvalsh(K)[0]
    assert smallest >= -EIGENVALUE_ATOL * len(X) * max(1.0, np.max(np.abs(K)))


# ---- energy ----------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 3, DIRECT_MAX + 1])
@pytest.mark.parametrize("origin", [None, 0.7, -100.0])
def test_twice_the_squared_mmd_is_the_energy_distance(d, origin, two_samples):
    X, Y = two_samples(40, 50, d)

    def mean_distance(A, B):
        return np.sqrt(np.sum((A[:, None] - B[None]) ** 2, axis=2)).mean()

    expected = 2 * mean_distance(X, Y) - mean_distance(X, X) - mean_distance(Y, Y)
    kernel = Energy(origin=None if origin is None else np.full(d, origin))
    mmd2 = kernel(X).mean() + kernel(Y).mean() - 2 * kernel(X, Y).mean()
    # Kernel values are as large as the distance to the origin, and cancel.
    size = np.max(np.abs(kernel(X)))
    assert 2 * mmd2 == pytest.approx(expected, rel=EXACT, abs=EXACT * size)


def test_energy_kernel_vanishes_at_its_origin():
    X = np.array([[1.0, 2.0], [4.0, 6.0]])
    K = Energy(origin=(1.0, 2.0))(X)
    np.testing.assert_array_equal(K, [[0.0, 0.0], [0.0, 5.0]])


# ---- refusals --------------------------------------------------------------------


@pytest.mark.parametrize("family", [Gaussian, Laplace, Matern])
@pytest.mark.parametrize(
    ("bandwidth", "message"),
    [
        ("scott", "bandwidth='scott': give 'median'"),
        (0.0, "bandwidth must be positive"),
        (-1.0, "bandwidth must be positive"),
        ([1.0, 0.0], "bandwidth must be positive"),
        (np.nan, "is not a list of numbers"),
        (np.inf, "is not a list of numbers"),
        ([], "is not a list of numbers"),
        ([[1.0]], "is not a list of numbers"),
    ],
)
def test_refuses_bad_bandwidths(family, bandwidth, message):
    with pytest.raises(ValueError, match=message):
        family(bandwidth=bandwidth)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Matern(1.0, nu=1.0), "nu must be 0.5, 1.5 or 2.5"),
        (lambda: Linear(constant=-1.0), "constant must be >= 0"),
        (lambda: Linear(constant=np.nan), "constant must be >= 0"),
        (lambda: Polynomial(degree=0), "degree must be a positive integer"),
        (lambda: Polynomial(degree=1.5), "degree must be a positive integer"),
        (lambda: Polynomial(gamma=0.0), "gamma must be positive"),
        (lambda: Polynomial(gamma=np.nan), "gamma must be positive"),
        (lambda: Polynomial(constant=-1.0), "constant non-negative"),
        (lambda: -1.0 * Gaussian(1.0), "a kernel's factor must be >= 0"),
        (lambda: np.nan * Gaussian(1.0), "a kernel's factor must be >= 0"),
        (lambda: Gaussian().spec(), "needs data: call resolve"),
        (lambda: (Gaussian(1.0) + Laplace()).spec(), "needs data: call resolve"),
        (lambda: Energy(origin=[0.0])(np.ones((3, 2))), "has 1 entries, X has 2 col"),
    ],
)
def test_refuses_bad_parameters(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_adds_only_kernels():
    with pytest.raises(TypeError, match="unsupported operand"):
        Gaussian(1.0) + 1.0


def test_a_kernel_must_define_its_terms():
    class Unfinished(Kernel):
        pass

    with pytest.raises(TypeError, match="Unfinished does not define its terms"):
        Unfinished()(np.ones((2, 1)))
