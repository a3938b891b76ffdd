"""Formulas: the same numbers as a fit on the frame's columns, and errors that help."""

import pickle
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from causalweights import (
    DRLearner,
    EntropyBalancer,
    IndependenceBalancer,
    IPMBalancer,
    PropensityWeighter,
    PseudoOutcomeRegressor,
    RLearner,
    UniformTransformerEffect,
    WeightedEffect,
    WeightedKernelRidge,
)
from causalweights._formula import Roles, split_outside

N = 150
_rng = np.random.default_rng(11)
AGE = _rng.normal(size=N)
TREAT = (AGE + _rng.logistic(size=N) > 0).astype(int)
RACE = _rng.choice(["black", "other", "white"], size=N)
# Rows have labels in an order of their own: nothing may go by them.
FRAME = pd.DataFrame(
    {
        "y": AGE + TREAT + (RACE == "black") + _rng.normal(size=N),
        "treat": TREAT,
        "dose": AGE + _rng.normal(size=N),
        "age": AGE,
        "race": RACE,
        "married": _rng.random(N) < 0.4,
        "school": _rng.integers(8, 17, size=N),
        "weight": _rng.integers(1, 4, size=N).astype(float),
        "village": _rng.integers(0, 20, size=N),
    },
    index=_rng.permutation(N),
)
TERMS = "age + C(race) + married"
X = FRAME[["age", "race", "married"]]
# Frames with one indicator a level, made by hand.
BY_HAND = pd.DataFrame(
    {
        "age": AGE,
        **{level: (RACE == level).astype(float) for level in np.unique(RACE).tolist()},
        "married": FRAME["married"].to_numpy(),
    },
    index=FRAME.index,
)
# The same program; sums over another memory layout round otherwise.
SAME = 1e-9

WEIGHTERS = {
    "ipm": IPMBalancer(estimand="att"),
    "gaussian": IPMBalancer(discriminator="gaussian", ridge=0.1),
    "raw": IPMBalancer(standardize=False, categorical_scale=0.9),
    "entropy": EntropyBalancer(),
    "propensity": PropensityWeighter(),
    "independence": IndependenceBalancer(),
}
LINEAR = {
    "outcome_model": LinearRegression(),
    "propensity_model": LogisticRegression(),
    "final_model": LinearRegression(),
}


def weigh(key, terms=TERMS, data=FRAME, **options):
    weighter = WEIGHTERS[key]
    treatment = "dose" if key == "independence" else "treat"
    options = {**weighter.get_params(), **options}
    return type(weighter).from_formula(f"{treatment} ~ {terms}", data, **options)


def assert_weights(found, expected):
    assert_allclose(found.weights_, expected.weights_, rtol=0, atol=SAME)


# ---- the same as fit -----------------------------------------------------------------


@pytest.mark.parametrize("terms", [TERMS, "1 + age + race + married", "race - 1"])
@pytest.mark.parametrize("key", WEIGHTERS)
def test_weights_are_those_of_the_frames_columns(key, terms):
    columns = ["race"] if "- 1" in terms else list(X)
    treatment = FRAME["dose" if key == "independence" else "treat"]
    found = weigh(key, terms)
    assert_weights(found, clone(WEIGHTERS[key]).fit(X[columns], treatment))
    assert "Intercept" not in found.feature_names_in_
    assert len(found.feature_names_in_) == len(columns) + 2


@pytest.mark.parametrize("options", [{}, {"estimand": "att"}])
@pytest.mark.parametrize("kind", [WeightedEffect, UniformTransformerEffect])
def test_effects_are_those_of_the_frames_columns(kind, options):
    found = kind.from_formula(f"y ~ treat | {TERMS}", FRAME, **options)
    expected = kind(**options).fit(X, FRAME["y"], treatment=FRAME["treat"])
    assert found.effect_ == pytest.approx(expected.effect_, rel=SAME)
    assert found.se_ == pytest.approx(expected.se_, rel=SAME)
    assert found.predict(FRAME[:3]).tolist() == [found.effect_] * 3


