"""Point estimates of arm means, and standard errors by their influence functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from causalweights._typing import FloatArray
from causalweights._validation import focal_arm
from causalweights.effects._outcome import (
    fit_smooth,
    is_smooth,
    repeated_predictions,
)
from causalweights.effects._outside import outside_rows, pooled_rows
from causalweights.effects._report import sensitivity_of
from causalweights.effects._resolve_weights import ArmWeights, require_m_estimation
from causalweights.inference import (
    ArmMeans,
    augmented_means,
    contrast_gradient,
    contribution_covariance,
    m_estimation_means,
)
from causalweights.inference._sample import Estimate, Sample
from causalweights.learners import WeightedKernelRidge


def by_influence(
    effect: Any, sample: Sample, weights: ArmWeights, estimand: str, cv: Any
) -> Estimate:
    """Return the estimate with ``se`` "influence" or "m_estimation".

    ``effect`` holds the options; ``cv`` is its own for the kept rows.
    """
    means = _means(effect, sample, weights, estimand, cv)
    frequency, groups, phi = sample.frequency, sample.groups, means.contributions
    share = phi[: len(sample.y)] / sample.copies[:, None]
    if weights.outside is not None:
        frequency, groups = outside_rows(weights.outside, frequency, groups)
    cov = contribution_covariance(phi, frequency=frequency, groups=groups)
    values, jacobian = contrast_gradient(
        means.means, sample.arms.control, effect.contrast
    )
    return Estimate(
        means.means,
        cov,
        values,
        jacobian @ cov @ jacobian.T,
        influence=sample.copies.sum() * share @ jacobian.T,
        sensitivity=sensitivity_of(means, sample, weights, estimand),
    )


def point_means(
    effect: Any, sample: Sample, weights: ArmWeights, predictions: FloatArray
) -> FloatArray:
    """Return the estimated arm means (K,) alone, the same as `by_influence` has."""
    common = pooled_rows(
        weights.outside,
        sample.y,
        sample.arms.codes,
        weights.masses,
        weights.target_masses,
    )
    augment = effect.outcome_model is not None
    return augmented_means(*common, predictions, augment=augment).means


def predicted_outcomes(
    effect: Any,
    model: Any,
    sample: Sample,
    weights: ArmWeights,
    estimand: str,
    cv: Any,
) -> FloatArray:
    """Return predictions (n + m, K) of the sample's and an outside target's rows.

    Zero without a model.
    """
    arms, outside = sample.arms, weights.outside
    if model is None:
        m = 0 if outside is None else outside.n_rows
        return np.zeros((len(sample.y) + m, arms.n_arms))
    if isinstance(model, str):
        model = WeightedKernelRidge()
    fixed = effect.inference == "sample"
    focal = focal_arm(arms, estimand) if estimand in ("att", "atc") else None
    return repeated_predictions(
        model, sample.X, sample.y, arms,
        # The target arm's own mean needs no model, unless its covariates are fixed.
        [a for a in range(arms.n_arms) if fixed or a != focal],
        cv=cv, n_rep=effect.n_rep, sample_weight=sample.weight, groups=sample.groups,
        random_state=effect.random_state, n_jobs=effect.n_jobs, outside=outside,
    )  # fmt: skip


def _means(
    effect: Any, sample: Sample, weights: ArmWeights, estimand: str, cv: Any
) -> ArmMeans:
    """Return arm means and contributions by the route the options ask for."""
    fixed, model = effect.inference == "sample", effect.outcome_model
    smooth = is_smooth(model) and effect.cv is None
    y, arms = sample.y, sample.arms
    common = pooled_rows(
        weights.outside, y, arms.codes, weights.masses, weights.target_masses
    )
    if weights.label == "none" or effect.se == "m_estimation":
        require_m_estimation(weights, model, smooth, fixed)
        if smooth:
            predictions, outcome = fit_smooth(model, sample.X, y, arms, sample.weight)
        else:
            predictions, outcome = np.zeros((len(y), arms.n_arms)), None
        return m_estimation_means(
            *common, predictions, weights.model, outcome,
            target_model=weights.target_model, fixed_target=fixed,
        )  # fmt: skip
    augment = model is not None
    predictions = predicted_outcomes(
        effect, model if augment else "auto", sample, weights, estimand,
        cv if augment else (cv or 5),
    )  # fmt: skip
    return augmented_means(
        *common, predictions, target_model=weights.target_model, fixed_target=fixed,
        augment=augment,
    )  # fmt: skip
