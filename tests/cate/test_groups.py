"""GATES and CLAN against regressions on group indicators; joint intervals; coverage."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import norm

from causalweights import compare
from causalweights.cate import average_effect, clan, gates
from causalweights.cate._groups import quantile_groups


def indicators(g, n_groups):
    return np.asarray(pd.get_dummies(pd.qcut(g, n_groups, labels=False)), dtype=float)


def test_equals_a_regression_on_group_indicators(contrast, pseudo_outcome):
    y, g, v = contrast
    ours = gates(y, g, **v, n_groups=4)
    theirs = sm.OLS(pseudo_outcome, indicators(g, 4)).fit(cov_type="HC0")
    assert np.allclose(ours.effect[:4], theirs.params, atol=1e-12)
    assert np.allclose(ours.cov[:4, :4], theirs.cov_params(), atol=1e-12)
    gap = theirs.t_test([-1, 0, 0, 1])
    assert ours.effect[4] == pytest.approx(gap.effect[0], abs=1e-12)
    assert ours.se[4] == pytest.approx(gap.sd.item(), abs=1e-12)
    assert ours.names[-1] == "group 4 - group 1"


def test_clusters_equal_statsmodels(contrast, pseudo_outcome, rng):
    y, g, v = contrast
    n, groups = len(y), rng.integers(0, 15, len(y))
    ours = gates(y, g, **v, n_groups=3, groups=groups)
    theirs = sm.OLS(pseudo_outcome, indicators(g, 3)).fit(
        cov_type="cluster", cov_kwds={"groups": groups}
    )
    factor = (n - 1) / (n - 3)
    assert np.allclose(factor * ours.cov[:3, :3], theirs.cov_params(), atol=1e-12)


def test_shares_average_to_the_ate(contrast, rng):
    y, g, v = contrast
    s = rng.integers(1, 4, len(y))
    ours = gates(y, g, **v, n_groups=3, sample_weight=s)
    member = ours.influence[:, :3] != 0
    shares = (member * s[:, None]).sum(axis=0) / s.sum()
    ate = average_effect(y, **v, sample_weight=s)
    assert np.allclose(shares, 1 / 3, atol=0.02)
    assert shares @ ours.effect[:3] == pytest.approx(ate.effect, abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_frequencies_are_copies(contrast, replicated, ties):
    y, g, v = contrast
    counts, (y_copies, g_copies, v_copies) = replicated
    if ties:
        g, g_copies = np.round(g, 1), np.round(g_copies, 1)
    ours = gates(y, g, **v, frequency=counts)
    full = gates(y_copies, g_copies, **v_copies)
    assert np.allclose(ours.effect, full.effect, atol=1e-12)
    assert np.allclose(ours.cov, full.cov, atol=1e-12)
    assert compare(ours, full).loc["result", "se"].to_numpy() == pytest.approx(full.se)


def test_ties_stay_together_and_may_leave_a_group_empty():
    g = np.array([0, 0, 0, 1, 1, 2.0, 3, 3, 4, 5])
    group = quantile_groups(g, 3, np.ones(10))
    assert group.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert np.array_equal(quantile_groups(g, 3, np.full(10, 0.1)), group)
    with pytest.raises(ValueError, match="too few distinct values for 3"):
        quantile_groups(np.repeat([0.0, 1.0], 5), 3, np.ones(10))
    with pytest.raises(ValueError, match="whole number from 2"):
        quantile_groups(g, 1, np.ones(10))


@pytest.mark.parametrize(("n", "n_groups"), [(10, 2), (9, 3), (25, 10), (101, 7)])
def test_groups_without_ties_are_as_equal_as_can_be(n, n_groups, rng):
    group = quantile_groups(rng.permutation(n).astype(float), n_groups, np.ones(n))
    assert np.ptp(np.bincount(group)) <= 1


def test_rows_of_weight_zero_do_not_move_the_cuts(contrast):
    y, g, v = contrast
    s = np.where(np.arange(len(y)) % 4 == 0, 0.0, 1.0)
    ours = gates(y, g, **v, sample_weight=s)
    kept = {name: values[s > 0] for name, values in v.items()}
    theirs = gates(y[s > 0], g[s > 0], **kept)
    assert np.allclose(ours.effect, theirs.effect, atol=1e-12)
    assert np.allclose(ours.cov, theirs.cov, atol=1e-12)


def test_joint_intervals(contrast, rng):
    y, g, v = contrast
    ours = gates(y, g, **v, n_groups=3)
    band = ours.joint_conf_int()
    critical = (band[:, 1] - ours.effect) / ours.se
    assert np.ptp(critical) < 1e-12
    assert norm.isf(0.025) < critical[0] < norm.isf(0.025 / 4)
    # Gaussian multipliers of the influence values, drawn here.
    scores = ours.influence / len(y)
    errors = rng.normal(size=(20_000, len(y))) @ scores / ours.se
    quantile = np.quantile(np.abs(errors).max(axis=1), 0.95)
    assert critical[0] == pytest.approx(quantile, abs=0.05)
    assert np.array_equal(band, ours.joint_conf_int(random_state=0))
    assert not np.array_equal(band, ours.joint_conf_int(random_state=1))


def test_joint_interval_of_one_estimate_is_the_usual_one(contrast):
    y, _, v = contrast
    ate = average_effect(y, **v)
    joint = ate.joint_conf_int(n_draws=100_000)
    assert np.allclose(joint, ate.conf_int(), atol=0.03 * ate.se)


# ---- CLAN ----------------------------------------------------------------------------


def test_clan_equals_a_regression_on_group_indicators(contrast, rng):
    _, g, _ = contrast
    X = np.column_stack([g + rng.normal(size=len(g)), rng.integers(0, 2, len(g))])
    table = clan(X, g, n_groups=4)
    assert table.index.tolist() == ["0", "1"]
    for j in range(2):
        fit = sm.OLS(X[:, j], indicators(g, 4)).fit(cov_type="HC0")
        gap = fit.t_test([-1, 0, 0, 1])
        row = table.iloc[j]
        assert np.allclose(row.iloc[:4], fit.params, atol=1e-12)
        assert row["difference"] == pytest.approx(gap.effect[0], abs=1e-12)
        assert row["se"] == pytest.approx(gap.sd.item(), abs=1e-12)
        assert row["pvalue"] == pytest.approx(gap.pvalue.item(), abs=1e-12)
    assert table.loc["0", "pvalue"] < 1e-6 < table.loc["1", "pvalue"]


def test_clan_of_a_frame(contrast, replicated, frame_library):
    _, g, _ = contrast
    counts, (_, g_copies, _) = replicated
    values = np.column_stack([g, np.ones(len(g))])
    X = frame_library(values, ["age", "one"])
    table = clan(X, g, frequency=counts)
    named = table.index.tolist()
    assert named == (["age", "one"] if hasattr(X, "columns") else ["0", "1"])
    full = clan(np.repeat(values, counts, axis=0), g_copies)
    assert np.allclose(table, full, atol=1e-12, equal_nan=True)
    assert np.isnan(table["pvalue"].iloc[1])


def test_clan_of_categories(contrast):
    _, g, _ = contrast
    X = pd.DataFrame({"sex": pd.Categorical(np.where(g > 0, "f", "m")), "age": g})
    table = clan(X, g, n_groups=2)
    assert table.index.tolist() == ["sex=f", "sex=m", "age"]
    women = [np.mean(g[half] > 0) for half in np.split(np.argsort(g), 2)]
    expected = [*women, women[1] - women[0]]
    assert np.allclose(table.loc["sex=f"].iloc[:3], expected, atol=1e-14)
    assert np.allclose(table.loc["sex=m", "difference"], -expected[2], atol=1e-14)


# ---- simulations: tau(x) = 1 + x, x uniform on (-1, 1), grouped by x -----------------


def covered(design, n, n_draws):
    """Return shares of 95 % intervals that cover: five groups, difference, all."""
    truth = np.array([0.2, 0.6, 1.0, 1.4, 1.8, 1.6])
    hits = []
    for r in range(n_draws):
        x, y, v = design(np.random.default_rng([9, r]), n, 1.0)
        found = gates(y, x, **v)
        bands = found.conf_int(), found.joint_conf_int(n_draws=1000)
        inside = [(b[:, 0] <= truth) & (truth <= b[:, 1]) for b in bands]
        hits.append([*inside[0], inside[1].all()])
    return np.mean(hits, axis=0)


def test_intervals_cover(design):
    # Three Monte-Carlo standard errors of 300 draws are 3.8 %.
    assert np.all(np.abs(covered(design, 500, 300) - 0.95) < 0.045)


@pytest.mark.slow
def test_intervals_cover_in_many_samples(design):
    assert np.all(np.abs(covered(design, 1000, 2000) - 0.95) < 0.02)
