"""Independence weights: the program, its optimum, what they are for."""

import cvxpy as cp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist

from causalweights import IndependenceBalancer
from causalweights.discrepancy import energy_distance


def draw(seed=0, n=150, d=2):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    dose = 0.5 * X[:, 0] + 0.25 * X[:, 1] ** 2 + rng.normal(size=n)
    y = dose + 2 * X[:, 0] + X[:, 1] ** 2 + rng.normal(size=n)
    return X, dose, y


def standardized(x):
    return (x - x.mean(axis=0)) / x.std(axis=0)


def distance_covariance(x, z, m):
    """Four sums over pairs, by the definition with weights n m on each row."""
    n = len(m)

    def centered(v):
        D = cdist(v, v)
        return D - D.mean(axis=0) - D.mean(axis=1)[:, None] + D.mean()

    w = n * m
    return float(w @ (centered(x) * centered(z)) @ w) / n**2


def test_what_is_reported_is_what_it_says():
    X, dose, _ = draw()
    fit = IndependenceBalancer().fit(X, dose)
    Z, A, m = standardized(X), standardized(dose)[:, None], fit.masses_
    assert_allclose([m.sum(), fit.weights_.mean()], 1.0, rtol=1e-12)
    assert np.all(m >= 0) and fit.converged_
    dcov = distance_covariance(A, Z, m)
    assert_allclose(fit.distance_covariance_, dcov, rtol=1e-9)
    even = np.full(len(m), 1 / len(m))
    assert_allclose(
        fit.distance_covariance_before_, distance_covariance(A, Z, even), rtol=1e-9
    )
    parts = [energy_distance(part, part, x_weights=m) for part in (A, Z)]
    assert_allclose([fit.energy_treatment_, fit.energy_covariates_], parts, rtol=1e-8)
    root = np.sqrt(2)
    total = dcov + (parts[0] + root * parts[1]) / (1 + root) + 1e-2 * m @ m
    assert_allclose(fit.objective_, total, rtol=1e-9)


@pytest.mark.parametrize("adjusted", [True, False])
def test_no_other_weights_do_better(adjusted):
    X, dose, _ = draw(1, 60)
    fit = IndependenceBalancer(dimension_adjusted=adjusted, max_weight=4.0)
    fit.fit(X, dose)
    Z, A = standardized(X), standardized(dose)[:, None]

    def centered(v):
        D = cdist(v, v)
        return D - D.mean(axis=0) - D.mean(axis=1)[:, None] + D.mean()

    C, D = centered(A), centered(Z)
    u, v = (1 / (1 + 2**0.5), 2**0.5 / (1 + 2**0.5)) if adjusted else (1, 1)
    H = C * D - u * C - v * D + 1e-2 * np.eye(60)
    m = cp.Variable(60, nonneg=True)
    program = cp.Problem(
        cp.Minimize(cp.quad_form(m, cp.psd_wrap(H))), [cp.sum(m) == 1, m <= 4 / 60]
    )
    program.solve(solver="CLARABEL", tol_gap_abs=1e-12, tol_gap_rel=1e-12)
    assert_allclose(fit.masses_, m.value, atol=1e-6)


def test_confounding_is_removed():
    """Slope 1; least squares without weights is off by more than a half."""
    slopes = []
    for seed in range(5):
        X, dose, y = draw(seed, 300)
        w = IndependenceBalancer(moments=1).fit(X, dose).weights_
        c = dose - np.average(dose, weights=w)
        slopes.append((w * c) @ y / ((w * c) @ dose))
    plain = np.polyfit(dose, y, 1)[0]
    assert plain > 1.6
    assert abs(np.mean(slopes) - 1) < 0.35 * (plain - 1)


def test_moments_are_exact():
    X, dose, _ = draw(2)
    fit = IndependenceBalancer(moments=1).fit(X, dose)
    Z, A, m = standardized(X), standardized(dose), fit.masses_
    F = np.column_stack([A, Z, A[:, None] * Z])
    assert_allclose(m @ F, 0.0, atol=1e-8)


def test_an_independent_treatment_keeps_its_weights():
    rng = np.random.default_rng(3)
    X, dose = rng.normal(size=(200, 2)), rng.normal(size=200)
    fit = IndependenceBalancer().fit(X, dose)
    assert fit.ess_ > 0.8 * 200


def test_scale_order_copies_and_frequencies():
    X, dose, _ = draw(4, 80)
    fit = IndependenceBalancer(weight_type="frequency").fit(X, dose)
    moved = IndependenceBalancer().fit(1e6 * X + 3, -1e-3 * dose)
    assert_allclose(moved.weights_, fit.weights_, atol=1e-6)
    rows = np.random.default_rng(5).permutation(80)
    permuted = IndependenceBalancer().fit(X[rows], dose[rows])
    assert_allclose(permuted.weights_, fit.weights_[rows], atol=1e-8)
    times = np.random.default_rng(6).integers(0, 3, 80)
    copies = np.repeat(np.arange(80), times)
    weighted = IndependenceBalancer(weight_type="frequency")
    weighted.fit(X, dose, sample_weight=times)
    copied = IndependenceBalancer(weight_type="frequency").fit(X[copies], dose[copies])
    assert_allclose(copied.weights_, weighted.weights_[copies], atol=1e-8)
    assert weighted.weights_[times == 0].sum() == 0
    assert_allclose(copied.ess_, weighted.ess_)
    assert_allclose(copied.distance_covariance_, weighted.distance_covariance_)


def test_several_doses_and_large_ridge():
    X, dose, _ = draw(7, 90)
    both = np.column_stack([dose, X[:, 1] + dose**2])
    fit = IndependenceBalancer().fit(X, both)
    assert fit.distance_covariance_ < 0.5 * fit.distance_covariance_before_
    flat = IndependenceBalancer(ridge=1e8).fit(X, dose)
    assert_allclose(flat.weights_, 1.0, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"treatment": np.ones(80)}, "does not vary"),
        ({"treatment": np.full(80, np.nan)}, "treatment contains NaN"),
        ({"treatment": np.array(["a", "b"] * 40)}, "use IPMBalancer"),
        ({"treatment": np.arange(70.0)}, "X has 80 rows"),
        ({"X": np.ones((80, 2))}, "constant"),
    ],
)
def test_bad_input_is_refused(change, message):
    X, dose, _ = draw(8, 80)
    fit = IndependenceBalancer()
    with pytest.raises(ValueError, match=message):
        fit.fit(**{"X": X, "treatment": dose, **change})
    assert not hasattr(fit, "weights_")


def test_few_rows_are_warned_of():
    X, dose, _ = draw(9, 14)
    with pytest.warns(UserWarning, match="rest on few rows: effective sample size"):
        IndependenceBalancer(max_weight=3.0, ridge=0.0).fit(X[:, :1], X[:, 0] + dose)


def test_moments_out_of_reach_are_refused():
    X, _, _ = draw(9, 40)
    with pytest.raises(ValueError, match="cannot be met"):
        IndependenceBalancer(moments=1).fit(X, X[:, 0])
