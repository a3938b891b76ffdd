"""SeriesRegressor: statsmodels as judge, invariances of weights, bases."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import PolynomialFeatures, SplineTransformer

from causalweights.learners import SeriesRegressor

# Two factorisations of one well-conditioned design.
EXACT = 1e-10
BASES = ["spline", "polynomial", "linear"]


@pytest.fixture
def data(rng):
    X = rng.uniform(-1, 1, size=(150, 2))
    y = np.sin(2 * X[:, 0]) + X[:, 1] + rng.normal(size=150) * (1.2 + X[:, 0])
    return X, y, rng.uniform(0.1, 3.0, 150)


def design_of(model, X):
    return sm.add_constant(model.basis_.transform(X), has_constant="add")


def standard_errors(model, X):
    A, S = model.linear_influence(X)
    return np.sqrt(np.sum((A @ S) ** 2, axis=1))


@pytest.mark.parametrize("cov_type", ["HC0", "HC1", "HC2", "HC3"])
@pytest.mark.parametrize("basis", BASES)
def test_coefficients_and_standard_errors_are_statsmodels(data, basis, cov_type):
    X, y, w = data
    model = SeriesRegressor(basis, cov_type=cov_type).fit(X, y, sample_weight=w)
    judge = sm.WLS(y, design_of(model, X), weights=w).fit(cov_type=cov_type)
    assert_allclose([model.intercept_, *model.coef_], judge.params, rtol=EXACT)
    assert_allclose(model.cov_, judge.cov_params(), rtol=1e-8, atol=EXACT)
    grid = np.linspace(-0.9, 0.9, 40).reshape(20, 2)
    expected = judge.get_prediction(design_of(model, grid))
    assert_allclose(model.predict(grid), expected.predicted_mean, rtol=EXACT)
    assert_allclose(standard_errors(model, grid), expected.se_mean, rtol=EXACT)
    assert model.rank_ == 1 + len(model.coef_)


@pytest.mark.parametrize("basis", BASES)
def test_scale_of_weights_is_irrelevant(data, basis):
    X, y, w = data
    one, other = (
        SeriesRegressor(basis).fit(X, y, sample_weight=w * c) for c in (1.0, 1e6)
    )
    assert_allclose(other.predict(X), one.predict(X), rtol=EXACT)
    assert_allclose(standard_errors(other, X), standard_errors(one, X), rtol=EXACT)


@pytest.mark.parametrize("basis", BASES)
def test_zero_weight_is_a_dropped_row(data, basis):
    X, y, w = data
    w[::3], y[::3] = 0.0, 1e6
    X[0] = 50.0
    kept = w > 0
    weighted = SeriesRegressor(basis).fit(X, y, sample_weight=w)
    dropped = SeriesRegressor(basis).fit(X[kept], y[kept], sample_weight=w[kept])
    assert_array_equal(weighted.coef_, dropped.coef_)
    A, S = weighted.linear_influence(X[:5])
    _, without = dropped.linear_influence(X[:5])
    assert S.shape == (A.shape[1], 150)
    assert_array_equal(S[:, kept], without)
    assert not np.any(S[:, ~kept])


@pytest.mark.parametrize("basis", BASES)
def test_whole_weights_are_copies(data, basis, rng):
    X, y, _ = data
    s = rng.integers(0, 4, 150)
    weighted = SeriesRegressor(basis).fit(X, y, sample_weight=s)
    copies = SeriesRegressor(basis).fit(X.repeat(s, axis=0), y.repeat(s))
    assert_allclose(weighted.coef_, copies.coef_, rtol=1e-9)
    assert_allclose(weighted.predict(X), copies.predict(X), atol=1e-9)


def test_cov_is_that_of_intercept_and_coefficients(data):
    X, y, w = data
    model = SeriesRegressor("linear").fit(X + 5.0, y, sample_weight=w)
    A = np.column_stack([np.ones(len(X)), X + 5.0])
    variance = np.einsum("ij,jk,ik->i", A, model.cov_, A)
    assert_allclose(np.sqrt(variance), standard_errors(model, X + 5.0), rtol=1e-9)


def test_splines_span_scikit_learns_with_weighted_quantile_knots(data):
    X, y, _ = data
    X = X[:, :1]
    s = np.where(X[:, 0] > 0, 5, 1)
    ours = SeriesRegressor(degree=3, n_knots=4).fit(X, y, sample_weight=s)
    assert len(ours.coef_) == 4 + 3 - 2  # of n_knots + degree - 1, one is the constant
    levels = [0, 1 / 3, 2 / 3, 1]
    knots = np.quantile(X.repeat(s), levels, method="inverted_cdf")[:, None]
    theirs = SplineTransformer(degree=3, knots=knots).fit(X)
    fit = LinearRegression(fit_intercept=False)
    fit.fit(theirs.transform(X), y, sample_weight=s)
    assert_allclose(ours.predict(X), fit.predict(theirs.transform(X)), atol=1e-9)


def test_weighted_quantile_knots_follow_equal_weights_of_any_scale(rng):
    # Ties of cumulated masses with the levels: 60 rows in 5 parts.
    X, y = rng.normal(size=(60, 1)), rng.normal(size=60)
    one, other = (SeriesRegressor().fit(X, y, np.full(60, c)) for c in (1.0, 0.1 / 7))
    assert_allclose(one.predict(X), other.predict(X), atol=1e-9)


def test_two_values_are_linear_and_ties_lose_knots(rng):
    X = np.column_stack([rng.integers(0, 2, 200), rng.normal(size=200)])
    X[:120, 1] = 0.0
    y = X[:, 0] + np.abs(X[:, 1]) + rng.normal(size=200)
    model = SeriesRegressor().fit(X, y)
    assert np.all(np.isfinite(model.predict(X)))
    assert np.ptp(model.basis_.transform(X)[:, 0]) == 1.0
    assert 2 <= len(model.coef_) < 1 + 7


def test_a_transformer_is_cloned_and_gets_the_weights(data):
    X, y, w = data

    class Recorder(PolynomialFeatures):
        def fit(self, X, y=None, sample_weight=None):
            self.seen_ = sample_weight
            return super().fit(X)

    basis = Recorder(2)
    model = SeriesRegressor(basis).fit(X, y, sample_weight=w)
    assert not hasattr(basis, "seen_")
    assert_array_equal(model.basis_.seen_, w)
    judge = LinearRegression().fit(X, y, sample_weight=w)
    plain = SeriesRegressor(ColumnTransformer([("all", "passthrough", [0, 1])]))
    fitted = plain.fit(X, y, sample_weight=w)
    assert_allclose(fitted.predict(X), judge.predict(X), rtol=EXACT)
    assert model.rank_ == 6  # its constant is collinear with the intercept


def test_collinear_columns_share_and_change_no_prediction(data):
    X, y, w = data
    plain = SeriesRegressor("linear").fit(X, y, sample_weight=w)
    rounded = np.where(np.arange(150) % 2, 0.1 + 0.2, 0.3)  # a constant but for bits
    twice = np.column_stack([X, 2 * X[:, 1], rounded])
    model = SeriesRegressor("linear").fit(twice, y, sample_weight=w)
    assert model.rank_ == 3 and model.coef_[3] == 0.0
    assert model.coef_[1] == pytest.approx(2 * model.coef_[2])
    assert_allclose(model.predict(twice), plain.predict(X), rtol=EXACT)
    assert_allclose(standard_errors(model, twice), standard_errors(plain, X), rtol=1e-9)


def test_a_shifted_column_changes_no_prediction(data):
    X, y, w = data
    for basis in BASES:
        model = SeriesRegressor(basis).fit(X, y, sample_weight=w)
        moved = SeriesRegressor(basis).fit(X + 1e5, y, sample_weight=w)
        # The shift itself rounds the covariates at 1e-11.
        assert_allclose(moved.predict(X + 1e5), model.predict(X), atol=1e-8)


def test_a_row_that_decides_its_own_fit_gets_the_others_noise(rng):
    X = np.column_stack([rng.normal(size=50), np.arange(50) == 7])
    y, w = rng.normal(size=50), rng.uniform(0.1, 2, 50)
    model = SeriesRegressor("linear", cov_type="HC3").fit(X, y, sample_weight=w)
    others = np.arange(50) != 7
    design = sm.add_constant(X[others, 0])
    rest = sm.WLS(y[others], design, weights=w[others]).fit()
    spread = np.linalg.inv(design.T @ (w[others, None] * design))
    leverage = w[others] * np.einsum("ij,jk,ik->i", design, spread, design)
    leave_one_out = rest.resid / (1 - leverage)
    _, S = model.linear_influence(X[[7]])
    at_row = np.array([1.0, *X[7]])
    # Its own fit is its outcome: the error is its own noise, whatever the others do.
    assert np.sqrt(at_row @ model.cov_ @ at_row) == pytest.approx(
        np.sqrt(np.average(leave_one_out**2, weights=w[others])), rel=1e-6
    )
    assert np.all(np.isfinite(S))


def test_no_more_rows_than_coefficients_has_no_standard_error(rng):
    X, y = rng.normal(size=(3, 2)), rng.normal(size=3)
    for cov_type in ("HC0", "HC1", "HC2", "HC3"):
        model = SeriesRegressor("linear", cov_type=cov_type).fit(X, y)
        assert_allclose(model.predict(X), y)
        assert np.all(np.isnan(model.cov_))
        with pytest.raises(ValueError, match="more rows of positive weight than the 3"):
            model.linear_influence(X)


def test_frames_with_categories(rng):
    frame = pd.DataFrame(
        {"age": rng.normal(size=80), "city": rng.choice(["a", "b", "c"], 80)}
    )
    y = frame["age"] + (frame["city"] == "b") + 0.1 * rng.normal(size=80)
    model = SeriesRegressor("linear").fit(frame, y)
    assert model.rank_ == 4
    assert model.score(frame, y) > 0.95


def test_errors_advise(data):
    X, y, _ = data

    class Broken(PolynomialFeatures):
        def transform(self, X):
            return np.full((len(X), 1), np.nan)

    with pytest.raises(ValueError, match=r"basis must transform rows .* Broken"):
        SeriesRegressor(Broken()).fit(X, y)
    with pytest.raises(ValueError, match="'basis' parameter"):
        SeriesRegressor("wavelet").fit(X, y)
    with pytest.raises(ValueError, match="'n_knots' parameter"):
        SeriesRegressor(n_knots=1).fit(X, y)
