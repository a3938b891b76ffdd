"""Scorers of effects: values by hand, and scikit-learn's searches with metadata."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.special import expit, xlogy
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    cross_val_score,
    cross_validate,
)

from causalweights import DRLearner, PseudoOutcomeRegressor, RLearner
from causalweights.cate import effect_scorer, r_loss

METRICS = ["r_loss", "dr_loss", "ivw_dr_loss", "autoc", "qini"]
LINEAR = {
    "outcome_model": LinearRegression(), "propensity_model": LogisticRegression(),
    "final_model": LinearRegression(), "cv": 2,
}  # fmt: skip


def linear(**options):
    return PseudoOutcomeRegressor(
        **{**LINEAR, "outcome_strategy": "separate", **options}
    )


@pytest.fixture(scope="module")
def sample():
    """Return X, y, a, weights and clusters; the effect is 1 + 2 x_1."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    a = (rng.uniform(size=300) < expit(X[:, 0])).astype(int)
    y = X.sum(axis=1) + a * (1 + 2 * X[:, 1]) + rng.normal(size=300)
    return X, y, a, rng.uniform(0.5, 2, 300), np.arange(300) // 3


@pytest.fixture(scope="module")
def halves(sample):
    """Return the first 200 rows, to fit on, and the others, to score."""
    return [[values[rows] for values in sample[:3]]
            for rows in (slice(200), slice(200, None))]  # fmt: skip


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def by_hand(metric, y, g, a, pi, mu_0, mu_1, eta=None, s=None):
    """Return a score from its formula; rankings for effects without ties."""
    s, kappa = np.ones(len(y)) if s is None else s, 1 - pi
    eta = pi * mu_1 + kappa * mu_0 if eta is None else eta
    if metric == "r_loss":
        return -np.average((y - eta - (a - pi) * g) ** 2, weights=s)
    f = mu_1 - mu_0 + a * (y - mu_1) / pi - (1 - a) * (y - mu_0) / kappa
    if metric.endswith("loss"):
        w = pi * kappa if metric == "ivw_dr_loss" else 1.0
        return -np.average(w * (f - g) ** 2, weights=s)
    order = np.argsort(-g)
    u = np.append(0.0, np.cumsum(s[order])) / s.sum()
    u[-1] = 1.0
    total = -xlogy(u, u) if metric == "autoc" else u * (1 - u) / 2
    return np.diff(total) @ f[order]


def fold_nuisances(model, X, y, a, new):
    """Return means and clipped probabilities of new rows, (m, K), refitted by fold."""
    arms, folds = np.unique(a), np.unique(model.folds_)
    means, p = 0.0, 0.0
    for train in (model.folds_ != fold for fold in folds):
        p = p + LogisticRegression().fit(X[train], a[train]).predict_proba(new)
        means = means + np.column_stack([
            LinearRegression().fit(X[rows], y[rows]).predict(new)
            for rows in (train & (a == arm) for arm in arms)
        ])  # fmt: skip
    return means / len(folds), np.clip(p / len(folds), 0.01, 0.99)


# ---- nuisances that were given -----------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_a_plain_regressor_by_given_nuisances(contrast, pseudo_outcome, metric, rng):
    y, x, v = contrast
    X, s = x[:, None], rng.uniform(0, 2, len(y))
    model = Ridge().fit(X, pseudo_outcome)
    g, parts = model.predict(X), [v[name] for name in v]
    score = effect_scorer(metric)
    assert score(model, X, y, **v) == pytest.approx(by_hand(metric, y, g, *parts))
    assert score(model, X, y, **v, sample_weight=s) == pytest.approx(
        by_hand(metric, y, g, *parts, s=s)
    )
    eta = rng.normal(size=len(y))  # that the others take from the arms' means
    expected = by_hand(metric, y, g, *parts, eta=eta)
    assert score(model, X, y, **v, mean=eta) == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["r_loss", "dr_loss"])
