"""IPMBalancer's log-linear weights and the authors' training, as fitted."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.exceptions import ConvergenceWarning

from causalweights import EntropyBalancer, IPMBalancer, WeightedEffect

LOGLINEAR = {"weight_model": "loglinear", "between_arms": False}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 3))
    a = (0.7 * X[:, 0] - 0.4 * X[:, 1] + rng.normal(size=150) > 0).astype(int)
    return X, a


@pytest.mark.parametrize("estimand", ["ate", "att", "atc"])
@pytest.mark.parametrize("discriminator", ["energy", "gaussian"])
def test_log_linear_weights_are_what_they_say(estimand, discriminator, data):
    X, a = data
    options = dict(estimand=estimand, discriminator=discriminator, between_arms=False)
    fit = IPMBalancer(weight_model="loglinear", **options).fit(X, a)
    best = IPMBalancer(**options).fit(X, a)
    Z = np.column_stack([np.ones(150), (X - X.mean(axis=0)) / X.std(axis=0)])
    for k in fit.objective_:
        own, share = a == k, np.mean(a == k) if estimand == "ate" else 0.0
        log_odds = np.log(fit.weights_[own] - share)
        beta = np.linalg.lstsq(Z[own], log_odds)[0]
        assert_allclose(Z[own] @ beta, log_odds, atol=1e-8)
        assert best.objective_[k] <= fit.objective_[k] < fit.discrepancy_before_[k]
        # The gap bounds what weights of any form could gain.
        assert fit.gap_[k] >= fit.objective_[k] - best.objective_[k] - 1e-9
    assert fit.converged_ and set(fit.solver_.values()) == {"lbfgs"}
    assert_allclose(fit.predict_weights(X, a), fit.weights_, rtol=1e-9)
    assert fit.witness(X).shape[0] == 150


def test_means_alone_are_entropy_balancing(data):
    X, a = data
    fit = IPMBalancer(
        estimand="att", discriminator="linear", ridge=0.0, **LOGLINEAR
    ).fit(X, a)
    entropy = EntropyBalancer(estimand="att").fit(X, a)
    assert_allclose(fit.weights_, entropy.weights_, atol=1e-5)


def test_log_linear_weights_of_frequencies_and_targets(data):
    X, a = data
    times = np.random.default_rng(1).integers(1, 4, 150)
    rows = np.repeat(np.arange(150), times)
    options = dict(discriminator="energy", weight_type="frequency", **LOGLINEAR)
    weighted = IPMBalancer(**options).fit(X, a, sample_weight=times)
    copied = IPMBalancer(**options).fit(X[rows], a[rows])
    assert_allclose(copied.weights_, weighted.weights_[rows], rtol=1e-4)
    T = X[:40] + 0.3
    moved = IPMBalancer(target=T, **LOGLINEAR).fit(X, a)
    assert all(
        moved.discrepancy_[k] < 0.5 * moved.discrepancy_before_[k] for k in (0, 1)
    )


@pytest.mark.parametrize("model", ["nonparametric", "loglinear"])
def test_the_authors_algorithm_stops_short_and_says_so(model, data):
    X, a = data
    preset = IPMBalancer.kong2023(estimand="att", weight_model=model)
    with pytest.warns(ConvergenceWarning, match="Raise epochs or take another solver"):
        fit = preset.fit(X, a)
    exact = IPMBalancer(
        estimand="att", discriminator="gaussian", bandwidth=10.0, ridge=0.0
    ).fit(X, a)
    assert fit.n_iter_[0] == 1000 and fit.ridge_ == 0.0 and not fit.converged_
    assert exact.discrepancy_[0] < fit.discrepancy_[0] < fit.discrepancy_before_[0] / 20
    assert fit.gap_[0] >= fit.discrepancy_[0] - exact.discrepancy_[0]
    assert hasattr(fit, "predict_weights") is (model == "loglinear")


@pytest.mark.parametrize("discriminator", ["sigmoid", "wasserstein"])
def test_adversaries_have_no_certificate(discriminator, data):
    X, a = data
    with pytest.warns(ConvergenceWarning):
        fit = IPMBalancer.kong2023(
            estimand="att", discriminator=discriminator, epochs=60, random_state=3
        ).fit(X, a)
    again = IPMBalancer.kong2023(
        estimand="att", discriminator=discriminator, epochs=60, random_state=3
    )
    with pytest.warns(ConvergenceWarning):
        np.testing.assert_array_equal(again.fit(X, a).weights_, fit.weights_)
    assert fit.gap_[0] == np.inf and fit.discrepancy_[0] < fit.discrepancy_before_[0]
    with pytest.raises(ValueError, match="no witness"):
        fit.witness(X)


def test_effects_take_them(data):
    X, a = data
    y = X[:, 0] + a + np.random.default_rng(2).normal(size=150)
    weighter = IPMBalancer(estimand="att", **LOGLINEAR)
    result = WeightedEffect(weighter, estimand="att").fit(X, y, treatment=a)
    assert abs(result.effect_ - 1) < 4 * result.se_


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_model": "loglinear"}, "between_arms=False"),
        ({"solver": "adam"}, "between_arms=False"),
        ({"estimand": "att", "solver": "adam"}, "trains against"),
        ({"estimand": "att", "solver": "adam", "ridge": 0.1,
          "discriminator": "sigmoid"}, "no ridge"),
        ({"estimand": "att", **LOGLINEAR, "discriminator": "sigmoid"}, "only solver"),
        ({"estimand": "att", **LOGLINEAR, "discriminator": None, "moments": 1},
         "no moments"),
        ({"estimand": "att", **LOGLINEAR, "max_weight": 3.0}, "no bounds"),
        ({"estimand": "att", **LOGLINEAR, "solver": "low_rank"}, "solver='auto'"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together_are_refused(options, message, data):
    with pytest.raises(ValueError, match=message):
        IPMBalancer(**options).fit(*data)
