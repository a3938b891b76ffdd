"""Updated factors against direct solution of the bordered system."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import LinAlgError

from causalweights.kernels import Gaussian
from causalweights.optimize import _dense_systems, simplex_qp
from causalweights.optimize._factor import BorderedFactor, UpdatedFactor


def definite(n, seed=0):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, n))
    return root @ root.T / n + 0.1 * np.eye(n), rng


@pytest.mark.parametrize(
    ("gone", "came"),
    [([3, 7, 11], [21, 4]), ([], [4, 21, 29]), ([0, 1, 28], []), ([], [])],
)
def test_updated_factors_solve_the_system_of_the_new_rows(gone, came):
    A, rng = definite(30)
    old = np.setdiff1d(np.arange(30), [4, 21, 29])
    free = np.union1d(np.setdiff1d(old, gone), came).astype(np.intp)
    B, r, s = np.ones((30, 1)), rng.normal(size=30), np.array([2.0])
    base = BorderedFactor(A[np.ix_(old, old)].copy(), B[old], r[old])
    factor = UpdatedFactor(
        base, old, free, lambda i, j: A[np.ix_(i, j)], B[free], r[free]
    )
    x, y = factor.solve_first(s)
    block = A[np.ix_(free, free)]
    border = B[free]
    whole = np.block([[block, -border], [border.T, np.zeros((1, 1))]])
    expected = np.linalg.solve(whole, np.append(r[free], s))
    assert_allclose(np.append(x, y), expected, atol=1e-12)
    again = UpdatedFactor(  # an update of an update
        factor, free, old, lambda i, j: A[np.ix_(i, j)], B[old], r[old]
    )
    first, second = again.solve(r[old], s), base.solve(r[old], s)
    assert_allclose(first[0], second[0], atol=1e-12)
    assert_allclose(first[1], second[1], atol=1e-12)


def test_rows_that_come_as_copies_are_refused():
    A, rng = definite(12)
    twin = np.append(np.arange(12), 5)
    A = A[np.ix_(twin, twin)]
    old, free = np.arange(12), np.arange(13)
    B, r = np.ones((13, 1)), rng.normal(size=13)
    base = BorderedFactor(A[:12, :12].copy(), B[:12], r[:12])
    with pytest.raises(LinAlgError, match="singular"):
        UpdatedFactor(base, old, free, lambda i, j: A[np.ix_(i, j)], B, r)


@pytest.mark.parametrize("ridge", [1e-1, 1e-2])
def test_the_active_set_ends_where_it_does_without_updates(monkeypatch, ridge):
    rng = np.random.default_rng(3)
    X, T = rng.normal(size=(400, 5)), rng.normal(0.5, 1.0, size=(200, 5))
    kernel = Gaussian(bandwidth=3.0)
    K, q = kernel.operator(X).dense(), kernel.operator(X, T).row_mean()
    made = []

    class Counted(UpdatedFactor):
        def __init__(self, *arguments):
            made.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setattr(_dense_systems, "UpdatedFactor", Counted)
    updated = simplex_qp(K, q, ridge, solver="active_set")
    assert made
    monkeypatch.setattr(_dense_systems, "UPDATE_SHARE", 0.0)
    fresh = simplex_qp(K, q, ridge, solver="active_set")
    assert updated.converged and updated.n_iter == fresh.n_iter
    assert_allclose(updated.weights, fresh.weights, atol=1e-12)
