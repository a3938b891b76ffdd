"""LocalPolynomialRegressor: brute force, exact polynomials, degenerate data."""

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.preprocessing import PolynomialFeatures

from causalweights.learners import LocalPolynomialRegressor, WeightedKernelRidge
from causalweights.learners._local_bandwidth import (
    choose_bandwidth,
    compare_bandwidths,
)
from causalweights.learners._local_smoother import monomials

# Two solutions of one local system.
EXACT = 1e-8
PROFILES = {
    "epanechnikov": lambda u: np.maximum(1 - u**2, 0),
    "triangular": lambda u: np.maximum(1 - u, 0),
    "gaussian": lambda u: np.exp(-(u**2) / 2),
}


def draw(rng, n, d):
    X = rng.uniform(-1, 1, size=(n, d)) * [1.0, 5.0, 0.2][:d] + 3.0
    return X, np.sin(X.sum(axis=1)) + 0.3 * rng.normal(size=n), rng.uniform(0.1, 2, n)


def standardised(X, w, points):
    mean = np.average(X, axis=0, weights=w)
    scale = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=w))
    return (X - mean) / scale, (points - mean) / scale


def by_hand(X, y, w, points, h, degree, kernel):
    """Return local fits by least squares on the square-root weighted design."""
    Z, P = standardised(X, w, points)
    powers = PolynomialFeatures(degree)
    out = np.empty(len(P))
    for i, x in enumerate(P):
        u = np.sqrt(((Z - x) ** 2).sum(axis=1)) / h
        root = np.sqrt(w * PROFILES[kernel](u))
        design = powers.fit_transform((Z - x) / min(h, 1.0))
        out[i] = np.linalg.lstsq(root[:, None] * design, root * y)[0][0]
    return out


@pytest.mark.parametrize("kernel", PROFILES)
@pytest.mark.parametrize("bias_correction", [False, True])
@pytest.mark.parametrize(("d", "h"), [(1, 0.4), (2, 1.2), (3, 2.0)])
def test_equals_least_squares_at_each_point(rng, d, h, kernel, bias_correction):
    X, y, w = draw(rng, 300, d)
    points = draw(rng, 20, d)[0]
    model = LocalPolynomialRegressor(
        1, bandwidth=h, kernel=kernel, bias_correction=bias_correction
    ).fit(X, y, sample_weight=w)
    # No window of this test is widened.
    assert_array_equal(model._bandwidths(model._points(points)), h)
    expected = by_hand(X, y, w, points, h, 1 + bias_correction, kernel)
    assert_allclose(model.predict(points), expected, atol=EXACT)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("degree", [0, 1, 2])
@pytest.mark.parametrize("bias_correction", [False, True])
def test_reproduces_polynomials(rng, d, degree, bias_correction):
    X, _, w = draw(rng, 200, d)
    points = draw(rng, 50, d)[0]
    powers = PolynomialFeatures(degree + bias_correction).fit(X)
    coef = rng.normal(size=powers.n_output_features_)
    model = LocalPolynomialRegressor(
        degree, bandwidth=0.3, bias_correction=bias_correction
    ).fit(X, powers.transform(X) @ coef, sample_weight=w)
    expected = powers.transform(points) @ coef
    assert_allclose(model.predict(points), expected, rtol=1e-7, atol=1e-7)
    # ... but not those of one degree more.
    y = X[:, 0] ** (degree + bias_correction + 1)
    model.fit(X, y, sample_weight=w)
    missed = model.predict(points) - points[:, 0] ** (degree + bias_correction + 1)
    assert np.abs(missed).max() > 1e-5


@pytest.mark.parametrize("degree", [1, 2])
def test_infinite_bandwidth_is_the_global_polynomial(rng, degree):
    X, y, w = draw(rng, 100, 2)
    model = LocalPolynomialRegressor(degree, bandwidth=np.inf, bias_correction=False)
    model.fit(X, y, sample_weight=w)
    Z, _ = standardised(X, w, X)
    design = PolynomialFeatures(degree).fit_transform(Z)
    root = np.sqrt(w)
    coef = np.linalg.lstsq(root[:, None] * design, root * y)[0]
    assert_allclose(model.predict(X), design @ coef, atol=EXACT)
    wide = LocalPolynomialRegressor(degree, bandwidth=1e6, bias_correction=False)
    wide.fit(X, y, sample_weight=w)
    assert_allclose(wide.predict(X), model.predict(X), atol=EXACT)


