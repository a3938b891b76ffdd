"""The double-weighting classifier as a scikit-learn estimator."""

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causalweights import (
    DoubleKernelMeanMatching,
    DoubleWeightingClassifier,
    ImportanceWeightedScorer,
    KernelMeanMatching,
)
from causalweights.kernels import Laplace
from causalweights.shift import TargetSample, _classifier_fit
from causalweights.shift._log_loss import log_rule

FITTED = ["mu_", "tau_", "lambda_", "alpha_", "beta_", "minimax_risk_", "D_"]
LOSSES = ["log", "0-1"]


@pytest.fixture
def sample(labelled):
    """Return X, y (words) and X_target of design A."""
    X, y, target = labelled(100, 0, 70)
    return X, np.array(["no", "yes"])[y], target


def assert_same_fit(one, two, atol=0.0):
    for name in FITTED:
        assert_allclose(
            getattr(one, name), getattr(two, name), rtol=0, atol=atol, err_msg=name
        )


# ---- attributes ----------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_attributes_are_those_of_the_weights(loss, sample):
    X, y, target = sample
    model = DoubleWeightingClassifier(loss=loss, D=2.0)
    assert is_classifier(model)
    assert model.fit(X, y, X_target=target) is model
    weights = DoubleKernelMeanMatching(D=2.0).fit(X, X_target=target)
    for name in ("beta", "alpha", "mmd2", "mmd2_before", "gap", "relative_gap",
                 "ess_source", "ess_target", "bandwidth", "kernel"):  # fmt: skip
        assert_array_equal(getattr(model, f"{name}_"), getattr(weights, f"{name}_"))
    assert model.classes_.tolist() == ["no", "yes"]
    assert model.mu_.shape == model.tau_.shape == model.lambda_.shape == (2, 3)
    assert model.D_ == 2.0 and model.D_path_.D.tolist() == [2.0]
    assert 0 < model.lower_risk_ < model.minimax_risk_ < model.confidence_bound_
    assert model.converged_ and model.n_iter_ > 0
    assert set(model.predict(target)) == {"no", "yes"}


