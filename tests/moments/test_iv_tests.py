"""Specification tests beside linearmodels, and the identities between them."""

import numpy as np
import pytest
import statsmodels.api as sm
from linearmodels.iv import IVGMM
from numpy.testing import assert_allclose

from causalweights import GMM, LinearIV

# linearmodels inverts cross-products; some ten digits are left.
RTOL = 1e-8
# By name here and there. Durbin's tests are of two-stage least squares in the
# literature; linearmodels mixes in the residuals of LIML where that was fitted.
HOMOSKEDASTIC = {
    "sargan": "sargan",
    "basmann": "basmann",
    "anderson_rubin_overid": "anderson_rubin",
    "durbin": "durbin",
    "wu_hausman": "wu_hausman",
}
ROBUST = {
    "wooldridge_score": "wooldridge_score",
    "wooldridge_overid": "wooldridge_overid",
    "wooldridge_regression": "wooldridge_regression",
}


def compared(fit, oracle, names, factor=1.0):
    """Compare tests, and return how many."""
    for ours, theirs in names.items():
        found, expected = getattr(fit, ours)(), getattr(oracle, theirs)
        expected = expected() if callable(expected) else expected
        assert found.statistic * factor == pytest.approx(expected.stat, rel=RTOL), ours
        assert found.df == expected.df
        if factor == 1.0:
            assert found.pvalue == pytest.approx(expected.pval, rel=1e-6)
    return len(names)


def test_homoskedastic_tests_are_linearmodels(design):
    fit, oracle = design.fit(), design.oracle()
    assert compared(fit, oracle, HOMOSKEDASTIC) == 5
    assert fit.wu_hausman().df_denominator == oracle.wu_hausman().df_denom


def test_robust_tests_are_linearmodels(design):
    assert compared(design.fit(), design.oracle(), ROBUST) == 3
    # Theirs are robust to heteroskedasticity only, whatever the covariance.
    compared(design.fit(cov_type="unadjusted"), design.oracle(), dict([
        ("wooldridge_score", "wooldridge_score"),
        ("wooldridge_overid", "wooldridge_overid"),
    ]))  # fmt: skip
    regression = {"wooldridge_regression": "wooldridge_regression"}
    for cov_type in ("unadjusted", "cluster", "hac"):
        factor = design.cluster_factor if cov_type == "cluster" else 1.0
        compared(
            design.fit(cov_type=cov_type), design.oracle(cov_type=cov_type), regression,
            factor,
        )  # fmt: skip


def test_liml_residuals_are_used_where_linearmodels_does(design):
    names = {k: HOMOSKEDASTIC[k] for k in ("sargan", "basmann")}
    names["wooldridge_overid"] = "wooldridge_overid"
    compared(design.fit("liml"), design.oracle("liml"), names)
    # Tests of exogeneity do not depend on the estimator here.
    assert design.fit("liml").durbin().statistic == design.fit().durbin().statistic


def test_some_columns_are_tested_for_exogeneity(two_endogenous):
    fit, oracle = two_endogenous.fit(), two_endogenous.oracle()
    for name in ("d1", "d2"):
        for test in ("durbin", "wu_hausman"):
            found, expected = getattr(fit, test)(name), getattr(oracle, test)(name)
            assert found.statistic == pytest.approx(expected.stat, rel=RTOL)
            assert found.pvalue == pytest.approx(expected.pval, rel=1e-6)


def test_wu_hausman_is_an_f_test_of_first_stage_residuals(mroz_sample):
    d = mroz_sample
    rest = sm.OLS(d.endogenous["educ"], d.Z).fit().resid
    long = sm.OLS(d.y, d.X.assign(rest=rest)).fit()
    found = d.fit().wu_hausman()
    assert found.statistic == pytest.approx(long.tvalues["rest"] ** 2, rel=RTOL)
    assert found.pvalue == pytest.approx(long.pvalues["rest"], rel=1e-6)


def test_j_is_that_of_two_step_gmm(design):
    oracle = IVGMM(
        design.y, design.exogenous, design.endogenous, design.excluded,
        weights=design.weight, center=False,
    ).fit()  # fmt: skip
    fit = design.fit()
    assert fit.j_test().statistic == pytest.approx(oracle.j_stat.stat, rel=RTOL)
    assert fit.j_test().pvalue == pytest.approx(oracle.j_stat.pval, rel=1e-6)
    assert fit.j_test() == fit.wooldridge_overid() == fit.result_.j
    plain = design.fit(cov_type="unadjusted")
    assert plain.j_test() == plain.sargan() == plain.result_.j


