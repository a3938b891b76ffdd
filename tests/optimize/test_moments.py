"""Moment constraints against a conic solver, linear programs and invariants."""

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.spatial.distance import cdist

from causalweights.optimize import LowRankOperator, simplex_qp

KERNELS = ("gaussian", "energy", "laplace")
# Clarabel stops near 1e-13; its own error shows in the objective at about 1e-10.
OBJECTIVE_RTOL = 1e-8
WEIGHT_ATOL = 1e-5
# What the documentation promises, in standard deviations of a column.
MOMENT_ATOL = 1e-8


@pytest.fixture
def conic():
    """Return the weights that Clarabel finds for standardized moment columns."""

    def solve(K, q, ridge, A, b, tol, groups, lower=0.0, upper=None):
        import cvxpy as cp

        n = q.size
        w = cp.Variable(n)
        constraints = [w >= lower] + ([] if upper is None else [w <= upper])
        for g in range(groups.max() + 1):
            rows = np.flatnonzero(groups == g)
            center, scale = A[rows].mean(axis=0), A[rows].std(axis=0)
            constraints.append(cp.sum(w[rows]) == 1)
            off = ((A[rows] - center) / scale).T @ w[rows] - (b[g] - center) / scale
            exact = tol == 0.0
            if exact.any():
                constraints.append(off[exact] == 0)
            if not exact.all():
                constraints.append(cp.abs(off[~exact]) <= (tol / scale)[~exact])
        H = K + ridge * np.eye(n)
        objective = cp.Minimize(0.5 * cp.quad_form(w, cp.psd_wrap(H)) - q @ w)
        cp.Problem(objective, constraints).solve(
            solver="CLARABEL", tol_gap_abs=1e-13, tol_gap_rel=1e-13, tol_feas=1e-13
        )
        return w.value, float(0.5 * w.value @ H @ w.value - q @ w.value)

    return solve


@pytest.fixture
def moment_problem(balancing_problem):
    """Return ``(kernel, n, p, n_groups, seed) -> K, q, groups, A, b``, feasible b."""

    def build(kernel, n, p=3, n_groups=1, seed=0):
        K, q = balancing_problem(kernel, n, 3, seed)
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n, 3))  # the rows of `balancing_problem`
        A = np.column_stack([X, X**2])[:, :p] * 10.0 ** rng.integers(-3, 4, p)
        A = A + rng.normal(size=p)
        groups = np.arange(n) % n_groups
        masses = np.exp(0.6 * X[:, 0]) * rng.uniform(0.8, 1.2, n)
        masses /= np.bincount(groups, masses)[groups]
        b = [A[groups == g].T @ masses[groups == g] for g in range(n_groups)]
        return K, q, groups, A, np.array(b)

    return build


def means(A, groups, weights):
    """Weighted means of the columns, one row for each group."""
    masked = weights * (groups == np.arange(groups.max() + 1)[:, None])
    return masked @ A


def moment_gap(K, q, ridge, result, A, b, tol, groups):
    """Frank-Wolfe gap over the weights that meet the moments, by linear programming."""
    w = result.weights
    gradient = K @ w + ridge * w - q
    masks = (groups == np.arange(groups.max() + 1)[:, None]).astype(float)
    scale = A.std(axis=0)
    rows = np.vstack([mask * (A / scale).T for mask in masks])
    middle = (b / scale).ravel()
    # The linear program is given the accuracy that the weights were asked for.
    width = np.tile(tol / scale, len(masks)) + 1e-10
    program = linprog(
        gradient,
        A_ub=np.vstack([rows, -rows]),
        b_ub=np.append(middle + width, width - middle),
        A_eq=masks,
        b_eq=np.ones(len(masks)),
    )
    return float(gradient @ (w - program.x))


