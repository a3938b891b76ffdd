"""Posterior and evidence beside dense Gaussian algebra; the moments' covariance."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.covariance import ledoit_wolf

from causalweights.moments import MomentData
from causalweights.moments._kernel_iv_design import (
    fit_instrument_basis,
    function_moments,
)
from causalweights.moments._kernel_iv_fit import (
    Prior,
    expected_error,
    fit_kernel_iv,
    prior_fits,
    prior_grid,
    residual_covariance,
    shrunk_covariance,
)
from causalweights.moments._sigmoid_kernel import sigmoid_kernel

N = 80
STEEPNESS = (0.5, 2.0)
PRIORS = [
    Prior(1.0, 3.0, 0),
    Prior(0.0, 10.0, 1),
    Prior(10.0, 0.01, 1),
    Prior(0.1, 0.0, 0),
    Prior(np.inf, 1.0, 0),
]


@pytest.fixture(scope="module")
def problem():
    """A sample, its moments, a covariance, and dense columns at rows and new rows."""
    rng = np.random.default_rng(0)
    Z, e = rng.normal(size=(N, 2)), rng.normal(size=N)
    X = np.column_stack([Z[:, 0] + e, Z[:, 1]])
    y = np.sin(X[:, 0]) + e
    weight = rng.uniform(0.5, 1.5, size=N)
    data = MomentData(
        X, (y - y.mean()) / y.std(), Z, weight / weight.mean(), "sampling", None,
        ["x"] * 2, ["z"] * 2, np.ones(N, dtype=bool),
    )  # fmt: skip
    B, _ = fit_instrument_basis(data)
    moments, basis = function_moments(data, B, data.y, STEEPNESS)
    scores = (data.sample_weight * data.y)[:, None] * B
    omega = scores.T @ scores / N + 0.1 * np.eye(B.shape[1])
    new = np.vstack([X[:5], X[:2] + 0.1, [[9.0, 9.0]]])
    return data, moments, basis, omega, new


class Dense:
    """The process at all rows and new ones as one Gaussian vector, moments of it."""

    def __init__(self, problem, prior):
        data, moments, basis, omega, new = problem
        points = basis.scaling.transform(np.vstack([data.X, new]))
        scaled = STEEPNESS[prior.part] * points
        self.K = prior.smooth * sigmoid_kernel(scaled, scaled)
        flat = [np.ones(len(points))]
        if np.isinf(prior.slope):
            flat += list(points.T)
        else:
            self.K += prior.slope * points @ points.T
        self.F = np.column_stack(flat)
        C = (moments.masses[:, None] * moments.B).T
        self.C = np.hstack([C, np.zeros((len(C), len(new)))])
        self.S = omega / N + self.C @ self.K @ self.C.T
        self.A = self.C @ self.F
        self.m = moments.m

    def posterior(self):
        """Universal kriging: mean and covariance at new rows."""
        inverse = np.linalg.inv(self.S)
        spread = np.linalg.inv(self.A.T @ inverse @ self.A)
        beta = spread @ self.A.T @ inverse @ self.m
        gain = self.K @ self.C.T @ inverse
        mean = self.F @ beta + gain @ (self.m - self.A @ beta)
        left = self.F - gain @ self.A
        cov = self.K - gain @ self.C @ self.K + left @ spread @ left.T
        return mean[N:], cov[N:, N:]

    def evidence(self):
        """Density of the moments that the flat columns do not move."""
        U, _, _ = np.linalg.svd(self.A)
        free = U[:, self.A.shape[1] :]
        density = multivariate_normal.logpdf(
            free.T @ self.m, np.zeros(free.shape[1]), free.T @ self.S @ free
        )
        # The flat integral is over coefficients, not over distances in moment space.
        return density - 0.5 * np.linalg.slogdet(self.A.T @ self.A)[1]


@pytest.mark.parametrize("prior", PRIORS)
def test_posterior_is_that_of_the_dense_process(problem, prior):
    _, moments, basis, omega, new = problem
    fit = prior_fits(moments, omega, [prior])[0]
    H, unseen = basis.transform(new), basis.unseen(new, prior.part)
    mean, cov = Dense(problem, prior).posterior()
    ours = H @ fit.covariance() @ H.T + prior.smooth * unseen @ unseen.T
    np.testing.assert_allclose((H @ fit.mean)[:5], mean[:5], atol=1e-8)
    np.testing.assert_allclose(ours[:5, :5], cov[:5, :5], atol=1e-8)
    # Beyond the rows by features of the rows; covariances there are approximate.
    np.testing.assert_allclose(H @ fit.mean, mean, atol=1e-6)
    np.testing.assert_allclose(np.diag(ours), np.diag(cov), rtol=1e-6)


@pytest.mark.parametrize("prior", PRIORS)
def test_evidence_is_a_normal_density(problem, prior):
    fit = prior_fits(problem[1], problem[3], [prior])[0]
    assert fit.evidence == pytest.approx(Dense(problem, prior).evidence(), abs=1e-7)


def test_constant_only_drops_the_first_moment(problem):
    _, moments, _, omega, _ = problem
    fit = prior_fits(moments, omega, [Prior(0.0, 0.0, 0)])[0]
    expected = multivariate_normal.logpdf(
        moments.m[1:], np.zeros(len(omega) - 1), omega[1:, 1:] / N
    )
    assert fit.evidence == pytest.approx(expected, abs=1e-9)
    assert fit.effective_dim() == pytest.approx(1.0)
    assert np.flatnonzero(fit.mean).tolist() == [0]


def test_effective_dimension_grows_with_the_prior(problem):
    _, moments, _, omega, _ = problem
    dims = [
        fit.effective_dim()
        for fit in prior_fits(moments, omega, [Prior(s, s, 0) for s in (0.01, 1, 100)])
    ]
    assert np.all(np.diff([1.0, *dims, len(omega)]) > 0)


def test_unidentified_flat_slopes_are_refused(problem):
    data, _, _, _, _ = problem
    B = np.column_stack([np.ones(N), (data.Z[:, 0] > 0) * 2.0 - 1.0])
    moments, _ = function_moments(data, B, data.y, STEEPNESS)
    with pytest.raises(ValueError, match="do not identify the slopes"):
        prior_fits(moments, np.eye(2), [Prior(np.inf, 0.0, 0)])


def test_average_is_weighted_by_evidence(problem):
    data, moments, _, _, _ = problem
    priors = prior_grid((0.1, 1.0), (0.0, 1.0, 10.0), 2)
    assert len(priors) == 12 and priors[0] == Prior(0.1, 0.0, 0)
    found = fit_kernel_iv(moments, data, priors)
    fits = prior_fits(moments, found.omega, priors)
    density = np.exp([fit.evidence for fit in fits])
    np.testing.assert_allclose(found.weight, density / density.sum())
    np.testing.assert_allclose(
        found.mean, found.weight @ [fit.mean for fit in fits], atol=1e-12
    )
    assert found.effective_dim == pytest.approx(
        found.weight @ [fit.effective_dim() for fit in fits]
    )


@pytest.mark.parametrize("cov_type", ["robust", "unadjusted"])
def test_converged_covariance_is_that_of_the_residuals(problem, cov_type):
    data, moments, _, _, _ = problem
    found = fit_kernel_iv(
        moments, data, prior_grid((1.0,), (1.0,), 2), cov_type, tol=1e-12
    )
    assert found.converged and 2 < found.n_iter < 50
    residual = moments.u - moments.H @ found.mean
    again = residual_covariance(moments, data, residual, cov_type)
    np.testing.assert_allclose(found.omega, again, atol=1e-9)


def test_converged_values_hardly_move(problem):
    data, moments, _, _, _ = problem
    priors, tol = prior_grid((1.0,), (1.0, 100.0), 2), 1e-3
    found = fit_kernel_iv(moments, data, priors, tol=tol)
    more = fit_kernel_iv(moments, data, priors, tol=1e-10, max_iter=found.n_iter + 1)
    change = moments.H @ (more.mean - found.mean)
    assert found.converged and more.n_iter == found.n_iter + 1
    assert np.sqrt(moments.masses @ change**2) < tol


def test_few_updates_are_reported(problem):
    data, moments, _, _, _ = problem
    found = fit_kernel_iv(moments, data, PRIORS[:1], max_iter=2, tol=1e-12)
    assert not found.converged and found.n_iter == 2


def test_expected_error_adds_the_squared_difference(problem):
    _, moments, _, omega, _ = problem
    fit = prior_fits(moments, omega, PRIORS[:1])[0]
    own = expected_error(moments, omega, fit.mean, PRIORS[0])
    np.testing.assert_allclose(own, fit.covariance())
    rng = np.random.default_rng(1)
    shift = rng.normal(size=len(fit.mean))
    moved = expected_error(moments, omega, fit.mean + shift, PRIORS[0])
    np.testing.assert_allclose(moved - own, np.outer(shift, shift), atol=1e-9)


def test_shrunk_covariance_is_ledoit_and_wolfs():
    rng = np.random.default_rng(2)
    for n in (15, 300):  # fewer rows than squares of columns, and many
        scores = rng.normal(size=(n, 12)) * np.linspace(0.5, 2.0, 12)
        expected, share = ledoit_wolf(scores, assume_centered=True)
        assert 0 < share < 1
        np.testing.assert_allclose(shrunk_covariance(scores, np.ones(n)), expected)


def test_copies_of_scores_are_rows():
    rng = np.random.default_rng(3)
    scores, copies = rng.normal(size=(30, 4)), rng.integers(1, 5, size=30)
    np.testing.assert_allclose(
        shrunk_covariance(scores, copies),
        shrunk_covariance(np.repeat(scores, copies, axis=0), np.ones(copies.sum())),
    )


def test_one_moment_or_no_spread_needs_no_shrinking():
    assert shrunk_covariance(np.array([[1.0], [3.0]]), np.ones(2)) == 5.0
    np.testing.assert_array_equal(shrunk_covariance(np.zeros((4, 3)), np.ones(4)), 0.0)


def test_clusters_are_sums(problem):
    data, moments, _, _, _ = problem
    groups = np.arange(N) // 4
    clustered = residual_covariance(
        moments, replace(data, groups=groups), moments.u, "cluster"
    )
    scores = (data.sample_weight * moments.u)[:, None] * moments.B
    sums = scores.reshape(N // 4, 4, -1).sum(axis=1)
    plain = ledoit_wolf(sums, assume_centered=True)[0]
    G = N // 4
    expected = plain * G / N * G / (G - 1) + 1e-8 * np.eye(len(plain))
    np.testing.assert_allclose(clustered, expected)
    # Each row its own cluster: the robust one but for its factor.
    single = residual_covariance(
        moments, replace(data, groups=np.arange(N)), moments.u, "cluster"
    )
    robust = residual_covariance(moments, data, moments.u, "robust")
    np.testing.assert_allclose(single * (N - 1) / N, robust, atol=1e-9)
