"""Losses and scores of predicted effects, and the value of treatment policies."""

from __future__ import annotations

from typing import Any

import numpy as np

from causalweights._typing import FloatArray
from causalweights._validation import check_sample_weight
from causalweights.cate._contrast import (
    InfluenceResult,
    arm_contrast,
    check_rows,
    check_vector,
    pair_contrast,
)
from causalweights.cate._pseudo_outcomes import doubly_robust, overlap

_WEIGHTS = ("uniform", "ivw")


def r_loss(
    y: Any,
    effects: Any,
    *,
    treatment: Any,
    propensity: Any,
    mean: Any,
    complement: Any = None,
    sample_weight: Any = None,
) -> float:
    r"""Return the R-loss of predicted effects, smaller is better (Nie & Wager, 2021).

    The mean of :math:`((Y - \eta) - (A - \pi) g)^2`. Compare losses only under the same
    nuisances, fitted without the rows scored. O(n).

    Parameters
    ----------
    y : array-like of shape (n,)
    effects : array-like of shape (n,)
        Predicted effects g.
    treatment : array-like of shape (n,)
        1 treated, 0 control, NaN another arm, whose rows are left out; or a dose.
    propensity : array-like of shape (n,)
        Probability pi of the treated arm, or mean of the dose.
    mean : array-like of shape (n,)
        Mean eta of the outcome given covariates.
    complement : array-like of shape (n,) or None, default=None
        Probability of the control arm where there are others; pi is then replaced by
        pi / (pi + complement).
    sample_weight : array-like of shape (n,) or None, default=None

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For shapes that do not fit and values that are not finite.

    Examples
    --------
    >>> from causalweights.cate import r_loss
    >>> half = [0.5, 0.5]
    >>> r_loss([1, 3], [2, 2], treatment=[0, 1], propensity=half, mean=[2, 2])
    0.0
    """
    v = pair_contrast(y, treatment, propensity, mean, complement)
    g = check_vector("effects", effects, len(v.y))
    weight = check_sample_weight(sample_weight, len(v.y)) * np.isfinite(v.a)
    rest = v.residual
    return float(np.average((v.y - v.mean - rest * g) ** 2, weights=weight))


def r_score(
    y: Any,
    effects: Any,
    *,
    treatment: Any,
    propensity: Any,
    mean: Any,
    complement: Any = None,
    sample_weight: Any = None,
) -> float:
    """Return 1 - `r_loss` / `r_loss` of the best constant effect; larger is better.

    Parameters
    ----------
    y, effects, treatment, propensity, mean, complement, sample_weight
        As in `r_loss`.

    Returns
    -------
    float
        At most 1; zero for the best constant of these rows.

    Examples
    --------
    >>> from causalweights.cate import r_score
    >>> nuisances = dict(treatment=[0, 1, 0, 1], propensity=[0.5] * 4, mean=[0] * 4)
    >>> r_score([-1, 1, -2, 2], [2, 2, 4, 4], **nuisances)
    1.0
    """
    v = pair_contrast(y, treatment, propensity, mean, complement)
    rest = v.residual
    weight = check_sample_weight(sample_weight, len(v.y)) * rest
    best = np.full(len(v.y), weight @ (v.y - v.mean) / (weight @ rest))
    loss, worst = (
        r_loss(
            y, g, treatment=treatment, propensity=propensity, mean=mean,
            complement=complement, sample_weight=sample_weight,
        )
        for g in (effects, best)
    )  # fmt: skip
    return 1 - loss / worst


def dr_loss(
    y: Any,
    effects: Any,
    *,
    treatment: Any,
    propensity: Any,
    mean_0: Any,
    mean_1: Any,
    complement: Any = None,
    weights: str = "uniform",
    sample_weight: Any = None,
) -> float:
    r"""Return the doubly robust loss of predicted effects; smaller is better.

    The mean of :math:`w (f - g)^2`, f the doubly robust pseudo-outcome. With
    ``weights="ivw"`` w is :math:`\pi \kappa / (\pi + \kappa)`, for two arms
    :math:`\pi \kappa` (Fisher, 2024), else one. Compare losses only under the same
    nuisances, fitted without the rows scored. O(n).

    Parameters
    ----------
    y : array-like of shape (n,)
    effects : array-like of shape (n,)
        Predicted effects g.
    treatment : array-like of shape (n,)
        1 treated, 0 control, NaN another arm.
    propensity : array-like of shape (n,)
        Probability pi of the treated arm.
    mean_0, mean_1 : array-like of shape (n,)
        Outcome means of both arms.
    complement : array-like of shape (n,) or None, default=None
        Probability kappa of the control arm; None is 1 - pi.
    weights : {"uniform", "ivw"}, default="uniform"
    sample_weight : array-like of shape (n,) or None, default=None

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For bad shapes, other treatment codes, and propensities of zero or one.

    Examples
    --------
    >>> from causalweights.cate import dr_loss
    >>> nuisances = dict(propensity=[0.5] * 2, mean_0=[1, 1], mean_1=[3, 3])
    >>> dr_loss([1, 3], [2, 3], treatment=[0, 1], **nuisances)
    0.5
    """
    f, g, weight, base = _dr_parts(
        y, effects, treatment, propensity, mean_0, mean_1, complement, weights,
        sample_weight,
    )  # fmt: skip
    return float(np.sum(weight * (f - g) ** 2) / base.sum())


