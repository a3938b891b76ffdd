"""Importance-weighted scores of held-out source rows."""

import pickle
import warnings

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, make_scorer, max_error
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score

from causalweights import (
    ImportanceWeightedScorer,
    KernelMeanMatching,
    ShiftWeightedEstimator,
)
from causalweights.shift import TargetSample


@pytest.fixture(scope="module")
def setting(labelled):
    """Return X, y, target and a fitted weighter."""
    X, y, target = labelled(150, 0, 120)
    return X, y, target, KernelMeanMatching(kappa=0.01).fit(X, X_target=target)


def test_scores_are_weighted_means_of_losses(setting):
    X, y, _, weighter = setting
    model = LogisticRegression().fit(X[:100], y[:100])
    rows, labels = X[100:], y[100:]
    w = weighter.predict_weights(rows)
    right = model.predict(rows) == labels
    accuracy = w @ right / w.sum()
    entropy = [-np.log(p[k]) for p, k in zip(model.predict_proba(rows), labels)]
    expected = {
        "accuracy": accuracy,
        None: accuracy,
        "neg_log_loss": -w @ entropy / w.sum(),
    }
    for scoring, value in expected.items():
        scorer = ImportanceWeightedScorer(weighter, scoring)
        assert scorer(model, rows, labels) == pytest.approx(value)

    def loss(y, p):
        return -np.log(p[np.arange(len(y)), y])

    scorer = ImportanceWeightedScorer(
        weighter, loss=loss, response_method="predict_proba"
    )
    assert scorer(model, rows, labels) == pytest.approx(expected["neg_log_loss"])
    own = make_scorer(
        log_loss, greater_is_better=False, response_method="predict_proba"
    )
    scorer = ImportanceWeightedScorer(weighter, own)
    assert scorer(model, rows, labels) == pytest.approx(expected["neg_log_loss"])


def test_sample_weights_multiply(setting):
    X, y, _, weighter = setting
    model = LogisticRegression().fit(X, y)
    s = np.arange(150.0)
    total = s * weighter.beta_
    expected = accuracy_score(y, model.predict(X), sample_weight=total)
    scorer = ImportanceWeightedScorer(weighter, "accuracy")
    assert scorer(model, X, y, sample_weight=s) == pytest.approx(expected)


def test_cross_validation_uses_the_weights_of_the_fit(setting):
    X, y, _, weighter = setting
    scores = cross_val_score(
        LogisticRegression(), X, y, cv=KFold(3),
        scoring=ImportanceWeightedScorer(weighter, "accuracy"),
    )  # fmt: skip
    for (train, test), score in zip(KFold(3).split(X), scores):
        model = LogisticRegression().fit(X[train], y[train])
        w = weighter.beta_[test]
        right = model.predict(X[test]) == y[test]
        assert score == pytest.approx(w @ right / w.sum())


@pytest.mark.parametrize("routing", [False, True])
def test_a_search_keeps_the_fitted_weighter(routing, setting):
    X, y, target, weighter = setting
    scorer = ImportanceWeightedScorer(weighter, "neg_log_loss")
    model = ShiftWeightedEstimator(LogisticRegression(), KernelMeanMatching())
    search = GridSearchCV(model, {"estimator__C": [1e-3, 1.0]}, scoring=scorer, cv=3)
    search = clone(search)
    with sklearn.config_context(enable_metadata_routing=routing):
        search.fit(X, y, X_target=TargetSample(target))
    assert search.best_params_ == {"estimator__C": 1.0}


def test_domains_and_weights_are_routed(both):
    _, mixed = both
    X, y, domain = mixed.values()
    weighter = KernelMeanMatching(kappa=0.01).fit(X, sample_domain=domain)
    scorer = ImportanceWeightedScorer(weighter, "accuracy")
    model = ShiftWeightedEstimator(LogisticRegression(), KernelMeanMatching())
    weight = np.random.default_rng(0).uniform(0.5, 2.0, size=150)
    splits = list(KFold(2).split(X))
    with sklearn.config_context(enable_metadata_routing=True):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the (source|target)")
            scores = cross_val_score(
                model, X, y, cv=splits, scoring=scorer,
                params={"sample_domain": domain, "sample_weight": weight},
            )  # fmt: skip
            for (train, test), score in zip(splits, scores):
                fit = clone(model).fit(
                    X[train], y[train], sample_domain=domain[train],
                    sample_weight=weight[train],
                )  # fmt: skip
                rows = test[domain[test] == 1]
                w = weighter.predict_weights(X[rows]) * weight[rows]
                right = fit.predict(X[rows]) == y[rows]
                assert score == pytest.approx(w @ right / w.sum())