@pytest.mark.parametrize("kernel", PROFILES)
@pytest.mark.parametrize("d", [1, 2])
def test_leave_one_out_equals_refits(rng, d, kernel):
    n, h = 60, 1.5
    X, y, w = draw(rng, n, d)
    model = LocalPolynomialRegressor(
        bandwidth=[h, 2 * h], kernel=kernel, bias_correction=False
    ).fit(X, y, sample_weight=w)
    Z, _ = standardised(X, w, X)
    for k, width in enumerate(model.loo_path_["bandwidth"]):
        residuals = np.empty(n)
        for i in range(n):
            left = np.arange(n) != i
            u = np.sqrt(((Z[left] - Z[i]) ** 2).sum(axis=1)) / width
            root = np.sqrt(w[left] * PROFILES[kernel](u))
            design = np.column_stack([np.ones(n - 1), Z[left] - Z[i]])
            fit = np.linalg.lstsq(root[:, None] * design, root * y[left])[0]
            residuals[i] = y[i] - fit[0]
        error = np.average(residuals**2, weights=w)
        assert model.loo_path_["loo_error"][k] == pytest.approx(error, rel=EXACT)
        if width == model.bandwidth_:
            assert model.loo_error_ == pytest.approx(error, rel=EXACT)
            assert_allclose(model._noise, residuals[model._rows], atol=EXACT)
    assert model.bandwidth_ in (h, 2 * h)
    # The corrected fit keeps the bandwidth chosen for the plain one; of the narrower,
    # it widens some windows.
    corrected = LocalPolynomialRegressor(bandwidth=[h, 2 * h], kernel=kernel)
    corrected.fit(X, y, sample_weight=w)
    errors = [m.loo_path_["loo_error"][0] for m in (corrected, model)]
    assert errors[0] == errors[1]


def test_influence_is_the_smoothers_rows_times_leave_one_out_residuals(rng):
    X, y, w = draw(rng, 80, 1)
    w[::4] = 0.0
    points = draw(rng, 10, 1)[0]
    model = LocalPolynomialRegressor(bandwidth=0.8).fit(X, y, sample_weight=w)
    A, S = model.linear_influence(points)
    assert_array_equal(A, np.eye(10))
    assert S.shape == (10, 80) and not np.any(S[:, ::4])
    # Another outcome moves predictions by the rows of the smoother.
    step = np.zeros(80)
    step[5] = 1.0
    moved = LocalPolynomialRegressor(bandwidth=0.8).fit(X, y + step, sample_weight=w)
    own = model._noise[model._rows == 5][0]
    change = moved.predict(points) - model.predict(points)
    assert_allclose(S[:, 5], change * own, atol=1e-10)


def test_scale_of_weights_and_zero_weights(rng):
    X, y, w = draw(rng, 120, 2)
    w[::3], y[::3] = 0.0, 1e6
    X[0] = 100.0
    kept = w > 0
    one = LocalPolynomialRegressor().fit(X, y, sample_weight=w)
    large = LocalPolynomialRegressor().fit(X, y, sample_weight=w * 1e6)
    dropped = LocalPolynomialRegressor().fit(X[kept], y[kept], sample_weight=w[kept])
    assert_allclose(large.predict(X[1:]), one.predict(X[1:]), rtol=1e-8)
    assert large.bandwidth_ == pytest.approx(one.bandwidth_)
    assert_array_equal(dropped.predict(X), one.predict(X))
    assert_array_equal(
        dropped.linear_influence(X[:4])[1], one.linear_influence(X[:4])[1][:, kept]
    )


@pytest.mark.parametrize("h", [0.01, 1.0])
def test_whole_weights_are_copies(rng, h):
    X, y, _ = draw(rng, 60, 2)
    s = rng.integers(0, 4, 60)
    weighted = LocalPolynomialRegressor(bandwidth=h).fit(X, y, sample_weight=s)
    copies = LocalPolynomialRegressor(bandwidth=h).fit(X.repeat(s, axis=0), y.repeat(s))
    assert_allclose(weighted.predict(X), copies.predict(X), atol=EXACT)


