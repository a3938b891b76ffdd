"""The choice of lam: criteria by brute force, and what they choose."""

import joblib
import numpy as np
import pytest
from sklearn.metrics.pairwise import rbf_kernel

from causalweights.crossfit import make_folds
from causalweights.kernels import median_distance
from causalweights.moments._kernel_design import KernelDesign
from causalweights.moments._lam_choice import REFERENCE_LAM, choose_lam, dependence
from causalweights.moments._moment_features import fit_block_scale, kernel_features
from causalweights.moments._profile import Restriction, minimize

GRID = (1e-6, 1e-4, 1e-2)
N = 150


def make_design(n=N, seed=0, units=1.0, kappa=1.0):
    """Return a regression whose residual varies with the square of its regressor."""
    rng = np.random.default_rng(seed)
    t = np.exp(rng.uniform(-1.5, 1.5, n))
    y = 1.7 * t + t**2 * rng.normal(size=n)
    X = units * np.column_stack([t, np.ones(n)])
    w = np.full(n, 1 / n)
    rows = np.column_stack([t, y])
    scale = fit_block_scale({"instruments": rows[:, :1], "y": rows[:, 1:]}, w)
    Phi, _ = kernel_features(scale.transform(rows))
    scale = fit_block_scale({"instruments": rows[:, :1]}, w)
    B, _ = kernel_features(scale.transform(rows[:, :1]), n_components=20)
    restriction = Restriction(
        lambda theta: ((y - X @ theta) / 5.0)[:, None],
        lambda theta: -X[:, None, :] / 5.0,
        B,
    )
    return KernelDesign(restriction, Phi, w @ Phi, w, kappa), t


def folds(n=N):
    return make_folds(5, n, random_state=0)


def fit(design, lam, start=(1.0, 0.0)):
    return minimize(design.objective(lam), np.array(start))


def test_variance_is_that_of_held_out_rows_with_learned_instruments():
    design, _ = make_design(kappa=np.inf)
    found = choose_lam(design, np.array([1.0, 0.0]), folds(), grid=GRID)
    for lam, score in zip(GRID, found.scores, strict=True):
        slopes, squares = np.zeros((2, 2)), np.zeros((2, 2))
        for train, test in folds():
            part = design.take(train)
            best = fit(part, lam)
            p, q = best.at.dual.p, part.restriction.B.shape[1]
            J = part.restriction.jacobian(best.theta)[:, 0]
            G = part.restriction.B.T @ (p[:, None] * J)
            M = part.restriction.moments(best.theta)
            W = np.linalg.inv(np.cov(M.T, aweights=p, bias=True) + lam * np.eye(q))
            A = np.linalg.inv(G.T @ W @ G) @ G.T @ W
            held = design.restriction.take(test)
            slopes += A @ held.B.T @ held.jacobian(best.theta)[:, 0] / N
            scores = held.moments(best.theta) @ A.T
            squares += scores.T @ scores / N
        half = np.linalg.inv(slopes)
        expected = np.linalg.slogdet(half @ squares @ half.T)[1]
        assert score == pytest.approx(expected, abs=1e-6)
        if lam == found.lam:
            np.testing.assert_allclose(found.held_out.slopes, slopes, rtol=1e-5)
            rows = found.held_out.scores
            np.testing.assert_allclose(rows.T @ rows / N, squares, rtol=1e-5)
    assert found.lam == GRID[int(np.argmin(found.scores))]


def test_variance_does_not_depend_on_the_units_of_theta():
    first, second = (
        choose_lam(
            make_design(units=u)[0], np.array([1.0, 0.0]) / u, folds(), grid=GRID
        )
        for u in (1.0, 100.0)
    )
    np.testing.assert_allclose(np.diff(first.scores), np.diff(second.scores), atol=1e-6)


def test_clusters_of_equal_rows_raise_no_information():
    """Rows twice in one cluster: squares of sums, the variance of half as many rows."""
    design, _ = make_design()
    rows = np.repeat(np.arange(N), 2)
    twice = design.take(rows)
    start = np.array([1.0, 0.0])
    pairs = make_folds(5, 2 * N, groups=rows, random_state=0)
    single = [(np.unique(rows[a]), np.unique(rows[b])) for a, b in pairs]
    plain = choose_lam(twice, start, pairs, grid=GRID)
    clustered = choose_lam(twice, start, pairs, grid=GRID, groups=rows)
    np.testing.assert_allclose(
        plain.scores, choose_lam(design, start, single, grid=GRID).scores, atol=1e-6
    )
    # Of moments with mass 1 / N each, N sums of two instead of 2 N terms.
    np.testing.assert_allclose(
        clustered.scores, plain.scores - 2 * np.log(N - 1), atol=1e-9
    )


@pytest.mark.parametrize("criterion", ["moment", "mmr"])
def test_held_out_moments_in_a_common_norm(criterion):
    design, _ = make_design()
    start = np.array([1.0, 0.0])
    found = choose_lam(design, start, folds(), criterion=criterion, grid=GRID)
    reference = fit(design, REFERENCE_LAM)
    np.testing.assert_allclose(found.theta, reference.theta, rtol=1e-6)
    M = design.restriction.moments(reference.theta)
    norm = np.eye(M.shape[1])
    if criterion == "moment":
        norm = np.linalg.inv(np.cov(M.T, bias=True) + 1e-4 * norm)
    for lam, score in zip(GRID, found.scores, strict=True):
        means = [
            design.restriction.take(test).moments(fit(design.take(train), lam).theta)
            .mean(axis=0)
            for train, test in folds()
        ]  # fmt: skip
        assert score == pytest.approx(sum(m @ norm @ m for m in means), rel=1e-4)


def test_dependence_is_the_statistic_of_dense_kernels():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(60, 1))
    residual = z**2 + 0.5 * rng.normal(size=(60, 1))
    H = np.eye(60) - 1 / 60
    K, L = (
        rbf_kernel(v / v.std(), gamma=1 / median_distance(v / v.std()))
        for v in (residual, z)
    )
    expected = np.trace(K @ H @ L @ H) / 60**2
    assert dependence(residual, z) == pytest.approx(expected, rel=1e-6)
    shuffled = rng.permutation(residual)
    assert dependence(residual, z) > 3 * dependence(shuffled, z)


def test_scores_are_the_same_with_any_number_of_jobs():
    design, t = make_design()
    options = {"grid": GRID, "instruments": t[:, None]}
    start = np.array([1.0, 0.0])
    one = choose_lam(design, start, folds(), criterion="hsic", **options)
    with joblib.parallel_config(backend="threading"):  # processes start slowly
        two = choose_lam(design, start, folds(), criterion="hsic", n_jobs=2, **options)
    np.testing.assert_array_equal(one.scores, two.scores)
    assert np.all(np.isfinite(one.scores))


def test_penalties_that_lose_efficiency_are_not_chosen():
    """With variance t^4 weights matter: at lam = 1e-2 the error is several times
    larger. Held-out moments alone cannot tell."""
    for seed in range(2):
        design, _ = make_design(400, seed)
        found = choose_lam(design, np.array([1.0, 0.0]), folds(400))
        assert found.lam <= 1e-4
        assert found.scores[-1] > found.scores.min() + 0.5
