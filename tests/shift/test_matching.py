"""The programs of double weighting: reference values, oracles, invariants.

Design A with n = t, seed 0 and the mean distance to the 50th other row as bandwidth.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from causalweights.kernels import Gaussian, Laplace
from causalweights.shift import MatchingProblem
from causalweights.shift._bandwidth import neighbor_distance

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


@pytest.mark.parametrize("n", REFERENCE)
def test_a_path_has_the_reference_values(n, problem):
    rows = REFERENCE[n]
    path = problem(n).path([row[0] for row in rows])
    for found, (D, objective, mmd2, beta, alpha, ess) in zip(path.solutions, rows):
        assert found.D == D and found.converged and found.relative_gap <= 1e-12
        assert_allclose(found.objective, objective, atol=1e-9)
        assert_allclose(found.mmd2, mmd2, rtol=1e-4)
        assert_allclose(found.beta.mean(), beta, atol=1e-4)
        assert_allclose(found.alpha.mean(), alpha, atol=1e-4)
        assert_allclose(found.ess_source, ess, rtol=1e-4)
        assert found.ball_active is (D < 25.0) and not found.cap_active
    assert path.first_inactive == 25.0


@pytest.mark.parametrize(("n", "mmd2"), [(200, 3.7392e-4), (500, 3.9849e-4)])
def test_fixed_target_weights_are_kernel_mean_matching(n, mmd2, problem):
    found = problem(n).solve(1.0, kappa=0.0)
    assert_array_equal(found.alpha, 1.0)
    assert_allclose(found.mmd2, mmd2, rtol=1e-4)
    assert found.gap <= 1e-8 * mmd2 and found.ball == np.inf


@pytest.mark.parametrize(("n", "t"), [(200, 200), (50, 80), (80, 50)])
def test_the_robust_program_fixes_source_weights(n, t, problem):
    found = problem(n, t=t).solve(np.inf, kappa=0.0)
    assert_array_equal(found.beta, 1.0)
    assert found.alpha.min() >= 0.0 and found.alpha.max() <= 1.0
    assert found.converged and not found.ball_active and not found.cap_active
    assert found.cap == 1.0
    if n == t:
        assert_allclose(found.mmd2, 0.0740, atol=5e-5)


@pytest.mark.parametrize("solver", ["dense", "low_rank"])
@pytest.mark.parametrize("kappa", [0.0, 1e-3])
def test_every_pair_is_feasible(solver, kappa, problem):
    n, t = 60, 45
    path = problem(n, 1, t, solver=solver).path([1.0, 1.5, 4.0, 100.0], 5.0, kappa)
    for found in path.solutions:
        assert found.beta.min() >= 0.0 and found.beta.max() <= found.cap
        assert found.cap == 5.0 / np.sqrt(found.D)
        assert found.alpha.min() >= 0.0 and found.alpha.max() <= 1.0
        radius = (1.0 - 1.0 / np.sqrt(found.D)) * np.sqrt(t)
        assert np.linalg.norm(found.alpha - 1.0) <= radius + 1e-9
        assert abs(found.beta.mean() - found.alpha.mean()) <= 1.0 - n**-0.5
        assert np.isfinite(found.gap) and found.gap >= 0.0


def test_the_discrepancy_falls_along_the_path(problem):
    path = problem(150, 3, 120).path([1.0, 1.5, 2.0, 4.0], kappa=0.0)
    mmd2, D = path.values("mmd2"), path.values("D")
    assert_allclose(mmd2[:3], [3.29e-4, 2.43337e-5, 8.05e-7], rtol=2e-3)
    assert mmd2[3] <= 3e-9
    assert np.all(np.diff(mmd2) <= 1e-12)
    assert np.all(mmd2 <= mmd2[0] / D + 1e-9)
    assert_array_equal(path.values("objective"), mmd2)


@pytest.mark.parametrize("D", [1.0, 4.0])
def test_equal_samples_keep_weights_of_one(D, design_a):
    source, _ = design_a(150, 5)
    found = MatchingProblem(source, source, Gaussian(0.5)).solve(D)
    assert_allclose(found.beta, 1.0, atol=1e-6)
    assert_allclose(found.alpha, 1.0, atol=1e-6)
    assert abs(found.objective) <= 1e-12 and found.converged


def test_without_a_shift_the_ridge_keeps_the_sample():
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(300, 2)), rng.normal(size=(300, 2))
    kernel = Gaussian(neighbor_distance(np.vstack([source, target])))
    problem = MatchingProblem(source, target, kernel)
    assert problem.solve(1.0).ess_source >= 0.8 * 300
    assert problem.solve(4.0).alpha.mean() >= 0.85
    assert problem.solve(1.0, kappa=0.0).ess_source < 0.3 * 300


def test_double_weighting_keeps_more_of_the_sample(problem):
    sizes = np.array([problem(200, s).path([1.0, 4.0]).values("ess_source")
                      for s in range(20)])  # fmt: skip
    assert sizes[:, 1].mean() > 1.4 * sizes[:, 0].mean()
    assert_allclose(sizes[0], [61, 109], atol=1)


@pytest.mark.slow
def test_without_a_ridge_it_keeps_more_still(problem):
    # Many weights reach the minimum. A vanishing ridge picks those nearest to one; an
    # interior point without any goes closer to the minimum, at fewer effective rows.
    picked, plain = (
        np.array([
            problem(200, s).path([1.0, 4.0], kappa=kappa).values("ess_source")
            for s in range(20)
        ])
        for kappa in (1e-9, 0.0)
    )  # fmt: skip
    assert picked[:, 1].mean() > 2 * picked[:, 0].mean()
    assert plain[:, 1].mean() > 1.5 * plain[:, 0].mean()
    assert_allclose(plain[0, 0], 13, atol=1)


def test_a_vanishing_ridge_reaches_the_minimum(problem):
    two = problem(200)
    for D in (1.0, 1.5625, 4.0):
        plain, picked = two.solve(D, kappa=0.0), two.solve(D, kappa=1e-9)
        assert plain.converged and plain.relative_gap <= 1e-10
        assert plain.mmd2 - plain.gap <= picked.mmd2 <= plain.mmd2 + 1e-9
        assert picked.ess_source > plain.ess_source


# ---- an independent solver -----------------------------------------------------------


def by_cone(problem, D, B, kappa, a, b, n_rows):
    """Return the objective, beta and alpha by cvxpy, from the program's own words."""
    import cvxpy as cp

    X = problem.points
    gram = problem.kernel(X)
    values, vectors = np.linalg.eigh(gram)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    beta, alpha = cp.Variable(len(a)), cp.Variable(len(b))
    v = cp.hstack([cp.multiply(a, beta), -cp.multiply(b, alpha)])
    ridge = cp.hstack([
        cp.multiply(np.sqrt(a), beta - 1.0), cp.multiply(np.sqrt(b), alpha - 1.0)
    ])  # fmt: skip
    constraints = [beta >= 0, alpha >= 0, alpha <= 1]
    n = n_rows[1] if D == np.inf else n_rows[0]
    constraints += [cp.abs(a @ beta - b @ alpha) <= 1.0 - n**-0.5]
    if D == np.inf:
        constraints += [beta == 1]
    else:
        constraints += [beta <= B / np.sqrt(D)]
        off = cp.norm(cp.multiply(np.sqrt(b), alpha - 1.0))
        constraints += [off <= 1.0 - 1.0 / np.sqrt(D)]
    # In units of 1/1000, so that the solver's absolute tolerances are small enough.
    objective = 1e3 * (cp.sum_squares(root.T @ v) + kappa * cp.sum_squares(ridge))
    tight = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-10)
    program = cp.Problem(cp.Minimize(objective), constraints)
    program.solve(solver="CLARABEL", **tight)
    return 1e-3 * program.value, beta.value, alpha.value


