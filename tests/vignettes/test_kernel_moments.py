"""The vignette of the kernel method of moments: it runs, and its results hold."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "vignettes"


@pytest.fixture(scope="module")
def quick(run_quick):
    """The vignette's names after a quick run."""
    return run_quick("kernel_moments")


def results(name):
    return pd.read_csv(FOLDER / "results" / f"kernel_moments_{name}.csv")


def test_quick_run(quick):
    # Several starts lead to several minima, and the lowest is kept.
    starts = quick["kmm"].start_objectives_
    assert len(starts) > 1 and quick["kmm"].objective_ == starts.min()
    assert quick["kmm"].lam_ in quick["kmm"].lam_path_["lam"]
    with pytest.raises(ValueError, match="no J test"):
        quick["kmm"].j_test()
    assert quick["kmm"].conditional_moment_test().pvalue > 0.2
    assert quick["straight"].conditional_moment_test().pvalue < 0.01
    # The truth is within the band where there are data.
    inside = np.quantile(quick["data"].X[:, 0], [0.02, 0.98])
    points = np.linspace(*inside, 50)
    _, low, high = quick["band"](quick["kmm"], points)
    truth = quick["hinge"](points, quick["HINGE"])
    assert np.mean((low <= truth) & (truth <= high)) > 0.9
    pictures = (quick["curves"], quick["implied"], quick["functions"])
    assert [len(figure.axes) for figure in pictures] == [2, 1, 4]


def test_replicates_are_those_of_the_benchmark(quick):
    committed = quick["moment_errors"].load()
    committed = committed[(committed["design"] == "hinge") & (committed["n"] == 1000)]
    renamed = quick["hinges"].replace({"KMM lam=1e-4": "KMM lam=0.0001"})
    both = renamed.merge(
        committed, on=["rep", "estimator"], suffixes=("", "_benchmark")
    )
    assert len(both) == 1
    np.testing.assert_allclose(both["error"], both["error_benchmark"], rtol=1e-3)


def test_implied_probabilities_meet_the_moments(quick):
    counts = quick["counts"]
    for name in quick["LOOKS"]:
        fitted = quick["WAYS"][name].fit(np.ones((100, 1)), counts)
        p, theta = fitted.weights_, fitted.params_[0]
        assert abs(p @ counts - theta) < 1e-6
        assert abs(p @ (counts - theta) ** 2 - theta) < 1e-5
        assert (p.min() < 0) == (name == "CUE")


def test_published_figures_and_ours_say_what_the_text_says(quick):
    table = results("hinge")
    published = table[table["source"] == "published"].set_index(["estimator", "n"])
    assert published.loc[("KMM-neural", 1000), "risk"] == 0.15
    ours = table[table["source"] != "published"].set_index(["estimator", "n"])
    kmm = ours.loc[("KMM", 1000)]
    assert 0.8 < kmm["over_bound"] < 1.3
    spread = np.hypot(kmm["se"], published.loc[("KMM-neural", 1000), "se"])
    assert abs(kmm["risk"] - 0.15) < 2 * spread
    own = results("hinge_own").set_index("estimator")
    assert (own["size"] == 10).all()
    assert own.loc["GMM, 14 functions", "mean"] > 2 * own.loc["KMM lam=1e-4", "mean"]
    powers = results("powers").set_index("estimator")["mean"]
    assert powers["GMM, t"] > 100 and powers.drop("GMM, t").max() < 5


def test_plain_estimators_are_as_good_where_the_text_says_so():
    linear = results("linear").set_index(["noise", "estimator"])
    same = linear[~linear.index.get_level_values(1).str.contains("kernel")]
    for _, part in same.groupby("noise"):
        assert np.ptp(part["sd"]) < 0.05 * part["sd"].mean()
    growing = same.loc["growing"]
    assert growing["J rejects"].between(0, 0.1).all()
    assert growing["shifted"].between(0.57, 0.61).all()
    kernel = linear.xs("KMM, kernel, lam=1e-4", level=1)
    assert (kernel["mean_se"] < 0.8 * kernel["sd"]).all()
    assert (kernel["covered"] == 0.88).all() and (kernel["bias"] > 0.3 * 0.095).all()
    step = linear.xs("KMM, kernel, one step", level=1)
    assert (step["covered"] > 0.93).all() and (step["mean_se"] > step["sd"]).all()
    poisson = results("poisson").set_index("estimator")
    good = poisson.drop(["GMM, one step", "mean"])
    assert (good["sd"] > 0.95 * poisson.loc["mean", "sd"]).all()
    assert good["J rejects"].between(0, 0.1).all()
    assert poisson.loc["GMM, one step", "J rejects"] > 0.1


def test_network_table_is_that_of_the_benchmark(quick):
    table = results("network").set_index(["source", "estimator", "g"]).sort_index()
    again = quick["network_table"].set_index(["source", "estimator", "g"])
    for column in ("mse", "se"):
        np.testing.assert_allclose(
            table[column], again.loc[table.index, column], rtol=2e-3
        )
    ours, theirs = (
        table["mse"].unstack().loc[key]
        for key in (("100 runs", "KernelIV"), ("published", "KMM-neural"))
    )
    assert ours["linear"] < theirs["linear"] and ours["sin"] < theirs["sin"]
    assert ours["step"] > theirs["step"]
    assert table.loc[("100 runs", "2sls", "linear"), "mse"] < ours["linear"]
