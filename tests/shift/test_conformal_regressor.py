"""Prediction intervals for the target, with any regressor and weighter."""

import pickle
import warnings
from itertools import pairwise
from math import ceil, inf

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone, is_regressor
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, QuantileRegressor, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from causalweights import DoubleKernelMeanMatching, KernelMeanMatching
from causalweights.shift import (
    LogisticRatio,
    RuLSIF,
    TargetSample,
    WeightedConformalRegressor,
)

QUANTILES = tuple(QuantileRegressor(quantile=q, alpha=0.0) for q in (0.1, 0.9))
WEIGHTERS = {
    "matching": KernelMeanMatching(),
    "double": DoubleKernelMeanMatching(),
    "logistic": LogisticRatio(),
    "rulsif": RuLSIF(),
}
SHAPES = {
    "residual": {},
    "scaled": {"scale_estimator": LinearRegression()},
    "quantile": {"quantile_estimators": QUANTILES},
}


def true_ratio(X):
    """Return N(1, .6^2) over N(0, 1)."""
    x = np.asarray(X)[:, 0]
    return np.exp((x**2 - ((x - 1.0) / 0.6) ** 2) / 2) / 0.6


class Known(BaseEstimator):
    """A weighter of known weights."""

    def __init__(self, ratio):
        self.ratio = ratio

    def fit(self, X, y=None, *, X_target=None, sample_weight=None):
        self.beta_ = self.ratio(X)
        return self

    def predict_weights(self, X):
        return self.ratio(X)


def ones(X):
    return np.ones(len(X))


def outcome(x, rng):
    return x + 0.4 * x**2 + 0.5 * np.exp(0.5 * x) * rng.normal(size=len(x))


@pytest.fixture
def shifted():
    """Return ``(n, t, seed) -> X, y, X_target`` in one column, unequal noise."""

    def draw(n=240, t=150, seed=0):
        rng = np.random.default_rng(seed)
        x, target = rng.normal(size=n), 1.0 + 0.6 * rng.normal(size=t)
        return x[:, None], outcome(x, rng), target[:, None]

    return draw


def fitting_rows(model, n):
    return np.setdiff1d(np.arange(n), model.calibration_rows_)


# ---- against brute force -------------------------------------------------------------


@pytest.mark.parametrize("weighter", [None, Known(ones)], ids=["none", "ones"])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_without_a_shift_it_is_split_conformal_prediction(weighter, level, shifted):
    X, y, target = shifted()
    model = WeightedConformalRegressor(LinearRegression(), weighter)
    model.fit(X, y, X_target=target)
    rows, held_out = fitting_rows(model, 240), model.calibration_rows_
    assert len(rows) == len(held_out) == 120
    line = LinearRegression().fit(X[rows], y[rows])
    residuals = np.sort(np.abs(y[held_out] - line.predict(X[held_out])))
    half = residuals[ceil(level * 121) - 1]
    mean = line.predict(target)
    assert_allclose(model.predict(target), mean, rtol=1e-12)
    assert_allclose(
        model.predict_interval(target, level),
        np.column_stack([mean - half, mean + half]),
        rtol=1e-12,
    )
    assert model.ess_calibration_ == 120


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighter", WEIGHTERS)
def test_intervals_are_those_of_the_definition(weighter, shape, shifted):
    X, y, target = shifted()
    model = WeightedConformalRegressor(
        LinearRegression(), WEIGHTERS[weighter], random_state=3, **SHAPES[shape]
    ).fit(X, y, X_target=target)
    rows, held_out = fitting_rows(model, 240), model.calibration_rows_
    fresh = clone(WEIGHTERS[weighter])
    if weighter == "rulsif":
        fresh.set_params(random_state=model.weighter_.random_state)
    fresh.fit(X[rows], X_target=target)
    w, own = fresh.predict_weights(X[held_out]), fresh.predict_weights(target)
    if weighter == "double":
        alphas = fresh.target_weights(X[held_out]), fresh.target_weights(target)
        assert all(a.min() < 0.1 < a.max() for a in alphas)
        w = np.array([b / a if a >= 0.1 else 0 for b, a in zip(w, alphas[0])])
        own = np.array([b / a if a >= 0.1 else inf for b, a in zip(own, alphas[1])])
    beta = fresh.beta_ / fresh.beta_.mean()

    def fitted(estimator, goal):
        return clone(estimator).fit(X[rows], goal, sample_weight=beta)

    mean = fitted(LinearRegression(), y[rows])
    low = high = mean.predict
    scale = ones
    if shape == "scaled":
        residuals = np.abs(y[rows] - mean.predict(X[rows]))
        slope = fitted(LinearRegression(), residuals)

        def scale(X):
            return np.maximum(slope.predict(X), 0.1 * beta @ residuals / len(rows))
    elif shape == "quantile":
        low, high = (fitted(q, y[rows]).predict for q in QUANTILES)
    C = X[held_out]
    scores = np.maximum(low(C) - y[held_out], y[held_out] - high(C)) / scale(C)
    for level in (0.6, 0.9):
        limits = model.predict_interval(target, level)
        for i, x in enumerate(target[:40]):
            for r in np.append(np.sort(scores), inf):
                if w[scores <= r].sum() >= (1 - 1e-9) * level * (w.sum() + own[i]):
                    break
            reach = r * scale([x])[0]
            expected = low([x])[0] - reach, high([x])[0] + reach
            assert_allclose(limits[i], expected, rtol=1e-9, atol=1e-9)


