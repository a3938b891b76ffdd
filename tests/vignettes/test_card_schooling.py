"""The vignette of Card and AJR: oracles, published figures, committed results."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from linearmodels.iv import IV2SLS, IVGMM, IVGMMCUE, IVLIML

FOLDER = Path(__file__).resolve().parents[2] / "vignettes"
# Of linearmodels on the same file, or by the same formula on paper.
ORACLES = {
    ("nearc4", "2SLS"): 0.1315038362,
    ("nearc4, nearc2", "2SLS"): 0.15705937,
    ("nearc4, nearc2", "LIML"): 0.1640278,
    ("nearc4, nearc2", "GMM, two-step"): 0.1552102,
    ("nearc4, nearc2", "GMM, CUE"): 0.1623756,
}


@pytest.fixture(scope="module")
def quick(run_quick):
    """The vignette's names after a quick run."""
    return run_quick("card_schooling")


def results(name):
    return pd.read_csv(FOLDER / "results" / f"card_schooling{name}.csv")


def test_oracles_and_published_figures(quick):
    table = quick["card_table"].set_index(["instruments", "estimator"])
    for key, value in ORACLES.items():
        assert abs(table.loc[key, "estimate"] - value) < 6e-8
    assert abs(table.loc[("nearc4", "2SLS"), "estimate"] - 0.132) < 6e-4  # as printed
    # One instrument: all weights solve the same equations.
    assert len(quick["exact"]) == 8 and np.ptp(quick["exact"]) < 1e-9
    # AJR's printed estimates are of an earlier file; their signs and sizes hold.
    ajr = quick["ajr_table"].dropna(subset=["beside"])
    assert len(ajr) == 7
    assert np.all(np.abs(ajr["estimate"] - ajr["beside"]) < 0.3 * ajr["beside_se"])


def test_linearmodels_says_the_same(quick):
    card, exogenous = quick["card"], quick["exogenous"].assign(const=1.0)
    both = quick["both"]
    for cls, name in ((IV2SLS, "2SLS"), (IVLIML, "LIML"), (IVGMM, "GMM, two-step")):
        theirs = cls(
            card["lwage"], exogenous, card[["educ"]], card[["nearc4", "nearc2"]]
        ).fit()
        ours = both[name]
        k = ours.names_.index("educ")
        assert abs(ours.params_[k] - theirs.params["educ"]) < 1e-9
        assert abs(ours.se_[k] - theirs.std_errors["educ"]) < 1e-9
    theirs = IVGMMCUE(
        card["lwage"], exogenous, card[["educ"]], card[["nearc4", "nearc2"]]
    ).fit()
    # The text: it stops before the minimum.
    shown = quick["LINEARMODELS"]["GMM, CUE"][0]
    assert abs(theirs.params["educ"] - shown) < 1e-6
    j = both["GMM, CUE"].j_test().statistic
    assert abs(j - 1.26073) < 1e-5 and j < theirs.j_stat.stat - 4e-4


def test_what_the_text_says_of_the_sets(quick):
    card = quick["card_table"].set_index(["instruments", "estimator"])
    for key in (("nearc4", "2SLS"), ("nearc4, nearc2", "2SLS")):
        low, high = (float(v) for v in card.loc[key, "AR"].strip("[]").split(", "))
        wald = card.loc[key, "high"] - card.loc[key, "low"]
        assert low > 0 and 1.15 * wald < high - low < 1.5 * wald
    fits = quick["institutions"]
    sets = {name: fitted.anderson_rubin_set() for name, fitted in fits.items()}
    assert not any(0.0 in found for found in sets.values())
    endless = [name for name, found in sets.items() if found.kind == "two rays"]
    assert endless == ["continents, latitude"]
    np.testing.assert_allclose(
        sets["continents, latitude"].intervals[[0, 1], [1, 0]], [-4.9, 0.47], atol=6e-3
    )
    assert fits["base"].conditional_moment_test().pvalue < 0.05
    assert quick["model"].conditional_moment_test().pvalue > 0.1
    assert len(quick["figure"].axes) == 2


def test_committed_results_are_of_the_full_run_and_say_what_the_text_says(quick):
    keys = ["instruments", "estimator"]
    for name, again in (("", quick["card_table"]), ("_ajr", quick["ajr_table"])):
        table, again = results(name).set_index(keys), again.set_index(keys)
        assert list(table.index) == list(again.index)
        # A quick run does not choose lam.
        same = again.index.get_level_values(1) != "KMM, kernel"
        for column in ("estimate", "se", "J", "F", "effective_F"):
            np.testing.assert_allclose(
                table.loc[same, column], again.loc[same, column], rtol=2e-5
            )
        kernel = table.loc[~same, "se"]
        if not name:
            assert np.all(kernel < 0.55 * table.loc[("nearc4", "2SLS"), "se"])
    noise = results("_noise").set_index("Unnamed: 0")["median or share"]
    assert noise["2SLS rejects 0"] == 0.36
    assert noise["AR rejects 0"] == 0.06 and noise["AR set endless"] == 0.96
    weak = results("_weak").set_index("strength")
    assert weak["AR"].between(0.93, 0.98).all()
    assert weak.loc[0, "2SLS"] < 0.55 and weak.loc[30, "2SLS"] > 0.93
