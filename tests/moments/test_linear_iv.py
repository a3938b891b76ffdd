"""LinearIV: published numbers, linearmodels, weights, frames and refusals."""

import inspect

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import statsmodels.api as sm
from linearmodels.iv import IV2SLS
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GridSearchCV, cross_val_score

from causalweights import GMM, LinearIV
from causalweights.datasets import load_card

# linearmodels inverts cross-products; some ten digits are left.
RTOL = 1e-8
KINDS = ["unadjusted", "robust", "cluster", "hac"]


def test_card_exactly_identified(card_exact):
    fit = card_exact.fit()
    assert fit.params_[0] == pytest.approx(0.1315038362, abs=5e-11)
    assert fit.se_[0] == pytest.approx(0.0539995, abs=5e-8)
    assert fit.j_test().statistic == 0
    # Every k-class estimator is the same, and so is GMM.
    for method in ("liml", "2sls"):
        assert_allclose(card_exact.fit(method).params_, fit.params_, rtol=RTOL)
    gmm = GMM().fit(card_exact.X, card_exact.y, instruments=card_exact.Z)
    assert_allclose(gmm.params_, fit.params_, rtol=RTOL)
    assert_allclose(gmm.se_, fit.se_, rtol=1e-7)


def test_card_overidentified(card):
    fit = card.fit()
    assert fit.params_[0] == pytest.approx(0.1570593700, abs=5e-11)
    assert fit.se_[0] == pytest.approx(0.0524127, abs=5e-8)
    assert fit.sargan().statistic == pytest.approx(1.24815, abs=5e-6)
    assert fit.j_test().statistic == pytest.approx(1.26891, abs=5e-6)
    assert fit.j_test().pvalue == pytest.approx(0.25997, abs=5e-6)
    assert card.fit("liml").params_[0] == pytest.approx(0.1640278, abs=5e-8)


def test_mroz(mroz_sample):
    fit = mroz_sample.fit()
    # Printed as 0.0613967; the file gives 0.06139663, in linearmodels as well.
    assert fit.params_[0] == pytest.approx(0.0613967, abs=1e-7)
    assert fit.j_test().statistic == pytest.approx(0.4435, abs=5e-5)
    assert fit.result_.n_samples == 428


def test_exogenous_regressors_are_least_squares(card):
    expected = sm.OLS(card.y, card.X).fit(cov_type="HC0")
    for method in ("2sls", "liml", "fuller"):
        fit = LinearIV(method).fit(card.X, card.y)
        assert_allclose(fit.params_, expected.params, rtol=RTOL)
        assert_allclose(fit.se_, expected.bse, rtol=RTOL)
        assert fit.endogenous_ == [] and fit.j_test().df == 0
    # More instruments than regressors change nothing where all are exogenous.
    more = LinearIV().fit(
        card.X, card.y, instruments=pd.concat([card.Z, card.X["educ"]], axis=1)
    )
    assert_allclose(more.params_, expected.params, rtol=RTOL)
    assert more.sargan().df == 2
    # k = 0 leaves the instruments out; its errors are those of least squares.
    zero = card.fit("k-class", k=0)
    assert_allclose(zero.params_, expected.params, rtol=RTOL)
    assert_allclose(zero.se_, expected.bse, rtol=RTOL)


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("cov_type", KINDS)
@pytest.mark.parametrize("method", ["2sls", "liml", "fuller"])
def test_same_as_linearmodels(design, method, cov_type, debiased):
    options = {"fuller": 1} if method == "fuller" else {}
    fit = design.fit(method, cov_type, debiased=debiased)
    oracle = design.oracle(method, cov_type, debiased, **options)
    assert_allclose(fit.params_, oracle.params[fit.names_], rtol=RTOL, atol=1e-10)
    # Theirs: the factor G / (G - 1) of clusters comes with debiased only.
    cov = oracle.cov.loc[fit.names_, fit.names_].to_numpy()
    if cov_type == "cluster" and not debiased:
        cov = cov * design.cluster_factor
    assert_allclose(fit.cov_, cov, rtol=1e-7, atol=1e-10)
    assert_allclose(fit.se_**2, np.diag(cov), rtol=RTOL)
    expected = 1.0 if method == "2sls" else oracle.kappa
    assert fit.kappa_ == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("cov_type", ["unadjusted", "robust"])
