"""From weights to a minimax rule: moments, tolerances, program, and what bounds it.

The uncertainty set holds the distributions of the target rows' labels whose weighted
moments sum_j b_j alpha_j p(y | x_j) psi(x_j) are within lambda of tau_y = sum_i a_i
beta_i 1(y_i = y) psi(x_i) (Segovia-Martin, Mazuelas & Liu 2023; a and b the rows'
shares of their samples).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from causalweights._blas import single_blas_thread
from causalweights._typing import FloatArray, IntArray
from causalweights.shift._feasible import FeasibleLambda, feasible_lambda
from causalweights.shift._log_loss import log_rule
from causalweights.shift._probabilities import softmax, sparsemax
from causalweights.shift._risk_bounds import (
    confidence_bound,
    confidence_lambda,
    moment_deviations,
    randomized_risk_bounds,
)
from causalweights.shift._rule import Loss, MinimaxRule
from causalweights.shift._solution import DoubleWeights
from causalweights.shift._zero_one import zero_one_rule

# Standard errors added to the smallest feasible tolerances, by loss.
LAMBDA_SCALE = {"log": 0.5, "0-1": 0.25}
# A minimax risk above this share of that of guessing says that nothing was learned.
NO_BETTER = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSamples:
    """Features of both samples and labels of the source.

    Attributes
    ----------
    source, target : ndarray of shape (n, m), (t, m)
        Features.
    codes : ndarray of shape (n,)
        Classes 0, ..., C - 1 of the source rows.
    n_classes : int
    source_weight, target_weight : ndarray of shape (n,), (t,)
        Sampling or frequency weights.
    counted : bool
        Whether these are frequencies.
    """

    source: FloatArray
    target: FloatArray
    codes: IntArray
    n_classes: int
    source_weight: FloatArray
    target_weight: FloatArray
    counted: bool

    def take(self, rows: IntArray) -> LabelledSamples:
        """Return the same with some of the source rows."""
        return replace(
            self,
            source=self.source[rows],
            codes=self.codes[rows],
            source_weight=self.source_weight[rows],
        )


@dataclass(frozen=True, slots=True, eq=False)
class WeightedRule:
    """The rule of one pair of weights, and the moments it comes from.

    Attributes
    ----------
    weights : DoubleWeights
    weighted : ndarray of shape (t, m)
        Features of the target rows times alpha.
    tau, errors : ndarray of shape (C, m)
        Moments of the source and their standard errors, given the weights.
    feasible : FeasibleLambda
        The smallest tolerances.
    lam : ndarray of shape (C, m)
        Those of the rule.
    rule : MinimaxRule
    """

    weights: DoubleWeights
    weighted: FloatArray
    tau: FloatArray
    errors: FloatArray
    feasible: FeasibleLambda
    lam: FloatArray
    rule: MinimaxRule

    @property
    def converged(self) -> bool:
        """Whether weights, tolerances and rule are all optimal to their tolerances."""
        found = (self.weights.converged, self.feasible.converged, self.rule.converged)
        return all(found)


def check_lambda_scale(
    lambda_scale: Any, loss: Loss, data: LabelledSamples
) -> float | FloatArray:
    """Return the option as a number, or as a float64 array (C, m)."""
    if isinstance(lambda_scale, str):
        return LAMBDA_SCALE[loss]
    if isinstance(lambda_scale, Real):
        return float(lambda_scale)
    shape = (data.n_classes, data.target.shape[1])
    lam = np.asarray(lambda_scale, dtype=np.float64)
    if lam.shape != shape or not np.all(np.isfinite(lam) & (lam >= 0.0)):
        raise ValueError(
            f"lambda_scale is an array of shape {lam.shape}: it must hold lambda "
            f"itself, finite numbers >= 0 of shape {shape}, classes times features "
            "(intercept first)."
        )
    return lam


def _errors_of_copies(
    data: LabelledSamples, beta: FloatArray, tau: FloatArray
) -> FloatArray:
    """Return standard errors of moments where a row of weight s is s rows, (C, m)."""
    size = data.source_weight.sum()
    shares = np.eye(data.n_classes)[data.codes] * (data.source_weight / size)[:, None]
    squares = shares.T @ (beta[:, None] * data.source) ** 2
    return np.sqrt(np.maximum(squares - tau**2, 0.0) / size)


def fit_rule(
    data: LabelledSamples,
    weights: DoubleWeights,
    beta: FloatArray,
    start: MinimaxRule | None = None,
    *,
    loss: Loss,
    lambda_scale: float | FloatArray,
    tol: float,
) -> WeightedRule:
    """Return the minimax rule under the given weights.

    Parameters
    ----------
    data : LabelledSamples
    weights : DoubleWeights
        Its alpha are those of the target rows.
    beta : ndarray of shape (n,)
        Weights of the source rows in ``data``.
    start : MinimaxRule or None, default=None
        Of neighbouring weights.
    loss : {"0-1", "log"}
    lambda_scale : float or ndarray of shape (C, m)
        Standard errors to add to the smallest tolerances; or tolerances, raised to the
        smallest ones where they are below.
    tol : float
        Gap that counts as converged.
    """
    shares = data.target_weight / data.target_weight.sum()
    weighted = weights.alpha[:, None] * data.target
    own = data.source_weight / data.source_weight.sum()
    tau, errors = moment_deviations(data.source, data.codes, data.n_classes, beta, own)
    if data.counted:
        errors = _errors_of_copies(data, beta, tau)
    # The systems are small: threads would spin, and change last bits.
    with single_blas_thread:
        feasible = feasible_lambda(weighted, shares, tau)
        if isinstance(lambda_scale, np.ndarray):
            lam = np.maximum(lambda_scale, feasible.lam)
        else:
            lam = feasible.lam + lambda_scale * errors
        if loss == "0-1":
            rule = zero_one_rule(weighted, shares, tau, lam, tol=tol)
        else:
            mu = None if start is None else start.mu
            rule = log_rule(weighted, shares, tau, lam, tol=tol, start=mu)
    return WeightedRule(weights, weighted, tau, errors, feasible, lam, rule)


def probabilities(loss: Loss, scores: FloatArray, alpha: FloatArray) -> FloatArray:
    """Return the rule's probabilities of rows with unweighted scores (rows, C)."""
    weighted = alpha[:, None] * scores
    return sparsemax(weighted, scores) if loss == "0-1" else softmax(weighted)