def test_rows_of_a_third_arm(contrast, pseudo_outcome, metric):
    y, x, v = contrast
    X, score = x[:, None], effect_scorer(metric)
    model = LinearRegression().fit(X, pseudo_outcome)
    third, pi = np.arange(len(y)) % 3 == 0, v["propensity"]
    given = v | {
        "treatment": np.where(third, np.nan, v["treatment"]),
        "propensity": 0.6 * pi, "complement": 0.6 * (1 - pi),
    }  # fmt: skip
    found = score(model, X, y, **given)
    if metric == "r_loss":
        pair = {name: values[~third] for name, values in v.items()}
        expected = score(model, X[~third], y[~third], **pair)
    else:
        a, mu_0, mu_1 = v["treatment"], v["mean_0"], v["mean_1"]
        rest = a * (y - mu_1) / (0.6 * pi) - (1 - a) * (y - mu_0) / (0.6 * (1 - pi))
        f = mu_1 - mu_0 + np.where(third, 0.0, rest)
        expected = -np.mean((f - model.predict(X)) ** 2)
    assert found == pytest.approx(expected, rel=1e-12)


def test_labels_are_those_of_the_fit(halves, sample, rng):
    (X, y, a), (new, y_new, a_new) = halves
    words = np.array(["yes", "no"])  # sorted, the control label comes last
    model = linear(control="yes").fit(X, y, treatment=words[a])
    given = dict(zip(["mean_0", "mean_1"], rng.normal(size=(2, 100)), strict=True))
    given["propensity"] = rng.uniform(0.2, 0.8, 100)
    coded = clone(LINEAR["final_model"]).fit(X, model.predict(X))
    for metric in METRICS:
        score = effect_scorer(metric)
        found = score(model, new, y_new, treatment=words[a_new], **given)
        expected = score(coded, new, y_new, treatment=a_new, **given)
        assert found == pytest.approx(expected, rel=1e-9)


# ---- nuisances of the fit ----------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_without_given_nuisances_they_are_the_fold_models(halves, metric):
    (X, y, a), (new, y_new, a_new) = halves
    model = linear(cv=3).fit(X, y, treatment=a)
    m, p = fold_nuisances(model, X, y, a, new)
    parts = [y_new, model.predict(new), a_new, p[:, 1], m[:, 0], m[:, 1]]
    found = effect_scorer(metric)(model, new, y_new, treatment=a_new)
    assert found == pytest.approx(by_hand(metric, *parts), rel=1e-9)
    # The estimator's own score is the inverse-variance loss on its scale.
    f = m[:, 1] - m[:, 0] + np.where(
        a_new == 1, (y_new - m[:, 1]) / p[:, 1], (m[:, 0] - y_new) / p[:, 0]
    )  # fmt: skip
    r2 = r2_score(f, parts[1], sample_weight=p[:, 0] * p[:, 1])
    assert model.score(new, y_new, treatment=a_new) == pytest.approx(r2, rel=1e-9)


def test_the_overall_mean_where_it_is_what_was_fitted(halves):
    (X, y, a), (new, y_new, a_new) = halves
    model = RLearner(**LINEAR).fit(X, y, treatment=a)
    _, p = fold_nuisances(model, X, y, a, new)
    folds = [model.folds_ != fold for fold in (0, 1)]
    eta = np.mean(
        [LinearRegression().fit(X[k], y[k]).predict(new) for k in folds], axis=0
    )
    g, pi = model.predict(new), p[:, 1]
    for metric in METRICS:
        means = eta - pi * g, eta + p[:, 0] * g
        expected = by_hand(metric, y_new, g, a_new, pi, *means, eta=eta)
        found = effect_scorer(metric)(model, new, y_new, treatment=a_new)
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_several_arms_are_averaged_over_contrasts(metric):
    rng = np.random.default_rng(1)
    X, a = rng.normal(size=(600, 2)), rng.integers(0, 3, 600)
    y = X[:, 0] + a * (1 + X[:, 1]) + rng.normal(size=600)
    model = linear().fit(X[:300], y[:300], treatment=a[:300])
    new, y_new, a_new = X[300:], y[300:], a[300:]
    m, p = fold_nuisances(model, X[:300], y[:300], a[:300], new)
    plain, scores = effect_scorer(metric), []
    for k, g in zip((1, 2), model.predict(new).T, strict=True):
        one = LinearRegression().fit(new, g)
        treatment = np.where(a_new == k, 1.0, np.where(a_new == 0, 0.0, np.nan))
        given = {"propensity": p[:, k], "complement": p[:, 0], "mean_0": m[:, 0],
                 "mean_1": m[:, k]}  # fmt: skip
        scores.append(plain(one, new, y_new, treatment=treatment, **given))
    found = plain(model, new, y_new, treatment=a_new)
    assert found == pytest.approx(np.mean(scores), rel=1e-9)
    with pytest.raises(ValueError, match="has 3 arms, the nuisances given are those"):
        plain(model, new, y_new, treatment=a_new, **given)


