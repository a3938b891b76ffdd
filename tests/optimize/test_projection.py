"""Projections against their defining programs, and as projections."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import brentq

from causalweights.optimize._projection import project_box_ball, project_box_slab

# A gap of 1e-10 in a squared distance leaves its root in the point.
CONIC_TOLERANCE = 1e-5


def conic_projection(point, constraints, weight=1.0):
    """Return the weighted projection that Clarabel finds."""
    import cvxpy as cp

    x = cp.Variable(point.size)
    distance = cp.sum(cp.multiply(weight, cp.square(x - point)))
    tight = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-10)
    cp.Problem(cp.Minimize(distance), constraints(x)).solve(solver="CLARABEL", **tight)
    return x.value


def by_root(y, radius, low=0.0, high=1.0, center=1.0):
    """Project onto box and ball by a root in the multiplier of the ball."""

    def place(mu):
        return np.clip((y + mu * center) / (1.0 + mu), low, high)

    def excess(log_mu):
        return np.linalg.norm(place(np.exp(log_mu)) - center) - radius

    if np.linalg.norm(place(0.0) - center) <= radius:
        return place(0.0)
    return place(np.exp(brentq(excess, -40.0, 40.0, xtol=1e-14, rtol=1e-14)))


points = arrays(np.float64, st.integers(1, 12), elements=st.floats(-50.0, 50.0))


@pytest.mark.parametrize("radius", [0.05, 0.6, 1.9])
@pytest.mark.parametrize("seed", range(3))
def test_box_ball_equals_a_conic_program(seed, radius):
    import cvxpy as cp

    rng = np.random.default_rng(seed)
    y = 0.5 + 2.0 * rng.normal(size=15)
    expected = conic_projection(
        y, lambda x: [x >= 0, x <= 1, cp.norm(x - 1.0) <= radius]
    )
    actual = project_box_ball(y, radius)
    np.testing.assert_allclose(actual, expected, atol=CONIC_TOLERANCE)
    np.testing.assert_allclose(actual, by_root(y, radius), atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_a_center_inside_the_box_is_allowed(seed):
    import cvxpy as cp

    rng = np.random.default_rng(seed)
    y, low = 3.0 * rng.normal(size=9), -rng.random(9)
    high, center = rng.random(9), 0.2 * (rng.random(9) - 0.5)
    center = np.clip(center, low, high)
    expected = conic_projection(
        y, lambda x: [x >= low, x <= high, cp.norm(x - center) <= 0.7]
    )
    actual = project_box_ball(y, 0.7, lower=low, upper=high, center=center)
    np.testing.assert_allclose(actual, expected, atol=CONIC_TOLERANCE)
    expected = by_root(y, 0.7, low, high, center)
    np.testing.assert_allclose(actual, expected, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(points, st.floats(1e-3, 4.0))
def test_box_ball_is_a_projection(y, radius):
    x = project_box_ball(y, radius)
    assert x.min() >= 0.0 and x.max() <= 1.0
    assert np.linalg.norm(x - 1.0) <= radius + 1e-14
    np.testing.assert_allclose(project_box_ball(x, radius), x, atol=1e-13)
    np.testing.assert_allclose(x, by_root(y, radius), atol=1e-10)


def test_feasible_points_come_back_unchanged():
    y = np.array([0.9, 1.0, 0.8])
    np.testing.assert_array_equal(project_box_ball(y, 0.3), y)


def test_radius_zero_leaves_the_center():
    np.testing.assert_array_equal(project_box_ball([0.3, -4.0, 7.0], 0.0), np.ones(3))


@pytest.mark.parametrize("target", [(-0.2, 0.1), (2.0, 2.0), (-np.inf, -1.0)])
@pytest.mark.parametrize("seed", range(3))
def test_box_slab_equals_a_conic_program(seed, target):
    rng = np.random.default_rng(seed)
    y, row = rng.normal(size=12), rng.normal(size=12)
    row[3] = 0.0
    weight, low = rng.uniform(0.2, 3.0, 12), -rng.random(12)
    high = low + rng.uniform(0.5, 2.0, 12)
    finite = [bound for bound in target if np.isfinite(bound)]
    expected = conic_projection(
        y,
        lambda x: [
            x >= low,
            x <= high,
            row @ x <= finite[-1],
            *([row @ x >= finite[0]] if len(finite) == 2 else []),
        ],
        weight,
    )
    actual = project_box_slab(y, weight, low, high, row, target)
    np.testing.assert_allclose(actual, expected, atol=CONIC_TOLERANCE)


def test_a_slab_out_of_reach_gets_the_nearest_corner():
    ones = np.ones(2)
    v = project_box_slab(
        ones, ones, 0.0 * ones, ones, np.array([1.0, -1.0]), (5.0, 6.0)
    )
    np.testing.assert_array_equal(v, [1.0, 0.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([np.nan], 1.0), "finite"),
        (([[0.0]], 1.0), "one-dimensional"),
        (([0.0], -1.0), "radius"),
        (([0.0], np.inf), "radius"),
    ],
)
def test_bad_points_and_radii_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        project_box_ball(*arguments)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"lower": [0.0, 0.0, 0.0]}, "lower must be"),
        ({"upper": np.inf}, "upper contains"),
        ({"center": 2.0}, "center must lie"),
    ],
)
def test_bad_boxes_are_refused(bounds, message):
    with pytest.raises(ValueError, match=message):
        project_box_ball([0.0, 0.0], 1.0, **bounds)
