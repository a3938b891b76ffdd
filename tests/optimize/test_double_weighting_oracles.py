"""The quadratic program of double weighting: reference values, facts and invariants.

Design A: X_source ~ N((0, 0), I), X_target ~ N((1, 1/2), 0.64 I), drawn in this order;
Gaussian kernel whose bandwidth is the mean distance to the 50th other row of the pooled
sample. The weights are beta (source) followed by alpha (target), with D the expected
bound on the density ratio that the ball around alpha = 1 and the box on beta express.
"""

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from causalweights.kernels import (
    Gaussian,
    choose_landmarks,
    nystrom_factor,
    pivoted_cholesky,
)
from causalweights.optimize._ball_path import ball_path
from causalweights.optimize._box_qp import Ball, box_qp
from causalweights.optimize._box_systems import LowRankMatrix

# Largest source weight at D = 1.
B = 1000.0
NEIGHBOR = 50


def design_a(n, seed, t=None):
    rng = np.random.default_rng(seed)
    source = rng.normal(size=(n, 2))
    return source, np.array([1.0, 0.5]) + 0.8 * rng.normal(size=(t or n, 2))


def bandwidth(X):
    # Position 0 is the row itself.
    return float(np.sort(cdist(X, X), axis=1)[:, NEIGHBOR].mean())


class DoubleWeighting:
    """v'Gv + kappa (|beta - 1|^2/n + |alpha - 1|^2/t) with v = (beta/n, -alpha/t)."""

    def __init__(self, source, target, kappa):
        self.n, self.t, self.kappa = len(source), len(target), kappa
        self.X = np.vstack([source, target])
        self.bandwidth = bandwidth(self.X)
        self.signs = np.repeat([1.0 / self.n, -1.0 / self.t], [self.n, self.t])
        squares = cdist(self.X, self.X, "sqeuclidean")
        self.gram = np.exp(-squares / (2.0 * self.bandwidth**2))
        self.K = 2.0 * self.signs[:, None] * self.gram * self.signs
        self.ridge = 2.0 * kappa * np.abs(self.signs)
        eps = 1.0 - 1.0 / np.sqrt(self.n)
        self.coupling = {"coupling": self.signs, "coupling_bounds": (-eps, eps)}
        self.rows = np.arange(self.n, self.n + self.t)

    def upper(self, D):
        return np.repeat([B / np.sqrt(D), 1.0], [self.n, self.t])

    def radius(self, D):
        return (1.0 - 1.0 / np.sqrt(D)) * np.sqrt(self.t)

    def solve(self, D, K=None, **options):
        return box_qp(
            self.K if K is None else K, self.ridge, self.ridge, upper=self.upper(D),
            **self.coupling, ball=Ball(self.rows, 1.0, self.radius(D)), **options,
        )  # fmt: skip

    def parts(self, result):
        return result.weights[: self.n], result.weights[self.n :]

    def mmd2(self, result):
        v = self.signs * result.weights
        return float(v @ self.gram @ v)

    def objective(self, result):
        """Return the value with the constant of the ridge."""
        return result.value + 2.0 * self.kappa

    def low_rank(self, tol, rank):
        operator = Gaussian(self.bandwidth).operator(self.X)
        low = pivoted_cholesky(operator, tol=tol, rank=rank)
        factor = np.sqrt(2.0) * self.signs[:, None] * low.factor
        return LowRankMatrix(factor, 2.0 * self.signs**2 * low.residual)


def effective_size(weights):
    return float(weights.sum() ** 2 / (weights @ weights))


@pytest.fixture(scope="module")
def problems():
    """Return ``(n, kappa) -> DoubleWeighting`` of design A, seed 0, built once."""
    built = {}

    def get(n, kappa=1e-3):
        if (n, kappa) not in built:
            built[n, kappa] = DoubleWeighting(*design_a(n, 0), kappa)
        return built[n, kappa]

    return get


