"""Every dtype of pandas and polars, as each input of every weighter and effect.

What holds the same values gives the same result; a missing value of any kind is
refused, in X by its column's name.
"""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

from causalweights import (
    EntropyBalancer,
    IndependenceBalancer,
    IPMBalancer,
    PropensityWeighter,
    RLearner,
    UniformTransformerEffect,
    WeightedEffect,
    WeightedKernelRidge,
)

N, HOLE = 80, 3
_rng = np.random.default_rng(3)
# Whole numbers are exact in every numeric dtype.
NUMBERS = pd.DataFrame(
    {
        "age": _rng.integers(-20, 21, size=N),
        "income": _rng.integers(-20, 21, size=N).astype(float),
        "married": _rng.random(N) < 0.5,
    }
)
RACE = _rng.choice(["black", "other", "white"], size=N)
MIXED = NUMBERS.assign(race=RACE)
A = (NUMBERS["age"].to_numpy() / 8 + 2 * _rng.normal(size=N) > 0).astype(int)
WORDS = np.where(A == 1, "drug", "placebo")
Y = (NUMBERS["age"] + 2 * NUMBERS["income"]).to_numpy() + A + 9 * _rng.normal(size=N)
CODES = _rng.integers(1, 4, size=N)
VILLAGES = np.array([f"village {k}" for k in _rng.integers(0, 20, size=N)])

WEIGHTERS = {
    "ipm": IPMBalancer(),
    "entropy": EntropyBalancer(),
    "propensity": PropensityWeighter(),
    "independence": IndependenceBalancer(),
}
EFFECTS = {
    "effect": WeightedEffect(cv=2),
    "transformer": UniformTransformerEffect(),
    "learner": RLearner(
        outcome_model=WeightedKernelRidge(), final_model=WeightedKernelRidge(), cv=2
    ),
}
ESTIMATORS = {**WEIGHTERS, **EFFECTS}
# The same numbers; sums over another memory layout round otherwise.
SAME = 1e-9


def numbers_of(key, **changes):
    """Return what an estimator finds in the data, with some inputs changed."""
    inputs = {
        "X": NUMBERS, "y": Y, "treatment": A, "sample_weight": CODES,
        "groups": VILLAGES, **changes,
    }  # fmt: skip
    model = clone(ESTIMATORS[key])
    X, y, a, s, groups = inputs.values()
    if key == "independence":
        return model.fit(X, Y if a is A else a, sample_weight=s).weights_
    # The control of labels, none of which are a string, is the smallest one.
    text = isinstance(next(iter(a)), str)
    model.set_params(control="placebo" if text else None)
    if key in WEIGHTERS:
        return model.fit(X, a, sample_weight=s).weights_
    known = {"propensity": np.full(N, 0.5)} if key == "learner" else {}
    model.fit(X, y, treatment=a, sample_weight=s, groups=groups, **known)
    if key == "learner":
        return model.predict(X)
    return np.array([model.effect_, model.se_])


@pytest.fixture(scope="module")
def expected_of():
    """Return a function: what an estimator finds with plain values, found once."""
    found = {}

    def expected(key, name, plain):
        place = key, name, repr(np.asarray(plain).tolist())
        if place not in found:
            found[place] = numbers_of(key, **{name: plain})
        return found[place]

    return expected


@pytest.fixture
def assert_same(expected_of):
    def check(key, name, value, plain):
        found, expected = (
            numbers_of(key, **{name: value}),
            expected_of(key, name, plain),
        )
        scale = np.abs(expected).max()
        assert np.isfinite(scale)
        assert_allclose(found, expected, rtol=0, atol=SAME * scale)

    return check


def arrow(values, dtype):
    return pd.Series(values, dtype=f"{dtype}[pyarrow]")


def arrow_dictionary(values):
    encoded = pa.array(list(values)).dictionary_encode()
    return pd.Series(pd.arrays.ArrowExtensionArray(encoded))


def words_of(values):
    """Return text in every dtype that holds it."""
    levels = list(np.unique(values))
    return {
        "object": pd.Series(values, dtype=object),
        "str": pd.Series(values, dtype="str"),
        "string[python]": pd.Series(values, dtype="string[python]"),
        "string[pyarrow]": pd.Series(values, dtype="string[pyarrow]"),
        "arrow string": pd.Series(values, dtype=pd.ArrowDtype(pa.string())),
        "arrow dictionary": arrow_dictionary(values),
        "category": pd.Series(values, dtype="category"),
        "category of strings": pd.Series(
            pd.Categorical(pd.array(values, dtype="string[python]"))
        ),
        "ordered": pd.Series(pd.Categorical(values, levels, ordered=True)),
        "polars": pl.Series(values),
        "polars categorical": pl.Series(values, dtype=pl.Categorical),
        "polars enum": pl.Series(values, dtype=pl.Enum(levels)),
    }


def codes_of(values):
    """Return small whole numbers in every dtype that holds them."""
    return {
        "Int64": pd.Series(values, dtype="Int64"),
        "Float64": pd.Series(values, dtype="Float64"),
        "arrow integer": arrow(values, "int64"),
        "arrow double": arrow(values, "double"),
        "polars integer": pl.Series(values),
        "polars short integer": pl.Series(values, dtype=pl.UInt8),
        "polars float": pl.Series(values, dtype=pl.Float64),
    }


def flags_of(values):
    """Return truth values in every dtype that holds them."""
    return {
        "bool": pd.Series(values),
        "boolean": pd.Series(values, dtype="boolean"),
        "arrow bool": arrow(values, "bool"),
        "polars bool": pl.Series(values),
    }


