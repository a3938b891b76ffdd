"""Starts: minima of the moments' norm that are distinct and reached."""

import numpy as np
import pytest

from causalweights.moments._profile import Restriction
from causalweights.moments._starts import moment_minima

W = np.full(4, 0.25)


def two_valleys():
    """Mean moment (theta^2 - 1)(theta - 1.5) / 4: three roots."""

    def residual(theta):
        value = (theta[0] ** 2 - 1) * (theta[0] - 1.5) + np.array(
            [0.1, -0.1, 0.2, -0.2]
        )
        return value[:, None]

    def jacobian(theta):
        slope = 3 * theta[0] ** 2 - 3 * theta[0] - 1
        return np.full((4, 1, 1), slope)

    return Restriction(residual, jacobian, np.ones((4, 1)))


def test_all_roots_are_found_and_copies_dropped():
    starts = [np.array([-2.0]), np.array([-1.2]), np.array([0.8]), np.array([2.0])]
    rng = np.random.RandomState(0)
    found = moment_minima(two_valleys(), W, starts, 4, rng)
    roots = sorted(float(minimum.theta[0]) for minimum in found)
    np.testing.assert_allclose(roots, [-1.0, 1.0, 1.5], atol=1e-6)
    assert all(minimum.converged for minimum in found)


def test_missing_starts_are_drawn_the_same_each_time():
    runs = [
        moment_minima(two_valleys(), W, [np.array([3.0])], 6, np.random.RandomState(0))
        for _ in range(2)
    ]
    assert [m.theta.tolist() for m in runs[0]] == [m.theta.tolist() for m in runs[1]]
    values = [minimum.at.value for minimum in runs[0]]
    assert values == sorted(values)


def test_moments_that_are_not_finite_are_refused():
    broken = Restriction(
        lambda theta: np.full((4, 1), np.nan),
        lambda theta: np.ones((4, 1, 1)),
        np.ones((4, 1)),
    )
    with pytest.raises(ValueError, match="not finite at any start"):
        moment_minima(broken, W, [np.zeros(1)], 1, np.random.RandomState(0))