# ---- what they promise ---------------------------------------------------------------


def coverage(weighter, reps, level, n=80, **options):
    """Return the mean share of 200 new target rows covered, and its standard error."""
    shares, infinite = [], []
    for rep in range(reps):
        rng = np.random.default_rng([9, rep])
        x, new = rng.normal(size=n), 1.0 + 0.6 * rng.normal(size=200)
        model = WeightedConformalRegressor(LinearRegression(), weighter, **options)
        model.fit(x[:, None], outcome(x, rng), X_target=np.ones((2, 1)))
        low, high = model.predict_interval(new[:, None], level).T
        y = outcome(new, rng)
        shares.append(np.mean((low <= y) & (y <= high)))
        infinite.append(np.mean(np.isinf(low)))
    assert np.mean(infinite) < 0.02
    return np.mean(shares), np.std(shares) / reps**0.5


@pytest.mark.parametrize("shape", SHAPES)
def test_with_the_true_ratio_the_target_is_covered(shape):
    share, error = coverage(Known(true_ratio), 60, 0.8, **SHAPES[shape])
    assert 0.8 - 3 * error <= share <= 0.87


def test_without_weights_it_is_not():
    share, error = coverage(None, 60, 0.8, weighted_fit=False)
    assert share < 0.8 - 10 * error


def test_calibration_rows_inform_neither_weights_nor_regressors(shifted):
    X, y, target = shifted()
    model = WeightedConformalRegressor(
        LinearRegression(), KernelMeanMatching(), scale_estimator=Ridge()
    ).fit(X, y, X_target=target)
    held_out = model.calibration_rows_
    other_y, other_X = y.copy(), X.copy()
    other_y[held_out] += 10.0
    other_X[held_out] -= 1.0
    again = clone(model).fit(X, other_y, X_target=target)
    assert_array_equal(again.calibration_weights_, model.calibration_weights_)
    assert np.all(again.calibration_scores_ != model.calibration_scores_)
    moved = clone(model).fit(other_X, y, X_target=target)
    for new in (again, moved):
        assert_array_equal(new.weighter_.beta_, model.weighter_.beta_)
        assert_array_equal(new.estimator_.coef_, model.estimator_.coef_)
        assert_array_equal(new.scale_estimator_.coef_, model.scale_estimator_.coef_)
    assert np.any(moved.calibration_weights_ != model.calibration_weights_)


