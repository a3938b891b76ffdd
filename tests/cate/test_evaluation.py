"""Averages, tests and rankings from a fit: the functions on its own nuisances."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.special import expit
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression, LogisticRegression

from causalweights import PseudoOutcomeRegressor, RLearner
from causalweights.cate import (
    average_effect,
    calibration_test,
    gates,
    median_result,
    qini_score,
    rate_score,
    targeting_curve,
)
from causalweights.datasets import make_nie_wager
from causalweights.inference import compare

LINEAR = {
    "outcome_model": LinearRegression(), "propensity_model": LogisticRegression(C=1e6),
    "final_model": LinearRegression(),
}  # fmt: skip


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2))
    a = (rng.uniform(size=500) < expit(X[:, 0])).astype(int)
    y = X.sum(axis=1) + a * (1 + X[:, 1]) + rng.normal(size=500)
    return X, y, a


@pytest.fixture(scope="module")
def model(sample):
    X, y, a = sample
    options = {**LINEAR, "outcome_strategy": "separate"}
    return PseudoOutcomeRegressor(**options).fit(X, y, treatment=a)


def test_the_ate_is_the_mean_pseudo_outcome(model):
    f = model.pseudo_outcome_
    found = model.average_effect()
    assert found.effect == pytest.approx(f.mean(), abs=1e-12)
    assert found.se == pytest.approx(f.std() / 500**0.5, rel=1e-10)
    assert model.average_effect("atc").effect != found.effect
    assert len(compare(found, model.average_effect("att"))) == 2


def test_the_overlap_effect_is_in_residual_form(sample, model):
    _, y, a = sample
    m, p = model.nuisances_["means"], model.nuisances_["propensity"][:, 1]
    eta = p * m[:, 1] + (1 - p) * m[:, 0]
    found = model.refit_final(target="overlap").average_effect()
    expected = np.sum((a - p) * (y - eta)) / np.sum((a - p) ** 2)
    assert found.effect == pytest.approx(expected)
    assert found.effect == model.average_effect("ato").effect


def test_best_linear_predictor_is_robust_least_squares(sample, model):
    X, y, a = sample
    found = model.best_linear_predictor()
    ols = sm.OLS(model.pseudo_outcome_, sm.add_constant(X)).fit(cov_type="HC3")
    assert np.allclose(found.effect, ols.params, atol=1e-10)
    assert np.allclose(found.se, ols.bse, atol=1e-10)
    assert found.names == ["const", "x0", "x1"]
    scores = ols.resid[:, None] * sm.add_constant(X)
    influence = scores @ np.linalg.inv(sm.add_constant(X).T @ sm.add_constant(X)) * 500
    assert np.allclose(found.influence, influence, atol=1e-8)
    overlap = model.best_linear_predictor(target="overlap")
    m, p = model.nuisances_["means"], model.nuisances_["propensity"][:, 1]
    eta = p * m[:, 1] + (1 - p) * m[:, 0]
    design = (a - p)[:, None] * sm.add_constant(X)
    ols = sm.OLS(y - eta, design).fit(cov_type="HC3")
    assert np.allclose(overlap.effect, ols.params, atol=1e-10)
    assert np.allclose(overlap.se, ols.bse, atol=1e-10)
    frame = pd.DataFrame({"age": X[:, 0], "sex": np.where(X[:, 1] > 0, "m", "f")})
    assert model.best_linear_predictor(frame).names[:2] == ["const", "age"]
    with pytest.raises(ValueError, match="pass the fitted rows'"):
        model.best_linear_predictor(X[:10])
    with pytest.raises(ValueError, match="choose 'population' or 'overlap'"):
        model.best_linear_predictor(target="all")


def test_groups_and_tests_are_of_later_folds_by_models_of_earlier_ones(sample, model):
    X, y, a = sample
    fold, f, w = model.folds_, model.pseudo_outcome_, model.weights_
    g = np.zeros(len(y))
    for k in range(1, 5):
        fit = LinearRegression().fit(X[fold < k], f[fold < k], w[fold < k])
        g[fold == k] = fit.predict(X[fold == k])
    later = fold > 0
    assert np.allclose(model.sequential_effect_[later], g[later], atol=1e-10)
    assert np.array_equal(np.isnan(model.sequential_effect_), ~later)
    m, p = model.nuisances_["means"][later], model.nuisances_["propensity"][later]
    rows = {
        "treatment": a[later], "propensity": p[:, 1], "mean_0": m[:, 0],
        "mean_1": m[:, 1], "folds": fold[later],
    }  # fmt: skip
    for found, expected in (
        (model.group_effects(4), gates(y[later], g[later], n_groups=4, **rows)),
        (model.calibration_test(), calibration_test(y[later], g[later], **rows)),
        (model.rank_score(), rate_score(y[later], g[later], **rows)),
        (model.rank_score("qini"), qini_score(y[later], g[later], **rows)),
        (
            model.targeting_curve([0.1, 0.5]),
            targeting_curve(y[later], g[later], shares=[0.1, 0.5], **rows),
        ),
    ):
        assert found.effect == pytest.approx(expected.effect, abs=1e-9)
        assert found.se == pytest.approx(expected.se, abs=1e-9)
        assert len(found.influence) == len(y) and not np.any(found.influence[~later])
    with pytest.raises(ValueError, match="choose 'autoc' or 'qini'"):
        model.rank_score("auc")


def test_a_second_fit_forgets_the_effects_of_the_first(sample):
    X, y, a = sample
    model = PseudoOutcomeRegressor(**LINEAR).fit(X, y, treatment=a)
    before = model.oof_effect_
    model.fit(X, -y, treatment=a)
    assert np.allclose(model.oof_effect_, -before)


@pytest.mark.slow
def test_without_heterogeneity_tests_have_their_level():
    statistics = []
    for rep in range(400):
        rng = np.random.default_rng([4, rep])
        X = rng.normal(size=(500, 3))
        a = rng.integers(0, 2, 500)
        y = X[:, 0] + a + rng.normal(size=500)
        model = PseudoOutcomeRegressor(**LINEAR).fit(X, y, treatment=a)
        found = (
            model.calibration_test(), model.calibration_test("dr"),
            model.rank_score(), model.rank_score("qini"), model.group_effects(),
        )  # fmt: skip
        statistics.append(
            [np.atleast_1d(one.effect / one.se)[-1] for one in found[2:]]
            + [one.statistic[1] for one in found[:2]]
        )
    rejected = np.mean(np.array(statistics) > 1.645, axis=0)
    assert np.all((rejected > 0.015) & (rejected < 0.09)), rejected
    assert np.all(np.abs(np.std(statistics, axis=0) - 1) < 0.15)


def test_without_arm_means_they_follow_from_eta_and_the_effect(sample):
    X, y, a = sample
    model = RLearner(**LINEAR).fit(X, y, treatment=a)
    p, eta = model.nuisances_["propensity"], model.nuisances_["mean"]
    g = model.oof_effect_
    means = {"mean_0": eta - p[:, 1] * g, "mean_1": eta + p[:, 0] * g}
    expected = average_effect(y, treatment=a, propensity=p[:, 1], **means)
    assert model.average_effect("ate").effect == pytest.approx(expected.effect)


def test_repetitions_and_clusters(sample):
    X, y, a = sample
    groups = np.arange(500) // 5
    options = {**LINEAR, "n_rep": 3}
    model = PseudoOutcomeRegressor(**options).fit(X, y, treatment=a, groups=groups)
    f = model.pseudo_outcome_
    parts = []
    for one in f:
        sums = np.bincount(groups, weights=one - one.mean())
        parts.append((one.mean(), np.sqrt(100 / 99 * np.sum(sums**2)) / 500))
    effects, errors = np.array(parts).T
    found = model.average_effect()
    middle = np.median(effects)
    assert found.effect == pytest.approx(middle)
    spread = np.median(errors**2 + (effects - middle) ** 2)
    assert found.se == pytest.approx(spread**0.5)
    assert model.best_linear_predictor().se[0] > 0
    with pytest.raises(ValueError, match="at least one result"):
        median_result([])


def test_one_of_several_arms():
    rng = np.random.default_rng(1)
    X, a = rng.normal(size=(600, 2)), rng.integers(0, 3, 600)
    y = X[:, 0] + a + rng.normal(size=600)
    model = PseudoOutcomeRegressor(**LINEAR).fit(X, y, treatment=a)
    for arm in (1, 2):
        assert model.average_effect(arm=arm).effect == pytest.approx(
            model.pseudo_outcome_[:, arm - 1].mean()
        )
    assert model.average_effect("ato", arm=2).effect == pytest.approx(2, abs=0.4)
    with pytest.raises(ValueError, match=r"choose one of \[1, 2\]"):
        model.average_effect()


def test_a_dose_has_the_residual_forms_alone():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(400, 2))
    dose = X[:, 0] + rng.normal(size=400)
    y = dose * (1 + X[:, 1]) + rng.normal(size=400)
    model = RLearner(
        **{**LINEAR, "propensity_model": LinearRegression()},
        treatment_type="continuous", target="overlap", min_relative_weight=0.0,
    ).fit(X, y, treatment=dose)  # fmt: skip
    assert model.average_effect().effect == pytest.approx(1, abs=0.3)
    assert np.allclose(model.best_linear_predictor().effect, [1, 0, 1], atol=0.3)
    assert model.calibration_test().effect[1] == pytest.approx(1, abs=0.3)
    with pytest.raises(ValueError, match="for arms"):
        model.group_effects()
    with pytest.raises(ValueError, match="use target='overlap'"):
        model.best_linear_predictor(target="population")


class Truth(RegressorMixin, BaseEstimator):
    """The outcome's mean in setup B, of covariates and treatment."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        x, a = X[:, :-1].T, X[:, -1]
        b = np.maximum.reduce([0 * x[0], x[0] + x[1], x[2]])
        b += np.maximum(0, x[3] + x[4])
        return b + (a - 0.5) * (x[0] + np.logaddexp(0, x[1]))


@pytest.mark.parametrize("reps", [100, pytest.param(500, marks=pytest.mark.slow)])
def test_average_effect_covers_with_known_propensities(reps):
    options = LINEAR | {"outcome_model": Truth()}
    covered = []
    for rep in range(reps):
        data = make_nie_wager(500, setup="B", n_features=5,
                              random_state=np.random.default_rng([2, rep]))  # fmt: skip
        model = PseudoOutcomeRegressor(**options).fit(
            data.X, data.y, treatment=data.treatment, propensity=np.full(500, 0.5)
        )
        assert np.allclose(model.nuisances_["means"][:, 1], data.mu1)
        low, high = model.average_effect().conf_int()[0]
        covered.append(low <= data.true_ate <= high)
    error = 0.0 if reps == 500 else 0.04
    assert 0.92 - error <= np.mean(covered) <= 0.98 + error
