"""The closed form of chi-squared against Newton's method and brute force."""

import numpy as np
import pytest
from linearmodels.iv import IVGMM

from causalweights.datasets import load_card
from causalweights.moments._chi2 import (
    chi2_dual,
    linear_solution,
    omega_kappa,
    penalized,
)
from causalweights.moments._dual import inner_dual

N = 80


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(0)
    w = rng.uniform(0.5, 1.5, N)
    return rng.normal(size=(N, 4)) + 0.2, rng.normal(size=(N, 10)), w / w.sum()


@pytest.mark.parametrize("kappa", [0.01, 1.0, np.inf])
@pytest.mark.parametrize("lam", [0.0, 0.1])
@pytest.mark.parametrize("matrix", [False, True])
def test_closed_form_is_the_generic_solution(sample, kappa, lam, matrix):
    M, Phi, w = sample
    R = np.diag([1.0, 2.0, 3.0, 4.0]) + 0.1 if matrix else None
    closed = chi2_dual(M, Phi, w, kappa, lam, R)
    newton = inner_dual(M, Phi, w @ Phi, w, kappa, lam, R, "chi2")
    assert closed.value == pytest.approx(newton.value, rel=1e-12)
    np.testing.assert_allclose(closed.b, newton.b, rtol=1e-11)
    np.testing.assert_allclose(closed.a, newton.a, atol=1e-13)
    np.testing.assert_allclose(closed.p, newton.p, atol=1e-14)


def test_omega_is_the_covariance_of_ridge_residuals(sample):
    """A kernel ridge regression in n x n matrices: residuals r, cov = Mc'W r."""
    M, Phi, w = sample
    kappa = 0.3
    Mc, Pc = M - w @ M, Phi - w @ Phi
    K = Pc @ Pc.T
    fitted = K @ np.linalg.solve(K + kappa * np.diag(1 / w), Mc)
    expected = (w[:, None] * Mc).T @ (Mc - fitted)
    np.testing.assert_allclose(omega_kappa(M, Phi, w, kappa), expected, rtol=1e-10)
    plain = np.cov(M.T, aweights=w, bias=True)
    np.testing.assert_allclose(omega_kappa(M, Phi, w, np.inf), plain, rtol=1e-12)


def test_a_kernel_of_zero_bandwidth_only_rescales_omega(sample):
    """Distinct points have K = I, so that f predicts no moment from the others."""
    M, _, _ = sample
    w, kappa = np.full(N, 1 / N), 0.05
    found = omega_kappa(M, np.eye(N), w, kappa)
    shrunk = N * kappa / (1 + N * kappa) * np.cov(M.T, bias=True)
    np.testing.assert_allclose(found, shrunk, rtol=1e-10)


def test_a_constant_kernel_leaves_generalised_empirical_likelihood(sample):
    M, _, w = sample
    for divergence in ("kl", "log", "chi2"):
        one, none = np.ones((N, 1)), np.empty((N, 0))
        with_f = inner_dual(M, one, w @ one, w, 0.01, 0, divergence=divergence)
        without = inner_dual(M, none, none[0], w, np.inf, 0, divergence=divergence)
        assert with_f.value == pytest.approx(without.value, rel=1e-10)


def test_linear_solution_minimises_the_quadratic():
    rng = np.random.default_rng(3)
    y, G, A = rng.normal(size=5), rng.normal(size=(5, 2)), rng.normal(size=(5, 5))
    W = A @ A.T
    theta = linear_solution(y, G, W)
    np.testing.assert_allclose(G.T @ W @ (y - G @ theta), 0.0, atol=1e-9)
    with pytest.raises(ValueError, match="1 of 2 parameters"):
        linear_solution(y, G[:, [0, 0]], W)


def test_two_step_form_is_two_step_gmm_with_a_centred_weight():
    """At kappa = inf; linearmodels is the judge, and its figure for Card's data."""
    data = load_card(instruments=("nearc2", "nearc4"))
    y, n = data.y.to_numpy(float), len(data.y)
    X = np.column_stack([np.ones(n), data.X.to_numpy(float)])
    Z = np.column_stack([np.ones(n), data.instruments.to_numpy(float)])
    exogenous = np.delete(X, 1, axis=1)
    gmm = IVGMM(y, exogenous, X[:, 1], Z[:, 1:3], center=True).fit()
    mean_y, slopes = Z.T @ y / n, Z.T @ X / n
    first = linear_solution(mean_y, slopes, np.linalg.inv(Z.T @ Z / n))
    M = Z * (y - X @ first)[:, None]
    w = np.full(n, 1 / n)
    omega = penalized(omega_kappa(M, np.empty((n, 0)), w, np.inf), 0.0, None)
    theta = linear_solution(mean_y, slopes, np.linalg.inv(omega))
    assert theta[1] == pytest.approx(gmm.params.iloc[-1], abs=1e-10)
    assert theta[1] == pytest.approx(0.1552093715, abs=1e-9)
