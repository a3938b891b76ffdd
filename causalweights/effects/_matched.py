"""Standard errors of weights that are nearest-neighbor matching.

Abadie & Imbens (2006); with an outcome model the bias-corrected estimator of theirs
(2011).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from causalweights._typing import FloatArray
from causalweights.balancing import IPMBalancer
from causalweights.balancing._discriminators import wasserstein_of
from causalweights.discrepancy import Wasserstein
from causalweights.effects._by_influence import point_means, predicted_outcomes
from causalweights.effects._outside import pooled_rows
from causalweights.effects._resolve_weights import ArmWeights, last_step
from causalweights.inference import (
    contrast_gradient,
    matching_variance,
    nearest_matching,
    neighbor_variance,
)
from causalweights.inference._sample import Estimate, Sample

# Masses of two searches of neighbors, which add in another order.
_ROUNDING = 1e-9


def by_matching(
    effect: Any, sample: Sample, weights: ArmWeights, estimand: str, cv: Any
) -> Estimate:
    """Return the estimate with ``se="matching"``.

    With predictions m_a, mu_a = sum_i t_i (m_a(X_i) + e_j(i)), e_j(i) the residual of
    the row's match: the augmented mean, as the masses add up what is matched. Outcome
    variances are those of residuals.
    """
    _refuse(effect, sample, weights, estimand)
    outside, codes = weights.outside, sample.arms.codes
    predictions = predicted_outcomes(
        effect, effect.outcome_model, sample, weights, estimand, cv
    )
    points = _points(weights.weighter, sample.X)
    residual, codes, masses, target = pooled_rows(
        outside,
        sample.y - predictions[np.arange(len(codes)), codes],
        codes,
        weights.masses,
        weights.target_masses,
    )
    if outside is not None:
        points = np.vstack([points, last_step(weights.weighter)._goal.rows])
        codes[len(sample.y) :] = -1  # of no arm
    base = np.ones(len(codes))
    if sample.weight is not None:
        base[: len(sample.y)] = sample.weight
    matching = nearest_matching(points, residual, codes, target, base=base)
    if np.any(np.abs(matching.masses - masses) > _ROUNDING):
        raise ValueError(
            "se='matching': the weights are not those of matching these rows with "
            "their nearest neighbors. Pass the weighter unfitted, or use "
            "se='influence'."
        )
    cov = matching_variance(
        codes,
        matching.masses,
        target,
        neighbor_variance(points, residual, codes),
        imputed=predictions + matching.imputed,
        squared_shares=matching.squared_shares,
        inference=effect.inference,
    ).cov
    means = point_means(effect, sample, weights, predictions)
    values, jacobian = contrast_gradient(means, sample.arms.control, effect.contrast)
    return Estimate(means, cov, values, jacobian @ cov @ jacobian.T)


def _points(weighter: Any, X: Any) -> FloatArray:
    """Return the sample's rows in the scale in which a fitted weighter matches them."""
    while not isinstance(weighter, IPMBalancer):
        if isinstance(weighter, Pipeline):
            X = weighter[:-1].transform(X) if len(weighter) > 1 else X
            weighter = weighter[-1]
        else:
            weighter = weighter.estimator
    return weighter._new_points(X, "se='matching'")


def _refuse(effect: Any, sample: Sample, weights: ArmWeights, estimand: str) -> None:
    """Raise for weights that are not matching, and where its theory ends."""
    last = last_step(weights.weighter)
    wasserstein = (
        isinstance(last, IPMBalancer)
        and wasserstein_of(last.discriminator) == Wasserstein()
        and last.solver == "auto"
    )
    if not wasserstein:
        raise ValueError(
            "se='matching' is for weights that match every row with its nearest "
            "neighbor, IPMBalancer(discriminator='wasserstein', between_arms=False); "
            f"these are: {weights.label}. Use se='influence' or 'subsample'."
        )
    if last.ridge_ > 0:
        raise ValueError(
            f"se='matching' needs ridge=0: a ridge (here {last.ridge_:g}) spreads the "
            "weights beyond the nearest neighbors. Use se='influence' or 'subsample'."
        )
    if estimand == "ato":
        raise ValueError(
            "se='matching' takes the target as given, and that of estimand='ato' is "
            "estimated: use se='influence' or 'subsample'."
        )
    if sample.groups is not None:
        raise ValueError(
            "se='matching' takes rows as independent, so it has no version for "
            "groups: use se='influence' or 'subsample', which have."
        )
    if sample.frequency is not None:
        raise ValueError(
            "se='matching' does not count frequencies, whose copies of a row match "
            "one another: repeat the rows, or use se='influence'."
        )
