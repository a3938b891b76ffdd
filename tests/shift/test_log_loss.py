"""The minimax rule of the log loss."""

import cvxpy as cp
import numpy as np
import pytest
from scipy.special import entr, logsumexp
from sklearn.linear_model import LogisticRegression

from causalweights.shift._feasible import feasible_lambda
from causalweights.shift._log_loss import log_rule
from causalweights.shift._probabilities import softmax
from causalweights.shift._risk_bounds import randomized_risk_bounds

PROBLEMS = [(0, 2, 60, 3), (1, 3, 40, 2), (2, 4, 100, 4), (3, 2, 8, 6), (4, 3, 30, 5)]
# As in test_zero_one.py, with the risks of the log loss.
REFERENCE = [
    (200, 1.0, (1, 1, 0), 0.41920),
    (200, 1.5625, (1, 1, 0), 0.40352),
    (200, 2.7778, (0, 1, 1), 0.42634),
    (200, 4.0, (0, 1, 0), 0.43103),
    (200, 25.0, (0, 1, 0), 0.43204),
    (500, 1.0, (1, 1, 1), 0.53439),
    (500, 4.0, (0, 1, 0), 0.49173),
    (500, 25.0, (1, 0.77, 0), 0.48290),
]


def tolerances(weighted, shares, tau, width):
    return feasible_lambda(weighted, shares, tau).lam + width * np.abs(tau)


def smooth_part(mu, weighted, shares, tau):
    """Objective without the penalty, and its gradient: moments of the rule less tau."""
    s = weighted @ mu.T
    value = shares @ logsumexp(s, axis=1) - (tau * mu).sum()
    return value, (softmax(s) * shares[:, None]).T @ weighted - tau


def entropy(h, shares):
    return shares @ entr(h).sum(axis=1)


@pytest.mark.parametrize("width", [0.0, 0.1])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_optimality_conditions(problem, width, random_moments):
    """Moments within lam of tau, and at the bound where a coefficient is not zero."""
    arrays = random_moments(*problem)
    lam = tolerances(*arrays, width)
    rule = log_rule(*arrays, lam, tol=1e-10)
    assert rule.converged
    assert -1e-12 < rule.gap < 1e-10
    value, gradient = smooth_part(rule.mu, *arrays)
    assert rule.risk == pytest.approx(value + (lam * np.abs(rule.mu)).sum(), abs=1e-11)
    unit = arrays[1] @ np.abs(arrays[0])
    assert np.max((np.abs(gradient) - lam) / unit) < 1e-6
    slack = (gradient + lam * np.sign(rule.mu)) / unit
    moved = np.abs(rule.mu * unit) > 1e-3
    assert moved.any()
    np.testing.assert_allclose(slack[moved], 0.0, atol=1e-6)


@pytest.mark.parametrize("width", [0.0, 0.1])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_risk_is_the_rules_entropy_and_the_largest_of_the_set(
    problem, width, random_moments, label_set
):
    arrays = random_moments(*problem)
    lam = tolerances(*arrays, width)
    rule = log_rule(*arrays, lam)
    h = softmax(arrays[0] @ rule.mu.T)
    assert entropy(h, arrays[1]) == pytest.approx(rule.risk, abs=1e-6)
    p, constraints = label_set(*arrays, lam)
    value = cp.sum(cp.entr(p)) - entr(arrays[1]).sum()
    largest = cp.Problem(cp.Maximize(value), constraints).solve(solver="CLARABEL")
    assert rule.risk == pytest.approx(largest, abs=1e-6)
    assert rule.lower <= rule.risk


def test_gradient(random_moments):
    arrays = random_moments(2, 4, 100, 4)
    mu = np.random.default_rng(0).normal(size=(4, 4))
    _, gradient = smooth_part(mu, *arrays)
    step = 1e-6
    for index in np.ndindex(4, 4):
        move = np.zeros((4, 4))
        move[index] = step
        rise = smooth_part(mu + move, *arrays)[0] - smooth_part(mu - move, *arrays)[0]
        assert rise / (2 * step) == pytest.approx(gradient[index], abs=1e-8)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_saddle_point(problem, random_moments):
    arrays = random_moments(*problem)
    lam = tolerances(*arrays, 0.1)
    rule = log_rule(*arrays, lam, tol=1e-10)
    h = softmax(arrays[0] @ rule.mu.T)
    lower, worst = randomized_risk_bounds(*arrays, lam, h, "log")
    assert worst == pytest.approx(rule.risk, abs=1e-8)
    assert lower <= rule.risk


def test_unweighted_moments_of_the_same_rows_give_logistic_regression():
    """Moments of the rows' own labels, hardly any tolerance, alpha = beta = 1."""
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(300), rng.normal(size=(300, 2))])
    labels = (rng.random(300) < 1 / (1 + np.exp(-x @ [0.3, 1.0, -0.5]))).astype(int)
    tau = np.eye(2)[labels].T @ x / 300
    rule = log_rule(x, np.full(300, 1 / 300), tau, np.full((2, 3), 1e-7))
    model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10)
    slopes = model.fit(x, labels).coef_[0]
    np.testing.assert_allclose(rule.mu[1] - rule.mu[0], slopes, rtol=1e-5)


