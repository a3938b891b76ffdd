"""The replication vignette: quick mode agrees with the package, results hold."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from causalweights import WeightedEffect
from causalweights.datasets import make_kang_schafer

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "vignettes" / "results" / "ipm_balancing.csv"
KEYS = ["design", "estimand", "n", "method"]


@pytest.fixture(scope="module")
def quick():
    """The vignette's names after a quick run, and that it wrote nothing."""
    before = RESULTS.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLBACKEND", "Agg")
        patch.setattr(sys, "argv", ["ipm_balancing.py", "--quick"])
        names = runpy.run_path(str(ROOT / "vignettes" / "ipm_balancing.py"))
    assert RESULTS.read_bytes() == before
    return names


def test_every_method_is_run_and_reported(quick):
    rows = quick["rows"]
    counts = rows.groupby("method")["rep"].nunique()
    assert set(counts.index) == set(quick["METHODS"])
    assert (
        counts == [1 if m in quick["ADVERSARIAL"] else 2 for m in counts.index]
    ).all()
    assert np.isfinite(rows[["plain", "ols", "krr", "se"]]).all(axis=None)
    table = quick["table"]
    by_hand = rows[(rows["design"] == "Z") & (rows["method"] == "energy, exact")]
    assert table.loc[("Z", "att", 200, "energy, exact"), "plain_rmse"] == pytest.approx(
        np.sqrt(np.mean(by_hand["plain"] ** 2))
    )
    exact = rows.loc[rows["method"] == "MMD, exact, ridge 1e-4", "gap"]
    assert (exact < 1e-8).all()
    assert (rows.loc[rows["method"] == "MMD, Adam", "gap"] > 1e-4).all()


@pytest.mark.parametrize("method", ["energy, exact", "logistic propensity"])
def test_a_row_is_what_the_estimator_gives(quick, method):
    data = make_kang_schafer(
        200, design="Z", random_state=np.random.default_rng([1, 0])
    )
    weighter = quick["METHODS"][method](estimand="att")
    rows = quick["rows"].set_index(["design", "method", "rep"])
    row = rows.loc[("Z", method, 0)]
    for outcome, column in (("auto", "krr"), (None, "plain")):
        fit = WeightedEffect(weighter, outcome_model=outcome)
        fit.fit(data.X, data.y, treatment=data.treatment)
        assert row[column] == pytest.approx(fit.effect_, rel=1e-8)
        assert row["se"] == pytest.approx(fit.se_, rel=1e-8)


def test_committed_results_are_of_the_full_run_and_say_what_the_text_says():
    table = pd.read_csv(RESULTS).set_index(KEYS)
    assert len(table) == 6 * 16 + 5 * 13  # six designs at n = 200, five at 1000
    adversarial = {"SIPM, Adam", "SIPM log-linear, Adam", "W1, Adam"}
    for (_, _, n, method), reps in table["reps"].items():
        few = method in adversarial or (method, n) == ("SIPM, exact", 1000)
        assert reps == (100 if few else 1000)
    row = table.loc[("Z", "att", 200)]
    assert row.loc["SIPM, Adam", "reps"] == 100
    # Exact cutting planes beat the authors' training of sigmoids.
    assert row.loc["SIPM, exact", "plain_rmse"] < row.loc["SIPM, Adam", "plain_rmse"]
    # At n = 1000 a thousand steps leave a bias that the optimum does not have.
    row = table.loc[("Z", "att", 1000)]
    bias = row["plain_bias"].abs()
    assert bias["MMD, exact, ridge 1e-5"] < 0.6 * bias["MMD, Adam"]
