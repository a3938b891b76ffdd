"""From an estimated effect to the result that prints."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from causalweights._typing import FloatArray
from causalweights._validation import Arms, focal_arm
from causalweights.effects._resolve_weights import ArmWeights
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
    estimates: tuple[Any, Any, Any],
    arms: Arms,
    weights: ArmWeights,
    estimand: str,
    *,
    n_samples: int,
    contrast: str,
    outcome_model: Any,
    se: str,
    inference: str,
    clustered: bool,
    frequency: FloatArray | None,
    sensitivity: Sensitivity | None,
) -> EffectResult:
    """Return the result of (effect, se, cov) with what its summary's head tells.

    ``frequency`` = copies of each row, None where a row is one.
    """
    details = {
        "Weights": weights.label,
        "Outcome model": _name(outcome_model),
        "Std. error": se.replace("_", "-") + (", clustered" if clustered else ""),
        "Inference": inference,
    }
    if weights.label != "none":
        copies = np.ones(len(arms.codes)) if frequency is None else frequency
        squares = np.bincount(arms.codes, weights=weights.masses**2 / copies)
        counts = np.bincount(arms.codes, weights=copies)
        for k in range(arms.n_arms):
            details[f"ESS {arms.label(k)}"] = f"{1 / squares[k]:.1f} of {counts[k]:g}"
    control = arms.label(arms.control)
    return EffectResult(
        *estimates,
        names=[f"{arms.label(k)} vs {control}" for k in arms.contrasts()],
        contrast=contrast,
        estimand=estimand,
        n_samples=n_samples,
        details=details,
        title=_TITLES[estimand],
        sensitivity=sensitivity,
    )


def sensitivity_of(
    means: ArmMeans,
    y: FloatArray,
    arms: Arms,
    weights: ArmWeights,
    estimand: str,
    sample_weight: FloatArray | None,
) -> Sensitivity | None:
    """Return what a sensitivity analysis needs, None without residuals or weights."""
    if means.predictions is None or weights.label == "none":
        return None
    focal = focal_arm(arms, estimand) if estimand in ("att", "atc") else None
    return sensitivity_parts(
        y, arms.codes, weights.masses, means.predictions[: len(y)],
        control=arms.control, target_arm=focal, sample_weight=sample_weight,
    )  # fmt: skip


def _name(outcome_model: Any) -> str:
    if outcome_model is None:
        return "none"
    if isinstance(outcome_model, str):
        return "WeightedKernelRidge"
    if isinstance(outcome_model, Pipeline):
        outcome_model = outcome_model[-1]
    return type(outcome_model).__name__
