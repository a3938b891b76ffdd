"""Coverage of moment estimators, size of J, and errors beside efficiency bounds.

docs/coverage.md holds longer runs of these designs of benchmarks/.
"""

import importlib
from pathlib import Path

import numpy as np
import pytest


@pytest.mark.slow
def test_overidentified_intervals_cover_and_j_has_its_size(simulate):
    table = simulate.summarise(simulate.run("iv", 300, 1))
    error = 3 * table["coverage_se"]
    assert (table["coverage"] >= 0.93 - error).all(), table
    assert (table["coverage"] <= 0.97 + error).all(), table
    slopes = table[table.index.str.startswith("slope/")]
    assert (slopes["bias"].abs() < 0.1 * slopes["mc_sd"] + 3 * slopes["bias_se"]).all()


@pytest.mark.slow
def test_anderson_and_rubin_cover_where_wald_does_not(simulate):
    names = ["value/2SLS/sandwich", "slope/2SLS/sandwich", "slope/GMM/sandwich"]
    table = simulate.summarise(simulate.run("weak", 300, 2, estimators=names))
    value, *wald = table["coverage"]
    assert value == pytest.approx(0.95, abs=0.02 + 3 * table["coverage_se"].iloc[0])
    assert max(wald) < 0.6


@pytest.mark.slow
def test_conditional_restrictions_cover(simulate):
    """Standard errors do not count the choice of the weights from the same rows."""
    table = simulate.summarise(simulate.run("powers", 200, 1))
    error = 3 * table["coverage_se"]
    assert (table["coverage"] >= 0.90 - error).all(), table
    assert (table["coverage"] <= 0.98 + error).all(), table


@pytest.fixture(scope="module")
def errors():
    """Return benchmarks/moment_errors.py as a module."""
    folder = Path(__file__).resolve().parents[2] / "benchmarks"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        return importlib.import_module("moment_errors")


@pytest.mark.slow
def test_errors_are_near_the_efficiency_bound(errors):
    rows = [errors.replicate("powers", 256, rep, ["KMM"])[0] for rep in range(100)]
    ratio = 256 * np.array([row["error"] for row in rows]) / 0.3
    assert ratio.mean() - 3 * ratio.std() / 10 < 2.0
