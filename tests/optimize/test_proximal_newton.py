"""The matrix-free route, against dense solutions of the same problems."""

import numpy as np
import pytest

from causalweights.kernels import Energy, Gaussian
from causalweights.optimize import (
    _large,
    _routes,
    _simplex_qp,
    frank_wolfe_gap,
    simplex_qp,
)
from causalweights.optimize._certificate import relative_gap
from causalweights.optimize._large import low_rank_model, suitable_rank
from causalweights.optimize._operator_qp import OperatorQP
from causalweights.optimize._problem import Simplices
from causalweights.optimize._proximal_newton import Stop, solve_proximal_newton

KERNELS = {"gaussian": Gaussian(bandwidth=1.5), "energy": Energy()}


@pytest.fixture
def matrix_free():
    """Return a solver of one problem: (outcome, reference value of the objective)."""

    def solve(
        kernel, X, q, ridge, *, rank=60, groups=None, upper=np.inf, tol=1e-10, **options
    ):
        n = len(X)
        labels = np.zeros(n, np.intp) if groups is None else groups
        masses = np.ones(labels.max() + 1)
        simplices = Simplices(labels, masses, np.broadcast_to(upper, (n,)).copy())
        ridge = np.broadcast_to(np.asarray(ridge, float), (n,))
        exact = kernel.operator(X)
        problem = OperatorQP(exact, ridge, q, simplices)
        model = low_rank_model(problem.quick, ridge, rank)
        start = simplices.interior()
        gradient = exact.matvec(start) + ridge * start - q
        uniform = problem.value(start, gradient)

        def relative(gap, value):
            return relative_gap(gap, uniform - value, 1e-16)

        stop = Stop(relative, tol, **options)
        return solve_proximal_newton(problem, model, start, stop)

    return solve


def sample(n, d=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), 0.7 * rng.normal(size=(n // 2, d)) + 0.4


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("ridge", [1e-3, 1e-1])
def test_solution_is_the_dense_one(matrix_free, name, ridge):
    X, Z = sample(900)
    kernel = KERNELS[name]
    q = kernel.operator(X, Z).row_mean()
    found = matrix_free(kernel, X, q, ridge)
    expected = simplex_qp(kernel(X), q, ridge)
    assert found.finished
    np.testing.assert_allclose(found.v, expected.weights, atol=1e-7)


def test_groups_bounds_and_a_ridge_for_each_row(matrix_free):
    X, Z = sample(800)
    kernel = KERNELS["energy"]
    q = kernel.operator(X, Z).row_mean()
    groups = (X[:, 0] > 0.3).astype(np.intp)
    ridge = np.linspace(0.01, 0.1, 800)
    upper = 4.0 / 800
    found = matrix_free(kernel, X, q, ridge, groups=groups, upper=upper)
    expected = simplex_qp(kernel(X), q, ridge, groups=groups, upper=upper)
    assert found.finished
    assert (expected.weights == upper).sum() > 10
    np.testing.assert_allclose(found.v, expected.weights, atol=1e-7)


@pytest.mark.parametrize("rank", [5, 30, 200])
def test_a_poor_factor_costs_rounds_and_no_digits(matrix_free, rank):
    X, Z = sample(600)
    kernel = KERNELS["gaussian"]
    q = kernel.operator(X, Z).row_mean()
    found = matrix_free(kernel, X, q, 1e-2, rank=rank)
    w = found.v
    gradient = kernel(X) @ w + 1e-2 * w - q
    assert frank_wolfe_gap(gradient, w) < 1e-11


def test_more_rounds_never_raise_the_objective(matrix_free):
    X, Z = sample(700)
    kernel = KERNELS["energy"]
    q = kernel.operator(X, Z).row_mean()
    K = kernel(X) + 1e-2 * np.eye(700)
    values = []
    for rounds in range(1, 5):
        w = matrix_free(kernel, X, q, 1e-2, max_iter=rounds).v
        values.append(w @ (0.5 * K @ w - q))
    assert np.all(np.diff(values) <= 1e-12)


def test_loose_tolerance_stops_early_with_a_true_certificate(matrix_free):
    X, Z = sample(900)
    kernel = KERNELS["energy"]
    q = kernel.operator(X, Z).row_mean()
    loose = matrix_free(kernel, X, q, 1e-2, tol=1e-2)
    tight = matrix_free(kernel, X, q, 1e-2, tol=1e-10)
    assert loose.n_iter < tight.n_iter
    K = kernel(X) + 1e-2 * np.eye(900)

    def objective(w):
        return w @ (0.5 * K @ w - q)

    uniform = objective(np.full(900, 1 / 900))
    excess = objective(loose.v) - objective(tight.v)
    assert 0 < excess <= 1e-2 * (uniform - objective(loose.v))


def test_time_and_round_limits_return_a_feasible_point(matrix_free):
    X, Z = sample(400)
    kernel = KERNELS["gaussian"]
    q = kernel.operator(X, Z).row_mean()
    late = matrix_free(kernel, X, q, 1e-3, expired=lambda: True)
    short = matrix_free(kernel, X, q, 1e-3, max_iter=1)
    assert (late.status, short.status) == ("time limit", "round limit")
    for outcome in (late, short):
        assert not outcome.finished
        assert outcome.v.sum() == pytest.approx(1.0, abs=1e-12)
        assert outcome.v.min() >= 0.0


def test_rank_fits_memory_and_size():
    assert suitable_rank(50) == 50
    assert suitable_rank(4000) == 500
    assert suitable_rank(100_000) == 1024
    assert 4 * 1_000_000 * suitable_rank(1_000_000) <= 1.2e9


@pytest.mark.parametrize("groups", [1, 2])
def test_parts_meet_the_tolerance_on_all_rows(monkeypatch, groups):
    monkeypatch.setattr(_large, "PART_ROWS", 400)
    monkeypatch.setattr(_simplex_qp, "ESTIMATED_ROWS", 1000)
    monkeypatch.setattr(_routes, "DENSE_ROWS", 500)
    X, Z = sample(1500)
    kernel = KERNELS["gaussian"]
    q = kernel.operator(X, Z).row_mean()
    labels = np.arange(1500) % groups
    options = {"groups": labels, "tol": 1e-3, "solver": "proximal_newton"}
    found = simplex_qp(kernel.operator(X), q, 1e-2, **options)
    assert found.status.endswith("solved in parts")
    assert found.converged
    exact = simplex_qp(kernel(X), q, 1e-2, groups=labels, solver="active_set")
    # The estimate stands in for the objective at uniform weights and errs downwards.
    assert found.uniform_value <= exact.uniform_value + 1e-9
    assert found.uniform_value == pytest.approx(exact.uniform_value, rel=1e-3)
    assert 0.0 <= found.value - exact.value <= found.gap