def dr_score(
    y: Any,
    effects: Any,
    *,
    treatment: Any,
    propensity: Any,
    mean_0: Any,
    mean_1: Any,
    complement: Any = None,
    weights: str = "uniform",
    sample_weight: Any = None,
) -> float:
    """Return 1 - `dr_loss` / `dr_loss` of the best constant effect; larger is better.

    Parameters
    ----------
    y, effects, treatment, propensity, mean_0, mean_1, complement
        As in `dr_loss`.
    weights, sample_weight
        As in `dr_loss`.

    Returns
    -------
    float
        At most 1; zero for the best constant of these rows.

    Examples
    --------
    >>> from causalweights.cate import dr_score
    >>> nuisances = dict(propensity=[0.5] * 2, mean_0=[1, 1], mean_1=[3, 4])
    >>> dr_score([1, 4], [2, 3], treatment=[0, 1], **nuisances)
    1.0
    """
    f, g, weight, _ = _dr_parts(
        y, effects, treatment, propensity, mean_0, mean_1, complement, weights,
        sample_weight,
    )  # fmt: skip
    worst = weight @ (f - np.average(f, weights=weight)) ** 2
    return 1 - float(weight @ (f - g) ** 2 / worst)


def _dr_parts(
    y: Any,
    effects: Any,
    treatment: Any,
    propensity: Any,
    mean_0: Any,
    mean_1: Any,
    complement: Any,
    weights: str,
    sample_weight: Any,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return f, g, the weights of the squares, and the sample weights in them."""
    if weights not in _WEIGHTS:
        raise ValueError(f"weights={weights!r}: choose 'uniform' or 'ivw'.")
    v = arm_contrast(y, treatment, propensity, mean_0, mean_1, complement)
    base = check_sample_weight(sample_weight, len(v.y))
    weight = base * overlap(v) if weights == "ivw" else base
    return doubly_robust(v), check_vector("effects", effects, len(v.y)), weight, base


def policy_value(
    y: Any,
    policy: Any,
    *,
    treatment: Any,
    propensity: Any,
    mean_0: Any,
    mean_1: Any,
    complement: Any = None,
    baseline: float = 0.0,
    sample_weight: Any = None,
    groups: Any = None,
    frequency: Any = None,
) -> InfluenceResult:
    """Return what a treatment policy gains over treating a share of all at random.

    The mean of f (policy - baseline), f the doubly robust pseudo-outcome, with its
    standard error for a policy that was not learned from these rows. O(n).

    Parameters
    ----------
    y : array-like of shape (n,)
    policy : array-like of shape (n,)
        Whether, or with which probability, each row is treated.
    treatment, propensity, mean_0, mean_1, complement
        As in `dr_loss`.
    baseline : float, default=0.0
        0 treats none, 1 all, 0.5 half of the rows at random.
    sample_weight, groups, frequency
        As in `average_effect`.

    Returns
    -------
    InfluenceResult

    Raises
    ------
    ValueError
        As `dr_loss`, and for shares outside 0 and 1.

    Examples
    --------
    >>> from causalweights.cate import policy_value
    >>> nuisances = dict(propensity=[0.5] * 2, mean_0=[1, 1], mean_1=[0, 4])
    >>> policy_value([1, 4], [0, 1], treatment=[0, 1], **nuisances).effect
    1.5
    """
    v = arm_contrast(y, treatment, propensity, mean_0, mean_1, complement)
    rows = check_rows(len(v.y), sample_weight, groups, frequency)
    d = check_vector("policy", policy, len(v.y))
    if d.min() < 0 or d.max() > 1 or not 0 <= baseline <= 1:
        raise ValueError("policy and baseline are shares: between 0 and 1.")
    gain = doubly_robust(v) * (d - baseline)
    value = rows.mass @ gain
    phi = (rows.mass * (gain - value))[:, None]
    return rows.result(
        value, phi, ["policy"], estimand="policy value", title="Value of a policy"
    )
