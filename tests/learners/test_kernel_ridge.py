"""WeightedKernelRidge: identities, invariances, tuning, containers."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, Ridge

from causalweights.kernels import Energy, Gaussian, Laplace, Matern
from causalweights.learners import WeightedKernelRidge

# Two solves of one well-conditioned system.
EXACT = 1e-9
# Float64 sums in another order, through a system of condition number 1e4.
REPEATED = 1e-8


def nonlinear(rng, n, d=2, noise=0.3):
    """Return covariates, outcomes and the true mean."""
    X = rng.uniform(-2, 2, size=(n, d))
    mean = np.sin(2 * X[:, 0]) + X[:, -1] ** 2
    return X, mean + noise * rng.normal(size=n), mean


def solve_by_hand(K, y, weight, ridge):
    """Minimise the objective over (b, dual) by its stacked normal equations."""
    n = len(y)
    masses = weight / weight.sum()
    design = np.column_stack([np.ones(n), K])
    penalty = np.zeros((n + 1, n + 1))
    penalty[1:, 1:] = ridge * K
    gram = design.T @ (masses[:, None] * design) + penalty
    solution = np.linalg.lstsq(gram, design.T @ (masses * y), rcond=1e-15)[0]
    return design @ solution


def test_equals_sklearn_without_intercept(rng):
    X, y, _ = nonlinear(rng, 60)
    weight = rng.uniform(0.2, 3.0, 60)
    ours = WeightedKernelRidge(
        bandwidth=0.8, ridge=0.02, fit_intercept=False, standardize=False
    ).fit(X, y, sample_weight=weight)
    # scikit-learn's objective has sum s_i and alpha where ours has means and ridge.
    theirs = KernelRidge(
        kernel="rbf", gamma=1 / (2 * 0.8**2), alpha=0.02 * weight.sum()
    ).fit(X, y, sample_weight=weight)
    assert np.allclose(ours.predict(X), theirs.predict(X), atol=EXACT)
    assert ours.intercept_ == 0.0


def test_linear_kernel_equals_weighted_ridge_regression(rng):
    X, y, _ = nonlinear(rng, 80, d=3)
    weight = rng.uniform(0.2, 3.0, 80)
    ours = WeightedKernelRidge(kernel="linear", ridge=0.1, standardize=False)
    ours.fit(X, y, sample_weight=weight)
    theirs = Ridge(alpha=0.1 * weight.sum()).fit(X, y, sample_weight=weight)
    assert np.allclose(ours.predict(X), theirs.predict(X), atol=EXACT)


@pytest.mark.parametrize(
    "kernel", [Gaussian(bandwidth=1.0), Laplace(bandwidth=2.0), Energy()]
)
def test_intercept_equals_brute_force(rng, kernel):
    X, y, _ = nonlinear(rng, 25)
    weight = rng.uniform(0.2, 3.0, 25)
    model = WeightedKernelRidge(kernel=kernel, ridge=0.05, standardize=False)
    model.fit(X, y + 7.0, sample_weight=weight)
    expected = solve_by_hand(kernel(X), y + 7.0, weight, 0.05)
    assert np.allclose(model.predict(X), expected, atol=1e-7)
    assert abs(model.dual_coef_.sum()) < EXACT


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("max_exact", [3000, 0])
def test_leave_one_out_equals_refits(rng, intercept, max_exact):
    n, ridge = 25, 0.03
    X, y, _ = nonlinear(rng, n)
    weight = rng.uniform(0.2, 3.0, n)
    options = {
        "bandwidth": 1.1, "fit_intercept": intercept, "standardize": False,
        "max_exact": max_exact, "tol": 0.0,
    }  # fmt: skip
    model = WeightedKernelRidge(ridge=ridge, **options).fit(X, y, sample_weight=weight)
    errors = np.zeros(n)
    for i in range(n):
        rest = np.arange(n) != i
        total = weight.sum() / weight[rest].sum()  # the penalty keeps all rows' sum
        refit = WeightedKernelRidge(ridge=ridge * total, **options)
        refit.fit(X[rest], y[rest], sample_weight=weight[rest])
        errors[i] = (y[i] - refit.predict(X[i : i + 1])[0]) ** 2
    assert np.isclose(model.loo_error_, weight @ errors / weight.sum(), rtol=1e-6)


@pytest.mark.parametrize("n", [150, 600])
def test_loo_path_holds_the_chosen_error(rng, n):
    X, y, _ = nonlinear(rng, n)
    model = WeightedKernelRidge().fit(X, y)
    path = model.loo_path_
    assert set(path) == {"bandwidth", "ridge", "loo_error", "n_rows"}
    chosen = (path["bandwidth"] == model.bandwidth_) & (path["ridge"] == model.ridge_)
    assert chosen.sum() >= 1
    assert np.isclose(path["loo_error"][chosen][-1], model.loo_error_, rtol=0.011)
    assert np.isclose(path["loo_error"].min(), model.loo_error_, rtol=0.011)
    fixed = clone(model).set_params(bandwidth=model.bandwidth_, ridge=model.ridge_)
    assert np.isclose(fixed.fit(X, y).loo_error_, model.loo_error_)


def test_exact_errors_decide_where_the_factor_misleads(rng):
    # Without noise, a rough kernel's best ridge is below what 300 landmarks resolve.
    X = rng.uniform(-2, 2, size=(900, 4))
    y = np.abs(X).sum(axis=1)
    model = WeightedKernelRidge(kernel="laplace", bandwidth="median").fit(X, y)
    errors = {
        ridge: WeightedKernelRidge(kernel="laplace", bandwidth="median", ridge=ridge)
        .fit(X, y)
        .loo_error_
        for ridge in np.unique(model.loo_path_["ridge"])[:6]
    }
    assert model.loo_error_ <= min(errors.values()) * (1 + 1e-6)


@pytest.mark.parametrize("max_exact", [3000, 0])
def test_whole_number_weights_repeat_rows(rng, max_exact):
    X, y, _ = nonlinear(rng, 40)
    weight = rng.integers(0, 4, 40)
    options = {"bandwidth": 1.0, "ridge": 0.01, "max_exact": max_exact, "tol": 0.0}
    weighted = WeightedKernelRidge(**options).fit(X, y, sample_weight=weight)
    repeated = WeightedKernelRidge(**options).fit(
        np.repeat(X, weight, axis=0), np.repeat(y, weight)
    )
    assert np.allclose(weighted.predict(X), repeated.predict(X), atol=REPEATED)


def test_frequency_weights_repeat_rows_in_the_tuning_too(rng):
    X, y, _ = nonlinear(rng, 40)
    weight = rng.integers(0, 4, 40)
    model = WeightedKernelRidge(bandwidth=[0.5, 1.0, 2.0], weight_type="frequency")
    weighted = clone(model).fit(X, y, sample_weight=weight)
    repeated = clone(model).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    sampling = clone(model).set_params(weight_type="sampling")
    sampling.fit(X, y, sample_weight=weight)
    assert np.allclose(weighted.predict(X), repeated.predict(X), atol=REPEATED)
    assert np.isclose(weighted.loo_error_, repeated.loo_error_)
    # A row left out whole is harder to predict than one of its copies.
    assert sampling.loo_error_ > weighted.loo_error_


def test_zero_weight_rows_are_removed(rng):
    X, y, _ = nonlinear(rng, 60)
    weight = np.r_[np.ones(50), np.zeros(10)]
    y[50:] = 1e6
    weighted = WeightedKernelRidge().fit(X, y, sample_weight=weight)
    removed = WeightedKernelRidge().fit(X[:50], y[:50])
    assert np.array_equal(weighted.predict(X), removed.predict(X))
    assert len(weighted.X_fit_) == 50


@pytest.mark.parametrize("factor", [1e-200, 1e-6, 1e9, 1e200])
def test_scale_of_the_outcome_does_not_matter(rng, factor):
    X, y, _ = nonlinear(rng, 120)
    base = WeightedKernelRidge().fit(X, y)
    model = WeightedKernelRidge().fit(X, factor * y)
    assert np.allclose(model.predict(X) / factor, base.predict(X), rtol=1e-6)
    assert np.isclose(model.ridge_, base.ridge_)


@pytest.mark.parametrize("factor", [1e-12, 1e12])
def test_scale_of_weights_and_covariates_does_not_matter(rng, factor):
    X, y, _ = nonlinear(rng, 120)
    weight = rng.uniform(0.2, 3.0, 120)
    base = WeightedKernelRidge().fit(X, y, sample_weight=weight)
    heavy = WeightedKernelRidge().fit(X, y, sample_weight=factor * weight)
    wide = WeightedKernelRidge().fit(factor * X + factor, y, sample_weight=weight)
    assert np.allclose(heavy.predict(X), base.predict(X), atol=1e-7)
    # The shift costs digits of the covariates themselves.
    assert np.allclose(wide.predict(factor * X + factor), base.predict(X), atol=1e-6)


@pytest.mark.parametrize("kernel", ["gaussian", "matern", "energy", "linear"])
def test_full_rank_factor_equals_the_exact_fit(rng, kernel):
    X, y, _ = nonlinear(rng, 70)
    weight = rng.uniform(0.2, 3.0, 70)
    options = {"kernel": kernel, "ridge": 1e-3, "bandwidth": "median"}
    exact = WeightedKernelRidge(**options).fit(X, y, sample_weight=weight)
    low = WeightedKernelRidge(**options, max_exact=0, rank=70, tol=0.0)
    low.fit(X, y, sample_weight=weight)
    new = rng.uniform(-2, 2, size=(30, 2))
    assert np.allclose(low.predict(new), exact.predict(new), atol=1e-8)
    assert np.isclose(low.loo_error_, exact.loo_error_)
    assert exact.rank_ is None and exact.coef_ is None
    assert low.rank_ == len(low.coef_) <= 70 and low.dual_coef_.shape == (0,)


def test_low_rank_is_close_to_exact(rng):
    X, y, mean = nonlinear(rng, 1200, d=3)
    exact = WeightedKernelRidge().fit(X, y)
    low = WeightedKernelRidge(max_exact=100).fit(X, y)
    apart = np.mean((exact.predict(X) - low.predict(X)) ** 2)
    assert apart < 0.02 * np.mean((exact.predict(X) - mean) ** 2)
    assert np.isclose(low.loo_error_, exact.loo_error_, rtol=1e-2)


def test_many_rows_take_pivots_from_a_draw(rng):
    X, y, mean = nonlinear(rng, 5200, d=2)
    model = WeightedKernelRidge(random_state=1).fit(X, y)
    again = WeightedKernelRidge(random_state=1).fit(X, y)
    assert np.array_equal(model.predict(X), again.predict(X))
    assert set(model.loo_path_["n_rows"]) == {2000, 5200}
    # Noise variance 0.09; the fit's own error is a small part of it.
    assert np.mean((model.predict(X) - mean) ** 2) < 0.003
    assert abs(model.loo_error_ - 0.09) < 0.01


def test_pure_noise_gives_nearly_the_mean(rng):
    X, y = rng.normal(size=(300, 5)), rng.normal(size=300)
    model = WeightedKernelRidge().fit(X, y)
    assert np.std(model.predict(X)) < 0.2 * np.std(y)
    assert np.isclose(model.predict(X).mean(), y.mean(), atol=0.05)
    assert model.loo_error_ < 1.01 * np.var(y) * (300 / 299) ** 2


@pytest.mark.parametrize("kernel", ["gaussian", "laplace", "matern", "energy"])
def test_beats_least_squares_on_a_nonlinear_function(rng, kernel):
    X, y, _ = nonlinear(rng, 400)
    new, _, mean = nonlinear(rng, 500)
    error = np.mean((WeightedKernelRidge(kernel=kernel).fit(X, y).predict(new) - mean)
                    ** 2)  # fmt: skip
    linear = np.mean((LinearRegression().fit(X, y).predict(new) - mean) ** 2)
    assert error < 0.05 * linear


def test_recovers_a_noiseless_function(rng):
    X, _, mean = nonlinear(rng, 300)
    new, _, target = nonlinear(rng, 200)
    prediction = WeightedKernelRidge().fit(X, mean).predict(new)
    assert np.mean((prediction - target) ** 2) < 1e-4 * np.var(target)


def test_predictions_stay_near_the_outcomes(rng):
    X, y, _ = nonlinear(rng, 80, d=1)
    far = np.linspace(-8, 8, 50)[:, None]
    options = {"bandwidth": 4.0, "ridge": 1e-10}
    free = WeightedKernelRidge(extrapolation=None, **options).fit(X, y).predict(far)
    bounded = WeightedKernelRidge(extrapolation=0.5, **options).fit(X, y)
    lower, upper = y.min() - 0.5 * np.ptp(y), y.max() + 0.5 * np.ptp(y)
    assert np.allclose(bounded.bounds_, [lower, upper], rtol=EXACT)
    assert free.min() < lower and free.max() > upper
    assert np.array_equal(bounded.predict(far), free.clip(*bounded.bounds_))


@pytest.mark.parametrize("value", [0.0, 1.1, -3e8])
def test_constant_outcome_is_predicted_exactly(rng, value):
    X = rng.normal(size=(30, 2))
    weight = rng.uniform(0.2, 3.0, 30)
    model = WeightedKernelRidge().fit(X, np.full(30, value), sample_weight=weight)
    assert np.all(model.predict(X) == value)
    assert model.loo_error_ == 0.0


def test_constant_columns_are_ignored_silently(rng, recwarn):
    X, y, _ = nonlinear(rng, 50)
    padded = np.column_stack([X, np.full(50, 3.7)])
    model = WeightedKernelRidge().fit(padded, y)
    assert np.array_equal(
        model.predict(padded), WeightedKernelRidge().fit(X, y).predict(X)
    )
    assert len(recwarn) == 0


@pytest.mark.parametrize("standardize", [True, False])
def test_all_columns_constant_predict_the_weighted_mean(rng, standardize):
    y, weight = rng.normal(size=20), rng.uniform(0.2, 3.0, 20)
    model = WeightedKernelRidge(standardize=standardize)
    model.fit(np.ones((20, 2)), y, sample_weight=weight)
    new = rng.normal(size=(4, 2))
    assert np.allclose(model.predict(new), np.average(y, weights=weight))
    assert model.dual_coef_.shape == (0,) and np.isnan(model.ridge_)
    masses = weight / weight.sum()
    loo = (y - model.intercept_) / (1 - masses)
    assert np.isclose(model.loo_error_, masses @ loo**2)


def test_two_rows_and_one_row_of_weight(rng):
    X, y = np.array([[0.0], [1.0]]), np.array([1.0, 3.0])
    assert np.all(np.isfinite(WeightedKernelRidge().fit(X, y).predict(X)))
    single = WeightedKernelRidge().fit(X, y, sample_weight=[0.0, 2.0])
    assert np.all(single.predict(X) == 3.0) and np.isnan(single.loo_error_)


def test_repeated_rows_and_collinear_columns(rng):
    X, y, _ = nonlinear(rng, 60)
    X = np.vstack([X, X, X])
    X = np.column_stack([X, X[:, 0] + X[:, 1], 2 * X[:, 0]])
    y = np.tile(y, 3) + 0.1 * rng.normal(size=180)
    model = WeightedKernelRidge().fit(X, y)
    assert np.all(np.isfinite(model.predict(X))) and model.score(X, y) > 0.5
    tiny = WeightedKernelRidge(ridge=1e-300).fit(X, y)
    assert np.all(np.isfinite(tiny.predict(X)))


def test_layout_and_dtype_do_not_matter(rng):
    X, y, _ = nonlinear(rng, 60)
    base = WeightedKernelRidge().fit(X, y).predict(X)
    wide = np.repeat(X, 2, axis=1)[:, ::2]
    locked, locked_y, ones = X.copy(order="F"), y.copy(), np.ones(60)
    for array in (locked, locked_y, ones):
        array.flags.writeable = False
    fortran = WeightedKernelRidge().fit(locked, locked_y, sample_weight=ones)
    assert np.allclose(WeightedKernelRidge().fit(wide, y).predict(wide), base)
    assert np.allclose(fortran.predict(locked), base)
    single = WeightedKernelRidge().fit(X.astype(np.float32), y.astype(np.float32))
    prediction = single.predict(X.astype(np.float32))
    assert prediction.dtype == np.float64
    assert np.allclose(prediction, base, atol=1e-3)


def test_data_frames(rng, frame_library):
    X, y, _ = nonlinear(rng, 50)
    frame = frame_library(X, ["a", "b"])
    model = WeightedKernelRidge().fit(frame, y)
    assert np.array_equal(
        model.predict(frame), WeightedKernelRidge().fit(X, y).predict(X)
    )
    names = getattr(model, "feature_names_in_", None)
    assert (names is None) == isinstance(frame, np.ndarray)
    assert names is None or list(names) == ["a", "b"]


def test_kernel_objects_bring_their_bandwidth(rng):
    X, y, _ = nonlinear(rng, 60)
    fixed = WeightedKernelRidge(kernel=Gaussian(bandwidth=0.7), ridge=0.1).fit(X, y)
    named = WeightedKernelRidge(bandwidth=0.7, ridge=0.1).fit(X, y)
    assert np.array_equal(fixed.predict(X), named.predict(X))
    assert fixed.bandwidth_ == 0.7
    median = WeightedKernelRidge(kernel=Matern(), ridge=0.1).fit(X, y)
    rule = WeightedKernelRidge(kernel="matern", bandwidth="median", ridge=0.1)
    assert median.bandwidth_ == rule.fit(X, y).bandwidth_
    mixed = WeightedKernelRidge(kernel=Gaussian() + 0.5 * Energy()).fit(X, y)
    assert mixed.bandwidth_ is None and mixed.score(X, y) > 0.8


def test_clone_and_pickle(rng):
    X, y, _ = nonlinear(rng, 60)
    for model in (WeightedKernelRidge(), WeightedKernelRidge(max_exact=0)):
        fitted = clone(model).fit(X, y)
        copy = pickle.loads(pickle.dumps(fitted))
        assert np.array_equal(copy.predict(X), fitted.predict(X))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ridge": [0.1, -1.0]}, "ridge=.*positive numbers"),
        ({"bandwidth": []}, "bandwidth=.*positive numbers"),
        ({"kernel": "energy", "bandwidth": 2.0}, "have none"),
        ({"kernel": Gaussian(), "bandwidth": 2.0}, "brings its own bandwidth"),
        ({"kernel": "cubic"}, "'kernel' parameter"),
        ({"ridge": 0.0}, "'ridge' parameter"),
    ],
)
def test_refused_parameters(rng, options, message):
    X, y, _ = nonlinear(rng, 20)
    with pytest.raises(ValueError, match=message):
        WeightedKernelRidge(**options).fit(X, y)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (-np.ones(20), "negative"),
        (np.zeros(20), "zero on every row"),
        (np.ones(19), "one weight a row"),
        (np.full(20, np.nan), "NaN"),
    ],
)
def test_refused_weights(rng, weight, message):
    X, y, _ = nonlinear(rng, 20)
    with pytest.raises(ValueError, match=message):
        WeightedKernelRidge().fit(X, y, sample_weight=weight)