@pytest.mark.parametrize("cov_type", ["cluster", "hac"])
def test_j_is_that_of_gmm_with_clusters_and_lags(design, cov_type):
    groups = design.groups if cov_type == "cluster" else None
    gmm = GMM(cov_type=cov_type, hac_bandwidth=3).fit(
        design.X, design.y, instruments=design.Z, sample_weight=design.weight,
        groups=groups,
    )  # fmt: skip
    found = design.fit(cov_type=cov_type).j_test()
    assert found.statistic == pytest.approx(gmm.j_test().statistic, rel=RTOL)


def test_c_of_endogenous_columns(design):
    oracle = IVGMM(
        design.y, design.exogenous, design.endogenous, design.excluded,
        weights=design.weight, center=False,
    ).fit()  # fmt: skip
    fit = design.fit()
    assert fit.c_test().statistic == pytest.approx(oracle.c_stat().stat, rel=RTOL)
    name = design.endogenous.columns[0]
    found, expected = fit.c_test(name), oracle.c_stat(name)
    assert found.statistic == pytest.approx(expected.stat, rel=RTOL)
    assert (found.df, found.null) == (1, f"{name} exogenous")
    plain = design.fit(cov_type="unadjusted")
    assert plain.c_test().statistic == pytest.approx(plain.durbin().statistic, rel=RTOL)


def test_c_of_instruments_is_a_difference_of_j(two_endogenous):
    d = two_endogenous
    fit = d.fit()
    root = np.sqrt(d.weight / d.weight.mean())[:, None]
    error = d.y.to_numpy() - d.X.to_numpy() @ fit.params_
    scores = root**2 * d.Z.to_numpy() * error[:, None]
    omega = scores.T @ scores / len(scores)

    def j(columns):
        Z = root**2 * d.Z.to_numpy()[:, columns]
        G, m = Z.T @ d.X.to_numpy() / 300, Z.T @ d.y.to_numpy() / 300
        W = np.linalg.inv(omega[np.ix_(columns, columns)])
        rest = m - G @ np.linalg.solve(G.T @ W @ G, G.T @ W @ m)
        return 300 * rest @ W @ rest

    expected = j(list(range(7))) - j([0, 2, 3, 4, 5, 6])
    found = fit.c_test("z2")
    assert found.statistic == pytest.approx(expected, rel=1e-7)
    assert (found.df, found.null) == (1, "z2 valid")
    # Both spare instruments at once: J itself, since the rest fits exactly.
    assert fit.c_test(["z1", "z3"]).statistic == pytest.approx(
        fit.j_test().statistic, rel=RTOL
    )


def test_tests_that_have_nothing_to_test(card_exact, card):
    exact = card_exact.fit()
    for name in ("sargan", "basmann", "wooldridge_overid", "anderson_rubin_overid"):
        with pytest.raises(ValueError, match="exactly identified"):
            getattr(exact, name)()
    assert np.isnan(exact.j_test().pvalue) and exact.j_test().df == 0
    with pytest.raises(ValueError, match="under-identified"):
        exact.c_test("nearc4")
    fit = card.fit()
    with pytest.raises(ValueError, match="the endogenous columns are educ"):
        fit.durbin("exper")
    with pytest.raises(ValueError, match="the endogenous columns are educ"):
        fit.c_test(["educ", "nearc4"])
    plain = card.fit()
    plain.fit(card.X, card.y)
    for name in ("durbin", "wooldridge_score", "first_stage", "c_test"):
        with pytest.raises(ValueError, match="no column of X is endogenous"):
            getattr(plain, name)()


def test_j_says_why_it_is_not_there(one_endogenous):
    y, D, Z, W = one_endogenous(0, q=4)
    groups = np.arange(120) // 60
    fit = LinearIV().fit(
        np.column_stack([D, W]), y, instruments=np.column_stack([Z, W]), groups=groups
    )
    assert fit.result_.j is None and "J:" not in str(fit.summary())
    with pytest.raises(ValueError, match="too few rows or clusters"):
        fit.j_test()
    zero = LinearIV(cov_type="unadjusted").fit(
        np.column_stack([D, W]), 0 * y, instruments=np.column_stack([Z, W])
    )
    with pytest.raises(ValueError, match="fits without residuals"):
        zero.sargan()
    assert_allclose(zero.se_, 0)