def test_score_is_the_accuracy(sample):
    X, y, target = sample
    model = DoubleWeightingClassifier().fit(X, y, X_target=target)
    assert model.score(X, y) == accuracy_score(y, model.predict(X))
    weight = np.arange(100.0)
    assert model.score(X, y, sample_weight=weight) == pytest.approx(
        accuracy_score(y, model.predict(X), sample_weight=weight)
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_a_refit_has_the_same_bits(loss, sample, capsys):
    X, y, target = sample
    rough = {"features": "rff", "n_components": 5, "D_selection": "iwcv", "cv": 2}
    for options in ({}, rough):
        model = DoubleWeightingClassifier(loss=loss, **options)
        first = clone(model).fit(X, y, X_target=target)
        np.random.seed(3)  # noqa: NPY002
        again = clone(model).set_params(n_jobs=2).fit(X, y, X_target=target)
        assert_same_fit(first, again)
        assert_array_equal(first.predict_proba(target), again.predict_proba(target))
    assert capsys.readouterr() == ("", "")


# ---- two styles, weights -------------------------------------------------------------


@pytest.mark.parametrize("placeholder", [-1, np.nan, np.inf])
def test_both_styles_agree_and_masked_labels_are_not_read(placeholder, both):
    apart, mixed = both
    one = DoubleWeightingClassifier().fit(**apart)
    domain = mixed["sample_domain"]
    y = np.where(domain < 0, placeholder, mixed["y"])
    if np.isfinite(placeholder):
        y = y.astype(int)
    two = DoubleWeightingClassifier().fit(mixed["X"], y, sample_domain=domain)
    assert_same_fit(one, two)
    assert two.classes_.tolist() == [0, 1]
    words = np.where(domain < 0, None, np.array(["a", "b"])[mixed["y"] * (domain > 0)])
    three = DoubleWeightingClassifier().fit(mixed["X"], words, sample_domain=domain)
    assert_same_fit(one, three)
    assert two.score(mixed["X"], mixed["y"], sample_domain=domain) == one.score(
        apart["X"], apart["y"]
    )
    with pytest.raises(ValueError, match="label -1, which no source row has"):
        two.score(mixed["X"], mixed["y"])


@pytest.mark.parametrize("loss", LOSSES)
def test_frequency_weights_are_copies(loss, sample, rng):
    X, y, target = sample
    s, r = rng.integers(0, 3, size=100), rng.integers(0, 3, size=70)
    model = DoubleWeightingClassifier(
        loss=loss, weight_type="frequency", bandwidth=0.7, standardize=True
    )
    some = clone(model).fit(X, y, X_target=TargetSample(target, r), sample_weight=s)
    copies = model.fit(
        np.repeat(X, s, axis=0), np.repeat(y, s), X_target=np.repeat(target, r, axis=0)
    )
    assert_array_equal(some.beta_[s == 0], 0.0)
    assert_allclose(np.repeat(some.beta_, s), copies.beta_, atol=1e-7)
    for name in ("tau_", "lambda_", "minimax_risk_", "lower_risk_", "ess_source_",
                 "confidence_bound_"):  # fmt: skip
        assert_allclose(getattr(some, name), getattr(copies, name), rtol=1e-5)
    assert_allclose(some.predict_proba(target), copies.predict_proba(target), atol=1e-5)


def test_sampling_weights_have_no_scale(both, rng):
    apart, mixed = both
    weight, domain = rng.uniform(0.5, 2.0, size=150), mixed["sample_domain"]
    one = DoubleWeightingClassifier().fit(
        apart["X"], apart["y"], sample_weight=7 * weight[domain == 1],
        X_target=TargetSample(apart["X_target"], 3 * weight[domain == -1]),
    )  # fmt: skip
    two = DoubleWeightingClassifier().fit(**mixed, sample_weight=weight)
    assert_same_fit(one, two, atol=1e-6)
    plain = DoubleWeightingClassifier().fit(**apart)
    assert np.abs(plain.tau_ - one.tau_).max() > 1e-3


def test_rows_of_weight_zero_are_no_rows(sample):
    X, y, target = sample
    s = np.ones(100)
    s[-10:] = 0
    labels = np.concatenate([y[:-10], np.repeat("other", 10)])
    model = DoubleWeightingClassifier().fit(X, labels, X_target=target, sample_weight=s)
    assert model.classes_.tolist() == ["no", "yes"]
    assert_same_fit(
        DoubleWeightingClassifier().fit(X[:-10], y[:-10], X_target=target),
        model.set_params().fit(X[:-10], y[:-10], X_target=target),
    )


# ---- kinds of input ------------------------------------------------------------------


def read_only(values):
    values = values.copy()
    values.flags.writeable = False
    return values


def test_kinds_of_input_with_the_same_numbers(labelled, rng):
    X, y, target = labelled(80, 1, 60)
    # Whole eighths are exact in float32.
    X, target = np.round(8 * X) / 8, np.round(8 * target) / 8
    plain = DoubleWeightingClassifier().fit(X.copy(), y.copy(), X_target=target.copy())
    index, names = rng.permutation(80), ["u", "v"]
    kinds = {
        "float32": (X.astype(np.float32), y, target.astype(np.float32)),
        "read-only": (read_only(X), read_only(y), read_only(target)),
        "Fortran": (np.asfortranarray(X), y, np.asfortranarray(target)),
        "lists": (X.tolist(), y.tolist(), target.tolist()),
        "pandas": (
            pd.DataFrame(X, columns=names, index=index),
            pd.Series(y, index=index),
            pd.DataFrame(target, columns=names, index=rng.permutation(60) + 7),
        ),
        "polars": (pl.DataFrame(X, names), pl.Series(y), pl.DataFrame(target, names)),
    }
    for name, (A, b, C) in kinds.items():
        model = DoubleWeightingClassifier().fit(A, b, X_target=C)
        assert_same_fit(plain, model, atol=1e-9)
        h = model.predict_proba(C)
        assert h.dtype == np.float64
        assert_allclose(h, plain.predict_proba(target), atol=1e-9, err_msg=name)
        assert hasattr(model, "feature_names_in_") == (name in ("pandas", "polars"))
    frame, labels = pd.DataFrame(X, columns=names), pd.Series(y)[::-1]
    with pytest.raises(ValueError, match="same index labels in another order"):
        DoubleWeightingClassifier().fit(frame, labels, X_target=frame[:60] + 1)


def test_what_is_given_is_not_changed(sample):
    X, y, target = sample
    given = [X.copy(), y.copy(), target.copy()]
    for loss in LOSSES:
        model = DoubleWeightingClassifier(loss=loss, standardize=True, features="poly3")
        model.fit(X, y, X_target=target).predict_proba(X)
    for before, after in zip(given, (X, y, target)):
        assert_array_equal(before, after)


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_frames_with_categories(library, sample):
    X, y, target = sample

    def frame(values, seed):
        towns = np.array(["north", "south"])
        town = towns[np.random.default_rng(seed).integers(0, 2, size=len(values))]
        return library({"u": values[:, 0], "v": values[:, 1], "town": town})

    model = DoubleWeightingClassifier(standardize=True)
    model.fit(frame(X, 0), y, X_target=frame(target, 1))
    assert model.feature_names_in_.tolist() == ["u", "v", "town"]
    assert model.mu_.shape == (2, 5)
    assert_array_equal(model.target_weights(frame(target, 1)), model.alpha_)
    with pytest.raises(ValueError, match="frame"):
        model.predict(X)


def test_standardized_columns_have_no_units(sample):
    X, y, target = sample
    scale, shift = np.array([1e3, 1e-2]), np.array([5.0, -1.0])
    one, two = (
        DoubleWeightingClassifier(standardize=True, features="poly2").fit(
            A, y, X_target=B
        )
        for A, B in ((X, target), (X * scale + shift, target * scale + shift))
    )
    assert_allclose(one.mu_, two.mu_, atol=1e-5)
    moved = two.predict_proba(target * scale + shift)
    assert_allclose(moved, one.predict_proba(target), atol=1e-6)


def test_pickle_and_clone(sample):
    X, y, target = sample
    new = target + 0.1
    for features in ("poly2", "rff", StandardScaler()):
        model = DoubleWeightingClassifier(features=features).fit(X, y, X_target=target)
        loaded = pickle.loads(pickle.dumps(model))
        assert_array_equal(loaded.predict_proba(new), model.predict_proba(new))
        assert len(pickle.dumps(model)) < 100_000
        again = clone(model).fit(X, y, X_target=target)
        assert_same_fit(again, model)


# ---- refusals and warnings -----------------------------------------------------------


def replaced(values, row, new):
    values = values.copy()
    values[row] = new
    return values


def test_what_is_refused_loses_nothing(sample):
    X, y, target = sample
    model = DoubleWeightingClassifier().fit(X, y, X_target=target)
    before = dict(vars(model))
    words = y.astype(object)
    refused = [
        ((X, y, {}), "target sample is missing"),
        ((X, y, {"X_target": target, "sample_domain": np.ones(100)}), "both given"),
        ((X, None, {"X_target": target}), "requires y to be passed"),
        ((X, y[:-1], {"X_target": target}), "inconsistent numbers of samples"),
        ((X, np.repeat("no", 100), {"X_target": target}), "one class only \\('no'\\)"),
        ((X, X[:, 0], {"X_target": target}), "continuous"),
        ((X, replaced(words, 3, None), {"X_target": target}), "missing labels"),
        ((X, replaced(words, 3, 1), {"X_target": target}), "mixes strings"),
        ((replaced(X, 2, np.nan), y, {"X_target": target}), "NaN|Missing"),
        ((X, y, {"X_target": replaced(target, 2, np.inf)}), "X_target: "),
        ((X, y, {"X_target": target[:, :1]}), "X_target: .*1 features"),
        ((X, y, {"X_target": target[:1]}), "target sample has 1 row"),
        (
            (X, y[:-1], {"sample_domain": np.repeat([1, -1], 50)}),
            "inconsistent numbers of samples",
        ),
        ((X, y, {"X_target": target, "sample_weight": -np.ones(100)}), "negative"),
    ]
    for (A, b, given), message in refused:
        with pytest.raises(ValueError, match=message):
            model.fit(A, b, **given)
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        model.fit(sp.csr_array(X), y, X_target=target)
    after = vars(model)
    assert set(after) == set(before)
    assert all(after[name] is before[name] for name in before)
    single = DoubleWeightingClassifier()
    with pytest.raises(ValueError, match="one class only"):
        single.fit(X, np.ones(100), X_target=target)
    assert not [name for name in vars(single) if name.endswith("_")]


@pytest.mark.parametrize("bad", [
    {"loss": "hinge"}, {"D": 0.5}, {"D": "best"}, {"D_grid": 3.0},
    {"D_selection": "cv"}, {"confidence": 1.0}, {"prediction": "random"},
    {"features": "poly4"}, {"n_components": 0}, {"lambda_scale": -0.1},
    {"kappa": -1.0}, {"cv": 0.5, "D_selection": "iwcv"},
])  # fmt: skip
def test_parameters_are_checked(bad, sample):
    X, y, target = sample
    with pytest.raises(ValueError, match=next(iter(bad))):
        DoubleWeightingClassifier(**bad).fit(X, y, X_target=target)


@pytest.mark.parametrize(
    "array", [np.ones((2, 2)), -np.ones((2, 3)), [[np.nan] * 3] * 2]
)
def test_an_array_of_lambda_is_checked(array, sample):
    X, y, target = sample
    with pytest.raises(ValueError, match=r"lambda_scale .* shape \(2, 3\)"):
        DoubleWeightingClassifier(lambda_scale=array).fit(X, y, X_target=target)


def messages(model, X, y, target, category=UserWarning):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y, X_target=target)
    assert all(w.filename == __file__ for w in caught)
    return [str(w.message) for w in caught if issubclass(w.category, category)]


