"""The Frank-Wolfe gap against a general linear program and by hand."""

import numpy as np
import pytest
from scipy.optimize import linprog

from causalweights.optimize import frank_wolfe_gap
from causalweights.optimize._certificate import relative_gap


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
