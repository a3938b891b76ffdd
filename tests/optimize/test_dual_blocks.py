"""Low-rank programs over blocks: exact solvers, any cut into blocks, hard bounds."""

import numpy as np
import pytest

from causalweights.optimize import simplex_qp
from causalweights.optimize._dual_blocks import (
    DualBlock,
    block_weights,
    solve_dual_blocks,
)

# Weights of two exact methods, whose mean is 1 / n; the active set's own gap is 1e-13.
SAME = 1e-8


def make_problem(n, r, ridge, n_groups=1, seed=0):
    """Return features, diagonal, groups and a center of shifted rows."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    waves = X @ rng.normal(size=(3, r)) + rng.uniform(0, 2 * np.pi, size=r)
    phi = np.sqrt(2 / r) * np.cos(waves)
    groups = rng.integers(0, n_groups, size=n)
    groups[:n_groups] = np.arange(n_groups)
    diagonal = ridge * rng.uniform(0.5, 1.5, size=n)
    return phi, diagonal, groups, phi[X[:, 0] > 0.5].mean(axis=0)


def solve(phi, diagonal, groups, center, root=None, lower=0.0, upper=np.inf, cuts=()):
    """Return the weights and the dual solution from blocks cut at `cuts`."""
    n, n_groups = len(phi), groups.max() + 1
    lower, upper = np.broadcast_to(lower, n), np.broadcast_to(upper, n)
    rows, blocks = [], []
    for part in np.split(np.arange(n), cuts):
        order = part[np.argsort(groups[part], kind="stable")]
        starts = np.searchsorted(groups[order], np.arange(n_groups + 1))
        rows.append(order)
        blocks.append(
            DualBlock(phi[order], diagonal[order], lower[order], upper[order], starts)
        )

    def total(function, *small):
        items = [function(block, *small) for block in blocks]
        return tuple(sum(parts[1:], parts[0]) for parts in zip(*items))

    dual = solve_dual_blocks(total, center, np.ones(n_groups), root)
    w = np.empty(n)
    for order, block in zip(rows, blocks):
        w[order] = block_weights(block, dual.slopes, dual.levels)
    return w, dual


def coupled(n_groups):
    """Return C = (G + 1) I - 11' and its symmetric root."""
    C = (n_groups + 1) * np.eye(n_groups) - 1.0
    values, vectors = np.linalg.eigh(C)
    return C, (vectors * np.sqrt(values)) @ vectors.T


@pytest.mark.parametrize("ridge", [1.0, 1e-2, 1e-4])
def test_one_group_is_the_exact_solution(ridge, clarabel):
    phi, d, groups, c = make_problem(200, 30, ridge)
    w, dual = solve(phi, d, groups, c)
    exact = simplex_qp(phi @ phi.T, phi @ c, d)
    assert dual.finished and dual.n_iter <= 20
    np.testing.assert_allclose(w, exact.weights, atol=SAME)
    other, _ = clarabel(phi @ phi.T, phi @ c, d)
    np.testing.assert_allclose(w, other, atol=1e-5)


@pytest.mark.parametrize("n_groups", [2, 3])
@pytest.mark.parametrize("bounds", [(0.0, None), (2e-4, 0.02)])
def test_coupled_groups_are_the_exact_solution(n_groups, bounds):
    phi, d, groups, c = make_problem(300, 25, 1e-2, n_groups)
    C, root = coupled(n_groups)
    lower, upper = bounds
    top = np.inf if upper is None else upper
    w, dual = solve(phi, d, groups, c, root, lower, top, cuts=[100, 230])
    # The root leaves 1 as it is, so that q is the same in every group.
    K = C[groups][:, groups] * (phi @ phi.T)
    exact = simplex_qp(K, phi @ c, d, groups=groups, lower=lower, upper=upper)
    assert dual.finished
    np.testing.assert_allclose(w, exact.weights, atol=SAME)
    np.testing.assert_allclose(np.bincount(groups, weights=w), 1.0, atol=1e-12)


def test_groups_without_a_root_share_one_matrix():
    phi, d, groups, c = make_problem(120, 10, 1e-1, 2)
    w, _ = solve(phi, d, groups, c)
    exact = simplex_qp(phi @ phi.T, phi @ c, d, groups=groups)
    np.testing.assert_allclose(w, exact.weights, atol=SAME)


@pytest.mark.parametrize("cuts", [[1], [0, 50, 50, 299], list(range(10, 300, 10))])
def test_any_cut_into_blocks_gives_the_same(cuts):
    phi, d, groups, c = make_problem(300, 25, 1e-3, 2)
    root = coupled(2)[1]
    whole, _ = solve(phi, d, groups, c, root)
    parts, _ = solve(phi, d, groups, c, root, cuts=cuts)
    np.testing.assert_allclose(parts, whole, atol=1e-11)


def test_hard_bounds_are_reached_along_the_path():
    # A tiny diagonal and tight bounds: damped steps from afar do not end.
    phi, d, groups, c = make_problem(600, 40, 1e-4, 2)
    C, root = coupled(2)
    lower, upper = 0.1 / 600, 6.0 / 600
    w, dual = solve(phi, d, groups, c, root, lower, upper)
    K = C[groups][:, groups] * (phi @ phi.T)
    exact = simplex_qp(K, phi @ c, d, groups=groups, lower=lower, upper=upper)
    assert dual.finished and dual.n_iter > 40
    np.testing.assert_allclose(w, exact.weights, atol=SAME)


def test_slopes_are_the_features_of_the_weighted_rows_less_the_center():
    phi, d, groups, c = make_problem(150, 20, 1e-2)
    w, dual = solve(phi, d, groups, c)
    np.testing.assert_allclose(dual.slopes[:, 0], phi.T @ w - c, atol=1e-13)
    free = w > 0
    slack = dual.levels[0] - phi @ dual.slopes[:, 0]
    np.testing.assert_allclose(slack[free], (d * w)[free], atol=1e-14)
    assert np.all(slack[~free] <= 0)


def test_a_group_of_one_row_takes_its_mass():
    phi, d, groups, c = make_problem(40, 5, 1e-2)
    groups[0] = 1
    w, dual = solve(phi, d, groups, c, coupled(2)[1])
    assert dual.finished and w[0] == pytest.approx(1.0, abs=1e-12)


def test_a_limit_on_the_steps_is_told():
    phi, d, _, c = make_problem(200, 30, 1e-4)
    ones = np.ones(200)
    block = DualBlock(phi, d, 0 * ones, np.inf * ones, np.array([0, 200]))
    dual = solve_dual_blocks(lambda f, *s: f(block, *s), c, [1.0], max_iter=2)
    assert not dual.finished and dual.n_iter == 2
