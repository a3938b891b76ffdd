"""Bounds of expected losses, standard errors of moments, confidence."""

import cvxpy as cp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm
from statsmodels.stats.weightstats import DescrStatsW

from causalweights.shift._feasible import feasible_lambda
from causalweights.shift._log_loss import log_rule
from causalweights.shift._probabilities import softmax, sparsemax
from causalweights.shift._risk_bounds import (
    confidence_bound,
    confidence_lambda,
    moment_deviations,
    randomized_risk_bounds,
)
from causalweights.shift._zero_one import zero_one_rule


@pytest.mark.parametrize("loss", ["0-1", "log"])
@pytest.mark.parametrize("problem", [(0, 2, 60, 3), (1, 3, 40, 2), (2, 4, 90, 4)])
def test_bounds_of_any_rule_are_those_of_the_linear_program(
    problem, loss, random_moments, label_set
):
    arrays = random_moments(*problem)
    lam = feasible_lambda(*arrays).lam * 1.2
    h = np.random.default_rng(0).dirichlet(np.ones(problem[1]), problem[2])
    h[0] = np.eye(problem[1])[0]
    cost = 1 - h if loss == "0-1" else -np.log(np.maximum(h, np.finfo(float).tiny))
    p, constraints = label_set(*arrays, lam)
    value = cp.sum(cp.multiply(p, cost))
    options = {"solver": "SCIPY", "scipy_options": {"method": "highs-ds"}}
    least = cp.Problem(cp.Minimize(value), constraints).solve(**options)
    most = cp.Problem(cp.Maximize(value), constraints).solve(**options)
    bounds = randomized_risk_bounds(*arrays, lam, h, loss)
    np.testing.assert_allclose(bounds, [least, most], rtol=1e-8, atol=1e-9)


def test_bounds_of_an_empty_set(random_moments):
    arrays = random_moments(0, 2, 60, 3)
    lam = 0.5 * feasible_lambda(*arrays).lam
    h = np.full((60, 2), 0.5)
    with pytest.raises(ValueError, match="enlarge lam"):
        randomized_risk_bounds(*arrays, lam, np.tile([0.3, 0.7], (60, 1)), "0-1")
    with pytest.raises(ValueError, match="enlarge lam"):
        randomized_risk_bounds(*arrays, lam, h, "log")


def test_labels_in_the_set_are_within_the_bounds(random_moments):
    """Weak duality: for label probabilities of the set itself, no repetition fails."""
    weighted, shares, tau = random_moments(3, 3, 50, 3, off=0.0)
    truth = np.random.default_rng(0).dirichlet(np.ones(3), 50)
    lam = np.abs((truth * shares[:, None]).T @ weighted - tau) + 0.01
    for loss, rule_of, of in (
        ("0-1", zero_one_rule, sparsemax),
        ("log", log_rule, softmax),
    ):
        rule = rule_of(weighted, shares, tau, lam)
        h = of(weighted @ rule.mu.T)
        cost = 1 - h if loss == "0-1" else -np.log(h)
        risk = shares @ (truth * cost).sum(axis=1)
        lower, worst = randomized_risk_bounds(weighted, shares, tau, lam, h, loss)
        assert lower - 1e-12 <= risk <= worst + 1e-12 <= rule.risk + 1e-8


def test_standard_errors_of_equal_shares():
    """sd / sqrt(n) of beta 1(y) x, as statsmodels has them."""
    rng = np.random.default_rng(0)
    x, beta, labels = rng.normal(size=(80, 2)), rng.random(80), rng.integers(0, 3, 80)
    tau, errors = moment_deviations(x, labels, 3, beta, np.full(80, 1 / 80))
    for y in range(3):
        z = (beta * (labels == y))[:, None] * x
        stats = DescrStatsW(z, ddof=0)
        np.testing.assert_allclose(tau[y], stats.mean, rtol=1e-12)
        np.testing.assert_allclose(errors[y], stats.std / np.sqrt(80), rtol=1e-12)


def test_standard_errors_of_unequal_shares():
    """Root of the summed squares of the influence values of a mean of fixed shares."""
    rng = np.random.default_rng(1)
    x, beta, labels = rng.normal(size=(50, 2)), rng.random(50), rng.integers(0, 2, 50)
    shares = rng.dirichlet(np.ones(50))
    tau, errors = moment_deviations(x, labels, 2, beta, shares)
    z = (beta[:, None] * np.eye(2)[labels])[:, :, None] * x[:, None, :]
    np.testing.assert_allclose(tau, np.tensordot(shares, z, 1), rtol=1e-12)
    influence = shares[:, None, None] * (z - tau)
    np.testing.assert_allclose(errors, np.sqrt((influence**2).sum(axis=0)), rtol=1e-12)