def random_cases():
    """Draw 20 problems: kernels, groups, ridges, exact and tolerant moments, bounds."""
    rng = np.random.default_rng(14)
    for case in range(20):
        p = int(rng.integers(1, 5))
        tolerant = rng.random(p) < (0.0, 0.5, 1.0)[case % 3]
        yield (
            KERNELS[(case // 2) % 3],
            int(rng.integers(40, 160)),
            1 + case % 2,
            (0.0, 1e-4, 1e-3, 1e-1)[case % 4],
            tolerant,
            case % 5 == 0,
            case,
        )


@pytest.mark.parametrize(
    "kernel, n, n_groups, ridge, tolerant, bounded, seed", list(random_cases())
)
def test_agrees_with_clarabel(
    kernel, n, n_groups, ridge, tolerant, bounded, seed, moment_problem, conic
):
    K, q, groups, A, b = moment_problem(kernel, n, tolerant.size, n_groups, seed)
    tol = np.where(tolerant, 0.03 * A.std(axis=0), 0.0)
    bounds = {"lower": 0.05 / n, "upper": 12.0 / n} if bounded else {}
    constraints = {"moments": A, "moment_targets": b, "moment_tol": tol}
    reference, value = conic(K, q, ridge, A, b, tol, groups, **bounds)
    for solver in ("auto", "interior_point"):
        result = simplex_qp(
            K, q, ridge, groups=groups, solver=solver, **constraints, **bounds
        )
        assert result.converged and result.relative_gap <= 1e-9
        assert abs(result.value - value) <= OBJECTIVE_RTOL * abs(value)
        sums = np.bincount(groups, result.weights)
        np.testing.assert_allclose(sums, 1.0, atol=1e-12)
        assert result.weights.min() >= bounds.get("lower", 0.0)
        off = np.abs(means(A, groups, result.weights) - b) - tol
        assert np.max(off / A.std(axis=0)) <= MOMENT_ATOL
        if ridge >= 1e-3:
            np.testing.assert_allclose(result.weights, reference, atol=WEIGHT_ATOL)


@pytest.mark.parametrize("solver", ["active_set", "interior_point", "working_set"])
@pytest.mark.parametrize("n_groups", [1, 2])
@pytest.mark.parametrize("width", [0.0, 0.05])
def test_multipliers_satisfy_the_conditions(solver, n_groups, width, moment_problem):
    K, q, groups, A, b = moment_problem("laplace", 150, 4, n_groups)
    # The third moment is loose and should not bind.
    tol = width * A.std(axis=0) * [1.0, 1.0, 40.0, 1.0]
    result = simplex_qp(
        K,
        q,
        1e-3,
        groups=groups,
        solver=solver,
        moments=A,
        moment_targets=b,
        moment_tol=tol,
    )
    lam = result.moment_multipliers
    assert lam.shape == b.shape and np.abs(lam).max() > 0.0
    gradient = K @ result.weights + 1e-3 * result.weights - q
    reduced = gradient - result.multipliers[groups]
    reduced -= np.einsum("ij,ij->i", A, lam[groups])
    free = result.weights > 0.0
    np.testing.assert_allclose(reduced[free], 0.0, atol=1e-10)
    assert reduced.min() >= -1e-10
    if width:
        off = (means(A, groups, result.weights) - b) / tol
        inside = np.abs(off) < 1.0 - 1e-8
        assert inside[:, 2].all() and np.all(lam[inside] == 0.0)
        # A positive multiplier pulls up a moment that sits at the lower end.
        np.testing.assert_allclose(off[~inside], -np.sign(lam[~inside]), atol=1e-8)


@pytest.mark.parametrize("width", [0.0, 0.1])
@pytest.mark.parametrize("max_iter", [1, 3, 100])
def test_the_gap_bounds_the_excess_wherever_the_solver_stops(
    width, max_iter, moment_problem
):
    K, q, groups, A, b = moment_problem("gaussian", 80, 3, 2)
    tol = width * A.std(axis=0)
    options = {"groups": groups, "moments": A, "moment_targets": b, "moment_tol": tol}
    best = simplex_qp(K, q, 1e-3, **options)
    result = simplex_qp(K, q, 1e-3, max_iter=max_iter, **options)
    assert result.value - best.value <= result.gap + 1e-12
    # Weak duality: no multipliers give less than the linear program over the moments.
    exact = moment_gap(K, q, 1e-3, result, A, b, tol, groups)
    assert exact <= result.gap + 1e-8
    assert result.converged or max_iter < 100


def test_the_certificate_does_not_trust_wrong_multipliers(moment_problem, monkeypatch):
    from causalweights.optimize import _simplex_qp

    K, q, _, A, b = moment_problem("energy", 80, 2)
    options = {"moments": A, "moment_targets": b[0]}
    result = simplex_qp(K, q, 1e-2, **options)
    certify = _simplex_qp._certify

    def falsified(*arguments):
        return certify(*arguments[:-1], 1.1 * arguments[-1])

    monkeypatch.setattr(_simplex_qp, "_certify", falsified)
    wrong = simplex_qp(K, q, 1e-2, **options)
    assert result.gap <= 1e-12 and wrong.gap > 1e-6 and not wrong.converged


def test_weights_that_miss_their_moments_do_not_count_as_converged(monkeypatch):
    from causalweights.optimize import _simplex_qp
    from causalweights.optimize._problem import Outcome

    A = np.linspace(0.0, 1.0, 20)[:, None]
    uniform = Outcome(np.full(20, 0.05), 1, True, "active_set", "stub", np.zeros(1))
    monkeypatch.setattr(_simplex_qp, "_solve", lambda *arguments: uniform)
    zero = np.zeros((20, 20)), np.zeros(20)
    assert simplex_qp(*zero, moments=A, moment_targets=[0.5]).converged
    missed = simplex_qp(*zero, moments=A, moment_targets=[0.5 + 1e-6])
    assert missed.gap == 0.0 and not missed.converged


def test_moments_may_make_the_weights_worse_than_uniform(balancing_problem):
    K, _ = balancing_problem("energy", 60)
    A = np.random.default_rng(0).normal(size=(60, 2))
    options = {"moments": A, "moment_targets": [0.5, 0.5]}
    result = simplex_qp(K, K.mean(axis=1), 1e-2, **options)
    assert result.value > result.uniform_value
    assert result.converged and result.relative_gap <= 1e-11


@pytest.mark.parametrize("solver", ["auto", "interior_point", "working_set"])
def test_targets_of_the_free_solution_change_nothing(solver, moment_problem):
    K, q, groups, A, _ = moment_problem("energy", 120, 3)
    free = simplex_qp(K, q, 1e-2)
    b = means(A, groups, free.weights)[0]
    options = {"moments": A, "moment_targets": b, "solver": solver}
    result = simplex_qp(K, q, 1e-2, **options)
    np.testing.assert_allclose(result.weights, free.weights, atol=1e-10)
    np.testing.assert_allclose(result.moment_multipliers, 0.0, atol=1e-9)
    assert free.moment_multipliers is None


def test_infinite_tolerances_are_no_constraints(moment_problem):
    K, q, _, A, b = moment_problem("laplace", 70, 2)
    options = {"moments": A, "moment_targets": b[0] + [1e9, 0.0]}
    result = simplex_qp(K, q, 1e-2, moment_tol=[np.inf, 0.0], **options)
    alone = simplex_qp(K, q, 1e-2, moments=A[:, 1:], moment_targets=b[0, 1:])
    np.testing.assert_allclose(result.weights, alone.weights, atol=1e-12)
    free = simplex_qp(K, q, 1e-2, moment_tol=np.inf, **options)
    np.testing.assert_allclose(free.weights, simplex_qp(K, q, 1e-2).weights)
    assert free.converged and np.all(free.moment_multipliers == 0.0)


@pytest.mark.parametrize("width", [1e-15, 1e-10, 1e-7])
@pytest.mark.parametrize("solver", ["auto", "interior_point"])
def test_small_tolerances_approach_equality(width, solver, moment_problem):
    K, q, _, A, b = moment_problem("gaussian", 100, 3)
    options = {"moments": A, "moment_targets": b[0], "solver": solver}
    exact = simplex_qp(K, q, 1e-2, **options)
    result = simplex_qp(K, q, 1e-2, moment_tol=width * A.std(axis=0), **options)
    assert result.converged
    np.testing.assert_allclose(result.weights, exact.weights, atol=1e2 * width + 1e-10)


@pytest.mark.parametrize("width", [0.0, 0.05])
def test_units_of_the_columns_do_not_matter(width, moment_problem):
    K, q, _, A, b = moment_problem("laplace", 90, 3)
    tol = width * A.std(axis=0)
    first = simplex_qp(K, q, 1e-3, moments=A, moment_targets=b[0], moment_tol=tol)
    size, origin = np.array([1e6, 1e-6, -3.0]), np.array([0.0, 1.0, -50.0])
    second = simplex_qp(
        K,
        q,
        1e-3,
        moments=A * size + origin,
        moment_targets=b[0] * size + origin,
        moment_tol=tol * np.abs(size),
    )
    np.testing.assert_allclose(second.weights, first.weights, atol=1e-8)
    np.testing.assert_allclose(
        second.moment_multipliers * size, first.moment_multipliers, rtol=1e-5
    )


def test_separate_groups_have_their_own_targets(moment_problem):
    K, q, groups, A, b = moment_problem("energy", 120, 2, 3)
    K = K * (groups[:, None] == groups)
    options = {"moment_tol": 0.02 * A.std(axis=0)}
    joint = simplex_qp(
        K, q, 1e-2, groups=groups, moments=A, moment_targets=b, **options
    )
    for g in range(3):
        rows = np.flatnonzero(groups == g)
        alone = simplex_qp(
            K[np.ix_(rows, rows)],
            q[rows],
            1e-2,
            moments=A[rows],
            moment_targets=b[g],
            **options,
        )
        np.testing.assert_allclose(joint.weights[rows], alone.weights, atol=1e-10)
        np.testing.assert_allclose(
            joint.moment_multipliers[g], alone.moment_multipliers[0], rtol=1e-6
        )


def test_columns_that_others_imply_are_dropped(moment_problem):
    K, q, _, A, b = moment_problem("gaussian", 80, 3)
    extra = A @ [[1.0, 0.5], [2.0, 0.0], [0.0, -1.0]] + [5.0, 0.0]
    more = np.column_stack([A, extra, np.full(80, 7.0)])
    targets = np.concatenate([b[0], b[0] @ [[1, 0.5], [2, 0], [0, -1]] + [5, 0], [7]])
    expected = simplex_qp(K, q, 1e-3, moments=A, moment_targets=b[0])
    result = simplex_qp(K, q, 1e-3, moments=more, moment_targets=targets)
    np.testing.assert_allclose(result.weights, expected.weights, atol=1e-9)
    assert np.count_nonzero(result.moment_multipliers) == 3
    # With tolerances all of them may be active at once.
    loose = simplex_qp(K, q, 1e-3, moments=more, moment_targets=targets, moment_tol=0.1)
    assert loose.converged and loose.value <= expected.value


@pytest.mark.parametrize("solver", ["auto", "interior_point", "working_set"])
def test_a_target_at_an_extreme_point_takes_it(solver, balancing_problem):
    K, q = balancing_problem("gaussian", 60)
    A = np.random.default_rng(2).normal(size=(60, 2))
    row = int(np.argmax(A[:, 0]))
    options = {"moments": A, "moment_targets": A[row], "solver": solver}
    result = simplex_qp(K, q, 1e-3, **options)
    np.testing.assert_allclose(result.weights, np.eye(60)[row], atol=1e-7)


@pytest.mark.parametrize("width", [0.0, 0.03])
def test_column_generation_agrees_with_the_dense_route(width):
    rng = np.random.default_rng(12)
    X, Z = rng.normal(size=(700, 3)), 0.6 * rng.normal(size=(40, 3)) + 1.2
    distance = cdist(X, Z, "sqeuclidean")
    K, q = np.exp(-cdist(X, X, "sqeuclidean") / 6.0), np.exp(-distance / 6.0)
    options = {"moments": X, "moment_targets": Z.mean(axis=0), "moment_tol": width}
    options["working_set"] = distance.argmin(axis=0)
    q = q.mean(axis=1)
    expected = simplex_qp(K, q, 1e-2, solver="active_set", **options)
    result = simplex_qp(K, q, 1e-2, solver="working_set", **options)
    assert result.solver == "working_set" and result.converged
    np.testing.assert_allclose(result.value, expected.value, rtol=1e-10)
    np.testing.assert_allclose(result.weights, expected.weights, atol=1e-8)


@pytest.mark.parametrize("solver", ["auto", "interior_point"])
@pytest.mark.parametrize("width", [0.0, 0.1])
def test_low_rank_problems_take_moments(solver, width):
    rng = np.random.default_rng(8)
    L, A = rng.normal(size=(200, 6)), rng.normal(size=(200, 3))
    q = L @ np.full(6, 0.3)
    options = {"moments": A, "moment_targets": [0.4, 0.0, -0.2], "moment_tol": width}
    expected = simplex_qp(L @ L.T, q, 1e-2, **options)
    result = simplex_qp(LowRankOperator(L), q, 1e-2, solver=solver, **options)
    np.testing.assert_allclose(result.weights, expected.weights, atol=1e-10)
    assert result.converged


def test_a_warm_start_knows_the_tight_moments(moment_problem):
    K, q, _, A, b = moment_problem("gaussian", 150, 3)
    options = {"moments": A, "moment_targets": b[0]}
    options["moment_tol"] = 0.02 * A.std(axis=0)
    cold = simplex_qp(K, q, 1e-3, **options)
    warm = simplex_qp(K, q, 1e-3, start=cold.weights, **options)
    np.testing.assert_allclose(warm.weights, cold.weights, atol=1e-11)
    assert warm.n_iter == 1 < cold.n_iter


@pytest.mark.parametrize("solver", ["auto", "interior_point", "working_set"])
def test_without_an_objective_any_feasible_weights_converge(solver):
    A = np.random.default_rng(0).normal(size=(50, 3))
    options = {"moments": A, "moment_targets": [0.3, 0.1, -0.2], "solver": solver}
    result = simplex_qp(np.zeros((50, 50)), np.zeros(50), **options)
    assert result.converged and result.gap == 0.0
    np.testing.assert_allclose(A.T @ result.weights, [0.3, 0.1, -0.2], atol=1e-12)