@pytest.mark.parametrize("shape", SHAPES)
def test_intervals_are_nested_in_level(shape, shifted):
    X, y, target = shifted()
    model = WeightedConformalRegressor(
        LinearRegression(), RuLSIF(), **SHAPES[shape]
    ).fit(X, y, X_target=target)
    limits = [model.predict_interval(target, v) for v in (0.1, 0.5, 0.8, 0.9)]
    for inner, outer in pairwise(limits):
        assert np.all(outer[:, 0] <= inner[:, 0]) and np.all(inner[:, 1] <= outer[:, 1])
        assert np.any(outer != inner)


def test_a_weighters_scale_does_not_matter(shifted):
    X, y, target = shifted()
    one, two = (
        WeightedConformalRegressor(LinearRegression(), Known(ratio))
        .fit(X, y, X_target=target)
        .predict_interval(target, 0.9)
        for ratio in (true_ratio, lambda X: 1e-6 * true_ratio(X))
    )
    assert_allclose(one, two, rtol=1e-10)


def test_unequal_noise_is_seen_by_scales_and_quantiles(shifted):
    X, y, target = shifted(600, 300)
    for shape, options in SHAPES.items():
        model = WeightedConformalRegressor(
            LinearRegression(), Known(true_ratio), **options
        ).fit(X, y, X_target=target)
        narrow, wide = np.diff(model.predict_interval([[0.0], [2.0]], 0.8))[:, 0]
        # The scores' quantile differs by the own weight, of a small share.
        assert (
            (0.9 < wide / narrow < 1.2) if shape == "residual" else wide > 1.4 * narrow
        )


def test_scales_stay_positive(rng):
    X = rng.random((240, 1))
    y = X[:, 0] * rng.normal(size=240)
    line = LinearRegression()
    model = WeightedConformalRegressor(line, None, scale_estimator=line).fit(X, y)
    assert model.scale_estimator_.predict([[-9.0]]) < 0
    rows = fitting_rows(model, 240)
    smallest = 0.1 * np.abs(y[rows] - model.predict(X[rows])).mean()
    half = np.sort(model.calibration_scores_)[ceil(0.5 * 121) - 1] * smallest
    (mean,) = model.predict([[-9.0]])
    limits = model.predict_interval([[-9.0]], 0.5)[0]
    assert_allclose(limits, [mean - half, mean + half])


@pytest.mark.parametrize("weighter", [None, KernelMeanMatching()])
def test_an_interpolating_estimator_has_no_scale(weighter, shifted):
    X, y, target = shifted()
    tree = DecisionTreeRegressor()
    model = WeightedConformalRegressor(tree, weighter, scale_estimator=Ridge())
    with pytest.warns(UserWarning, match="leaves no residuals") as caught:
        model.fit(X, y, X_target=target)
    assert caught[0].filename == __file__
    assert model.scale_estimator_ is None
    plain = WeightedConformalRegressor(tree, weighter).fit(X, y, X_target=target)
    assert_array_equal(
        model.predict_interval(target, 0.8), plain.predict_interval(target, 0.8)
    )


# ---- the edge of the source ----------------------------------------------------------


def test_zero_weights_do_not_count(shifted):
    X, y, target = shifted()
    model = WeightedConformalRegressor(LinearRegression(), KernelMeanMatching())
    model.fit(X, y, X_target=target)
    w = model.calibration_weights_
    zero = w == 0
    assert 10 < zero.sum() < 110
    assert model.ess_calibration_ == pytest.approx(w.sum() ** 2 / (w @ w))
    assert model.ess_calibration_ < 110
    y = y.copy()
    y[model.calibration_rows_[zero]] = 1e6
    again = clone(model).fit(X, y, X_target=target)
    assert again.calibration_scores_.max() > 1e5
    assert_array_equal(
        again.predict_interval(target, 0.9), model.predict_interval(target, 0.9)
    )