def test_confidence_covers_all_coordinates_at_once():
    """Normal moments: as often as asked, or a little more, by Bonferroni."""
    errors = np.array([[1.0, 2.0, 0.5], [0.1, 3.0, 1.0]])
    wide = confidence_lambda(np.zeros((2, 3)), errors, 0.9)
    np.testing.assert_allclose(wide, norm.ppf(1 - 0.1 / 12) * errors, rtol=1e-12)
    draws = np.random.default_rng(0).normal(size=(20_000, 2, 3)) * errors
    share = np.mean(np.all(np.abs(draws) <= wide, axis=(1, 2)))
    assert share == pytest.approx(0.9**1.0, abs=0.012)


def test_confidence_bound_is_above_the_wider_sets_worst_case(random_moments):
    weighted, shares, tau = random_moments(4, 3, 60, 3)
    lam = feasible_lambda(weighted, shares, tau).lam
    wide = confidence_lambda(lam, 0.05 * np.abs(tau), 0.9)
    rule = zero_one_rule(weighted, shares, tau, lam)
    h = sparsemax(weighted @ rule.mu.T)
    worst = randomized_risk_bounds(weighted, shares, tau, wide, h, "0-1")[1]
    bound = confidence_bound(rule, lam, wide)
    assert rule.risk < worst <= bound + 1e-9
    assert confidence_bound(rule, lam, lam) == rule.risk
    refitted = zero_one_rule(weighted, shares, tau, wide)
    assert refitted.risk <= bound + 1e-9


def probability(x):
    return 1 / (1 + np.exp(-3 * (x[:, 0] + 0.5 * x[:, 1] ** 2 - 0.7)))


def closed_form_weights(x, cap):
    """min(ratio, cap) and min(1, cap / ratio) of the known densities of design A."""
    shifted = multivariate_normal([1.0, 0.5], 0.64 * np.eye(2)).pdf(x)
    ratio = shifted / multivariate_normal([0.0, 0.0]).pdf(x)
    return np.minimum(ratio, cap), np.minimum(1.0, cap / ratio)


def with_constant(x):
    return np.column_stack([np.ones(len(x)), x])


def expected_losses(weighted, p, rule):
    """Expected loss of each target row, over its label and over the rule's draw."""
    scores = weighted @ rule.mu.T
    cost = 1 - sparsemax(scores) if rule.loss == "0-1" else -np.log(softmax(scores))
    return (1 - p) * cost[:, 0] + p * cost[:, 1]


def test_oracle_tolerances_cover():
    """lam = |tau - its expectation| bounds the risk in 95 of 100 repetitions at least.

    Weights of a known density ratio; the expectation from a million draws. The target
    is finite, so that lam is also what its own moments ask for. Those alone, the
    smallest feasible ones, cover in fewer: they are no confidence bound.
    """
    rng, cap, n, t = np.random.default_rng(0), 5.0, 200, 500
    source = rng.normal(size=(1_000_000, 2))
    beta, p = closed_form_weights(source, cap)[0], probability(source)
    x = with_constant(source)
    truth = np.stack([(beta * (1 - p)) @ x, (beta * p) @ x]) / len(x)
    covered = np.zeros(3, dtype=int)
    for _ in range(100):
        source = rng.normal(size=(n, 2))
        target = np.array([1.0, 0.5]) + 0.8 * rng.normal(size=(t, 2))
        labels = (rng.random(n) < probability(source)).astype(int)
        beta = closed_form_weights(source, cap)[0]
        alpha = closed_form_weights(target, cap)[1]
        equal, shares = np.full(n, 1 / n), np.full(t, 1 / t)
        tau, _ = moment_deviations(with_constant(source), labels, 2, beta, equal)
        weighted = alpha[:, None] * with_constant(target)
        feasible = feasible_lambda(weighted, shares, tau).lam
        lam = np.maximum(np.abs(tau - truth), feasible)
        rules = [
            zero_one_rule(weighted, shares, tau, lam, tol=1e-6),
            log_rule(weighted, shares, tau, lam, tol=1e-6),
            zero_one_rule(weighted, shares, tau, feasible, tol=1e-6),
        ]
        for k, rule in enumerate(rules):
            losses = expected_losses(weighted, probability(target), rule)
            room = 3 * losses.std() / np.sqrt(t)
            covered[k] += losses.mean() <= rule.risk + room
    assert covered[0] >= 95
    assert covered[1] >= 95
    assert covered[2] < 90