@pytest.mark.parametrize(("n", "D", "part", "risk"), REFERENCE)
def test_reference_risks(n, D, part, risk, minimax_arrays):
    ((weighted, shares, tau),) = minimax_arrays(n, [D])
    mismatch = np.abs(tau.sum(axis=0) - shares @ weighted)
    lam = 1e-6 + mismatch * np.array([part, 1 - np.array(part)])
    rule = log_rule(weighted, shares, tau, lam)
    assert rule.risk == pytest.approx(risk, abs=2e-5 if D < 25 else 1e-3)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_risk_is_at_most_that_of_guessing(problem, random_moments):
    weighted, shares, tau = random_moments(*problem)
    bound = np.log(len(tau))
    risks = []
    for scale in (1.0, 1e-2, 1e-4, 0.0):
        lam = tolerances(weighted, shares, tau, 0.1) * max(scale, 1e-3)
        risks.append(log_rule(scale * weighted, shares, scale * tau, lam).risk)
    assert max(risks) <= bound + 1e-9
    assert risks[0] < bound - 1e-3
    assert risks[-1] == pytest.approx(bound, abs=1e-9)


def test_scaling_both_weights_changes_the_coefficients_only(minimax_arrays):
    ((weighted, shares, tau),) = minimax_arrays(150, [2.0])
    lam = feasible_lambda(weighted, shares, tau).lam
    rule = log_rule(weighted, shares, tau, lam)
    small = log_rule(0.1 * weighted, shares, 0.1 * tau, 0.1 * lam)
    assert small.risk == pytest.approx(rule.risk, abs=1e-8)
    np.testing.assert_allclose(0.1 * small.mu, rule.mu, rtol=0, atol=1e-5)


def test_order_of_rows_and_names_of_classes(random_moments):
    weighted, shares, tau = random_moments(7, 4, 60, 3)
    lam = feasible_lambda(weighted, shares, tau).lam
    rule = log_rule(weighted, shares, tau, lam)
    rng = np.random.default_rng(0)
    rows, names = rng.permutation(60), rng.permutation(4)
    arrays = (weighted[rows], shares[rows], tau[names])
    other = log_rule(*arrays, feasible_lambda(*arrays).lam)
    assert other.risk == pytest.approx(rule.risk, abs=1e-6)
    same = log_rule(*arrays, lam[names])
    assert same.risk == pytest.approx(rule.risk, abs=1e-8)
    np.testing.assert_allclose(same.mu, rule.mu[names], rtol=1e-4, atol=1e-4)


def test_neighbouring_start_saves_steps_and_changes_nothing(minimax_arrays):
    first, second = minimax_arrays(200, [2.0, 2.2])
    start = log_rule(*first, feasible_lambda(*first).lam).mu
    lam = feasible_lambda(*second).lam
    cold = log_rule(*second, lam)
    warm = log_rule(*second, lam, start=start)
    assert warm.n_iter < cold.n_iter
    assert warm.risk == pytest.approx(cold.risk, abs=2e-8)


@pytest.mark.parametrize(
    ("problem", "size"), [((6, 2, 300, 3), 1e4), ((8, 2, 300, 3), 1e2)]
)
def test_useless_start_does_no_harm(problem, size, random_moments):
    """From here the search alone would not converge."""
    arrays = random_moments(*problem, off=2.0)
    lam = feasible_lambda(*arrays).lam
    start = size * np.random.default_rng(problem[0]).normal(size=(2, 3))
    rule = log_rule(*arrays, lam, start=start)
    assert rule.converged
    assert rule.risk == pytest.approx(log_rule(*arrays, lam).risk, abs=2e-8)


def test_empty_set_is_refused(minimax_arrays):
    ((weighted, shares, tau),) = minimax_arrays(100, [2.0])
    lam = 0.9 * feasible_lambda(weighted, shares, tau).lam
    with pytest.raises(ValueError, match="enlarge lam"):
        log_rule(weighted, shares, tau, lam)


def test_set_with_hardly_an_inside(random_moments):
    """Moments of certain labels: probabilities of 1e-6, and coefficients to match."""
    weighted, shares, _ = random_moments(6, 3, 12, 6)
    labels = np.eye(3)[np.random.default_rng(6).integers(0, 3, 12)]
    tau = (labels * shares[:, None]).T @ weighted
    rule = log_rule(weighted, shares, tau, feasible_lambda(weighted, shares, tau).lam)
    assert rule.converged
    assert 0.0 < rule.risk < 0.5


def test_step_limit_is_reported(minimax_arrays):
    ((weighted, shares, tau),) = minimax_arrays(100, [2.0])
    lam = feasible_lambda(weighted, shares, tau).lam
    exact = log_rule(weighted, shares, tau, lam)
    rule = log_rule(weighted, shares, tau, lam, max_iter=4)
    first = log_rule(weighted, shares, tau, lam, max_iter=1)
    assert first.lower == 0.0
    assert not rule.converged
    assert rule.lower <= exact.risk <= rule.risk
    assert rule.gap == rule.risk - rule.lower > 1e-8


def test_many_features(random_moments):
    arrays = random_moments(8, 2, 60, 80)
    rule = log_rule(*arrays, tolerances(*arrays, 0.05))
    assert rule.converged
