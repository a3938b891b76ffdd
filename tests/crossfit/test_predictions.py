"""Out-of-fold outcome and propensity predictions."""

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from causalweights.crossfit import (
    make_folds,
    outcome_predictions,
    propensity_predictions,
)
from causalweights.learners import WeightedKernelRidge


@pytest.fixture
def trial(rng):
    """Return covariates, outcome, arms, weights and folds of a three-arm trial."""
    n = 150
    X = rng.normal(size=(n, 3))
    codes = rng.permutation(np.repeat([0, 1, 2], [60, 50, 40]))
    y = X @ [1.0, -1.0, 0.5] + codes + 0.1 * rng.normal(size=n)
    weight = rng.uniform(0.1, 3.0, n)
    folds = make_folds(5, n, codes=codes, random_state=0)
    return X, y, codes, weight, folds


def test_outcomes_equal_fits_by_hand(trial):
    X, y, codes, weight, folds = trial
    model = LinearRegression()
    means = outcome_predictions(model, X, y, codes, 3, folds, sample_weight=weight)
    assert means.shape == (150, 3)
    for train, test in folds:
        for k in range(3):
            rows = train[codes[train] == k]
            fit = LinearRegression().fit(X[rows], y[rows], sample_weight=weight[rows])
            assert np.allclose(means[test, k], fit.predict(X[test]))
    assert not hasattr(model, "coef_")


def test_requested_arms_keep_their_order(trial):
    X, y, codes, _, folds = trial
    every = outcome_predictions(LinearRegression(), X, y, codes, 3, folds)
    some = outcome_predictions(LinearRegression(), X, y, codes, 3, folds, arms=[2, 0])
    assert np.array_equal(some, every[:, [2, 0]])


def test_propensities_equal_fits_by_hand(trial):
    X, _, codes, weight, folds = trial
    model = LogisticRegression()
    p = propensity_predictions(model, X, codes, 3, folds, sample_weight=weight)
    assert p.shape == (150, 3) and np.allclose(p.sum(axis=1), 1.0)
    for train, test in folds:
        fit = LogisticRegression().fit(
            X[train], codes[train], sample_weight=weight[train]
        )
        assert np.array_equal(p[test], fit.predict_proba(X[test]))
    assert not hasattr(model, "coef_")


def test_a_memorising_learner_never_sees_its_own_row(trial):
    X, _, codes, _, folds = trial
    noise = np.random.default_rng(1).normal(size=150)
    model = KNeighborsRegressor(n_neighbors=1)
    out = outcome_predictions(model, X, noise, codes, 3, folds)
    inside = outcome_predictions(model, X, noise, codes, 3, make_folds(None, 150))
    own = (np.arange(150), codes)
    assert np.array_equal(inside[own], noise)
    assert np.all(out[own] != noise) and abs(np.corrcoef(out[own], noise)[0, 1]) < 0.3
    tree = DecisionTreeClassifier(random_state=0)
    p = propensity_predictions(tree, X, codes, 3, folds)
    assert np.mean(p[own] == 1.0) < 0.6
    p = propensity_predictions(tree, X, codes, 3, make_folds(None, 150))
    assert np.all(p[own] == 1.0)


class Recorder(RegressorMixin, BaseEstimator):
    """Predict the position of a training row, kept in the first column of X."""

    def fit(self, X, y):
        self.seen_ = set(X[:, 0].tolist())
        return self

    def predict(self, X):
        return np.array([value in self.seen_ for value in X[:, 0]], dtype=float)


def test_no_training_set_holds_a_row_it_predicts(trial):
    _, y, codes, _, folds = trial
    rows = np.arange(150.0)[:, None]
    assert not np.any(outcome_predictions(Recorder(), rows, y, codes, 3, folds))


@pytest.mark.parametrize("routing", [False, True])
def test_pipelines_route_weights_in_both_modes(trial, routing):
    X, y, codes, weight, folds = trial
    by_hand = outcome_predictions(Ridge(), X, y, codes, 3, folds, sample_weight=weight)
    unweighted = outcome_predictions(Ridge(), X, y, codes, 3, folds)
    with sklearn.config_context(enable_metadata_routing=routing):
        means = outcome_predictions(
            make_pipeline("passthrough", Ridge()), X, y, codes, 3, folds,
            sample_weight=weight,
        )  # fmt: skip
        p = propensity_predictions(
            make_pipeline(StandardScaler(), LogisticRegression()), X, codes, 3, folds,
            sample_weight=weight, n_jobs=2,
        )  # fmt: skip
    assert np.array_equal(means, by_hand) and not np.allclose(means, unweighted)
    assert np.allclose(p.sum(axis=1), 1.0)


def test_classifier_predicts_the_probability_of_one(trial):
    X, y, codes, _, folds = trial
    binary = (y > 0.5).astype(int)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    p = outcome_predictions(model, X, binary, codes, 3, folds)
    train, test = folds[0]
    rows = train[codes[train] == 1]
    expected = clone(model).fit(X[rows], binary[rows]).predict_proba(X[test])[:, 1]
    assert np.array_equal(p[test, 1], expected)
    as_float = outcome_predictions(model, X, binary.astype(float), codes, 3, folds)
    assert np.array_equal(p, as_float)


