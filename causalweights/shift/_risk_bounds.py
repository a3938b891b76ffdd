"""What a rule's expected loss can be, over a set and beyond it."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from causalweights._typing import FloatArray, IntArray
from causalweights.shift._interior_point import interior_point
from causalweights.shift._moment_bounds import Within
from causalweights.shift._moment_program import MomentProgram
from causalweights.shift._moment_rows import LinearRows
from causalweights.shift._rule import Loss, MinimaxRule

# The gap aimed at, over the largest loss of a row.
TOL = 1e-10
# Probabilities below count as this much in a log loss.
LEAST_PROBABILITY = float(np.finfo(np.float64).tiny)


def randomized_risk_bounds(
    weighted: FloatArray,
    shares: FloatArray,
    tau: FloatArray,
    lam: FloatArray,
    probabilities: FloatArray,
    loss: Loss,
) -> tuple[float, float]:
    """Return the least and the largest expected loss of a rule over the set.

    The rule draws its label from ``probabilities``; its loss at label y is 1 - h_y for
    "0-1" and -log h_y for "log", with h_y at least 2.2e-308. Two linear programs over
    the label distributions whose moments are within lam of tau. Their dual values are
    returned: no distribution of the set is outside, whatever the gaps.

    Parameters
    ----------
    weighted : ndarray of shape (t, m)
        Features of the target rows times their weights alpha.
    shares : ndarray of shape (t,)
        Shares of the rows in the target: positive, sum one.
    tau, lam : ndarray of shape (C, m)
        Moments and how far from them moments may be. Tolerances below 1e-8 of a
        feature's mean size become that wide.
    probabilities : ndarray of shape (t, C)
        Rows sum to one.
    loss : {"0-1", "log"}

    Returns
    -------
    lower, worst : float
        For a minimax rule, worst is its minimax risk.

    Raises
    ------
    ValueError
        Where the set is empty.

    Notes
    -----
    Cost as in `log_rule`: 6 ms for t = 1000, C = 2, m = 3.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.shift._risk_bounds import randomized_risk_bounds
    >>> x = np.column_stack([np.ones(3), [-1.0, 0.0, 1.0]])
    >>> tau, lam = np.array([[0.5, -0.2], [0.5, 0.2]]), np.full((2, 2), 0.05)
    >>> h = np.array([[0.8, 0.2], [0.5, 0.5], [0.2, 0.8]])
    >>> bounds = randomized_risk_bounds(x, np.full(3, 1 / 3), tau, lam, h, "0-1")
    >>> [round(bound, 6) for bound in bounds]
    [0.35, 0.41]
    """
    if loss == "0-1":
        cost = 1.0 - probabilities.T
    else:
        cost = -np.log(np.maximum(probabilities.T, LEAST_PROBABILITY))
    unit = max(float(cost.max()), LEAST_PROBABILITY)
    program = MomentProgram.of(weighted, shares, tau)
    bounds = []
    for sign in (-1.0, 1.0):
        signed = (sign / unit) * cost
        rows = LinearRows(program.shape, signed)
        within = Within(program.widths(lam), program.moments(rows.x[0]) - program.tau)
        least = float(signed.min())
        found = interior_point(program, rows, within, TOL, least=least)
        bounds.append(sign * unit * found.upper)
    return bounds[0], bounds[1]


def moment_deviations(
    features: FloatArray,
    labels: IntArray,
    n_classes: int,
    beta: FloatArray,
    shares: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return the class moments of the weighted source, and their standard errors.

    tau_y = sum_i shares_i z_iy with z_iy = beta_i 1(y_i = y) x_i; the squared standard
    error is sum_i shares_i^2 (z_iy - tau_y)^2, for equal shares the variance of z_iy
    (divisor n) over n. The weights count as given.

    Parameters
    ----------
    features : ndarray of shape (n, m)
    labels : ndarray of shape (n,)
        Integers from 0 to n_classes - 1.
    n_classes : int
    beta, shares : ndarray of shape (n,)
        Weights, and shares of the rows in the source, sum one.

    Returns
    -------
    tau, errors : ndarray of shape (n_classes, m)

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.shift._risk_bounds import moment_deviations
    >>> tau, errors = moment_deviations(
    ...     np.ones((4, 1)), np.array([0, 0, 0, 1]), 2, np.ones(4), np.full(4, 0.25)
    ... )
    >>> tau.ravel(), errors.ravel().round(4)
    (array([0.75, 0.25]), array([0.2165, 0.2165]))
    """
    tau, variances = np.zeros((2, n_classes, features.shape[1]))
    for y in range(n_classes):
        rows = labels == y
        z = beta[rows, None] * features[rows]
        tau[y] = shares[rows] @ z
        variances[y] = shares[rows] ** 2 @ (z - tau[y]) ** 2
        variances[y] += (shares[~rows] ** 2).sum() * tau[y] ** 2
    return tau, np.sqrt(variances)


def confidence_lambda(
    lam: FloatArray, errors: FloatArray, confidence: float
) -> FloatArray:
    """Return tolerances that cover all of the moments' errors with a probability.

    lam + z errors with z the normal quantile of 1 - (1 - confidence) / (2 d), d the
    number of moments: a normal approximation, with Bonferroni's correction.

    Parameters
    ----------
    lam, errors : ndarray of shape (C, m)
        Tolerances of `feasible_lambda`; standard errors of `moment_deviations`.
    confidence : float
        Between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.shift._risk_bounds import confidence_lambda
    >>> confidence_lambda(np.zeros((2, 1)), np.array([[1.0], [2.0]]), 0.9).round(3)
    array([[1.96],
           [3.92]])
    """
    quantile = -float(ndtri((1.0 - confidence) / (2.0 * lam.size)))
    return np.asarray(lam + quantile * errors)


def confidence_bound(rule: MinimaxRule, lam: FloatArray, wide: FloatArray) -> float:
    """Return an upper bound of the rule's expected loss over a wider set.

    risk + sum((wide - lam) * |mu|), the objective of the wider set at the rule's
    coefficients: a bound by weak duality, for the randomised rule. The rule that takes
    the likeliest class errs at most twice as often as that of the 0-1 loss draws wrong.

    Parameters
    ----------
    rule : MinimaxRule
        Of the tolerances lam.
    lam, wide : ndarray of shape (C, m)
        The rule's tolerances, and those of `confidence_lambda`.
    """
    return rule.risk + float(((wide - lam) * np.abs(rule.mu)).sum())
