"""Low-rank problems against dense ones, and their memory."""

import tracemalloc

import numpy as np
import pytest
from scipy.linalg import LinAlgError

from causalweights.optimize import LowRankOperator, _low_rank_qp, simplex_qp
from causalweights.optimize._low_rank_qp import WoodburyFactor

SOLVERS = ("auto", "active_set", "interior_point", "working_set")


@pytest.fixture
def factored(balancing_problem):
    """Return ``(kernel, n, r) -> L, residual, q`` by the eigenvectors of a kernel."""

    def build(kernel, n, r):
        K, q = balancing_problem(kernel, n)
        values, vectors = np.linalg.eigh(K)
        L = vectors[:, n - r :] * np.sqrt(np.maximum(values[n - r :], 0.0))
        return L, np.maximum(K.diagonal() - np.sum(L**2, axis=1), 0.0), q

    return build


def dense(L, residual):
    return L @ L.T + np.diag(np.broadcast_to(residual, len(L)))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kernel", ["gaussian", "energy"])
@pytest.mark.parametrize("r", [120, 30, 0])
@pytest.mark.parametrize("ridge", [1e-6, 1e-2])
def test_equals_the_dense_problem(solver, kernel, r, ridge, factored, lp_gap):
    L, residual, q = factored(kernel, 120, r)
    K = dense(L, residual)
    expected = simplex_qp(K, q, ridge)
    result = simplex_qp(LowRankOperator(L, residual), q, ridge, solver=solver)
    assert result.converged
    assert lp_gap(K, q, ridge, result) <= 1e-12
    np.testing.assert_allclose(result.value, expected.value, rtol=1e-12)
    np.testing.assert_allclose(result.weights, expected.weights, atol=1e-8)


@pytest.mark.parametrize("solver", ["active_set", "interior_point"])
def test_full_rank_by_the_identity_alone(solver, factored, monkeypatch):
    # One column is missing: with n columns, and on few free rows, blocks are dense.
    L, residual, q = factored("energy", 100, 99)
    expected = simplex_qp(dense(L, residual), q, 1e-3)
    for solvers in ("LowRankFreeSystems", "LowRankNewtonSystems"):
        monkeypatch.setattr(
            getattr(_low_rank_qp, solvers),
            "factor",
            lambda self, first, B, last: woodbury(self.problem, first, B, last),
        )

    def woodbury(problem, first, B, last):
        if first.dtype.kind == "f":
            return WoodburyFactor(problem.L, first, B, problem.q, last, ratio=0.0)
        return WoodburyFactor(problem.L[first], problem.delta[first], B, last)

    operator = LowRankOperator(L, residual)
    result = simplex_qp(operator, q, 1e-3, solver=solver)
    np.testing.assert_allclose(result.weights, expected.weights, atol=1e-8)
    assert result.converged


@pytest.mark.parametrize("solver", ["auto", "interior_point"])
@pytest.mark.parametrize("shift", [0.3, 2.0])
def test_singular_problems(solver, shift):
    # Targets inside the cloud (a flat optimum) and outside (a unique one).
    rng = np.random.default_rng(1)
    L = rng.normal(size=(400, 4))
    q = L @ np.full(4, shift)
    result = simplex_qp(LowRankOperator(L), q, solver=solver)
    expected = simplex_qp(L @ L.T, q)
    assert result.converged and result.relative_gap <= 1e-11
    np.testing.assert_allclose(result.value, expected.value, rtol=1e-11)


@pytest.mark.parametrize("solver", ["auto", "interior_point"])
def test_groups_bounds_and_fixed_rows(solver, factored):
    L, residual, q = factored("gaussian", 90, 20)
    options = {"groups": np.arange(90) % 2, "lower": np.zeros(90)}
    options["upper"] = np.full(90, 0.08)
    options["lower"][:5] = options["upper"][:5] = 0.01
    expected = simplex_qp(dense(L, residual), q, 1e-3, **options)
    result = simplex_qp(LowRankOperator(L, residual), q, 1e-3, solver=solver, **options)
    np.testing.assert_allclose(result.weights, expected.weights, atol=1e-9)
    assert np.all(result.weights[:5] == 0.01)


def test_many_rows_need_no_square_matrix():
    n, r = 20_000, 100
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(5, r))
    L = np.cos(rng.normal(size=(n, 5)) @ directions + rng.uniform(0, 6, r))
    L = (L / np.sqrt(r)).astype(np.float32)
    target = np.cos(0.5 + rng.uniform(0, 6, r)) / np.sqrt(r)
    operator = LowRankOperator(L, 0.01)
    q = operator.L.astype(np.float64) @ target
    tracemalloc.start()
    result = simplex_qp(operator, q, 1e-2, solver="interior_point")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.converged and result.relative_gap <= 1e-9
    # L in double precision takes as much; the matrix would take 3.2 GB.
    assert peak <= 8 * n * r


