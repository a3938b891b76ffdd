"""The vignette of effect regressions: quick mode runs, committed results hold."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "vignettes"


@pytest.fixture(scope="module")
def quick(run_quick):
    """The vignette's names after a quick run."""
    return run_quick("r_learner_ivw")


def test_quick_run(quick):
    table = quick["table"]
    assert set(table["setting"]) == {"E", "F"} and (table["reps"] == 2).all()
    assert table["mean"].between(1e-7, 1).all()
    published = table.set_index(["setting", "estimator"])["published_mean"]
    assert published["E", "IVW-DR"] == 0.090
    low, high = quick["model"].average_effect().conf_int()[0]
    assert low < 50 < high  # a CD4 count of fifty more, by the whole trial
    assert len(quick["pictures"]) == 3


def test_committed_results_are_of_the_full_run_and_say_what_the_text_says():
    table = pd.read_csv(FOLDER / "results" / "r_learner_ivw.csv")
    counts = table.groupby(["panel", "n"])["reps"].agg(["min", "max", "size"])
    assert (counts.loc["default", ["min", "max"]] == 50).all(axis=None)
    assert (counts.loc["tuned", ["min", "max"]] == 12).all(axis=None)
    assert list(counts["size"]) == [24, 24, 24, 42]
    raw = pd.read_csv(ROOT / "benchmarks" / "results" / "effect_errors.csv")
    again = raw.groupby(["panel", "n", "setting", "estimator"])["mse"].mean()
    rows = table.set_index(["panel", "n", "setting", "estimator"])
    assert np.allclose(rows["mean"], again.loc[rows.index], rtol=2e-3)
    bars = pd.read_csv(FOLDER / "results" / "r_learner_ivw_bars.csv")
    assert len(bars) == 33
    missed = bars[bars["verdict"] == "missed"]
    # The vignette says so, and why.
    assert missed[["bar", "setting"]].to_numpy().tolist() == [
        ["IVW-DR - DR: mean difference", "F"]
    ]
    default = bars[bars["panel"] == "default"]
    assert (default["verdict"] == "holds").all()


@pytest.mark.slow
def test_tuned_boosters_in_one_small_sample(quick):
    (rows,) = quick["effect_errors"].simulate("tuned", "F", 200, 1)
    errors = rows.set_index("estimator")["mse"]
    assert len(errors) == 9 and errors.between(0, 5).all()
    assert errors["nuisance/outcome"] > 0.8  # the noise, which nothing predicts
