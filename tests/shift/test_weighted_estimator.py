"""Any estimator fitted with the weights of a weighter."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from causalweights import (
    DoubleKernelMeanMatching,
    KernelMeanMatching,
    ShiftWeightedEstimator,
)
from causalweights.shift import LogisticRatio, RuLSIF, TargetSample

WEIGHTERS = [
    KernelMeanMatching(),
    DoubleKernelMeanMatching(),
    LogisticRatio(),
    RuLSIF(),
]


@pytest.mark.parametrize("weighter", WEIGHTERS, ids=lambda w: type(w).__name__)
@pytest.mark.parametrize("estimator", [LogisticRegression(), Ridge()])
def test_it_is_a_fit_with_the_weights(estimator, weighter, labelled):
    X, y, target = labelled(120, 0, 90)
    model = ShiftWeightedEstimator(estimator, weighter).fit(X, y, X_target=target)
    beta = clone(weighter).fit(X, X_target=target).beta_
    assert_allclose(model.weights_, beta / beta.mean(), rtol=1e-12)
    direct = clone(estimator).fit(X, y, sample_weight=beta / beta.mean())
    assert_allclose(model.estimator_.coef_, direct.coef_, rtol=1e-10)
    assert_allclose(model.predict(target), direct.predict(target))
    assert model.score(X, y) == pytest.approx(direct.score(X, y))
    assert_array_equal(
        model.predict_weights(target), model.weighter_.predict_weights(target)
    )
    assert not hasattr(estimator, "coef_") and not hasattr(weighter, "beta_")


def test_both_styles_agree(both):
    apart, mixed = both
    model = ShiftWeightedEstimator(LogisticRegression(), KernelMeanMatching())
    one, two = clone(model).fit(**apart), model.fit(**mixed)
    assert_array_equal(one.estimator_.coef_, two.estimator_.coef_)
    assert_array_equal(one.weights_, two.weights_)
    # The masked outcome of target rows may be anything: here no number at all.
    y = mixed["y"].astype(float)
    y[mixed["sample_domain"] < 0] = np.nan
    line = ShiftWeightedEstimator(LinearRegression(), KernelMeanMatching())
    line.fit(mixed["X"], y, sample_domain=mixed["sample_domain"])
    again = clone(line).fit(
        apart["X"], apart["y"].astype(float), X_target=apart["X_target"]
    )
    assert_array_equal(line.estimator_.coef_, again.estimator_.coef_)


def test_sample_weights_reach_weighter_and_estimator(both, rng):
    apart, mixed = both
    weight = rng.integers(0, 3, size=150).astype(float)
    domain = mixed["sample_domain"]
    model = ShiftWeightedEstimator(LinearRegression(), KernelMeanMatching())
    one = clone(model).fit(**mixed, sample_weight=weight)
    s, r = weight[domain == 1], weight[domain == -1]
    target = TargetSample(apart["X_target"], r)
    two = clone(model).fit(apart["X"], apart["y"], X_target=target, sample_weight=s)
    assert_array_equal(one.estimator_.coef_, two.estimator_.coef_)
    weighter = KernelMeanMatching().fit(apart["X"], X_target=target, sample_weight=s)
    total = s * weighter.beta_
    assert_allclose(one.weights_, total / total[s > 0].mean(), rtol=1e-12)
    direct = LinearRegression().fit(apart["X"], apart["y"], sample_weight=total)
    assert_allclose(one.estimator_.coef_, direct.coef_, rtol=1e-8)


def test_it_is_of_the_estimators_kind(labelled):
    X, y, target = labelled(60, 0, 55)
    weighter = KernelMeanMatching()
    classes = ShiftWeightedEstimator(LogisticRegression(), weighter)
    assert is_classifier(classes) and not is_regressor(classes)
    assert is_regressor(ShiftWeightedEstimator(Ridge(), weighter))
    assert not hasattr(ShiftWeightedEstimator(Ridge(), weighter), "predict_proba")
    assert not hasattr(ShiftWeightedEstimator(LinearSVC(), weighter), "predict_proba")
    names = np.array(["no", "yes"])[y]
    classes.fit(X, names, X_target=target)
    assert classes.classes_.tolist() == ["no", "yes"]
    proba = classes.predict_proba(target)
    assert_allclose(np.exp(classes.predict_log_proba(target)), proba)
    assert_array_equal(classes.decision_function(target) > 0, proba[:, 1] > 0.5)
    loaded = pickle.loads(pickle.dumps(classes))
    assert_array_equal(loaded.predict(target), classes.predict(target))


def test_frames_reach_the_estimator_as_they_are(labelled):
    X, y, target = labelled(80, 0, 60)
    rng = np.random.default_rng(0)

    def frame(values):
        words = np.array(["a", "b"])[rng.integers(0, 2, size=len(values))]
        return pd.DataFrame({"u": values[:, 0], "town": words, "v": values[:, 1]})

    columns = make_column_transformer(
        (OneHotEncoder(), ["town"]), remainder=StandardScaler()
    )
    model = ShiftWeightedEstimator(
        make_pipeline(columns, LogisticRegression()), KernelMeanMatching()
    )
    model.fit(frame(X), y, X_target=frame(target))
    assert model.predict(frame(target)).shape == (60,)
    assert model.feature_names_in_.tolist() == ["u", "town", "v"]


def test_weighting_helps_a_misspecified_model():
    rng = np.random.default_rng(0)
    X, target = rng.normal(size=(400, 1)), rng.normal(1.5, 0.5, size=(300, 1))
    y, goal = X[:, 0] ** 2 + 0.1 * rng.normal(size=400), target[:, 0] ** 2
    plain = LinearRegression().fit(X, y)
    model = ShiftWeightedEstimator(LinearRegression(), DoubleKernelMeanMatching())
    model.fit(X, y, X_target=target)
    before, after = (np.mean((m.predict(target) - goal) ** 2) for m in (plain, model))
    assert after < 0.2 * before


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize(
    ("estimator", "grid"),
    [
        (LogisticRegression(), {"estimator__C": [0.01, 1.0]}),
        (RandomForestRegressor(10, random_state=0), {"estimator__max_depth": [1, 3]}),
    ],
)
def test_searches_over_estimator_and_weighter(estimator, grid, routing, labelled):
    X, y, target = labelled(90, 2, 60)
    model = ShiftWeightedEstimator(estimator, DoubleKernelMeanMatching())
    grid = {**grid, "weighter__D": [1.0, 4.0]}
    with sklearn.config_context(enable_metadata_routing=routing):
        search = GridSearchCV(model, grid, cv=3)
        search.fit(X, y, X_target=TargetSample(target))
    assert len(search.cv_results_["params"]) == 4
    assert np.all(np.isfinite(search.cv_results_["mean_test_score"]))
    assert search.predict(target).shape == (60,)
    assert search.best_score_ > 0.0


def test_searches_by_domain_score_the_source_rows(both):
    _, mixed = both
    X, y, domain = mixed.values()
    model = ShiftWeightedEstimator(LogisticRegression(), KernelMeanMatching())
    with sklearn.config_context(enable_metadata_routing=True):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the (source|target)")
            scores = cross_val_score(
                model, X, y, cv=3, params={"sample_domain": domain}
            )
    # Placeholders never score: with them 40 % of the rows would be wrong.
    assert np.all(scores > 0.6)
    model.fit(**mixed)
    direct = model.score(X, y, sample_domain=domain)
    assert direct == model.score(X[domain == 1], y[domain == 1])
    weight = np.arange(150.0)
    assert model.score(
        X, y, sample_domain=domain, sample_weight=weight
    ) == pytest.approx(
        model.score(X[domain == 1], y[domain == 1], sample_weight=weight[domain == 1])
    )
    with pytest.raises(ValueError, match="label -1, which no source row has"):
        model.score(X, y)


def test_a_pipeline_may_hold_it_last(labelled):
    X, y, target = labelled(80, 0, 60)
    scale = np.array([50.0, 0.1])
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = make_pipeline(
            StandardScaler(),
            ShiftWeightedEstimator(LogisticRegression(), KernelMeanMatching()),
            transform_input=["X_target"],
        )
        pipe.fit(X * scale, y, X_target=target * scale)
    scaler = StandardScaler().fit(X)
    direct = ShiftWeightedEstimator(LogisticRegression(), KernelMeanMatching())
    direct.fit(scaler.transform(X), y, X_target=scaler.transform(target))
    assert_allclose(pipe[-1].estimator_.coef_, direct.estimator_.coef_, rtol=1e-8)


def test_what_is_refused(labelled, nothing):
    X, y, target = labelled(60, 0, 55)
    with pytest.raises(ValueError, match="cannot be fitted with sample_weight"):
        ShiftWeightedEstimator(KNeighborsClassifier(), KernelMeanMatching()).fit(
            X, y, X_target=target
        )
    model = ShiftWeightedEstimator(LogisticRegression(), KernelMeanMatching())
    with pytest.raises(ValueError, match="target sample is missing"):
        model.fit(X, y)
    with pytest.raises(ValueError, match="y is missing"):
        model.fit(X, None, X_target=target)
    assert not [name for name in vars(model) if name.endswith("_")]
    with pytest.raises(ValueError, match="all source weights are zero"):
        ShiftWeightedEstimator(LogisticRegression(), nothing).fit(X, y, X_target=target)
