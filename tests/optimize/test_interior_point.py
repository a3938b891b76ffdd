"""The interior point on singular problems, and its polish."""

import numpy as np
import pytest

from causalweights.optimize import simplex_qp


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("n", [100, 400])
def test_singular_kernels_without_ridge(n, d, balancing_problem, lp_gap):
    K, q = balancing_problem("gaussian", n, d)
    result = simplex_qp(K, q)
    assert result.converged and result.relative_gap <= 1e-8
    improvement = result.uniform_value - result.value
    assert lp_gap(K, q, 0.0, result) <= 1e-8 * improvement
    assert result.n_iter <= 60


@pytest.mark.parametrize("rank", [0, 1, 3])
@pytest.mark.parametrize("upper", [None, 0.05])
def test_low_rank_matrices(rank, upper, lp_gap):
    rng = np.random.default_rng(rank)
    factor = rng.normal(size=(90, rank))
    K, q = factor @ factor.T, factor @ np.full(rank, 0.3)
    result = simplex_qp(K, q, upper=upper)
    assert result.converged
    assert lp_gap(K, q, 0.0, result, None, 0.0, upper) <= 1e-12
    if upper is None:
        # The target 0.3 lies inside the cloud: moments are matched exactly.
        np.testing.assert_allclose(factor.T @ result.weights, 0.3, atol=1e-7)


@pytest.mark.parametrize("upper", [None, 0.2])
def test_linear_programs_end_at_vertices(upper):
    q = np.random.default_rng(0).normal(size=40)
    result = simplex_qp(np.zeros((40, 40)), q, upper=upper)
    count = 1 if upper is None else 5
    expected = np.zeros(40)
    expected[np.argsort(-q)[:count]] = 1.0 / count
    np.testing.assert_allclose(result.weights, expected, atol=1e-9)
    assert result.converged


def test_the_polish_sets_exact_zeros(balancing_problem):
    K, q = balancing_problem("laplace", 120)
    result = simplex_qp(K, q, 1e-4, solver="interior_point")
    expected = simplex_qp(K, q, 1e-4)
    np.testing.assert_array_equal(result.weights > 0.0, expected.weights > 0.0)
    np.testing.assert_allclose(result.weights, expected.weights, atol=1e-12)
    assert "polished" in result.status


@pytest.mark.parametrize("kernel", ["energy", "gaussian"])
@pytest.mark.parametrize("tol", [0.0, 1e-9, 1e-3, 0.1, 3.0])
def test_moments_of_any_tolerance_are_polished(kernel, tol, balancing_problem):
    # From equality to tolerances that bind nowhere: the tight ones are recognized.
    K, q = balancing_problem(kernel, 150)
    A = np.random.default_rng(0).normal(size=(150, 3))
    options = {"moments": A, "moment_targets": [0.5, 0.2, 0.6], "moment_tol": tol}
    result = simplex_qp(K, q, 1e-3, solver="interior_point", **options)
    expected = simplex_qp(K, q, 1e-3, solver="active_set", **options)
    assert "polished" in result.status and result.relative_gap <= 1e-11
    assert expected.solver == "active_set"
    np.testing.assert_allclose(result.weights, expected.weights, atol=1e-11)
    np.testing.assert_array_equal(result.weights > 0.0, expected.weights > 0.0)
    np.testing.assert_allclose(
        result.moment_multipliers, expected.moment_multipliers, atol=1e-9
    )
