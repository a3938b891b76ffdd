"""R's WeightIt 2.0 on the 614-row Lalonde data, as its reference pages print it.

Their solver is OSQP with eps 1e-6; tolerances are half a unit of the printed digits
where the problem is smooth, and that solver's error for the energy weights.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from causalweights import (
    EntropyBalancer,
    IPMBalancer,
    PropensityWeighter,
    WeightedEffect,
    effective_sample_size,
)
from causalweights.datasets import load_lalonde

FIVE = ["age", "educ", "married", "nodegree", "re74"]


@pytest.fixture(scope="module")
def lalonde():
    data = load_lalonde()
    X = pd.get_dummies(data.X, columns=["race"], dtype=float)
    return X, data.y, data.treatment


def largest(weights, a, arm, count):
    return np.sort(weights[a.to_numpy() == arm])[::-1][:count]


def test_logistic_att(lalonde):
    X, _, a = lalonde
    fit = PropensityWeighter(estimand="att").fit(X, a)
    assert fit.ess_[0] == pytest.approx(99.82, abs=0.006)


def test_entropy_att_seven_covariates(lalonde):
    X, y, a = lalonde
    fit = EntropyBalancer(estimand="att").fit(X, a)
    assert fit.ess_[0] == pytest.approx(98.46, abs=0.006)
    effects = {
        (model is None, inference): WeightedEffect(
            EntropyBalancer(estimand="att"),
            outcome_model=model,
            cv=None,
            se="m_estimation",
            inference=inference,
        ).fit(X, y, treatment=a)
        for model, inference in (
            (None, "population"),
            (LinearRegression(), "population"),
            (LinearRegression(), "sample"),
        )
    }
    for effect in effects.values():
        assert effect.effect_ == pytest.approx(1273, abs=0.5)
    # WeightIt's is conditional on the treated units' covariates: SE 770, -236 to 2783.
    sample = effects[False, "sample"]
    assert sample.se_ == pytest.approx(770.155, abs=5e-4)
    np.testing.assert_allclose(sample.conf_int()[0], [-236, 2783], atol=1)
    # The population's effect, our default, with or without the linear model.
    assert effects[False, "population"].se_ == pytest.approx(789.745, abs=5e-4)
    assert effects[True, "population"].se_ == pytest.approx(789.745, abs=5e-4)


def test_entropy_att_five_covariates(lalonde):
    X, _, a = lalonde
    fit = EntropyBalancer(estimand="att").fit(X[FIVE], a)
    controls = fit.weights_[a.to_numpy() == 0]
    assert fit.ess_[0] == pytest.approx(252.12, abs=0.006)
    assert effective_sample_size(controls) == pytest.approx(252.12, abs=0.006)
    assert controls.std(ddof=1) / controls.mean() == pytest.approx(0.839, abs=6e-4)
    np.testing.assert_allclose(
        largest(fit.weights_, a, 0, 5),
        [5.247, 4.043, 3.655, 3.443, 3.396],
        atol=6e-4,
    )


def test_energy_ate_joint_form(lalonde):
    X, _, a = lalonde
    # lambda 1e-4 is 5e-5 in our notation; their SD has n - 1, which moves the third
    # digit of the ESS at most.
    fit = IPMBalancer(estimand="ate", ridge=5e-5, min_weight=1e-8).fit(X[FIVE], a)
    assert fit.ess_[0] == pytest.approx(182.78, abs=0.04)
    assert fit.ess_[1] == pytest.approx(80.09, abs=0.01)
    np.testing.assert_allclose(
        largest(fit.weights_, a, 0, 3), [12.926, 6.539, 5.163], atol=2e-3
    )
    np.testing.assert_allclose(
        largest(fit.weights_, a, 1, 3), [7.527, 5.738, 4.725], atol=2e-3
    )
    t = a.to_numpy() == 1
    for name, difference in (("married", -0.0055), ("nodegree", 0.0006)):
        x = X[name].to_numpy(dtype=float)
        means = fit.masses_[t] @ x[t] - fit.masses_[~t] @ x[~t]
        assert means == pytest.approx(difference, abs=6e-5)
