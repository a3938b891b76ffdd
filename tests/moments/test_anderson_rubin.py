"""Confidence sets under weak instruments: the tests that they invert, on grids."""

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy.stats import chi2

from causalweights import LinearIV
from causalweights.datasets import load_card
from causalweights.moments import ConfidenceSet
from causalweights.moments._anderson_rubin import (
    kept_intervals,
    real_eigenvalues,
    sublevel,
)

# Ends of a set, as levels of the test: Brent's tolerance.
RTOL = 1e-7
GRID = np.concatenate([
    np.tan(np.linspace(-1.5707, 1.5707, 41)), 1 + np.tan(np.linspace(-1.4, 1.4, 40))
])  # fmt: skip

# R's ivmodel on Card's data: excluded instruments, whether with the exogenous
# columns, then ends of the set, F and its degrees of freedom.
IVMODEL = [
    ("nearc4", True, 0.0248048359651, 0.284823593339, 5.41527923822, 2994),
    ("nearc4 nearc2", True, 0.0536002610089, 0.361980791255, 5.24393512598, 2993),
    ("nearc4", False, 0.143037504074, 0.250862634531, 82.7445324192, 3008),
    ("nearc4 nearc2", False, 0.166084633236, 0.260253933988, 51.3582485426, 3007),
]


def fitted(sample, cov_type, groups=None):
    y, D, Z, W = sample
    return LinearIV(cov_type=cov_type, hac_bandwidth=2).fit(
        np.column_stack([D, W]), y, instruments=np.column_stack([Z, W]), groups=groups
    )


@pytest.mark.parametrize(("excluded", "covariates", "low", "high", "f", "df"), IVMODEL)
def test_same_as_ivmodel(excluded, covariates, low, high, f, df):
    data = load_card(instruments=excluded.split())
    x = data.feature_names if covariates else ["educ"]
    z = list(data.instruments) if covariates else data.excluded
    fit = LinearIV(cov_type="unadjusted", fit_intercept=True)
    fit.fit(data.X[x], data.y, instruments=data.instruments[z])
    assert_allclose(fit.conf_int(method="ar"), [[low, high]], rtol=1e-8)
    test = fit.anderson_rubin_test(0.0)
    assert test.statistic == pytest.approx(f, rel=1e-8)
    assert test.df_denominator == df


def test_the_f_test_is_that_of_a_regression(card):
    fit = card.fit(cov_type="unadjusted")
    for value in (0.0, 0.1, -2.0):
        outcome = card.y - value * card.endogenous["educ"]
        expected = sm.OLS(outcome, card.Z).fit().f_test("nearc2 = 0, nearc4 = 0")
        found = fit.anderson_rubin_test(value)
        assert found.statistic == pytest.approx(expected.statistic, rel=1e-8)
        assert found.pvalue == pytest.approx(float(expected.pvalue), rel=1e-6)
        assert (found.df, found.df_denominator) == (2, expected.df_denom)


def test_the_s_statistic_by_loops(two_endogenous):
    d, beta = two_endogenous, np.array([0.8, -0.3])
    root = np.sqrt(d.weight / d.weight.mean())
    W, Z = root[:, None] * d.exogenous.to_numpy(), root[:, None] * d.excluded.to_numpy()
    error = root * (d.y.to_numpy() - d.endogenous.to_numpy() @ beta)
    left = np.eye(len(W)) - W @ np.linalg.pinv(W)
    scores = (left @ Z) * (left @ error)[:, None]
    clusters = [scores[d.groups == g].sum(axis=0) for g in range(d.groups.max() + 1)]
    for cov_type, parts, factor in [
        ("robust", scores, 1.0),
        ("cluster", np.array(clusters), d.cluster_factor),
    ]:
        omega = factor * parts.T @ parts
        total = scores.sum(axis=0)
        found = d.fit(cov_type=cov_type).anderson_rubin_test(beta)
        assert found.statistic == pytest.approx(
            total @ np.linalg.solve(omega, total), rel=1e-8
        )
        assert found.pvalue == pytest.approx(chi2.sf(found.statistic, 4))


@pytest.mark.parametrize("cov_type", ["unadjusted", "robust", "cluster", "hac"])
@pytest.mark.parametrize("q", [1, 2, 5])
@pytest.mark.parametrize("strength", [0.0, 0.06, 0.4])
def test_the_set_holds_what_the_test_keeps(one_endogenous, cov_type, q, strength):
    groups = np.arange(120) // 6 if cov_type == "cluster" else None
    for seed in range(2):
        sample = one_endogenous(seed, q=q, strength=strength)
        fit = fitted(sample, cov_type, groups)
        pvalues = np.array([fit.anderson_rubin_test(t).pvalue for t in GRID])
        for level in (0.5, 0.95):
            found = fit.anderson_rubin_set(level)
            assert [t in found for t in GRID] == list(pvalues >= 1 - level)
            ends = found.intervals[np.isfinite(found.intervals)]
            for end in ends:
                assert fit.anderson_rubin_test(end).pvalue == pytest.approx(
                    1 - level, rel=RTOL
                )