def test_doses_have_the_r_loss_alone():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(300, 2))
    dose = X[:, 0] + rng.normal(size=300)
    y = dose * (1 + X[:, 1]) + rng.normal(size=300)
    options = {**LINEAR, "propensity_model": LinearRegression()}
    model = RLearner(**options, treatment_type="continuous", min_relative_weight=0.0)
    model.fit(X[:200], y[:200], treatment=dose[:200])
    new, y_new, dose_new = X[200:], y[200:], dose[200:]
    given = {
        name: np.mean([
            LinearRegression().fit(X[:200][k], values[:200][k]).predict(new)
            for k in (model.folds_ != 0, model.folds_ != 1)
        ], axis=0)
        for name, values in (("propensity", dose), ("mean", y))
    }  # fmt: skip
    expected = -r_loss(y_new, model.predict(new), treatment=dose_new, **given)
    for nuisances in ({}, given):
        found = effect_scorer("r_loss")(
            model, new, y_new, treatment=dose_new, **nuisances
        )
        assert found == pytest.approx(expected, rel=1e-9)
        for metric in METRICS[1:]:
            with pytest.raises(ValueError, match=r"for arms.*not for doses"):
                effect_scorer(metric)(
                    model, new, y_new, treatment=dose_new, **nuisances
                )


@pytest.mark.parametrize("metric", METRICS)
def test_weights_of_zero_leave_rows_out(halves, metric):
    train, (new, y_new, a_new) = halves
    model = linear().fit(*train[:2], treatment=train[2])
    kept, score = np.arange(100) % 4 > 0, effect_scorer(metric)
    given = {"propensity": np.full(100, 0.4), "mean_0": new[:, 0], "mean_1": new[:, 1]}
    for nuisances in ({}, given):
        zero = score(
            model, new, y_new, treatment=a_new, sample_weight=3.0 * kept, **nuisances
        )
        less = score(
            model, new[kept], y_new[kept], treatment=a_new[kept],
            **{name: values[kept] for name, values in nuisances.items()},
        )  # fmt: skip
        assert zero == pytest.approx(less, rel=1e-12)
        assert zero != pytest.approx(
            score(model, new, y_new, treatment=a_new, **nuisances)
        )


# ---- searches ----------------------------------------------------------------------


@pytest.mark.parametrize("metric", [None, *METRICS])
def test_a_search_over_learners_weights_and_pseudo_outcomes(sample, metric, routing):
    X, y, a, s, groups = sample
    finals = [DummyRegressor(), LinearRegression()]
    grid = [
        {"pseudo_outcome": [kind], "weights": weights, "final_model": finals}
        for kind, weights in (("dr", ["uniform", "ivw"]), ("u", ["r"]))
    ]
    score = None if metric is None else effect_scorer(metric)
    search = GridSearchCV(
        linear(), grid, scoring=score, cv=GroupKFold(2), error_score="raise"
    ).fit(X, y, treatment=a, sample_weight=s, groups=groups)
    assert isinstance(search.best_params_["final_model"], LinearRegression)
    assert np.allclose(search.predict(X), 1 + 2 * X[:, 1], atol=1.0)
    results = search.cv_results_
    train, test = next(GroupKFold(2).split(X, y, groups))
    for i, params in enumerate(results["params"]):
        model = linear(**params)
        model.fit(X[train], y[train], treatment=a[train], sample_weight=s[train],
                  groups=groups[train])  # fmt: skip
        rows = {"treatment": a[test], "sample_weight": s[test]}
        if score is None:
            expected = model.score(X[test], y[test], **rows)
        else:
            expected = score(model, X[test], y[test], **rows)
        assert results["split0_test_score"][i] == pytest.approx(expected, rel=1e-12)
    assert search.score(X, y, treatment=a, sample_weight=s) == pytest.approx(
        search.best_estimator_.score(X, y, treatment=a, sample_weight=s)
        if score is None
        else score(search.best_estimator_, X, y, treatment=a, sample_weight=s)
    )


