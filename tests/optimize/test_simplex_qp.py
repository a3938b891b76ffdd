"""simplex_qp against other solvers, closed forms and invariants."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from causalweights.optimize import SimplexQPResult, simplex_qp

KERNELS = ("gaussian", "energy", "laplace")
ROUTES = ("active_set", "interior_point", "working_set")
# Clarabel stops near 1e-13; its own error shows in the objective at about 1e-10.
OBJECTIVE_RTOL = 1e-8
# A weight error is sqrt(2 gap / ridge): 1e-5 at a gap of 1e-13 and a ridge of 1e-3.
WEIGHT_ATOL = 1e-5
# The routes run to their finite end.
EXACT_GAP = 1e-11


def random_cases():
    """Draw 20 problems over the ranges of the design page."""
    rng = np.random.default_rng(6)
    for case in range(20):
        yield (
            KERNELS[case % 3],
            int(rng.integers(5, 200)),
            int(rng.integers(1, 11)),
            (0.0, 1e-4, 1e-1)[(case // 3) % 3],
            case,
        )


@pytest.mark.parametrize("kernel, n, d, ridge, seed", list(random_cases()))
def test_agrees_with_clarabel(
    kernel, n, d, ridge, seed, balancing_problem, clarabel, lp_gap
):
    K, q = balancing_problem(kernel, n, d, seed)
    result = simplex_qp(K, q, ridge)
    reference, value = clarabel(K, q, ridge)
    assert result.converged
    assert abs(result.value - value) <= OBJECTIVE_RTOL * abs(value)
    improvement = result.uniform_value - result.value
    assert lp_gap(K, q, ridge, result) <= 1e-9 * improvement
    if ridge >= 1e-3:
        np.testing.assert_allclose(result.weights, reference, atol=WEIGHT_ATOL)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("ridge", [1e-3, 1e-1])
def test_agrees_with_quadprog(kernel, ridge, balancing_problem):
    import quadprog

    K, q = balancing_problem(kernel, 60)
    n = q.size
    constraints = np.column_stack([np.ones(n), np.eye(n)])
    bounds = np.concatenate([[1.0], np.zeros(n)])
    H = K + ridge * np.eye(n)
    reference, value, *_ = quadprog.solve_qp(H, q, constraints, bounds, meq=1)
    result = simplex_qp(K, q, ridge)
    np.testing.assert_allclose(result.weights, reference, atol=1e-9)
    np.testing.assert_allclose(result.value, value, rtol=1e-10)


def test_agrees_with_piqp(balancing_problem):
    import piqp

    K, q = balancing_problem("gaussian", 150)
    n = q.size
    solver = piqp.DenseSolver()
    solver.settings.eps_abs = solver.settings.eps_rel = 1e-12
    H = K + 1e-2 * np.eye(n)
    solver.setup(H, -q, np.ones((1, n)), np.ones(1), x_l=np.zeros(n))
    solver.solve()
    result = simplex_qp(K, q, 1e-2)
    np.testing.assert_allclose(result.weights, solver.result.x, atol=1e-7)


@pytest.mark.parametrize("solver", ROUTES)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("ridge", [1e-6, 1e-2, 10.0])
def test_routes_agree_and_are_certified(
    solver, kernel, ridge, balancing_problem, lp_gap
):
    K, q = balancing_problem(kernel, 700, 4)
    result = simplex_qp(K, q, ridge, solver=solver)
    expected = simplex_qp(K, q, ridge)
    assert result.converged and result.relative_gap <= 1e-10
    assert abs(result.weights.sum() - 1.0) <= 1e-12 and result.weights.min() >= 0.0
    np.testing.assert_allclose(result.value, expected.value, rtol=1e-10)
    gradient = K @ result.weights + ridge * result.weights - q
    free = result.weights > 1e-9
    np.testing.assert_allclose(gradient[free], result.multipliers[0], atol=1e-9)
    assert gradient.min() >= result.multipliers[0] - 1e-9
    np.testing.assert_allclose(
        result.gap, lp_gap(K, q, ridge, result), atol=1e-12 * np.abs(q).max()
    )


def test_returns_a_frozen_result(balancing_problem):
    result = simplex_qp(*balancing_problem("laplace", 20), 1e-2)
    assert isinstance(result, SimplexQPResult)
    with pytest.raises(AttributeError):
        result.value = 0.0


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "gaussian"])
def test_two_points_around_the_target_share(metric):
    x, t = np.array([[-1.0], [1.0]]), np.zeros((1, 1))
    if metric == "gaussian":
        K, q = np.exp(-(cdist(x, x) ** 2)), np.exp(-(cdist(x, t) ** 2))[:, 0]
    else:
        K, q = -cdist(x, x, metric), -cdist(x, t, metric)[:, 0]
    result = simplex_qp(K, q, 0.0)
    np.testing.assert_allclose(result.weights, 0.5, atol=1e-14)
    assert result.converged


@pytest.mark.parametrize("t", [0.0, 0.1, 0.5, 0.73, 1.0])
@pytest.mark.parametrize("kernel", ["energy", "linear"])
def test_two_points_interpolate_linearly(t, kernel):
    x = np.array([0.0, 1.0])
    if kernel == "energy":
        K, q = -np.abs(x[:, None] - x), -np.abs(x - t)
    else:
        K, q = np.outer(x, x), x * t
    result = simplex_qp(K, q)
    np.testing.assert_allclose(result.weights, [1.0 - t, t], atol=1e-12)


@pytest.mark.parametrize("solver", ["auto", *ROUTES])
def test_target_at_a_source_row_takes_it(solver, rng):
    X = rng.normal(size=(40, 3))
    K = np.exp(-cdist(X, X, "sqeuclidean"))
    result = simplex_qp(K, K[7], solver=solver)
    np.testing.assert_allclose(result.weights, np.eye(40)[7], atol=1e-9)
    np.testing.assert_allclose(result.value, -0.5 * K[7, 7], rtol=1e-12)
    assert result.converged


@pytest.mark.parametrize("solver", ["auto", *ROUTES])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("ridge", [0.0, 1e-2])
def test_target_equal_to_source_is_uniform(solver, kernel, ridge, balancing_problem):
    K, _ = balancing_problem(kernel, 80)
    result = simplex_qp(K, K.mean(axis=1), ridge, solver=solver)
    assert result.converged
    tolerance = 1e-10 if ridge else 1e-6
    np.testing.assert_allclose(result.weights, 1.0 / 80, atol=tolerance)


@pytest.mark.parametrize("solver", ["auto", *ROUTES])
def test_zero_problem_is_uniform_and_converged(solver):
    result = simplex_qp(np.zeros((5, 5)), np.zeros(5), 0.0, solver=solver)
    np.testing.assert_allclose(result.weights, 0.2)
    assert result.converged and result.relative_gap == 0.0


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("ridge", [0.0, 1e-4, 1e-1])
def test_dominates_uniform_vertices_and_neighbors(kernel, ridge, balancing_problem):
    K, q = balancing_problem(kernel, 50)
    value = simplex_qp(K, q, ridge).value

    def objective(w):
        return 0.5 * w @ (K @ w + ridge * w) - q @ w

    others = [*np.eye(50), np.full(50, 0.02), np.exp(q) / np.exp(q).sum()]
    assert all(value <= objective(w) + 1e-14 for w in others)


def test_duplicated_rows_get_equal_weights(balancing_problem):
    K, q = balancing_problem("gaussian", 60)
    rows = np.concatenate([np.arange(60), [3, 3, 17]])
    result = simplex_qp(K[np.ix_(rows, rows)], q[rows], 1e-3)
    for copies in ([3, 60, 61], [17, 62]):
        np.testing.assert_allclose(np.ptp(result.weights[copies]), 0.0, atol=1e-13)
    assert result.converged


def test_duplicated_rows_without_ridge_are_safe(balancing_problem):
    K, q = balancing_problem("energy", 60)
    rows = np.repeat(np.arange(60), 2)
    result = simplex_qp(K[np.ix_(rows, rows)], q[rows])
    assert result.converged
    np.testing.assert_allclose(result.value, simplex_qp(K, q).value, rtol=1e-10)


def test_a_row_ridge_shares_mass_by_row_size(balancing_problem):
    # A row that stands for k rows carries ridge / k: the same as k copies of it.
    K, q = balancing_problem("energy", 40)
    size = np.random.default_rng(0).integers(1, 4, 40)
    rows = np.repeat(np.arange(40), size)
    grouped = simplex_qp(K, q, 1e-2 / size).weights
    copied = simplex_qp(K[np.ix_(rows, rows)], q[rows], 1e-2).weights
    np.testing.assert_allclose(grouped, np.bincount(rows, copied), atol=1e-11)


@pytest.mark.parametrize("ridge", [1e-6, 1e-3, 1e-1])
@pytest.mark.parametrize("solver", ["auto", *ROUTES])
def test_two_arms_jointly(ridge, solver, joint_problem, clarabel, lp_gap):
    K, q, groups = joint_problem(90)
    result = simplex_qp(K, q, ridge, groups=groups, solver=solver)
    reference, value = clarabel(K, q, ridge, groups)
    assert result.converged and result.multipliers.shape == (2,)
    np.testing.assert_allclose(np.bincount(groups, result.weights), 1.0, atol=1e-12)
    np.testing.assert_allclose(result.value, value, rtol=OBJECTIVE_RTOL)
    assert lp_gap(K, q, ridge, result, groups) <= EXACT_GAP
    if ridge >= 1e-3:
        np.testing.assert_allclose(result.weights, reference, atol=WEIGHT_ATOL)


def test_separate_groups_are_separate_problems(balancing_problem):
    K, q = balancing_problem("laplace", 90)
    groups = np.arange(90) % 3
    result = simplex_qp(K * (groups[:, None] == groups), q, 1e-3, groups=groups)
    for g in range(3):
        rows = np.flatnonzero(groups == g)
        alone = simplex_qp(K[np.ix_(rows, rows)], q[rows], 1e-3)
        np.testing.assert_allclose(result.weights[rows], alone.weights, atol=1e-12)
        np.testing.assert_allclose(result.multipliers[g], alone.multipliers[0])


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("solver", ["auto", *ROUTES])
def test_bounds(kernel, solver, balancing_problem, clarabel, lp_gap):
    K, q = balancing_problem(kernel, 70)
    lower = np.where(np.arange(70) % 3 == 0, 2e-3, 0.0)
    result = simplex_qp(K, q, 1e-3, lower=lower, upper=0.03, solver=solver)
    reference, value = clarabel(K, q, 1e-3, None, lower, 0.03)
    assert result.converged
    assert np.all(result.weights >= lower) and np.all(result.weights <= 0.03)
    assert np.any(result.weights == 0.03) and np.any(result.weights == lower)
    np.testing.assert_allclose(result.value, value, rtol=OBJECTIVE_RTOL)
    np.testing.assert_allclose(result.weights, reference, atol=WEIGHT_ATOL)
    assert lp_gap(K, q, 1e-3, result, None, lower, 0.03) <= EXACT_GAP


def test_bounds_with_groups(joint_problem, clarabel, lp_gap):
    K, q, groups = joint_problem(80)
    result = simplex_qp(K, q, 1e-3, groups=groups, lower=1e-3, upper=0.05)
    _, value = clarabel(K, q, 1e-3, groups, 1e-3, 0.05)
    np.testing.assert_allclose(result.value, value, rtol=OBJECTIVE_RTOL)
    assert lp_gap(K, q, 1e-3, result, groups, 1e-3, 0.05) <= EXACT_GAP


def test_a_loose_upper_bound_changes_nothing(balancing_problem):
    K, q = balancing_problem("gaussian", 50)
    free = simplex_qp(K, q, 1e-3).weights
    np.testing.assert_allclose(simplex_qp(K, q, 1e-3, upper=1.0).weights, free)


def test_bounds_that_determine_the_weights(balancing_problem):
    K, q = balancing_problem("energy", 6)
    groups = np.array([0, 0, 0, 1, 1, 2])
    upper = np.array([0.5, 0.3, 0.2, 1.0, 1.0, 1.0])
    result = simplex_qp(K, q, 0.1, groups=groups, upper=upper)
    np.testing.assert_allclose(result.weights[:3], [0.5, 0.3, 0.2], atol=1e-15)
    assert result.weights[5] == 1.0 and result.converged
    low = simplex_qp(K, q, 0.1, lower=1.0 / 6.0)
    np.testing.assert_allclose(low.weights, 1.0 / 6.0)
    assert low.converged and low.solver == "constraints"


def test_equal_bounds_fix_a_row(balancing_problem, clarabel):
    K, q = balancing_problem("gaussian", 30)
    lower, upper = np.zeros(30), np.ones(30)
    lower[4] = upper[4] = 0.25
    result = simplex_qp(K, q, 1e-2, lower=lower, upper=upper)
    reference, _ = clarabel(K, q, 1e-2, None, lower, upper)
    assert result.weights[4] == 0.25
    np.testing.assert_allclose(result.weights, reference, atol=WEIGHT_ATOL)


def test_negative_lower_bounds(balancing_problem, clarabel):
    K, q = balancing_problem("laplace", 40)
    result = simplex_qp(K, q, 1e-2, lower=-0.02)
    reference, value = clarabel(K, q, 1e-2, None, -0.02)
    np.testing.assert_allclose(result.value, value, rtol=OBJECTIVE_RTOL)
    np.testing.assert_allclose(result.weights, reference, atol=WEIGHT_ATOL)


@pytest.mark.parametrize("solver", ["auto", *ROUTES])
def test_one_row(solver):
    result = simplex_qp([[2.0]], [0.3], 0.5, solver=solver)
    assert result.weights.tolist() == [1.0]
    assert result.value == pytest.approx(0.95) and result.converged


@pytest.mark.parametrize("factor", [1e-8, 1e8, 1e-100, 1e100])
@pytest.mark.parametrize("solver", ["auto", *ROUTES])
@pytest.mark.parametrize("ridge", [0.0, 1e-3])
def test_scale_invariance(factor, solver, ridge, balancing_problem):
    K, q = balancing_problem("laplace", 80)
    expected = simplex_qp(K, q, ridge)
    result = simplex_qp(factor * K, factor * q, factor * ridge, solver=solver)
    np.testing.assert_allclose(result.weights, expected.weights, atol=1e-10)
    assert result.converged
    np.testing.assert_allclose(result.value, factor * expected.value, rtol=1e-10)


def test_adding_a_constant_to_the_matrix_changes_nothing(balancing_problem):
    K, q = balancing_problem("energy", 60)
    expected = simplex_qp(K, q, 1e-3).weights
    for constant in (-50.0, 50.0):
        shifted = simplex_qp(K + constant, q, 1e-3)
        np.testing.assert_allclose(shifted.weights, expected, atol=1e-10)


@pytest.mark.parametrize("kernel", KERNELS)
def test_permuting_rows_permutes_weights(kernel, balancing_problem, rng):
    K, q = balancing_problem(kernel, 60)
    order = rng.permutation(60)
    permuted = simplex_qp(K[np.ix_(order, order)], q[order], 1e-3)
    expected = simplex_qp(K, q, 1e-3).weights[order]
    np.testing.assert_allclose(permuted.weights, expected, atol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_ridge_path_is_monotone(kernel, balancing_problem):
    K, q = balancing_problem(kernel, 80)
    ridges = np.logspace(-6, 3, 19)
    weights = np.array([simplex_qp(K, q, ridge).weights for ridge in ridges])
    squares = np.sum(weights**2, axis=1)
    fit = 0.5 * np.einsum("ri,ij,rj->r", weights, K, weights) - weights @ q
    assert np.all(np.diff(squares) <= 1e-12)
    assert np.all(np.diff(fit) >= -1e-12)
    no_ridge = simplex_qp(K, q).value
    np.testing.assert_allclose(fit[0], no_ridge, rtol=1e-4)


def test_an_infinite_ridge_is_uniform(balancing_problem):
    K, q = balancing_problem("gaussian", 50)
    result = simplex_qp(K, q, 1e12)
    np.testing.assert_allclose(result.weights, 0.02, atol=1e-12)
    assert result.converged


def test_warm_start_gives_the_same_weights_sooner(balancing_problem):
    K, q = balancing_problem("gaussian", 200)
    cold = simplex_qp(K, q, 1e-4)
    warm = simplex_qp(K, q, 1e-4, start=cold.weights)
    np.testing.assert_allclose(warm.weights, cold.weights, atol=1e-12)
    assert warm.n_iter == 1 < cold.n_iter


@pytest.mark.parametrize("solver", ["auto", *ROUTES])
def test_inputs_are_neither_changed_nor_written_to(solver, balancing_problem):
    K, q = balancing_problem("energy", 40)
    inputs = [K, q, np.full(40, 1e-3), np.zeros(40), np.full(40, 0.1)]
    copies = [array.copy() for array in inputs]
    for array in inputs:
        array.flags.writeable = False
    K, q, ridge, lower, upper = inputs
    result = simplex_qp(K, q, ridge, lower=lower, upper=upper, solver=solver)
    assert result.weights.flags.writeable
    for array, copy in zip(inputs, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_other_dtypes_and_orders(balancing_problem):
    K, q = balancing_problem("laplace", 40)
    expected = simplex_qp(K, q, 1e-2).weights
    fortran = simplex_qp(np.asfortranarray(K), list(q), 1e-2)
    np.testing.assert_allclose(fortran.weights, expected, atol=1e-14)
    single = simplex_qp(K.astype(np.float32), q.astype(np.float32), 1e-2)
    np.testing.assert_allclose(single.weights, expected, atol=1e-4)
    assert single.weights.dtype == np.float64


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 25),
    rank=st.integers(0, 6),
    ridge=st.sampled_from([0.0, 1e-8, 1e-3, 1.0]),
    n_groups=st.integers(1, 3),
    bounded=st.booleans(),
    decimals=st.sampled_from([0, 8]),
    seed=st.integers(0, 10_000),
)
def test_weights_are_feasible_and_certified(
    n, rank, ridge, n_groups, bounded, decimals, seed
):
    # Rounding to integers makes ties, duplicates and vertices common.
    rng = np.random.default_rng(seed)
    n_groups = min(n, n_groups)
    factor = rng.normal(size=(n, rank)).round(decimals)
    K, q = factor @ factor.T, rng.normal(size=n).round(decimals)
    groups = np.concatenate([np.arange(n_groups), rng.integers(0, n_groups, n)])[:n]
    sizes = np.bincount(groups)[groups]
    lower = 0.3 / sizes if bounded else np.zeros(n)
    upper = 1.7 / sizes if bounded else None
    result = simplex_qp(K, q, ridge, groups=groups, lower=lower, upper=upper)
    np.testing.assert_allclose(np.bincount(groups, result.weights), 1.0, atol=1e-12)
    assert np.all(result.weights >= lower)
    assert upper is None or np.all(result.weights <= upper)
    assert result.gap >= 0.0 and np.isfinite(result.value)
    assert result.converged
