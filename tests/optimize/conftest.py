"""Balancing problems and independent references for the quadratic programs."""

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.spatial.distance import cdist


def kernel_pair(kernel, X, Z):
    """Return the kernel between rows of X and, as a function, of X and Z."""
    if kernel == "energy":
        # The distance-induced kernel with origin 0, positive semi-definite.
        x, z = np.linalg.norm(X, axis=1), np.linalg.norm(Z, axis=1)
        return x[:, None] + z - cdist(X, Z)
    metric = {"gaussian": "sqeuclidean", "laplace": "cityblock"}[kernel]
    scale = {"gaussian": 2.0 * X.shape[1], "laplace": 1.2 * X.shape[1]}[kernel]
    return np.exp(-cdist(X, Z, metric) / scale)


@pytest.fixture
def balancing_problem():
    """Return ``(kernel, n, d, seed) -> K, q``: source rows to a shifted target."""

    def build(kernel, n, d=3, seed=0):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n, d))
        Z = 0.8 * rng.normal(size=(n // 2 + 1, d)) + 0.4
        return kernel_pair(kernel, X, X), kernel_pair(kernel, X, Z).mean(axis=1)

    return build


@pytest.fixture
def joint_problem():
    """Return ``(n, d, seed) -> K, q, groups``: two arms to the sample and together."""

    def build(n, d=3, seed=0):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n, d))
        groups = (rng.random(n) < 1.0 / (1.0 + np.exp(-X[:, 0]))).astype(int)
        groups[:2] = 0, 1
        K = kernel_pair("gaussian", X, X)
        sign = 2.0 * groups - 1.0
        same = groups[:, None] == groups
        return K * same + sign[:, None] * sign * K, K.mean(axis=1), groups

    return build


@pytest.fixture
def lp_gap():
    """Return the Frank-Wolfe gap by a general linear program, from raw arrays."""

    def gap(K, q, ridge, result, groups=None, lower=0.0, upper=None):
        w = result.weights
        gradient = K @ w + ridge * w - q
        groups = np.zeros(w.size, int) if groups is None else groups
        A = (groups == np.arange(groups.max() + 1)[:, None]).astype(float)
        lower = np.broadcast_to(lower, w.shape)
        top = np.broadcast_to(2.0 if upper is None else np.minimum(upper, 2.0), w.shape)
        bounds = np.column_stack([lower, top])
        # A linear program does not mind a constant per group, rounding does.
        program = linprog(gradient, A_eq=A, b_eq=np.ones(len(A)), bounds=bounds)
        return float(gradient @ (w - program.x))

    return gap


@pytest.fixture
def clarabel():
    """Return the weights that cvxpy and Clarabel find, and their objective."""

    def solve(K, q, ridge, groups=None, lower=0.0, upper=None):
        import cvxpy as cp

        n = q.size
        H = K + np.diag(np.broadcast_to(ridge, (n,)))
        w = cp.Variable(n)
        groups = np.zeros(n, int) if groups is None else groups
        sums = [cp.sum(w[np.flatnonzero(groups == g)]) == 1 for g in np.unique(groups)]
        constraints = [*sums, w >= lower]
        if upper is not None:
            constraints.append(w <= upper)
        objective = cp.Minimize(0.5 * cp.quad_form(w, cp.psd_wrap(H)) - q @ w)
        cp.Problem(objective, constraints).solve(
            solver="CLARABEL",
            tol_gap_abs=1e-13,
            tol_gap_rel=1e-13,
            tol_feas=1e-13,
        )
        return w.value, float(0.5 * w.value @ H @ w.value - q @ w.value)

    return solve
