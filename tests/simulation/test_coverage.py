"""Do the default intervals cover, and what does treating weights as fixed cost?

The design is smooth with good overlap (benchmarks/designs.py, "inference"), so that
bias is small; docs/coverage.md holds longer runs of the same.
"""

import pytest

INTERVALS = [
    f"{estimand}/{weights}/{outcome}"
    for estimand in ("ate", "att")
    for weights in ("energy", "gaussian")
    for outcome in ("krr", "plain")
]
# Acceptable coverage of a 95 % interval; a figure may miss it by Monte-Carlo error.
LOW, HIGH = 0.92, 0.99


def figures(simulate, design, reps, seed, names):
    return simulate.summarise(simulate.run(design, reps, seed, estimators=names))


@pytest.mark.slow
@pytest.mark.parametrize("estimand", ["ate", "att"])
def test_default_intervals_cover(simulate, estimand):
    names = [name for name in INTERVALS if name.startswith(estimand)]
    table = figures(simulate, "inference", 200, 2, names)
    error = 3 * table["coverage_se"]
    assert (table["coverage"] >= LOW - error).all(), table
    assert (table["coverage"] <= HIGH + error).all(), table
    # The standard error is that of the estimate, give or take a quarter.
    assert table["se_ratio"].between(0.9, 1.35).all(), table
    assert (table["bias"].abs() < 0.5 * table["mc_sd"]).all(), table


@pytest.mark.slow
def test_intervals_that_take_weights_as_fixed_are_twice_too_long(simulate):
    table = figures(
        simulate, "inference", 150, 4, ["ate/separate/hc0", "ate/separate/plain"]
    )
    assert table.loc["ate/separate/hc0", "se_ratio"] > 1.7
    assert table.loc["ate/separate/hc0", "coverage"] >= 0.99
    assert table.loc["ate/separate/plain", "se_ratio"] < 1.35


@pytest.mark.slow
def test_m_estimation_covers(simulate):
    table = figures(simulate, "inference", 300, 5, ["ate/glm/m", "ate/entropy/m"])
    error = 3 * table["coverage_se"]
    assert (table["coverage"] >= LOW - error).all(), table
    assert table["se_ratio"].between(0.85, 1.15).all(), table


@pytest.mark.slow
def test_null_calibration(simulate):
    """Treatment by a fair coin: weights stay near uniform and intervals cover."""
    table = figures(
        simulate, "randomised", 500, 3, ["ate/energy/krr", "att/energy/krr"]
    )
    assert table["ess_share"]["ate/energy/krr"] > 0.8, table
    # Half of the sample is made to look like the other half, which costs more.
    assert table["ess_share"]["att/energy/krr"] > 0.6, table
    error = 3 * table["coverage_se"]
    assert (table["coverage"] >= LOW - error).all(), table
    assert (table["coverage"] <= HIGH + error).all(), table


def test_miniature(simulate):
    table = figures(
        simulate, "inference", 12, 1, ["ate/separate/hc0", "ate/energy/plain"]
    )
    ratio = table["mean_se"]["ate/separate/hc0"] / table["mean_se"]["ate/energy/plain"]
    assert ratio > 1.3 and ratio < 2.5
    assert table["coverage"]["ate/energy/plain"] >= 0.75
    null = figures(simulate, "randomised", 6, 1, ["ate/energy/krr"])
    assert null["ess_share"].iloc[0] > 0.8
