"""The Frank-Wolfe gap against a general linear program and by hand."""

import numpy as np
import pytest
from scipy.optimize import linprog

from causalweights.optimize import frank_wolfe_gap
from causalweights.optimize._certificate import relative_gap
from causalweights.optimize._checks import check_problem
from causalweights.optimize._moments_certificate import price_moments
from causalweights.optimize._problem import DenseQP, duality_gap
from causalweights.optimize._reduction import reduce_problem


def test_by_hand():
    gradient, weights = np.array([1.0, 2.0, 5.0]), np.array([0.0, 0.5, 0.5])
    assert frank_wolfe_gap(gradient, weights) == pytest.approx(2.5)
    # Bounds 0.6: fill the first row to 0.6, then 0.4 of the second: value 1.4.
    assert frank_wolfe_gap(gradient, weights, upper=0.6) == pytest.approx(2.1)
    assert frank_wolfe_gap(gradient, weights, lower=[0, 0, 0.5]) == pytest.approx(0.5)


def test_vanishes_at_the_minimizing_vertex():
    assert frank_wolfe_gap([3.0, -1.0, 2.0], [0.0, 1.0, 0.0]) == 0.0


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("bounded", [False, True])
def test_agrees_with_linear_programming(seed, bounded):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 40))
    groups = np.concatenate([np.arange(3), rng.integers(0, 3, n)])[:n]
    gradient = rng.normal(size=n).round(seed % 3)
    sizes = np.bincount(groups)[groups]
    lower, upper = 0.2 / sizes, (1.5 / sizes if bounded else np.full(n, 2.0))
    share = rng.random(n)
    totals = np.bincount(groups, share * (1.0 / sizes - lower))
    # A feasible point: halfway between uniform and a random allocation of the mass.
    weights = lower + 0.8 * share * (1.0 / sizes - lower) / totals[groups]
    weights = np.minimum(0.5 * weights + 0.5 / sizes, upper)
    weights += ((1.0 - np.bincount(groups, weights)) / np.bincount(groups))[groups]
    A = (groups == np.arange(3)[:, None]).astype(float)
    bounds = np.column_stack([lower, upper])
    best = linprog(gradient, A_eq=A, b_eq=np.ones(3), bounds=bounds).fun
    gap = frank_wolfe_gap(gradient, weights, groups, lower, upper if bounded else None)
    np.testing.assert_allclose(gap, gradient @ weights - best, atol=1e-12)


def test_small_gaps_survive_a_large_common_gradient():
    gradient = 1e6 + np.array([0.0, 2.0**-20])
    assert frank_wolfe_gap(gradient, [0.5, 0.5]) == 2.0**-21


@pytest.mark.parametrize(
    "gap, improvement, expected",
    [
        (1e-6, 1e-1, 1e-5),
        (1e-17, 1e-17, 0.0),
        (1e-3, 0.0, np.inf),
        (1e-3, -1e-3, np.inf),
    ],
)
def test_relative_gap(gap, improvement, expected):
    assert relative_gap(gap, improvement, 1e-15) == pytest.approx(expected)


@pytest.fixture
def moment_program():
    """Return a checked problem, a feasible point, a gradient and its linear program."""

    def build(width, seed=0):
        rng = np.random.default_rng(seed)
        n, groups = 40, np.arange(40) % 2
        A = rng.normal(size=(n, 3)) * [1.0, 10.0, 0.1] + [0.0, 100.0, 1.0]
        weights = rng.random(n) / 20.0
        weights /= np.bincount(groups, weights)[groups]
        masks = (groups == np.arange(2)[:, None]).astype(float)
        tol = width * A.std(axis=0)
        targets = (masks * weights) @ A + 0.5 * tol
        options = (groups, 0.0, None, "auto", 1e-6, 100, None, None, None)
        moments = (A, targets, tol)
        checked = check_problem(np.eye(n), np.ones(n), 0.0, *options, *moments)
        gradient = rng.normal(size=n)
        rows = np.vstack([(mask[:, None] * A).T for mask in masks])
        low, high = (targets - tol).ravel(), (targets + tol).ravel()
        if width == 0.0:
            program = linprog(
                gradient,
                A_eq=np.vstack([masks, rows]),
                b_eq=np.append(np.ones(2), low),
            )
            marginals = program.eqlin.marginals[2:]
        else:
            program = linprog(
                gradient,
                A_ub=np.vstack([rows, -rows]),
                b_ub=np.append(high, -low),
                A_eq=masks,
                b_eq=np.ones(2),
            )
            upper, lower = np.split(program.ineqlin.marginals, 2)
            marginals = upper - lower
        return checked, weights, gradient, program.fun, marginals.reshape(2, 3)

    return build


def moment_gaps(checked, weights, gradient, multipliers):
    """Gaps of the caller's problem and of the canonical one."""
    priced = price_moments(checked, weights, multipliers)
    given = frank_wolfe_gap(gradient - priced.prices, weights, checked.labels)
    problem = reduce_problem(checked)
    canonical = DenseQP(
        np.eye(40), problem.ridge, problem.q, problem.simplices, problem.moments
    )
    names = problem.moments.group, problem.moments.index
    scaled = multipliers[names] * problem.moments.scale
    return given + priced.excess, duality_gap(canonical, gradient, weights, scaled)


@pytest.mark.parametrize("width", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(5))
def test_the_multipliers_of_the_linear_program_give_its_gap(
    width, seed, moment_program
):
    checked, weights, gradient, best, multipliers = moment_program(width, seed)
    for gap in moment_gaps(checked, weights, gradient, multipliers):
        np.testing.assert_allclose(gap, gradient @ weights - best, atol=1e-9)


@pytest.mark.parametrize("width", [0.0, 0.2])
def test_other_multipliers_give_a_larger_gap(width, moment_program):
    checked, weights, gradient, best, multipliers = moment_program(width)
    scale = checked.moments.A.std(axis=0)
    for other in np.random.default_rng(1).normal(size=(50, 2, 3)):
        changed = multipliers + 0.3 * other / scale
        for gap in moment_gaps(checked, weights, gradient, changed):
            assert gap >= gradient @ weights - best - 1e-9