def test_metadata_requests_can_be_changed(setting):
    scorer = ImportanceWeightedScorer(setting[3])
    requests = scorer.get_metadata_routing().score.requests
    assert requests == {"sample_domain": True, "sample_weight": True}
    assert scorer.set_score_request(sample_weight="survey") is scorer
    assert scorer.get_metadata_routing().score.requests["sample_weight"] == "survey"
    with pytest.raises(TypeError, match="X_target is no metadata"):
        scorer.set_score_request(X_target=True)


def test_it_estimates_the_risk_on_the_target():
    # A line is wrong in another measure in each population.
    weighted, plain, truth = [], [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X, target = rng.normal(size=(300, 1)), rng.normal(0.8, 0.6, size=(300, 1))
        y, goal = X[:, 0] ** 2, target[:, 0] ** 2
        weighter = KernelMeanMatching().fit(X, X_target=TargetSample(target))
        scorer = ImportanceWeightedScorer(weighter, "neg_mean_squared_error")
        line = LinearRegression()
        weighted.append(cross_val_score(line, X, y, scoring=scorer).mean())
        plain.append(
            cross_val_score(line, X, y, scoring="neg_mean_squared_error").mean()
        )
        truth.append(-np.mean((line.fit(X, y).predict(target) - goal) ** 2))
    bias = abs(np.mean(weighted) - np.mean(truth)), abs(np.mean(plain) - np.mean(truth))
    assert bias[0] < 0.25 * bias[1]


def test_a_search_by_it_chooses_for_the_target():
    # Most source rows have outcome 0; those like the target have 2.
    rng = np.random.default_rng(3)
    X = np.concatenate([rng.normal(0, 0.3, 200), rng.normal(3, 0.3, 60)])[:, None]
    target, y = rng.normal(3, 0.3, size=(100, 1)), 2.0 * (X[:, 0] > 1.5)
    weighter = KernelMeanMatching().fit(X, X_target=target)
    splits = KFold(3, shuffle=True, random_state=0)
    scorer = ImportanceWeightedScorer(weighter, "neg_mean_squared_error")
    model, grid = DummyRegressor(strategy="constant"), {"constant": [0.0, 2.0]}
    for scoring, best in ((scorer, 2.0), ("neg_mean_squared_error", 0.0)):
        search = GridSearchCV(model, grid, scoring=scoring, cv=splits).fit(X, y)
        assert search.best_params_ == {"constant": best}


def test_few_effective_rows_are_warned_of(setting):
    X, y, target, _ = setting
    weighter = KernelMeanMatching(kappa=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weighter.fit(X, X_target=target)
    model = LogisticRegression().fit(X, y)
    scorer = ImportanceWeightedScorer(weighter, "accuracy")
    with pytest.warns(UserWarning, match="rests on .* effective rows of 40") as caught:
        scorer(model, X[:40], y[:40])
    assert caught[0].filename == __file__


def test_what_is_refused(setting, nothing):
    X, y, _, weighter = setting
    model = LogisticRegression().fit(X, y)
    cases = [
        (
            ImportanceWeightedScorer(weighter, make_scorer(max_error)),
            "no sample_weight",
        ),
        (ImportanceWeightedScorer(weighter, "r2", loss=max_error), "scoring and loss"),
        (ImportanceWeightedScorer(weighter, loss=max_error), "one number a row"),
    ]
    for scorer, message in cases:
        with pytest.raises(ValueError, match=message):
            scorer(model, X, y)
    with pytest.raises(NotFittedError):
        ImportanceWeightedScorer(KernelMeanMatching(), "accuracy")(model, X, y)
    with pytest.raises(ValueError, match="all held-out rows have weight zero"):
        ImportanceWeightedScorer(nothing.fit(X), "accuracy")(model, X, y)


def test_repr_and_pickle(setting):
    X, y, _, weighter = setting
    scorer = ImportanceWeightedScorer(weighter, "accuracy")
    assert repr(scorer).startswith("ImportanceWeightedScorer(KernelMeanMatching(")
    model = LogisticRegression().fit(X, y)
    loaded = pickle.loads(pickle.dumps(scorer))
    assert loaded(model, X, y) == scorer(model, X, y)
    assert_array_equal(loaded.weighter.beta_, weighter.beta_)
    assert_allclose(scorer(model, X, y), loaded(model, X, y))
