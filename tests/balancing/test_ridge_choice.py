"""The ridge path, and the ridge of highest marginal likelihood."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import multivariate_normal

from causalweights import IPMBalancer
from causalweights.balancing import marginal_likelihood_ridge, ridge_path
from causalweights.discrepancy import HalfSpaces
from causalweights.kernels import Energy, Gaussian


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 3))
    a = np.where(X[:, 0] + rng.normal(size=150) > 0, "new", "old")
    return X, a, X[:, 0] + (a == "new") + rng.normal(size=150)


@pytest.mark.parametrize(
    "options",
    [
        {"estimand": "att"},
        {"estimand": "ate"},
        {"estimand": "ate", "between_arms": False, "discriminator": "gaussian"},
        {"estimand": "att", "discriminator": HalfSpaces()},
    ],
)
def test_size_and_discrepancy_rise_with_the_ridge(options, data):
    X, a, y = data
    balancer = IPMBalancer(control="old", **options)
    path = ridge_path(balancer, X, a, y, ridges=[1.0, 1e-3, 1e-2, 0.1])
    assert_allclose(path.ridges, [1e-3, 1e-2, 0.1, 1.0])
    assert path.converged.all() and balancer.ridge == "auto"
    for sizes in path.ess.values():
        assert np.all(np.diff(sizes) >= -1e-6)
    total = sum(path.discrepancy.values())
    assert np.all(np.diff(total) >= -1e-9)
    fit = IPMBalancer(control="old", ridge=0.1, **options).fit(X, a)
    masses, new = fit.masses_, a == "new"
    assert path.contrasts == ["new"]
    assert_allclose(path.effect[2], masses[new] @ y[new] - masses[~new] @ y[~new])
    assert_allclose(path.ess["old"][2], fit.ess_["old"])
    assert ("new" in path.ess) is (options["estimand"] == "ate")


def test_a_path_ends_at_uniform_weights(data):
    X, a, _ = data
    path = ridge_path(IPMBalancer(estimand="att", control="old"), X, a, ridges=[1e8])
    assert path.ess["old"][0] == pytest.approx(np.sum(a == "old"), rel=1e-6)
    assert path.effect is None


def test_bad_paths_are_refused(data):
    X, a, y = data
    for bad in ([], [0.0], [-1.0, 1.0], [np.inf]):
        with pytest.raises(ValueError, match="ridges must be positive"):
            ridge_path(IPMBalancer(control="old"), X, a, y, ridges=bad)


def restricted(kernel, Z, y, ridge):
    """Density of contrasts that sum to zero at the best variance, by scipy."""
    n = len(y)
    contrasts = np.linalg.svd(np.ones((1, n)))[2][1:]
    cov = contrasts @ (kernel.operator(Z).dense() + ridge * np.eye(n)) @ contrasts.T
    z = contrasts @ y
    variance = z @ np.linalg.solve(cov, z) / (n - 1)
    return multivariate_normal(cov=variance * cov, allow_singular=True).logpdf(z)


@pytest.mark.parametrize("kernel", [Gaussian(1.0), 2.0 * Energy()])
@pytest.mark.parametrize("noise", [0.2, 1.0])
def test_no_other_ridge_is_more_likely(kernel, noise):
    rng = np.random.default_rng(1)
    Z = rng.normal(size=(120, 2))
    y = 5.0 + np.sin(2 * Z[:, 0]) + noise * rng.normal(size=120)
    ridge = marginal_likelihood_ridge(kernel, Z, y)
    best = restricted(kernel, Z, y, ridge)
    for factor in (0.5, 0.9, 1.1, 2.0, 30.0):
        assert restricted(kernel, Z, y, factor * ridge) < best
    assert_allclose(marginal_likelihood_ridge(kernel, Z, 3 * y - 8), ridge, rtol=1e-4)


def test_noise_over_signal_is_found():
    """A draw of the process itself: ridge = noise variance over its scale."""
    rng = np.random.default_rng(2)
    Z, kernel = rng.normal(size=(1500, 2)), Gaussian(1.0)
    root = np.linalg.cholesky(kernel.operator(Z).dense() + 1e-9 * np.eye(1500))
    found = [
        marginal_likelihood_ridge(
            kernel, Z, 2.0 * root @ rng.normal(size=1500) + 0.4 * rng.normal(size=1500)
        )
        for _ in range(5)
    ]
    assert np.exp(np.mean(np.log(found))) == pytest.approx(0.04, rel=0.3)


def test_many_rows_are_drawn_by_the_seed():
    rng = np.random.default_rng(3)
    Z = rng.normal(size=(2300, 1))
    y = Z[:, 0] + rng.normal(size=2300)
    first, again, other = (
        marginal_likelihood_ridge(Gaussian(1.0), Z, y, random_state=s)
        for s in (0, 0, 1)
    )
    assert first == again != other


def test_likelihood_needs_variation():
    with pytest.raises(ValueError, match="constant"):
        marginal_likelihood_ridge(Gaussian(1.0), np.eye(4), np.ones(4))
    with pytest.raises(ValueError, match="at least three"):
        marginal_likelihood_ridge(Gaussian(1.0), np.eye(2), np.ones(2))
    with pytest.raises(ValueError, match="finite"):
        marginal_likelihood_ridge(Gaussian(1.0), np.eye(3), [1, 2, np.nan])
