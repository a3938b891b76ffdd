"""First-stage statistics beside linearmodels, and their identities."""

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose

RTOL = 1e-8
KINDS = ["unadjusted", "robust", "cluster", "hac"]


@pytest.mark.parametrize("cov_type", KINDS)
def test_same_as_linearmodels(design, cov_type):
    fit = design.fit(cov_type=cov_type)
    ours, theirs = fit.first_stage(), design.oracle(cov_type=cov_type).first_stage
    table = theirs.diagnostics
    assert ours.names == list(table.index)
    assert_allclose(ours.r2, table["rsquared"], rtol=RTOL)
    assert_allclose(ours.partial_r2, table["partial.rsquared"], rtol=RTOL)
    assert_allclose(ours.shea_r2, table["shea.rsquared"], rtol=RTOL)
    # Theirs: without small-sample factor, and not divided by q where robust.
    n, c, q = len(design.y), design.Z.shape[1], design.excluded.shape[1]
    factor = (n - c) / n / (1 if cov_type == "unadjusted" else q)
    if cov_type == "cluster":
        factor *= n / (n - 1) / design.cluster_factor
    assert_allclose(ours.f, table["f.stat"] * factor, rtol=RTOL)
    assert ours.cragg_donald == pytest.approx(theirs.cragg_donald_f, rel=RTOL)
    assert ours.kleibergen_paap == pytest.approx(theirs.kleibergen_paap_f, rel=RTOL)
    # Theirs: clusters without G / (G - 1).
    clusters = design.cluster_factor if cov_type == "cluster" else 1.0
    test, other = ours.underidentification, theirs.kleibergen_paap
    assert test.statistic * clusters == pytest.approx(other.stat, rel=RTOL)
    assert test.df == other.df


def test_the_partial_f_is_that_of_a_regression(card):
    reduced = sm.OLS(card.endogenous["educ"], card.Z).fit()
    expected = reduced.f_test("nearc2 = 0, nearc4 = 0")
    report = card.fit(cov_type="unadjusted").first_stage()
    assert report.f[0] == pytest.approx(expected.statistic, rel=RTOL)
    assert report.pvalue[0] == pytest.approx(float(expected.pvalue), rel=RTOL)
    assert report.df_denominator == expected.df_denom
    clusters = {"groups": card.groups}
    robust = sm.OLS(card.endogenous["educ"], card.Z).fit(
        cov_type="cluster", cov_kwds=clusters
    )
    expected = robust.f_test("nearc2 = 0, nearc4 = 0")
    report = card.fit(cov_type="cluster").first_stage()
    assert report.f[0] == pytest.approx(expected.statistic, rel=RTOL)
    assert report.pvalue[0] == pytest.approx(float(expected.pvalue), rel=1e-6)


@pytest.mark.parametrize("cov_type", KINDS)
def test_one_instrument_has_one_f(card_exact, cov_type):
    report = card_exact.fit(cov_type=cov_type).first_stage()
    assert report.kleibergen_paap == pytest.approx(report.f[0], rel=RTOL)
    assert report.effective_f.statistic == pytest.approx(report.f[0], rel=RTOL)
    assert report.effective_f.critical == pytest.approx(
        report.effective_f.simplified, rel=1e-6
    )
    assert report.stock_yogo is None


def test_shea_is_partial_for_one_column(card, two_endogenous):
    one = card.fit().first_stage()
    assert_allclose(one.shea_r2, one.partial_r2, rtol=RTOL)
    two = two_endogenous.fit().first_stage()
    assert np.all(two.shea_r2 < two.partial_r2)
    assert two.effective_f is None and two.stock_yogo is None


def test_too_few_clusters_are_said(card):
    groups = np.arange(len(card.y)) % 2
    fit = card.fit(cov_type="unadjusted").set_params(cov_type="cluster")
    fit.fit(card.X, card.y, instruments=card.Z, groups=groups)
    with pytest.warns(UserWarning, match="2 excluded instruments and only 2 clusters"):
        report = fit.first_stage()
    assert np.isnan(report.f[0]) and np.isnan(report.kleibergen_paap)
    assert report.effective_f.statistic > 0 and report.cragg_donald > 0


def test_the_report_can_be_read(card):
    report = card.fit().first_stage()
    frame = report.to_frame()
    assert frame.index.tolist() == ["educ"]
    assert frame.loc["educ", "f"] == report.f[0]
    text = str(report)
    for part in ("educ", "2 excluded", "Cragg-Donald F: 7.893", "Effective F", "10%"):
        assert part in text
