"""Categorical columns as indicators: levels, their order, and what is refused."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from sklearn.preprocessing import OneHotEncoder

from causalweights._categories import Categories

TOWNS = ["oslo", "bergen", "oslo", "narvik", "bergen", "oslo"]
SIZE = [1.5, 2.0, -1.0, 0.0, 3.0, 4.0]
ORDER = ["narvik", "oslo", "bergen"]
WITH_UNUSED = ["voss", *ORDER]


def pandas_frame(towns, size=SIZE):
    return pd.DataFrame({"size": size, "town": towns})


def polars_frame(towns, dtype=None):
    return pl.DataFrame({"size": SIZE, "town": pl.Series(towns, dtype=dtype)})


SORTED = sorted(ORDER)
FRAMES = {
    "pandas strings": (pandas_frame(TOWNS), SORTED),
    "pandas objects": (pandas_frame(np.array(TOWNS, dtype=object)), SORTED),
    "pandas categories": (pandas_frame(pd.Categorical(TOWNS, WITH_UNUSED)), ORDER),
    "ordered": (pandas_frame(pd.Categorical(TOWNS, ORDER, ordered=True)), ORDER),
    "polars strings": (polars_frame(TOWNS), SORTED),
    "polars categories": (polars_frame(TOWNS, pl.Categorical), SORTED),
    "polars enum": (polars_frame(TOWNS, pl.Enum(WITH_UNUSED)), ORDER),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_indicators_are_a_one_hot_encoders(kind):
    frame, order = FRAMES[kind]
    found = Categories.of(frame)
    encoder = OneHotEncoder(categories=[order], sparse_output=False)
    expected = encoder.fit_transform(np.array(TOWNS, dtype=object)[:, None])
    assert found.names == ["size", *(f"town={level}" for level in order)]
    assert_array_equal(found.transform(frame), np.column_stack([SIZE, expected]))
    assert_array_equal(found.indicators, [False, True, True, True])
    assert_array_equal(found.factor(0.5), [1.0, 0.5, 0.5, 0.5])


def test_levels_need_not_be_strings():
    days = pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-01"])
    frame = pd.DataFrame({
        "number": pd.Categorical([3, 1, 3]),
        "bool": pd.Categorical([True, False, True]),
        "interval": pd.cut([1.0, 7.0, 2.0], [0, 5, 10]),
        "day": pd.Categorical(days),
    })  # fmt: skip
    found = Categories.of(frame)
    assert found.names == [
        "number=1", "number=3", "bool=False", "bool=True", "interval=(0, 5]",
        "interval=(5, 10]", "day=2020-01-01 00:00:00", "day=2020-01-02 00:00:00",
    ]  # fmt: skip
    first = [0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0]
    expected = [first, np.subtract(1.0, first), first]
    assert_array_equal(found.transform(frame), expected)


@pytest.mark.parametrize(
    "table",
    [
        np.array([[1.0, 2.0]]),
        pd.DataFrame({"a": [1, 2], "b": [True, False]}),
        pd.DataFrame({"a": [1, None]}, dtype="Int64"),
        pd.DataFrame({"a": [1, 2.5]}, dtype=object),
        pl.DataFrame({"a": [1.0, None], "b": [True, False]}),
    ],
)
def test_tables_of_numbers_have_none(table):
    assert Categories.of(table) is None


def test_numbers_beside_categories_are_those_of_the_frame():
    frame = pd.DataFrame({
        "town": ["u", "v", "u"],
        "yes": [True, False, True],
        "count": pd.array([1, None, 3], dtype="Int64"),
        "any": pd.Series([1, 2.5, 3], dtype=object),
    })  # fmt: skip
    found = Categories.of(frame).transform(frame)
    expected = [[1, 0, 1, 1, 1.0], [0, 1, 0, np.nan, 2.5], [1, 0, 1, 3, 3.0]]
    assert_array_equal(found, expected)


def test_two_columns_of_one_name_are_told_apart():
    frame = pd.DataFrame([["u", 1.0], ["v", 2.0]], columns=["a", "a"])
    frame = frame.astype(object)
    found = Categories.of(frame)
    assert found.names == ["a=u", "a=v", "a"]
    assert_array_equal(found.transform(frame), [[1, 0, 1], [0, 1, 2]])


def test_new_rows_have_the_columns_of_fit():
    fit = pandas_frame(pd.Categorical(TOWNS, WITH_UNUSED))
    found = Categories.of(fit)
    new = pandas_frame(["oslo"], [0.0])
    assert_array_equal(found.transform(new), [[0.0, 0.0, 1.0, 0.0]])
    # A level that the dtype of fit listed, and no row had, is in no column.
    listed = pandas_frame(pd.Categorical(["voss"]), [0.0])
    assert_array_equal(found.transform(listed), np.zeros((1, 4)))
    with pytest.raises(
        ValueError,
        match=r"'town' holds the level 'paris' \(first in row 1\), which fit has not "
        r"seen; its levels are 'narvik', 'oslo', 'bergen'",
    ):
        found.transform(pandas_frame(["oslo", "paris"], [0.0, 1.0]))
    with pytest.raises(ValueError, match=r"'voss'.*not seen"):
        Categories.of(pandas_frame(TOWNS)).transform(listed)
    with pytest.raises(ValueError, match=r"'town' contains missing.*row 1"):
        found.transform(pandas_frame(["oslo", None], [0.0, 1.0]))


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
@pytest.mark.parametrize("dtype", [object, "category", "str", "string"])
def test_missing_levels_are_refused_by_name(missing, dtype):
    frame = pd.DataFrame({"town": pd.Series(["u", "v", missing, "u"], dtype=dtype)})
    with pytest.raises(ValueError, match=r"'town' contains missing.*in row 2\)"):
        Categories.of(frame)


def test_mixed_and_identifying_columns_are_refused_by_name():
    with pytest.raises(ValueError, match="'town' mixes strings and other values"):
        Categories.of(pd.DataFrame({"town": ["u", 1, True]}))
    names = [f"row {i}" for i in range(21)]
    with pytest.raises(ValueError, match="'town' has a level of its own in each of 21"):
        Categories.of(pd.DataFrame({"town": names}))
    assert len(Categories.of(pd.DataFrame({"town": names[1:]})).names) == 20
    assert len(Categories.of(pd.DataFrame({"town": names * 2})).names) == 21
