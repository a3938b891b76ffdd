"""Results in the tables of other packages: great_tables and maketables."""

import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm

from causalweights import EffectResult, EntropyBalancer, WeightedEffect
from causalweights.cate import InfluenceResult
from causalweights.moments import MomentResult

EFFECT, SE = np.array([2.0, -1.0]), np.array([0.5, 1.0])


def result_of(kind=EffectResult, **options):
    return kind(
        EFFECT, SE, np.diag(SE**2), names=["b vs a", "c vs a"], estimand="att",
        n_samples=120, **options,
    )  # fmt: skip


@pytest.mark.parametrize("kind", [EffectResult, InfluenceResult])
def test_the_coefficients_are_those_of_the_result(kind):
    table = result_of(kind).__maketables_coef_table__
    assert isinstance(table, pd.DataFrame)
    assert list(table.index) == ["b vs a", "c vs a"]
    assert list(table.columns) == ["b", "se", "t", "p", "ci95l", "ci95u"]
    assert_allclose(table["b"], EFFECT)
    assert_allclose(table["se"], SE)
    assert_allclose(table["t"], EFFECT / SE)
    assert_allclose(table["p"], 2 * norm.sf(np.abs(EFFECT / SE)))
    assert_allclose(table["ci95u"], EFFECT + 1.959964 * SE, rtol=1e-6)
    assert_allclose(table["ci95l"], EFFECT - 1.959964 * SE, rtol=1e-6)


def test_the_foot_tells_rows_and_models():
    details = {"Weights": "IPMBalancer (energy)", "Std. error": "influence"}
    result = result_of(details=details)
    assert result.__maketables_depvar__ == "ATT"
    assert result.__maketables_default_stat_keys__ == ["N", "Weights"]
    assert result.__maketables_stat__("N") == 120
    assert result.__maketables_stat__("se_type") == "influence"
    assert result.__maketables_stat__("Weights") == "IPMBalancer (energy)"
    assert result.__maketables_stat__("r2") is None


def test_a_fitted_effect_has_all_of_it():
    rng = np.random.default_rng(0)
    X, a = rng.normal(size=(80, 1)), np.arange(80) % 2
    effect = WeightedEffect(EntropyBalancer(), outcome_model=None).fit(
        X, X[:, 0] + a, treatment=a
    )
    result = effect.result_
    keys = result.__maketables_default_stat_keys__
    assert keys == ["N", "Weights", "Outcome model"]
    told = [result.__maketables_stat__(key) for key in keys]
    assert told == [80, "EntropyBalancer", "none"]
    assert result.__maketables_coef_table__["b"].item() == effect.effect_


def test_great_table_has_the_numbers(monkeypatch):
    html = result_of().to_great_table(0.9).as_raw_html()
    assert "ATT, 90% intervals" in html and "b vs a" in html
    # 2 - 1.645 / 2, to four digits.
    for number in ("2.000", "0.5000", "1.178", "2.822"):
        assert f">{number}<" in html, number
    moments = MomentResult(EFFECT, np.diag(SE**2), ["educ", "age"], 9.0, None, {})
    assert "educ" in moments.to_great_table().as_raw_html()
    monkeypatch.setitem(sys.modules, "great_tables", None)
    with pytest.raises(ImportError, match=r"causalweights\[tables\]"):
        result_of().to_great_table()
