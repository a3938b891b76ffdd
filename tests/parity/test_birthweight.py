"""Cattaneo's birth weights: published treatment effects of smoking.

statsmodels' own tests carry Stata's and its IPW and AIPW figures for this data set.
"""

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline

from causalweights import PropensityWeighter, WeightedEffect
from causalweights.datasets import load_birthweight

PROPENSITY = ["mmarried", "mage", "mage2", "fbaby", "medu"]
OUTCOME = ["prenatal1", "mmarried", "mage", "fbaby"]
DIGITS = 6e-5  # figures are stated to four decimals


def choose(columns):
    return make_column_transformer(("passthrough", columns))


@pytest.fixture(scope="module")
def smoking():
    data = load_birthweight()
    return data.X.assign(mage2=data.X["mage"] ** 2), data.y, data.treatment


@pytest.fixture(scope="module")
def outcome_model():
    return make_pipeline(choose(OUTCOME), LinearRegression())


@pytest.fixture(scope="module")
def probit(smoking):
    import statsmodels.api as sm

    X, _, a = smoking
    design = sm.add_constant(X[PROPENSITY].astype(float))
    return np.asarray(sm.Probit(a, design).fit(disp=0).predict())


def test_logistic_weights(smoking, outcome_model):
    X, y, a = smoking
    weighter = make_pipeline(
        choose(PROPENSITY),
        PropensityWeighter(propensity_model=LogisticRegression(C=np.inf)),
    )
    plain = WeightedEffect(weighter, outcome_model=None, se="m_estimation")
    augmented = WeightedEffect(weighter, outcome_model=outcome_model, cv=None)
    assert plain.fit(X, y, treatment=a).effect_ == pytest.approx(-231.7203, abs=DIGITS)
    assert augmented.fit(X, y, treatment=a).effect_ == pytest.approx(
        -231.8231, abs=DIGITS
    )


def test_probit_weights_and_the_published_unnormalised_figure(
    smoking, outcome_model, probit
):
    X, y, a = smoking
    weighter = PropensityWeighter().fit(X[PROPENSITY], a, propensity=probit)
    frozen = FrozenEstimator(weighter)
    plain = WeightedEffect(weighter.weights_, outcome_model=None, cv=2, estimand="ate")
    augmented = WeightedEffect(frozen, outcome_model=outcome_model, cv=None)
    assert plain.fit(X, y, treatment=a).effect_ == pytest.approx(-230.6886, abs=DIGITS)
    augmented.fit(X, y, treatment=a)
    assert augmented.effect_ == pytest.approx(-230.7866, abs=DIGITS)
    # statsmodels prints -230.9892: the same augmentation with weights that are not
    # normalised within the arms.
    m = np.empty((len(a), 2))
    treated = a.to_numpy() == 1
    design = X[OUTCOME].to_numpy(dtype=float)
    for arm, mine in enumerate((~treated, treated)):
        m[:, arm] = LinearRegression().fit(design[mine], y[mine]).predict(design)
    raw = np.where(treated, 1 / probit, 1 / (1 - probit)) / len(a)
    for weights, figure in ((raw, -230.9892), (weighter.masses_, augmented.effect_)):
        residual = weights * (y.to_numpy() - np.where(treated, m[:, 1], m[:, 0]))
        effect = np.mean(m[:, 1] - m[:, 0])
        effect += residual[treated].sum() - residual[~treated].sum()
        assert effect == pytest.approx(figure, abs=DIGITS)


def test_regression_adjustment(smoking, outcome_model):
    X, y, a = smoking
    fit = WeightedEffect(None, outcome_model=outcome_model, cv=None).fit(
        X, y, treatment=a
    )
    assert fit.effect_ == pytest.approx(-239.6392, abs=DIGITS)
    assert fit.se_ == pytest.approx(23.82, abs=0.005)
    columns = WeightedEffect(
        weighter=None, outcome_model=LinearRegression(), cv=None
    ).fit(X[OUTCOME], y, treatment=a)
    assert columns.effect_ == pytest.approx(fit.effect_, abs=1e-8)
