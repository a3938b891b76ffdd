"""The balance table against hand computation, replication and exact weights."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causalweights.datasets import load_lalonde
from causalweights.diagnostics import balance_table, effective_sample_size
from causalweights.discrepancy import energy_distance, kolmogorov_smirnov, squared_mmd
from causalweights.kernels import Gaussian

# Sums of about a hundred terms of size one.
RTOL = 1e-11

NAMES = ["age", "income", "married", "constant"]


def reliability_variance(x, w):
    """Return cobalt's weighted variance, written out."""
    mean = np.average(x, weights=w)
    total = w.sum()
    return np.sum(w * (x - mean) ** 2) * total / (total**2 - np.sum(w**2))


# ---- hand computation ------------------------------------------------------------


@pytest.mark.parametrize("estimand", ["ate", "att", "atc", "ato", "ATT"])
def test_unweighted_differences_by_hand(data, estimand):
    X, a, _ = data
    table = balance_table(X, a, estimand=estimand)
    treated, control = X[a == 1], X[a == 0]
    variances = {
        1: np.r_[treated[:, :2].var(axis=0, ddof=1), treated[:, 2].var()],
        0: np.r_[control[:, :2].var(axis=0, ddof=1), control[:, 2].var()],
    }
    pooled = (variances[0] + variances[1]) / 2
    rules = {"att": variances[1], "atc": variances[0]}
    square = rules.get(estimand.lower(), pooled)
    expected = (treated - control.mean(axis=0)).mean(axis=0)[:3] / np.sqrt(square)
    np.testing.assert_allclose(table["smd_before"][:3], expected, rtol=RTOL)
    np.testing.assert_allclose(
        table["variance_ratio_before"][:2], (variances[1] / variances[0])[:2], RTOL
    )
    assert table["variance_ratio_before"][2:].isna().all()
    proportions = [treated[:, 2].mean(), control[:, 2].mean()]
    assert table["ks_before"].iloc[2] == pytest.approx(
        abs(proportions[0] - proportions[1]), rel=RTOL
    )
    assert table.index.tolist() == ["x0", "x1", "x2", "x3"]
    assert not any(column.endswith("after") for column in table)


def test_weighted_columns_by_hand(data):
    X, a, w = data
    s = np.linspace(0.5, 2, len(a))
    table = balance_table(X, a, w, sample_weight=s, estimand="att")
    for j in range(3):
        x1, x0, total = X[a == 1, j], X[a == 0, j], (s * w)
        row = table.iloc[j]
        m1 = np.average(x1, weights=total[a == 1])
        m0 = np.average(x0, weights=total[a == 0])
        assert row["mean_treated_after"] == pytest.approx(m1, rel=RTOL)
        assert row["mean_control_after"] == pytest.approx(m0, rel=RTOL)
        if j < 2:  # the denominator knows the sampling weights only
            sd = np.sqrt(reliability_variance(x1, s[a == 1]))
            ratio = reliability_variance(x1, total[a == 1]) / reliability_variance(
                x0, total[a == 0]
            )
            assert row["variance_ratio_after"] == pytest.approx(ratio, rel=RTOL)
        else:
            p = np.average(x1, weights=s[a == 1])
            sd = np.sqrt(p * (1 - p))
        assert row["smd_after"] == pytest.approx((m1 - m0) / sd, rel=RTOL)
        ks = kolmogorov_smirnov(x1, x0, total[a == 1], total[a == 0])
        assert row["ks_after"] == pytest.approx(ks, rel=RTOL)


@pytest.mark.parametrize(
    ("standardize_by", "rows"),
    [("all", [0, 1]), ("control", [0]), ("focal", [1])],
)
def test_denominator_can_be_chosen(data, standardize_by, rows):
    X, a, _ = data
    table = balance_table(X, a, standardize_by=standardize_by)
    difference = X[a == 1, 0].mean() - X[a == 0, 0].mean()
    expected = difference / X[np.isin(a, rows), 0].std(ddof=1)
    assert table["smd_before"].iloc[0] == pytest.approx(expected, rel=RTOL)
    assert table.attrs["standardize_by"] == standardize_by


