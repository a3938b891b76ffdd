"""The compiled climb against scipy's optimiser and finite differences."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import approx_fprime, minimize

from causalweights._numba._ridge_climb import RELU, SIGMOID, _loss, climb

BOUND, EDGE = 1.5, 4.0


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(70, 3))
    measure = np.r_[rng.dirichlet(np.ones(40)), np.full(30, -1 / 30)]
    return np.ascontiguousarray(Z.T), measure, rng.normal(size=(12, 4))


def loss(columns, measure, free, link, sign=1.0):
    """The compiled value and gradient."""
    gradient = np.empty(len(free))
    value = _loss(
        columns, measure, free, BOUND, EDGE, link, sign,
        np.empty(len(free)), np.empty(len(measure)), gradient,
    )  # fmt: skip
    return value, gradient


def defined(columns, measure, free, link):
    """The difference of means by its definition."""
    theta = BOUND * free[:-1] / np.sqrt(1 + free[:-1] @ free[:-1])
    eta = theta @ columns + EDGE * np.tanh(free[-1])
    values = 1 / (1 + np.exp(-eta)) if link == SIGMOID else np.maximum(eta, 0)
    return measure @ values


@pytest.mark.parametrize("link", [SIGMOID, RELU])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_value_and_gradient(problem, link, sign):
    columns, measure, starts = problem
    for free in starts:
        value, gradient = loss(columns, measure, free, link, sign)
        assert_allclose(value, -sign * defined(columns, measure, free, link))
        numeric = approx_fprime(
            free, lambda f: loss(columns, measure, f, link, sign)[0]
        )
        assert_allclose(gradient, numeric, atol=1e-6)


def test_sigmoids_climb_to_scipys_maxima(problem):
    columns, measure, starts = problem
    signs = np.where(np.arange(len(starts)) % 2, 1.0, -1.0)
    ends = climb(columns, measure, starts, signs, BOUND, EDGE, SIGMOID, 200)
    ours, scipys = {1.0: [], -1.0: []}, {1.0: [], -1.0: []}
    for start, end, sign in zip(starts, ends, signs, strict=True):
        value, gradient = loss(columns, measure, end, SIGMOID, sign)
        assert np.abs(gradient).max() < 1e-6
        found = minimize(
            lambda f, s=sign: loss(columns, measure, f, SIGMOID, s), start, jac=True,
            method="BFGS", options={"gtol": 1e-9},
        )  # fmt: skip
        ours[sign].append(value)
        scipys[sign].append(found.fun)
    # Climbs from one start may end in different basins; the best of six agree, to
    # where the bound on theta is reached: at infinity in free coordinates.
    for sign in ours:
        assert_allclose(min(ours[sign]), min(scipys[sign]), rtol=1e-6)


@pytest.mark.parametrize("link", [SIGMOID, RELU])
def test_a_climb_never_goes_down_and_leaves_its_input(problem, link):
    columns, measure, starts = problem
    kept, signs = starts.copy(), np.ones(len(starts))
    ends = climb(columns, measure, starts, signs, BOUND, EDGE, link, 60)
    np.testing.assert_array_equal(starts, kept)
    for start, end in zip(starts, ends, strict=True):
        before, after = (defined(columns, measure, f, link) for f in (start, end))
        assert after >= before
    one = climb(columns, measure, starts[3:4], signs[3:4], BOUND, EDGE, link, 60)
    np.testing.assert_array_equal(one[0], ends[3])