@pytest.mark.parametrize("preset", [RLearner, DRLearner])
def test_parameters_of_the_final_model(sample, preset, routing):
    X, y, a, *_ = sample
    model = preset(**{**LINEAR, "final_model": Ridge()})
    search = GridSearchCV(
        model, {"final_model__alpha": [1e5, 1.0, 1e7]}, cv=2,
        scoring=effect_scorer("ivw_dr_loss"),
    ).fit(X, y, treatment=a)  # fmt: skip
    assert search.best_params_ == {"final_model__alpha": 1.0}
    assert search.best_estimator_.cate_models_[0].alpha == 1.0


def test_several_metrics_at_once_in_one_or_two_processes(sample, routing):
    X, y, a, s, _ = sample
    scoring = {"r": effect_scorer("r_loss"), "autoc": effect_scorer("autoc")}
    scoring["autoc"].set_score_request(sample_weight=False)
    grid = {"final_model": [DummyRegressor(), LinearRegression()]}
    fits = [
        GridSearchCV(linear(), grid, scoring=scoring, refit="r", cv=2, n_jobs=n)
        .fit(X, y, treatment=a, sample_weight=s).cv_results_
        for n in (1, 2)
    ]  # fmt: skip
    for name, weight in (("r", s), ("autoc", None)):
        assert np.array_equal(*(f[f"mean_test_{name}"] for f in fits))
        train, test = next(KFold(2).split(X))
        model = linear().fit(
            X[train], y[train], treatment=a[train], sample_weight=s[train]
        )
        expected = effect_scorer("r_loss" if name == "r" else "autoc")(
            model, X[test], y[test], treatment=a[test],
            sample_weight=None if weight is None else weight[test],
        )  # fmt: skip
        assert fits[0][f"split0_test_{name}"][1] == pytest.approx(expected, rel=1e-12)
        assert list(fits[0][f"rank_test_{name}"]) == [2, 1]


def test_nuisances_given_once_score_every_candidate(sample, routing):
    X, y, a, *_ = sample
    first = linear(cv=3).fit(X, y, treatment=a)
    m, p = first.nuisances_["means"], first.nuisances_["propensity"][:, 1]
    given = {"mean_0": m[:, 0], "mean_1": m[:, 1]}
    model = linear().set_fit_request(propensity=False)
    grid = {"outcome_model": [DummyRegressor(), LinearRegression()]}
    score = effect_scorer("dr_loss")
    search = GridSearchCV(model, grid, scoring=score, cv=2, error_score="raise")
    results = search.fit(X, y, treatment=a, propensity=p, **given).cv_results_
    train, test = next(KFold(2).split(X))
    for i, params in enumerate(results["params"]):
        tried = linear(**params).fit(X[train], y[train], treatment=a[train])
        g = tried.predict(X[test])
        expected = by_hand(
            "dr_loss", y[test], g, a[test], p[test], m[test, 0], m[test, 1]
        )
        assert results["split0_test_score"][i] == pytest.approx(expected, rel=1e-9)
    # Under an alias, the same without a word to the estimator; here of frames.
    score.set_score_request(propensity="p_scored")
    params = {"treatment": a, "p_scored": p, **given}
    again = cross_val_score(
        linear(), pd.DataFrame(X).add_prefix("x"), pd.Series(y), scoring=score, cv=2,
        params={name: pd.Series(values) for name, values in params.items()},
        error_score="raise",
    )  # fmt: skip
    assert again[0] == pytest.approx(results["split0_test_score"][1], rel=1e-12)


