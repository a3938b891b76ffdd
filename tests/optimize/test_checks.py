"""Refused inputs and their messages."""

import numpy as np
import pytest

from causalweights.optimize import simplex_qp

K, Q = np.eye(4), np.ones(4)


@pytest.mark.parametrize("name", ["K", "q", "ridge", "lower", "upper", "start"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_a_number_and_infinity_are_refused_by_name(name, bad):
    if name == "upper":
        bad = np.nan
    arguments = {"K": K, "q": Q, "ridge": np.ones(4)}
    value = np.array(arguments.get(name, np.full(4, 0.5)))
    value.flat[2] = bad
    arguments[name] = value
    K_, q_ = arguments.pop("K"), arguments.pop("q")
    with pytest.raises(ValueError, match=rf"^{name} contains NaN or infinity"):
        simplex_qp(K_, q_, **arguments)


def test_infinite_upper_bounds_are_no_bounds():
    upper = np.array([0.1, np.inf, np.inf, np.inf])
    assert simplex_qp(K, Q, upper=upper).weights[0] == 0.1


@pytest.mark.parametrize(
    "bounds, message",
    [
        ({"lower": [0.0, 0.0, 0.7, 0.7]}, "group 1: the lower bounds sum to 1.4"),
        ({"upper": [0.2, 0.2, 1.0, 1.0]}, "group 0: the upper bounds sum to 0.4"),
        ({"lower": 0.3, "upper": [1, 1, 1, 0.2]}, "lower exceeds upper at row 3"),
    ],
)
def test_infeasible_bounds_name_the_group(bounds, message):
    with pytest.raises(ValueError, match=message):
        simplex_qp(K, Q, groups=[0, 0, 1, 1], **bounds)


def test_infeasible_bounds_say_what_to_do():
    with pytest.raises(ValueError, match="reduce `lower`"):
        simplex_qp(K, Q, lower=0.5)
    with pytest.raises(ValueError, match="raise `upper`"):
        simplex_qp(K, Q, upper=0.1)


def test_bounds_that_sum_to_one_up_to_rounding_are_feasible():
    weights = simplex_qp(np.eye(10), np.zeros(10), upper=np.full(10, 0.1)).weights
    np.testing.assert_allclose(weights, 0.1)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"K": np.eye(4)[:3]}, "K must be square"),
        ({"K": np.empty((0, 0))}, "at least one row"),
        ({"K": np.triu(np.ones((4, 4)))}, "K must be symmetric"),
        ({"q": np.ones(3)}, r"q must have shape \(4,\), got \(3,\)"),
        ({"q": 1.0}, "q must have shape"),
        ({"ridge": -1e-3}, "ridge must be non-negative"),
        ({"groups": [0, 0, 2, 2]}, "every label 0..G-1"),
        ({"groups": [0, 0, -1, 1]}, "every label 0..G-1"),
        ({"groups": [0.0, 0.0, 1.0, 1.0]}, "groups must hold integers"),
        ({"groups": [0, 1]}, "groups must have shape"),
        ({"solver": "osqp"}, "solver must be one of"),
        ({"tol": 0.0}, "tol must be positive"),
        ({"max_iter": 0}, "max_iter must be at least 1"),
        ({"working_set": [4]}, "row numbers in 0..3"),
        ({"working_set": [0.5]}, "one-dimensional array of row numbers"),
    ],
)
def test_other_refusals(change, message):
    arguments = {"K": K, "q": Q, **change}
    with pytest.raises(ValueError, match=message):
        simplex_qp(arguments.pop("K"), arguments.pop("q"), **arguments)


def test_an_incomplete_operator_is_refused():
    class Incomplete:
        shape = (4, 4)
        dtype = np.dtype(float)

        def block(self, rows, columns=None):
            return K[np.ix_(rows, columns)]

        def matvec(self, v, columns=None):
            return K[:, columns] @ v

    with pytest.raises(ValueError, match="lacks diagonal"):
        simplex_qp(Incomplete(), Q)