def test_raw_differences(data):
    X, a, w = data
    X = X * [1, 1, 3, 1]  # two values, 0 and 3
    gaps = X[a == 1].mean(axis=0) - X[a == 0].mean(axis=0)
    mixed = balance_table(X, a, w, binary="raw")
    standardized = balance_table(X, a, w)
    assert mixed["smd_before"].iloc[2] == pytest.approx(gaps[2], rel=RTOL)
    assert mixed["smd_before"].iloc[0] == standardized["smd_before"].iloc[0]
    raw = balance_table(X, a, w, binary="raw", continuous="raw")
    np.testing.assert_allclose(raw["smd_before"], gaps, rtol=RTOL, atol=1e-15)
    assert raw.attrs["continuous"] == "raw"


# ---- columns that do not vary ----------------------------------------------------


def test_constant_column_is_balanced(data):
    X, a, w = data
    row = balance_table(X, a, w).iloc[3]
    assert row["smd_before"] == row["smd_after"] == 0.0
    assert row["ks_before"] == 0.0
    assert np.isnan(row["variance_ratio_before"])
    assert row["mean_control_after"] == 0.1


def test_column_constant_in_the_focal_arm_takes_the_full_samples_sd(data):
    X, a, _ = data
    x = np.where(a == 1, 2.0, X[:, 0])
    table = balance_table(x[:, None], a, estimand="att")
    expected = (2.0 - x[a == 0].mean()) / x.std(ddof=1)
    assert table["smd_before"].iloc[0] == pytest.approx(expected, rel=RTOL)
    assert table["variance_ratio_before"].iloc[0] == 0.0
    separated = balance_table(np.where(a == 1, 0.3, 0.1)[:, None], a)
    p = a.mean()
    assert separated["smd_before"].iloc[0] == pytest.approx(
        1 / np.sqrt(p * (1 - p)), rel=RTOL
    )


def test_only_constant_columns():
    table = balance_table(np.ones((4, 2)), [0, 0, 1, 1])
    assert (table["smd_before"] == 0).all()
    assert table.attrs["overall"]["1 vs 0"]["energy_distance_before"] == 0.0


def test_all_weight_on_one_row(data):
    X, a, _ = data
    w = np.ones(len(a))
    w[a == 0] = 0.0
    w[np.flatnonzero(a == 0)[3]] = 5.0
    table = balance_table(X, a, w)
    assert table["mean_control_after"].iloc[0] == X[np.flatnonzero(a == 0)[3], 0]
    assert np.isnan(table["variance_ratio_after"].iloc[0])
    assert table.attrs["ess_after"][0] == 1.0


# ---- weights ---------------------------------------------------------------------


def test_exact_weights_balance():
    # Controls at 0 and 1, treated mean 1/4: weights 3/4 and 1/4.
    X = np.array([[0.0], [1.0], [0.0], [0.0], [0.0], [1.0]])
    a = np.array([0, 0, 1, 1, 1, 1])
    table = balance_table(X, a, [1.5, 0.5, 1, 1, 1, 1], estimand="att")
    assert abs(table["smd_after"].iloc[0]) < 1e-15
    assert table["ks_after"].iloc[0] == pytest.approx(0.0, abs=1e-15)
    overall = table.attrs["overall"]["1 vs 0"]
    assert overall["energy_distance_before"] > 0.01
    assert overall["energy_distance_after"] < 1e-14
    assert overall["squared_mmd_after"] < 1e-14
    assert table.attrs["max_abs_smd_after"] < 1e-15


def test_scale_of_the_weights_does_not_matter(data):
    X, a, w = data
    scaled = np.where(a == 1, 3.0, 0.2) * w
    pd.testing.assert_frame_equal(balance_table(X, a, scaled), balance_table(X, a, w))


@pytest.mark.parametrize("compare", ["arms", "target"])
def test_frequency_weights_are_replication(data, rng, compare):
    X, a, w = data
    k = rng.integers(0, 4, size=len(a))
    options = {"estimand": "att", "compare": compare, "weight_type": "frequency"}
    weighted = balance_table(X, a, w, sample_weight=k, **options, overall=False)
    rows = np.repeat(np.arange(len(a)), k)
    replicated = balance_table(X[rows], a[rows], w[rows], **options, overall=False)
    pd.testing.assert_frame_equal(weighted, replicated, rtol=RTOL)
    assert weighted.attrs["ess_after"] == pytest.approx(replicated.attrs["ess_after"])