@pytest.mark.parametrize("solver", ["dense", "low_rank"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("D", "B", "kappa"),
    [(1.0, 1000.0, 1e-2), (1.5, 1000.0, 1e-2), (4.0, 1000.0, 1e-2),
     (2.0, 2.0, 1e-2), (np.inf, 1000.0, 1e-2)],
)  # fmt: skip
def test_small_problems_equal_a_conic_program(D, B, kappa, weighted, solver, design_a):
    source, target = design_a(40, 0, 30)
    rng = np.random.default_rng(3)
    s, r = (rng.uniform(0.2, 3.0, size=m) if weighted else np.ones(m) for m in (40, 30))
    problem = MatchingProblem(
        source, target, Gaussian(0.8), source_weight=s, target_weight=r, solver=solver
    )
    found = problem.solve(D, B, kappa, tol=1e-12)
    objective, beta, alpha = by_cone(
        problem, D, B, kappa, s / s.sum(), r / r.sum(), (40, 30)
    )
    assert_allclose(found.objective, objective, atol=1e-8)
    assert found.converged and found.gap <= 1e-9
    assert_allclose(found.beta, beta, atol=1e-5)
    assert_allclose(found.alpha, alpha, atol=1e-5)
    assert found.cap_active is (B == 2.0)


@pytest.mark.parametrize("D", [1.0, np.inf])
def test_samples_far_apart_are_held_together_by_the_coupling(D, rng):
    # No cross terms: without the coupling the free weights would be zero.
    source, target = rng.normal(size=(40, 1)), 50.0 + rng.normal(size=(30, 1))
    problem = MatchingProblem(source, target, Gaussian(0.5))
    found = problem.solve(D, kappa=1e-3)
    objective, beta, alpha = by_cone(
        problem, D, 1000.0, 1e-3, np.full(40, 1 / 40), np.full(30, 1 / 30), (40, 30)
    )
    free, size = (found.beta, 40) if D == 1.0 else (found.alpha, 30)
    assert_allclose(free.mean(), size**-0.5, rtol=1e-9)
    assert found.level != 0.0
    assert_allclose(found.objective, objective, rtol=1e-7)
    assert_allclose(found.beta, beta, atol=1e-4)
    assert_allclose(found.alpha, alpha, atol=1e-4)
    # Copies count in eps, sampling weights do not.
    for weight_type, size in (("frequency", 120), ("sampling", 40)):
        weighted = MatchingProblem(
            source, target, Gaussian(0.5), source_weight=np.full(40, 3.0),
            weight_type=weight_type,
        ).solve(1.0)  # fmt: skip
        assert_allclose(weighted.beta.mean(), size**-0.5, rtol=1e-9)


def test_a_warm_start_changes_nothing(problem):
    two = problem(80)
    last = two.solve(2.0)
    assert_allclose(two.solve(4.0, start=last).beta, two.solve(4.0).beta, atol=1e-10)


# ---- invariants ----------------------------------------------------------------------


def test_permuted_rows_carry_their_weights(design_a, rng):
    source, target = design_a(60, 2, 45)
    first, second = rng.permutation(60), rng.permutation(45)
    plain = MatchingProblem(source, target, Gaussian(0.6)).solve(4.0)
    moved = MatchingProblem(source[first], target[second], Gaussian(0.6)).solve(4.0)
    assert_allclose(moved.beta, plain.beta[first], atol=1e-10)
    assert_allclose(moved.alpha, plain.alpha[second], atol=1e-10)
    assert_allclose(moved.objective, plain.objective, rtol=1e-10)


@pytest.mark.parametrize("D", [1.0, 1.5, 4.0, np.inf])
def test_frequency_weights_are_copies(D, design_a, rng):
    source, target = design_a(40, 4, 30)
    s, r = rng.integers(1, 4, size=40), rng.integers(1, 4, size=30)
    weighted = MatchingProblem(
        source, target, Gaussian(0.6), source_weight=s.astype(float),
        target_weight=r.astype(float), weight_type="frequency",
    ).solve(D)  # fmt: skip
    copies = MatchingProblem(
        np.repeat(source, s, axis=0), np.repeat(target, r, axis=0), Gaussian(0.6)
    ).solve(D)
    assert_allclose(np.repeat(weighted.beta, s), copies.beta, atol=1e-8)
    assert_allclose(np.repeat(weighted.alpha, r), copies.alpha, atol=1e-8)
    assert_allclose(weighted.objective, copies.objective, rtol=1e-9)
    assert_allclose(weighted.ess_source, copies.ess_source, rtol=1e-9)
    assert_allclose(weighted.ess_target, copies.ess_target, rtol=1e-9)


def test_the_scale_of_sampling_weights_does_not_matter(design_a, rng):
    source, target = design_a(40, 4, 30)
    s, r = rng.uniform(0.5, 2.0, size=40), rng.uniform(0.5, 2.0, size=30)
    one, two = (
        MatchingProblem(
            source, target, Gaussian(0.6), source_weight=c * s, target_weight=r / c
        ).solve(4.0)
        for c in (1.0, 8.0)
    )
    assert_array_equal(one.beta, two.beta)
    assert_array_equal(one.alpha, two.alpha)


def test_other_kernels(design_a):
    source, target = design_a(50, 0, 40)
    problem = MatchingProblem(source, target, Laplace("median"))
    found = problem.solve(4.0)
    assert found.converged and found.mmd2 < 0.1 * problem.mmd2_before()


def test_the_discrepancy_before_is_that_of_the_samples(design_a):
    from causalweights.discrepancy import squared_mmd

    source, target = design_a(50, 0, 40)
    for solver in ("dense", "low_rank"):
        problem = MatchingProblem(source, target, Gaussian(0.7), solver=solver)
        expected = squared_mmd(Gaussian(0.7), source, target)
        assert_allclose(problem.mmd2_before(), expected, rtol=1e-10)


@pytest.mark.parametrize("solver", ["dense", "low_rank"])
def test_two_runs_are_the_same_bits_and_silent(solver, problem, capfd):
    options = {"solver": solver, "rank": 30}
    one, two = (problem(80, n_threads=k, **options).path() for k in (1, 2))
    for a, b in zip(one.solutions, two.solutions):
        assert_array_equal(a.beta, b.beta)
        assert_array_equal(a.alpha, b.alpha)
        assert a.gap == b.gap
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"D": 0.5}, "D must be at least 1"),
        ({"D": np.nan}, "D must be at least 1"),
        ({"B": 0.0}, "B must be a positive"),
        ({"kappa": -1.0}, "kappa must be"),
        ({"D": 1.0, "B": 0.01}, "coupling reaches at most"),
    ],
)
def test_what_is_refused(given, message, problem):
    with pytest.raises(ValueError, match=message):
        problem(40).solve(**given)