# D, objective, MMD^2, mean beta, mean alpha, ESS of the source; kappa = 1e-3.
REFERENCE = {
    200: [
        (1.0, 0.0031947138, 9.8465e-4, 0.98410, 1.0, 60.94),
        (1.5625, 0.0014900756, 2.6696e-4, 0.86272, 0.86909, 78.00),
        (25.0 / 9.0, 0.0008084087, 5.3468e-5, 0.69457, 0.69304, 98.05),
        (4.0, 0.0007369009, 2.7175e-5, 0.60211, 0.59791, 109.21),
        (25.0, 0.0007368188, 2.6609e-5, 0.59875, 0.59447, 109.63),
    ],
    500: [
        (1.0, 0.0034115203, 1.1228e-3, 0.96667, 1.0, 145.01),
        (4.0, 0.0007352648, 3.3317e-5, 0.61360, 0.60891, 277.19),
        (25.0, 0.0007325594, 2.8930e-5, 0.59614, 0.59039, 284.07),
    ],
}
CASES = [(n, *row) for n, rows in REFERENCE.items() for row in rows]


@pytest.mark.parametrize(("n", "D", "objective", "mmd2", "beta", "alpha", "ess"), CASES)
def test_ridge_solutions_equal_the_reference(
    n, D, objective, mmd2, beta, alpha, ess, problems
):
    problem = problems(n)
    result = problem.solve(D)
    source, target = problem.parts(result)
    assert result.solver == "active_set" and result.relative_gap <= 1e-12
    np.testing.assert_allclose(problem.objective(result), objective, atol=1e-9)
    np.testing.assert_allclose(problem.mmd2(result), mmd2, rtol=1e-4)
    np.testing.assert_allclose(source.mean(), beta, atol=1e-4)
    np.testing.assert_allclose(target.mean(), alpha, atol=1e-4)
    np.testing.assert_allclose(effective_size(source), ess, rtol=1e-4)
    active = result.multipliers.ball > 0.0
    assert active is (D < 25.0)


@pytest.mark.parametrize(
    ("n", "mmd2"), [(200, 3.7392e-4), (500, 3.9849e-4), (1000, 1.7195e-4)]
)
def test_without_target_weights_it_is_kernel_mean_matching(n, mmd2, problems):
    problem = problems(n, 0.0)
    result = problem.solve(1.0)
    np.testing.assert_array_equal(result.weights[n:], np.ones(n))
    # Of n = 1000 the printed value is 1.1e-4 above the minimum certified here.
    np.testing.assert_allclose(problem.mmd2(result), mmd2, rtol=1.2e-4)
    assert problem.mmd2(result) <= mmd2 * (1.0 + 1e-4)
    assert result.converged and result.gap <= 1e-8 * mmd2
    # The same program, with the target in the linear term.
    plain = box_qp(
        problem.K[:n, :n], -problem.K[:n, n:].sum(axis=1), upper=B,
        coupling=np.full(n, 1.0 / n),
        coupling_bounds=(n**-0.5, 2.0 - n**-0.5),
    )  # fmt: skip
    constant = 0.5 * problem.K[n:, n:].sum()
    np.testing.assert_allclose(plain.value + constant, result.value, rtol=1e-8)


def test_the_robust_problem_fixes_the_source_weights():
    problem = DoubleWeighting(*design_a(200, 0), 0.0)
    assert problem.bandwidth == pytest.approx(0.8187057775, abs=1e-10)
    lower = np.repeat([1.0, 0.0], [200, 200])
    result = box_qp(
        problem.K, np.zeros(400), lower=lower, upper=1.0, **problem.coupling
    )
    np.testing.assert_array_equal(result.weights[:200], 1.0)
    assert result.converged
    np.testing.assert_allclose(problem.mmd2(result), 0.0740, atol=5e-5)
    unequal = DoubleWeighting(*design_a(60, 0, 45), 0.0)
    lower = np.repeat([1.0, 0.0], [60, 45])
    assert box_qp(
        unequal.K, np.zeros(105), lower=lower, upper=1.0, **unequal.coupling
    ).converged