def test_strong_weak_and_wrong_instruments(one_endogenous):
    kinds = set()
    for cov_type in ("unadjusted", "robust"):
        strong = fitted(one_endogenous(0, q=1, strength=1.0), cov_type)
        found = strong.anderson_rubin_set()
        assert found.kind == "interval" and strong.params_[0] in found
        assert found.name == "x0"
        for seed in range(20):
            weak = fitted(one_endogenous(seed, q=1, strength=0.05), cov_type)
            # One instrument: the estimate fits, so that the set holds it.
            assert weak.params_[0] in weak.anderson_rubin_set()
            kinds.add((cov_type, weak.anderson_rubin_set().kind))
        y, D, Z, W = one_endogenous(0, q=3, strength=1.0)
        wrong = fitted((y + 3 * Z[:, 0], D, Z, W), cov_type)
        assert wrong.anderson_rubin_set().kind == "empty"
        assert wrong.conf_int(method="ar").shape == (0, 2)
        assert wrong.j_test().pvalue < 1e-6
    for cov_type in ("unadjusted", "robust"):
        assert {(cov_type, "line"), (cov_type, "two rays")} <= kinds


def test_units_do_not_matter(one_endogenous):
    y, D, Z, W = one_endogenous(1, strength=0.2)
    one = fitted((y, D, Z, W), "robust").anderson_rubin_set()
    other = fitted((1e6 * y, 1e-5 * D, 1e3 * Z, W), "robust").anderson_rubin_set()
    assert_allclose(other.intervals, 1e11 * one.intervals, rtol=1e-7)


def test_several_endogenous_columns_have_a_test_but_no_set(two_endogenous):
    fit = two_endogenous.fit(cov_type="unadjusted")
    assert fit.anderson_rubin_test(fit.params_[:2]).pvalue > 0.01
    assert fit.anderson_rubin_test().df == 4
    with pytest.raises(ValueError, match="one endogenous coefficient; here are 2"):
        fit.anderson_rubin_set()
    with pytest.raises(ValueError, match=r"values has shape \(3,\)"):
        fit.anderson_rubin_test([1.0, 2.0, 3.0])


def test_levels_and_methods_are_checked(card):
    fit = card.fit()
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        fit.anderson_rubin_set(1.0)
    with pytest.raises(ValueError, match="method='score' is unknown"):
        fit.conf_int(method="score")
    assert_allclose(
        fit.conf_int(0.9, method="ar"), fit.anderson_rubin_set(0.9).intervals
    )


@pytest.mark.parametrize(
    ("coefficients", "expected"),
    [
        ((1, 1, -3), [[-1, 3]]),
        ((1, 0, 1), []),
        ((-1, 0, -1), [[-np.inf, np.inf]]),
        ((-1, -1, 3), [[-np.inf, -1], [3, np.inf]]),
        ((0, 1, 4), [[2, np.inf]]),
        ((0, -1, 4), [[-np.inf, -2]]),
        ((0, 0, 1), []),
        ((0, 0, -1), [[-np.inf, np.inf]]),
        ((0, 0, 0), [[-np.inf, np.inf]]),
        ((1, 0, 0), [[0, 0]]),
    ],
)
def test_quadratics(coefficients, expected):
    a, b, c = coefficients
    assert_allclose(
        sublevel(float(a), float(b), float(c)), np.reshape(expected, (-1, 2))
    )


def test_quadratics_keep_the_digits_of_small_roots():
    # t^2 - 2e8 t + 1: the naive formula gives 7.45e-9 for the small root.
    assert sublevel(1.0, 1e8, 1.0)[0, 0] == pytest.approx(5e-9, rel=1e-12)


def test_roots_of_a_determinant():
    # (t - 1)(t + 2) and t^2 + 1, mixed by a congruence; and one of t^2 (t - 3).
    T = np.array([[1.0, 2.0], [0.5, -1.0]])
    parts = [T.T @ np.diag(d) @ T for d in ([-2.0, 1.0], [1.0, 0.0], [1.0, 1.0])]
    assert_allclose(real_eigenvalues(*parts), [-2, 1], rtol=1e-10)


def test_intervals_between_candidates():
    def cubic(t):
        return (t + 1) * (t - 2) * (t - 5)

    # Candidates that are no roots do no harm.
    found = kept_intervals(cubic, np.array([-1.0, 0.3, 2.0, 4.9, 5.0, 7.0]))
    assert_allclose(found, [[-np.inf, -1], [2, 5]], rtol=1e-12)
    assert kept_intervals(lambda t: 1.0, np.zeros(0)).shape == (0, 2)
    assert ConfidenceSet(found, 0.9, "x").kind == "union"
