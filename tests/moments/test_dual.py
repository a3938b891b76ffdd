"""The inner problem against cvxpy, scipy and its own limits."""

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp

from causalweights.moments._divergences import DIVERGENCES
from causalweights.moments._dual import inner_dual
from causalweights.moments._hull import hull_depth, separates

# Clarabel's own accuracy.
VALUE = 1e-7
WEIGHTS = 1e-4
N = 60


def exact_features(points, bandwidth=1.0):
    squares = ((points[:, None] - points[None]) ** 2).sum(axis=-1)
    values, vectors = np.linalg.eigh(np.exp(-squares / (2 * bandwidth**2)))
    kept = values > 1e-10 * values.max()
    return vectors[:, kept] * np.sqrt(values[kept])


@pytest.fixture(scope="module")
def sample():
    """Moments whose hull holds zero, and features of the rows."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(N, 3))
    M = np.column_stack([rows[:, 2], rows[:, 2:] * rows[:, :2]]) + 0.1
    w = rng.uniform(0.5, 1.5, N)
    return M, exact_features(rows), w / w.sum()


def solve(sample, kappa, lam, divergence="kl", **options):
    M, Phi, w = sample
    return inner_dual(M, Phi, w @ Phi, w, kappa, lam, divergence=divergence, **options)


def primal(sample, kappa, lam, divergence):
    M, Phi, w = sample
    q = cp.Variable(len(M))
    cost = {
        "kl": cp.sum(cp.kl_div(q, w)),
        "log": -(w @ cp.log(cp.multiply(q, 1 / w))),
        "chi2": 0.5 * cp.sum(cp.multiply(cp.square(q - w), 1 / w)),
    }[divergence]
    constraints = [cp.sum(q) == 1]
    if np.isfinite(kappa):
        cost = cost + cp.sum_squares(Phi.T @ (q - w)) / (2 * kappa)
    if lam:
        cost = cost + cp.sum_squares(M.T @ q) / (2 * lam)
    else:
        constraints.append(M.T @ q == 0)
    problem = cp.Problem(cp.Minimize(cost), constraints)
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11)
    return problem.value, q.value


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("kappa", [0.01, 1.0, np.inf])
@pytest.mark.parametrize("lam", [0.0, 0.1])
def test_value_and_weights_are_those_of_the_primal(sample, divergence, kappa, lam):
    found = solve(sample, kappa, lam, divergence)
    value, weights = primal(sample, kappa, lam, divergence)
    assert found.converged and found.value > 0.01
    assert found.value == pytest.approx(value, abs=VALUE)
    np.testing.assert_allclose(found.p, weights, atol=WEIGHTS * weights.max())
    assert abs(found.gap) < 1e-12


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("lam", [0.0, 0.1])
def test_moments_hold_under_the_implied_weights(sample, divergence, lam):
    R = np.array([[2.0, 0.3, 0.0], [0.3, 1.0, 0.0], [0.0, 0.0, 0.5]])
    found = solve(sample, 1.0, lam, divergence, R=R)
    np.testing.assert_allclose(found.p @ sample[0], lam * R @ found.b, atol=1e-8)
    assert found.p.sum() == pytest.approx(1.0, abs=1e-8)
    assert divergence == "chi2" or np.all(found.p > 0)


def test_weights_follow_from_the_multipliers(sample):
    """p = w exp(phi'a + eta - m'b): eta is that of the features as given."""
    M, Phi, w = sample
    found = solve(sample, 0.1, 0.0)
    u = Phi @ found.a + found.eta - M @ found.b
    np.testing.assert_allclose(w * np.exp(u), found.p, rtol=1e-9)
    log = solve(sample, 0.1, 0.0, "log")
    u = Phi @ log.a + log.eta - M @ log.b
    np.testing.assert_allclose(w / (1 - u), log.p, rtol=1e-9)


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("lam", [0.0, 0.1])
def test_gap_bounds_what_an_unfinished_solution_misses(sample, divergence, lam):
    best = solve(sample, 0.1, lam, divergence).value
    steps = [solve(sample, 0.1, lam, divergence, max_iter=k) for k in range(4)]
    for unfinished in steps:
        assert unfinished.gap >= best - unfinished.value - 1e-14
    assert divergence == "chi2" or best - steps[1].value > 1e-4  # a gap to bound
    assert not steps[0].converged


def test_two_regularisers_stand_for_the_papers_three(sample):
    """R(theta) of the paper is eps V at kappa = rho eps and lam = lambda eps."""
    M, Phi, w = sample

    def semi_dual(x, rho, eps, penalty):
        f, h = x[: Phi.shape[1]], x[Phi.shape[1] :]
        tilt = (Phi @ f - M @ h) / eps
        return -(
            w @ Phi @ f - rho / 2 * f @ f - penalty / 2 * h @ h
            - eps * logsumexp(tilt, b=w)
        )  # fmt: skip

    for rho, eps, penalty in [(1.0, 0.5, 0.2), (2.0, 0.25, 0.4)]:
        start = np.zeros(Phi.shape[1] + M.shape[1])
        found = minimize(
            semi_dual, start, (rho, eps, penalty), method="BFGS",
            options={"gtol": 1e-7},
        )  # fmt: skip
        ours = solve(sample, rho * eps, penalty * eps).value
        assert -found.fun / eps == pytest.approx(ours, abs=1e-7)


@pytest.mark.parametrize("kappa", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_small_moments_are_weighted_by_the_ridge_residuals(sample, kappa, divergence):
    M, Phi, w = sample
    scale = 1e-5
    M = M - (1 - scale) * (w @ M)  # keeps the spread, shrinks the mean
    centered, Pc = M - w @ M, Phi - w @ Phi
    smooth = np.eye(N) + Pc @ Pc.T @ np.diag(w) / kappa
    omega = centered.T @ np.diag(w) @ np.linalg.solve(smooth, centered)
    expected = 0.5 * (w @ M) @ np.linalg.solve(omega, w @ M)
    found = solve((M, Phi, w), kappa, 0.0, divergence)
    assert found.value == pytest.approx(expected, rel=1e-4)


def test_value_falls_in_both_regularisers(sample):
    values = [[solve(sample, k, lam).value for k in (0.01, 0.1, 1, np.inf)]
              for lam in (0.0, 0.01, 0.1, 1.0)]  # fmt: skip
    assert np.all(np.diff(values, axis=0) < 0)
    assert np.all(np.diff(values, axis=1) < 0)


def test_large_kappa_is_empirical_tilting(sample):
    M, _, w = sample
    tilting = minimize(lambda b: logsumexp(-M @ b, b=w), np.zeros(3), tol=1e-12)
    found = solve(sample, np.inf, 0.0)
    assert found.value == pytest.approx(-tilting.fun, abs=1e-10)
    np.testing.assert_allclose(found.b, tilting.x, atol=1e-5)
    assert not np.any(found.a)
    assert solve(sample, 1e6, 0.0).value == pytest.approx(found.value, abs=1e-6)


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("lam", [1e3, 1e7, 1e12])
def test_stopping_is_relative_to_the_scale_of_lam(sample, divergence, lam):
    found = solve(sample, 1.0, lam, divergence)
    mbar = sample[2] @ sample[0]
    np.testing.assert_allclose(lam * found.b, mbar, rtol=5 / lam)
    assert lam * found.value == pytest.approx(mbar @ mbar / 2, rel=5 / lam)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_of_the_moments_do_not_matter(sample, scale):
    M, Phi, w = sample
    found = solve((scale * M, Phi, w), 1.0, 0.1 * scale**2)
    plain = solve(sample, 1.0, 0.1)
    assert found.value == pytest.approx(plain.value, rel=1e-12)
    np.testing.assert_allclose(found.p, plain.p, rtol=1e-9)


def test_equal_moments_need_no_tilt(sample):
    M, Phi, w = sample
    found = solve((M - w @ M, Phi, w), 1.0, 0.0)
    assert found.converged and found.value == pytest.approx(0.0, abs=1e-30)
    np.testing.assert_allclose(found.p, w, rtol=1e-12)


@pytest.mark.parametrize("divergence", ["kl", "log"])
@pytest.mark.parametrize("kappa", [0.1, np.inf])
def test_moments_all_on_one_side_are_infeasible(sample, divergence, kappa):
    M, Phi, w = sample
    found = solve((M + 5.0, Phi, w), kappa, 0.0, divergence)
    assert not found.feasible and not found.converged and found.value == np.inf
    assert found.n_iter <= 20  # a separating direction ends it, not the last step
    assert np.all(np.isfinite(found.p))
    assert solve((M + 5.0, Phi, w), kappa, 0.1, divergence).converged


def test_oblique_hulls_that_miss_zero_are_found():
    """Each moment has both signs: only a combination separates."""
    rng = np.random.default_rng(1)
    M = rng.normal(size=(40, 3))
    M = M[M @ [1.0, 2.0, -1.0] > 0.05]
    assert np.all((M.min(axis=0) < 0) & (M.max(axis=0) > 0))
    w = np.full(len(M), 1 / len(M))
    assert hull_depth(M, w) < 0
    none = np.empty((len(M), 0))
    for divergence in ("kl", "log"):
        found = inner_dual(M, none, none[0], w, np.inf, 0.0, divergence=divergence)
        assert not found.feasible


def test_zero_on_the_boundary_of_the_hull():
    """Weights exist, but only with zeros: V is finite for kl and not for log."""
    M, w = np.array([[0.0], [1.0], [2.0]]), np.full(3, 1 / 3)
    assert hull_depth(M, w) == pytest.approx(0.0, abs=1e-12)
    none = np.empty((3, 0))
    found = inner_dual(M, none, none[0], w, np.inf, 0.0)
    assert not separates(M @ found.b)
    log = inner_dual(M, none, none[0], w, np.inf, 0.0, divergence="log")
    assert not log.converged


def test_hull_depth_is_the_least_weight():
    M, w = np.array([[-1.0], [1.0]]), np.array([0.2, 0.8])
    # p = (1/2, 1/2) is the only solution; 1/2 = t 4/5.
    assert hull_depth(M, w) == pytest.approx(0.625)
    assert hull_depth(M - M.T @ w, w) == pytest.approx(1.0)
    assert hull_depth(np.array([[1.0, 0.0], [1.0, 1.0]]), w) == -np.inf


def test_redundant_moments_and_copies_of_rows(sample):
    M, Phi, w = sample
    twice = solve((np.hstack([M, M[:, :1]]), Phi, w), 1.0, 0.0)
    assert twice.value == pytest.approx(solve(sample, 1.0, 0.0).value, rel=1e-9)
    copied = np.repeat(np.arange(N), 2)
    rows = (M[copied], Phi[copied], w[copied] / 2)
    found = solve(rows, 1.0, 0.0)
    assert found.value == pytest.approx(solve(sample, 1.0, 0.0).value, rel=1e-12)


def test_more_moments_than_rows_need_a_penalty():
    rng = np.random.default_rng(2)
    M, w = rng.normal(size=(10, 15)), np.full(10, 0.1)
    none = np.empty((10, 0))
    assert not inner_dual(M, none, none[0], w, np.inf, 0.0).feasible
    found = inner_dual(M, none, none[0], w, np.inf, 0.1)
    assert found.converged and np.all(np.isfinite(found.b))


def test_a_neighbours_solution_is_a_start(sample):
    M, Phi, w = sample
    near = solve((M + 0.001, Phi, w), 1.0, 0.0)
    cold, warm = solve(sample, 1.0, 0.0), solve(sample, 1.0, 0.0, start=near.x)
    assert warm.n_iter < cold.n_iter
    assert warm.value == pytest.approx(cold.value, rel=1e-12)
