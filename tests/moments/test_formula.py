"""Formulas of instrumental variables."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from linearmodels.datasets import mroz
from linearmodels.iv import IVGMM
from numpy.testing import assert_allclose

from causalweights import GMM
from causalweights.moments._formula import IVFormula, formula_design


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 5)), columns=["y", "x", "e", "z1", "z2"])
    frame["region"] = np.tile(["north", "south", "west"], 20)
    frame["weight"] = rng.integers(1, 4, size=60).astype(float)
    return frame


@pytest.mark.parametrize(
    ("formula", "regressors", "instruments"),
    [
        ("y ~ 1 + x + [e ~ z1 + z2]", "1 + x + e", "1 + x + z1 + z2"),
        ("y ~ [e ~ z1]", "e", "z1"),
        ("y~[e~z1]+1+x", "1+x + e", "1+x + z1"),
        ("y ~ 1 + [e ~ z1] + x", "1+ x + e", "1+ x + z1"),
        ("y ~ 1 + x", "1 + x", None),
    ],
)
def test_parts_of_a_formula(formula, regressors, instruments):
    parts = IVFormula.parse(formula)
    assert parts.outcome == "y"
    assert (parts.regressors, parts.all_instruments) == (regressors, instruments)


@pytest.mark.parametrize(
    "formula",
    ["y + x", "y ~ x ~ z", "y ~ 1 + [e ~ z1] + [x ~ z2]", "y ~ [e]", "y ~ x*[e ~ z1]"],
)
def test_other_formulas_are_refused(formula):
    with pytest.raises(ValueError, match=r"no formula of|must be added"):
        IVFormula.parse(formula)


def test_mroz_is_that_of_linearmodels():
    data = mroz.load().dropna()
    formula = "lwage ~ 1 + exper + I(exper**2) + [educ ~ fatheduc + motheduc]"
    ours = GMM.from_formula(formula, data)
    theirs = IVGMM.from_formula(formula, data).fit()
    assert ours.names_ == ["Intercept", "exper", "I(exper ** 2)", "educ"]
    assert_allclose(ours.params_, theirs.params, rtol=1e-7)
    assert_allclose(ours.se_, theirs.std_errors, rtol=1e-7)


def test_terms_are_coded_together(frame):
    design = formula_design("np.exp(y) ~ 1 + C(region) + [e ~ z1 * z2]", frame)
    assert_allclose(design.y, np.exp(frame["y"]))
    levels = ["C(region)[T.south]", "C(region)[T.west]"]
    assert list(design.X.columns) == ["Intercept", *levels, "e"]
    assert list(design.Z.columns) == ["Intercept", *levels, "z1", "z2", "z1:z2"]
    without = formula_design("y ~ C(region)", frame)
    assert without.X.shape == (60, 3) and without.Z is None


def test_a_constant_is_in_it_where_it_is_written(frame):
    assert GMM.from_formula("y ~ x", frame).names_ == ["x"]
    assert GMM.from_formula("y ~ 1 + x", frame).names_ == ["Intercept", "x"]
    added = GMM.from_formula("y ~ x", frame, fit_intercept=True)
    assert added.names_ == ["x", "Intercept"]


def test_weights_and_groups_by_name(frame):
    named = GMM.from_formula(
        "y ~ 1 + [e ~ z1 + z2]", frame, sample_weight="weight", groups="region", steps=1
    )
    given = GMM.from_formula(
        "y ~ 1 + [e ~ z1 + z2]", frame, sample_weight=frame["weight"],
        groups=frame["region"], steps=1,
    )  # fmt: skip
    assert_allclose(named.params_, given.params_)
    assert_allclose(named.se_, given.se_)
    plain = GMM.from_formula("y ~ 1 + [e ~ z1 + z2]", frame, steps=1)
    assert np.all(named.params_ != plain.params_)


def test_polars_frames(frame):
    formula = "y ~ 1 + x + [e ~ z1 + z2]"
    ours = GMM.from_formula(formula, pl.from_pandas(frame))
    assert_allclose(ours.params_, GMM.from_formula(formula, frame).params_)


def test_predictions_for_frames_of_either_kind(frame):
    found = GMM.from_formula("y ~ 1 + C(region) + I(x**2) + [e ~ z1 + z2]", frame)
    design = formula_design("y ~ 1 + C(region) + I(x**2) + [e ~ z1 + z2]", frame)
    new = frame.iloc[:5].drop(columns=["y", "z1", "z2"])  # one region is missing
    expected = design.X.iloc[:5] @ found.params_
    assert_allclose(found.predict(design.X.iloc[:5]), expected)
    assert_allclose(found.predict(new), expected)
    assert_allclose(found.predict(new.iloc[:1]), expected[:1])
    found.fit(frame[["x"]], frame["y"])  # no formula any more
    with pytest.raises(ValueError, match="feature names should match"):
        found.predict(new[["e"]])


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("y ~ 1 + wage", "`wage` is not present"),
        ("y ~ 1 + hole", "hole"),
        ("y ~ 1 + (", "the terms"),
        ("y + x ~ 1", "gives 2 columns"),
    ],
)
def test_bad_terms_are_named(formula, message, frame):
    with pytest.raises(ValueError, match=message):
        formula_design(formula, frame.assign(hole=frame["x"].where(frame["x"] > 0)))


def test_data_must_be_a_frame():
    with pytest.raises(ValueError, match="data must be a data frame"):
        GMM.from_formula("y ~ x", np.ones((3, 2)))