def test_order_of_rows_is_irrelevant(rng):
    X, y, w = draw(rng, 90, 2)
    order = rng.permutation(90)
    one = LocalPolynomialRegressor().fit(X, y, sample_weight=w)
    other = LocalPolynomialRegressor().fit(X[order], y[order], sample_weight=w[order])
    assert_allclose(other.predict(X), one.predict(X), rtol=1e-9)
    S = one.linear_influence(X[:5])[1]
    assert_allclose(other.linear_influence(X[:5])[1], S[:, order], atol=1e-10)


def test_loo_finds_a_line_and_a_wave(rng):
    X = rng.uniform(-3, 3, size=(400, 1))
    noise = 0.3 * rng.normal(size=400)
    line = LocalPolynomialRegressor().fit(X, 2 * X[:, 0] + noise)
    wave = LocalPolynomialRegressor().fit(X, np.sin(3 * X[:, 0]) + noise)
    # A line looks the same at every bandwidth: the rule of thumb decides.
    rule = 3 * 400**-0.2
    assert line.bandwidth_ == pytest.approx(rule)
    assert wave.bandwidth_ < 0.5 * rule
    for model in (line, wave):
        errors = model.loo_path_["loo_error"]
        chosen = errors[model.loo_path_["bandwidth"] == model.bandwidth_]
        assert chosen[0] < 1.1 * errors.min()
        assert np.isinf(model.loo_path_["bandwidth"][0])
    x = np.linspace(-2.5, 2.5, 30)[:, None]
    assert np.abs(wave.predict(x) - np.sin(3 * x[:, 0])).max() < 0.3
    assert np.abs(line.predict(x) - 2 * x[:, 0]).max() < 0.15
    fixed = LocalPolynomialRegressor(bandwidth=wave.bandwidth_)
    fixed.fit(X, np.sin(3 * X[:, 0]) + noise)
    assert_array_equal(fixed.predict(x), wave.predict(x))
    assert len(fixed.loo_path_["bandwidth"]) == 0


def test_bandwidth_is_the_one_near_the_rule_that_is_no_worse():
    grid, spread = np.array([np.inf, 4.0, 2.0, 1.0, 0.5]), np.full(5, 0.1)
    errors = np.array([1.0, 1.1, 1.3, 1.25, 1.5])
    assert choose_bandwidth(grid, errors, spread, 1.0) == 4.0
    assert choose_bandwidth(grid, errors, 2 * spread, 1.0) == 1.0
    assert np.isinf(choose_bandwidth(grid, errors, 0 * spread, 1.0))


def test_spread_of_errors_is_that_of_their_differences(rng):
    X, y, w = draw(rng, 80, 1)
    model = LocalPolynomialRegressor(bandwidth=[0.4, 1.0]).fit(X, y, sample_weight=w)
    smoother, basis = model._smoother, monomials(1, 1)
    grid, everywhere = np.array([1.0, 0.4]), np.arange(80)
    errors, spread = compare_bandwidths(smoother, grid, basis)
    squares = [
        smoother.leave_one_out(np.full(80, h), basis, everywhere) ** 2 for h in grid
    ]
    weight = w[model._rows]
    means = [np.average(s, weights=weight) for s in squares]
    assert_allclose(errors, means)
    best = int(np.argmin(means))
    # The intercept of weighted least squares, statsmodels' HC0.
    fit = sm.WLS(squares[1 - best] - squares[best], np.ones(80), weights=weight)
    expected = fit.fit(cov_type="HC0").bse[0]
    assert spread[1 - best] == pytest.approx(expected) and spread[best] == 0.0


def test_search_on_a_part_of_the_rows_stays_close(rng, monkeypatch):
    X, y, w = draw(rng, 600, 1)
    whole = LocalPolynomialRegressor().fit(X, y, sample_weight=w)
    module = "causalweights.learners._local_bandwidth._SEARCH_ROWS"
    monkeypatch.setattr(module, 300)
    part = LocalPolynomialRegressor().fit(X, y, sample_weight=w)
    errors = part.loo_path_["loo_error"]
    assert not np.array_equal(errors, whole.loo_path_["loo_error"])
    assert_allclose(errors, whole.loo_path_["loo_error"], rtol=0.3)


