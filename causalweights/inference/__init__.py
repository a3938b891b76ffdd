"""Influence functions, M-estimation and the results that carry them."""

from causalweights.inference._arm_means import (
    ArmMeans,
    LinearFit,
    augmented_means,
    contribution_covariance,
    least_squares_influence,
    m_estimation_means,
)
from causalweights.inference._contrasts import contrast_gradient
from causalweights.inference._result import EffectResult, compare
from causalweights.inference._weight_model import WeightModel

__all__ = [
    "ArmMeans",
    "EffectResult",
    "LinearFit",
    "WeightModel",
    "augmented_means",
    "compare",
    "contrast_gradient",
    "contribution_covariance",
    "least_squares_influence",
    "m_estimation_means",
]
