"""Tables, intervals and Wald tests of estimated parameters."""

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy import stats

from causalweights.moments import GMM, MomentResult, TestResult

NAMES = ["educ", "exper", "Intercept"]


@pytest.fixture
def result():
    root = np.random.default_rng(0).normal(size=(3, 3))
    return MomentResult(
        np.array([0.13, -0.04, 5.0]), root @ root.T / 50, NAMES, 428.0,
        TestResult.of("Hansen's J", 1.2, 2, "the moments have mean zero"),
        {"Method": "GMM", "No. moments": 5, "lam": 1e-3},
    )  # fmt: skip


def test_numbers_of_the_table(result):
    frame = result.to_frame(0.9)
    assert list(frame.index) == NAMES
    assert_allclose(frame["se"] ** 2, np.diagonal(result.cov))
    assert_allclose(frame["z"], frame["estimate"] / frame["se"])
    assert_allclose(frame["pvalue"], 2 * stats.norm.cdf(-np.abs(frame["z"])))
    half = stats.norm.ppf(0.95) * frame["se"]
    assert_allclose(frame["upper"] - frame["estimate"], half)
    assert_allclose(result.conf_int(0.9), frame[["lower", "upper"]])
    with pytest.raises(ValueError, match="level must lie"):
        result.conf_int(95)


def test_wald_test_of_a_matrix_is_that_of_statsmodels():
    rng = np.random.default_rng(1)
    X = sm.add_constant(rng.normal(size=(200, 3)), prepend=False)
    y = X @ [0.1, 0.2, 0.0, 1.0] + rng.normal(size=200)
    ours = GMM().fit(X, y)
    theirs = sm.OLS(y, X).fit(cov_type="HC0")
    R, r = np.array([[1.0, -1, 0, 0], [0, 0, 1, 0]]), np.array([0.0, 0.1])
    expected = theirs.wald_test((R, r), use_f=False, scalar=True)
    found = ours.wald_test(R, r)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-8)
    assert found.pvalue == pytest.approx(expected.pvalue, rel=1e-6)
    assert found.df == 2


@pytest.mark.parametrize(
    ("hypothesis", "R", "r"),
    [
        ("educ", [[1, 0, 0]], [0]),
        (["educ", "exper"], [[1, 0, 0], [0, 1, 0]], [0, 0]),
        ("educ = 0.1", [[1, 0, 0]], [0.1]),
        ("educ = 2 * exper, Intercept = 5", [[1, -2, 0], [0, 0, 1]], [0, 5]),
        (["educ + exper = 0", "Intercept = 4"], [[1, 1, 0], [0, 0, 1]], [0, 4]),
        ([1, -1, 0], [[1, -1, 0]], [0]),
    ],
)
def test_hypotheses_in_words_are_matrices(hypothesis, R, r, result):
    found = result.wald_test(hypothesis)
    R, gap = np.array(R, dtype=float), np.array(R) @ result.params - r
    expected = gap @ np.linalg.inv(R @ result.cov @ R.T) @ gap
    assert found.statistic == pytest.approx(expected)
    assert found.df == len(r)
    assert found.pvalue == pytest.approx(stats.chi2.sf(expected, len(r)))


def test_one_zero_is_the_squared_z(result):
    assert result.wald_test("exper").statistic == pytest.approx(
        result.statistic[1] ** 2
    )


@pytest.mark.parametrize(
    ("hypothesis", "values", "message"),
    [
        ("wage", None, "no parameter is called wage: the names are educ, exper"),
        ("wage = 1", None, "'wage = 1' is no linear restriction of educ"),
        ("educ * exper = 1", None, "is no linear restriction"),
        ("educ = 1", [1.0], "values belong to a matrix"),
        ([[1.0, 0]], None, r"R has shape \(1, 2\)"),
        ([[1.0, 0, 0]], [1.0, 2.0], "values"),
        (["educ", "educ"], None, "the 2 restrictions have rank 1"),
    ],
)
def test_bad_hypotheses_are_refused(hypothesis, values, message, result):
    with pytest.raises(ValueError, match=message):
        result.wald_test(hypothesis, values)


def test_what_is_shown(result):
    assert "0.001" in str(result.summary())  # lam
    text = result.summary(0.9).as_text()
    for part in (
        "educ",
        "428",
        "No. moments",
        "1.2000, df 2, p 0.549",
        "[0.05",
        "0.95]",
    ):
        assert part in text, part
    assert "educ" in result.to_latex() and "educ" in result.to_html()
    assert "<table" in result._repr_html_()
    assert repr(result).startswith("MomentResult(educ: 0.1300 (se ")


def test_tests_and_their_laws():
    chi = TestResult.of("Wald", 3.84, 1, "nothing")
    assert chi.pvalue == pytest.approx(stats.chi2.sf(3.84, 1))
    assert str(chi) == "Wald: 3.8400 ~ chi2(1), p = 0.0500. H0: nothing."
    ratio = TestResult.of("F", 3.0, 2, "nothing", 40.0)
    assert ratio.pvalue == pytest.approx(stats.f.sf(3.0, 2, 40.0))
    assert "F(2, 40)" in str(ratio)
    none = TestResult.of("J", 0.0, 0, "nothing")
    assert np.isnan(none.pvalue) and "p =" not in str(none)
