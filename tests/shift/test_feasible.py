"""The smallest feasible tolerances."""

import cvxpy as cp
import numpy as np
import pytest

from causalweights.shift._feasible import feasible_lambda

PROBLEMS = [(0, 2, 60, 3), (1, 3, 40, 2), (2, 4, 100, 4), (3, 2, 8, 6), (4, 6, 30, 3)]


def dual_value(w, weighted, shares, tau):
    """Lower bound of the sum of distances for any |w| <= 1, (C, m)."""
    return (tau * w).sum() - (weighted @ w.T).max(axis=1) @ shares


def moments(q, weighted, shares):
    return (q * shares[:, None]).T @ weighted


@pytest.mark.parametrize("off", [0.2, 2.0])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_sum_is_that_of_the_dual(problem, off, random_moments):
    weighted, shares, tau = random_moments(*problem, off)
    found = feasible_lambda(weighted, shares, tau)
    w = cp.Variable(tau.shape, bounds=[-1.0, 1.0])
    worst = cp.sum(cp.multiply(cp.max(weighted @ w.T, axis=1), shares))
    gain = cp.sum(cp.multiply(tau, w)) - worst
    program = cp.Problem(cp.Maximize(gain))
    program.solve(solver="SCIPY", scipy_options={"method": "highs-ds"})
    assert dual_value(w.value, weighted, shares, tau) == pytest.approx(
        found.total, abs=1e-8 * max(1.0, found.total)
    )
    assert found.converged
    assert 0.0 <= found.gap < 1e-8


@pytest.mark.parametrize("problem", PROBLEMS)
def test_probabilities_need_no_more(problem, random_moments):
    weighted, shares, tau = random_moments(*problem)
    found = feasible_lambda(weighted, shares, tau)
    q = found.probabilities
    assert q.min() >= 0.0
    np.testing.assert_allclose(q.sum(axis=1), 1.0, rtol=0, atol=1e-14)
    distance = np.abs(moments(q, weighted, shares) - tau)
    assert distance.sum() == pytest.approx(found.total, rel=1e-12)
    margin = 1e-6 * (shares @ np.abs(weighted))
    np.testing.assert_allclose(found.lam, distance + margin, rtol=0, atol=1e-14)


def test_moments_that_labels_have_leave_only_the_margin(random_moments):
    weighted, shares, tau = random_moments(5, 3, 80, 3, off=0.0)
    found = feasible_lambda(weighted, shares, tau, margin=1e-4)
    assert found.total < 1e-9
    expected = np.tile(1e-4 * (shares @ np.abs(weighted)), (3, 1))
    np.testing.assert_allclose(found.lam, expected, rtol=1e-4)


def test_moments_of_certain_labels(random_moments):
    """The set is a point or nearly: the moments determine the labels."""
    weighted, shares, _ = random_moments(6, 3, 12, 6)
    labels = np.eye(3)[np.random.default_rng(6).integers(0, 3, 12)]
    found = feasible_lambda(weighted, shares, moments(labels, weighted, shares))
    assert found.converged
    assert found.total < 1e-8


def test_no_feature_with_weight():
    tau = np.array([[0.3], [-0.2]])
    found = feasible_lambda(np.zeros((4, 1)), np.full(4, 0.25), tau)
    np.testing.assert_allclose(found.lam, np.abs(tau) + 1e-6, rtol=0, atol=1e-12)


def test_order_of_rows_and_classes_does_not_matter(minimax_arrays):
    """Unlike a vertex of the linear program, which tolerances does not depend on it."""
    (weighted, shares, tau), (robust, _, moved) = minimax_arrays(150, [1.0, 4.0])
    rows = np.random.default_rng(0).permutation(150)
    for w, moment in ((weighted, tau), (robust, moved)):
        found = feasible_lambda(w, shares, moment)
        other = feasible_lambda(w[rows], shares, moment[::-1])
        size = found.lam.max()
        np.testing.assert_allclose(other.lam[::-1], found.lam, rtol=0, atol=1e-6 * size)


def test_rows_split_in_two_change_nothing(minimax_arrays):
    ((weighted, shares, tau),) = minimax_arrays(100, [2.0])
    found = feasible_lambda(weighted, shares, tau)
    split = np.concatenate([0.3 * shares, 0.7 * shares])
    twice = feasible_lambda(np.vstack([weighted, weighted]), split, tau)
    np.testing.assert_allclose(twice.lam, found.lam, rtol=0, atol=1e-6 * tau.max())


def test_scales_of_weights_and_features(minimax_arrays):
    ((weighted, shares, tau),) = minimax_arrays(100, [2.0])
    found = feasible_lambda(weighted, shares, tau)
    weights = feasible_lambda(0.01 * weighted, shares, 0.01 * tau)
    np.testing.assert_allclose(weights.lam, 0.01 * found.lam, rtol=1e-6)
    # The same total in other units: only where the sum prices features alike.
    unit = np.array([1.0, 1.0, 1000.0])
    coarse = feasible_lambda(weighted * unit, shares, tau * unit)
    gaps = np.abs(tau.sum(axis=0) - shares @ weighted)
    assert coarse.total == pytest.approx(gaps @ unit, rel=1e-9)
    assert found.total == pytest.approx(gaps.sum(), rel=1e-9)


def test_the_split_is_central(minimax_arrays):
    """Of all probabilities with the smallest sum, those at the analytic center.

    Where the classes' moments do not add up to the target's, the sum leaves the split
    free, and the center maximises the mean of log p + log(1 - p) and a hundredth of the
    summed log distances: its gradient is zero.
    """
    ((weighted, shares, tau),) = minimax_arrays(60, [1.0])
    found = feasible_lambda(weighted, shares, tau)
    gaps = tau.sum(axis=0) - shares @ weighted
    assert found.total == pytest.approx(np.abs(gaps).sum(), rel=1e-9)
    p = found.probabilities[:, 0]
    distance = np.abs(moments(found.probabilities, weighted, shares) - tau)
    pull = 0.01 * weighted @ (np.sign(gaps) * (1 / distance[0] - 1 / distance[1]))
    np.testing.assert_allclose(1 / p - 1 / (1 - p), pull, rtol=1e-3, atol=5e-3)