def risk_bounds(
    found: WeightedRule, data: LabelledSamples, confidence: float
) -> tuple[float, float]:
    """Return the smallest risk in the set, and the bound at a level of confidence.

    The bound is that of a set whose tolerances are the smallest feasible ones plus
    normal quantiles of the moments' standard errors, for all moments at once
    (Bonferroni). The rule needs no other fit: its objective with these tolerances
    bounds its risk in that set (weak duality).
    """
    shares = data.target_weight / data.target_weight.sum()
    rule = found.rule
    scores = data.target @ rule.mu.T
    h = probabilities(rule.loss, scores, found.weights.alpha)
    with single_blas_thread:
        lower, _ = randomized_risk_bounds(
            found.weighted, shares, found.tau, found.lam, h, rule.loss
        )
    wide = confidence_lambda(found.feasible.lam, found.errors, confidence)
    return lower, confidence_bound(rule, found.lam, wide)


def trivial_risk(loss: Loss, n_classes: int) -> float:
    """Return the risk of uniform guessing."""
    return float(np.log(n_classes)) if loss == "log" else 1.0 - 1.0 / n_classes


def warn_of_rule(
    found: WeightedRule, n_classes: int, tol: float, stacklevel: int
) -> None:
    """Warn of capped weights, a rule like guessing, and one that is not optimal."""
    rule, weights = found.rule, found.weights
    if weights.cap_active:
        warnings.warn(
            f"source weights are at their bound B / sqrt(D) = {weights.cap:g}. Raise "
            "B, unless that bound is meant.",
            UserWarning,
            stacklevel=stacklevel,
        )
    guessing = trivial_risk(rule.loss, n_classes)
    if rule.risk >= NO_BETTER * guessing:
        warnings.warn(
            f"the minimax risk {rule.risk:.3g} is hardly below that of guessing, "
            f"{guessing:.3g}: the weighted source tells little of the target's labels. "
            "A larger D, or a smaller kappa or lambda_scale, relies on it more.",
            UserWarning,
            stacklevel=stacklevel,
        )
    if not found.converged:
        warnings.warn(
            f"not optimal to tol={tol:g}: relative gap of the weights "
            f"{weights.relative_gap:.2g}, gap of the rule {rule.gap:.2g}, of the "
            f"smallest lambda {found.feasible.gap:.2g}. Raise tol, kappa or rank.",
            ConvergenceWarning,
            stacklevel=stacklevel,
        )