def test_few_calibration_rows_are_warned_of(shifted):
    X, y, target = shifted(36, 60)
    model = WeightedConformalRegressor(LinearRegression(), None).fit(X, y)
    assert model.ess_calibration_ == 18
    with pytest.warns(UserWarning) as caught:
        limits = model.predict_interval(target)
    assert_array_equal(limits, [[-inf, inf]] * 60)
    few, infinite = (str(w.message) for w in caught)
    assert (
        "are worth 18.0 rows of equal weight, of which a level of 0.95 needs 20" in few
    )
    assert (
        "60 of 60 intervals are infinite. Of these rows 60 hold more than" in infinite
    )
    assert {w.filename for w in caught} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.all(np.isfinite(model.predict_interval(target, 0.9)))


def test_rows_far_out_get_infinite_intervals_and_a_warning(shifted):
    X, y, target = shifted()
    model = WeightedConformalRegressor(LinearRegression(), LogisticRatio())
    model.fit(X, y, X_target=target)
    with pytest.warns(
        UserWarning, match=r"1 of 2 intervals are infinite.* 1 hold more"
    ):
        near, far = model.predict_interval([[0.5], [9.0]], 0.8)
    assert np.all(np.isfinite(near))
    assert_array_equal(far, [-inf, inf])


def test_beyond_the_sources_reach_intervals_are_infinite():
    rng = np.random.default_rng(0)
    X, near = rng.normal(size=(200, 1)), rng.normal(0.5, 0.7, size=(100, 1))
    far = rng.normal(7.0, 0.3, size=(50, 1))
    y = X[:, 0] + rng.normal(size=200)
    model = WeightedConformalRegressor(
        LinearRegression(), DoubleKernelMeanMatching(D=9.0)
    ).fit(X, y, X_target=np.vstack([near, far]))
    # What lies apart even of the far rows keeps weight.
    far = far[model.weighter_.target_weights(far) < 0.1]
    m = len(far)
    assert m > 40
    said = r"beyond the source's reach \(target weight below 0.1\)"
    with pytest.warns(UserWarning, match=rf"{m} of {m + 1} .* rows {m} are {said}"):
        limits = model.predict_interval(np.vstack([far, [[0.5]]]), 0.9)
    assert np.all(np.isinf(limits[:m])) and np.all(np.isfinite(limits[m]))
    # Source weights alone would not tell.
    assert model.weighter_.predict_weights(far).max() < 2


# ---- samples, weights, learners ------------------------------------------------------


def test_both_styles_agree(both):
    apart, mixed = both
    model = WeightedConformalRegressor(LinearRegression(), KernelMeanMatching())
    y = mixed["y"].astype(float)
    y[mixed["sample_domain"] < 0] = np.nan  # not looked at
    one = clone(model).fit(**apart)
    two = clone(model).fit(mixed["X"], y, sample_domain=mixed["sample_domain"])
    assert_array_equal(one.calibration_rows_, two.calibration_rows_)
    target = apart["X_target"]
    assert_array_equal(
        one.predict_interval(target, 0.8), two.predict_interval(target, 0.8)
    )
    assert two.score(mixed["X"], y, sample_domain=mixed["sample_domain"]) == one.score(
        apart["X"], apart["y"]
    )
    # Without a weighter domains still say which rows have outcomes.
    model.set_params(weighter=None)
    plain = clone(model).fit(apart["X"], apart["y"])
    mixed = clone(model).fit(mixed["X"], y, sample_domain=mixed["sample_domain"])
    assert_array_equal(plain.predict(target), mixed.predict(target))