def test_any_number_of_jobs_gives_the_same_bits(trial):
    X, y, codes, weight, folds = trial

    def predictions(model, jobs):
        return outcome_predictions(
            model, X, y, codes, 3, folds, sample_weight=weight, n_jobs=jobs
        )

    forest = RandomForestRegressor(n_estimators=5, random_state=0)
    assert np.array_equal(predictions(forest, 1), predictions(forest, 2))
    ridge = WeightedKernelRidge(bandwidth=[1.0, 2.0])
    # numba 0.60 rounds a loop it has just compiled and the same loop loaded from its
    # cache, as the other processes do, differently: the last digits only.
    assert np.allclose(predictions(ridge, 1), predictions(ridge, 2), atol=1e-12)
    trees = RandomForestClassifier(n_estimators=5, random_state=0)
    one, two = (
        propensity_predictions(trees, X, codes, 3, folds, n_jobs=jobs)
        for jobs in (None, 2)
    )
    assert np.array_equal(one, two)


def test_zero_weight_rows_do_not_train(trial):
    X, y, codes, weight, folds = trial
    weight, y = weight.copy(), y.copy()
    weight[::7], y[::7] = 0.0, 1e9
    means = outcome_predictions(
        LinearRegression(), X, y, codes, 3, folds, sample_weight=weight
    )
    assert np.max(np.abs(means)) < 10.0


def test_data_frames_reach_the_learner(trial, frame_library):
    X, y, codes, weight, folds = trial
    frame = frame_library(X, ["a", "b", "c"])
    columns = [0, 1] if isinstance(frame, np.ndarray) else ["a", "b"]
    model = make_pipeline(
        make_column_transformer((StandardScaler(), columns)), LinearRegression()
    )
    means = outcome_predictions(model, frame, y, codes, 3, folds, sample_weight=weight)
    plain = outcome_predictions(
        make_pipeline(StandardScaler(), LinearRegression()), X[:, :2], y, codes, 3,
        folds, sample_weight=weight,
    )  # fmt: skip
    assert np.allclose(means, plain)
    p = propensity_predictions(
        make_pipeline(clone(model[0]), LogisticRegression()), frame, codes, 3, folds
    )
    assert p.shape == (150, 3)


class Broken(LinearRegression):
    """A learner whose predictions are not numbers."""

    def predict(self, X):
        return np.full(len(X), np.nan)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (LogisticRegression(), "must hold 0 and 1 only; it holds 150"),
        (LinearRegression, "is not an estimator"),
        ("ridge", "is not an estimator"),
        (Broken(), "Broken predicted NaN"),
    ],
)
def test_refused_outcome_models(trial, model, message):
    X, y, codes, _, folds = trial
    with pytest.raises(ValueError, match=message):
        outcome_predictions(model, X, y, codes, 3, folds)


def test_refused_outcome_inputs(trial):
    X, y, codes, weight, folds = trial
    binary = (y > 0.5).astype(int)
    with pytest.raises(ValueError, match="LinearSVC has no predict_proba"):
        outcome_predictions(LinearSVC(), X, binary, codes, 3, folds)
    with pytest.raises(ValueError, match="arm 1 all have the outcome 0"):
        rare = np.where(codes == 1, 0, binary)
        outcome_predictions(LogisticRegression(), X, rare, codes, 3, folds)
    with pytest.raises(ValueError, match=r"arms=\[3\] are not among the 3"):
        outcome_predictions(LinearRegression(), X, y, codes, 3, folds, arms=[3])
    with pytest.raises(ValueError, match="KNeighborsRegressor cannot be fitted"):
        outcome_predictions(
            KNeighborsRegressor(), X, y, codes, 3, folds, sample_weight=weight
        )
    with pytest.raises(ValueError, match="positive weight in treatment arm 2"):
        outcome_predictions(
            LinearRegression(), X, y, codes, 3, folds, sample_weight=1.0 * (codes < 2)
        )


def test_refused_propensity_inputs(trial):
    X, _, codes, weight, folds = trial
    with pytest.raises(ValueError, match="LinearRegression has no predict_proba"):
        propensity_predictions(LinearRegression(), X, codes, 3, folds)
    with pytest.raises(ValueError, match="propensity_model=None is not an estimator"):
        propensity_predictions(None, X, codes, 3, folds)
    with pytest.raises(ValueError, match="KNeighborsClassifier cannot be fitted"):
        propensity_predictions(
            KNeighborsClassifier(), X, codes, 3, folds, sample_weight=weight
        )
    with pytest.raises(ValueError, match="positive weight in treatment arm 0"):
        propensity_predictions(
            LogisticRegression(), X, codes, 3, folds, sample_weight=1.0 * (codes > 0)
        )
