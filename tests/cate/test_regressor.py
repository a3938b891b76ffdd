"""The regression of pseudo-outcomes: oracles, presets, options, inputs, refusals."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.special import expit
from sklearn.base import BaseEstimator, clone
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from causalweights import DRLearner, PseudoOutcomeRegressor, RLearner
from causalweights.datasets import make_nie_wager
from causalweights.learners import WeightedKernelRidge

LINEAR = {
    "outcome_model": LinearRegression(),
    "propensity_model": LogisticRegression(C=1e6),
    "final_model": LinearRegression(),
}


def linear(**options):
    return PseudoOutcomeRegressor(**{**LINEAR, **options})


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    e = expit(X[:, 0])
    a = (rng.uniform(size=400) < e).astype(int)
    tau = 1 + X[:, 1]
    y = X.sum(axis=1) + a * tau + 0.5 * rng.normal(size=400)
    return X, y, a, e, tau


FORMS = [
    ("dr", "ivw"), ("dr", "uniform"), ("dr", "het"), ("u", "r"), ("u", "x_only"),
    ("cov", "ivw"), ("ra", "uniform"), ("ipw", "uniform"), ("plugin", "uniform"),
    ("x", "uniform"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "weights"), FORMS)
@pytest.mark.parametrize("strategy", ["single", "separate"])
def test_every_form_finds_a_linear_effect(sample, name, weights, strategy):
    X, y, a, _, tau = sample
    terms = make_pipeline(PolynomialFeatures(2), LinearRegression())
    outcome = terms if strategy == "single" else LinearRegression()
    model = linear(
        pseudo_outcome=name, weights=weights, outcome_model=outcome,
        outcome_strategy=strategy,
    ).fit(X, y, treatment=a)  # fmt: skip
    bar = 0.6 if name == "ipw" else 0.1
    assert np.mean((model.predict(X) - tau) ** 2) < bar
    assert model.predict(X).shape == (400,)


def test_without_noise_the_weights_do_not_matter(sample):
    X, _, a, e, tau = sample
    y = X @ [1.0, 2.0, 0.0] + a * tau
    for name, weights in FORMS[:4]:
        if weights == "het":
            continue
        # An interaction of arm and covariates is what the outcome model must hold.
        model = linear(
            pseudo_outcome=name, weights=weights, outcome_strategy="separate"
        )
        if name == "u":
            continue  # eta is no linear function: see below
        found = model.fit(X, y, treatment=a, propensity=e)
        assert np.allclose(found.predict(X), tau, atol=1e-9)


class Oracle(BaseEstimator):
    """Predicts a known function; learns nothing."""

    def __init__(self, function=None):
        self.function = function

    def fit(self, X, y, sample_weight=None):
        self.is_fitted_ = True
        return self

    def predict(self, X):
        return self.function(np.asarray(X))


def oracle_eta(X):
    return X @ [1.0, 2.0, 0.0] + expit(X[:, 0]) * (1 + X[:, 1])


@pytest.mark.parametrize("weights", ["r", "x_only"])
def test_residual_ratio_is_exact_with_oracle_nuisances(sample, weights):
    X, _, a, e, tau = sample
    y = X @ [1.0, 2.0, 0.0] + a * tau
    model = linear(
        pseudo_outcome="u", weights=weights, outcome_model=Oracle(oracle_eta)
    ).fit(X, y, treatment=a, propensity=e)
    assert np.allclose(model.predict(X), tau, atol=1e-9)
    shifted = linear(
        pseudo_outcome="u", weights=weights,
        outcome_model=Oracle(lambda X: oracle_eta(X) + np.cos(X[:, 2])),
    ).fit(X, y + np.cos(X[:, 2]), treatment=a, propensity=e)  # fmt: skip
    assert np.allclose(shifted.predict(X), model.predict(X), atol=1e-9)
    cov = linear(pseudo_outcome="cov", outcome_model=Oracle(oracle_eta)).fit(
        X, y, treatment=a, propensity=e
    )
    assert np.abs(cov.predict(X) - tau).max() > 0.01


@pytest.mark.parametrize(("name", "weights"), FORMS[:6])
def test_scale_of_outcomes_and_label_swap(sample, name, weights):
    X, y, a, *_ = sample
    options = {"pseudo_outcome": name, "weights": weights,
               "outcome_strategy": "separate"}  # fmt: skip
    base = linear(**options).fit(X, y, treatment=a).predict(X)
    if weights != "het":  # kernel ridge chooses its ridge among numbers
        scaled = linear(**options).fit(X, 3 * y + 7, treatment=a).predict(X)
        assert np.allclose(scaled, 3 * base, atol=1e-8)
    folds = np.arange(400) % 5
    cv = [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(5)]
    one = linear(**options, cv=cv).fit(X, y, treatment=a).predict(X)
    two = linear(**options, cv=cv).fit(X, y, treatment=1 - a).predict(X)
    assert np.allclose(one, -two, atol=1e-5 if weights == "het" else 1e-8)


def test_a_balanced_known_experiment_makes_all_forms_one():
    data = make_nie_wager(300, setup="B", n_features=5, random_state=0)
    half = np.full(300, 0.5)
    found = [
        linear(
            pseudo_outcome=name, weights=weights, outcome_strategy="separate",
            outcome_model=DummyRegressor(),
        ).fit(data.X, data.y, treatment=data.treatment, propensity=half)
        for name, weights in (("dr", "ivw"), ("dr", "uniform"))
    ]  # fmt: skip
    assert np.allclose(found[0].predict(data.X), found[1].predict(data.X), atol=1e-12)


def test_constant_propensities_make_ivw_uniform(sample):
    X, y, a, *_ = sample
    folds = np.arange(400) % 4
    order = np.argsort(a, kind="stable")
    folds[order] = np.arange(400) % 4
    cv = [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(4)]
    counts = {np.sum(a[train]) for train, _ in cv}
    dummy = {"propensity_model": DummyClassifier(), "cv": cv}
    ivw = linear(**dummy).fit(X, y, treatment=a)
    dr = linear(**dummy, weights="uniform").fit(X, y, treatment=a)
    bar = 1e-12 if len(counts) == 1 else 1e-2
    assert np.allclose(ivw.predict(X), dr.predict(X), atol=bar)


@pytest.mark.parametrize("reps", [50, pytest.param(200, marks=pytest.mark.slow)])
def test_mean_squared_errors_in_setup_f(reps):
    # Measured figures: 200 draws of n = 500, logistic propensity, linear models.
    grid = np.linspace(0.1, 0.9, 50)[:, None]
    forms = {
        "ivw": ("dr", "ivw"), "r": ("u", "r"), "dr": ("dr", "uniform"),
        "u": ("u", "uniform"),
    }  # fmt: skip
    errors = {name: [] for name in forms}
    for rep in range(reps):
        data = make_nie_wager(
            500, setup="F", random_state=np.random.default_rng([1, rep])
        )
        first = {
            "dr": linear(outcome_strategy="separate"),
            "u": linear(pseudo_outcome="u", weights="r"),
        }  # fmt: skip
        for model in first.values():
            model.fit(data.X, data.y, treatment=data.treatment)
        for name, (pseudo_outcome, weights) in forms.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                model = first[pseudo_outcome].refit_final(weights=weights)
            errors[name].append(np.mean(model.predict(grid) ** 2))
    mean = {k: np.mean(v) for k, v in errors.items()}
    error = {k: np.std(v) / reps**0.5 for k, v in errors.items()}
    assert mean["ivw"] < mean["dr"] < mean["u"]
    measured = {"ivw": 0.0250, "r": 0.0256, "dr": 0.0288, "u": 0.0758}
    for name, expected in measured.items():
        assert abs(mean[name] - expected) < 0.25 * expected + 2 * error[name], name


# ---- weights and rows --------------------------------------------------------------


def test_scale_of_sample_weights_does_not_matter(sample):
    X, y, a, *_ = sample
    s = np.random.default_rng(1).uniform(0.5, 2, 400)
    boosters = {"final_model": HistGradientBoostingRegressor(max_iter=20)}
    for options in ({}, boosters, {"final_model": WeightedKernelRidge()}):
        fits = [
            linear(**options).fit(X, y, treatment=a, sample_weight=c * s).predict(X)
            for c in (1.0, 1e6, 1e-6)
        ]
        assert np.allclose(fits[0], fits[1], atol=1e-7)
        assert np.allclose(fits[0], fits[2], atol=1e-7)


def test_integer_weights_are_copies(sample):
    X, y, a, *_ = sample
    X, y, a = X[:120], y[:120], a[:120]
    s = 1 + np.arange(120) % 3
    row = np.repeat(np.arange(120), s)
    fold = np.arange(120) % 4
    splits = [
        [(np.flatnonzero(f != k), np.flatnonzero(f == k)) for k in range(4)]
        for f in (fold, fold[row])
    ]
    options = {"outcome_strategy": "separate", "weight_type": "frequency"}
    one = linear(cv=splits[0], **options).fit(X, y, treatment=a, sample_weight=s)
    many = linear(cv=splits[1], **options).fit(X[row], y[row], treatment=a[row])
    assert np.allclose(one.predict(X), many.predict(X), atol=1e-4)
    assert np.allclose(one.nuisances_["means"][row], many.nuisances_["means"])


def test_rows_of_weight_zero_are_as_if_absent(sample):
    X, y, a, *_ = sample
    s = np.where(np.arange(400) % 7 == 0, 0.0, 1.0)
    kept = s > 0
    full = linear().fit(X, y, treatment=a, sample_weight=s)
    less = linear().fit(X[kept], y[kept], treatment=a[kept], sample_weight=s[kept])
    assert np.array_equal(full.predict(X), less.predict(X))
    assert np.array_equal(full.units_, np.flatnonzero(kept))
    assert np.all(full.folds_[~kept] == -1)


def test_weights_have_mean_one_and_dropped_rows_are_exact_zeros(sample):
    X, y, a, e, _ = sample
    model = RLearner(**LINEAR, min_relative_weight=0.3)
    with pytest.warns(UserWarning, match="weigh less than min_relative_weight=0.3"):
        model.fit(X, y, treatment=a, propensity=e)
    w = (a - e) ** 2
    low = w < 0.3 * w.mean()
    assert model.n_dropped_ == low.sum() > 0
    assert np.all(model.weights_[low] == 0)
    assert model.weights_[~low].mean() == pytest.approx(1.0)
    assert np.allclose(model.weights_[~low], w[~low] / w[~low].mean())


def test_rows_of_hardly_any_weight_change_nothing_in_the_preset(sample):
    X, y, a, e, _ = sample
    e = np.clip(e, 0.2, 0.8)
    extra = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    folds = np.arange(402) % 5
    cv = [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(5)]
    short = [(train[train < 400], test[test < 400]) for train, test in cv]
    options = {"outcome_model": Oracle(lambda X: X[:, 0]),
               "final_model": KNeighborsRegressor(1)}  # fmt: skip
    options["final_model"] = HistGradientBoostingRegressor(max_iter=10)
    base = RLearner(**{**LINEAR, **options}, cv=short)
    base.fit(X, y, treatment=a, propensity=e)
    more = RLearner(**{**LINEAR, **options}, cv=cv).fit(
        np.vstack([X, extra]), np.append(y, [50.0, -50.0]),
        treatment=np.append(a, [1, 0]), propensity=np.append(e, [0.995, 0.005]),
    )  # fmt: skip
    assert more.n_dropped_ == 2
    assert np.allclose(base.predict(X), more.predict(X), atol=1e-10)


def test_propensities_of_zero_and_one_are_clipped_and_counted(sample):
    X, y, a, *_ = sample

    class Sure(LogisticRegression):
        def predict_proba(self, X):
            sure = (np.asarray(X)[:, 0] > 1.5).astype(float)
            p = np.where(sure == 1, 1.0, super().predict_proba(X)[:, 1])
            return np.column_stack([1 - p, p])

    model = linear(propensity_model=Sure())
    with pytest.warns(UserWarning, match="were clipped"):
        model.fit(X, y, treatment=a)
    assert model.n_clipped_ == np.sum(X[:, 0] > 1.5)
    assert np.all(np.isfinite(model.pseudo_outcome_))
    assert model.nuisances_["propensity"].max() == pytest.approx(0.99)


# ---- known propensities, refits, repetitions ---------------------------------------


class NeverFit(LogisticRegression):
    def fit(self, X, y, sample_weight=None):
        raise AssertionError("fitted")


def test_known_propensities_are_used_as_they_are(sample):
    X, y, a, e, _ = sample
    model = linear(propensity_model=NeverFit()).fit(X, y, treatment=a, propensity=e)
    assert np.array_equal(model.nuisances_["propensity"][:, 1], e)
    both = linear().fit(X, y, treatment=a, propensity=np.column_stack([1 - e, e]))
    assert np.array_equal(both.predict(X), model.predict(X))
    swapped = linear(control=1).fit(X, y, treatment=a, propensity=1 - e)
    assert np.allclose(swapped.nuisances_["propensity"][:, 1], e)
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        linear().fit(X, y, treatment=a, propensity=np.where(e > 0.9, 1.0, e))
    with pytest.raises(ValueError, match="shape"):
        linear().fit(X, y, treatment=a, propensity=e[:10])


def test_refit_final_calls_no_nuisance_learner(sample):
    X, y, a, *_ = sample
    model = linear(outcome_strategy="separate").fit(X, y, treatment=a)
    again = model.refit_final()
    assert np.array_equal(again.predict(X), model.predict(X))
    model._first.crosses[0].models.clear()  # whatever it did, it would fail
    other = model.refit_final(weights="uniform", final_model=WeightedKernelRidge())
    fresh = linear(
        outcome_strategy="separate", weights="uniform",
        final_model=WeightedKernelRidge(),
    ).fit(X, y, treatment=a)  # fmt: skip
    assert np.allclose(other.predict(X), fresh.predict(X), atol=1e-12)
    assert model.weights == "ivw"
    with pytest.raises(ValueError, match="cv belongs to the first stage"):
        model.refit_final(cv=3)
    r = RLearner(**LINEAR).fit(X, y, treatment=a)
    with pytest.raises(ValueError, match="needs outcome means by arm"):
        linear(pseudo_outcome="u").fit(X, y, treatment=a).refit_final(
            pseudo_outcome="dr", weights="ivw"
        )
    assert r.refit_final(min_relative_weight=0.0).n_dropped_ == 0


def test_repetitions_are_aggregated(sample):
    X, y, a, *_ = sample
    model = linear(n_rep=3).fit(X, y, treatment=a)
    each = np.array([m.predict(X) for m in model.cate_models_])
    assert np.allclose(model.predict(X), np.median(each, axis=0))
    mean = model.refit_final(aggregate="mean")
    assert np.allclose(mean.predict(X), each.mean(axis=0))
    assert model.pseudo_outcome_.shape == (3, 400)
    one = linear().fit(X, y, treatment=a)
    assert np.array_equal(one.pseudo_outcome_, model.pseudo_outcome_[0])


@pytest.mark.parametrize("cf_order", [2, 3, 4])
def test_effects_out_of_fold(sample, cf_order):
    X, y, a, *_ = sample
    model = linear(cf_order=cf_order).fit(X, y, treatment=a)
    plan = model._first.crosses[0].plan
    for part in range(plan.fold.max() + 1):
        rows = plan.fold[plan.units] != part
        fit = LinearRegression().fit(
            X[plan.units[rows]], model.pseudo_outcome_[rows], model.weights_[rows]
        )
        own = plan.fold == part
        assert np.allclose(model.oof_effect_[own], fit.predict(X[own]), atol=1e-10)


# ---- arms, doses, modifiers --------------------------------------------------------


def test_two_arms_by_name_equal_numbers(sample):
    X, y, a, *_ = sample
    named = np.where(a == 1, "new", "old")
    model = linear(control="old").fit(X, y, treatment=named)
    assert np.allclose(model.predict(X), linear().fit(X, y, treatment=a).predict(X))
    assert model.control_ == "old"
    with pytest.raises(ValueError, match="control must be given"):
        linear().fit(X, y, treatment=named)


@pytest.mark.parametrize(
    ("name", "weights"),
    [("dr", "ivw"), ("dr", "uniform"), ("u", "r"), ("x", "uniform")],
)
def test_three_arms(name, weights):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(900, 2))
    a = rng.integers(0, 3, 900)
    tau = np.column_stack([1 + X[:, 0], -X[:, 1]])
    y = X.sum(axis=1) + (a == 1) * tau[:, 0] + (a == 2) * tau[:, 1]
    y += 0.3 * rng.normal(size=900)
    model = linear(
        pseudo_outcome=name, weights=weights, outcome_strategy="separate"
    ).fit(X, y, treatment=a)
    assert model.predict(X).shape == (900, 2)
    assert np.mean((model.predict(X) - tau) ** 2) < 0.05
    assert len(model.cate_models_[0]) == 2
    assert model.oof_effect_.shape == (900, 2)
    if name == "dr":
        p = model.nuisances_["propensity"]
        w = (
            p[:, 1] * p[:, 0] / (p[:, 1] + p[:, 0])
            if weights == "ivw"
            else np.ones(900)
        )
        assert np.allclose(model.weights_[:, 0], w / w.mean())


def test_a_dose():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(600, 2))
    dose = X[:, 0] + rng.normal(size=600)
    tau = 1 + X[:, 1]
    y = X[:, 0] + tau * dose + 0.5 * rng.normal(size=600)
    squares = make_pipeline(PolynomialFeatures(2), LinearRegression())
    model = RLearner(
        outcome_model=squares, propensity_model=LinearRegression(),
        final_model=LinearRegression(), treatment_type="continuous",
        min_relative_weight=0.0,
    ).fit(X, y, treatment=dose)  # fmt: skip
    assert np.mean((model.predict(X) - tau) ** 2) < 0.02
    rest = dose - model.nuisances_["propensity"]
    f = (y - model.nuisances_["mean"]) / rest
    assert np.allclose(model.pseudo_outcome_, np.where(model.weights_ > 0, f, 0))
    assert model.score(X, y, treatment=dose) > 0.5
    with pytest.raises(ValueError, match="takes arms"):
        linear(treatment_type="continuous").fit(X, y, treatment=dose)
    with pytest.raises(ValueError, match="treatment is constant"):
        RLearner(**LINEAR, treatment_type="continuous").fit(
            X, y, treatment=np.ones(600)
        )
    with pytest.raises(ValueError, match="must be numeric"):
        RLearner(**LINEAR, treatment_type="continuous").fit(
            X, y, treatment=np.where(dose > 0, "a", "b")
        )


def test_modifiers_and_what_weights_do_to_them():
    rng = np.random.default_rng(5)
    n = 40_000
    V, Z = rng.integers(0, 2, (2, n))
    e = np.where(Z == 1, 0.9, 0.5)
    a = (rng.uniform(size=n) < e).astype(int)
    tau = V + 2.0 * Z
    y = a * tau + 0.1 * rng.normal(size=n)
    X = pd.DataFrame({"V": V, "Z": Z, "VZ": V * Z})
    options = {"modifiers": ["V"], "outcome_strategy": "separate"}
    plain = linear(weights="uniform", **options).fit(X, y, treatment=a, propensity=e)
    assert np.allclose(plain.predict(X[:2]), V[:2] + 1.0, atol=0.03)
    with pytest.warns(UserWarning, match="average over the overlap population"):
        ivw = linear(**options).fit(X, y, treatment=a, propensity=e)
    nu = e * (1 - e)
    overlap = V[:2] + 2 * np.mean(nu * Z) / np.mean(nu)
    assert np.allclose(ivw.predict(X[:2]), overlap, atol=0.03)
    assert ivw.cate_models_[0].n_features_in_ == 1
    with pytest.raises(ValueError, match="not columns of X"):
        linear(modifiers=["nope"]).fit(X, y, treatment=a)


# ---- learners ----------------------------------------------------------------------


def test_classifiers_pipelines_and_searches(sample):
    X, y, a, _, _ = sample
    binary = (y > 1).astype(float)
    model = linear(
        outcome_model=make_pipeline(StandardScaler(), LogisticRegression()),
        propensity_model=GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}),
        final_model=make_pipeline(StandardScaler(), LinearRegression()),
    ).fit(X, binary, treatment=a)  # fmt: skip
    assert np.all((model.nuisances_["means"] > 0) & (model.nuisances_["means"] < 1))
    with pytest.raises(ValueError, match="is a classifier, so y must hold 0 and 1"):
        linear(outcome_model=LogisticRegression()).fit(X, y, treatment=a)


def test_a_search_as_final_model_gets_the_weights(sample):
    X, y, a, *_ = sample
    search = GridSearchCV(
        HistGradientBoostingRegressor(max_iter=10), {"max_leaf_nodes": [2, 4]}, cv=3
    )
    model = linear(final_model=search).fit(X, y, treatment=a)
    best = model.cate_models_[0].best_params_
    again = clone(search.estimator).set_params(**best, random_state=0)
    again.fit(X, model.pseudo_outcome_, sample_weight=model.weights_)
    assert np.allclose(model.predict(X), again.predict(X))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"final_model": KNeighborsRegressor()}, "cannot be fitted with sample_weight"),
        ({"final_model": LogisticRegression()}, "is a classifier"),
        ({"propensity_model": LinearRegression()}, "has no predict_proba"),
        ({"final_model": LinearRegression}, "is not an estimator"),
        ({"weights": "r"}, "depend on the treatment"),
        ({"pseudo_outcome": "x", "weights": "ivw"}, "Use weights='uniform'"),
    ],
)
def test_refusals_before_anything_is_fitted(sample, options, message):
    X, y, a, *_ = sample
    model = linear(**{"outcome_model": NeverFit(), **options})
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(X, np.round(expit(y)), treatment=a)
    assert not hasattr(model, "treatments_") and not hasattr(model, "_first")


def test_unit_weights_of_u_warn(sample):
    X, y, a, *_ = sample
    with pytest.warns(UserWarning, match="not orthogonal: use weights='r'"):
        linear(pseudo_outcome="u", weights="uniform").fit(X, y, treatment=a)


def test_a_final_model_without_weights_serves_uniform_ones(sample):
    X, y, a, *_ = sample
    model = linear(weights="uniform", final_model=KNeighborsRegressor(50))
    expected = KNeighborsRegressor(50)
    found = model.fit(X, y, treatment=a)
    expected.fit(X, found.pseudo_outcome_)
    assert np.array_equal(found.predict(X), expected.predict(X))


def test_missing_covariates_where_all_learners_take_them(sample):
    X, y, a, *_ = sample
    holes = X.copy()
    holes[::9, 1] = np.nan
    trees = {
        "outcome_model": HistGradientBoostingRegressor(max_iter=20),
        "propensity_model": HistGradientBoostingClassifier(max_iter=20),
        "final_model": HistGradientBoostingRegressor(max_iter=20),
    }
    model = PseudoOutcomeRegressor(**trees, clip=0.05)
    assert np.all(np.isfinite(model.fit(holes, y, treatment=a).predict(holes)))
    with pytest.raises(ValueError, match="NaN"):
        linear().fit(holes, y, treatment=a)


# ---- frames, protocols -------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pandas", "polars"])
@pytest.mark.parametrize("strategy", ["single", "separate"])
def test_frames(sample, kind, strategy):
    X, y, a, *_ = sample
    table = pd.DataFrame(X, columns=["p", "q", "r"])
    frame = table if kind == "pandas" else pl.from_pandas(table)
    model = linear(outcome_strategy=strategy).fit(frame, y, treatment=a)
    plain = linear(outcome_strategy=strategy).fit(X, y, treatment=a)
    assert np.allclose(model.predict(frame), plain.predict(X))
    assert list(model.feature_names_in_) == ["p", "q", "r"]
    numbered = table.set_axis([5, 6, 7], axis=1)
    assert np.allclose(
        clone(model).fit(numbered, y, treatment=a).predict(numbered), plain.predict(X)
    )
    if strategy == "single":
        with pytest.raises(ValueError, match="has a column 'treatment_1'"):
            linear().fit(table.assign(treatment_1=1.0), y, treatment=a)


def test_presets_are_the_class_with_options(sample):
    X, y, a, *_ = sample
    r = RLearner(**LINEAR, min_relative_weight=0.0).fit(X, y, treatment=a)
    same = linear(pseudo_outcome="u", weights="r").fit(X, y, treatment=a)
    assert np.array_equal(r.predict(X), same.predict(X))
    dr = DRLearner(**LINEAR).fit(X, y, treatment=a)
    same = linear(weights="uniform").fit(X, y, treatment=a)
    assert np.array_equal(dr.predict(X), same.predict(X))
    assert RLearner().min_relative_weight == 0.01
    assert np.array_equal(pickle.loads(pickle.dumps(r)).predict(X), r.predict(X))


def test_score_prefers_the_better_effect(sample):
    X, y, a, e, _ = sample
    half = np.arange(400) < 200
    fits = [
        linear(final_model=final).fit(X[half], y[half], treatment=a[half])
        for final in (LinearRegression(), DummyRegressor())
    ]
    good, bad = (m.score(X[~half], y[~half], treatment=a[~half]) for m in fits)
    assert good > 0.3 > bad
    known = linear().fit(X[half], y[half], treatment=a[half], propensity=e[half])
    with pytest.raises(ValueError, match="pass propensity= of these rows"):
        known.score(X, y, treatment=a)
    assert known.score(X, y, treatment=a, propensity=e) > 0.3
    with pytest.raises(ValueError, match="score rows of all arms"):
        fits[0].score(X, y, treatment=a + (np.arange(400) == 3) * 2)


def test_the_average_of_the_pseudo_outcomes_is_the_augmented_estimate():
    data = make_nie_wager(500, setup="B", n_features=5, random_state=1)
    model = linear(weights="uniform", outcome_strategy="separate").fit(
        data.X, data.y, treatment=data.treatment, propensity=np.full(500, 0.5)
    )
    m, a, y = model.nuisances_["means"], data.treatment, data.y
    dr = m[:, 1] - m[:, 0] + np.where(a == 1, y - m[:, 1], m[:, 0] - y) / 0.5
    assert np.allclose(model.pseudo_outcome_, dr)
