"""Arm means, their contributions and covariances against brute force."""

import numpy as np
import pytest

from causalweights.inference import (
    augmented_means,
    contribution_covariance,
    m_estimation_means,
    score_influence,
)
from causalweights.kernels import Gaussian

ROUNDING = 1e-12  # the same sums in another order


@pytest.fixture
def data(rng):
    n = 60
    codes = rng.integers(0, 3, n)
    y = rng.normal(size=n)
    raw = rng.uniform(0.1, 1, n)
    masses = raw / np.bincount(codes, weights=raw)[codes]
    target = rng.uniform(size=n)
    return y, codes, masses, target / target.sum(), rng.normal(size=(n, 3))


def test_augmented_means_by_hand(data):
    y, codes, masses, target, m = data
    out = augmented_means(y, codes, masses, target, m)
    for a in range(3):
        mine = codes == a
        mean = target @ m[:, a] + masses[mine] @ (y - m[:, a])[mine]
        assert out.means[a] == pytest.approx(mean, abs=ROUNDING)
        phi = target * (m[:, a] - mean) + np.where(mine, masses * (y - m[:, a]), 0)
        np.testing.assert_allclose(out.contributions[:, a], phi, atol=ROUNDING)
        assert phi.sum() == pytest.approx(0, abs=ROUNDING)


def test_plain_means_keep_the_contributions(data):
    y, codes, masses, target, m = data
    plain = augmented_means(y, codes, masses, target, m, augment=False)
    both = augmented_means(y, codes, masses, target, m)
    np.testing.assert_array_equal(plain.contributions, both.contributions)
    for a in range(3):
        mine = codes == a
        assert plain.means[a] == pytest.approx(masses[mine] @ y[mine], abs=ROUNDING)


def test_fixed_target_leaves_the_residuals_only(data):
    y, codes, masses, target, m = data
    phi = augmented_means(y, codes, masses, target, m, fixed_target=True).contributions
    for a in range(3):
        expected = np.where(codes == a, masses * (y - m[:, a]), 0)
        np.testing.assert_allclose(phi[:, a], expected, atol=ROUNDING)


def test_contributions_are_those_of_the_contract(data):
    """n phi is the ATE influence function of the package's contract."""
    y, codes, masses, _, m = data
    n = len(y)
    s = np.linspace(0.5, 2, n)
    target = s / s.sum()
    out = augmented_means(y, codes, masses, target, m)
    tau = out.means[1] - out.means[0]
    psi = s / s.mean() * (m[:, 1] - m[:, 0] - tau)
    psi += np.where(codes == 1, n * masses * (y - m[:, 1]), 0)
    psi -= np.where(codes == 0, n * masses * (y - m[:, 0]), 0)
    phi = out.contributions
    np.testing.assert_allclose(n * (phi[:, 1] - phi[:, 0]), psi, atol=1e-10)


def test_m_estimation_without_parameters_is_the_weighted_mean(data):
    y, codes, masses, target, _ = data
    zero = np.zeros((len(y), 3))
    out = m_estimation_means(y, codes, masses, target, zero, None, None)
    for a in range(3):
        mine = codes == a
        mean = masses[mine] @ y[mine]
        assert out.means[a] == pytest.approx(mean, abs=ROUNDING)
        expected = np.where(mine, masses * (y - mean), 0)
        np.testing.assert_allclose(out.contributions[:, a], expected, atol=ROUNDING)


def test_score_influence_is_hc0(rng):
    import statsmodels.api as sm

    X = sm.add_constant(rng.normal(size=(80, 2)))
    y = X @ [1.0, 2.0, -1.0] + rng.normal(size=80) * (1 + X[:, 1] ** 2)
    fit = sm.OLS(y, X).fit(cov_type="HC0")
    influence = score_influence(X, y - fit.fittedvalues, np.ones(80))
    np.testing.assert_allclose(influence.T @ influence, fit.cov_params(), rtol=1e-9)


def test_covariance_by_clusters_and_frequencies(rng):
    phi = rng.normal(size=(30, 2))
    np.testing.assert_allclose(contribution_covariance(phi), phi.T @ phi)
    groups = np.repeat(np.arange(10), 3)
    sums = np.array([phi[groups == g].sum(axis=0) for g in range(10)])
    np.testing.assert_allclose(
        contribution_covariance(phi, groups=groups), sums.T @ sums * 10 / 9
    )
    counts = rng.integers(1, 4, 30)
    copies = np.repeat(phi / counts[:, None], counts, axis=0)
    np.testing.assert_allclose(
        contribution_covariance(phi, frequency=counts.astype(float)), copies.T @ copies
    )
    with pytest.raises(ValueError, match="one cluster only"):
        contribution_covariance(phi, groups=np.zeros(30))


def test_ridge_weights_with_ridge_regression_are_an_undersmoothed_plug_in():
    """Bruns-Smith, Dukes, Feller & Ogburn (2025), with one ridge for both steps."""
    rng = np.random.default_rng(5)
    X, T = rng.normal(size=(40, 2)), rng.normal(0.3, 1.0, size=(25, 2))
    y, ridge = np.sin(X[:, 0]) + rng.normal(size=40), 0.3
    kernel = Gaussian(bandwidth=1.5)
    inverse = np.linalg.inv(kernel.operator(X).dense() + ridge * np.eye(40))
    mean = kernel.operator(X, T).row_mean()
    weights = inverse @ mean
    cross = kernel.operator(np.vstack([X, T]), X).dense()
    predictions = (cross @ inverse @ y)[:, None]
    found = augmented_means(
        np.append(y, np.zeros(25)),
        np.append(np.zeros(40, int), np.full(25, 9)),
        np.append(weights, np.zeros(25)),
        np.append(np.zeros(40), np.full(25, 1 / 25)),
        predictions,
    )
    expected = mean @ inverse @ (y + ridge * inverse @ y)
    assert found.means[0] == pytest.approx(expected, rel=1e-10)


def test_linear_weights_with_linear_regression_are_the_imputation_estimator():
    rng = np.random.default_rng(6)
    X, T = rng.normal(size=(40, 3)), rng.normal(0.3, 1.0, size=(25, 3))
    y = X @ [1.0, -2.0, 0.5] + rng.normal(size=40)
    weights = X @ np.linalg.solve(X.T @ X, T.mean(axis=0))
    beta = np.linalg.lstsq(X, y)[0]
    found = augmented_means(
        np.append(y, np.zeros(25)),
        np.append(np.zeros(40, int), np.full(25, 9)),
        np.append(weights, np.zeros(25)),
        np.append(np.zeros(40), np.full(25, 1 / 25)),
        (np.vstack([X, T]) @ beta)[:, None],
    )
    assert found.means[0] == pytest.approx(T.mean(axis=0) @ beta, rel=1e-12)
