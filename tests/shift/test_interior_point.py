"""The interior point method behind the minimax programs, and its parts."""

import numpy as np
import pytest

from causalweights.shift._interior_point import central_point, interior_point
from causalweights.shift._moment_bounds import Elastic, Within, step_length
from causalweights.shift._moment_program import MomentProgram
from causalweights.shift._moment_rows import EntropyRows, LinearRows, SpreadRows

KINDS = [LinearRows, EntropyRows, SpreadRows]


def rows_on_the_way(kind, n_classes, t=7, seed=0, spread=2.0):
    """Rows at a point in the middle of a search, small and large products mixed."""
    rng = np.random.default_rng(seed)
    rows = kind((n_classes, t))
    rows.x[0] = rng.dirichlet(np.full(n_classes, 0.5), t).T + 1e-9
    rows.x[0] /= rows.x[0].sum(axis=0)
    rows.z[0] = 10.0 ** rng.uniform(-spread, spread, (n_classes, t))
    if kind is SpreadRows:
        # u is the largest q and a bit, so that one gap is small.
        bit = 10.0 ** rng.uniform(-spread - 2, 0, t)
        rows.x[1] = rows.x[0].max(axis=0) + bit - rows.x[0]
        rows.z[1] = rng.dirichlet(np.ones(n_classes), t).T
    return rows, rng.normal(size=(n_classes, t))


def curvature_of_row(rows, j):
    """d q / d s of row j by solving the linearised conditions of the row directly."""
    q, z = rows.x[0][:, j], rows.z[0][:, j]
    C = len(q)
    G = np.diag(z / q + (1 / q if isinstance(rows, EntropyRows) else 0.0))
    if isinstance(rows, SpreadRows):
        i = rows.z[1][:, j] / rows.x[1][:, j]
        G += np.diag(i) - np.outer(i, i) / i.sum()
    system = np.block([[G, np.ones((C, 1))], [np.ones((1, C)), np.zeros((1, 1))]])
    right = np.vstack([np.eye(C), np.zeros((1, C))])
    return np.linalg.solve(system, right)[:C]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_classes", [2, 3, 6])
def test_rows_derivatives_solve_their_conditions(kind, n_classes):
    rows, s = rows_on_the_way(kind, n_classes)
    rows.prepare(s)
    for j in range(7):
        V = curvature_of_row(rows, j)
        found = np.zeros((n_classes, n_classes))
        for y in range(n_classes):
            for w in range(y):
                found[y, w] = found[w, y] = rows.pair(y, w)[j]
        found -= np.diag(found.sum(axis=1))
        np.testing.assert_allclose(found, V, rtol=1e-7, atol=1e-9 * np.abs(V).max())
    ds = np.random.default_rng(1).normal(size=(n_classes, 7))
    moved = rows.apply(ds)
    for j in range(7):
        expected = curvature_of_row(rows, j) @ ds[:, j]
        size = np.abs(expected).max()
        np.testing.assert_allclose(moved[:, j], expected, rtol=1e-6, atol=1e-8 * size)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_changes_of_probabilities_sum_to_zero(n_classes):
    """Also where products are down to rounding, and derivatives of any size."""
    rows, s = rows_on_the_way(SpreadRows, n_classes, t=200, spread=9.0)
    rows.prepare(s)
    rows.force([-x * z for x, z in zip(rows.x, rows.z)])
    rows.direction(np.random.default_rng(1).normal(size=(n_classes, 200)))
    total = np.abs(rows.dx[0].sum(axis=0))
    assert np.all(total <= 1e-14 * np.maximum(np.abs(rows.dx[0]).max(axis=0), 1.0))


@pytest.mark.parametrize("kind", KINDS)
def test_step_meets_its_targets(kind):
    """To first order the products become what was asked."""
    rows, s = rows_on_the_way(kind, 3)
    rows.prepare(s)
    targets = [0.1 - x * z for x, z in zip(rows.x, rows.z)]
    rows.force(targets)
    rows.direction(np.random.default_rng(1).normal(size=(3, 7)))
    for target, x, z, dx, dz in zip(targets, rows.x, rows.z, rows.dx, rows.dz):
        np.testing.assert_allclose(x * dz + z * dx, target, rtol=1e-9, atol=1e-12)


def test_curvature_is_the_derivative_of_the_moments():
    """Moments of the rule of the log loss, differentiated numerically."""
    rng = np.random.default_rng(0)
    weighted, shares = rng.normal(size=(30, 2)), rng.dirichlet(np.ones(30))
    program = MomentProgram.of(weighted, shares, np.zeros((3, 2)))
    mu = rng.normal(size=(3, 2))

    def moments(mu):
        h = np.exp(program.scores(mu))
        return program.moments(h / h.sum(axis=0))

    h = np.exp(program.scores(mu))
    h /= h.sum(axis=0)
    matrix = program.curvature(lambda y, w: -h[y] * h[w])
    step = 1e-6
    for k in range(6):
        move = np.zeros(6)
        move[k] = step
        move = move.reshape(3, 2)
        slope = (moments(mu + move) - moments(mu - move)) / (2 * step)
        np.testing.assert_allclose(matrix[:, k], slope.ravel(), atol=1e-8)


def test_solver_without_curvature_in_some_directions():
    """Equal features: the matrix is singular but for the least of diagonals."""
    weighted = np.ones((5, 2))
    program = MomentProgram.of(weighted, np.full(5, 0.2), np.zeros((2, 2)))
    pair = lambda y, w: np.full(5, -0.25)  # noqa: E731
    width = np.full((2, 2), 1e-17)
    solve = program.newton_solver(pair, width)
    b = np.array([[1.0, 1.0], [-1.0, -1.0]])
    matrix = program.curvature(pair)
    x = solve(b)
    np.testing.assert_allclose((matrix @ x.ravel()).reshape(2, 2), b, rtol=1e-9)


def test_step_length():
    x = np.array([1.0, 2.0])
    assert step_length(x, np.array([1.0, -1.0])) == 1.0
    assert step_length(x, np.array([-4.0, -1.0])) == 0.25


def test_central_point_has_equal_products(random_moments):
    program = MomentProgram.of(*random_moments(0, 3, 40, 3))
    rows = LinearRows(program.shape)
    bounds = Elastic(np.ones((3, 3)), program.moments(rows.x[0]) - program.tau)
    found = central_point(program, rows, bounds, 1e-6)
    inside, outside = rows.x[0] * rows.z[0], bounds.x * bounds.z
    np.testing.assert_allclose(inside, inside[0, 0], rtol=1e-3)
    np.testing.assert_allclose(outside, 0.01 * inside[0, 0], rtol=1e-3)
    assert 1e-9 < found.gap <= 1e-7


def test_gap_is_computed_from_the_points(random_moments):
    program = MomentProgram.of(*random_moments(1, 3, 40, 3))
    lam = np.full((3, 3), 0.2)
    rows = SpreadRows(program.shape)
    bounds = Within(lam, program.moments(rows.x[0]) - program.tau)
    found = interior_point(program, rows, bounds, 1e-9)
    assert 0.0 <= found.gap <= 1e-9
    assert np.abs(program.moments(found.q) - program.tau).max() <= 0.2
    lower = 1 - program.shares @ found.q.max(axis=0)
    assert found.lower == pytest.approx(lower, abs=1e-14)
