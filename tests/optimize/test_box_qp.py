"""Box problems against conic programs, their certificate, routes and refusals."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from causalweights.optimize import (
    LowRankOperator,
    _ball_multiplier,
    _box_active_set,
)
from causalweights.optimize._ball_path import ball_path
from causalweights.optimize._box_checks import check_box
from causalweights.optimize._box_problem import duality_gap
from causalweights.optimize._box_qp import Ball, box_qp
from causalweights.optimize._box_systems import LowRankMatrix

# Agreement of objectives with a conic solver at tolerances of 1e-9, relative.
CONIC_TOLERANCE = 1e-8
# Constraints hold to this relative error.
FEASIBLE = 1e-12


def draw(seed, n=14, rank=None, ridge=0.3, coupled=True, ball=True):
    """Return a random problem whose constraints bind, as keyword arguments."""
    rng = np.random.default_rng(seed)
    L = rng.normal(size=(n, rank or n))
    problem = {
        "q": 2.0 * L @ rng.normal(size=L.shape[1]),
        "ridge": ridge * rng.uniform(0.5, 2.0, n),
        "lower": -rng.random(n),
        "upper": rng.random(n) + 0.2,
    }
    inside = problem["lower"] + 0.5 * (problem["upper"] - problem["lower"])
    if coupled:
        row = rng.normal(size=n)
        total = float(row @ inside)
        problem |= {"coupling": row, "coupling_bounds": (total - 0.1, total + 0.1)}
    if ball:
        rows = np.arange(2, n, 2)
        problem["ball"] = Ball(rows, inside[rows] + 0.01, 0.6)
    return L, problem


def conic_value(
    L, q, ridge, lower, upper, coupling=None, coupling_bounds=None, ball=None
):
    """Return the minimum that cvxpy and Clarabel find."""
    import cvxpy as cp

    v = cp.Variable(q.size)
    constraints = [v >= lower, v <= upper]
    if coupling is not None:
        constraints += [coupling @ v >= coupling_bounds[0]]
        constraints += [coupling @ v <= coupling_bounds[1]]
    if ball is not None:
        constraints.append(cp.norm(v[ball.rows] - ball.center) <= ball.radius)
    penalty = cp.sum_squares(cp.multiply(np.sqrt(ridge), v))
    objective = 0.5 * cp.sum_squares(L.T @ v) + 0.5 * penalty - q @ v
    program = cp.Problem(cp.Minimize(objective), constraints)
    tight = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-9)
    program.solve(solver="CLARABEL", **tight)
    return program.value


def violation(v, lower, upper, coupling=None, coupling_bounds=None, ball=None, **_):
    """Return the largest violation of a constraint."""
    worst = max(float(np.max(lower - v)), float(np.max(v - upper)), 0.0)
    if coupling is not None:
        total = float(coupling @ v)
        worst = max(worst, coupling_bounds[0] - total, total - coupling_bounds[1])
    if ball is not None:
        worst = max(worst, np.linalg.norm(v[ball.rows] - ball.center) - ball.radius)
    return worst


def assert_solved(L, problem, result, tolerance=CONIC_TOLERANCE):
    v, H = result.weights, L @ L.T + np.diag(problem["ridge"])
    value = 0.5 * v @ H @ v - problem["q"] @ v
    expected = conic_value(L, **problem)
    size = result.uniform_value - result.value
    assert result.converged and np.isfinite(v).all()
    np.testing.assert_allclose(result.value, value, rtol=1e-10)
    assert abs(value - expected) <= tolerance * size
    assert violation(v, **problem) <= FEASIBLE
    assert result.gap >= -FEASIBLE and result.relative_gap <= tolerance


# ---- the solution ----------------------------------------------------------------


@pytest.mark.parametrize("solver", ["auto", "interior_point"])
@pytest.mark.parametrize(("coupled", "ball"), [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("seed", range(2))
def test_equals_a_conic_program(seed, coupled, ball, solver):
    L, problem = draw(seed, coupled=bool(coupled), ball=bool(ball))
    result = box_qp(L @ L.T, **problem, solver=solver)
    assert_solved(L, problem, result)
    if solver == "auto":
        assert result.solver == "active_set" and result.relative_gap <= 1e-13


@pytest.mark.parametrize(("coupled", "ball"), [(0, 0), (1, 0), (1, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_singular_problems_fall_back_to_the_interior_point(seed, coupled, ball):
    L, problem = draw(seed, rank=4, ridge=0.0, coupled=bool(coupled), ball=bool(ball))
    result = box_qp(L @ L.T, **problem)
    assert_solved(L, problem, result, 1e-7)
    assert result.solver == "interior_point" and "singular" in result.status


@pytest.mark.parametrize("side", [0, 1])
def test_multipliers_make_the_gradient_vanish_on_free_rows(side):
    L, problem = draw(2, n=20)
    row = problem["coupling"]
    # Moved so that the chosen bound binds.
    free = box_qp(L @ L.T, **(problem | {"coupling_bounds": (-9.0, 9.0)}))
    total = float(row @ free.weights)
    bounds = (total + 0.3, total + 0.5) if side == 0 else (total - 0.5, total - 0.3)
    problem["coupling_bounds"] = bounds
    result = box_qp(L @ L.T, **problem)
    v, nu, mu = result.weights, result.multipliers.coupling, result.multipliers.ball
    assert (nu > 0.0) is (side == 0) and mu > 0.0
    np.testing.assert_allclose(row @ v, bounds[side], atol=1e-12)
    ball = problem["ball"]
    slope = L @ (L.T @ v) + problem["ridge"] * v - problem["q"] - nu * row
    slope[ball.rows] += mu * (v[ball.rows] - ball.center)
    at_low, at_high = v <= problem["lower"], v >= problem["upper"]
    assert at_low.any() and at_high.any()
    np.testing.assert_allclose(slope[~at_low & ~at_high], 0.0, atol=1e-10)
    assert slope[at_low].min() >= 0.0 and slope[at_high].max() <= 0.0


def test_an_equality_is_met():
    L, problem = draw(5, ball=False)
    low = problem["coupling_bounds"][0]
    problem["coupling_bounds"] = (low, low)
    for solver in ("auto", "interior_point"):
        assert_solved(L, problem, box_qp(L @ L.T, **problem, solver=solver))


def test_a_one_sided_coupling_is_met():
    L, problem = draw(6, ball=False)
    high = problem["coupling_bounds"][1]
    two_sided = box_qp(L @ L.T, **(problem | {"coupling_bounds": (-50.0, high)}))
    for solver in ("auto", "interior_point"):
        one_sided = problem | {"coupling_bounds": (-np.inf, high), "solver": solver}
        result = box_qp(L @ L.T, **one_sided)
        np.testing.assert_allclose(result.weights, two_sided.weights, atol=1e-6)


def test_equal_bounds_and_a_radius_of_zero_fix_rows():
    L, problem = draw(7)
    ball = problem["ball"]
    problem["ball"] = replace(ball, radius=0.0)
    problem["coupling_bounds"] = (-9.0, 9.0)
    zero = box_qp(L @ L.T, **problem)
    np.testing.assert_array_equal(zero.weights[ball.rows], ball.center)
    assert zero.multipliers.ball == np.inf and zero.converged
    fixed = problem | {"ball": None}
    for bound in ("lower", "upper"):
        fixed[bound] = problem[bound].copy()
        fixed[bound][ball.rows] = ball.center
    np.testing.assert_allclose(
        zero.weights, box_qp(L @ L.T, **fixed).weights, atol=1e-13
    )
    tiny = problem | {"ball": replace(ball, radius=1e-7)}
    np.testing.assert_allclose(zero.weights, box_qp(L @ L.T, **tiny).weights, atol=1e-6)


def test_constraints_may_leave_a_single_point():
    result = box_qp(np.eye(2), np.ones(2), lower=[0.2, 0.3], upper=[0.2, 0.3])
    np.testing.assert_array_equal(result.weights, [0.2, 0.3])
    assert result.solver == "constraints" and result.gap == 0.0 and result.converged


def test_start_does_not_change_the_solution():
    L, problem = draw(8)
    cold = box_qp(L @ L.T, **problem)
    for start in (cold.weights, np.full(14, 0.1), problem["upper"]):
        warm = box_qp(L @ L.T, **problem, start=start)
        np.testing.assert_allclose(warm.weights, cold.weights, atol=1e-12)
    again = box_qp(L @ L.T, **problem)
    np.testing.assert_array_equal(again.weights, cold.weights)


# ---- the certificate -------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_the_gap_is_what_row_by_row_minimisation_says(seed):
    L, data = draw(seed, rank=5, ridge=0.4 if seed % 2 else 0.0)
    problem = check_box(
        L @ L.T, data["q"], data["ridge"], data["lower"], data["upper"],
        data["coupling"], data["coupling_bounds"], data["ball"],
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    v = problem.repair(rng.uniform(data["lower"], data["upper"]))
    assert violation(v, **data) <= FEASIBLE
    nu, mu = rng.normal(), rng.random()
    gradient = L @ (L.T @ v) + data["ridge"] * v - data["q"]
    gap = duality_gap(problem, v, gradient, nu, mu).value
    # The same bound, one bounded scalar problem a row.
    from_center = np.zeros(v.size)
    from_center[data["ball"].rows] = v[data["ball"].rows] - data["ball"].center
    on_ball = np.isin(np.arange(v.size), data["ball"].rows)
    slope = gradient - nu * data["coupling"] + mu * from_center
    curvature = data["ridge"] + mu * on_ball
    drop = 0.0
    for i in range(v.size):

        def row(u, i=i):
            return slope[i] * (u - v[i]) + 0.5 * curvature[i] * (u - v[i]) ** 2

        ends = data["lower"][i], data["upper"][i]
        inner = minimize_scalar(row, bounds=ends, options={"xatol": 1e-12}).fun
        drop -= min(inner, row(ends[0]), row(ends[1]))
    target = data["coupling_bounds"][0 if nu > 0 else 1]
    slack = nu * (data["coupling"] @ v - target)
    slack += 0.5 * mu * (data["ball"].radius ** 2 - from_center @ from_center)
    np.testing.assert_allclose(gap, drop + slack, rtol=1e-8)
    # Whatever the multipliers, it bounds the true excess.
    value = 0.5 * v @ (gradient - data["q"])
    assert gap >= value - conic_value(L, **data) - CONIC_TOLERANCE


def test_a_wide_box_does_not_amplify_rounding():
    L, problem = draw(2, ball=False)
    problem["lower"], problem["upper"] = np.zeros(14), np.full(14, 1e6)
    result = box_qp(L @ L.T, **problem)
    assert result.relative_gap <= 1e-14


def test_an_unfinished_solver_says_so():
    L, problem = draw(4, rank=4, ridge=0.0)
    result = box_qp(L @ L.T, **problem, max_iter=4)
    assert not result.converged and result.relative_gap > 1e-6
    assert violation(result.weights, **problem) <= FEASIBLE
    assert result.gap >= result.value - conic_value(L, **problem)


# ---- routes ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cycled", "set changes stopped falling"])
def test_set_changes_that_do_not_settle_fall_back(name, monkeypatch):
    L, problem = draw(1)
    expected = box_qp(L @ L.T, **problem)
    draws = np.random.default_rng(0)

    def wander(problem, guess, at, equality):
        sets = np.zeros(problem.size, dtype=np.int8)
        if name == "cycled":
            sets[int(guess.sets[0] == 0)] = -1
        else:
            sets = draws.integers(-1, 1, problem.size).astype(np.int8)
        return 5, _box_active_set._Guess(sets, 0)

    monkeypatch.setattr(_box_active_set, "_next_guess", wander)
    result = box_qp(L @ L.T, **problem)
    assert result.solver == "interior_point" and name in result.status
    assert result.converged and result.relative_gap <= 1e-9
    np.testing.assert_allclose(result.weights, expected.weights, atol=1e-4)


def test_a_search_that_does_not_settle_falls_back(monkeypatch):
    L, problem = draw(1)
    monkeypatch.setattr(_ball_multiplier, "MAX_ROOT_STEPS", 1)
    result = box_qp(L @ L.T, **problem)
    assert "multiplier of the ball did not settle" in result.status
    assert_solved(L, problem, result)


@pytest.mark.parametrize("ridge", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(2))
def test_a_factor_stands_for_its_matrix(seed, ridge):
    L, problem = draw(seed, n=40, rank=6, ridge=ridge)
    residual = np.random.default_rng(seed).uniform(0.1, 0.2, 40) * (ridge > 0.0)
    K = L @ L.T + np.diag(residual)
    dense = box_qp(K, **problem)
    low = box_qp(LowRankMatrix(L, residual), **problem)
    assert dense.converged and low.converged
    size = dense.uniform_value - dense.value
    np.testing.assert_allclose(low.value, dense.value, atol=1e-9 * size)
    if ridge > 0.0:
        np.testing.assert_allclose(low.weights, dense.weights, atol=1e-11)


# ---- paths -----------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, -1])
def test_a_path_equals_single_solutions(order):
    L, problem = draw(9)
    ball = problem.pop("ball")
    upper = problem.pop("upper")
    radii = [0.0, 0.2, 0.4, 0.6, 3.0, 4.0][::order]
    uppers = [upper + 0.01 * i for i in range(4)] + [upper + 0.04] * 2
    uppers = uppers[::order]
    problem["coupling_bounds"] = (-9.0, 9.0)
    path = ball_path(
        L @ L.T, **problem, rows=ball.rows, center=ball.center, radii=radii,
        uppers=uppers,
    )  # fmt: skip
    for radius, high, result in zip(radii, uppers, path.results):
        single = box_qp(
            L @ L.T, **problem, upper=high, ball=replace(ball, radius=radius)
        )
        np.testing.assert_allclose(result.weights, single.weights, atol=1e-9)
        assert result.relative_gap <= 1e-12
    assert path.n_solved == 5
    inactive = [result.multipliers.ball == 0.0 for result in path.results]
    assert inactive == ([False] * 4 + [True] * 2)[::order]
    assert path.first_inactive == inactive.index(True)


def test_a_path_that_loosens_an_active_bound_goes_on():
    problem = {"K": np.eye(2), "q": np.array([2.0, 3.0]), "rows": [0], "center": 1.0}
    path = ball_path(**problem, radii=[4.0, 5.0, 6.0], uppers=[2.5, 2.8, 2.8])
    weights = [result.weights.tolist() for result in path.results]
    assert weights == [[2.0, 2.5], [2.0, 2.8], [2.0, 2.8]]
    assert path.n_solved == 2 and path.first_inactive == 0


def test_a_path_needs_a_bound_for_each_radius():
    with pytest.raises(ValueError, match="same positive length"):
        ball_path(np.eye(1), [1.0], rows=[0], center=0.0, radii=[1.0], uppers=[])


# ---- refusals --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"K": np.ones((2, 3))}, "K must be square"),
        ({"K": np.array([[1.0, np.nan], [0.0, 1.0]])}, "K contains NaN"),
        ({"K": np.array([[1.0, 0.5], [0.0, 1.0]])}, "symmetric"),
        ({"K": -np.eye(2)}, "negative diagonal"),
        ({"K": LowRankMatrix(np.ones(2), np.zeros(2))}, "K.factor must be"),
        ({"K": LowRankMatrix(np.ones((2, 1)), -np.ones(2))}, "K.residual must be"),
        (
            {"K": LowRankMatrix(np.full((2, 1), np.inf), np.ones(2))},
            "K.factor contains",
        ),
        ({"q": [1.0]}, "q must have shape"),
        ({"ridge": -1.0}, "ridge must be"),
        ({"upper": np.inf}, "upper contains"),
        ({"lower": 2.0}, "lower exceeds upper"),
        ({"coupling": [1.0, 1.0]}, "given together"),
        ({"coupling": [1.0, 1.0], "coupling_bounds": (2.0, 1.0)}, "low <= high"),
        ({"coupling": [1.0, 1.0], "coupling_bounds": (3.0, 4.0)}, "reaches at most"),
        ({"coupling": [1.0, 1.0], "coupling_bounds": (-2.0, -1.0)}, "is at least"),
        ({"coupling": [1.0, 1.0], "coupling_bounds": (np.inf,) * 2}, "no finite"),
        ({"ball": Ball([0, 0], 0.0, 1.0)}, "distinct"),
        ({"ball": Ball([2], 0.0, 1.0)}, "distinct row numbers"),
        ({"ball": Ball([], 0.0, 1.0)}, "non-empty"),
        ({"ball": Ball([0], 0.0, -1.0)}, "radius"),
        ({"ball": Ball([0], 9.0, 1.0)}, "raise the radius"),
        ({"solver": "simplex"}, "solver must be"),
        ({"tol": 0.0}, "tol must be"),
        ({"max_iter": 0}, "max_iter must be"),
        ({"start": [1.0]}, "start must have shape"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"K": np.eye(2), "q": np.ones(2), "upper": 1.0} | change
    with pytest.raises(ValueError, match=message):
        box_qp(**arguments)


def test_the_input_is_left_alone():
    L, problem = draw(0)
    K = L @ L.T
    arrays = [K, problem["q"], problem["ridge"], problem["lower"], problem["upper"]]
    before = [array.copy() for array in arrays]
    box_qp(K, **problem)
    for array, old in zip(arrays, before):
        np.testing.assert_array_equal(array, old)


def test_the_operator_of_the_simplex_programs_serves_as_a_matrix():
    rng = np.random.default_rng(0)
    factor, residual, q = rng.normal(size=(30, 4)), rng.random(30), rng.normal(size=30)
    found = box_qp(LowRankOperator(factor, residual), q, 0.1, upper=2.0)
    dense = factor @ factor.T + np.diag(residual)
    expected = box_qp(dense, q, 0.1, upper=2.0)
    np.testing.assert_allclose(found.weights, expected.weights, atol=1e-10)