def test_sampling_weights_are_scale_free_and_zero_removes_the_row(data):
    X, a, w = data
    s = np.where(np.arange(len(a)) % 5 == 0, 0.0, 2.0)
    weighted = balance_table(X, a, w, sample_weight=s)
    kept = s > 0
    pd.testing.assert_frame_equal(
        weighted, balance_table(X[kept], a[kept], w[kept]), rtol=RTOL
    )


def test_inputs_are_not_changed(data):
    X, a, w = data
    copies = X.copy(), a.copy(), w.copy()
    balance_table(X, a, w, sample_weight=w)
    for value, copy in zip((X, a, w), copies):
        np.testing.assert_array_equal(value, copy)


# ---- more than two arms, and the target ------------------------------------------


def test_three_arms(data, rng):
    X, _, w = data
    arm = rng.choice(["a", "b", "c"], size=len(w))
    table = balance_table(X, arm, w, control="b")
    assert table.index.names == ["contrast", "covariate"]
    assert table.index.unique("contrast").tolist() == ["a vs b", "c vs b"]
    variances = [X[arm == k, 0].var(ddof=1) for k in "abc"]
    expected = (X[arm == "c", 0].mean() - X[arm == "b", 0].mean()) / np.sqrt(
        np.mean(variances)
    )
    assert table.loc[("c vs b", "x0"), "smd_before"] == pytest.approx(expected)
    pairs = balance_table(X, arm, w, control="b", compare="pairs")
    assert pairs.index.unique("contrast").tolist() == ["b vs a", "c vs a", "c vs b"]
    np.testing.assert_allclose(
        pairs.loc["b vs a", "smd_after"], -table.loc["a vs b", "smd_after"]
    )
    assert list(table.attrs["ess_after"]) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("estimand", "contrasts"),
    [
        ("ate", ["0 vs target", "1 vs target"]),
        ("att", ["0 vs target"]),
        ("atc", ["1 vs target"]),
    ],
)
def test_target(data, estimand, contrasts):
    X, a, w = data
    table = balance_table(X, a, w, estimand=estimand, compare="target")
    assert table.index.unique("contrast").tolist() == contrasts
    target = {"att": X[a == 1], "atc": X[a == 0]}.get(estimand, X)
    means = table.loc[contrasts[0]]["mean_reference_after"]
    np.testing.assert_allclose(means, target.mean(axis=0), rtol=RTOL)


# ---- overall measures ------------------------------------------------------------


def test_overall_measures(data):
    X, a, w = data
    s = np.linspace(1, 2, len(a))
    overall = balance_table(X, a, w, sample_weight=s).attrs["overall"]["1 vs 0"]
    Z = X[:, :3] - np.average(X[:, :3], axis=0, weights=s)
    Z = Z / np.sqrt(np.average(Z**2, axis=0, weights=s))
    total = s * w
    for time, weights in [("before", s), ("after", total)]:
        pair = {"x_weights": weights[a == 1], "y_weights": weights[a == 0]}
        energy = energy_distance(Z[a == 1], Z[a == 0], **pair)
        assert overall[f"energy_distance_{time}"] == pytest.approx(energy, rel=1e-9)
        kernel = Gaussian().resolve(Z)
        square = squared_mmd(kernel, Z[a == 1], Z[a == 0], **pair)
        assert overall[f"squared_mmd_{time}"] == pytest.approx(square, rel=1e-9)


def test_attributes(data):
    X, a, w = data
    table = balance_table(X, a, w, estimand="att", overall=False)
    attrs = table.attrs
    assert attrs["overall"] is None
    assert attrs["estimand"] == "att" and attrs["standardize_by"] == "focal"
    assert attrs["max_abs_smd_after"] == table["smd_after"].abs().max()
    assert attrs["max_abs_smd_before"] == table["smd_before"].abs().max()
    assert attrs["ess_after"] == pytest.approx(effective_sample_size(w, groups=a))
    assert attrs["ess_before"] == {0: np.sum(a == 0), 1: np.sum(a == 1)}
    assert "focal arm" in attrs["formula"]


