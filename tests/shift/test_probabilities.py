"""Sparsemax, softmax and the potential of the 0-1 loss."""

from itertools import combinations

import cvxpy as cp
import numpy as np
import pytest

from causalweights.shift._probabilities import softmax, sparsemax, top_k_potential


def projected(s):
    """Projection of one row on the simplex: the textbook loop over the sorted row."""
    total, theta = 0.0, 0.0
    for k, value in enumerate(sorted(s, reverse=True), start=1):
        total += value
        if value > (total - 1.0) / k:
            theta = (total - 1.0) / k
    return np.maximum(s - theta, 0.0)


@pytest.fixture(scope="module")
def scores():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 5)) * 10.0 ** rng.uniform(-3, 3, (200, 1))
    rows[::10, 1] = rows[::10, 0]
    return rows


def test_sparsemax_is_the_projection(scores):
    h = sparsemax(scores)
    np.testing.assert_allclose(h.sum(axis=1), 1.0, rtol=0, atol=1e-12)
    for row, s in zip(h, scores):
        np.testing.assert_allclose(row, projected(s), rtol=0, atol=1e-12)


def test_sparsemax_solves_the_quadratic_program():
    s = np.random.default_rng(1).normal(size=(6, 4))
    h = cp.Variable(s.shape, nonneg=True)
    distance = cp.sum_squares(h - s)
    cp.Problem(cp.Minimize(distance), [cp.sum(h, axis=1) == 1]).solve(
        solver="CLARABEL", tol_gap_abs=1e-13, tol_gap_rel=1e-13
    )
    np.testing.assert_allclose(sparsemax(s), h.value, rtol=0, atol=1e-7)


def test_large_scores_sum_to_one_as_well():
    h = sparsemax(
        np.array([[1e15 + 0.25, 1e15, 0.0], [-1e12, -1e12, -1e12], [1e17, 0.0, 1.0]])
    )
    np.testing.assert_allclose(h.sum(axis=1), 1.0, rtol=0, atol=1e-15)
    np.testing.assert_allclose(h[0], [0.625, 0.375, 0.0], rtol=0, atol=1e-7)


def test_rows_without_scores_are_uniform():
    np.testing.assert_allclose(sparsemax(np.zeros((3, 7))), 1 / 7, rtol=1e-15)
    np.testing.assert_allclose(softmax(np.zeros((3, 7))), 1 / 7, rtol=1e-15)


def test_ties_name_the_first_class_and_change_nothing_else(scores):
    s = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, -5.0], [2.0, 0.5, 0.0]])
    ties = np.array([[0.0, 1.0, 3.0], [-1.0, 2.0, 9.0], [0.0, 1.0, 2.0]])
    h = sparsemax(s, ties)
    assert h.argmax(axis=1).tolist() == [2, 1, 0]
    np.testing.assert_allclose(h, sparsemax(s), rtol=0, atol=3e-16)
    unique = np.delete(scores, np.s_[::10], axis=0)
    assert np.array_equal(sparsemax(unique, -unique), sparsemax(unique))


def test_potential_is_the_largest_over_all_sets_of_classes(scores):
    potential, threshold = top_k_potential(scores)
    sets = [S for k in range(1, 6) for S in combinations(range(5), k)]
    brute = np.max([1 + (scores[:, S].sum(axis=1) - 1) / len(S) for S in sets], axis=0)
    np.testing.assert_allclose(potential, brute, rtol=1e-13)
    np.testing.assert_allclose(threshold, brute - 1, rtol=1e-12, atol=1e-15)


def test_potential_of_two_classes():
    s = np.random.default_rng(2).normal(size=(50, 2))
    closed = np.maximum(s.max(axis=1), (s.sum(axis=1) + 1) / 2)
    np.testing.assert_allclose(top_k_potential(s)[0], closed, rtol=1e-14)


def test_the_potentials_gradient_is_even_on_the_support_of_the_rule(scores):
    s, step = scores[1::10], 1e-8
    support = sparsemax(s) > 0
    even = support / support.sum(axis=1, keepdims=True)
    for y in range(5):
        move = step * (np.arange(5) == y)
        rise = top_k_potential(s + move)[0] - top_k_potential(s - move)[0]
        near = np.abs(s).max(axis=1) < 10
        np.testing.assert_allclose(rise[near] / (2 * step), even[near, y], atol=1e-6)
