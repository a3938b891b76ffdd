"""The U-statistic's vignette: quick mode shows its claim, committed results hold."""

from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "vignettes"


@pytest.fixture(scope="module")
def quick(run_quick):
    """The vignette's names after a quick run."""
    return run_quick("uniform_transformer")


def test_the_best_weights_for_the_effect_undersmooth(quick):
    best_effect, best_weights = quick["GRID"][quick["best"]]
    assert best_effect < best_weights / 4


def test_every_design_is_beside_its_reference(quick):
    results = quick["results"]
    compared = results["reference_bias"].notna().groupby(results["design"]).sum()
    assert (compared >= 7).all()
    assert set(compared.index) <= {design for design, _ in quick["DESIGNS"]}
    assert quick["nsw"]["se"].gt(0).all()


def test_committed_results_are_of_the_full_run_and_say_what_the_text_says():
    table = pd.read_csv(FOLDER / "results" / "uniform_transformer.csv")
    assert (table["reps"] == 1000).all() and len(table.groupby(["design", "n"])) == 14
    rows = table.set_index(["design", "n", "estimator"])
    rough = rows.loc[("rough_03", 2000)]
    sd = rough.loc["att/h=2/n/raw", "mc_sd"]
    assert abs(rough.loc["att/h=2/n/raw", "bias"]) < 0.3 * sd
    assert rough.loc["att/h=density-optimal/raw", "bias"] > sd
    # A map that leaves dependence in, normalised over all targets, is inconsistent.
    small, large = (
        rows.loc[("dependent_2", n, "att/marginal global/raw"), "bias"]
        for n in (500, 2000)
    )
    assert large < small < -0.5
    nsw = pd.read_csv(FOLDER / "results" / "uniform_transformer_nsw.csv", index_col=0)
    assert nsw.loc["default: augmented", "effect"] > 0
