"""GEL against Owen's empirical likelihood, scipy and published figures."""

import numpy as np
import pytest
from scipy.optimize import minimize
from statsmodels.emplike.descriptive import DescStat

from causalweights.datasets import load_card
from causalweights.moments import MomentModel
from causalweights.moments._gel import GEL


class TwoMeans(MomentModel):
    """One theta is the mean of y and of the first regressor."""

    conditional = False

    def residual(self, theta, data):
        return np.column_stack([data.y, data.X[:, 0]]) - theta[0]

    def start(self, data):
        return np.array([data.y.mean()])


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    y = rng.gamma(2.0, size=80)
    return y[:, None] + rng.normal(scale=0.5, size=(80, 1)), y


def test_card_overidentified():
    card = load_card(instruments=("nearc2", "nearc4"))
    for divergence, value in [("kl", 0.1622988), ("log", 0.1622306)]:
        model = GEL(divergence=divergence, fit_intercept=True)
        model.fit(card.X, card.y, instruments=card.instruments)
        assert model.params_[0] == pytest.approx(value, abs=1e-7)
        assert model.converged_ and abs(model.dual_.gap) < 1e-12


def test_likelihood_ratio_is_owens(pair):
    """Both means equal to theta: the joint empirical likelihood of two means."""
    X, y = pair
    model = GEL(TwoMeans(), divergence="log").fit(X, y)
    both = DescStat(np.column_stack([y, X[:, 0]]))

    def ratio(theta):
        mean = np.array([theta[0], theta[0]])
        return both.mv_test_mean(mean, result_object=True).llr

    owen = minimize(ratio, [y.mean()], method="Nelder-Mead", options={"xatol": 1e-8})
    assert 2 * 80 * model.objective_ == pytest.approx(owen.fun, rel=1e-6)
    assert model.params_[0] == pytest.approx(owen.x[0], abs=1e-5)


def test_tilting_is_a_saddle_point(pair):
    X, y = pair
    model = GEL(TwoMeans()).fit(X, y)

    def profile(theta):
        M = np.column_stack([y, X[:, 0]]) - theta[0]
        return -np.log(minimize(lambda b: np.mean(np.exp(-M @ b)), np.zeros(2)).fun)

    best = minimize(profile, [y.mean()], method="Nelder-Mead", options={"xatol": 1e-8})
    assert model.params_[0] == pytest.approx(best.x[0], abs=1e-4)
    assert model.objective_ == pytest.approx(best.fun, abs=1e-8)


def test_standard_error_is_that_of_the_efficient_combination(pair):
    X, y = pair
    model = GEL(TwoMeans()).fit(X, y)
    M = np.column_stack([y, X[:, 0]]) - model.params_[0]
    ones = np.ones(2)
    W, omega = np.linalg.inv(np.cov(M.T, bias=True)), M.T @ M / 80
    bread = 1 / (ones @ W @ ones)
    expected = bread**2 * (ones @ W @ omega @ W @ ones) / 80
    assert model.se_[0] == pytest.approx(np.sqrt(expected), rel=1e-6)


def test_chi2_is_continuous_updating_with_a_centred_weight(pair):
    X, y = pair
    model = GEL(TwoMeans(), divergence="chi2").fit(X, y)

    def objective(theta):
        M = np.column_stack([y, X[:, 0]]) - theta[0]
        mean = M.mean(axis=0)
        return mean @ np.linalg.solve(np.cov(M.T, bias=True), mean) / 2

    best = minimize(objective, [y.mean()], tol=1e-12)
    assert model.params_[0] == pytest.approx(best.x[0], abs=1e-5)
    assert model.objective_ == pytest.approx(best.fun, rel=1e-8)
