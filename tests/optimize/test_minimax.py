"""The minimax program against cvxpy, in closed form, and its own certificate."""

import cvxpy as cp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from causalweights.optimize import frank_wolfe_gap, simplex_minimax


def draw(n, J, seed, offset=0.3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, J)), offset * rng.normal(size=J), rng


def objective(w, F, h, ridge):
    return np.abs(w @ F - h).max() + 0.5 * w @ (ridge * w)


@pytest.mark.parametrize("seed", range(16))
def test_minimum_equals_a_conic_program(seed):
    rng = np.random.default_rng([seed, 1])
    n, J = int(rng.integers(2, 150)), int(rng.integers(1, 60))
    F, h, _ = draw(n, J, seed)
    ridge = [0.0, 0.1, 1e-3, 2.0][seed % 4] * rng.uniform(0.5, 2.0, n)
    low = rng.uniform(0.0, 0.3 / n, n) if seed % 3 == 1 else np.zeros(n)
    high = rng.uniform(1.2 / n, 4.0 / n, n) if seed % 3 == 2 else np.ones(n)
    found = simplex_minimax(F, h, ridge, lower=low, upper=high)
    w = cp.Variable(n)
    penalty = cp.sum(cp.multiply(ridge, cp.square(w))) / 2
    program = cp.Problem(
        cp.Minimize(cp.max(cp.abs(F.T @ w - h)) + penalty),
        [cp.sum(w) == 1, w >= low, w <= high],
    )
    program.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10)
    w = found.weights
    assert found.relative_gap <= 1e-6
    assert_allclose(w.sum(), 1.0, atol=1e-12)
    assert np.all(w >= low - 1e-15) and np.all(w <= high + 1e-15)
    assert_allclose(found.value, objective(w, F, h, ridge), rtol=1e-9)
    assert_allclose(found.value, program.value, atol=1e-6)
    # The certificate, from scratch: prices bound the minimum from below.
    z = found.prices
    assert np.abs(z).sum() <= 1.0 + 1e-12
    slope = F @ z + ridge * w
    gap = frank_wolfe_gap(slope, w, lower=low, upper=high)
    gap += found.largest - z @ (w @ F - h)
    assert_allclose(found.gap, gap, rtol=1e-3, atol=1e-13)
    assert found.value - gap <= program.value + 1e-8


def test_prices_and_level_give_the_weights_back():
    F, h, _ = draw(60, 8, 1)
    found = simplex_minimax(F, h, 0.5)
    assert found.converged
    dual = np.maximum(0.0, (found.level - F @ found.prices) / 0.5)
    assert_allclose(dual, found.weights, atol=1e-4)


def test_a_target_within_reach_is_met():
    F, _, rng = draw(50, 3, 2)
    h = rng.dirichlet(np.ones(50)) @ F
    found = simplex_minimax(F, h)
    assert found.largest <= 1e-6 and found.converged


def test_one_function_takes_the_nearest_point():
    F = np.array([[0.0], [1.0], [5.0]])
    assert_allclose(simplex_minimax(F, [-1.0]).weights, [1.0, 0.0, 0.0], atol=1e-8)
    assert_allclose(simplex_minimax(F, [9.0]).largest, 4.0, atol=1e-7)


def test_a_large_ridge_gives_equal_weights_and_a_single_point_itself():
    F, h, _ = draw(20, 4, 3)
    assert_allclose(simplex_minimax(F, h, 1e6).weights, 0.05, atol=1e-5)
    only = simplex_minimax(F[:1], h, 0.1)
    assert_allclose(only.weights, [1.0])
    assert only.converged and only.gap == pytest.approx(0.0, abs=1e-12)
    fixed = simplex_minimax(F, h, upper=0.05)
    assert_allclose(fixed.weights, 0.05)


def test_order_of_rows_and_functions_does_not_matter():
    F, h, rng = draw(40, 10, 4)
    rows, columns = rng.permutation(40), rng.permutation(10)
    found = simplex_minimax(F, h, 0.1)
    again = simplex_minimax(F[rows][:, columns], h[columns], 0.1)
    assert_allclose(again.weights, found.weights[rows], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"F": np.full((3, 1), np.nan)}, "F contains NaN"),
        ({"F": np.zeros(3)}, r"F must have shape \(n, J\)"),
        ({"h": [1.0, 2.0]}, "h must have shape"),
        ({"ridge": -1.0}, "ridge must be non-negative"),
        ({"upper": 0.2}, "upper bounds sum to 0.6"),
        ({"tol": 0.0}, "tol must be positive"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"F": np.ones((3, 1)), "h": [0.0], **change}
    with pytest.raises(ValueError, match=message):
        simplex_minimax(**arguments)
