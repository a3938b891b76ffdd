"""Robust regression against statsmodels, replication and its own influence values."""

import numpy as np
import pytest
import statsmodels.api as sm

from causalweights.inference import cluster_sums, robust_regression

KINDS = ("HC0", "HC1", "HC2", "HC3")
# statsmodels goes by a pseudo-inverse of the whitened design.
EXACT = {"rtol": 1e-10, "atol": 1e-12}


@pytest.fixture
def problem(rng):
    n = 80
    D = np.column_stack([np.ones(n), rng.normal(size=(n, 3)) * [1, 10, 0.1]])
    y = D @ [1.0, -1.0, 0.5, 2.0] + rng.normal(size=n) * (1 + np.abs(D[:, 1]))
    return D, y, rng.uniform(0.1, 3, n)


@pytest.mark.parametrize("kind", KINDS)
def test_equals_statsmodels(problem, kind):
    D, y, w = problem
    ours = robust_regression(D, y, w, cov_type=kind)
    theirs = sm.WLS(y, D, w).fit(cov_type=kind)
    assert np.allclose(ours.coefficients, theirs.params, **EXACT)
    assert np.allclose(ours.cov, theirs.cov_params(), **EXACT)
    assert np.allclose(ours.se, theirs.bse, **EXACT)
    hat = sm.OLS(np.sqrt(w) * y, np.sqrt(w)[:, None] * D).fit().get_influence()
    assert np.allclose(ours.leverages, hat.hat_matrix_diag, **EXACT)
    assert ours.rank == 4


def test_default_is_hc3(problem):
    D, y, _ = problem
    theirs = sm.OLS(y, D).fit(cov_type="HC3").cov_params()
    assert np.allclose(robust_regression(D, y).cov, theirs, **EXACT)


def test_clusters_equal_statsmodels_up_to_its_small_sample_factor(problem, rng):
    D, y, w = problem
    n, p = D.shape
    groups = rng.integers(0, 12, n)
    ours = robust_regression(D, y, w, groups=[f"g{g}" for g in groups])
    theirs = sm.WLS(y, D, w).fit(cov_type="cluster", cov_kwds={"groups": groups})
    assert np.allclose(ours.cov * (n - 1) / (n - p), theirs.cov_params(), **EXACT)
    sums = cluster_sums(ours.influence, groups)
    assert np.allclose(sums.T @ sums * len(sums) / (len(sums) - 1), ours.cov, **EXACT)


def test_influence_gives_hc0_and_the_errors(problem):
    D, y, w = problem
    fit = robust_regression(D, y, w, cov_type="HC0")
    assert np.allclose(fit.influence.T @ fit.influence, fit.cov, **EXACT)
    assert np.allclose(fit.influence.sum(axis=0), 0, atol=1e-12)
    # The derivative in a row's weight.
    step, i = 1e-6, 7
    moved = w.copy()
    moved[i] += step
    slope = (robust_regression(D, y, moved).coefficients - fit.coefficients) / step
    assert np.allclose(w[i] * slope, fit.influence[i], rtol=1e-4)


@pytest.mark.parametrize("kind", [*KINDS, "cluster"])
def test_frequencies_are_copies(problem, rng, kind):
    D, y, w = problem
    counts, groups = rng.integers(0, 4, len(y)), rng.integers(0, 9, len(y))
    rows = np.repeat(np.arange(len(y)), counts)
    if kind == "cluster":
        options, copied = {"groups": groups}, {"groups": groups[rows]}
    else:
        options = copied = {"cov_type": kind}
    ours = robust_regression(D, y, w, frequency=counts, **options)
    full = robust_regression(D[rows], y[rows], w[rows], **copied)
    assert np.allclose(ours.coefficients, full.coefficients, **EXACT)
    assert np.allclose(ours.cov, full.cov, **EXACT)
    assert np.allclose(ours.leverages[rows], full.leverages, **EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_only_ratios_of_weights_matter_and_zero_drops_a_row(problem, kind):
    D, y, w = problem
    w[:20] = 0
    ours = robust_regression(D, y, 1e6 * w, cov_type=kind)
    kept = robust_regression(D[20:], y[20:], w[20:], cov_type=kind)
    assert np.allclose(ours.coefficients, kept.coefficients, **EXACT)
    assert np.allclose(ours.cov, kept.cov, **EXACT)
    assert np.all(ours.influence[:20] == 0)


@pytest.mark.parametrize("kind", KINDS)
def test_collinear_columns_leave_what_the_data_determine(problem, kind):
    D, y, w = problem
    wide = np.column_stack([D, 2 * D[:, 1] - D[:, 0]])
    full = robust_regression(D, y, w, cov_type=kind)
    ours = robust_regression(wide, y, w, cov_type=kind)
    assert ours.rank == 4
    assert np.allclose(wide @ ours.coefficients, D @ full.coefficients, rtol=1e-9)
    assert np.allclose(
        np.diag(wide @ ours.cov @ wide.T), np.diag(D @ full.cov @ D.T), rtol=1e-9
    )
    smallest = np.linalg.lstsq(np.sqrt(w)[:, None] * wide, np.sqrt(w) * y, rcond=None)
    assert np.allclose(ours.coefficients, smallest[0], rtol=1e-9)


def test_a_row_of_leverage_one(problem):
    D, y, _ = problem
    D = np.column_stack([D, np.arange(len(y)) == 3])
    for kind in ("HC2", "HC3"):
        with pytest.raises(ValueError, match="row 3 alone decides"):
            robust_regression(D, y, cov_type=kind)
    expected = sm.OLS(y, D).fit(cov_type="HC0").cov_params()
    ours = robust_regression(D, y, cov_type="HC0")
    assert np.allclose(ours.cov, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"design": np.ones(80)}, "finite array"),
        ({"design": np.full((80, 2), np.nan)}, "finite array"),
        ({"response": np.ones(79)}, "y has 79 rows"),
        ({"weight": -np.ones(80)}, "negative"),
        ({"cov_type": "HC4"}, "'HC4' is unknown"),
        ({"cov_type": "HC1", "groups": np.arange(80)}, "leave it out with groups"),
        ({"groups": np.zeros(80)}, "one cluster"),
        ({"weight": np.arange(80) < 4}, "4 rows of positive weight for 4"),
    ],
)
def test_bad_input(problem, change, match):
    D, y, w = problem
    with pytest.raises(ValueError, match=match):
        robust_regression(**({"design": D, "response": y, "weight": w} | change))