def test_overall_is_left_out_for_many_rows(rng):
    X, a = rng.normal(size=(20_001, 1)), np.arange(20_001) % 2
    assert balance_table(X, a).attrs["overall"] is None
    assert balance_table(X[1:], a[1:]).attrs["overall"] is not None


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        ({"smd": 1e9}, [True, True]),
        ({"smd": 0.0}, [False, False]),
        ({"variance_ratio": 3.0}, [False, True]),
        ({"smd": 1e9, "variance_ratio": 5.0}, [True, True]),
        ({"ks": 0.0}, [False, False]),
    ],
)
def test_thresholds(thresholds, expected):
    # Variance ratio 1/4 in the first column, none in the second.
    X = np.array([[0.0, 0], [4, 0], [8, 1], [1, 1], [3, 1], [5, 0]])
    a = np.array([0, 0, 0, 1, 1, 1])
    table = balance_table(X, a, thresholds=thresholds)
    assert table["balanced"].tolist() == expected


# ---- containers and weighters ----------------------------------------------------


def test_every_container_gives_the_same_table(data, frame_library):
    X, a, w = data
    frame = frame_library(X, NAMES)
    table = balance_table(frame, a, w)
    named = table.index.tolist() == NAMES
    assert named is hasattr(frame, "columns")
    np.testing.assert_array_equal(table.to_numpy(), balance_table(X, a, w).to_numpy())


def test_categories_and_shuffled_index(data):
    X, a, w = data
    index = np.arange(len(a))[::-1]
    arm = pd.Series(
        pd.Categorical(np.where(a == 1, "new", "old"), ["old", "new"], ordered=True),
        index=index,
    )
    frame = pd.DataFrame(X, columns=NAMES, index=index)
    table = balance_table(frame, arm, w)
    np.testing.assert_array_equal(table.to_numpy(), balance_table(X, a, w).to_numpy())
    assert list(table.attrs["ess_after"]) == ["old", "new"]
    with pytest.raises(ValueError, match="another order"):
        balance_table(frame.sort_index(), arm, w)


def test_fitted_weighter_says_what_it_was_fitted_for(data, stand_in):
    X, a, w = data
    w = np.where(a == 1, 1.0, w)
    s = np.linspace(1, 2, len(a))
    weighter = stand_in(w, a, sample_weight=s, estimand="att")
    table = balance_table(X, a, weighter, sample_weight=s)
    expected = balance_table(X, a, w, sample_weight=s, estimand="att")
    pd.testing.assert_frame_equal(table, expected, rtol=RTOL)
    assert table.attrs["estimand"] == "att"
    flipped = stand_in(w, a, sample_weight=s, control=1, focal=0)
    assert list(balance_table(X, a, flipped, sample_weight=s).attrs["overall"]) == [
        "0 vs 1"
    ]
    with pytest.raises(ValueError, match="the ones it was fitted with"):
        balance_table(X, a, weighter)


def test_overlap_target_comes_from_the_weighter(data, stand_in):
    X, a, w = data
    weighter = stand_in(w, a, estimand="ato")
    weighter.target_masses_ = w / w.sum()
    table = balance_table(X, a, weighter, compare="target")
    np.testing.assert_allclose(
        table.loc["0 vs target", "mean_reference_after"],
        np.average(X, axis=0, weights=w),
        rtol=RTOL,
    )
    with pytest.raises(ValueError, match="depends on the propensity"):
        balance_table(X, a, w, estimand="ato", compare="target")


def test_target_of_a_weighter_leaves_out_rows_of_weight_zero(data, stand_in):
    X, a, w = data
    s = np.where(np.arange(len(a)) % 4 == 0, 0.0, 1.0)
    weighter = stand_in(w, a, sample_weight=s, estimand="att")
    table = balance_table(X, a, weighter, sample_weight=s, compare="target")
    np.testing.assert_allclose(
        table.loc["0 vs target", "mean_reference_after"],
        X[(a == 1) & (s > 0)].mean(axis=0),
        rtol=RTOL,
    )


class InverseFrequency(BaseEstimator):
    """Weights every arm by the inverse of its share of the rows."""

    def fit(self, X, treatment):
        shares = np.bincount(treatment) / len(treatment)
        self.weights_ = 1 / shares[treatment]
        self.estimand_, self.control_, self.focal_ = "atc", 0, 1
        return self