def test_a_given_k(two_endogenous, cov_type):
    d = two_endogenous
    fit = d.fit("k-class", cov_type, k=0.7)
    oracle = d.oracle("k-class", cov_type, kappa=0.7)
    assert_allclose(fit.params_, oracle.params[fit.names_], rtol=RTOL)
    if cov_type == "unadjusted":
        assert_allclose(fit.se_, oracle.std_errors[fit.names_], rtol=RTOL)
        return
    # The sandwich of the estimating equation; linearmodels' scores are others.
    s = (d.weight / d.weight.mean())[:, None]
    X, Z = d.X.to_numpy(), d.Z.to_numpy()
    fitted = Z @ np.linalg.solve(Z.T @ (s * Z), Z.T @ (s * X))
    used = 0.3 * X + 0.7 * fitted
    bread = np.linalg.inv(used.T @ (s * X))
    scores = s * used * (d.y.to_numpy() - X @ fit.params_)[:, None]
    assert_allclose(fit.cov_, bread @ scores.T @ scores @ bread.T, rtol=1e-7)


def test_the_automatic_bandwidth_is_that_of_gmm(card):
    fit = LinearIV(cov_type="hac").fit(card.X, card.y, instruments=card.Z)
    gmm = GMM(steps=1, cov_type="hac").fit(card.X, card.y, instruments=card.Z)
    assert fit.hac_bandwidth_ == gmm.hac_bandwidth_ > 0
    assert_allclose(fit.se_, gmm.se_, rtol=RTOL)
    assert card.fit().hac_bandwidth_ is None


@pytest.mark.parametrize("cov_type", ["unadjusted", "robust", "cluster"])
@pytest.mark.parametrize("method", ["2sls", "liml", "fuller"])
def test_frequency_weights_are_copies(one_endogenous, method, cov_type):
    y, D, Z, W = one_endogenous(4)
    X, Z = np.column_stack([D, W]), np.column_stack([Z, W])
    s = np.random.default_rng(0).integers(0, 4, size=len(y))
    groups = np.arange(len(y)) // 6
    options = {"method": method, "cov_type": cov_type, "weight_type": "frequency"}

    def fit(rows, weight):
        labels = groups[rows] if cov_type == "cluster" else None
        return LinearIV(**options).fit(
            X[rows], y[rows], instruments=Z[rows], sample_weight=weight, groups=labels
        )

    weighted, copied = fit(slice(None), s), fit(np.repeat(np.arange(len(y)), s), None)
    assert weighted.result_.n_samples == copied.result_.n_samples == s.sum()
    assert_allclose(weighted.params_, copied.params_, rtol=RTOL)
    assert_allclose(weighted.cov_, copied.cov_, rtol=1e-7)
    for name in (
        "sargan", "basmann", "wooldridge_overid", "wooldridge_score", "durbin",
        "wooldridge_regression", "wu_hausman", "c_test", "anderson_rubin_overid",
        "anderson_rubin_test",
    ):  # fmt: skip
        one, other = getattr(weighted, name)(), getattr(copied, name)()
        assert one.statistic == pytest.approx(other.statistic, rel=1e-7), name
        assert one.pvalue == pytest.approx(other.pvalue, rel=1e-6), name
    one, other = weighted.first_stage(), copied.first_stage()
    assert_allclose(one.to_frame(), other.to_frame(), rtol=1e-7)
    assert one.effective_f.statistic == pytest.approx(other.effective_f.statistic)
    assert_allclose(
        weighted.conf_int(method="ar"), copied.conf_int(method="ar"), rtol=1e-6
    )


def test_sampling_weights_have_no_scale_and_zero_drops(two_endogenous):
    d = two_endogenous
    weight = d.weight.copy()
    weight[::7] = 0
    rows = weight > 0
    one = LinearIV().fit(d.X, d.y, instruments=d.Z, sample_weight=weight)
    other = LinearIV().fit(
        d.X[rows], d.y[rows], instruments=d.Z[rows], sample_weight=50 * weight[rows]
    )
    assert_allclose(one.params_, other.params_, rtol=RTOL)
    assert_allclose(one.se_, other.se_, rtol=RTOL)
    assert one.residuals_.shape == (rows.sum(),)
    assert_allclose(one.residuals_, (d.y - one.predict(d.X))[rows])