def test_single_precision_factors_lose_nothing_to_sums(factored):
    L, residual, q = factored("gaussian", 300, 40)
    single = L.astype(np.float32)
    expected = simplex_qp(LowRankOperator(single.astype(np.float64), residual), q, 1e-3)
    result = simplex_qp(LowRankOperator(single, residual), q, 1e-3)
    np.testing.assert_allclose(result.weights, expected.weights, atol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_operator_is_the_matrix(dtype, monkeypatch):
    monkeypatch.setattr(_low_rank_qp, "PIECE", 7)
    rng = np.random.default_rng(0)
    L, residual = rng.normal(size=(30, 4)).astype(dtype), rng.random(30)
    operator = LowRankOperator(L, residual)
    K = dense(L.astype(np.float64), residual)
    rows, columns = np.array([3, 8, 20]), np.array([8, 1, 29, 3])
    v = rng.normal(size=30)
    close = {"atol": 1e-6 if dtype == np.float32 else 1e-13}
    np.testing.assert_allclose(operator.block(rows), K[np.ix_(rows, rows)], **close)
    block = operator.block(rows, columns)
    np.testing.assert_allclose(block, K[np.ix_(rows, columns)], atol=1e-13)
    np.testing.assert_allclose(operator.diagonal(), K.diagonal(), atol=1e-13)
    np.testing.assert_allclose(operator.matvec(v), K @ v, atol=1e-13)
    some = operator.matvec(v[:4], columns=columns)
    np.testing.assert_allclose(some, K[:, columns] @ v[:4], atol=1e-13)
    part = operator.restrict(rows)
    np.testing.assert_allclose(part.block(np.arange(3)), K[np.ix_(rows, rows)])


@pytest.mark.parametrize("smallest", [1.0, 1e-8, 1e-12])
def test_woodbury_solves_bordered_systems(smallest):
    rng = np.random.default_rng(0)
    n, r = 60, 8
    L, B = rng.normal(size=(n, r)), rng.normal(size=(n, 2))
    diagonal = smallest ** rng.random(n)
    corner = np.array([0.0, 0.3])
    right, sums = rng.normal(size=n), rng.normal(size=2)
    factor = WoodburyFactor(L, diagonal, B, right, corner)
    for x, y in (factor.solve(right, sums), factor.solve_first(sums)):
        first = L @ (L.T @ x) + diagonal * x - B @ y
        scale = np.abs(x).max()
        np.testing.assert_allclose(first, right, atol=1e-10 * scale)
        np.testing.assert_allclose(B.T @ x + corner * y, sums, atol=1e-10 * scale)


def test_woodbury_corrects_its_own_rounding(monkeypatch):
    rng = np.random.default_rng(0)
    L, diagonal = rng.normal(size=(60, 8)), 1e-10 ** rng.random(60)
    right, B = rng.normal(size=60), np.ones((60, 1))

    def error():
        x, y = WoodburyFactor(L, diagonal, B, right).solve(right, np.zeros(1))
        return np.abs(L @ (L.T @ x) + diagonal * x - y - right).max()

    refined = error()
    monkeypatch.setattr(_low_rank_qp, "REFINEMENTS", 0)
    assert 3.0 * refined < error()


def test_woodbury_refuses_a_diagonal_without_digits():
    L, diagonal = np.ones((5, 1)), np.array([1.0, 1.0, 1.0, 1.0, 1e-15])
    with pytest.raises(LinAlgError, match="too small"):
        WoodburyFactor(L, diagonal, np.ones((5, 1)), np.ones(5))


@pytest.mark.parametrize(
    "L, residual, message",
    [
        (np.ones(4), 0.0, r"L must have shape \(n, r\) with n > 0, got \(4,\)"),
        (np.ones((0, 2)), 0.0, "L must have shape"),
        (np.ones((4, 2)), np.ones(3), r"residual must have shape \(4,\), got \(3,\)"),
        (np.ones((4, 2)), -1e-12, "residual must be non-negative; clip rounding"),
        (np.full((4, 2), np.nan), 0.0, "L contains NaN"),
        (np.ones((4, 2)), np.inf, "residual contains NaN or infinity"),
    ],
)
def test_refusals(L, residual, message):
    with pytest.raises(ValueError, match=message):
        LowRankOperator(L, residual)
