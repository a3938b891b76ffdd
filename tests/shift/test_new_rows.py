"""Weights of new rows: on the rows of the fit, far away, and against refits."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from causalweights.kernels import Gaussian
from causalweights.optimize import Ball, box_qp
from causalweights.shift import MatchingProblem
from causalweights.shift._bandwidth import neighbor_distance


@pytest.fixture(scope="module")
def setting(design_a):
    """Return a problem of 60 source and 45 target rows, and 30 new rows of each."""
    source, target = design_a(90, 0, 75)
    problem = MatchingProblem(source[:60], target[:45], Gaussian(0.8))
    return problem, source[60:], target[45:]


@pytest.mark.parametrize("kappa", [1e-3, 1e-2, 0.0])
@pytest.mark.parametrize("D", [1.0, 1.5, 4.0, np.inf])
def test_rows_of_the_fit_keep_their_weights(D, kappa, setting):
    problem, new, _ = setting
    found = problem.solve(D, kappa=kappa)
    source, target = problem.points[:60], problem.points[60:]
    rows = np.vstack([new[:3], source[::-1]])
    assert_array_equal(problem.source_weights(rows, found)[3:], found.beta[::-1])
    assert_array_equal(problem.target_weights(target, found), found.alpha)


@pytest.mark.parametrize("D", [1.0, 1.5, 4.0])
def test_the_witness_determines_the_weights_of_the_fit(D, setting):
    # The conditions of optimality, on which everything here rests.
    problem, _, _ = setting
    w = problem.solve(D)
    v = problem.signs * np.concatenate([w.beta, w.alpha])
    witness = problem.kernel(problem.points) @ v - 0.5 * w.level
    beta = np.clip(1.0 - witness[:60] / w.kappa, 0.0, w.cap)
    alpha = np.clip(1.0 + witness[60:] / (w.kappa + w.ball), 0.0, 1.0)
    assert_allclose(w.beta, beta, atol=1e-8)
    assert_allclose(w.alpha, alpha, atol=1e-8)


@pytest.mark.parametrize("apart", [0.0, 50.0])
@pytest.mark.parametrize("D", [1.0, 1.5, 4.0])
def test_new_rows_by_brute_force(D, apart, setting):
    # Samples far apart make the coupling bind.
    near, new_source, new_target = setting
    target = near.points[60:] + apart
    problem = MatchingProblem(near.points[:60], target, Gaussian(0.8))
    w = problem.solve(D)
    assert (w.level != 0.0) is (apart > 0.0 and D == 1.0)
    free = np.concatenate([w.beta > 0.0, (w.alpha > 0.0) & (w.alpha < 1.0) & (D > 1)])
    held = np.repeat([w.kappa, w.kappa + w.ball], [60, 45]) / np.abs(problem.signs)
    gram = problem.kernel(problem.points)[np.ix_(free, free)] + np.diag(held[free])
    v = problem.signs * np.concatenate([w.beta, w.alpha])
    rows = np.vstack([new_source, new_target + apart])
    columns = problem.kernel(rows, problem.points)
    known = np.linalg.solve(gram, columns[:, free].T)
    unknown = 1.0 - np.sum(columns[:, free].T * known, axis=0)
    slope = columns @ v - 0.5 * w.level
    beta = (w.kappa - slope) / (w.kappa + unknown / 60)
    # What the low-rank factor leaves of the trace is in the tolerance.
    assert_allclose(problem.source_weights(rows, w), np.maximum(beta, 0.0), atol=1e-4)
    if D > 1.0:
        hold = w.kappa + w.ball
        alpha = np.clip((hold + slope) / (hold + unknown / 45), 0.0, 1.0)
        assert_allclose(problem.target_weights(rows, w), alpha, atol=1e-4)


def with_row(problem, x, side, D, kappa):
    """Return a new row's weight where it joins the program with a share of 1 / n."""
    n, t = 60, 45
    place = n if side == "source" else n + t
    X = np.insert(problem.points, place, x, axis=0)
    signs = np.insert(problem.signs, place, 1.0 / n if side == "source" else -1.0 / t)
    K = 2.0 * signs[:, None] * problem.kernel(X) * signs
    ridge = 2.0 * kappa * np.abs(signs)
    is_target = np.flatnonzero(signs < 0)
    upper = np.where(signs > 0, 1000.0 / np.sqrt(D), 1.0)
    # The multiplier of the ball stays: it is that of the fit.
    penalty, eps = np.zeros(len(signs)), 1.0 - n**-0.5
    penalty[is_target] = 2.0 * problem.solve(D, kappa=kappa).ball / t
    ball = None
    if D == 1.0:
        ball, penalty[:] = Ball(is_target, 1.0, 0.0), 0.0
    found = box_qp(
        K, ridge + penalty, ridge + penalty, upper=upper, coupling=signs,
        coupling_bounds=(-eps, eps), ball=ball,
    )  # fmt: skip
    return found.weights[place]