ARROW = {
    "age": "int64[pyarrow]", "income": "double[pyarrow]", "married": "bool[pyarrow]"
}  # fmt: skip
TABLES = {
    "nullable": NUMBERS.convert_dtypes(),
    "arrow": NUMBERS.astype(ARROW),
    "object": NUMBERS.astype(object),
    "polars": pl.from_pandas(NUMBERS),
    "polars short": pl.from_pandas(NUMBERS).with_columns(pl.col("age").cast(pl.Int8)),
}
WORD_KINDS = list(words_of(RACE))


def with_race(kind):
    """Return a frame of numbers, of the library that the words are of, and words."""
    words = words_of(RACE)[kind]
    if isinstance(words, pl.Series):
        return pl.from_pandas(NUMBERS).with_columns(words.alias("race"))
    return TABLES["nullable"].assign(race=words)


# ---- the same values, the same result ------------------------------------------------


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("key", ESTIMATORS)
def test_columns_of_numbers(key, kind, assert_same):
    assert_same(key, "X", TABLES[kind], NUMBERS.astype(float))


@pytest.mark.parametrize("kind", WORD_KINDS)
@pytest.mark.parametrize("key", ESTIMATORS)
def test_columns_of_words_beside_nullable_ones(key, kind, assert_same):
    plain = NUMBERS.astype(float).assign(race=pd.Categorical(RACE))
    assert_same(key, "X", with_race(kind), plain)


@pytest.mark.parametrize("kind", {**codes_of(A), **flags_of(A == 1)})
@pytest.mark.parametrize("key", [k for k in ESTIMATORS if k != "independence"])
def test_treatments_of_numbers(key, kind, assert_same):
    values = {**codes_of(A), **flags_of(A == 1)}[kind]
    assert_same(key, "treatment", values, A)


@pytest.mark.parametrize("kind", WORD_KINDS)
@pytest.mark.parametrize("key", [k for k in ESTIMATORS if k != "independence"])
def test_treatments_of_words(key, kind, assert_same):
    assert_same(key, "treatment", words_of(WORDS)[kind], WORDS)


@pytest.mark.parametrize("kind", codes_of(CODES))
def test_doses(kind, assert_same):
    assert_same("independence", "treatment", codes_of(CODES)[kind], CODES)


@pytest.mark.parametrize("kind", {**codes_of(CODES), **flags_of(A == 1)})
@pytest.mark.parametrize("key", EFFECTS)
def test_outcomes(key, kind, assert_same):
    values = {**codes_of(CODES), **flags_of(A == 1)}[kind]
    plain = (A if kind in flags_of(A == 1) else CODES).astype(float)
    assert_same(key, "y", values, plain)


@pytest.mark.parametrize("kind", codes_of(CODES))
@pytest.mark.parametrize("key", ESTIMATORS)
def test_weights(key, kind, assert_same):
    assert_same(key, "sample_weight", codes_of(CODES)[kind], CODES.astype(float))


@pytest.mark.parametrize("kind", WORD_KINDS)
@pytest.mark.parametrize("key", EFFECTS)
def test_groups_of_words(key, kind, assert_same):
    assert_same(key, "groups", words_of(VILLAGES)[kind], VILLAGES)


@pytest.mark.parametrize("kind", codes_of(CODES))
@pytest.mark.parametrize("key", EFFECTS)
def test_groups_of_numbers(key, kind, assert_same):
    codes = np.arange(N) % 20
    assert_same(key, "groups", codes_of(codes)[kind], codes)


# ---- missing values ------------------------------------------------------------------


def with_hole(values):
    """Return a copy without the value in one row."""
    if isinstance(values, pl.Series):
        kept = values.to_list()
        kept[HOLE] = None
        return pl.Series(values.name, kept, dtype=values.dtype)
    if values.dtype == bool:
        values = values.astype("boolean")
    return values.where(np.arange(N) != HOLE)


def with_hole_in(frame, name):
    column = with_hole(frame[name])
    if isinstance(frame, pl.DataFrame):
        return frame.with_columns(column.alias(name))
    return frame.assign(**{name: column})


def assert_refused(key, message, **changes):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        numbers_of(key, **changes)


@pytest.mark.parametrize("name", list(NUMBERS))
@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("key", ESTIMATORS)
def test_missing_numbers_are_refused_by_name(key, kind, name):
    X = with_hole_in(TABLES[kind], name)
    assert_refused(key, f"'{name}' \\(first in row {HOLE}\\)", X=X)


@pytest.mark.parametrize("kind", WORD_KINDS)
@pytest.mark.parametrize("key", ESTIMATORS)
def test_missing_words_are_refused_by_name(key, kind):
    X = with_hole_in(with_race(kind), "race")
    assert_refused(key, f"'race'.*\\(first in row {HOLE}\\)", X=X)


@pytest.mark.parametrize("kind", {**codes_of(A), **words_of(WORDS)})
@pytest.mark.parametrize("key", ESTIMATORS)
def test_missing_treatments_are_refused(key, kind):
    values = {**codes_of(A), **words_of(WORDS)}[kind]
    words = kind in WORD_KINDS
    if key == "independence":
        message = "must be numeric" if words else f"NaN.*row {HOLE}"
    else:
        message = "treatment contains"
    assert_refused(key, message, treatment=with_hole(values))


@pytest.mark.parametrize("kind", codes_of(CODES))
@pytest.mark.parametrize("key", EFFECTS)
def test_missing_outcomes_weights_and_groups_are_refused(key, kind):
    hole = with_hole(codes_of(CODES)[kind])
    assert_refused(key, "y contains NaN", y=hole)
    assert_refused(key, f"sample_weight.*row {HOLE}", sample_weight=hole)
    assert_refused(key, "groups contains missing", groups=hole)
