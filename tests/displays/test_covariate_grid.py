"""Rows along one covariate: its range or its values, the others where most data are."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from causalweights.displays._covariate_grid import covariate_grid

ONES = np.ones(60)


@pytest.fixture
def mixed(rng):
    """Return rows of every dtype; most are in the south, in stage II, no smokers."""
    k, stages = np.arange(60), np.array(["II", "I", "II"])
    return pd.DataFrame(
        {
            "age": rng.normal(size=60),
            "region": np.array(["north", "south", "south", "west"])[k % 4],
            "stage": pd.Categorical(stages[k % 3], ["I", "II", "V"]),
            "smoker": k % 4 == 0,
            "children": k % 3,
            "few": k % 10 / 4,
            "more": k % 11 / 4,
            "town": [f"town {i % 21}" for i in k],
        }
    )  # fmt: skip


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_rows_keep_container_and_dtypes(mixed, library):
    table = mixed if library == "pandas" else pl.from_pandas(mixed)
    grid = covariate_grid(table, 0, [1, 2], ONES, 7)
    assert type(grid.rows) is type(table)
    assert list(grid.rows.columns) == list(table.columns)
    for name in table.columns:
        assert grid.rows[name].dtype == table[name].dtype
    typical = {"region": "south", "stage": "II", "smoker": False, "children": 1}
    for name, value in typical.items():
        assert list(grid.rows[name]) == [value] * 7
    assert_array_equal(grid.rows["age"], grid.x)
    assert_allclose(np.diff(grid.x), (grid.x[-1] - grid.x[0]) / 6)
    assert grid.text == "age (others at their medians or modes)"
    assert covariate_grid(table, 0, [3, 4], ONES, 7).text == grid.text
    numbers = covariate_grid(table, 0, [4, 5], ONES, 7)
    assert numbers.text == "age (others at their medians)"
    assert covariate_grid(table, 0, [], ONES, 7).text == "age"


def test_integer_names_of_columns(rng):
    frame = pd.DataFrame(rng.normal(size=(60, 2)), columns=[5, 6])
    grid = covariate_grid(frame, 1, [0], ONES, 4)
    assert list(grid.rows.columns) == [5, 6] and grid.text.startswith("6 ")


def test_few_numbers_are_points_and_many_categories_are_refused(mixed):
    few = covariate_grid(mixed, 5, [], ONES, 50)
    assert few.labels[:5] == ["0", "0.25", "0.5", "0.75", "1"]
    assert_array_equal(few.x, np.arange(10))
    assert_array_equal(few.rows["few"], np.arange(10) / 4)
    assert covariate_grid(mixed, 6, [], ONES, 50).labels is None
    with pytest.raises(ValueError, match="'town' has 21 categories: a picture shows"):
        covariate_grid(mixed, 7, [], ONES, 50)


def test_whole_weights_are_copies_in_the_grid(rng):
    X, w = rng.normal(size=(200, 3)), rng.integers(1, 5, 200)
    X[:, 2] = rng.integers(0, 3, 200)
    copies = np.repeat(X, w, axis=0)
    for j in (0, 2):
        one = covariate_grid(X, j, [], w.astype(float), 20)
        two = covariate_grid(copies, j, [], np.ones(len(copies)), 20)
        assert_array_equal(one.x, two.x)
        assert_array_equal(one.rows, two.rows)
        assert_allclose(one.density[0], two.density[0])
        plain = covariate_grid(X, j, [], np.ones(200), 20)
        assert not np.allclose(one.density[0], plain.density[0])


def test_missing_values_are_left_out_of_the_grid(rng):
    X = rng.normal(size=(100, 3))
    holes = np.vstack([X, np.full((50, 3), np.nan)])
    holes[:, 2] = np.nan
    grid = covariate_grid(holes, 0, [], np.ones(150), 20)
    low, high = np.quantile(X[:, 0], [0.01, 0.99], method="inverted_cdf")
    assert_array_equal(grid.x, np.linspace(low, high, 20))
    assert_array_equal(grid.rows[:, 0], grid.x)
    median = np.quantile(X[:, 1], 0.5, method="inverted_cdf")
    assert set(grid.rows[:, 1]) == {median}
    assert np.all(np.isnan(grid.rows[:, 2]))
    assert np.all(np.isfinite(grid.density[0]))


def test_a_covariate_of_almost_one_value_shows_its_range():
    X = np.where(np.arange(4000) < 20, np.arange(4000), 0.0)[:, None]
    grid = covariate_grid(X, 0, [], np.ones(4000), 5)
    assert grid.x.tolist() == [0, 4.75, 9.5, 14.25, 19]