def test_groups_make_robust_errors_those_of_clusters(card):
    groups = {"groups": card.groups, "instruments": card.Z}
    plain = LinearIV().fit(card.X, card.y, **groups)
    assert_array_equal(plain.se_, card.fit(cov_type="cluster").se_)
    assert "602" in str(plain.summary())
    with pytest.raises(ValueError, match="does not use clusters"):
        LinearIV(cov_type="hac").fit(card.X, card.y, **groups)


def test_an_intercept_is_added_last():
    data = load_card()
    fit = LinearIV(fit_intercept=True).fit(data.X, data.y, instruments=data.instruments)
    assert fit.names_ == [*data.X.columns, "Intercept"]
    assert fit.endogenous_ == ["educ"] and fit.excluded_ == ["nearc4"]
    oracle = IV2SLS(
        data.y, sm.add_constant(data.X[data.exogenous]), data.X[["educ"]],
        data.instruments[["nearc4"]],
    ).fit()  # fmt: skip
    names = [*data.X.columns, "const"]
    assert_allclose(fit.params_, oracle.params[names], rtol=RTOL, atol=1e-10)
    assert_allclose(fit.predict(data.X), oracle.fitted_values.iloc[:, 0], rtol=RTOL)


def test_arrays_frames_and_a_formula_agree(mroz_sample):
    d = mroz_sample
    fit = d.fit()
    plain = LinearIV().fit(d.X.to_numpy(), d.y.to_numpy(), instruments=d.Z.to_numpy())
    assert plain.endogenous_ == ["x0"] and plain.excluded_ == ["z0", "z1"]
    assert_allclose(plain.cov_, fit.cov_, rtol=RTOL)
    other = LinearIV().fit(
        pl.from_pandas(d.X), pl.Series(d.y), instruments=pl.from_pandas(d.Z)
    )
    assert other.names_ == fit.names_
    assert_allclose(other.cov_, fit.cov_, rtol=RTOL)
    frame = pd.concat([d.Z, d.endogenous, d.y], axis=1)
    formula = LinearIV.from_formula(
        "lwage ~ 1 + exper + expersq + [educ ~ fatheduc + motheduc]", frame
    )
    assert formula.endogenous_ == ["educ"]
    found = dict(zip(formula.names_, formula.se_, strict=True))
    assert found["educ"] == pytest.approx(fit.se_[0], rel=RTOL)
    assert_allclose(formula.predict(frame[::2]), fit.predict(d.X[::2]), rtol=RTOL)


def test_the_order_of_columns_does_not_matter(two_endogenous):
    d = two_endogenous
    fit = d.fit("liml")
    order = np.random.default_rng(1).permutation(5)
    other = LinearIV("liml").fit(
        d.X.iloc[:, order], d.y, instruments=d.Z.iloc[:, ::-1], sample_weight=d.weight
    )
    assert_allclose(other.params_, fit.params_[order], rtol=RTOL)
    assert_allclose(other.se_, fit.se_[order], rtol=RTOL)
    assert set(other.endogenous_) == {"d1", "d2"}


def test_columns_of_one_name_must_agree(card):
    Z = card.Z.copy()
    Z["exper"] = Z["exper"] + 1.0
    with pytest.raises(ValueError, match="both have a column 'exper'"):
        LinearIV().fit(card.X, card.y, instruments=Z)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"method": "k-class"}, "needs k"),
        ({"k": 1.0}, "k belongs to method='k-class', not to '2sls'"),
        ({"method": "k-class", "k": 50.0}, "no minimum from k="),
        ({"method": "ols"}, "'method' parameter"),
        ({"cov_type": "cluster"}, "needs groups"),
        ({"method": "fuller", "fuller": 0}, "'fuller' parameter"),
    ],
)
def test_options_that_do_not_go_together(card, params, message):
    with pytest.raises(ValueError, match=message):
        LinearIV(**params).fit(card.X, card.y, instruments=card.Z)