@pytest.mark.parametrize("kappa", [0.0, 1e-3])
@pytest.mark.parametrize("D", [1.0, 1.5, 4.0, 100.0])
def test_every_pair_is_feasible(D, kappa):
    problem = DoubleWeighting(*design_a(60, 1, 45), kappa)
    result = problem.solve(D)
    source, target = problem.parts(result)
    assert source.min() >= 0.0 and source.max() <= B / np.sqrt(D)
    assert target.min() >= 0.0 and target.max() <= 1.0
    assert np.linalg.norm(target - 1.0) <= problem.radius(D) + 1e-12
    assert abs(source.mean() - target.mean()) <= 1.0 - 60**-0.5
    assert result.converged and np.isfinite(result.gap)


def test_the_objective_falls_along_the_path():
    problem = DoubleWeighting(*design_a(150, 3, 120), 0.0)
    values = {D: problem.solve(D) for D in (1.0, 1.5, 2.0, 4.0)}
    assert all(result.converged for result in values.values())
    mmd2 = [problem.mmd2(result) for result in values.values()]
    np.testing.assert_allclose(mmd2[0], 3.29e-4, rtol=2e-3)
    # The second and third value are those of a conic solver, at a gap of 1e-10.
    np.testing.assert_allclose(mmd2[1:3], [2.43337e-5, 8.0487e-7], rtol=1e-4)
    assert mmd2[3] <= 3e-9
    assert np.all(np.diff(mmd2) <= 1e-12)
    for D, value in zip(values, mmd2):
        assert value <= mmd2[0] / D + 1e-9


@pytest.mark.parametrize("D", [1.0, 4.0])
def test_equal_samples_keep_weights_of_one(D):
    source, _ = design_a(300, 5)
    problem = DoubleWeighting(source, source, 1e-3)
    result = problem.solve(D)
    np.testing.assert_allclose(result.weights, 1.0, atol=1e-10)
    assert abs(problem.objective(result)) <= 1e-14 and result.converged
    exact = DoubleWeighting(source[:80], source[:80], 0.0)
    result = exact.solve(D)
    assert abs(result.value) <= 1e-12 and result.converged


def test_without_a_shift_the_ridge_keeps_the_sample():
    rng = np.random.default_rng(0)
    problem = DoubleWeighting(
        rng.normal(size=(300, 2)), rng.normal(size=(300, 2)), 1e-3
    )
    source, _ = problem.parts(problem.solve(1.0))
    assert effective_size(source) >= 0.8 * 300
    _, target = problem.parts(problem.solve(4.0))
    assert target.mean() >= 0.85


@pytest.mark.parametrize("D", [1.5, 4.0])
@pytest.mark.parametrize("kappa", [1e-3, 1e-2])
def test_small_problems_equal_a_conic_program(D, kappa):
    import cvxpy as cp

    problem = DoubleWeighting(*design_a(40, 0, 30), kappa)
    result = problem.solve(D)
    values, vectors = np.linalg.eigh(problem.gram)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    v = cp.Variable(70)
    # In units of 1/1000, so that the solver's absolute tolerances are small enough.
    penalty = cp.multiply(np.sqrt(0.5 * problem.ridge), v - 1.0)
    fit = root.T @ cp.multiply(problem.signs, v)
    constraints = [
        v >= 0.0,
        v <= problem.upper(D),
        cp.abs(problem.signs @ v) <= problem.coupling["coupling_bounds"][1],
        cp.norm(v[40:] - 1.0) <= problem.radius(D),
    ]
    objective = 1e3 * (cp.sum_squares(fit) + cp.sum_squares(penalty))
    tight = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-10)
    program = cp.Problem(cp.Minimize(objective), constraints)
    program.solve(solver="CLARABEL", **tight)
    value = problem.objective(result)
    np.testing.assert_allclose(value, 1e-3 * program.value, atol=1e-8)
    np.testing.assert_allclose(result.weights, v.value, atol=1e-5)
    assert result.relative_gap <= 1e-12