@pytest.mark.parametrize("kind", [PseudoOutcomeRegressor, RLearner, DRLearner])
def test_varying_effects_are_those_of_indicators(kind):
    found = kind.from_formula(f"y ~ treat | {TERMS}", FRAME, **LINEAR)
    expected = kind(**LINEAR).fit(BY_HAND, FRAME["y"], treatment=FRAME["treat"])
    assert_allclose(found.predict(FRAME), expected.predict(BY_HAND), rtol=1e-7)
    assert_allclose(found.predict(pl.from_pandas(FRAME)), found.predict(FRAME))


@pytest.mark.parametrize("kind", [PseudoOutcomeRegressor, RLearner, DRLearner])
def test_kernel_learners_know_which_columns_are_a_category(kind):
    kernels = {"outcome_model": WeightedKernelRidge()}
    kernels["final_model"] = WeightedKernelRidge()
    data, known = FRAME.assign(p=0.4), np.full(N, 0.4)
    found = kind.from_formula(
        f"y ~ treat | {TERMS}", data, propensity="p", **kernels
    )  # fmt: skip
    model = kind(**kernels)
    expected = model.fit(X, data["y"], treatment=data["treat"], propensity=known)
    assert_allclose(found.predict(FRAME), expected.predict(X), rtol=1e-7)


def test_any_learner_takes_what_a_formula_makes():
    options = {
        "weighter": None, "outcome_model": LinearRegression(), "cv": None,
        "se": "m_estimation",
    }  # fmt: skip
    found = WeightedEffect.from_formula(f"y ~ treat | {TERMS}", FRAME, **options)
    expected = WeightedEffect(**options).fit(
        BY_HAND.drop(columns="white"), FRAME["y"], treatment=FRAME["treat"]
    )
    assert found.effect_ == pytest.approx(expected.effect_, rel=SAME)
    assert found.se_ == pytest.approx(expected.se_, rel=SAME)


def test_terms_are_those_of_formulaic():
    found = EntropyBalancer.from_formula(
        "treat ~ np.exp(age) + C(race):age + school + I(age > 0)", FRAME
    )
    by_hand = np.column_stack(
        [np.exp(AGE), *(AGE * (RACE == level) for level in np.unique(RACE)),
         FRAME["school"], AGE > 0]
    )  # fmt: skip
    expected = EntropyBalancer().fit(by_hand, TREAT)
    assert_weights(found, expected)
    assert found.feature_names_in_[1] == "C(race)[black]:age"


def test_cells_of_two_categories_count_as_one_category():
    data = FRAME.assign(sex=np.where(FRAME["village"] % 2, "f", "m"))
    found = IPMBalancer.from_formula("treat ~ race:sex", data)
    cells = pd.DataFrame({"cell": data["race"] + data["sex"]})
    assert_weights(found, IPMBalancer().fit(cells, data["treat"]))


@pytest.mark.parametrize("name", ["exposed", "`exposed`"])
@pytest.mark.parametrize(
    ("words", "control"),
    [
        (np.where(TREAT == 1, "drug", "placebo"), "placebo"),
        (pd.Categorical(TREAT.astype(str), ["1", "0"], ordered=True), "0"),
        (TREAT == 1, None),
        (pd.array(TREAT, dtype="Int64"), None),
    ],
)
def test_the_treatment_is_taken_as_it_is(words, control, name):
    data = FRAME.assign(exposed=words)
    for frame in (data, pl.from_pandas(data)):
        formula = f"y ~ {name} | {TERMS}"
        found = WeightedEffect.from_formula(
            formula, frame, control=control, outcome_model=Ridge()
        )
        expected = WeightedEffect.from_formula(
            f"y ~ treat | {TERMS}", FRAME, outcome_model=Ridge()
        )
        assert found.effect_ == pytest.approx(expected.effect_, rel=SAME)


def test_text_without_a_control_is_refused_as_in_fit():
    data = FRAME.assign(exposed=np.where(TREAT == 1, "drug", "placebo"))
    with pytest.raises(ValueError, match="control must be given"):
        IPMBalancer.from_formula("exposed ~ age", data)