@pytest.mark.parametrize("kappa", [1e-3, 1e-2])
@pytest.mark.parametrize("D", [1.0, 1.5, 4.0])
def test_new_rows_get_what_they_would_in_the_program(D, kappa, setting):
    problem, new_source, new_target = setting
    found = problem.solve(D, kappa=kappa)
    beta, alpha = (
        problem.source_weights(new_source, found),
        problem.target_weights(new_target, found),
    )
    joined = np.array([with_row(problem, x, "source", D, kappa) for x in new_source])
    # Exact but where the new row brings others to a bound, or away from it.
    off = np.abs(beta - joined)
    assert np.quantile(off, 0.6) <= 0.02 * joined.max() and off.mean() <= 0.1
    assert np.corrcoef(beta, joined)[0, 1] > 0.97
    if D == 1.0:
        assert_array_equal(alpha, 1.0)
        return
    joined = np.array([with_row(problem, x, "target", D, kappa) for x in new_target])
    off = np.abs(alpha - joined)
    assert np.quantile(off, 0.8) <= 0.01 and off.mean() <= 0.03


def test_without_bounds_in_the_way_it_is_exact(design_a):
    # A ridge so large that every weight is inside its bounds, before and after.
    source, target = design_a(70, 0, 45)
    problem = MatchingProblem(source[:60], target, Gaussian(0.8))
    found = problem.solve(1.0, kappa=1.0)
    assert found.beta.min() > 0.0
    joined = [with_row(problem, x, "source", 1.0, 1.0) for x in source[60:]]
    assert_allclose(problem.source_weights(source[60:], found), joined, atol=1e-7)


@pytest.mark.parametrize("kappa", [0.0, 1e-3])
def test_ends_of_the_path(kappa, setting):
    problem, new, _ = setting
    assert_array_equal(
        problem.target_weights(new, problem.solve(1.0, kappa=kappa)), 1.0
    )
    assert_array_equal(
        problem.source_weights(new, problem.solve(np.inf, kappa=kappa)), 1.0
    )


def test_rows_far_from_everything_have_little_weight(setting):
    problem, _, _ = setting
    far = np.array([[40.0, 40.0], [-40.0, 0.0]])
    found = problem.solve(4.0)
    # Alone they would be balanced against the ridge: 1 / (1 + 1 / (kappa n)).
    assert_allclose(problem.source_weights(far, found), 0.06 / 1.06, rtol=1e-6)
    held = 1e-3 + found.ball
    alone = held / (held + 1 / 45)
    assert_allclose(problem.target_weights(far, found), alone, rtol=1e-6)
    assert alone < 0.2


def test_without_a_ridge_they_are_ratios_of_smoothed_densities(setting):
    problem, new_source, new_target = setting
    w = problem.solve(2.0, kappa=0.0)
    source, target = problem.points[:60], problem.points[60:]

    def near(x, rows):
        return np.exp(-np.sum((x - rows) ** 2, axis=1) / (2 * 0.8**2))

    beta = [np.mean(w.alpha * near(x, target)) / np.mean(near(x, source))
            for x in new_source]  # fmt: skip
    alpha = [np.mean(w.beta * near(x, source)) / np.mean(near(x, target))
             for x in new_target]  # fmt: skip
    assert_allclose(problem.source_weights(new_source, w), beta, rtol=1e-10)
    assert_allclose(
        problem.target_weights(new_target, w), np.minimum(alpha, 1.0), rtol=1e-10
    )


@pytest.mark.parametrize("D", [1.0, 4.0])
def test_weights_of_the_program_are_nearer_to_refits_than_ratios(D, design_a):
    """Compare with the weights that held-out rows get where they are in the fit."""
    errors = []
    for seed in range(5):
        source, target = design_a(300, seed)
        kernel = Gaussian(neighbor_distance(np.vstack([source[:150], target[:150]])))
        half = MatchingProblem(source[:150], target[:150], kernel)
        whole = MatchingProblem(source, target, kernel).solve(D)
        found = half.solve(D)
        v = np.concatenate([found.beta, found.alpha]) / 150
        ratio = kernel(source[150:], half.points[150:]) @ v[150:]
        ratio /= kernel(source[150:], half.points[:150]).mean(axis=1)
        new = half.source_weights(source[150:], found)
        errors.append([np.square(w - whole.beta[150:]).mean() for w in (new, ratio)])
    # Medians: one draw of five has a row in the fit that the other half lacks.
    new, ratio = np.sqrt(np.median(errors, axis=0))
    assert new < 0.75 * ratio


def test_frequency_weights_count_new_rows_as_one_of_all(design_a, rng):
    source, target = design_a(40, 4, 30)
    s = rng.integers(1, 4, size=40)
    options = {"weight_type": "frequency", "source_weight": s.astype(float)}
    weighted = MatchingProblem(source, target, Gaussian(0.6), **options)
    copies = MatchingProblem(np.repeat(source, s, axis=0), target, Gaussian(0.6))
    new = design_a(20, 9)[0]
    found = (p.source_weights(new, p.solve(2.0)) for p in (weighted, copies))
    assert_allclose(*found, atol=1e-6)
