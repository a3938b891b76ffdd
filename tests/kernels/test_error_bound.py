"""The bound of a low-rank objective, and the trap that the diagonal keeps out of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalweights.kernels import (
    Energy,
    Gaussian,
    LowRankFactor,
    Matern,
    objective_error_bound,
)
from causalweights.optimize import simplex_qp

ROUNDING = 1e-12
KERNELS = {"gaussian": Gaussian(1.0), "energy": Energy(), "matern": Matern(1.0)}


def replaced(low, c, mask):
    """Return ``c'(L L' + diag(mask * residual))c``."""
    return np.sum((low.factor.T @ c) ** 2) + np.sum(mask * low.residual * c**2)


@settings(max_examples=60)
@given(
    name=st.sampled_from(list(KERNELS)),
    n=st.integers(1, 40),
    rank=st.integers(0, 12),
    kind=st.sampled_from(["simplex", "signed", "vertex"]),
    corrected=st.sampled_from(["all", "none", "some"]),
    seed=st.integers(0, 10_000),
)
def test_bounds_hold(name, n, rank, kind, corrected, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    kernel = KERNELS[name]
    K = kernel(X)
    low = kernel.operator(X).low_rank(tol=0.0, rank=rank)
    c = {
        "simplex": rng.dirichlet(np.full(n, 0.3)),
        "signed": rng.normal(size=n),
        "vertex": np.eye(n)[0],
    }[kind]
    mask = {"all": True, "none": False, "some": rng.uniform(size=n) < 0.5}[corrected]
    error = c @ K @ c - replaced(low, c, mask)
    bound = objective_error_bound(low, c, corrected=mask)
    slack = ROUNDING * (1 + np.abs(c) @ np.abs(K) @ np.abs(c))
    assert bound.lower - slack <= error <= bound.upper + slack
    assert max(-bound.lower, bound.upper) <= bound.crude + slack


def test_bounds_are_reached():
    """A residual of rank one reaches the upper bound, one of opposite signs the lower.

    On a vertex the corrected form is exact.
    """
    left = np.array([0.5, 1.0, 2.0])
    nothing = LowRankFactor(
        np.zeros((3, 0)), np.zeros(0, dtype=np.intp), left**2, trace_error=1.0
    )
    c = np.array([0.2, 0.5, 0.3])
    K = np.outer(left, left)
    error = c @ K @ c - np.sum(left**2 * c**2)
    bound = objective_error_bound(nothing, c)
    assert error == pytest.approx(bound.upper)
    plain = objective_error_bound(nothing, c, corrected=False)
    assert c @ K @ c == pytest.approx(plain.upper)
    assert plain.lower <= 0.0
    # Signs (+, -): the smallest value that two rows of these diagonals can have.
    two = LowRankFactor(nothing.factor[:2], nothing.pivots, left[:2] ** 2, 1.0)
    K = np.outer(left[:2], left[:2]) * [[1, -1], [-1, 1]]
    error = c[:2] @ K @ c[:2] - np.sum(left[:2] ** 2 * c[:2] ** 2)
    assert error == pytest.approx(objective_error_bound(two, c[:2]).lower)
    vertex = objective_error_bound(nothing, [0.0, 0.0, 1.0])
    assert vertex.lower == pytest.approx(0.0)
    assert vertex.upper == pytest.approx(0.0)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("rank", [4, 20, 60])
def test_joint_factor_bounds_a_discrepancy(name, rank, two_samples):
    S, T = two_samples(50, 40, 3)
    kernel = KERNELS[name]
    joint = kernel.operator(np.vstack([S, T]))
    low = joint.low_rank(tol=0.0, rank=rank)
    rng = np.random.default_rng(1)
    v = rng.dirichlet(np.ones(40))
    for w in (np.full(50, 1 / 50), rng.dirichlet(np.full(50, 0.2))):
        c = np.concatenate([w, -v])
        mask = np.arange(90) < 50
        exact = w @ kernel(S) @ w - 2 * w @ kernel(S, T) @ v + v @ kernel(T) @ v
        error = exact - replaced(low, c, mask)
        bound = objective_error_bound(low, c, corrected=mask)
        assert bound.lower - ROUNDING <= error <= bound.upper + ROUNDING
    # The linear term by itself, as documented.
    root = np.sqrt(low.residual)
    gap = kernel(S, T) @ v - low.factor[:50] @ (low.factor[50:].T @ v)
    assert np.all(np.abs(gap) <= root[:50] * (root[50:] @ v) + ROUNDING)


def test_minimizer_is_as_good_as_the_bounds_say(two_samples):
    X, T = two_samples(80, 60, 3)
    K, q = Gaussian(1.0)(X), Gaussian(1.0)(X, T).mean(axis=1)
    low = Gaussian(1.0).operator(X).low_rank(tol=0.0, rank=10)
    model = low.factor @ low.factor.T + np.diag(low.residual)
    w = simplex_qp(model, q, ridge=1e-3).weights
    v = simplex_qp(K, q, ridge=1e-3).weights

    def value(u):
        return u @ K @ u - 2 * q @ u + 1e-3 * u @ u

    allowed = objective_error_bound(low, w).upper - objective_error_bound(low, v).lower
    assert 0.0 < value(w) - value(v) <= allowed


@pytest.mark.parametrize(
    ("c", "corrected", "message"),
    [
        ([1.0], True, "one coefficient a row"),
        ([np.nan, 0.0, 1.0], True, "NaN or infinity"),
        ([1.0, 0.0, 0.0], [True], "a mask of shape"),
        ([1.0, 0.0, 0.0], [1, 0, 0], "a mask of shape"),
    ],
)
def test_refuses_what_does_not_fit(c, corrected, message):
    low = Energy().operator(np.eye(3)).low_rank()
    with pytest.raises(ValueError, match=message):
        objective_error_bound(low, c, corrected=corrected)


# ---- the trap of truncation ------------------------------------------------------

RIDGE = 1e-4


def kang_schafer(n, rng):
    """Return standardized covariates of controls and treated, design Z."""
    Z = rng.normal(size=(n, 4))
    X = np.column_stack(
        [
            np.exp(Z[:, 0] / 2),
            Z[:, 1] / (1 + np.exp(Z[:, 0])) + 10,
            (Z[:, 0] * Z[:, 2] / 25 + 0.6) ** 3,
            (Z[:, 1] + Z[:, 3] + 20) ** 2,
        ]
    )
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    logit = Z @ [-1.0, 0.5, -0.25, -0.1]
    treated = rng.uniform(size=n) < 1 / (1 + np.exp(-logit))
    return X[~treated], X[treated]


def ess(weights):
    return 1 / np.sum(weights**2)


@pytest.mark.parametrize("seed", [0, 1])
def test_truncation_collapses_and_the_diagonal_corrects(seed):
    """An optimizer exploits the directions that a truncated kernel leaves out.

    Energy weights of about 500 controls towards the treated, from a twelfth of the
    columns: the effective sample size collapses, and is kept with the residual on the
    diagonal. The linear term has to come from the same factor.
    """
    S, T = kang_schafer(1000, np.random.default_rng(seed))
    n = len(S)
    K, q = Energy()(S), Energy()(S, T).mean(axis=1)
    low = Energy().operator(np.vstack([S, T])).low_rank(tol=0.0, rank=n // 12)
    L, q_low = low.factor[:n], low.factor[:n] @ low.factor[n:].mean(axis=0)
    truncated = L @ L.T
    corrected = truncated + np.diag(low.residual[:n])

    def solve(matrix, linear):
        result = simplex_qp(matrix, linear, ridge=RIDGE)
        assert result.converged
        w = result.weights
        return w, w @ K @ w - 2 * q @ w + RIDGE * w @ w

    exact, optimum = solve(K, q)
    collapsed, value_collapsed = solve(truncated, q_low)
    kept, value_kept = solve(corrected, q_low)
    _, value_mixed = solve(corrected, q)
    _, value_mixed_truncated = solve(truncated, q)

    assert ess(collapsed) < 0.35 * ess(exact)
    assert ess(kept) >= 0.8 * ess(exact)
    assert value_kept - optimum < 0.25 * (value_collapsed - optimum)
    assert value_mixed - optimum > 10 * (value_kept - optimum)
    assert value_mixed_truncated - optimum > 5 * (value_collapsed - optimum)