@pytest.mark.parametrize("outcome", ["np.log(np.exp(2 * y))", "I(3 * y - y)"])
def test_outcomes_may_be_made_of_columns(outcome):
    found, plain = (
        WeightedEffect.from_formula(f"{y} ~ treat | age", FRAME, outcome_model=Ridge())
        for y in (outcome, "y")
    )
    assert found.effect_ == pytest.approx(2 * plain.effect_)


# ---- what holds the data -------------------------------------------------------------


def as_arrow(frame):
    return pl.from_pandas(frame).to_pandas(use_pyarrow_extension_array=True)


def as_arrow_category(frame):
    return as_arrow(frame.astype({"race": "category"}))


KINDS = {
    "polars": pl.from_pandas,
    "polars enum": lambda f: pl.from_pandas(f).with_columns(
        pl.col("race").cast(pl.Enum(["white", "other", "black", "none"]))
    ),
    "arrow": as_arrow,
    "arrow category": as_arrow_category,
    "nullable": lambda f: f.convert_dtypes(),
    "python strings": lambda f: f.astype({"race": "string[python]"}),
    "unused level": lambda f: f.assign(
        race=pd.Categorical(f["race"], ["none", *np.unique(RACE)])
    ),
    "same labels": lambda f: f.set_axis(np.zeros(N, dtype=int)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", ["ipm", "entropy", "independence"])
def test_any_frame_gives_the_same_weights(key, kind):
    data = KINDS[kind](FRAME)
    found = weigh(key, data=data)
    assert_weights(found, weigh(key))
    assert len(found.feature_names_in_) == 5
    if hasattr(found, "predict_weights"):
        new = found.predict_weights(data[:9], FRAME["treat"][:9])
        assert_allclose(new, found.weights_[:9], atol=1e-6)


def test_weights_and_groups_by_name_or_value():
    named = WeightedEffect.from_formula(
        "y ~ treat | age", FRAME, sample_weight="weight", groups="village"
    )
    given = WeightedEffect().fit(
        FRAME[["age"]], FRAME["y"], treatment=FRAME["treat"],
        sample_weight=FRAME["weight"], groups=FRAME["village"],
    )  # fmt: skip
    assert named.effect_ == pytest.approx(given.effect_, rel=SAME)
    assert named.se_ == pytest.approx(given.se_, rel=SAME)
    values = FRAME["weight"].to_numpy()
    by_value = weigh("entropy", sample_weight=values)
    assert_weights(by_value, weigh("entropy", sample_weight="weight"))
    assert np.abs(by_value.weights_ - weigh("entropy").weights_).max() > 0.01


@pytest.mark.parametrize("key", ["entropy", "ipm"])
def test_other_values_of_fit_by_name_or_value(key):
    named = weigh(key, base_weights="weight")
    assert_weights(named, weigh(key, base_weights=FRAME["weight"].to_numpy()))
    assert np.abs(named.weights_ - weigh(key).weights_).max() > 1e-4


# ---- new rows ------------------------------------------------------------------------

NEW = FRAME.drop(columns=["y", "dose"])[20:40]


@pytest.mark.parametrize("terms", [TERMS, "age + married", "race + center(age)"])
@pytest.mark.parametrize("build", [pd.DataFrame, pl.from_pandas])
@pytest.mark.parametrize("key", ["ipm", "gaussian", "entropy", "propensity"])
def test_weights_of_new_rows(key, build, terms):
    found = weigh(key, terms)
    treatment, rows = NEW["treat"].to_numpy(), build(NEW)
    weights = found.predict_weights(rows, treatment)
    assert_allclose(weights, found.weights_[20:40], atol=1e-6)
    one = found.predict_weights(rows[:1], treatment[:1])
    assert_allclose(one, weights[:1], atol=1e-6)
    assert np.isfinite(found.score(rows, treatment))
    again = pickle.loads(pickle.dumps(found)).predict_weights(rows, treatment)
    assert_array_equal(again, weights)


def test_other_methods_take_frames_with_the_formulas_columns():
    balancer, model = weigh("gaussian"), weigh("propensity")
    plain = clone(WEIGHTERS["gaussian"]).fit(X, FRAME["treat"])
    assert_allclose(balancer.witness(NEW), plain.witness(NEW[list(X)]), atol=SAME)
    plain = clone(WEIGHTERS["propensity"]).fit(X, FRAME["treat"])
    assert_allclose(
        model.predict_propensity(NEW), plain.predict_propensity(NEW[list(X)]), atol=SAME
    )
    effect = UniformTransformerEffect.from_formula(f"y ~ treat | {TERMS}", FRAME)
    plain = UniformTransformerEffect().fit(X, FRAME["y"], treatment=FRAME["treat"])
    assert_allclose(
        effect.predict_outcome(NEW, 1), plain.predict_outcome(NEW[list(X)], 1)
    )
    model = DRLearner.from_formula(f"y ~ treat | {TERMS}", FRAME, **LINEAR)
    plain = DRLearner(**LINEAR).fit(BY_HAND, FRAME["y"], treatment=FRAME["treat"])
    y, a = FRAME["y"], FRAME["treat"]
    assert model.score(FRAME, y, treatment=a) == pytest.approx(
        plain.score(BY_HAND, y, treatment=a)
    )
    refitted = model.refit_final(final_model=Ridge())
    expected = plain.refit_final(final_model=Ridge())
    assert_allclose(refitted.predict(FRAME), expected.predict(BY_HAND))


def test_targets_and_inner_weighters_know_the_formula():
    target = FRAME[FRAME["age"] > -1]
    found = weigh("gaussian", target=target)
    plain = clone(WEIGHTERS["gaussian"]).set_params(target=target[list(X)])
    assert_weights(found, plain.fit(X, FRAME["treat"]))
    effect = WeightedEffect.from_formula(f"y ~ treat | {TERMS}", FRAME)
    new = effect.weighter_.predict_weights(NEW, NEW["treat"])
    assert_allclose(new, effect.weighter_.weights_[20:40], atol=1e-6)


def test_a_fit_without_a_formula_forgets_it():
    found = weigh("gaussian").fit(X[["age"]], FRAME["treat"])
    with pytest.raises(ValueError, match="feature names should match"):
        found.predict_weights(NEW[["race"]], NEW["treat"])


def test_new_rows_with_other_levels():
    data = FRAME.assign(race=pd.Categorical(RACE, [*np.unique(RACE), "none"]))
    found = weigh("ipm", data=data)
    plain = clone(WEIGHTERS["ipm"]).fit(data[list(X)], data["treat"])
    listed = NEW.assign(race=pd.Categorical(["none"] * 20, data["race"].cat.categories))
    assert_allclose(
        found.predict_weights(listed, NEW["treat"]),
        plain.predict_weights(listed[list(X)], NEW["treat"]),
        atol=SAME,
    )
    with pytest.raises(ValueError, match=r"not seen.*'green'.*lists every level"):
        found.predict_weights(NEW.assign(race="green"), NEW["treat"])
    with pytest.raises(ValueError, match="pass a frame"):
        found.predict_weights(np.ones((2, 5)), [0, 1])
    with pytest.raises(ValueError, match=r"'married' \(first in row 0\)"):
        found.predict_weights(NEW.assign(married=None), NEW["treat"])


# ---- errors --------------------------------------------------------------------------


def test_parts_are_split_outside_of_brackets_and_backticks():
    assert split_outside("a | f(x | z) | `b | c`", "|") == [
        "a", "f(x | z)", "`b | c`"
    ]  # fmt: skip
    assert Roles.parse("f(a) ~ t | x + I(z | w)", with_outcome=True) == Roles(
        "f(a)", "t", "x + I(z | w)"
    )


WRONG = {
    "treat + age": "it has 0 '~' instead of one. Write 'treatment ~ covariates'",
    "treat ~ age ~ race": "it has 2 '~' instead of one",
    "treat ~ age | race": "a weighter sees no outcome",
    "~ age": "it names no treatment",
    "treat ~": "it names no covariates",
    "treat ~ 1": "hold no covariate",
    "treat ~ .": "write out the columns",
    "treat ~ age + (": r"the terms 'age \+ \(' of the formula: Could not",
    "treat ~ agee": "`agee` is not present in the data. Nearest: 'age'",
    "tret ~ age": "treatment 'tret' is not a column of the data. Nearest: 'treat'",
    "I(treat) ~ age": r"treatment 'I\(treat\)' is not a column",
    "treat ~ I(age >)": r"the terms 'I\(age >\)' of the formula",
    "treat ~ nope(age)": "name 'nope' is not defined",
    "treat ~ C(race, levels=['black'])": "outside of the nominated levels",
    "treat ~ hole + race": r"columns: 'hole' \(first in row 3\). Drop those rows",
    "treat ~ age + np.exp(treat)": "has 'treat' among its covariates",
    "hole ~ age": r"'hole' \(first in row 3\)",
}
WRONG_EFFECTS = {
    "y ~ treat + age": "it has 0 bars instead of one. Write 'outcome ~ treatment |",
    "y ~ treat | age | race": "it has 2 bars instead of one",
    "~ treat | age": "it names no outcome",
    "y ~ | age": "it names no treatment",
    "y ~ treat |": "it names no covariates",
    "outcome ~ treat | age": "`outcome` is not present",
    "y + age ~ treat | race": "the outcome 'y \\+ age' gives 2 columns",
    "y ~ treat | age + y": "has 'y' among its covariates",
    "race ~ treat | age": "y must be numeric",
    "hole ~ treat | age": r"'hole' \(first in row 3\)",
}


def with_hole(value, dtype):
    column = pd.Series(AGE, index=FRAME.index).astype(dtype)
    column.iloc[3] = value
    return FRAME.assign(hole=column)


@pytest.mark.parametrize("formula", [*WRONG, *WRONG_EFFECTS])
def test_wrong_formulas_say_what_to_write(formula):
    data = with_hole(np.nan, float)
    kind = EntropyBalancer if formula in WRONG else WeightedEffect
    with pytest.raises(ValueError, match={**WRONG, **WRONG_EFFECTS}[formula]):
        kind.from_formula(formula, data)


@pytest.mark.parametrize(
    ("value", "dtype", "build"),
    [
        (np.nan, float, pd.DataFrame),
        (pd.NA, "Float64", pd.DataFrame),
        (None, object, pd.DataFrame),
        (pd.NA, "double[pyarrow]", pd.DataFrame),
        (pd.NA, "Float64", pl.from_pandas),
    ],
)
def test_missing_values_of_any_kind_are_refused_by_name(value, dtype, build):
    data = build(with_hole(value, dtype))
    with pytest.raises(ValueError, match=r"'hole' \(first in row 3\)"):
        IPMBalancer.from_formula("treat ~ age + hole", data)


def test_what_belongs_to_the_rows_is_checked():
    with pytest.raises(ValueError, match="sample_weight 'wait' is not a column"):
        weigh("entropy", sample_weight="wait")
    with pytest.raises(ValueError, match="EntropyBalancer has no use for groups"):
        weigh("entropy", groups="village")
    with pytest.raises(ValueError, match="same index labels in another order"):
        weigh("entropy", sample_weight=FRAME["weight"].sort_index())
    with pytest.raises(TypeError, match="moment"):
        EntropyBalancer.from_formula("treat ~ age", FRAME, moment=2)
    with pytest.raises(ValueError, match="data must be a data frame"):
        EntropyBalancer.from_formula("treat ~ age", FRAME.to_numpy())


def test_without_formulaic_the_error_says_what_to_install(monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == "formulaic"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "formulaic", None)
    with pytest.raises(ImportError, match=r"pip install causalweights\[formula\]"):
        weigh("entropy")