def test_a_sound_fit_does_not_warn(sample):
    assert messages(DoubleWeightingClassifier(), *sample) == []
    assert messages(DoubleWeightingClassifier(loss="0-1"), *sample) == []


def test_warnings(sample):
    X, y, target = sample
    for loss, guess in (("log", "0.693"), ("0-1", "0.5")):
        model = DoubleWeightingClassifier(loss=loss, lambda_scale=8.0)
        (like_guessing,) = messages(model, X, y, target)
        assert f"hardly below that of guessing, {guess}" in like_guessing
        assert model.minimax_risk_ <= {"log": np.log(2), "0-1": 0.5}[loss] + 1e-8
    (small,) = messages(DoubleWeightingClassifier(), X, y, target[:40])
    assert "target sample has 40 rows" in small
    few = messages(DoubleWeightingClassifier(D=1.0, kappa=0.0), X, y, target)
    assert any("source weights rest on few rows" in m for m in few)
    capped = messages(DoubleWeightingClassifier(D=4.0, B=2.0), X, y, target)
    assert any("at their bound B / sqrt(D) = 1" in m for m in capped)
    far = messages(DoubleWeightingClassifier(D=1e4), X, y, target + 20.0)
    assert any("the target keeps" in m for m in far)


def test_what_does_not_converge_says_so(sample, monkeypatch):
    X, y, target = sample
    model = DoubleWeightingClassifier(solver="low_rank", rank=5, kappa=1e-4, D=2.0)
    (short,) = messages(model, X, y, target, ConvergenceWarning)
    assert "not optimal to tol=1e-08: relative gap of the weights" in short
    assert not model.converged_ and not model.D_path_.converged[0]

    def unfinished(*args, **options):
        return replace(log_rule(*args, **options), gap=0.25, converged=False)

    monkeypatch.setattr(_classifier_fit, "log_rule", unfinished)
    stopped = DoubleWeightingClassifier()
    (short,) = messages(stopped, X, y, target, ConvergenceWarning)
    assert "gap of the rule 0.25" in short and not stopped.converged_
    assert stopped.minimax_gap_ == 0.25


