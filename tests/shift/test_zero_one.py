"""The minimax rule of the 0-1 loss."""

from itertools import combinations

import cvxpy as cp
import numpy as np
import pytest

from causalweights.shift._feasible import feasible_lambda
from causalweights.shift._probabilities import sparsemax, top_k_potential
from causalweights.shift._risk_bounds import randomized_risk_bounds
from causalweights.shift._zero_one import zero_one_rule

PROBLEMS = [(0, 2, 60, 3), (1, 3, 40, 2), (2, 4, 100, 4), (3, 2, 8, 6), (4, 3, 30, 5)]
EXACT = {
    "solver": "SCIPY",
    "scipy_options": {
        "method": "highs-ds",
        "primal_feasibility_tolerance": 1e-10,
        "dual_feasibility_tolerance": 1e-10,
    },
}
# Table of the reference runs: n, D, which part of each feature's mismatch the first
# class bears at the vertex that was used, and the risk. Any split is as small.
REFERENCE = [
    (200, 1.0, (1, 1, 0), 0.23947),
    (200, 1.5625, (1, 1, 0), 0.22171),
    (200, 2.7778, (0, 1, 1), 0.23207),
    (200, 4.0, (0, 1, 0), 0.23738),
    (200, 25.0, (0, 1, 0), 0.23819),
    (500, 1.0, (1, 1, 1), 0.31171),
    (500, 4.0, (0, 1, 0), 0.26585),
    (500, 25.0, (1, 0.77, 0), 0.26175),
]


def tolerances(weighted, shares, tau, width):
    return feasible_lambda(weighted, shares, tau).lam + width * np.abs(tau)


def objective(mu, weighted, shares, tau, lam):
    potential = top_k_potential(weighted @ mu.T)[0]
    return shares @ potential - (tau * mu).sum() + (lam * np.abs(mu)).sum()


def subset_program(weighted, shares, tau, lam):
    """The paper's program, with one constraint for each set of classes and row."""
    C, mu = len(tau), cp.Variable(tau.shape)
    scores = [weighted @ mu[y] for y in range(C)]
    sets = [S for k in range(1, C + 1) for S in combinations(range(C), k)]
    bounds = [(sum(scores[y] for y in S) - 1) / len(S) for S in sets]
    nu = cp.Variable(len(shares))
    value = 1 + shares @ nu - cp.sum(cp.multiply(tau, mu))
    value += cp.sum(cp.multiply(lam, cp.abs(mu)))
    return cp.Problem(cp.Minimize(value), [nu >= b for b in bounds]).solve(**EXACT)


def entropy_program(arrays, lam, label_set):
    """The largest 1 - sum_j max_y p_jy of the set."""
    p, constraints = label_set(*arrays, lam)
    value = 1 - cp.sum(cp.max(p, axis=1))
    return cp.Problem(cp.Maximize(value), constraints).solve(**EXACT)


@pytest.mark.parametrize("width", [0.0, 0.1])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_three_programs_and_the_objective_agree(
    problem, width, random_moments, label_set
):
    arrays = random_moments(*problem)
    lam = tolerances(*arrays, width)
    rule = zero_one_rule(*arrays, lam)
    assert rule.converged
    assert -1e-12 < rule.gap < 1e-8
    assert rule.risk == pytest.approx(objective(rule.mu, *arrays, lam), abs=1e-11)
    assert rule.risk == pytest.approx(subset_program(*arrays, lam), abs=1e-8)
    assert rule.risk == pytest.approx(entropy_program(arrays, lam, label_set), abs=1e-8)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_saddle_point(problem, random_moments, label_set):
    """The rule's worst expected error over the set is the minimax risk."""
    arrays = random_moments(*problem)
    lam = tolerances(*arrays, 0.1)
    rule = zero_one_rule(*arrays, lam, tol=1e-9)
    h = sparsemax(arrays[0] @ rule.mu.T)
    p, constraints = label_set(*arrays, lam)
    loss = cp.sum(cp.multiply(p, 1 - h))
    worst = cp.Problem(cp.Maximize(loss), constraints).solve(**EXACT)
    least = cp.Problem(cp.Minimize(loss), constraints).solve(**EXACT)
    assert worst == pytest.approx(rule.risk, abs=1e-9)
    lower, upper = randomized_risk_bounds(*arrays, lam, h, "0-1")
    assert upper == pytest.approx(worst, abs=1e-9)
    assert lower == pytest.approx(least, abs=1e-9)


@pytest.mark.parametrize(("n", "D", "part", "risk"), REFERENCE)
def test_reference_risks(n, D, part, risk, minimax_arrays):
    ((weighted, shares, tau),) = minimax_arrays(n, [D])
    mismatch = np.abs(tau.sum(axis=0) - shares @ weighted)
    lam = 1e-6 + mismatch * np.array([part, 1 - np.array(part)])
    smallest = feasible_lambda(weighted, shares, tau).total
    assert mismatch.sum() == pytest.approx(smallest, abs=1e-9)
    rule = zero_one_rule(weighted, shares, tau, lam)
    assert rule.risk == pytest.approx(risk, abs=2e-5 if D < 25 else 1e-3)


