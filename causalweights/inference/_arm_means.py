"""Arm means of weighting and augmented estimators with their influence contributions.

Contributions phi are in sum form: estimate - truth = sum_i phi_i to first order, so
that the variance is phi' phi; n phi_i is the usual influence function.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from causalweights._typing import FloatArray, IntArray
from causalweights.inference._weight_model import TargetModel, WeightModel


@dataclass(frozen=True, slots=True)
class ArmMeans:
    """Estimated mean outcome under each arm.

    Attributes
    ----------
    means : ndarray of shape (K,)
    contributions : ndarray of shape (n, K)
        Sum form, without the target's sampling where that is held fixed.
    predictions : ndarray of shape (n, K) or None
        Of the outcome models, where residuals were taken from some.
    """

    means: FloatArray
    contributions: FloatArray
    predictions: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class OutcomeFit:
    """Smooth outcome models, one an arm, evaluated on every row.

    Attributes
    ----------
    gradients : list of ndarray of shape (n, p_k)
        Derivative of the predictions in the arm's coefficients: of least squares the
        regressors with the intercept's column.
    influence : list of ndarray of shape (n, p_k)
        Contributions to the error of each arm's coefficients, sum form.
    """

    gradients: list[FloatArray]
    influence: list[FloatArray]


def augmented_means(
    y: FloatArray,
    codes: IntArray,
    masses: FloatArray,
    target_masses: FloatArray,
    predictions: FloatArray,
    *,
    target_model: TargetModel | None = None,
    fixed_target: bool = False,
    augment: bool = True,
) -> ArmMeans:
    """Return doubly robust arm means and their influence contributions.

    mu_a = sum_i t_i m_a(X_i) + sum_{A_i = a} M_i (Y_i - m_a(X_i)) (Hirshberg &
    Wager, 2021), with phi_i = t_i (m_a(X_i) - mu_a) + 1{A_i = a} M_i (Y_i -
    m_a(X_i)). The plain weighted mean has the same first-order behaviour where the
    weights balance m_a, so ``augment=False`` changes the estimate only.

    Parameters
    ----------
    y, codes, masses, target_masses : ndarray of shape (n,)
        Masses sum to one in each arm, target masses to one overall.
    predictions : ndarray of shape (n, K)
        m_a(X_i).
    target_model : TargetModel or None, default=None
        Of an estimated target; its parameters add their influence.
    fixed_target : bool, default=False
        Drop the target's term: inference given the sample's covariates.
    augment : bool, default=True
        False returns sum M_i Y_i as the mean.
    """
    n, n_arms = predictions.shape
    means, phi = np.empty(n_arms), np.zeros((n, n_arms))
    for a in range(n_arms):
        own = np.where(codes == a, masses, 0.0)
        residual = own * (y - predictions[:, a])
        model_mean = float(target_masses @ predictions[:, a])
        mean = model_mean + residual.sum()
        phi[:, a] = residual
        if not fixed_target:
            phi[:, a] += target_masses * (predictions[:, a] - mean)
        if target_model is not None:
            spread = target_masses * (predictions[:, a] - model_mean)
            phi[:, a] += target_model.influence @ (spread @ target_model.log_gradient)
        means[a] = mean if augment else own @ y
    return ArmMeans(means, phi, predictions)


def m_estimation_means(
    y: FloatArray,
    codes: IntArray,
    masses: FloatArray,
    target_masses: FloatArray,
    predictions: FloatArray,
    weight_model: WeightModel | None,
    outcome: OutcomeFit | None,
    *,
    target_model: TargetModel | None = None,
    fixed_target: bool = False,
) -> ArmMeans:
    """Return arm means whose contributions account for every estimated parameter.

    Stacks the estimating equations of the weights, of the outcome models and of
    the means (Stefanski & Boos, 2002): each nuisance parameter adds its
    influence times the derivative of the mean with respect to it. ``predictions`` are
    zero without an outcome model; zero masses give regression adjustment.
    """
    n, n_arms = predictions.shape
    means, phi = np.empty(n_arms), np.zeros((n, n_arms))
    weighted = bool(np.any(masses > 0))
    for a in range(n_arms):
        own = np.where(codes == a, masses, 0.0)
        residual = y - predictions[:, a]
        offset = float(own @ residual)
        model_mean = float(target_masses @ predictions[:, a])
        means[a] = model_mean + offset
        phi[:, a] = own * (residual - offset) if weighted else 0.0
        spread = target_masses * (predictions[:, a] - model_mean)
        if not fixed_target:
            phi[:, a] += spread
        if target_model is not None:
            phi[:, a] += target_model.influence @ (spread @ target_model.log_gradient)
        if outcome is not None:
            slope = (target_masses - own) @ outcome.gradients[a]
            phi[:, a] += outcome.influence[a] @ slope
        if weight_model is not None:
            slope = (own * (residual - offset)) @ weight_model.log_gradient
            influence = weight_model.influence
            if not fixed_target:
                influence = influence + weight_model.target_influence
            phi[:, a] += influence @ slope
    return ArmMeans(means, phi)


def score_influence(
    design: FloatArray,
    residual: FloatArray,
    weight: FloatArray,
    slope: FloatArray | float = 1.0,
) -> FloatArray:
    """Return contributions to the error of a generalised linear model's coefficients.

    The coefficients solve ``sum_i weight_i residual_i x_i = 0`` (least squares, or the
    canonical link), ``slope`` (n,) is the derivative of a prediction in its linear
    predictor. ``weight`` (n,) is zero on rows that took no part in the fit. Collinear
    columns are handled by the pseudo-inverse, which leaves predictions' influence
    unchanged.
    """
    scaled = design * weight[:, None]
    bread = np.linalg.pinv(
        design.T @ (scaled * np.reshape(slope, (-1, 1))), hermitian=True
    )
    return (scaled * residual[:, None]) @ bread


def contribution_covariance(
    phi: FloatArray,
    *,
    frequency: FloatArray | None = None,
    groups: np.ndarray | None = None,
) -> FloatArray:
    """Return the covariance of the estimates from contributions (n, K).

    Parameters
    ----------
    phi : ndarray of shape (n, K)
    frequency : ndarray of shape (n,) or None
        Row counts: a row of count s stands for s independent rows of phi / s each.
    groups : ndarray of shape (n,) or None
        Clusters: contributions are summed within, with the factor G / (G - 1).
    """
    if groups is not None:
        sums = cluster_sums(phi, groups)
        return sums.T @ sums * (len(sums) / (len(sums) - 1))
    if frequency is not None:
        return phi.T @ (phi / frequency[:, None])
    return phi.T @ phi


def cluster_sums(phi: FloatArray, groups: np.ndarray) -> FloatArray:
    """Return contributions summed within clusters, (G, K); refuse a single one."""
    _, index = np.unique(groups, return_inverse=True)
    n_groups = int(index.max()) + 1
    if n_groups < 2:
        raise ValueError(
            "groups holds one cluster only: cluster-robust standard errors need at "
            "least two."
        )
    sums = np.zeros((n_groups, phi.shape[1]))
    np.add.at(sums, index, phi)
    return sums
