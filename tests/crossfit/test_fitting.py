"""Weights reach every learner in the same way in both metadata-routing modes."""

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import AdaBoostRegressor, BaggingRegressor
from sklearn.linear_model import (
    LassoCV,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Ridge,
)
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causalweights.crossfit import check_takes_weights, fit_with_weights
from causalweights.learners import WeightedKernelRidge

SCALED_COLUMNS = make_column_transformer(
    (StandardScaler(), [0, 1]), remainder="passthrough"
)


@pytest.fixture
def sample(rng):
    """Return covariates, a binary outcome and uneven weights."""
    X = rng.normal(size=(80, 3))
    y = (X[:, 0] + rng.normal(size=80) > 0).astype(float)
    return X, y, rng.uniform(0.05, 3.0, 80)


@pytest.fixture(params=[False, True], ids=["plain", "routing"])
def routing(request):
    """Run a test in both metadata-routing modes."""
    with sklearn.config_context(enable_metadata_routing=request.param):
        yield request.param


def predicted(model, X):
    return getattr(model, "predict_proba", model.predict)(X)


@pytest.mark.parametrize(
    "model",
    [
        LinearRegression(),
        LassoCV(cv=3),
        LogisticRegression(),
        LogisticRegressionCV(cv=3, Cs=3, scoring="neg_log_loss"),
        BaggingRegressor(LinearRegression(), n_estimators=3, random_state=0),
        AdaBoostRegressor(n_estimators=3, random_state=0),
        CalibratedClassifierCV(LogisticRegression(), cv=3),
        WeightedKernelRidge(bandwidth=1.0, ridge=0.1),
        make_pipeline(StandardScaler(), Ridge()),
        make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), Ridge())),
        make_pipeline(SCALED_COLUMNS, LogisticRegression()),
        make_pipeline("passthrough", WeightedKernelRidge(bandwidth=1.0, ridge=0.1)),
    ],
    ids=lambda model: "-".join(type(step).__name__ for step in getattr(
        model, "named_steps", {"": model}).values()),
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_both_modes_fit_the_same_weighted_model(sample, model):
    X, y, weight = sample
    fits = []
    for mode in (False, True):
        with sklearn.config_context(enable_metadata_routing=mode):
            fitted = fit_with_weights(clone(model), X, y, weight)
            fits.append(predicted(fitted, X))
            unweighted = predicted(fit_with_weights(clone(model), X, y), X)
        assert not np.allclose(fits[-1], unweighted)
    assert np.array_equal(fits[0], fits[1])


def test_pipeline_equals_its_last_step_fitted_by_hand(sample, routing):
    X, y, weight = sample
    model = fit_with_weights(make_pipeline(StandardScaler(), Ridge()), X, y, weight)
    Z = StandardScaler().fit_transform(X)
    expected = Ridge().fit(Z, y, sample_weight=weight).predict(Z)
    assert np.array_equal(model.predict(X), expected)


def test_a_step_that_requests_weights_gets_them(sample):
    X, y, weight = sample
    with sklearn.config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        for first in (scaler, make_pipeline(scaler, "passthrough")):
            model = make_pipeline(clone(first), StandardScaler(), Ridge())
            fit_with_weights(model, X, y, weight)
            Z = StandardScaler().fit(X, sample_weight=weight).transform(X)
            Z = StandardScaler().fit_transform(Z)
            expected = Ridge().fit(Z, y, sample_weight=weight).predict(Z)
            assert np.allclose(model.predict(X), expected)


def test_a_last_step_that_refuses_weights_is_named(sample):
    X, y, weight = sample
    with sklearn.config_context(enable_metadata_routing=True):
        model = make_pipeline(
            StandardScaler().set_fit_request(sample_weight=True),
            Ridge().set_fit_request(sample_weight=False),
        )
        with pytest.raises(ValueError, match=r"Ridge was set to request .*=False"):
            fit_with_weights(model, X, y, weight)


class NoWeights(RegressorMixin, BaseEstimator):
    """A learner whose fit takes no weights."""

    def fit(self, X, y):
        self.mean_ = np.mean(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (NoWeights(), "NoWeights"),
        (KNeighborsRegressor(), "KNeighborsRegressor"),
        (make_pipeline(StandardScaler(), KNeighborsRegressor()), "KNeighborsRegressor"),
        (GridSearchCV(KNeighborsRegressor(), {}), "KNeighborsRegressor"),
        (make_pipeline(StandardScaler(), "passthrough"), "passthrough"),
    ],
)
def test_learners_without_weights_are_refused(sample, routing, model, name):
    X, y, weight = sample
    with pytest.raises(ValueError, match=f"{name} cannot be fitted with sample_weight"):
        fit_with_weights(model, X, y, weight)


def test_learners_without_weights_fit_without_them(sample, routing):
    X, y, _ = sample
    assert fit_with_weights(NoWeights(), X, y).mean_ == y.mean()


def test_keyword_names_the_last_step():
    nested = make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), Ridge()))
    assert check_takes_weights(Ridge()) == "sample_weight"
    assert check_takes_weights(nested) == "pipeline__ridge__sample_weight"


@pytest.mark.parametrize("scoring", [None, "neg_mean_squared_error"])
@pytest.mark.parametrize("pipeline", [False, True])
def test_a_search_fits_and_scores_its_candidates_by_weight(
    sample, routing, scoring, pipeline
):
    # Rows of hardly any weight would choose the small penalty, the others the large.
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 10))
    clean = np.arange(60) % 3 > 0
    y = np.where(clean, 100 * X[:, 0], rng.normal(size=60))
    weight = np.where(clean, 1e-9, 1.0)
    inner = make_pipeline(StandardScaler(), Ridge()) if pipeline else Ridge()
    name = "ridge__alpha" if pipeline else "alpha"
    search = GridSearchCV(inner, {name: [1e-6, 1e3]}, cv=3, scoring=scoring)
    chosen = fit_with_weights(clone(search), X, y, weight).best_params_[name]
    assert chosen == 1e3
    for other in (1 - weight + 1e-9, None):
        fitted = fit_with_weights(clone(search), X, y, other)
        assert fitted.best_params_[name] == 1e-6