# ---- searches, pipelines, routing ----------------------------------------------------


def test_requests_are_made_by_the_class():
    wanted = {"X_target": True, "sample_domain": True, "sample_weight": True}
    with sklearn.config_context(enable_metadata_routing=True):
        routing = DoubleWeightingClassifier().get_metadata_routing()
    assert routing.fit.requests == wanted
    assert routing.score.requests == {"sample_domain": True, "sample_weight": True}


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_grid_search_over_D_and_kappa(routing, weighted, labelled):
    X, y, target = labelled(90, 2, 90)
    grid = {"D": [4.0, "auto"], "kappa": [1e-2, 0.1]}
    scoring = None
    if weighted:
        weighter = KernelMeanMatching(kappa=0.1).fit(X, X_target=TargetSample(target))
        scoring = ImportanceWeightedScorer(weighter, "accuracy")
    search = GridSearchCV(DoubleWeightingClassifier(), grid, cv=2, scoring=scoring)
    with sklearn.config_context(enable_metadata_routing=routing):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the minimax risk")
            search.fit(X, y, X_target=TargetSample(target))
    scores = search.cv_results_["mean_test_score"]
    assert len(scores) == 4 and np.all(scores > 0.6)
    # The target came whole to every fold.
    assert len(search.best_estimator_.alpha_) == 90


