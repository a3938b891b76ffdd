"""The display of effects draws what the fitted regression says, and nothing else."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib.colors import to_rgb
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causalweights import (
    DRLearner,
    LocalPolynomialRegressor,
    PseudoOutcomeRegressor,
    RLearner,
    SeriesRegressor,
)
from causalweights.displays import CATEDisplay

NAMES = ["age", "income", "size"]
LINEAR = {"outcome_model": LinearRegression(), "propensity_model": LogisticRegression()}
SERIES = SeriesRegressor(n_knots=3)
N = 300


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(N, 3))
    a = (rng.random(N) < 1 / (1 + np.exp(-X[:, 0]))).astype(int)
    return X, X[:, 1] + a * (1 + X[:, 0]) + rng.normal(size=N), a


@pytest.fixture(scope="module")
def model(sample):
    X, y, a = sample
    options = {**LINEAR, "final_model": SERIES, "outcome_strategy": "separate"}
    return DRLearner(**options).fit(X, y, treatment=a)


def fitted_on(X, final_model=SERIES, **options):
    """Fit with nuisance models that look at no covariate."""
    rng = np.random.default_rng(7)
    a, y = rng.integers(0, 2, len(X)), rng.normal(size=len(X))
    options = {"outcome_model": DummyRegressor(), "outcome_strategy": "separate"} | {
        "final_model": final_model, **options,
    }  # fmt: skip
    half = np.full(len(X), 0.5)
    return DRLearner(**options).fit(X, y, treatment=a, propensity=half)


def lower_median(values):
    return np.quantile(values, 0.5, axis=0, method="inverted_cdf")


def rows_along(X, j, n_points=50):
    rows = np.tile(lower_median(X), (n_points, 1))
    low, high = np.quantile(X[:, j], [0.01, 0.99], method="inverted_cdf")
    rows[:, j] = np.linspace(low, high, n_points)
    return rows


def limits_of(band, x):
    """Return lower and upper limits of a filled band, (m, 2)."""
    corners, m = band.get_paths()[0].vertices, len(x)
    below, above = corners[1 : m + 1], corners[m + 2 : 2 * m + 2][::-1]
    assert_allclose(below[:, 0], x)
    assert_allclose(above[:, 0], x)
    return np.column_stack([below[:, 1], above[:, 1]])


def limits_of_bars(bars):
    return np.array([segment[:, 1] for segment in bars.get_segments()])


def legend_of(display):
    return [text.get_text() for text in display.legend_.get_texts()]


# ---- along one covariate -------------------------------------------------------------


def test_the_curve_is_the_prediction_with_its_bands(sample, model):
    X = sample[0]
    display = CATEDisplay.from_estimator(model, feature=1, level=0.9).plot()
    rows, ax = rows_along(X, 1), display.ax_
    assert_allclose(display.line_.get_xdata(), rows[:, 1])
    assert_allclose(display.line_.get_ydata(), model.predict(rows))
    for band, kind in [
        (display.interval_, "pointwise"),
        (display.band_, "uniform"),
    ]:
        expected = model.predict_interval(rows, 0.9, kind=kind)
        assert_allclose(limits_of(band, rows[:, 1]), expected)
    assert legend_of(display) == ["90% pointwise", "90% uniform"]
    assert sum(display.interval_.get_facecolor()[0, :3]) < sum(
        display.band_.get_facecolor()[0, :3]
    )
    average = model.average_effect()
    assert set(display.average_.get_ydata()) == {average.effect}
    assert set(display.zero_.get_ydata()) == {0}
    assert display.average_band_ is None and display.groups_ is None
    assert display.notes_[0].get_text() == f"ATE {average.effect:.2f}"
    assert ax.get_xlabel() == "x1 (others at their medians)"
    assert ax.get_ylabel() == "Effect" and display.figure_ is ax.figure
    assert ax.get_xlim() == (rows[0, 1], rows[-1, 1])


def test_the_histogram_lies_below_the_bands(sample, model):
    X = sample[0]
    display = CATEDisplay.from_estimator(model, feature=0).plot()
    x, bars = rows_along(X, 0)[:, 0], display.density_
    counts, edges = np.histogram(X[:, 0], 30, (x[0], x[-1]))
    heights = np.array([bar.get_height() for bar in bars])
    assert_allclose(heights, 0.12 * counts / counts.max())
    assert_allclose([bar.get_x() for bar in bars], edges[:-1])
    assert_allclose(display.density[0], counts / N)
    low, high = display.ax_.get_ylim()
    lowest = min(0, display.band.min())
    assert low + 0.12 * (high - low) < lowest < low + 0.25 * (high - low)
    assert high > display.band.max()
    assert display.notes_[1].get_text() == "Rows"


@pytest.mark.parametrize(
    "final_model",
    [
        SERIES,
        LocalPolynomialRegressor(bandwidth=1.0),
        LinearRegression(),
        make_pipeline(StandardScaler(), SERIES),
    ],
)
def test_bands_are_there_where_the_final_model_has_them(model, final_model):
    fit = model.refit_final(final_model=final_model)
    display = CATEDisplay.from_estimator(fit, feature=0, n_points=9).plot()
    has = hasattr(fit.cate_models_[0], "linear_influence")
    assert has is isinstance(final_model, SeriesRegressor | LocalPolynomialRegressor)
    assert len(display.x) == 9 and len(display.ax_.collections) == 2 * has
    for limits in (display.interval, display.band, display.interval_, display.band_):
        assert (limits is not None) is has
    assert (display.ax_.get_legend() is not None) is has


def test_features_by_name_and_position(sample, frame_library):
    X, y, a = sample
    table = frame_library(X, NAMES)
    options = {**LINEAR, "final_model": SERIES, "modifiers": [0, 2]}
    plain = DRLearner(**options).fit(X, y, treatment=a)
    fit = DRLearner(**options).fit(table, y, treatment=a)
    expected = CATEDisplay.from_estimator(plain, feature=2)
    features = [2, "size"] if hasattr(table, "columns") else [2, np.int64(2)]
    for feature in features:
        display = CATEDisplay.from_estimator(fit, feature=feature)
        for name in ("x", "effect", "interval", "band"):
            assert_allclose(getattr(display, name), getattr(expected, name))
        name = "size" if hasattr(table, "columns") else "x2"
        assert display.x_label == f"{name} (others at their medians)"


def test_modifiers_alone_can_be_chosen(sample):
    frame = pd.DataFrame(sample[0], columns=NAMES)
    fit = fitted_on(frame, modifiers=["income"])
    display = CATEDisplay.from_estimator(fit)
    assert display.x_label == "income"
    assert_array_equal(display.x, rows_along(sample[0], 1)[:, 1])
    for feature in ("age", 0, "width", 7, -1, 1.0):
        message = rf"feature={feature!r}: .*position in X: 'income'\."
        with pytest.raises(ValueError, match=message):
            CATEDisplay.from_estimator(fit, feature=feature)
    two = fitted_on(sample[0], modifiers=[0, 2])
    with pytest.raises(ValueError, match=r"feature=None: .*position in X: 0, 2\."):
        CATEDisplay.from_estimator(two)


def test_the_x_learner_sees_other_covariates(sample):
    X, y, a = sample
    options = {**LINEAR, "final_model": SERIES, "weights": "uniform"}
    fit = PseudoOutcomeRegressor(pseudo_outcome="x", modifiers=[0], **options)
    display = CATEDisplay.from_estimator(fit.fit(X, y, treatment=a))
    assert display.x_label == "x0 (others at their medians)"
    assert_allclose(display.effect, fit.predict(rows_along(X, 0)))
    assert display.band is None


# ---- categories ----------------------------------------------------------------------


@pytest.fixture
def mixed(rng):
    """Return rows of every dtype; most are in the south, 3 to 1 not smokers."""
    return pd.DataFrame(
        {
            "age": rng.normal(size=N),
            "region": np.array(["north", "south", "south", "west"])[np.arange(N) % 4],
            "stage": pd.Categorical(
                np.array(["II", "I", "III", "II", "II"])[np.arange(N) % 5],
                ["I", "II", "III", "IV"],
            ),
            "smoker": np.arange(N) % 4 == 0,
            "children": np.arange(N) % 3,
        }
    )


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_categories_are_held_at_their_modes(mixed, library):
    table = mixed if library == "pandas" else pl.from_pandas(mixed)
    fit = fitted_on(table, SeriesRegressor("linear"))
    display = CATEDisplay.from_estimator(fit, feature="age", n_points=7)
    low, high = np.quantile(mixed["age"], [0.01, 0.99], method="inverted_cdf")
    rows = pd.DataFrame(
        {
            "age": np.linspace(low, high, 7), "region": "south",
            "stage": pd.Categorical(["II"] * 7, mixed["stage"].cat.categories),
            "smoker": False, "children": 1,
        }
    )  # fmt: skip
    expected = rows if library == "pandas" else pl.from_pandas(rows)
    assert_allclose(display.x, rows["age"])
    assert_allclose(display.effect, fit.predict(expected))
    assert_allclose(display.interval, fit.predict_interval(expected))
    assert display.x_label == "age (others at their medians or modes)"


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize(
    ("feature", "levels", "labels"),
    [
        ("region", ["north", "south", "west"], ["north", "south", "west"]),
        ("stage", ["I", "II", "III"], ["I", "II", "III"]),
        ("smoker", [False, True], ["False", "True"]),
        ("children", [0, 1, 2], ["0", "1", "2"]),
    ],
)
def test_a_category_is_drawn_as_points(mixed, library, feature, levels, labels):
    table = mixed if library == "pandas" else pl.from_pandas(mixed)
    fit = fitted_on(table, SeriesRegressor("linear"))
    display = CATEDisplay.from_estimator(fit, feature=feature).plot()
    typical = {"age": lower_median(mixed["age"]), "region": "south", "stage": "II"}
    rows = pd.DataFrame(
        {**typical, "smoker": False, "children": 1, feature: levels}
    ).astype({"stage": mixed["stage"].dtype})
    rows = rows if library == "pandas" else pl.from_pandas(rows)
    assert_array_equal(display.line_.get_xdata(), np.arange(len(levels)))
    assert_allclose(display.line_.get_ydata(), fit.predict(rows))
    assert display.line_.get_linewidth() == 0
    for bars, kind in [(display.interval_, "pointwise"), (display.band_, "uniform")]:
        expected = fit.predict_interval(rows, kind=kind)
        assert_allclose(limits_of_bars(bars), expected)
    ticks = [text.get_text() for text in display.ax_.get_xticklabels()]
    assert ticks == display.labels == labels
    shares = [np.mean(mixed[feature] == level) for level in levels]
    assert_allclose(display.density[0], shares)
    bars = [(bar.get_x(), bar.get_width()) for bar in display.density_]
    assert bars == [(k - 0.25, 0.5) for k in range(len(levels))]


def test_long_names_of_categories_are_turned():
    for name, angle in [("a", 0), ("a long name of a category ", 30)]:
        labels = [f"{name}{k}" for k in range(4)]
        display = CATEDisplay(kind="curve", x=range(4), effect=[1] * 4, labels=labels)
        turned = [t.get_rotation() for t in display.plot().ax_.get_xticklabels()]
        assert turned == [angle] * 4


# ---- sorted --------------------------------------------------------------------------


def test_sorted_effects_and_groups(model):
    display = CATEDisplay.from_estimator(model, "sorted", n_groups=4).plot()
    g = np.sort(model.oof_effect_)
    assert_allclose(display.line_.get_xdata(), (np.arange(N) + 0.5) / N)
    assert_array_equal(display.line_.get_ydata(), g)
    gates = model.group_effects(4)
    points, _, (bars,) = display.groups_
    assert_allclose(points.get_xdata(), [0.125, 0.375, 0.625, 0.875])
    assert_array_equal(points.get_ydata(), gates.effect[:4])
    assert_allclose(limits_of_bars(bars), gates.conf_int()[:4])
    means = limits_of_bars(display.predicted_)
    assert_allclose(means, np.repeat(g.reshape(4, -1).mean(axis=1)[:, None], 2, axis=1))
    average = model.average_effect()
    low, high = average.conf_int()[0]
    assert set(display.average_.get_ydata()) == {average.effect}
    box = display.average_band_.get_extents().transformed(
        display.ax_.transData.inverted()
    )
    assert_allclose([box.y0, box.y1], [low, high])
    text = f"ATE {average.effect:.2f}\n{low:.2f} to {high:.2f}".replace("-", "−")
    assert display.notes_[0].get_text() == text
    assert legend_of(display) == [
        "Predicted out of fold", "Mean over the group's share", "Group's effect, 95%",
    ]  # fmt: skip
    ticks = [text.get_text() for text in display.ax_.get_xticklabels()]
    assert display.ax_.get_xlim() == (0, 1) and ticks[::5] == ["0%", "100%"]
    assert display.density_ is display.band_ is None


def test_shares_count_weights(sample):
    X, y, a = sample
    w = np.random.default_rng(3).integers(0, 4, N).astype(float)
    fit = DRLearner(**LINEAR, final_model=SERIES).fit(
        X, y, treatment=a, sample_weight=w
    )
    display = CATEDisplay.from_estimator(fit, "sorted", n_groups=3)
    g, w = fit.oof_effect_, w[w > 0]
    share = np.array([w[g < v].sum() + w[g == v].sum() / 2 for v in np.sort(g)])
    assert_allclose(display.x, share / w.sum())
    copies = np.sort(np.repeat(g, 3 * w.astype(int)))
    predicted = copies.reshape(3, -1).mean(axis=1)
    assert_allclose(display.groups["predicted"], predicted)
    curve = CATEDisplay.from_estimator(fit, feature=0)
    kept = np.repeat(X[fit.folds_ >= 0], w.astype(int), axis=0)
    assert_array_equal(curve.x, rows_along(kept, 0)[:, 0])


def test_equal_effects_have_no_groups(model):
    fit = model.refit_final(final_model=DummyRegressor())
    with pytest.raises(ValueError, match="n_groups"):
        CATEDisplay.from_estimator(fit, "sorted", n_groups=N)
    display = CATEDisplay.from_estimator(fit, "sorted", n_groups=None).plot()
    assert display.groups is display.groups_ is display.predicted_ is None
    assert legend_of(display) == ["Predicted out of fold"]


# ---- who is treated first ------------------------------------------------------------


def test_the_targeting_curve_with_its_bands(model):
    display = CATEDisplay.from_estimator(model, "targeting", level=0.8).plot()
    curve, area = model.targeting_curve(), model.rank_score()
    shares = np.arange(1, 20) / 20
    assert_allclose(display.line_.get_xdata(), shares)
    assert_array_equal(display.line_.get_ydata(), curve.effect)
    assert_allclose(limits_of(display.interval_, shares), curve.conf_int(0.8))
    assert_allclose(limits_of(display.band_, shares), curve.joint_conf_int(0.8))
    note = f"AUTOC {area.effect:.2f} (se {area.se:.2f})".replace("-", "−")
    assert [text.get_text() for text in display.notes_] == [note]
    assert legend_of(display) == ["80% pointwise", "80% uniform"]
    assert display.average is display.average_ is None
    assert set(display.zero_.get_ydata()) == {0}


# ---- arms and doses ------------------------------------------------------------------


def test_one_of_several_arms(sample):
    X, y, _ = sample
    arm = np.array(["none", "low", "high"])[np.arange(N) % 3]
    options = {**LINEAR, "final_model": SERIES, "control": "none"}
    fit = DRLearner(**options).fit(X, y, treatment=arm)
    assert fit.treatments_.tolist() == ["high", "low", "none"]
    display = CATEDisplay.from_estimator(fit, feature=0, arm="low").plot()
    rows = rows_along(X, 0)
    assert_allclose(display.effect, fit.predict(rows)[:, 1])
    assert_allclose(display.band, fit.predict_interval(rows, kind="uniform")[:, 1])
    assert display.average[0] == fit.average_effect(arm="low").effect
    assert display.ax_.get_ylabel() == "Effect,\nlow vs none"
    ordered = CATEDisplay.from_estimator(fit, "sorted", arm="low", n_groups=3)
    assert_array_equal(ordered.effect, np.sort(fit.oof_effect_[:, 1]))
    expected = fit.group_effects(3, arm="low").effect[:3]
    assert_array_equal(ordered.groups["effect"], expected)
    first = CATEDisplay.from_estimator(fit, "targeting", arm="high")
    assert_array_equal(first.effect, fit.targeting_curve(arm="high").effect)
    assert f"{fit.rank_score(arm='high').se:.2f})" in first.note
    for kind in ("curve", "sorted", "targeting"):
        with pytest.raises(ValueError, match=r"arm=None: choose one of \['high', 'low"):
            CATEDisplay.from_estimator(fit, kind, 0 if kind == "curve" else None)


def test_doses_have_the_curve_alone(sample):
    X, y, _ = sample
    options = {
        "propensity_model": LinearRegression(), "final_model": SERIES,
        "min_relative_weight": 0.0,
    }  # fmt: skip
    fit = RLearner(
        outcome_model=LinearRegression(), treatment_type="continuous", **options
    ).fit(X, y, treatment=X[:, 0] + np.random.default_rng(2).normal(size=N))
    display = CATEDisplay.from_estimator(fit, feature=2).plot()
    assert_allclose(display.effect, fit.predict(rows_along(X, 2)))
    assert display.notes_[0].get_text().startswith("ATO ")
    for kind in ("sorted", "targeting"):
        with pytest.raises(ValueError, match=f"kind='{kind}' is for arms"):
            CATEDisplay.from_estimator(fit, kind)


# ---- the caller's axes, arrays and mistakes ------------------------------------------


def test_axes_colors_and_data_are_left_alone(sample):
    X, y, a = (part.copy() for part in sample)
    fit = DRLearner(**LINEAR, final_model=SERIES).fit(X, y, treatment=a)
    _, axes = plt.subplots(1, 2)
    for kind, feature in (("curve", 0), ("sorted", None), ("targeting", None)):
        display = CATEDisplay.from_estimator(fit, kind, feature)
        assert display.plot(ax=axes[1], color="red") is display
        assert display.ax_ is axes[1] and not axes[0].lines
        assert to_rgb(display.line_.get_color()) == (1.0, 0.0, 0.0)
    assert len(plt.get_fignums()) == 1
    for value, copy in zip((X, y, a), sample, strict=True):
        assert_array_equal(value, copy)


def test_text_stays_inside_the_figure(model):
    for kind, feature in (("curve", 0), ("sorted", None), ("targeting", None)):
        display = CATEDisplay.from_estimator(model, kind, feature).plot()
        display.figure_.canvas.draw()
        assert tuple(display.figure_.get_size_inches()) == (6.4, 4.0)
        for text in (display.legend_, *display.notes_):
            box = text.get_window_extent()
            assert box.x0 >= 0 and box.x1 <= display.figure_.bbox.width
            assert box.y0 >= 0 and box.y1 <= display.figure_.bbox.height


def test_arrays_alone_make_a_display():
    display = CATEDisplay(kind="curve", x=[1, 2, 3], effect=[-1, 0, 2]).plot()
    assert_array_equal(display.line_.get_ydata(), [-1, 0, 2])
    assert display.ax_.get_legend() is None and display.notes_ == []
    assert display.ax_.get_xlabel() == "Covariate"
    named = CATEDisplay(
        kind="sorted", x=[0.25, 0.75], effect=[1000, 2000], average=(1500, 800, 2200),
        average_name="ATT", x_label="People", y_label="Dollars",
    ).plot()  # fmt: skip
    assert named.notes_[0].get_text() == "ATT 1,500\n800 to 2,200"
    assert (named.ax_.get_xlabel(), named.ax_.get_ylabel()) == ("People", "Dollars")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "bars"}, "kind='bars': choose one of 'curve', 'sorted', 'targeting'"),
        ({}, r"feature=None: .*by name or position in X: 0, 1, 2\."),
        ({"feature": "age"}, "feature='age': choose one of the columns"),
        ({"feature": 3}, "feature=3: choose one of the columns"),
        ({"feature": 0, "n_points": 1}, "n_points must be a whole number from 2 on"),
        ({"feature": 0, "level": 1.0}, "level must lie between 0 and 1"),
        ({"kind": "sorted", "feature": 0}, "feature is for kind='curve'"),
        ({"kind": "sorted", "n_groups": 1}, "n_groups must be a whole number"),
    ],
)
def test_bad_input_is_named(model, options, message):
    with pytest.raises(ValueError, match=message):
        CATEDisplay.from_estimator(model, **options)


@pytest.mark.parametrize(
    "estimator", [DRLearner(), LinearRegression(), make_pipeline(DRLearner())]
)
def test_what_is_not_fitted_is_refused(estimator):
    name = type(estimator).__name__
    with pytest.raises(ValueError, match=f"{name} is no fitted PseudoOutcomeRegressor"):
        CATEDisplay.from_estimator(estimator, feature=0)
