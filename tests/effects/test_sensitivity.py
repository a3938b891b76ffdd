"""Sensitivity analyses of fitted effects: the parts are those of the fit."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from causalweights import IPMBalancer, WeightedEffect
from causalweights.inference import sensitivity_parts


@pytest.fixture
def data(rng):
    X = rng.normal(size=(200, 2))
    a = (X[:, 0] + rng.normal(size=200) > 0).astype(int)
    return X, X[:, 0] + 0.8 * a + rng.normal(size=200), a


@pytest.mark.parametrize("estimand", ["ate", "att", "atc"])
def test_parts_come_from_the_fit(estimand, data):
    X, y, a = data
    fit = WeightedEffect(
        IPMBalancer(estimand=estimand), outcome_model=LinearRegression(), cv=None
    ).fit(X, y, treatment=a)
    models = [LinearRegression().fit(X[a == k], y[a == k]) for k in (0, 1)]
    predictions = np.column_stack([m.predict(X) for m in models])
    expected = sensitivity_parts(
        y, a, fit.masses_, predictions, target_arm={"att": 1, "atc": 0}.get(estimand)
    )
    found = fit.result_.sensitivity
    assert found.sd_outcome == pytest.approx(expected.sd_outcome)
    np.testing.assert_allclose(found.scale, expected.scale)
    text = str(fit.summary(sensitivity=True))
    assert "E-value" in text and "robustness" in text
    assert "E-value" not in str(fit.summary())


def test_a_target_outside_keeps_the_samples_rows(data):
    X, y, a = data
    fit = WeightedEffect(IPMBalancer(target=X[:50] + 0.2)).fit(X, y, treatment=a)
    assert np.all(np.isfinite(fit.result_.sensitivity.scale))


def test_without_weights_there_is_none(data):
    X, y, a = data
    fit = WeightedEffect(
        None, outcome_model=LinearRegression(), cv=None, se="m_estimation"
    ).fit(X, y, treatment=a)
    with pytest.raises(ValueError, match="sensitivity analysis needs"):
        fit.summary(sensitivity=True)
