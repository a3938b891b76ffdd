"""Checks of treatments, weights, outcomes and row order: every branch, by message."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest

from causalweights._validation import (
    Arms,
    check_estimand,
    check_groups,
    check_outcome,
    check_same_rows,
    check_sample_weight,
    check_treatment,
    focal_arm,
    warn_constant,
)

WORDS = ["no", "yes", "no", "maybe"]
LEVELS = ["low", "mid", "high"]


def ordered(values, categories=LEVELS):
    return pd.Categorical(values, categories=categories, ordered=True)


# ---- treatment: what is accepted -------------------------------------------------


@pytest.mark.parametrize(
    ("treatment", "labels", "codes"),
    [
        ([1, 0, 1], [0, 1], [1, 0, 1]),
        ([2, 2, 1], [1, 2], [1, 1, 0]),
        ([-1, 1, -1], [-1, 1], [0, 1, 0]),
        ([True, False, True], [False, True], [1, 0, 1]),
        ([1.5, 0.0, 1.5], [0.0, 1.5], [1, 0, 1]),
        ([2, 0, 1], [0, 1, 2], [2, 0, 1]),
        (np.array([1, 0, 1], dtype=np.uint8), [0, 1], [1, 0, 1]),
        (np.array([1, 0, 1], dtype=object), [0, 1], [1, 0, 1]),
        (np.array([True, False, True], dtype=object), [False, True], [1, 0, 1]),
        (np.array([[1], [0], [1]]), [0, 1], [1, 0, 1]),
        (pd.Series([1, 0, 1], index=[7, 8, 9]), [0, 1], [1, 0, 1]),
        (pd.DataFrame({"a": [1, 0, 1]}), [0, 1], [1, 0, 1]),
        (pd.Series([1, 0, 1], dtype="Int64"), [0, 1], [1, 0, 1]),
        (pd.Series([1, 0, 1], dtype="Float64"), [0.0, 1.0], [1, 0, 1]),
        (pd.Series([True, False, True], dtype="boolean"), [False, True], [1, 0, 1]),
        (pl.Series([1, 0, 1]), [0, 1], [1, 0, 1]),
        (pl.Series([True, False, True]), [False, True], [1, 0, 1]),
        (pl.DataFrame({"a": [1, 0, 1]}), [0, 1], [1, 0, 1]),
    ],
)
def test_numbers_and_bools_have_a_default_control(treatment, labels, codes):
    arms = check_treatment(treatment, 3)
    np.testing.assert_array_equal(arms.treatments, labels)
    np.testing.assert_array_equal(arms.codes, codes)
    assert arms.codes.dtype == np.intp
    assert arms.control == 0
    assert arms.focal == (1 if len(labels) == 2 else -1)
    assert arms.n_arms == len(labels)
    assert arms.contrasts() == list(range(1, len(labels)))
    assert [type(arms.label(k)) for k in range(2)] == [type(v) for v in labels[:2]]


STRINGS = {
    "list": list,
    "numpy": np.array,
    "object": lambda v: np.array(v, dtype=object),
    "series": pd.Series,
    "pandas string": lambda v: pd.Series(v, dtype="string"),
    "pandas object": lambda v: pd.Series(v, dtype=object),
    "categories": lambda v: pd.Series(v, dtype="category"),
    "categorical": pd.Categorical,
    "polars": pl.Series,
    "polars categories": lambda v: pl.Series(v, dtype=pl.Categorical),
    "polars enum": lambda v: pl.Series(v, dtype=pl.Enum(["yes", "no", "maybe"])),
}


@pytest.mark.parametrize("build", STRINGS.values(), ids=STRINGS)
def test_strings_need_a_control(build):
    with pytest.raises(ValueError, match="control must be given") as error:
        check_treatment(build(WORDS), 4)
    assert "'maybe', 'no', 'yes'" in str(error.value)
    arms = check_treatment(build(WORDS), 4, control="no")
    assert arms.treatments.tolist() == ["maybe", "no", "yes"]
    np.testing.assert_array_equal(arms.codes, [1, 2, 1, 0])
    assert (arms.control, arms.focal) == (1, -1)
    assert arms.contrasts() == [0, 2]
    assert arms.label(2) == "yes"
    assert type(arms.label(2)) is str


def test_unordered_number_categories_need_a_control():
    with pytest.raises(ValueError, match=r"unordered categories; its labels are 0, 1"):
        check_treatment(pd.Categorical([1, 0]), 2)
    arms = check_treatment(pd.Categorical([1, 0]), 2, control=1)
    assert (arms.control, arms.focal) == (1, 0)


@pytest.mark.parametrize("wrap", [lambda v: v, pd.Series])
def test_ordered_categories_keep_their_order(wrap):
    arms = check_treatment(wrap(ordered(["high", "low", "mid", "low"])), 4)
    assert arms.treatments.tolist() == LEVELS
    np.testing.assert_array_equal(arms.codes, [2, 0, 1, 0])
    assert arms.control == 0


def test_unused_categories_are_dropped():
    arms = check_treatment(ordered(["high", "mid"], ["none", *LEVELS]), 2)
    assert arms.treatments.tolist() == ["mid", "high"]
    np.testing.assert_array_equal(arms.codes, [1, 0])
    assert (arms.control, arms.focal) == (0, 1)
    with pytest.raises(ValueError, match="control='low' is not a treatment label"):
        check_treatment(ordered(["high", "mid"]), 2, control="low")


def test_ordered_number_categories():
    arms = check_treatment(ordered([1, 3, 2], [3, 2, 1]), 3)
    assert arms.treatments.tolist() == [3, 2, 1]
    np.testing.assert_array_equal(arms.codes, [2, 0, 1])


def test_control_and_focal_are_labels():
    arms = check_treatment([0, 1, 2, 1], 4, control=1, focal=2)
    assert (arms.control, arms.focal) == (1, 2)
    arms = check_treatment([0, 1, 1], 3, control=1)
    assert (arms.control, arms.focal) == (1, 0)
    arms = check_treatment([False, True], 2, control=True)
    assert (arms.control, arms.focal) == (1, 0)
    arms = check_treatment([0, 1], 2, control=np.int64(0), focal=0)
    assert (arms.control, arms.focal) == (0, 0)


def test_many_arms_are_fine_where_they_are_not_a_dose():
    assert check_treatment(np.arange(20.0), 20).n_arms == 20
    assert check_treatment(np.repeat(np.arange(21.0), 10), 210).n_arms == 21
    words = [f"site {k}" for k in range(30)]
    assert check_treatment(words, 30, control="site 0").n_arms == 30


def test_inputs_are_not_modified():
    treatment = np.array([2, 0, 1], dtype=object)
    check_treatment(treatment, 3)
    assert treatment.tolist() == [2, 0, 1]


# ---- treatment: what is refused --------------------------------------------------


@pytest.mark.parametrize(
    ("treatment", "message"),
    [
        (None, "treatment is missing: pass one label a row"),
        ([0, 1], "treatment has 2 rows, X has 3"),
        (np.zeros((3, 2)), r"must be one-dimensional, got \(3, 2\)"),
        (np.array(1), "must be one-dimensional"),
        ([1, 1, 1], r"has one arm only \(1\)"),
        (["a", "a", "a"], r"has one arm only \('a'\)"),
        (ordered(["low"] * 3), r"has one arm only \('low'\)"),
        (np.array([0.0, 1.0, np.nan]), "contains NaN or infinity"),
        ([0.0, 1.0, np.nan], "contains missing values"),
        ([0.0, 1.0, np.inf], "contains NaN or infinity"),
        ([0, 1, None], "contains missing values"),
        (["a", "b", None], "contains missing values"),
        (np.array(["a", "b", np.nan], dtype=object), "contains missing values"),
        (pd.Series(["a", "b", None]), "contains missing values"),
        (pd.Series([0, 1, pd.NA], dtype="Int64"), "contains (missing|NaN)"),
        (pd.Series([True, False, pd.NA], dtype="boolean"), "contains (missing|NaN)"),
        (pd.Series(["a", "b", pd.NA], dtype="string"), "contains missing values"),
        (pd.Series([0, 1, pd.NA], dtype=object), "contains missing values"),
        (pd.Series([0, 1, pd.NaT], dtype=object), "contains missing values"),
        (ordered(["low", "mid", None]), "contains missing values"),
        (pd.Series(["a", "b", None], dtype="category"), "contains missing values"),
        (pl.Series([0, 1, None]), "contains (missing|NaN)"),
        (pl.Series(["a", "b", None]), "contains missing values"),
        (["a", 1, 2], "mixes strings and other labels"),
        (pd.Categorical(["a", 1, 2]), "mixes strings and other labels"),
        (np.array([1j, 2, 3]), "has dtype complex128"),
        (np.array(["2020", "2021", "2022"], "M8[Y]"), "has dtype datetime64"),
        (pd.cut([1, 2, 3], 2), "has dtype object"),
    ],
)
def test_refuses_treatments(treatment, message):
    with pytest.raises(ValueError, match=message):
        check_treatment(treatment, 3)


def test_missing_treatment_names_metadata_routing():
    with pytest.raises(ValueError, match="enable_metadata_routing=True"):
        check_treatment(None, 3)


@pytest.mark.parametrize("dtype", [float, int])
def test_refuses_doses(dtype):
    with pytest.raises(ValueError, match="21 distinct values: it looks continuous"):
        check_treatment(np.arange(21, dtype=dtype), 21)
    with pytest.raises(ValueError, match="looks continuous"):
        check_treatment(np.arange(1000, dtype=dtype), 1000)


@pytest.mark.parametrize("name", ["control", "focal"])
@pytest.mark.parametrize("label", [7, "1", None, ("a", "b")])
def test_refuses_unknown_labels(name, label):
    if label is None:
        assert check_treatment([0, 1], 2, **{name: None}).control == 0
        return
    with pytest.raises(ValueError, match=f"{name}=.* is not a treatment label") as e:
        check_treatment([0, 1], 2, **{name: label})
    assert str(e.value).endswith("the labels are 0, 1.")


def test_long_lists_of_labels_are_cut():
    words = [f"site {k:02}" for k in range(12)]
    with pytest.raises(ValueError, match="control must be given") as error:
        check_treatment(words, 12)
    assert "'site 09', ..." in str(error.value)
    assert "site 10" not in str(error.value)


# ---- arms ------------------------------------------------------------------------


def test_take_keeps_labels_and_positions():
    arms = check_treatment(list("abcab"), 5, control="b", focal="c")
    part = arms.take(np.array([0, 1, 2]))
    assert isinstance(part, Arms)
    np.testing.assert_array_equal(part.codes, [0, 1, 2])
    np.testing.assert_array_equal(part.treatments, arms.treatments)
    assert (part.control, part.focal) == (arms.control, arms.focal)


@pytest.mark.parametrize("rows", [np.array([0, 1, 3]), [True, True, False, True, True]])
def test_take_refuses_to_empty_an_arm(rows):
    arms = check_treatment(list("abcab"), 5, control="b")
    with pytest.raises(ValueError, match="arm 'c' has no row with a positive"):
        arms.take(np.array(rows))


def test_focal_arm():
    binary = check_treatment([0, 1], 2)
    assert focal_arm(binary, "att") == 1
    assert focal_arm(binary, "atc") == 0
    assert focal_arm(binary, "ate") is None
    assert focal_arm(binary, "ato") is None
    assert focal_arm(check_treatment([0, 1], 2, control=1), "att") == 0
    several = check_treatment(list("abc"), 3, control="b")
    assert focal_arm(several, "atc") == 1
    with pytest.raises(ValueError, match=r"with 3 arms needs focal=.*'a', 'b', 'c'"):
        focal_arm(several, "att")
    assert (
        focal_arm(check_treatment(list("abc"), 3, control="b", focal="c"), "att") == 2
    )


# ---- estimand --------------------------------------------------------------------


def test_estimand_is_case_insensitive():
    assert check_estimand("ATE") == "ate"
    assert check_estimand("Ato") == "ato"
    assert check_estimand("att", ["ate", "att"]) == "att"


@pytest.mark.parametrize("estimand", ["late", "", None, 3, ["ate"]])
def test_refuses_unknown_estimands(estimand):
    with pytest.raises(ValueError, match="'ate', 'att', 'atc', 'ato'"):
        check_estimand(estimand)


def test_refuses_estimands_that_a_method_lacks():
    allowed = iter(["ate", "att"])
    with pytest.raises(ValueError, match=r"'ato' is not available here.*'ate', 'att'"):
        check_estimand("ato", allowed)


# ---- sampling weights ------------------------------------------------------------


@pytest.mark.parametrize(
    "weights",
    [
        [1, 0, 2],
        np.array([1, 0, 2], dtype=np.float32),
        pd.Series([1, 0, 2], index=[3, 1, 2]),
        pd.Series([1, 0, 2], dtype="Int64"),
        pl.Series([1, 0, 2]),
    ],
)
def test_sample_weight_becomes_double(weights):
    got = check_sample_weight(weights, 3)
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, [1.0, 0.0, 2.0])


def test_no_sample_weight_is_ones():
    np.testing.assert_array_equal(check_sample_weight(None, 3), np.ones(3))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (2.0, "got a scalar"),
        ([1.0, 1.0], r"has shape \(2,\), X has 3 rows"),
        (np.ones((3, 1)), r"has shape \(3, 1\)"),
        ([1.0, np.nan, 1.0], "contains NaN or infinity"),
        ([1.0, np.inf, 1.0], "contains NaN or infinity"),
        ([1.0, -1e-9, 1.0], "contains negative values"),
        ([0.0, 0.0, 0.0], "is zero on every row"),
    ],
)
def test_refuses_sample_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        check_sample_weight(weights, 3)


# ---- row order -------------------------------------------------------------------


def frame(index):
    return pd.DataFrame({"x": range(len(index))}, index=index)


def series(index):
    return pd.Series(range(len(index)), index=index)


def test_shuffled_indexes_are_refused():
    with pytest.raises(ValueError, match=r"reorder one, e\.g\. y = y\.loc\[X\.index\]"):
        check_same_rows(X=frame([0, 1, 2]), y=series([2, 0, 1]))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["a", 1, None], [1, "a", None]),  # labels that have no order
        ([0, 0, 1], [0, 1, 0]),
        (pd.MultiIndex.from_tuples([(0, 1), (0, 2)]), [(0, 2), (0, 1)]),
        (pd.date_range("2020", periods=3), pd.date_range("2020", periods=3)[::-1]),
    ],
)
def test_shuffles_of_any_labels_are_found(first, second):
    with pytest.raises(ValueError, match="same index labels in another order"):
        check_same_rows(X=frame(first), y=series(second))


def test_every_pair_of_inputs_is_compared():
    inputs = {
        "X": frame([0, 1, 2]),
        "y": series([7, 8, 9]),
        "treatment": series([1, 0, 2]),
    }
    with pytest.raises(ValueError, match="X and treatment have the same index labels"):
        check_same_rows(**inputs)


def test_accepted_row_orders():
    X = frame([5, 6, 7])
    check_same_rows(X=X, y=series([5, 6, 7]))
    check_same_rows(X=X, y=series([0, 1, 2]))  # other labels: matched by position
    check_same_rows(X=X, y=series([7, 6]))  # lengths are another check's work
    check_same_rows(X=X, y=np.arange(3), treatment=[0, 1, 0], sample_weight=None)
    check_same_rows(X=pl.DataFrame({"x": [1, 2]}), y=pl.Series([1, 2]))
    check_same_rows(X=X)
    check_same_rows()


# ---- outcome ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "y",
    [
        [0, 1, 1],
        np.array([False, True, True]),
        np.array([0, 1, 1], dtype=np.float32),
        np.array([0, 1, 1], dtype=object),
        pd.Series([0, 1, 1], dtype="Int64"),
        pd.Series([0.0, 1.0, 1.0], index=[2, 1, 0]),
    ],
)
def test_outcome_becomes_double(y):
    got = check_outcome(y, 3)
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, [0.0, 1.0, 1.0])


def test_column_outcome_warns_as_in_scikit_learn():
    with pytest.warns(UserWarning, match="A column-vector y was passed"):
        got = check_outcome(np.array([[1.0], [2.0]]), 2)
    np.testing.assert_array_equal(got, [1.0, 2.0])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "y is missing"),
        ([1.0, 2.0], "inconsistent numbers of samples"),
        (np.zeros((3, 2)), "1d array"),
        (["a", "b", "c"], "y must be numeric"),
        ([1.0, np.nan, 2.0], "Input y contains NaN or infinity"),
        ([1.0, np.inf, 2.0], "Input y contains NaN or infinity"),
        (np.array([1, None, 2], dtype=object), "Input y contains NaN"),
        (np.array([1, pd.NA, 2], dtype=object), "Input y contains NaN"),
        (pd.Series([1, pd.NA, 2], dtype="Int64"), "Input y contains NaN"),
        (np.array([1, [2], 3], dtype=object), "y must be numeric"),
    ],
)
def test_refuses_outcomes(y, message):
    with pytest.raises(ValueError, match=message):
        check_outcome(y, 3)


# ---- groups and constants --------------------------------------------------------


@pytest.mark.parametrize(
    "groups",
    [
        [30, 10, 30],
        ["b", "a", "b"],
        np.array([2.5, 1.5, 2.5]),
        pd.Series(["b", "a", "b"]),
        pd.Series(["b", "a", "b"], dtype="category"),
        pl.Series(["b", "a", "b"]),
    ],
)
def test_groups_become_positions(groups):
    np.testing.assert_array_equal(check_groups(groups, 3), [1, 0, 1])


def test_no_groups():
    assert check_groups(None, 3) is None


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([1, 2], r"has shape \(2,\), X has 3 rows"),
        (np.ones((3, 1)), r"has shape \(3, 1\)"),
        ([1.0, np.nan, 2.0], "contains missing values"),
        (["a", None, "b"], "contains missing values"),
        (pd.Series([1, pd.NA, 2], dtype="Int64"), "contains missing values"),
    ],
)
def test_refuses_groups(groups, message):
    with pytest.raises(ValueError, match=message):
        check_groups(groups, 3)


def test_constant_covariates_are_named():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_constant(["age", "x3"])
    assert str(caught[0].message) == "constant covariates are ignored: age, x3."
