"""Set changes, their limits, and the fallbacks behind them."""

import numpy as np
import pytest

from causalweights.optimize import _active_set, _dense_systems, simplex_qp
from causalweights.optimize._active_set import FREE, solve_active_set
from causalweights.optimize._problem import DenseQP, Simplices


def dense_problem(K, q, ridge, upper=np.inf):
    n = q.size
    simplices = Simplices(np.zeros(n, int), np.ones(1), np.full(n, upper))
    return DenseQP(K, np.full(n, ridge), q, simplices)


@pytest.fixture
def alternating_sets(monkeypatch):
    """Make the set changes alternate between two guesses for ever."""
    changes = iter(range(1000))

    def flip(problem, sets, v, gradient, multipliers):
        flipped = np.full(sets.size, FREE)
        flipped[next(changes) % 2] = -1
        return 1, flipped

    monkeypatch.setattr(_active_set, "next_sets", flip)


def test_a_cycle_is_seen_and_reported(alternating_sets, balancing_problem):
    outcome = solve_active_set(dense_problem(*balancing_problem("energy", 30), 1e-3))
    assert not outcome.finished and outcome.status == "the sets cycled"
    assert outcome.n_iter <= 4
    np.testing.assert_allclose(outcome.v.sum(), 1.0)
    assert outcome.v.min() >= 0.0


@pytest.mark.parametrize("groups", [None, np.arange(60) % 2])
def test_a_cycle_falls_back_to_the_interior_point(
    groups, monkeypatch, balancing_problem, lp_gap
):
    K, q = balancing_problem("gaussian", 60)
    expected = simplex_qp(K, q, 1e-3, groups=groups)
    changes = iter(range(1000))

    def flip(problem, sets, v, gradient, multipliers):
        flipped = np.full(sets.size, FREE)
        flipped[next(changes) % 2] = -1
        return 1, flipped

    monkeypatch.setattr(_active_set, "next_sets", flip)
    result = simplex_qp(K, q, 1e-3, groups=groups)
    assert result.solver == "interior_point" and result.converged
    assert "cycled" in result.status
    assert lp_gap(K, q, 1e-3, result, groups) <= 1e-10
    np.testing.assert_allclose(result.weights, expected.weights, atol=1e-7)
    assert result.relative_gap <= 1e-10


def test_changes_that_stop_falling_fall_back(monkeypatch, balancing_problem):
    K, q = balancing_problem("energy", 60)
    draws = np.random.default_rng(0)

    def wander(problem, sets, v, gradient, multipliers):
        return 5, draws.integers(-1, 1, sets.size).astype(np.int8)

    monkeypatch.setattr(_active_set, "next_sets", wander)
    result = simplex_qp(K, q, 1e-3)
    assert "set changes stopped falling" in result.status
    assert result.solver == "interior_point" and result.converged


def test_an_indefinite_sign_pattern_does_not_trap_the_solver(lp_gap):
    # Strongly dependent rows with tiny ridge: many set changes, true gap required.
    rng = np.random.default_rng(3)
    factor = rng.normal(size=(120, 6))
    K, q = factor @ factor.T, factor @ rng.normal(size=6)
    for ridge in (1e-12, 1e-9, 1e-6):
        result = simplex_qp(K, q, ridge)
        assert result.converged
        improvement = result.uniform_value - result.value
        assert lp_gap(K, q, ridge, result) <= 1e-8 * improvement


def test_a_step_limit_is_reported_honestly(balancing_problem):
    K, q = balancing_problem("gaussian", 120)
    result = simplex_qp(K, q, 1e-5, max_iter=1)
    assert not result.converged and result.relative_gap > 1e-6
    np.testing.assert_allclose(result.weights.sum(), 1.0)
    assert result.weights.min() >= 0.0 and np.isfinite(result.value)


def test_a_tangent_definite_matrix_is_lifted(balancing_problem):
    K, q = balancing_problem("energy", 50)
    size = np.abs(np.random.default_rng(1).normal(size=50))
    # The same problem, with a matrix that is definite only for sum-zero vectors.
    tilted = K - 30.0 - size[:, None] - size
    result = simplex_qp(tilted, q - size, 1e-3)
    expected = simplex_qp(K, q, 1e-3)
    assert result.solver == "active_set"
    np.testing.assert_allclose(result.weights, expected.weights, atol=1e-11)


@pytest.mark.parametrize("kernel", ["energy", "gaussian"])
@pytest.mark.parametrize("lift", [0.0, -40.0])
def test_single_precision_factors_stay_exact(
    kernel, lift, monkeypatch, balancing_problem
):
    K, q = balancing_problem(kernel, 400)
    expected = simplex_qp(K, q, 1e-2)
    used = []

    class Recorded(_dense_systems.RefinedFactor):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            used.append(arguments[0].dtype)

    monkeypatch.setattr(_dense_systems, "RefinedFactor", Recorded)
    monkeypatch.setattr(_dense_systems, "SINGLE_ROWS", 10)
    result = simplex_qp(K + lift, q, 1e-2)
    assert used and set(used) == {np.dtype(np.float32)}
    assert result.solver == "active_set"
    # Rounding is relative to the lift; in the weights it is divided by the ridge.
    tolerance = 1e-11 if lift else 1e-12
    assert result.relative_gap <= tolerance
    np.testing.assert_allclose(result.weights, expected.weights, atol=tolerance)


def test_single_precision_gives_way_when_it_is_too_coarse(
    monkeypatch, balancing_problem
):
    K, q = balancing_problem("gaussian", 300, 1)
    expected = simplex_qp(K, q, 1e-9)
    monkeypatch.setattr(_dense_systems, "SINGLE_ROWS", 10)
    result = simplex_qp(K, q, 1e-9)
    assert result.converged
    np.testing.assert_allclose(result.weights, expected.weights, atol=1e-6)