@pytest.mark.parametrize("scoring", [None, effect_scorer("r_loss")])
def test_known_propensities_reach_fit_and_score(sample, scoring, routing):
    X, y, a, *_ = sample
    p = expit(X[:, 0])
    params = {"treatment": a, "propensity": p}
    model = linear(propensity_model=LogisticRegression(C=-1.0))  # cannot be fitted
    found = cross_validate(
        model, X, y, scoring=scoring, cv=2, params=params, error_score="raise"
    )
    train, test = next(KFold(2).split(X))
    model.fit(X[train], y[train], treatment=a[train], propensity=p[train])
    new = {"treatment": a[test], "propensity": p[test]}
    expected = (
        model.score(X[test], y[test], **new)
        if scoring is None
        else scoring(model, X[test], y[test], **new)
    )
    assert found["test_score"][0] == pytest.approx(expected, rel=1e-12)


# ---- the object --------------------------------------------------------------------


def test_copies_keep_metric_and_requests(contrast, pseudo_outcome, routing):
    y, x, v = contrast
    X = x[:, None]
    model, score = LinearRegression().fit(X, pseudo_outcome), effect_scorer("qini")
    assert repr(score) == "effect_scorer('qini')"
    assert set(score.get_metadata_routing().score.requests.values()) == {True}
    assert score.set_score_request(sample_weight="s", complement=None) is score
    search = GridSearchCV(linear(), {"cv": [2]}, scoring=score)
    copies = [clone(score, safe=False), pickle.loads(pickle.dumps(score)),
              clone(search).scoring]  # fmt: skip
    for copy in copies:
        assert copy is not score and repr(copy) == repr(score)
        requests = copy.get_metadata_routing().score.requests
        assert requests == score.get_metadata_routing().score.requests
        assert (requests["sample_weight"], requests["complement"]) == ("s", None)
        assert copy(model, X, y, **v) == score(model, X, y, **v)
    copies[0].set_score_request(sample_weight=True)
    assert score.get_metadata_routing().score.requests["sample_weight"] == "s"
    with pytest.raises(TypeError, match="groups is no metadata of effect_scorer"):
        score.set_score_request(groups=True)


def test_refusals(contrast, pseudo_outcome, halves):
    y, x, v = contrast
    X, score = x[:, None], effect_scorer("dr_loss")
    model = LinearRegression().fit(X, pseudo_outcome)
    treatment = {"treatment": v["treatment"]}
    with pytest.raises(ValueError, match="metric='auc': choose one of r_loss"):
        effect_scorer("auc")
    with pytest.raises(ValueError, match="LinearRegression has no nuisance models"):
        score(model, X, y, **treatment, propensity=v["propensity"])
    with pytest.raises(ValueError, match=r"effect_scorer\('dr_loss'\) needs the treat"):
        score(model, X, y, **{k: v[k] for k in v if k not in treatment})
    with pytest.raises(ValueError, match="given lack propensity="):
        score(model, X, y, **treatment, mean_0=y, mean_1=y)
    with pytest.raises(ValueError, match="mean_0 and mean_1, predictions of both"):
        score(model, X, y, **treatment, propensity=v["propensity"], mean=y)
    (X, y, a), _ = halves
    fitted = linear().fit(X, y, treatment=a)
    a = np.where(np.arange(200) < 20, 2, a)
    with pytest.raises(ValueError, match="fit had"):
        score(fitted, X, y, treatment=a)


@pytest.mark.parametrize("enabled", [False, True])
def test_a_missing_treatment_says_how_to_route_it(sample, enabled):
    X, y, a, *_ = sample
    score = effect_scorer("r_loss")
    message = r"set_config\(enable_metadata_routing=True\)"
    with pytest.raises(ValueError, match=message):
        score(linear().fit(X, y, treatment=a), X, y)
    search = GridSearchCV(linear(), {"cv": [2]}, scoring=score, error_score="raise")
    with sklearn.config_context(enable_metadata_routing=enabled):
        if enabled:
            score.set_score_request(treatment=False)
        with pytest.raises(ValueError, match=message):
            search.fit(X, y, treatment=a)