def test_double_weighting_keeps_more_of_the_sample():
    sizes = {1.0: [], 4.0: []}
    for seed in range(20):
        problem = DoubleWeighting(*design_a(200, seed), 1e-3)
        for D, found in sizes.items():
            found.append(effective_size(problem.parts(problem.solve(D))[0]))
    assert np.mean(sizes[4.0]) > 1.4 * np.mean(sizes[1.0])
    assert sizes[1.0][0] == pytest.approx(61, abs=1)
    assert sizes[4.0][0] == pytest.approx(109, abs=1)


@pytest.mark.parametrize("D", [1.0, 1.5625, 4.0])
def test_a_low_rank_kernel_gives_the_same_discrepancy(D, problems):
    problem = problems(500)
    low = problem.low_rank(1e-6, 500)
    assert low.factor.shape[1] < 500
    dense, thin = problem.solve(D), problem.solve(D, low)
    assert thin.relative_gap <= 1e-12
    # Both are judged by the true kernel.
    np.testing.assert_allclose(problem.mmd2(thin), problem.mmd2(dense), atol=1e-6)
    np.testing.assert_allclose(thin.weights, dense.weights, atol=1e-2)
    np.testing.assert_allclose(thin.value, dense.value, atol=1e-8)


@pytest.mark.slow
def test_nystrom_landmarks_serve_many_rows():
    n, D = 6000, 4.0
    X = np.vstack(design_a(n, 0))
    distances, _ = cKDTree(X).query(X, k=NEIGHBOR + 1)
    kernel = Gaussian(distances[:, NEIGHBOR].mean())
    operator = kernel.operator(X)
    signs = np.repeat([1.0 / n, -1.0 / n], n)

    def solve(low):
        matrix = LowRankMatrix(
            np.sqrt(2.0) * signs[:, None] * low.factor, 2.0 * signs**2 * low.residual
        )
        eps = 1.0 - 1.0 / np.sqrt(n)
        result = box_qp(
            matrix, 2e-3 * np.abs(signs), 2e-3 * np.abs(signs),
            upper=np.repeat([B / np.sqrt(D), 1.0], n), coupling=signs,
            coupling_bounds=(-eps, eps),
            ball=Ball(np.arange(n, 2 * n), 1.0, (1.0 - 1.0 / np.sqrt(D)) * np.sqrt(n)),
        )  # fmt: skip
        assert result.converged
        return operator.quadratic_form(signs * result.weights), result.value

    nearly_exact = pivoted_cholesky(operator, tol=1e-10, rank=2500)
    assert nearly_exact.trace_error < 1e-7
    mmd2, value = solve(nearly_exact)
    landmarks = choose_landmarks(kernel, X, 1000, method="kmeans++", random_state=0)
    thin_mmd2, thin_value = solve(nystrom_factor(operator, landmarks))
    assert thin_mmd2 == pytest.approx(mmd2, rel=0.05)
    assert thin_value == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize("low_rank", [False, True])
def test_a_path_stops_where_the_ball_becomes_inactive(low_rank, problems):
    problem = problems(200)
    shares = np.arange(10) / 10.0
    grid = 1.0 / (1.0 - shares) ** 2
    K = problem.low_rank(1e-8, 300) if low_rank else problem.K
    path = ball_path(
        K, problem.ridge, problem.ridge, **problem.coupling, rows=problem.rows,
        center=1.0, radii=[problem.radius(D) for D in grid],
        uppers=[problem.upper(D) for D in grid],
    )  # fmt: skip
    assert path.first_inactive == 6 and path.n_solved == 7
    for D, result in zip(grid, path.results):
        single = problem.solve(D, K)
        np.testing.assert_allclose(result.weights, single.weights, atol=1e-9)
        assert result.relative_gap <= 1e-8
    values = [result.value for result in path.results]
    assert np.all(np.diff(values) <= 1e-15)