def test_too_few_instruments_or_rows(card):
    with pytest.raises(ValueError, match="under-identified"):
        LinearIV().fit(card.X, card.y, instruments=card.exogenous)
    rng = np.random.default_rng(0)
    X, Z, y = rng.normal(size=(6, 2)), rng.normal(size=(6, 6)), rng.normal(size=6)
    # As many instruments as rows span everything: least squares.
    fit = LinearIV("fuller").fit(X, y, instruments=Z)
    assert fit.endogenous_ == [] and np.all(np.isfinite(fit.se_))
    assert_allclose(fit.params_, np.linalg.lstsq(X, y, rcond=None)[0])
    with pytest.raises(ValueError, match="LIML is not defined"):
        LinearIV("liml").fit(X, y, instruments=Z[:, :4])
    with pytest.raises(ValueError, match="debiased=True needs more than 2 rows"):
        LinearIV(debiased=True).fit(X[:2], y[:2], instruments=Z[:2, :2])


def test_collinear_instruments_are_said(card):
    Z = card.Z.assign(again=2.0 * card.Z["nearc4"])
    with pytest.warns(UserWarning, match="again depend on the columns before"):
        fit = LinearIV().fit(card.X, card.y, instruments=Z)
    assert_allclose(fit.params_, card.fit().params_, rtol=1e-7)


def test_a_constant_outcome(card):
    fit = LinearIV().fit(card.X, 0 * card.y + 2.0, instruments=card.Z)
    assert_allclose(fit.params_, np.eye(16)[-1] * 2, atol=1e-7)
    assert np.all(fit.se_ < 1e-7) and np.all(np.isfinite(fit.se_))


def test_a_refused_fit_leaves_the_last_one(card):
    fit = card.fit()
    before = fit.params_
    with pytest.raises(ValueError, match="under-identified"):
        fit.fit(card.X, card.y, instruments=card.exogenous)
    assert fit.params_ is before


def test_data_stay_as_they_are(two_endogenous):
    d = two_endogenous
    arrays = [d.X.to_numpy(copy=True), d.y.to_numpy(copy=True), d.Z.to_numpy(copy=True)]
    copies = [a.copy() for a in arrays]
    X, y, Z = arrays
    fit = LinearIV("liml").fit(X, y, instruments=Z, sample_weight=d.weight)
    fit.first_stage(), fit.wu_hausman(), fit.anderson_rubin_test(), fit.summary()
    for now, before in zip(arrays, copies, strict=True):
        assert_array_equal(now, before)


def test_summary_and_tests_of_coefficients(card):
    fit = card.fit("fuller", cov_type="hac")
    text = str(fit.summary())
    for part in ("Fuller", "educ", "Effective F", "bartlett, 3 lags", "J:"):
        assert part in text
    test = fit.wald_test("educ = 0.1, exper = 0")
    R = np.eye(16)[:2]
    gap = R @ fit.params_ - [0.1, 0]
    expected = gap @ np.linalg.solve(R @ fit.cov_ @ R.T, gap)
    assert test.statistic == pytest.approx(expected, rel=1e-10)
    half = 1.959963984540054 * fit.se_
    assert_allclose(
        fit.conf_int(), np.column_stack([fit.params_ - half, fit.params_ + half])
    )
    assert_allclose(fit.result_.conf_int(), fit.conf_int())


def test_summary_with_two_endogenous_columns(two_endogenous):
    text = str(two_endogenous.fit().summary())
    assert "Cragg-Donald F" in text and "d1, d2" in text


def test_score_is_that_of_one_step_gmm(two_endogenous):
    d = two_endogenous
    fit = d.fit()
    gmm = GMM(steps=1).fit(d.X, d.y, instruments=d.Z, sample_weight=d.weight)
    new = {"instruments": d.Z[::2], "sample_weight": d.weight[::2]}
    found = fit.score(d.X[::2], d.y[::2], **new)
    assert found == pytest.approx(gmm.score(d.X[::2], d.y[::2], **new), rel=1e-8)
    assert found < 0
    with pytest.raises(ValueError, match="instruments are missing"):
        fit.score(d.X, d.y)


def test_instruments_are_routed_in_a_search(two_endogenous):
    d = two_endogenous
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(LinearIV("k-class"), {"k": [0.0, 1.0]}, cv=3)
        search.fit(d.X, d.y, instruments=d.Z)
        scores = cross_val_score(
            LinearIV(), d.X, d.y, params={"instruments": d.Z, "groups": d.groups}, cv=3
        )
    # Least squares violates the moments.
    assert search.best_params_ == {"k": 1.0}
    assert np.all(scores < 0)


def test_tests_are_methods_with_docstrings():
    for name, method in inspect.getmembers(LinearIV, inspect.isfunction):
        if not name.startswith("_"):
            assert method.__doc__, name