def test_a_sliced_target_is_warned_of(labelled):
    X, y, target = labelled(60, 2, 60)
    (sliced,) = messages(DoubleWeightingClassifier(), X, y, target)
    assert "TargetSample" in sliced


def test_cross_validation_by_domain(both):
    _, mixed = both
    X, y, domain = mixed.values()
    with sklearn.config_context(enable_metadata_routing=True):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the (source|target|minimax)")
            scores = cross_val_score(
                DoubleWeightingClassifier(),
                X,
                y,
                cv=3,
                params={"sample_domain": domain},
            )
    # Placeholders never score: with them 40 % of the rows would be wrong.
    assert np.all(scores > 0.6)


def test_pipelines_scale_the_target(sample):
    X, y, target = sample
    scale = np.array([30.0, 0.1])
    scaler = StandardScaler().fit(X * scale)
    direct = DoubleWeightingClassifier().fit(
        scaler.transform(X * scale), y, X_target=scaler.transform(target * scale)
    )
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = make_pipeline(
            StandardScaler(), DoubleWeightingClassifier(), transform_input=["X_target"]
        )
        pipe.fit(X * scale, y, X_target=target * scale)
    assert_same_fit(pipe[-1], direct)
    assert_array_equal(
        pipe.predict(target * scale), direct.predict(scaler.transform(target * scale))
    )


@pytest.mark.parametrize("options", [
    {"kernel": Laplace(0.5)}, {"bandwidth": "median"}, {"solver": "low_rank"},
    {"B": 3.0}, {"fit_intercept": False}, {"D": np.inf},
])  # fmt: skip
def test_options_reach_the_fit(options, sample):
    X, y, target = sample
    plain = DoubleWeightingClassifier(D=2.0).fit(X, y, X_target=target)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "source weights are at|the minimax risk")
        model = clone(plain).set_params(**options).fit(X, y, X_target=target)
    if "solver" in options:
        assert_allclose(model.minimax_risk_, plain.minimax_risk_, atol=1e-3)
    else:
        assert abs(model.minimax_risk_ - plain.minimax_risk_) > 1e-3
    if options == {"D": np.inf}:
        assert_array_equal(model.beta_, 1.0)
    assert model.mu_.shape == (2, 3 - ("fit_intercept" in options))
