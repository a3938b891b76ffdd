"""The comparison of every estimator: committed rows are those of direct fits."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from causalweights import (
    EntropyBalancer,
    IPMBalancer,
    PropensityWeighter,
    WeightedEffect,
    datasets,
)

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "vignettes" / "results"
DATA = ["NSW, CPS-1", "IHDP", "NHEFS", "birth weight", "401(k)"]
# The files hold six digits.
DIGITS = 1e-5


def read(path):
    return pd.read_csv(path).set_index(["data", "group", "method"])


@pytest.fixture(scope="module")
def committed():
    return read(RESULTS / "comparison.csv")


def test_rows_are_all_there(committed):
    assert set(committed.index.get_level_values("data")) == set(DATA)
    assert committed.groupby("data").size().eq(13).all()
    assert np.isfinite(committed[["effect", "se", "lower", "upper"]]).all(axis=None)
    assert (committed["lower"] < committed["effect"]).all()
    assert (committed["effect"] < committed["upper"]).all()
    alone = committed.xs("weights alone", level="group")
    assert alone[["smd", "ess"]].notna().all(axis=None)


@pytest.mark.parametrize(
    ("group", "method", "effect"),
    [
        ("weights alone", "entropy", WeightedEffect(
            EntropyBalancer(), outcome_model=None, se="m_estimation")),
        ("weights alone", "logistic propensity", WeightedEffect(
            PropensityWeighter(), outcome_model=None, se="m_estimation")),
        ("augmented", "energy", WeightedEffect(IPMBalancer())),
    ],
)  # fmt: skip
def test_rows_are_those_of_direct_fits(committed, group, method, effect):
    data = datasets.load_nhefs()
    effect.fit(data.X, data.y, treatment=data.treatment)
    row = committed.loc[("NHEFS", group, method)]
    assert_allclose([row["effect"], row["se"]], [effect.effect_, effect.se_], DIGITS)


def test_text_says_what_the_rows_say(committed):
    nsw, weight = committed.loc["NSW, CPS-1"], committed.loc["birth weight"]
    benchmark = datasets.load_nsw_cps().benchmark
    assert (nsw["effect"] > 0).all()
    assert (np.abs(nsw["effect"] - benchmark.value) < 2 * nsw["se"]).all()
    assert set(nsw["effect"].nsmallest(2).index.get_level_values("method")) == {
        "least squares",
        "uniform U-statistic",
    }
    smokers = weight["ess"].drop(columns="ess").dropna()
    assert smokers.idxmin() == weight["se"].idxmax() == ("augmented", "Gaussian")
    pension = committed.loc["401(k)"]
    linear = [("regression", "least squares"), ("weights alone", "entropy"),
              ("weights alone", "least variance")]  # fmt: skip
    assert (pension.loc[linear, "effect"] < 5100).all()
    flexible = pension.loc["augmented"].drop(index="logistic propensity")
    assert flexible["effect"].between(7800, 8400).all()
    assert pension["se"].idxmax() == ("weights alone", "logistic propensity")
    repeated = pd.read_csv(
        RESULTS / "comparison_ihdp.csv", index_col=["group", "method"]
    )
    assert (repeated.loc["augmented", "rmse"] < 0.155).all()
    assert repeated["rmse"].idxmax() == ("weights alone", "matching")


@pytest.mark.slow
def test_quick_run(tmp_path):
    script = shutil.copy(ROOT / "vignettes" / "comparison.py", tmp_path)
    subprocess.run(
        [sys.executable, str(script), "--quick"], capture_output=True, check=True,
        env={**os.environ, "MPLBACKEND": "Agg"},
    )  # fmt: skip
    table = read(tmp_path / "figures" / "comparison_quick.csv")
    # With 200 rows an arm nobody can have equal means on births, and says so.
    refused = table["said"].fillna("").str.startswith("refused")
    assert set(table[refused].index.get_level_values("data")) == {"birth weight"}
    assert table["effect"].isna().equals(refused)
