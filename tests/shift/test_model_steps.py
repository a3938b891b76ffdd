"""Programs of many rows by low-rank models, and paths over D by either route."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from causalweights.shift import _matching
from causalweights.shift._matching import D_GRID


@pytest.mark.parametrize("D", [1.0, 1.5625, 4.0, 25.0, np.inf])
@pytest.mark.parametrize("rank", [40, 400])
def test_low_rank_models_end_at_the_exact_solution(D, rank, problem):
    dense = problem(200).solve(D)
    thin = problem(200, solver="low_rank", rank=rank).solve(D)
    assert thin.solver == "low_rank" and thin.converged
    assert abs(thin.mmd2 - dense.mmd2) <= 1e-6
    # The certificate is that of the kernel: it bounds what is lost.
    assert -1e-15 <= thin.objective - dense.objective <= thin.gap + 1e-15
    assert thin.relative_gap <= 1e-8
    assert_allclose(thin.beta, dense.beta, atol=5e-3)
    assert thin.ball_active == dense.ball_active


def test_a_poor_model_says_that_it_fell_short(problem):
    dense = problem(200).solve(4.0, kappa=1e-4)
    thin = problem(200, solver="low_rank", rank=10).solve(4.0, kappa=1e-4)
    assert not thin.converged and thin.relative_gap > 1e-8
    assert 0.0 <= thin.objective - dense.objective <= thin.gap


def test_many_rows_take_low_rank_models(monkeypatch, problem):
    monkeypatch.setattr(_matching, "DENSE_ROWS", 100)
    assert problem(50).solver == "dense" and problem(51, t=50).solver == "low_rank"


@pytest.mark.parametrize("solver", ["dense", "low_rank"])
def test_a_path_stops_where_the_ball_is_inactive(solver, problem):
    two = problem(200, solver=solver)
    path = two.path()
    assert path.first_inactive == 6.25 and path.n_solved == 7
    assert_allclose(path.values("D"), D_GRID)
    for found in path.solutions:
        single = two.solve(found.D)
        assert_allclose(found.objective, single.objective, atol=1e-9)
        assert_allclose(found.beta, single.beta, atol=1e-2)
        assert found.relative_gap <= 1e-8
        assert found.ball_active is (found.D < 6.25) and found.cap == single.cap
    # In any order, with the robust program among them.
    mixed = two.path([np.inf, 4.0, 1.0])
    assert mixed.values("D").tolist() == [np.inf, 4.0, 1.0]
    assert_allclose(
        mixed.solutions[1].objective, path.solutions[5].objective, atol=1e-9
    )
    assert mixed.first_inactive is None and mixed.n_solved == 3


@pytest.mark.parametrize("solver", ["dense", "low_rank"])
def test_a_falling_bound_on_source_weights_is_solved_again(solver, problem):
    two = problem(60, solver=solver)
    path = two.path([9.0, 16.0, 100.0], B=6.0)
    for found in path.solutions:
        assert found.beta.max() <= 6.0 / np.sqrt(found.D)
        assert_allclose(found.objective, two.solve(found.D, 6.0).objective, atol=1e-9)
    assert path.solutions[2].cap_active
