"""Warm-started sequences against cold solutions, and their monotone quantities."""

import numpy as np
import pytest

from causalweights.optimize import (
    LowRankOperator,
    simplex_qp,
    simplex_qp_path,
    simplex_qp_sequence,
)

KERNELS = ("gaussian", "energy", "laplace")
RIDGES = np.logspace(-4, 2, 13)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("upper", [None, 0.04])
def test_a_path_equals_cold_solutions_in_fewer_steps(kernel, upper, balancing_problem):
    K, q = balancing_problem(kernel, 150)
    order = np.random.default_rng(0).permutation(RIDGES)
    path = simplex_qp_path(K, q, order, upper=upper)
    cold = [simplex_qp(K, q, ridge, upper=upper) for ridge in order]
    for warm, alone in zip(path, cold, strict=True):
        assert warm.converged and warm.relative_gap <= 1e-9
        np.testing.assert_allclose(warm.weights, alone.weights, atol=1e-10)
        np.testing.assert_allclose(warm.value, alone.value, rtol=1e-12)
    assert sum(r.n_iter for r in path) < sum(r.n_iter for r in cold)


@pytest.mark.parametrize("kernel", KERNELS)
def test_size_and_fit_are_monotone_in_the_ridge(kernel, balancing_problem):
    K, q = balancing_problem(kernel, 120)
    ridges = np.append(np.logspace(-7, 3, 21), 1e13)
    weights = np.array([r.weights for r in simplex_qp_path(K, q, ridges)])
    size = 1.0 / np.sum(weights**2, axis=1)
    fit = 0.5 * np.einsum("ri,ij,rj->r", weights, K, weights) - weights @ q
    assert np.all(np.diff(size) >= -1e-9 * size[:-1])
    assert np.all(np.diff(fit) >= -1e-12)
    np.testing.assert_allclose(weights[-1], 1.0 / 120, atol=1e-12)
    # The excess over the optimum without ridge is at most half the ridge.
    assert fit[0] - simplex_qp(K, q).value <= 0.5e-7


def test_a_path_with_groups_and_moments(joint_problem):
    K, q, groups = joint_problem(90)
    A = np.random.default_rng(0).normal(size=(90, 3))
    options = {"groups": groups, "moments": A[:, :2], "moment_targets": [0.1, -0.1]}
    options["moment_tol"] = [0.0, 0.02]
    path = simplex_qp_path(K, q, RIDGES, **options)
    for ridge, warm in zip(RIDGES, path, strict=True):
        alone = simplex_qp(K, q, ridge, **options)
        assert warm.converged
        np.testing.assert_allclose(warm.weights, alone.weights, atol=1e-10)


def test_ridges_for_each_row(balancing_problem):
    K, q = balancing_problem("energy", 60)
    size = np.random.default_rng(1).uniform(0.5, 2.0, 60)
    path = simplex_qp_path(K, q, np.outer([1e-3, 1e-1], size))
    for ridge, warm in zip([1e-3, 1e-1], path, strict=True):
        alone = simplex_qp(K, q, ridge * size).weights
        np.testing.assert_allclose(warm.weights, alone, atol=1e-12)


@pytest.mark.parametrize("solver", ["auto", "working_set"])
def test_an_operator_is_formed_once(solver, balancing_problem):
    K, q = balancing_problem("energy", 80)

    class Counting:
        shape, dtype, formed = K.shape, K.dtype, 0

        def block(self, rows, columns=None):
            self.formed += rows.size == 80
            return K[np.ix_(rows, rows if columns is None else columns)]

        def matvec(self, v, columns=None):
            return K @ v if columns is None else K[:, columns] @ v

        def diagonal(self):
            return K.diagonal()

    operator = Counting()
    path = simplex_qp_path(operator, q, RIDGES, solver=solver)
    for ridge, warm in zip(RIDGES, path, strict=True):
        alone = simplex_qp(K, q, ridge).weights
        np.testing.assert_allclose(warm.weights, alone, atol=1e-10)
    assert operator.formed == 1 or solver == "working_set"


def test_a_low_rank_operator_stays_one():
    L = np.random.default_rng(0).normal(size=(300, 5))
    q = L @ np.full(5, 0.4)
    path = simplex_qp_path(LowRankOperator(L), q, RIDGES)
    for ridge, warm in zip(RIDGES, path, strict=True):
        alone = simplex_qp(L @ L.T, q, ridge).weights
        np.testing.assert_allclose(warm.weights, alone, atol=1e-9)


def test_bandwidths_one_after_the_other():
    rng = np.random.default_rng(3)
    X, Z = rng.normal(size=(200, 3)), rng.normal(size=(50, 3)) + 0.5
    near = np.sum((X[:, None] - X) ** 2, axis=2)
    far = np.sum((X[:, None] - Z) ** 2, axis=2)
    formed = []

    def problems():
        for width in np.linspace(2.0, 8.0, 7):
            formed.append(width)
            yield np.exp(-near / width), np.exp(-far / width).mean(axis=1)

    warm = simplex_qp_sequence(problems(), 1e-3)
    assert len(formed) == 7
    cold = [simplex_qp(K, q, 1e-3) for K, q in problems()]
    for one, other in zip(warm, cold, strict=True):
        np.testing.assert_allclose(one.weights, other.weights, atol=1e-10)
    assert sum(r.n_iter for r in warm) < sum(r.n_iter for r in cold)


def test_a_start_serves_the_first_problem(balancing_problem):
    K, q = balancing_problem("gaussian", 150)
    start = simplex_qp(K, q, 1e-3).weights
    (single,) = simplex_qp_path(K, q, [1e-3], start=start)
    first, second = simplex_qp_sequence([(K, q), (K, q)], 1e-3, start=start)
    assert single.n_iter == first.n_iter == second.n_iter == 1


def test_empty_grids_are_empty():
    assert simplex_qp_path(np.eye(3), np.ones(3), []) == []
    assert simplex_qp_sequence([]) == []


@pytest.mark.parametrize(
    "ridges, options, message",
    [
        (0.1, {}, r"ridges must have shape \(m,\) or \(m, 3\), got \(\)"),
        (np.ones((2, 4)), {}, r"got \(2, 4\)"),
        ([0.1, np.nan], {}, "ridges contains NaN"),
        ([0.1, -1.0], {}, "ridge must be non-negative"),
        ([0.1], {"ridge": 1.0}, "ridge is not an option"),
    ],
)
def test_refusals(ridges, options, message):
    with pytest.raises(ValueError, match=message):
        simplex_qp_path(np.eye(3), np.ones(3), ridges, **options)


def test_a_sequence_keeps_its_rows():
    pairs = [(np.eye(3), np.ones(3)), (np.eye(4), np.ones(4))]
    with pytest.raises(ValueError, match="problem 1 has 4, the first has 3"):
        simplex_qp_sequence(pairs)
