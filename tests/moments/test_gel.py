"""GEL against Owen's empirical likelihood, scipy and published figures."""

import numpy as np
import pytest
from scipy.optimize import minimize, root
from sklearn.exceptions import ConvergenceWarning
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


@pytest.mark.parametrize(
    ("divergence", "weights", "slope", "ratio"),
    [
        ("kl", lambda v: np.exp(-v), 0.1622988520, 1.26115218),
        ("log", lambda v: 1 / (1 + v), 0.1622306457, 1.26022054),
    ],
)
def test_card_solves_the_first_order_conditions(divergence, weights, slope, ratio):
    """Sums of weights(b'm) times m, and times its slope in theta along b, are zero."""
    card = load_card(instruments=("nearc2", "nearc4"))
    y, n = card.y.to_numpy(float), len(card.y)
    X = np.column_stack([card.X.to_numpy(float), np.ones(n)])
    Z = np.column_stack([card.instruments.to_numpy(float), np.ones(n)])
    X[:, 1:], Z = (np.sqrt(n) * np.linalg.qr(part)[0] for part in (X[:, 1:], Z))

    def conditions(unknown):
        theta, b = unknown[: X.shape[1]], unknown[X.shape[1] :]
        residual = y - X @ theta
        p = weights(residual * (Z @ b)) / n
        return np.concatenate([Z.T @ (p * residual), X.T @ (p * (Z @ b))])

    first = Z @ (Z.T @ X) / n
    two_stage = np.linalg.solve(first.T @ X, first.T @ y)
    found = root(conditions, np.r_[two_stage, np.zeros(Z.shape[1])], tol=1e-13).x
    assert found[0] == pytest.approx(slope, abs=1e-8)
    model = GEL(divergence=divergence, fit_intercept=True)
    model.fit(card.X, card.y, instruments=card.instruments)
    assert model.params_[0] == pytest.approx(found[0], abs=1e-8)
    assert 2 * n * model.objective_ == pytest.approx(ratio, abs=1e-7)
    assert model.converged_ and abs(model.dual_.gap) < 1e-12


@pytest.mark.filterwarnings("ignore:DescStatMV.mv_test_mean:FutureWarning")
def test_likelihood_ratio_is_owens(pair):
    """Both means equal to theta: the joint empirical likelihood of two means."""
    X, y = pair
    model = GEL(TwoMeans(), divergence="log").fit(X, y)
    both = DescStat(np.column_stack([y, X[:, 0]]))

    def ratio(theta):
        mean = np.array([theta[0], theta[0]])
        return both.mv_test_mean(mean)[0]

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


@pytest.mark.parametrize("divergence", ["kl", "chi2"])
def test_an_objective_lowest_at_infinity_is_said(divergence):
    """Four weak instruments: V falls towards its limit, past which there is no more."""
    rng = np.random.default_rng([99, 3])
    z = rng.normal(size=(250, 4))
    v, e = rng.normal(size=(2, 250))
    scale = 0.4 + np.abs(z[:, 0])
    t = z.sum(axis=1) / np.sqrt(250) + scale * v
    y = t + 2.0 + scale * (0.95 * v + np.sqrt(1 - 0.95**2) * e)
    model = GEL(divergence=divergence, fit_intercept=True)
    with pytest.warns(ConvergenceWarning, match="weak instruments"):
        model.fit(t[:, None], y, instruments=z)
    assert not model.converged_ and abs(model.params_[0]) > 1e8