def test_sampling_weights_multiply_and_are_scale_free(shifted, rng):
    X, y, target = shifted()
    s = rng.integers(0, 4, size=240).astype(float)
    model = WeightedConformalRegressor(LinearRegression(), KernelMeanMatching())
    one = clone(model).fit(X, y, X_target=target, sample_weight=s)
    two = clone(model).fit(X, y, X_target=target, sample_weight=7 * s)
    kept = np.flatnonzero(s)
    three = clone(model).fit(X[kept], y[kept], X_target=target, sample_weight=s[kept])
    assert_array_equal(one.calibration_rows_, kept[three.calibration_rows_])
    for new in (two, three):
        assert_allclose(new.calibration_weights_, one.calibration_weights_, rtol=1e-6)
        assert_allclose(
            new.predict_interval(target, 0.9), one.predict_interval(target, 0.9),
            rtol=1e-6,
        )  # fmt: skip
    held_out = one.calibration_rows_
    assert_allclose(
        one.calibration_weights_,
        s[held_out] / s[kept].mean() * one.weighter_.predict_weights(X[held_out]),
    )
    rows = np.setdiff1d(kept, held_out)
    total = s[rows] * one.weighter_.beta_
    line = LinearRegression().fit(X[rows], y[rows], sample_weight=total)
    assert_allclose(one.predict(target), line.predict(target))


def test_frequency_weights_calibrate_as_copies(shifted, rng):
    X, y, target = shifted(60, 50)
    s = rng.integers(1, 5, size=60)
    model = WeightedConformalRegressor(
        LinearRegression(), None, weight_type="frequency"
    ).fit(X, y, sample_weight=s)
    rows, held_out = fitting_rows(model, 60), model.calibration_rows_
    line = LinearRegression().fit(
        X[rows].repeat(s[rows], axis=0), y[rows].repeat(s[rows])
    )
    copies = s[held_out]
    residuals = np.abs(y[held_out] - line.predict(X[held_out])).repeat(copies)
    half = np.sort(residuals)[ceil(0.9 * (len(residuals) + 1)) - 1]
    mean = line.predict(target)
    assert_allclose(
        model.predict_interval(target, 0.9), np.column_stack([mean - half, mean + half])
    )
    assert model.ess_calibration_ == len(residuals)


def test_regressors_that_take_no_weights(shifted):
    X, y, target = shifted()
    model = WeightedConformalRegressor(KNeighborsRegressor(9), KernelMeanMatching())
    with pytest.raises(ValueError, match=r"KNeighborsRegressor .* Or set weighted_fit"):
        model.fit(X, y, X_target=target)
    model.set_params(weighted_fit=False).fit(X, y, X_target=target)
    rows = fitting_rows(model, 240)
    direct = KNeighborsRegressor(9).fit(X[rows], y[rows])
    assert_array_equal(model.predict(target), direct.predict(target))
    assert model.calibration_weights_.std() > 0.1
    plain = WeightedConformalRegressor(KNeighborsRegressor(9), None).fit(X, y)
    assert_array_equal(plain.predict(target), direct.predict(target))


def test_pipelines_boosting_and_pickles(shifted):
    X, y, target = shifted()
    boosted = tuple(
        GradientBoostingRegressor(loss="quantile", alpha=q, n_estimators=20)
        for q in (0.05, 0.95)
    )
    model = WeightedConformalRegressor(
        make_pipeline(StandardScaler(), Ridge()), RuLSIF(), quantile_estimators=boosted
    ).fit(X, y, X_target=target)
    rows, beta = fitting_rows(model, 240), model.weighter_.beta_
    direct = make_pipeline(StandardScaler(), Ridge())
    direct.fit(X[rows], y[rows], ridge__sample_weight=beta / beta.mean())
    assert_allclose(model.predict(target), direct.predict(target), rtol=1e-10)
    limits = model.predict_interval(target, 0.8)
    assert limits.shape == (150, 2) and np.all(limits[:, 0] <= limits[:, 1])
    loaded = pickle.loads(pickle.dumps(model))
    assert_array_equal(loaded.predict_interval(target, 0.8), limits)
    assert not hasattr(boosted[0], "estimators_") and is_regressor(model)
    assert model.score(X, y) == r2_score(y, model.predict(X))


