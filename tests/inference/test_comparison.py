"""Tables of several moment models; those of effects are in test_result.py."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from causalweights import GEL, GMM, EffectResult, LinearIV, compare
from causalweights.datasets import load_card
from causalweights.inference import ComparisonTable
from causalweights.moments import MomentResult


@pytest.fixture(scope="module")
def fits():
    card = load_card(instruments=["nearc2", "nearc4"])
    short = [*card.endogenous, "exper"]
    return {
        "iv": LinearIV(fit_intercept=True).fit(
            card.X, card.y, instruments=card.instruments
        ),
        "gmm": GMM(fit_intercept=True).fit(
            card.X[short], card.y,
            instruments=card.instruments[["nearc2", "nearc4", "exper"]],
        ),
        "gel": GEL(fit_intercept=True).fit(
            card.X, card.y, instruments=card.instruments
        ),
    }  # fmt: skip


def test_models_stand_side_by_side(fits):
    table = compare(*fits.values(), names=list(fits))
    assert isinstance(table, ComparisonTable)
    frame = table.to_frame()
    assert list(frame.columns) == list(fits)
    for name, fit in fits.items():
        for part in ("estimate", "se"):
            found = frame.xs(part, level="value")[name].dropna()
            assert_array_equal(found[fit.names_], fit.to_frame()[part])
        foot = frame.xs("", level=1)[name]
        assert foot["J"] == fit.j_test().statistic
        assert foot["J p-value"] == fit.j_test().pvalue
        assert foot["No. observations"] == 3010
    assert np.isnan(frame.loc[("expersq", "estimate"), "gmm"])
    sizes = frame.loc[("Effective sample size", "")]
    assert_array_equal(sizes.isna(), [True, True, False])
    assert sizes["gel"] == fits["gel"].ess_
    # The first model's order, then what the others add.
    assert table.parameters == fits["iv"].names_


def test_printed_tables_hold_the_numbers(fits):
    table = compare(fits["gmm"], fits["gel"])
    names = ["GMM, two-step", "Generalised empirical likelihood"]
    assert table.names == names
    educ, se = fits["gmm"].to_frame().loc["educ", ["estimate", "se"]]
    lines = str(table).splitlines()
    row = next(i for i, line in enumerate(lines) if line.startswith("educ"))
    assert f"{educ:.4f}" in lines[row]
    assert f"({se:.5f})" in lines[row + 1]
    assert "3010" in str(table)
    assert "nan" not in str(table)
    assert r"\begin{tabular}{lcc}" in table.to_latex()
    page = table._repr_html_()
    assert all(f"<th>{name}</th>" in page for name in names)
    assert f"{educ:.4f}" in page


def test_results_and_names():
    result = MomentResult(np.array([2.0]), np.eye(1) / 4, ["a"], 10.0, None, {}, "Mine")
    table = compare(result, result)
    assert table.names == ["Mine", "Mine (2)"]
    assert list(table.foot) == ["No. observations"]
    assert_array_equal(table.to_frame().loc["a"], [[2.0, 2.0], [0.5, 0.5]])
    assert repr(table) == "ComparisonTable(Mine, Mine (2))"
    effect = EffectResult(2.0, 0.5, np.array([[0.25]]), names=["1 vs 0"])
    with pytest.raises(TypeError, match="not both in one table"):
        compare(result, effect)
    with pytest.raises(ValueError, match="1 names for 2 results"):
        compare(result, result, names=["one"])
