"""Bases on the cube: orthonormal, of the stated size, and sums by their features."""

import numpy as np
import pytest

from causalweights.ustatistics._bases import BASES, basis_size, evaluate_basis
from causalweights.ustatistics._feature_sums import FeatureSums, regression_sums

# Gauss-Legendre of products of cosines; exact for the others.
QUADRATURE = 1e-13


def quadrature(d):
    """Return points and weights of a rule on the cube, four panels a coordinate."""
    x, w = np.polynomial.legendre.leggauss(20)
    points = np.concatenate([(x + 1) / 8 + k / 4 for k in range(4)])
    weights = np.tile(w / 8, 4)
    grid = np.stack(np.meshgrid(*d * [points], indexing="ij"), axis=-1).reshape(-1, d)
    product = np.ones(1)
    for _ in range(d):
        product = np.outer(product, weights).ravel()
    return grid, product


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("basis", BASES[1:])
def test_functions_are_orthonormal(basis, d):
    points, weights = quadrature(d)
    z = evaluate_basis(basis, 2, points)
    assert z.shape[1] == basis_size(basis, 2, d)
    gram = z.T @ (weights[:, None] * z)
    assert np.allclose(gram, np.eye(z.shape[1]), atol=QUADRATURE)


@pytest.mark.parametrize(("d", "degree", "size"), [(2, 3, 10), (3, 2, 10), (8, 2, 45)])
def test_total_degree_limits_products(d, degree, size):
    U = np.random.default_rng(0).uniform(size=(5, d))
    for basis in ("polynomial", "cosine", "legendre"):
        assert basis_size(basis, degree, d) == size
        assert evaluate_basis(basis, degree, U).shape == (5, size)


def test_monomials_and_legendre_polynomials_span_the_same(rng):
    U = rng.uniform(size=(40, 2))
    y = rng.normal(size=40)
    fits = []
    for basis in ("polynomial", "legendre"):
        z = evaluate_basis(basis, 3, U)
        fits.append(z @ np.linalg.lstsq(z, y)[0])
    assert np.allclose(*fits, atol=1e-10)


@pytest.mark.parametrize("basis", ["haar", "bspline"])
def test_ends_of_the_cube_belong_to_it(basis):
    z = evaluate_basis(basis, 1, np.array([[0.0], [1.0]]))
    assert np.all(np.isfinite(z)) and np.all((z**2).sum(axis=1) > 0.5)


def test_sums_equal_those_of_the_matrix(rng):
    F, G = rng.normal(size=(30, 4)), rng.normal(size=(20, 4))
    sums, K = FeatureSums(F, G), F @ G.T
    c, e = rng.normal(size=(30, 2)), rng.normal(size=20)
    assert np.allclose(sums.to_targets(c), K.T @ c, atol=1e-12)
    first, second = sums.to_reference_powers(e, 2 * e)
    assert np.allclose(first, K @ e, atol=1e-12)
    assert np.allclose(second, ((2 * K * e) ** 2).sum(axis=1), atol=1e-10)


def test_regression_sums_fit_weighted_least_squares_with_collinear_features(rng):
    F, G = rng.normal(size=(30, 3)), rng.normal(size=(20, 3))
    a, y = rng.uniform(0.5, 2, 30), rng.normal(size=30)
    root = np.sqrt(a)
    expected = G @ np.linalg.lstsq(root[:, None] * F, root * y)[0]
    double = [np.column_stack([part, part[:, 0] + part[:, 1]]) for part in (F, G)]
    for reference, targets in ((F, G), double):
        sums = regression_sums(reference, targets, a)
        assert np.allclose(sums.to_targets(a * y), expected, atol=1e-10)