def test_frames_reach_the_regressor_as_they_are(shifted):
    X, y, target = shifted()
    rng = np.random.default_rng(0)

    def frame(values):
        words = np.array(["a", "b"])[rng.integers(0, 2, size=len(values))]
        return pd.DataFrame({"town": words, "x": values[:, 0]})

    columns = make_column_transformer(
        (OneHotEncoder(), ["town"]), remainder="passthrough"
    )
    model = WeightedConformalRegressor(
        make_pipeline(columns, LinearRegression()), KernelMeanMatching()
    ).fit(frame(X), y, X_target=frame(target))
    assert model.feature_names_in_.tolist() == ["town", "x"]
    assert model.predict_interval(frame(target), 0.8).shape == (150, 2)


def test_random_state_draws_rows_and_seeds_learners(shifted):
    X, y, target = shifted()
    forest = RandomForestRegressor(5)  # random_state=None, as in the weighter
    weighter = LogisticRatio(
        classifier=RandomForestClassifier(5, max_depth=2), max_weight=9.0
    )
    np.random.seed(1)  # noqa: NPY002
    state = np.random.get_state()[1]  # noqa: NPY002
    found = {}
    for seed in (None, 0, 0, 1):
        model = WeightedConformalRegressor(forest, weighter, random_state=seed)
        model.fit(X, y, X_target=target)
        limits = model.predict_interval(target, 0.8)
        assert_array_equal(found.setdefault(seed, limits), limits)
    assert_array_equal(found[None], found[0])
    assert np.any(found[0] != found[1])
    assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@pytest.mark.parametrize(("size", "count"), [(0.25, 60), (0.501, 121), (7, 7), (1, 1)])
def test_calibration_size(size, count, shifted):
    X, y, _ = shifted()
    model = WeightedConformalRegressor(LinearRegression(), None, calibration_size=size)
    model.fit(X, y)
    assert len(np.unique(model.calibration_rows_)) == count
    assert len(model.calibration_scores_) == count


@pytest.mark.parametrize("routing", [False, True])
def test_a_search_hands_on_the_whole_target(routing, shifted):
    X, y, target = shifted()
    model = WeightedConformalRegressor(Ridge(), RuLSIF())
    with sklearn.config_context(enable_metadata_routing=routing):
        search = GridSearchCV(model, {"estimator__alpha": [0.1, 1e4]}, cv=3)
        search.fit(X, y, X_target=TargetSample(target))
    assert search.best_params_ == {"estimator__alpha": 0.1}
    assert len(search.best_estimator_.weighter_.alpha_) == 150


# ---- what is refused -----------------------------------------------------------------


def test_what_is_refused(shifted, nothing):
    X, y, target = shifted()
    line, kernel = LinearRegression(), KernelMeanMatching()

    def refused(match, X=X, y=y, estimator=line, weighter=kernel, **options):
        samples = {"X_target": options.pop("X_target", target)}
        with pytest.raises(ValueError, match=match):
            WeightedConformalRegressor(estimator, weighter, **options).fit(
                X, y, **samples
            )

    refused("target sample is missing", X_target=None)
    refused("y is missing", y=None)
    refused("y contains NaN", y=np.where(np.arange(240) == 3, np.nan, y))
    refused("inconsistent|different numbers", y=y[:100])
    refused("holds 1 estimators: pass two", quantile_estimators=[line])
    refused("pass one of the two", scale_estimator=line, quantile_estimators=QUANTILES)
    refused("leaves 1 source row.*n_samples=240", calibration_size=239)
    refused("weights of the rows that fit the regressor are zero", weighter=nothing)

    class OnlyFit(type(nothing)):
        def fit(self, X, y=None, *, X_target=None):
            self.beta_ = np.ones(len(X))
            return self

    refused("weights of the calibration rows are zero", weighter=OnlyFit())
    model = WeightedConformalRegressor(line, kernel).fit(X, y, X_target=target)
    for level in (0, 1.0, 95, "high"):
        with pytest.raises(ValueError, match="level must lie between 0 and 1"):
            model.predict_interval(target, level)
    before = vars(model).copy()
    model.set_params(weighter=OnlyFit())
    with pytest.raises(ValueError, match="weights of the calibration rows are zero"):
        model.fit(X, y, X_target=target)
    assert model.weighter_ is before["weighter_"]