@pytest.mark.parametrize("kernel", PROFILES)
def test_few_or_odd_neighbors_never_give_nan(rng, kernel):
    sets = {
        "two places": np.repeat([[0.0], [1.0]], 10, axis=0),
        "one place": np.zeros((20, 1)),
        "an outlier": np.r_[rng.normal(size=19), 1e6][:, None],
        "collinear": rng.normal(size=(20, 1)) * [1.0, 2.0, -1.0],
        "binary": np.c_[rng.normal(size=20), np.arange(20) == 3],
        "two rows": np.array([[0.0], [1.0]]),
    }
    for name, X in sets.items():
        y = rng.normal(size=len(X))
        for h in (1e-6, 1.0, np.inf, "loo"):
            model = LocalPolynomialRegressor(bandwidth=h, kernel=kernel).fit(X, y)
            points = np.r_[X, X + 10.0]
            assert np.all(np.isfinite(model.predict(points))), (name, h)
            if len(X) > 10:
                S = model.linear_influence(points)[1]
                assert np.all(np.isfinite(S)), (name, h)
    assert np.isnan(model.loo_error_)
    with pytest.raises(ValueError, match="more rows of positive weight than the 3"):
        model.linear_influence(X)


def test_few_places_give_the_means_there(rng):
    X = np.repeat([[0.0], [1.0]], 10, axis=0)
    y = rng.normal(size=20)
    model = LocalPolynomialRegressor(bandwidth=0.1).fit(X, y)
    expected = [y[:10].mean(), y[10:].mean()]
    assert_allclose(model.predict([[0.0], [1.0]]), expected, atol=1e-12)
    # Between and beyond: the line, since no curvature can be seen in two places.
    assert model.predict([[2.0]])[0] == pytest.approx(2 * expected[1] - expected[0])


def test_rounding_is_no_second_place(rng):
    one, places = rng.normal(size=60), np.repeat([0.3, 1.3], 30)
    jitter = np.where(np.arange(60) % 2, 1e-15, 0.0)
    y = rng.normal(size=60)
    exact, rounded = (
        LocalPolynomialRegressor(bandwidth=0.9).fit(np.c_[one, column], y)
        for column in (places, places + jitter)
    )
    points = np.c_[one, places]
    assert_allclose(rounded.predict(points), exact.predict(points), atol=EXACT)


def test_a_window_grows_to_the_nearest_rows():
    X = np.r_[np.arange(10.0), 100.0][:, None]
    model = LocalPolynomialRegressor(bandwidth=1e-3, bias_correction=False)
    model.fit(X, X[:, 0] ** 2)
    Z = model._points(X)
    # Four distinct rows for two coefficients: at 0, those up to 3 at .8 of the window.
    assert model._bandwidths(Z)[0] == pytest.approx((Z[3] - Z[0])[0] / 0.8)
    root = np.sqrt(PROFILES["epanechnikov"](np.arange(4) / 3.75))
    design = np.column_stack([np.ones(4), np.arange(4)])
    fit = np.linalg.lstsq(root[:, None] * design, root * np.arange(4) ** 2)[0]
    assert model.predict([[0.0]])[0] == pytest.approx(fit[0])


def test_same_bits_from_any_number_of_threads(rng, monkeypatch):
    X, y, w = draw(rng, 500, 2)
    one = LocalPolynomialRegressor().fit(X, y, sample_weight=w).predict(X)
    monkeypatch.setattr("causalweights._threads.SERIAL_VALUES", 10**12)
    serial = LocalPolynomialRegressor().fit(X, y, sample_weight=w).predict(X)
    assert_array_equal(one, serial)


def test_accuracy_matches_kernel_ridge_on_a_surface(rng):
    X = rng.uniform(-1, 1, size=(600, 2))
    truth = np.sin(2 * X[:, 0]) * X[:, 1]
    y = truth + 0.3 * rng.normal(size=600)
    ours = np.mean((LocalPolynomialRegressor().fit(X, y).predict(X) - truth) ** 2)
    ridge = np.mean((WeightedKernelRidge().fit(X, y).predict(X) - truth) ** 2)
    assert ours < 3 * ridge


def test_errors_advise(rng):
    X, y = rng.normal(size=(30, 4)), rng.normal(size=30)
    with pytest.raises(ValueError, match=r"X has 4 columns.*SeriesRegressor"):
        LocalPolynomialRegressor().fit(X, y)
    for bad in ([], [1.0, -1.0], [[1.0]], [np.nan]):
        with pytest.raises(ValueError, match="give 'loo', a positive number"):
            LocalPolynomialRegressor(bandwidth=bad).fit(X[:, :1], y)
    with pytest.raises(ValueError, match="'bandwidth' parameter"):
        LocalPolynomialRegressor(bandwidth=0.0).fit(X[:, :1], y)