def test_pipeline_ends_in_a_weighter(data):
    X, a, _ = data
    pipeline = make_pipeline(StandardScaler(), InverseFrequency()).fit(X, a)
    table = balance_table(X, a, pipeline)
    assert table.attrs["estimand"] == "atc"
    np.testing.assert_allclose(table["smd_after"], table["smd_before"], rtol=RTOL)


def test_unfitted_weighter_is_refused(data):
    X, a, _ = data
    with pytest.raises(NotFittedError):
        balance_table(X, a, make_pipeline(StandardScaler(), InverseFrequency()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": [1.0, 2.0]}, "weights has shape"),
        ({"weights": -np.ones(120)}, "weights contains negative"),
        ({"estimand": "effect"}, "not available"),
        ({"compare": "all"}, "choose one of 'arms'"),
        ({"standardize_by": "sd"}, "choose one of 'auto'"),
        ({"binary": "raw", "continuous": "no"}, "continuous='no'"),
        ({"thresholds": {"mean": 1}}, "thresholds='mean'"),
        ({"weight_type": "survey"}, "choose one of 'sampling'"),
        ({"control": 7}, "not a treatment label"),
    ],
)
def test_bad_options_are_named(data, options, message):
    X, a, _ = data
    with pytest.raises(ValueError, match=message):
        balance_table(X, a, **options)


def test_bad_data_is_named(data):
    X, a, w = data
    with pytest.raises(ValueError, match="zero on every row of treatment arm 1"):
        balance_table(X, a, np.where(a == 1, 0.0, w))
    with pytest.raises(ValueError, match="one label a row"):
        balance_table(X[:-1], a)
    with pytest.raises(ValueError, match="NaN"):
        balance_table(np.where(X == 0.1, np.nan, X), a)
    with pytest.raises(ValueError, match="needs focal"):
        balance_table(X, np.arange(len(a)) % 3, standardize_by="focal")


# ---- published numbers and columns of categories ---------------------------------

# Printed by cobalt's README for the same 614 rows (ATT, binary differences raw).
COBALT = {
    "age": -0.3094,
    "educ": 0.0550,
    "race=black": 0.6404,
    "race=hispan": -0.0827,
    "race=white": -0.5577,
    "married": -0.3236,
    "nodegree": 0.1114,
    "re74": -0.7211,
    "re75": -0.2903,
}


@pytest.mark.parametrize("library", ["pandas", "categories", "polars"])
def test_lalonde_differences_are_cobalts(library):
    data = load_lalonde()
    X, treatment = data.X, data.treatment
    if library == "categories":
        X = X.assign(race=pd.Categorical(X["race"]))
    elif library == "polars":
        X = pl.DataFrame({name: X[name].to_numpy() for name in X})
        treatment = pl.Series(treatment.to_numpy())
    table = balance_table(X, treatment, estimand="att", binary="raw", overall=False)
    assert table["smd_before"].round(4).to_dict() == COBALT


def test_levels_of_numbers_missing_values_and_pairs():
    a = [0, 0, 1, 1]
    frame = pd.DataFrame({"g": pd.Categorical([3, 1, 3, 3]), "s": list("yxyx")})
    table = balance_table(frame, a)
    shares = {"g=1": 0.5, "g=3": 0.5, "s=x": 0.5, "s=y": 0.5}
    assert table["mean_control_before"].to_dict() == shares
    assert table["mean_treated_before"].to_dict() == {**shares, "g=1": 0.0, "g=3": 1.0}
    mixed = pd.DataFrame({"g": [1, 2, 3, 4]}, dtype=object)
    assert balance_table(mixed, a).index.tolist() == ["g"]
    words = pd.DataFrame({"g": np.where([True, False, True, True], "u", "v")})
    numbers = pd.DataFrame({"g": [1, 0, 1, 1]})
    overall = [balance_table(X, a).attrs["overall"]["1 vs 0"] for X in (words, numbers)]
    assert overall[0] == pytest.approx(overall[1])
    for missing in (None, np.nan, pd.NA):
        frame = pd.DataFrame({"g": ["u", missing, "v", "u"]}, dtype=object)
        with pytest.raises(ValueError, match="column 'g' contains missing values"):
            balance_table(frame, a)
