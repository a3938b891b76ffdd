"""Transport weights against cvxpy's full programs, brute force and their own duals."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

import causalweights.optimize._transport_qp as transport_qp
from causalweights.discrepancy import wasserstein_distance
from causalweights.optimize import transport_weights


@pytest.fixture
def samples(rng):
    X = rng.normal(size=(30, 3))
    Y = rng.normal(0.4, 0.8, size=(22, 3))
    return X, Y, rng.exponential(size=22)


def dual_value(X, Y, t, ridge, u):
    """Evaluate the dual of the ridge problem from raw arrays; u is feasible."""
    ridge = np.broadcast_to(ridge, len(X))
    assert np.all(u[ridge == 0] <= 0)
    positive = ridge > 0
    conjugate = np.sum(np.maximum(u[positive], 0) ** 2 / (4 * ridge[positive]))
    return t / t.sum() @ np.min(cdist(Y, X) + u, axis=1) - conjugate


def assert_certified(X, Y, t, ridge, result, accuracy=1e-11):
    """Check the weights, that they cost what is said, and the gap, from scratch."""
    w = result.weights
    assert np.all(result.potentials >= 0)
    assert np.all(w >= 0) and w.sum() == pytest.approx(1.0, abs=1e-14)
    distance = wasserstein_distance(X, Y, x_weights=w, y_weights=t)
    penalty = np.broadcast_to(ridge, len(X)) @ w**2
    assert distance <= result.transport_cost + 1e-12
    assert result.transport_cost == pytest.approx(distance, abs=1e-8)
    assert result.value == pytest.approx(result.transport_cost + penalty, rel=1e-13)
    gap = result.value - dual_value(X, Y, t, ridge, result.potentials)
    assert gap == pytest.approx(result.gap, abs=1e-13 * (1 + result.value))
    assert 0.0 <= result.gap <= accuracy * result.value
    assert result.converged and result.relative_gap <= 1e-6


def clarabel(X, Y, t, ridge):
    """Solve the program over all pairs by cvxpy and Clarabel."""
    import cvxpy as cp

    plan = cp.Variable((len(Y), len(X)), nonneg=True)
    penalty = np.sqrt(np.broadcast_to(ridge, len(X)))
    objective = cp.sum(cp.multiply(cdist(Y, X), plan))
    objective += cp.sum_squares(cp.multiply(penalty, cp.sum(plan, axis=0)))
    program = cp.Problem(cp.Minimize(objective), [cp.sum(plan, axis=1) == t / t.sum()])
    tight = {"tol_gap_abs": 1e-13, "tol_gap_rel": 1e-13, "tol_feas": 1e-13}
    program.solve(solver="CLARABEL", **tight)
    return plan.value.sum(axis=0), program.value


# ---- ridge -----------------------------------------------------------------------


@pytest.mark.parametrize("ridge", [1e-4, 0.3, 5.0, 1e4])
def test_ridge_is_the_full_quadratic_program(samples, ridge):
    X, Y, t = samples
    result = transport_weights(X, Y, t, ridge=ridge)
    weights, value = clarabel(X, Y, t, ridge)
    assert result.value == pytest.approx(value, rel=1e-8)
    np.testing.assert_allclose(result.weights, weights, atol=1e-4)
    assert_certified(X, Y, t, ridge, result)


def test_ridge_may_differ_by_row_and_be_zero(samples, rng):
    X, Y, t = samples
    ridge = rng.exponential(size=30) * (np.arange(30) % 4 > 0)
    result = transport_weights(X, Y, t, ridge=ridge)
    assert result.value == pytest.approx(clarabel(X, Y, t, ridge)[1], rel=1e-8)
    assert_certified(X, Y, t, ridge, result)


@pytest.mark.parametrize(("n", "m"), [(60, 35), (35, 60)])
@pytest.mark.parametrize("ridge", [0.5, 40.0, 1e5])
def test_column_generation_is_certified(n, m, ridge, rng, monkeypatch):
    monkeypatch.setattr(transport_qp, "ALL_PAIRS", 0)
    X, Y = rng.normal(size=(n, 2)), rng.normal(0.5, 0.7, size=(m, 2))
    t = rng.exponential(size=m)
    result = transport_weights(X, Y, t, ridge=ridge)
    assert_certified(X, Y, t, ridge, result)
    monkeypatch.undo()
    at_once = transport_weights(X, Y, t, ridge=ridge)
    np.testing.assert_allclose(result.weights, at_once.weights, atol=1e-7)


def test_column_generation_at_size(rng):
    X, Y = rng.normal(size=(500, 4)), rng.normal(0.4, 0.8, size=(400, 4))
    for ridge in (2.0, 300.0):
        result = transport_weights(X, Y, None, ridge=ridge)
        assert_certified(X, Y, np.ones(400), ridge, result)


def test_a_ridge_between_two_points_has_a_closed_form():
    # Costs 0.2 and 0.8: the slopes 0.2 + 2 r w and 0.8 + 2 r (1 - w) meet.
    for ridge in (0.1, 0.4, 3.0):
        w = min(1.0, 0.5 + 0.6 / (4 * ridge))
        result = transport_weights([[0.0], [1.0]], [[0.2]], None, ridge=ridge)
        np.testing.assert_allclose(result.weights, [w, 1 - w], atol=1e-12)


def test_ridge_goes_from_nearest_neighbors_to_uniform(samples):
    X, Y, t = samples
    path = [transport_weights(X, Y, t, ridge=r) for r in (1e-9, 0.1, 1, 10, 100, 1e9)]
    nearest = transport_weights(X, Y, t)
    assert path[0].value == pytest.approx(nearest.value, abs=1e-9)
    np.testing.assert_allclose(path[0].weights, nearest.weights, atol=1e-6)
    np.testing.assert_allclose(path[-1].weights, 1 / 30, atol=1e-8)
    assert np.all(np.diff([np.sum(r.weights**2) for r in path]) < 0)
    assert np.all(np.diff([r.transport_cost for r in path]) > 0)


def test_source_equal_to_target_is_uniform(samples):
    X = samples[0]
    result = transport_weights(X, X, None, ridge=0.7)
    np.testing.assert_allclose(result.weights, 1 / 30, atol=1e-12)
    assert result.value == pytest.approx(0.7 / 30, rel=1e-10)
    assert result.converged


def test_relative_gap_is_no_smaller_than_by_the_exact_distance(samples):
    X, Y, t = samples
    for ridge in (0.1, 10.0):
        # Two steps leave a gap to measure.
        result = transport_weights(X, Y, t, ridge=ridge, max_iter=2, tol=1e-9)
        uniform = wasserstein_distance(X, Y, y_weights=t) + ridge / 30
        best = transport_weights(X, Y, t, ridge=ridge).value
        assert result.gap >= result.value - best > 1e-6
        assert not result.converged
        if uniform > result.value:
            exact = result.gap / (uniform - result.value)
            assert result.relative_gap >= exact * (1 - 1e-12)


def test_potentials_are_twice_ridge_times_weights(samples):
    X, Y, t = samples
    result = transport_weights(X, Y, t, ridge=2.0)
    kept = result.weights > 0
    np.testing.assert_allclose(
        result.potentials[kept], 4 * result.weights[kept], atol=1e-9
    )


# ---- nearest neighbors -----------------------------------------------------------


def test_nearest_neighbors_are_counted(samples):
    X, Y, t = samples
    costs = cdist(Y, X)
    result = transport_weights(X, Y, t)
    expected = np.bincount(costs.argmin(axis=1), t / t.sum(), 30)
    np.testing.assert_allclose(result.weights, expected, atol=1e-15)
    assert result.value == pytest.approx(t / t.sum() @ costs.min(axis=1), rel=1e-13)
    distance = wasserstein_distance(X, Y, x_weights=result.weights, y_weights=t)
    assert result.transport_cost == pytest.approx(distance, rel=1e-12)
    assert (result.gap, result.relative_gap, result.converged) == (0.0, 0.0, True)


@pytest.mark.parametrize("move", [0.0, 1e3, 1 / 3])
def test_ties_are_split_equally(move):
    # Corners of a square, its center, the middle of a side, and a corner twice.
    X = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [1, 1]]) + move
    Y = np.array([[0.5, 0.5], [0.5, 0.0]]) + move
    weights = transport_weights(X, Y, [1, 3]).weights
    shares = np.full(5, 1 / 4 / 5) + np.array([3 / 8, 0, 3 / 8, 0, 0])
    np.testing.assert_allclose(weights, shares, atol=1e-15)


# ---- entropy ---------------------------------------------------------------------


def test_entropy_is_the_softmax(samples, monkeypatch):
    X, Y, t = samples
    monkeypatch.setattr("causalweights.optimize._transport_arcs.BLOCK_ENTRIES", 100)
    costs, masses = cdist(Y, X), t / t.sum()
    result = transport_weights(X, Y, t, entropy=0.3)
    p = np.exp(-costs / 0.3)
    p *= (masses / p.sum(axis=1))[:, None]
    np.testing.assert_allclose(result.weights, p.sum(axis=0), rtol=1e-12)
    assert result.transport_cost == pytest.approx(np.sum(p * costs), rel=1e-12)
    value = np.sum(p * costs) + 0.3 * np.sum(p * np.log(p / masses[:, None]))
    assert result.value == pytest.approx(value, rel=1e-12)
    assert value == pytest.approx(-0.3 * masses @ logsumexp(-costs / 0.3, axis=1))


def test_entropy_counts_copies(samples):
    X, Y, t = samples
    X = np.repeat(X, 1 + np.arange(30) % 3, axis=0)
    result = transport_weights(X, Y, t, entropy=0.3)
    p = np.exp(-cdist(Y, X) / 0.3)
    expected = t / t.sum() @ (p / p.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(result.weights, expected, rtol=1e-12)


def test_entropy_goes_from_nearest_neighbors_to_uniform(samples):
    X, Y, t = samples
    small = transport_weights(X, Y, t, entropy=1e-5).weights
    np.testing.assert_allclose(small, transport_weights(X, Y, t).weights, atol=1e-12)
    large = transport_weights(X, Y, t, entropy=1e9).weights
    np.testing.assert_allclose(large, 1 / 30, atol=1e-9)


# ---- all routes ------------------------------------------------------------------

ROUTES = [{}, {"ridge": 0.8}, {"ridge": 60.0}, {"entropy": 0.4}]


@pytest.fixture(params=ROUTES, ids=str)
def route(request):
    return request.param


def test_rows_may_come_in_any_order(samples, route, rng):
    X, Y, t = samples
    weights = transport_weights(X, Y, t, **route).weights
    x_order, y_order = rng.permutation(30), rng.permutation(22)
    again = transport_weights(X[x_order], Y[y_order], t[y_order], **route).weights
    np.testing.assert_allclose(again, weights[x_order], atol=1e-12)


def test_move_and_scale(samples, route):
    X, Y, t = samples
    first = transport_weights(X, Y, t, **route)
    scaled = {name: 8.0 * value for name, value in route.items()}
    moved = transport_weights(8 * X + 5.0, 8 * Y + 5.0, 3 * t, **scaled)
    np.testing.assert_allclose(moved.weights, first.weights, atol=1e-10)
    assert moved.value == pytest.approx(8 * first.value, rel=1e-12)


def test_copies_share_the_mass(samples, route):
    X, Y, t = samples
    twice = transport_weights(np.vstack([X, X]), Y, t, **route).weights
    np.testing.assert_allclose(twice[:30], twice[30:], atol=1e-16)
    if "ridge" in route:
        # Two copies with ridge 2 r are one row with ridge r.
        twice = transport_weights(
            np.vstack([X, X]), Y, t, ridge=2 * route["ridge"]
        ).weights
    once = transport_weights(X, Y, t, **route).weights
    np.testing.assert_allclose(2 * twice[:30], once, atol=1e-10)


def test_copies_with_different_ridges_share_by_them():
    X, Y = [[0.0], [0.0], [1.0], [1.0]], [[0.4]]
    ridge = np.array([1.0, 3.0, 2.0, 0.0])
    result = transport_weights(X, Y, None, ridge=ridge)
    w = result.weights
    assert w[0] == pytest.approx(3 * w[1]) and w[2] == 0.0
    assert_certified(np.array(X), np.array(Y), np.ones(1), ridge, result)


def test_target_masses_are_copies_and_zero_is_no_row(samples, route):
    X, Y, _ = samples
    counts = np.arange(22) % 3
    weights = transport_weights(X, Y, counts, **route).weights
    copies = transport_weights(X, np.repeat(Y, counts, axis=0), None, **route).weights
    np.testing.assert_allclose(copies, weights, atol=1e-12)


def test_single_rows(samples, route):
    X, Y, t = samples
    one = transport_weights(X[:1], Y, t, **route)
    assert one.weights.tolist() == [1.0]
    expected = t / t.sum() @ np.linalg.norm(Y - X[0], axis=1)
    assert one.transport_cost == pytest.approx(expected) and one.converged
    same = transport_weights(X[[0, 0]], X[:1], None, **route)
    np.testing.assert_allclose(same.weights, 0.5)
    single = transport_weights(X, Y[:1], None, **route)
    assert single.weights.sum() == pytest.approx(1.0, abs=1e-14)
    assert single.converged and single.transport_cost == pytest.approx(
        single.weights @ np.linalg.norm(X - Y[0], axis=1), rel=1e-12
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ridge": 0.1, "entropy": 0.1}, "ridge and entropy"),
        ({"ridge": -0.1}, "ridge must be non-negative"),
        ({"ridge": [0.1, 0.1]}, r"ridge must be a number or have shape \(3,\)"),
        ({"entropy": -1.0}, "entropy must be"),
        ({"entropy": np.nan}, "entropy must be"),
        ({"tol": 0.0}, "tol must be positive"),
        ({"max_iter": 0}, "max_iter must be"),
        ({"X": [[np.inf, 0.0]]}, "X contains NaN or infinity"),
        ({"Y": [[0.0]]}, "X has 2 columns and Y has 1"),
        ({"Y": np.empty((0, 2))}, "Y must be a matrix"),
        ({"target_masses": [1.0, -1.0]}, "target_masses contains negative"),
        ({"target_masses": [1.0]}, "target_masses has shape .* Y has 2 rows"),
        ({"target_masses": [0.0, 0.0]}, "target_masses is zero"),
    ],
)
def test_bad_input_is_refused_by_name(changes, message):
    arguments = {
        "X": [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]],
        "Y": [[0.2, 0.1], [0.4, 0.4]],
        "target_masses": None,
    }
    arguments.update(changes)
    X, Y, t = (arguments.pop(name) for name in ("X", "Y", "target_masses"))
    with pytest.raises(ValueError, match=message):
        transport_weights(X, Y, t, **arguments)
