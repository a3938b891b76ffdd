"""Column generation against the dense routes, through an operator."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from causalweights.optimize import simplex_qp
from causalweights.optimize._working_set import WorkingMatrix


class CountingOperator:
    """A matrix behind the operator interface; counts the entries it hands out."""

    def __init__(self, K):
        self._K = K
        self.shape, self.dtype = K.shape, K.dtype
        self.entries = 0

    def block(self, rows, columns=None):
        columns = rows if columns is None else columns
        self.entries += rows.size * columns.size
        return self._K[np.ix_(rows, columns)]

    def matvec(self, v, columns=None):
        columns = np.arange(self.shape[0]) if columns is None else columns
        assert len(v) == len(columns)
        return self._K[:, columns] @ v

    def diagonal(self):
        return self._K.diagonal()


@pytest.fixture
def few_targets():
    """Return K, q and nearest rows of 3000 source rows to 40 distant target rows."""
    rng = np.random.default_rng(12)
    X, Z = rng.normal(size=(3000, 4)), 0.6 * rng.normal(size=(40, 4)) + 1.2
    distances = cdist(X, Z)
    K = np.exp(-cdist(X, X, "sqeuclidean") / 8.0)
    return K, np.exp(-(distances**2) / 8.0).mean(axis=1), distances.argmin(axis=0)


def test_a_sparse_optimum_is_found_without_the_matrix(few_targets):
    K, q, nearest = few_targets
    expected = simplex_qp(K, q, 1e-3, solver="active_set")
    for rows in (None, nearest):
        operator = CountingOperator(K)
        result = simplex_qp(operator, q, 1e-3, solver="working_set", working_set=rows)
        assert result.solver == "working_set" and result.converged
        assert result.relative_gap <= 1e-12
        np.testing.assert_allclose(result.weights, expected.weights, atol=1e-10)
        np.testing.assert_allclose(result.value, expected.value, rtol=1e-10)
        np.testing.assert_allclose(result.multipliers, expected.multipliers, rtol=1e-9)
        assert operator.entries < 0.2 * K.size


def test_a_dense_optimum_goes_dense(balancing_problem):
    K, q = balancing_problem("energy", 1200)
    result = simplex_qp(CountingOperator(K), q, 1e-2, solver="working_set")
    expected = simplex_qp(K, q, 1e-2)
    assert result.solver == "active_set" and "outgrown" in result.status
    np.testing.assert_allclose(result.weights, expected.weights, atol=1e-10)


@pytest.mark.parametrize("solver", ["auto", "active_set", "interior_point"])
def test_operators_take_the_dense_routes_too(solver, balancing_problem):
    K, q = balancing_problem("laplace", 100)
    expected = simplex_qp(K, q, 1e-2).weights
    result = simplex_qp(CountingOperator(K), q, 1e-2, solver=solver)
    np.testing.assert_allclose(result.weights, expected, atol=1e-10)


def test_groups_and_bounds(few_targets):
    K, q = few_targets[0][:1200, :1200], few_targets[1][:1200]
    groups = np.arange(1200) % 2
    options = {"groups": groups, "lower": np.zeros(1200), "upper": 0.02}
    options["lower"][:6] = 1e-3
    expected = simplex_qp(K, q, 1e-4, **options)
    result = simplex_qp(
        CountingOperator(K), q, 1e-4, solver="working_set", working_set=[7], **options
    )
    assert result.solver == "working_set" and result.converged
    np.testing.assert_allclose(result.weights, expected.weights, atol=1e-10)
    assert np.any(result.weights == 0.02)


def test_no_ridge(few_targets):
    K, q, _ = few_targets
    K, q = K[:1500, :1500], q[:1500]
    result = simplex_qp(CountingOperator(K), q, solver="working_set")
    assert result.converged and result.relative_gap <= 1e-7
    dense = simplex_qp(K, q, solver="interior_point")
    assert result.value <= dense.value + 1e-9 * abs(dense.value)


def test_warm_start(few_targets):
    K, q, _ = few_targets
    cold = simplex_qp(K, q, 1e-3, solver="working_set")
    warm = simplex_qp(K, q, 1e-3, solver="working_set", start=cold.weights)
    assert warm.n_iter == 1 < cold.n_iter
    np.testing.assert_allclose(warm.weights, cold.weights, atol=1e-12)


def test_a_round_limit_is_reported_honestly(few_targets):
    K, q, _ = few_targets
    result = simplex_qp(
        K, q, 1e-3, solver="working_set", working_set=[0, 1, 2], max_iter=1
    )
    assert not result.converged and result.relative_gap > 1e-6
    np.testing.assert_allclose(result.weights.sum(), 1.0)


def test_a_single_precision_operator(few_targets):
    K, q, _ = few_targets
    operator = CountingOperator(K.astype(np.float32))
    result = simplex_qp(operator, q, 1e-3, solver="working_set")
    expected = simplex_qp(K, q, 1e-3, solver="active_set")
    np.testing.assert_allclose(result.weights, expected.weights, atol=1e-5)
    assert result.weights.dtype == np.float64 and np.isfinite(result.gap)


def test_the_working_matrix_evaluates_each_entry_once():
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(60, 5))
    K = factor @ factor.T
    operator = CountingOperator(K)
    matrix = WorkingMatrix(operator, np.array([5, 1, 9]))
    for new in (np.arange(20, 24), np.arange(30, 55), np.array([0])):
        matrix.extend(new)
        np.testing.assert_array_equal(matrix.K, K[np.ix_(matrix.rows, matrix.rows)])
    # One triangle and the diagonal blocks: less than the whole square.
    assert operator.entries < matrix.rows.size**2
    matrix.keep(np.array([0, 4, 6]))
    np.testing.assert_array_equal(matrix.K, K[np.ix_(matrix.rows, matrix.rows)])


def test_unsettled_sets_of_many_rows_turn_to_columns(few_targets):
    K, q, _ = few_targets
    K, q = K[:1300, :1300], q[:1300]
    result = simplex_qp(K, q, 1e-5, upper=0.05, max_iter=3)
    expected = simplex_qp(K, q, 1e-5, upper=0.05)
    assert "active set left" in result.status
    assert expected.converged and expected.relative_gap <= 1e-10
    assert result.value >= expected.value - 1e-12 * abs(expected.value)
