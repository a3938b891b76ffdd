"""The vignette of double weighting: quick mode runs, committed results hold."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "vignettes"
# Three digits were written down.
WRITTEN = 0.001


@pytest.fixture(scope="module")
def quick(run_quick):
    """The vignette's names after a quick run."""
    return run_quick("double_weighting")


@pytest.fixture(scope="module")
def committed():
    return pd.read_csv(ROOT / "benchmarks" / "results" / "shift_errors.csv")


def results(name):
    return pd.read_csv(FOLDER / "results" / f"double_weighting{name}.csv")


def assert_same(rows, committed):
    """A row of the same draw is the same, but for a label or two."""
    keys = ["design", "rep", "method", "loss"]
    both = rows.merge(committed, on=keys, suffixes=("", "_committed"))
    assert len(both) == len(rows)
    size = {"A": 200, "B": 200}
    labels = np.array([size.get(d, 40) for d in both["design"]])
    moved = np.abs(both["error"] - both["error_committed"]) * labels
    assert np.all(moved <= 2.5)
    # Without a ridge the weights, and all that follows, are those of rounding.
    sure = both[~both["method"].str.contains("paper")]
    for name in ("risk", "minimax_risk", "bound", "D", "ess"):
        np.testing.assert_allclose(sure[name], sure[f"{name}_committed"], rtol=2e-3)


def test_quick_run(quick, committed):
    rows = pd.concat([quick["simulated"], quick["split"]])
    assert set(rows["design"]) == {"A", "wine, column"}
    assert_same(rows, committed)
    assert quick["test"].p_value == 0.001
    model = quick["model"]
    assert model.D_ in model.D_path_.D
    assert model.lower_risk_ <= model.minimax_risk_ <= model.confidence_bound_
    assert [len(figure.axes) for figure in (quick["weights"], quick["path"])] == [2, 3]
    assert list(quick["by"].index) == list(quick["WEIGHTERS"])


def test_reference_runs_come_out_with_their_tolerances(quick):
    # Where the choice of the smallest tolerances matters most.
    again = quick["reference"]
    for loss in ("0-1", "log"):
        errors = [again.with_vertex("B", "D=1, s=0", loss, rep) for rep in range(10)]
        expected, reps = again.ERRORS["B", "D=1, s=0", loss]
        assert reps == len(errors)
        assert abs(np.mean(errors) - expected) <= WRITTEN


def test_committed_rows_hold_what_the_reference_runs_say(quick, committed):
    found = quick["reference"].compare(committed)
    assert len(found) == len(quick["reference"].ERRORS) == 31
    regressions = found["method"].str.startswith("logistic")
    apart = np.abs(found["ours"] - found["reference"])
    assert regressions.sum() == 5 and np.all(apart[regressions] <= WRITTEN)
    # Without a ridge the weights are not unique, and the rules on them near.
    paper = found["method"].str.endswith("paper")
    assert paper.sum() == 2 and np.all(apart[paper] <= found["se"][paper])
    # The centre of the smallest tolerances is no worse than a vertex of them.
    assert np.all(found["ours"] <= found["reference"] + 3 * found["se"])
    table = results("_reference").set_index(["design", "method", "loss"])
    again = found.set_index(["design", "method", "loss"])
    np.testing.assert_allclose(table["ours"], again["ours"].loc[table.index], rtol=2e-3)
    vertex = table["vertex"].dropna()
    assert len(vertex) == 24
    difference = np.abs(vertex - table.loc[vertex.index, "reference"])
    assert np.all(difference <= WRITTEN + 1e-9)


def test_committed_results_are_of_the_full_run(quick, committed):
    table = results("")
    simulated = table["design"].isin(["A", "B"])
    assert (table.loc[simulated, "reps"] == 100).all()
    assert (table.loc[~simulated, "reps"] == 20).all()
    assert set(table["design"]) == {"A", "B", *quick["DATA_SETS"]}
    again = quick["shift_errors"].summary(committed)
    keys = ["design", "method", "loss"]
    both = table.merge(again, on=keys, suffixes=("", "_again"))
    assert len(both) == len(table) == len(again)
    for name in ("error", "risk", "minimax_risk", "bound_held"):
        np.testing.assert_allclose(both[name], both[f"{name}_again"], rtol=2e-3)


@pytest.mark.slow
def test_a_replicate_of_every_design_is_the_committed_one(quick, committed):
    errors = quick["shift_errors"]
    tasks = [(design, 3) for design in ("A", "B", *quick["DATA_SETS"])]
    assert_same(pd.concat(errors.simulate(tasks)), committed)
