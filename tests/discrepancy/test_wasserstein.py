"""Wasserstein-1 distance against full linear programs, assignment and scipy's 1-D."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment, linprog
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance as scipy_wasserstein_distance

from causalweights.discrepancy import energy_distance, wasserstein_distance

RTOL = 1e-12


def full_program(X, Y, a, b):
    """Solve the transport program with all pairs, by HiGHS."""
    a, b = a / a.sum(), b / b.sum()
    n, m = len(a), len(b)
    rows = np.kron(np.eye(n), np.ones(m))
    columns = np.kron(np.ones(n), np.eye(m))
    program = linprog(
        cdist(X, Y).ravel(),
        A_eq=np.vstack([rows, columns]),
        b_eq=np.concatenate([a, b]),
        options={"primal_feasibility_tolerance": 1e-10},
    )
    assert program.status == 0
    return program.fun


@pytest.fixture
def samples(rng):
    X = rng.normal(size=(41, 3))
    Y = rng.normal(0.5, 1.5, size=(23, 3))
    return X, Y, rng.exponential(size=41), rng.exponential(size=23)


@pytest.mark.parametrize(("n", "m", "d"), [(1, 6, 2), (6, 1, 2), (25, 40, 5)])
def test_is_the_full_linear_program(n, m, d, rng):
    X, Y = rng.normal(size=(n, d)), rng.normal(1.0, 0.7, size=(m, d))
    a, b = rng.exponential(size=n), rng.exponential(size=m)
    value = wasserstein_distance(X, Y, x_weights=a, y_weights=b)
    assert value == pytest.approx(full_program(X, Y, a, b), rel=1e-9)


def test_ties_and_common_points_are_the_full_linear_program(rng):
    X = rng.integers(0, 4, size=(40, 2)).astype(float)
    Y = rng.integers(1, 6, size=(30, 2)).astype(float)
    a, b = rng.integers(0, 3, size=40) * 1.0, np.ones(30)
    value = wasserstein_distance(X, Y, x_weights=a, y_weights=b)
    assert value == pytest.approx(full_program(X, Y, a, b), rel=1e-9)


@pytest.mark.parametrize(("n", "d"), [(300, 2), (300, 12)])
def test_equal_sizes_are_an_assignment(n, d, rng):
    X, Y = rng.normal(size=(n, d)), rng.normal(0.3, 1.2, size=(n, d))
    costs = cdist(X, Y)
    expected = costs[linear_sum_assignment(costs)].mean()
    assert wasserstein_distance(X, Y) == pytest.approx(expected, rel=RTOL)


def test_one_column_is_scipys(samples):
    X, Y, a, b = samples
    expected = scipy_wasserstein_distance(X[:, 0], Y[:, 0], a, b)
    value = wasserstein_distance(X[:, :1], Y[:, :1], x_weights=a, y_weights=b)
    assert value == pytest.approx(expected, rel=RTOL)
    # The same points in the plane go through the transport program.
    flat = np.array([[0.6, 0.8]])
    value = wasserstein_distance(
        X[:, :1] * flat, Y[:, :1] * flat, x_weights=a, y_weights=b
    )
    assert value == pytest.approx(expected, rel=RTOL)


def test_is_a_metric(samples):
    X, Y, a, b = samples
    Z = 0.5 * X[::-1] - 1.0

    def xy():
        return wasserstein_distance(X, Y, x_weights=a, y_weights=b)

    assert wasserstein_distance(X, X, x_weights=a, y_weights=a) == 0.0
    shuffled = np.random.default_rng(1).permutation(41)
    assert wasserstein_distance(X, X[shuffled]) == pytest.approx(0.0, abs=1e-15)
    back = wasserstein_distance(Y, X, x_weights=b, y_weights=a)
    assert back == pytest.approx(xy(), rel=RTOL)
    through = wasserstein_distance(X, Z, x_weights=a)
    through += wasserstein_distance(Z, Y, y_weights=b)
    assert xy() < through


def test_moves_and_scales_with_the_rows(samples):
    X, Y, a, b = samples
    value = wasserstein_distance(X, Y, x_weights=a, y_weights=b)
    moved = wasserstein_distance(
        2 * X + 100.0, 2 * Y + 100.0, x_weights=3 * a, y_weights=b
    )
    assert moved == pytest.approx(2 * value, rel=1e-11)
    # One sample moved as a whole: exactly the length of the move.
    v = np.array([3.0, 0.0, -4.0])
    assert wasserstein_distance(X, X + v) == pytest.approx(5.0, rel=RTOL)


def test_weights_are_copies_and_zero_is_no_row(samples):
    X, Y, _, b = samples
    counts = np.arange(41) % 3
    value = wasserstein_distance(X, Y, x_weights=counts, y_weights=b)
    copies = wasserstein_distance(np.repeat(X, counts, axis=0), Y, y_weights=b)
    assert copies == pytest.approx(value, rel=RTOL)


def test_lies_between_its_bounds(samples):
    X, Y, a, b = samples
    value = wasserstein_distance(X, Y, x_weights=a, y_weights=b)
    means = a / a.sum() @ X - b / b.sum() @ Y
    assert np.linalg.norm(means) <= value
    assert value <= a / a.sum() @ cdist(X, Y) @ b / b.sum()
    assert energy_distance(X, Y, x_weights=a, y_weights=b) <= 2 * value


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Y": np.ones((3, 2))}, "X has 3 columns and Y has 2"),
        ({"X": np.full((3, 3), np.nan)}, "X contains NaN"),
        ({"X": np.ones(3)}, "X must be a matrix"),
        ({"y_weights": [1.0, -1.0]}, "y_weights contains negative"),
        ({"x_weights": [0.0, 0.0]}, "x_weights is zero on every row"),
    ],
)
def test_bad_input_is_refused_by_name(changes, message):
    arguments = {"X": np.ones((2, 3)), "Y": np.zeros((2, 3)), **changes}
    with pytest.raises(ValueError, match=message):
        wasserstein_distance(**arguments)