def test_design_of_n_1000_has_a_certificate(minimax_arrays):
    for arrays in minimax_arrays(1000, [1.0, 4.0]):
        rule = zero_one_rule(*arrays, feasible_lambda(*arrays).lam)
        assert rule.gap < 1e-8
        assert rule.n_iter < 40


@pytest.mark.parametrize("problem", PROBLEMS)
def test_risk_is_at_most_that_of_guessing(problem, random_moments):
    weighted, shares, tau = random_moments(*problem)
    bound = 1 - 1 / len(tau)
    risks = []
    for scale in (1.0, 1e-2, 1e-4, 0.0):
        lam = tolerances(weighted, shares, tau, 0.1) * max(scale, 1e-3)
        arrays = (scale * weighted, shares, scale * tau)
        risks.append(zero_one_rule(*arrays, lam).risk)
    assert max(risks) <= bound + 1e-9
    assert risks[0] < bound - 1e-3
    assert risks[-1] == pytest.approx(bound, abs=1e-9)


def test_scaling_both_weights_changes_the_coefficients_only(minimax_arrays):
    ((weighted, shares, tau),) = minimax_arrays(150, [2.0])
    lam = feasible_lambda(weighted, shares, tau).lam
    rule = zero_one_rule(weighted, shares, tau, lam)
    small = zero_one_rule(0.1 * weighted, shares, 0.1 * tau, 0.1 * lam)
    assert small.risk == pytest.approx(rule.risk, abs=1e-8)
    np.testing.assert_allclose(0.1 * small.mu, rule.mu, rtol=0, atol=1e-5)
    again = feasible_lambda(0.1 * weighted, shares, 0.1 * tau).lam
    np.testing.assert_allclose(again, 0.1 * lam, rtol=1e-6)


def test_order_of_rows_and_names_of_classes(random_moments):
    weighted, shares, tau = random_moments(7, 4, 60, 3)
    rule = zero_one_rule(
        weighted, shares, tau, feasible_lambda(weighted, shares, tau).lam
    )
    rng = np.random.default_rng(0)
    rows, names = rng.permutation(60), rng.permutation(4)
    arrays = (weighted[rows], shares[rows], tau[names])
    other = zero_one_rule(*arrays, feasible_lambda(*arrays).lam)
    assert other.risk == pytest.approx(rule.risk, abs=1e-6)
    same = zero_one_rule(*arrays, feasible_lambda(weighted, shares, tau).lam[names])
    assert same.risk == pytest.approx(rule.risk, abs=1e-8)
    np.testing.assert_allclose(same.mu, rule.mu[names], rtol=1e-4, atol=1e-4)


def test_empty_set_is_refused(minimax_arrays):
    ((weighted, shares, tau),) = minimax_arrays(100, [2.0])
    lam = 0.9 * feasible_lambda(weighted, shares, tau).lam
    with pytest.raises(ValueError, match="enlarge lam"):
        zero_one_rule(weighted, shares, tau, lam)


def test_moments_without_tolerance(random_moments):
    """Equations: the least width replaces a tolerance of zero."""
    weighted, shares, tau = random_moments(5, 3, 80, 3, off=0.0)
    rule = zero_one_rule(weighted, shares, tau, np.zeros_like(tau))
    wider = zero_one_rule(weighted, shares, tau, np.full_like(tau, 1e-7))
    assert rule.converged
    assert 0.0 <= wider.risk - rule.risk < 1e-4


def test_set_with_hardly_an_inside(random_moments):
    """Moments of certain labels: the risk is next to nothing, and still certified."""
    weighted, shares, _ = random_moments(6, 3, 12, 6)
    labels = np.eye(3)[np.random.default_rng(6).integers(0, 3, 12)]
    tau = (labels * shares[:, None]).T @ weighted
    rule = zero_one_rule(
        weighted, shares, tau, feasible_lambda(weighted, shares, tau).lam
    )
    assert rule.converged
    assert rule.risk < 0.2


@pytest.mark.parametrize("problem", [(17, 2, 300, 5), (16, 4, 60, 6), (24, 4, 60, 6)])
def test_moments_far_out_of_reach(problem, random_moments):
    """Rounding puts the labels outside a set this thin, unless aimed inside it."""
    arrays = random_moments(*problem, off=2.0)
    rule = zero_one_rule(*arrays, feasible_lambda(*arrays).lam)
    assert rule.converged
    assert rule.gap < 1e-8


def test_step_limit_is_reported(minimax_arrays):
    ((weighted, shares, tau),) = minimax_arrays(100, [2.0])
    lam = feasible_lambda(weighted, shares, tau).lam
    exact = zero_one_rule(weighted, shares, tau, lam)
    rule = zero_one_rule(weighted, shares, tau, lam, max_iter=6)
    assert not rule.converged
    assert rule.n_iter == 6
    assert rule.lower <= exact.risk <= rule.risk
    assert rule.gap == rule.risk - rule.lower > 1e-8
