"""Covariance of estimators for given weights, and the moments left over."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from causalweights.moments._sandwich import (
    inverse_covariance,
    overidentification,
    sandwich,
    selector,
)


@pytest.fixture
def problem():
    rng = np.random.default_rng(4)
    G, root = rng.normal(size=(5, 2)), rng.normal(size=(5, 5))
    return G, root @ root.T, rng.normal(size=5)


def test_the_efficient_weight_gives_the_smallest_covariance(problem):
    G, omega, _ = problem
    W = np.linalg.inv(omega)
    efficient = sandwich(G, W, omega, 50)
    assert_allclose(efficient, np.linalg.inv(G.T @ W @ G) / 50)
    for other in (np.eye(5), np.diag([1.0, 2, 3, 4, 5])):
        more = sandwich(G, other, omega, 50) - efficient
        assert np.all(np.linalg.eigvalsh(more) > -1e-12)


def test_the_sandwich_is_the_covariance_of_what_is_selected(problem):
    G, omega, _ = problem
    W = np.diag([1.0, 2, 3, 4, 5])
    A = selector(G, W)
    assert_allclose(A @ G, np.eye(2), atol=1e-12)
    draws = np.random.default_rng(0).multivariate_normal(np.zeros(5), omega, 200_000)
    # 200,000 draws: relative errors of a covariance are about 0.003.
    assert_allclose(
        sandwich(G, W, omega, 1), np.cov(draws @ A.T, rowvar=False), rtol=0.02
    )


def test_units_of_moments_and_parameters_do_not_matter(problem):
    G, omega, mbar = problem
    W, moments, units = np.eye(5), np.array([1e-6, 1, 1e6, 1, 1]), np.array([1e-7, 1e5])
    scaled_G = moments[:, None] * G * units
    scaled = omega * np.outer(moments, moments)
    cov = sandwich(scaled_G, W / np.outer(moments, moments), scaled, 50)
    assert_allclose(cov * np.outer(units, units), sandwich(G, W, omega, 50), rtol=1e-8)
    assert overidentification(moments * mbar, scaled_G, scaled, 50) == pytest.approx(
        overidentification(mbar, G, omega, 50), rel=1e-8
    )


def test_overidentification_is_the_norm_of_what_no_parameter_explains(problem):
    # The minimum over the parameters' directions, brute force.
    G, omega, mbar = problem
    W = np.linalg.inv(omega)
    root = np.linalg.cholesky(W).T
    rest = np.linalg.lstsq(root @ G, root @ mbar)[1].item()
    assert overidentification(mbar, G, omega, 50) == pytest.approx(50 * rest)
    at_optimum = mbar - G @ (selector(G, W) @ mbar)
    assert 50 * at_optimum @ W @ at_optimum == pytest.approx(50 * rest)


def test_what_cannot_be_inverted_is_said(problem):
    G, omega, _ = problem
    assert_allclose(inverse_covariance(omega) @ omega, np.eye(5), atol=1e-8)
    singular = omega.copy()
    singular[4], singular[:, 4] = singular[3], singular[:, 3]
    singular[4, 4] = singular[3, 3]
    two = np.array([[1.0, 1.0], [1.0, 1 + 2e-15]])
    np.linalg.cholesky(two)  # rounding, and yet it has a factor
    with pytest.raises(ValueError, match="covariance of the 2 moments is singular"):
        inverse_covariance(two)
    for bad in (singular, np.zeros((5, 5)), np.full((5, 5), np.nan)):
        with pytest.raises(ValueError, match="covariance of the 5 moments is singular"):
            inverse_covariance(bad)
    with pytest.raises(ValueError, match="under-identified at the estimate"):
        selector(np.column_stack([G[:, 0], 2 * G[:, 0]]), np.eye(5))
