"""Models with a low-rank plus diagonal Hessian, against the dense solver."""

import numpy as np
import pytest

from causalweights.optimize import simplex_qp
from causalweights.optimize._low_rank_model import LowRankModel, minimize_model
from causalweights.optimize._problem import Simplices


def model_problem(seed, n=300, rank=20, groups=1, bounded=False):
    """Return a random model, its simplices, a point and a gradient."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(n, rank))
    diagonal = rng.uniform(0.2, 1.0, n) * 10 ** rng.uniform(-1, 1)
    labels = np.arange(n) % groups
    upper = np.full(n, 4.0 * groups / n if bounded else np.inf)
    simplices = Simplices(labels, np.ones(groups), upper)
    point = simplices.repair(rng.uniform(0.5, 1.5, n))
    center = factor @ rng.normal(size=rank) / n
    return factor, diagonal, simplices, point, center + 0.02 * rng.normal(size=n)


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_minimiser_is_that_of_the_dense_problem(seed, groups, bounded):
    factor, diagonal, simplices, w, gradient = model_problem(
        seed, groups=groups, bounded=bounded
    )
    K = factor @ factor.T
    expected = simplex_qp(
        K,
        K @ w + diagonal * w - gradient,
        diagonal,
        groups=simplices.labels,
        upper=simplices.upper if bounded else None,
    )
    step = minimize_model(LowRankModel(factor, diagonal), simplices, w, gradient)
    assert step.finished
    np.testing.assert_allclose(step.v, expected.weights, atol=1e-10)


def test_any_first_guess_of_the_free_rows_leads_to_the_same_point():
    factor, diagonal, simplices, w, gradient = model_problem(5)
    model = LowRankModel(factor, diagonal)
    steps = [
        minimize_model(model, simplices, w, gradient, inside=guess)
        for guess in (None, np.arange(300) < 3, np.arange(300) > 100)
    ]
    for step in steps:
        assert step.finished
        np.testing.assert_allclose(step.v, steps[0].v, atol=1e-10)


def test_exchanged_rows_leave_the_matrix_of_the_rows_inside():
    factor, diagonal, *_ = model_problem(1)
    model = LowRankModel(factor, diagonal)
    rng = np.random.default_rng(0)
    inside = rng.random(300) < 0.7
    for share in (0.0, 0.02, 0.1, 0.9):
        inside = inside ^ (rng.random(300) < share)
        scaled = factor[inside] / np.sqrt(diagonal[inside])[:, None]
        np.testing.assert_allclose(model.gram(inside), scaled.T @ scaled, atol=1e-9)


def test_single_precision_factor_gives_four_digits():
    factor, diagonal, simplices, w, gradient = model_problem(2)
    exact = minimize_model(LowRankModel(factor, diagonal), simplices, w, gradient)
    quick = minimize_model(
        LowRankModel(factor.astype(np.float32), diagonal), simplices, w, gradient
    )
    np.testing.assert_allclose(quick.v, exact.v, atol=1e-4 * exact.v.max())


def test_few_steps_suffice_from_a_point_with_all_rows_free():
    factor, diagonal, simplices, w, gradient = model_problem(3)
    step = minimize_model(LowRankModel(factor, diagonal), simplices, w, gradient)
    assert step.n_iter <= 12


def test_settled_stops_where_few_rows_still_change():
    factor, diagonal, simplices, w, gradient = model_problem(4)
    model = LowRankModel(factor, diagonal)
    full = minimize_model(model, simplices, w, gradient)
    early = minimize_model(model, simplices, w, gradient, settled=0.2)
    assert early.finished
    assert early.n_iter < full.n_iter
    assert simplices.sums(early.v) == pytest.approx(1.0, abs=1e-12)
