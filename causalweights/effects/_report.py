"""What a sensitivity analysis and a summary's head tell of a weighted effect."""

from __future__ import annotations

from typing import Any

from causalweights._validation import focal_arm
from causalweights.effects._resolve_weights import ArmWeights
from causalweights.inference import ArmMeans, Sensitivity, sensitivity_parts
from causalweights.inference._effect_mixin import model_name
from causalweights.inference._sample import Sample


def details_of(effect: Any, sample: Sample, weights: ArmWeights) -> dict[str, Any]:
    """Return what the summary's head tells of the options."""
    clustered = ", clustered" if sample.groups is not None else ""
    model = effect.outcome_model
    model = "WeightedKernelRidge" if isinstance(model, str) else model
    return {
        "Weights": weights.label,
        "Outcome model": model_name(
            "WeightedKernelRidge" if model == "auto" else model
        ),
        "Std. error": effect.se.replace("_", "-") + clustered,
        "Inference": effect.inference,
    }


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
