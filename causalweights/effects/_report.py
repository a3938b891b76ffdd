"""From an estimated effect to the result that prints."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from causalweights._validation import focal_arm
from causalweights.effects._resolve_weights import ArmWeights
from causalweights.effects._sample import Estimate, Sample
from causalweights.inference import (
    ArmMeans,
    EffectResult,
    Sensitivity,
    sensitivity_parts,
)

_TITLES = {
    "ate": "Average treatment effect",
    "att": "Average treatment effect on the treated",
    "atc": "Average treatment effect on the controls",
    "ato": "Average treatment effect on the overlap population",
}


def report(
    found: Estimate, sample: Sample, weights: ArmWeights, estimand: str, effect: Any
) -> EffectResult:
    """Return the result of an estimate with what its summary's head tells.

    ``effect`` is the fitted estimator.
    """
    arms = sample.arms
    clustered = ", clustered" if sample.groups is not None else ""
    details = {
        "Weights": weights.label,
        "Outcome model": _name(effect.outcome_model),
        "Std. error": effect.se.replace("_", "-") + clustered,
        "Inference": effect.inference,
        **found.details,
    }
    copies = sample.frequency
    copies = np.ones(len(arms.codes)) if copies is None else copies
    if weights.label != "none":
        squares = np.bincount(arms.codes, weights=weights.masses**2 / copies)
        counts = np.bincount(arms.codes, weights=copies)
        for k in range(arms.n_arms):
            details[f"ESS {arms.label(k)}"] = f"{1 / squares[k]:.1f} of {counts[k]:g}"
    control = arms.label(arms.control)
    return EffectResult(
        effect.effect_,
        effect.se_,
        found.cov,
        names=[f"{arms.label(k)} vs {control}" for k in arms.contrasts()],
        contrast=effect.contrast,
        estimand=estimand,
        n_samples=round(copies.sum()),
        details=details,
        title=_TITLES[estimand],
        sensitivity=found.sensitivity,
        draws=found.draws,
    )


def sensitivity_of(
    means: ArmMeans, sample: Sample, weights: ArmWeights, estimand: str
) -> Sensitivity | None:
    """Return what a sensitivity analysis needs, None without residuals or weights."""
    if means.predictions is None or weights.label == "none":
        return None
    arms, y = sample.arms, sample.y
    focal = focal_arm(arms, estimand) if estimand in ("att", "atc") else None
    return sensitivity_parts(
        y, arms.codes, weights.masses, means.predictions[: len(y)],
        control=arms.control, target_arm=focal, sample_weight=sample.weight,
    )  # fmt: skip


def _name(outcome_model: Any) -> str:
    if outcome_model is None:
        return "none"
    if isinstance(outcome_model, str):
        return "WeightedKernelRidge"
    if isinstance(outcome_model, Pipeline):
        outcome_model = outcome_model[-1]
    return type(outcome_model).__name__
