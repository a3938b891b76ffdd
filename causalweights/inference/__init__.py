"""Influence functions, M-estimation and the results that carry them."""

from causalweights.inference._arm_means import (
    ArmMeans,
    OutcomeFit,
    augmented_means,
    cluster_sums,
    contribution_covariance,
    m_estimation_means,
    score_influence,
)
from causalweights.inference._bands import ConfidenceBand, confidence_band
from causalweights.inference._comparison import ComparisonTable, compare
from causalweights.inference._contrasts import contrast_gradient
from causalweights.inference._matching_variance import (
    MatchingVariance,
    NearestMatching,
    matching_variance,
    nearest_matching,
)
from causalweights.inference._neighbors import (
    nearest_rows,
    neighbor_residuals,
    neighbor_variance,
)
from causalweights.inference._result import EffectResult
from causalweights.inference._robust_regression import (
    RobustRegression,
    robust_regression,
)
from causalweights.inference._sensitivity import (
    OmittedVariableBounds,
    PointAndLimit,
    Sensitivity,
    e_value,
    omitted_variable_bounds,
    robustness_value,
    sensitivity_parts,
)
from causalweights.inference._subsampling import (
    SubsamplingResult,
    minimum_volatility,
    subsample_interval,
)
from causalweights.inference._weight_model import TargetModel, WeightModel

__all__ = [
    "ArmMeans",
    "ComparisonTable",
    "ConfidenceBand",
    "EffectResult",
    "MatchingVariance",
    "NearestMatching",
    "OmittedVariableBounds",
    "OutcomeFit",
    "PointAndLimit",
    "RobustRegression",
    "Sensitivity",
    "SubsamplingResult",
    "TargetModel",
    "WeightModel",
    "augmented_means",
    "cluster_sums",
    "compare",
    "confidence_band",
    "contrast_gradient",
    "contribution_covariance",
    "e_value",
    "m_estimation_means",
    "matching_variance",
    "minimum_volatility",
    "nearest_matching",
    "nearest_rows",
    "neighbor_residuals",
    "neighbor_variance",
    "omitted_variable_bounds",
    "robust_regression",
    "robustness_value",
    "score_influence",
    "sensitivity_parts",
    "subsample_interval",
]
