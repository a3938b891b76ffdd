"""Weights and classifiers for covariate shift, by double weighting."""

from causalweights.shift._classifier import DoubleWeightingClassifier
from causalweights.shift._conformal_regressor import WeightedConformalRegressor
from causalweights.shift._double_weights import (
    DoubleKernelMeanMatching,
    KernelMeanMatching,
)
from causalweights.shift._logistic_ratio import LogisticRatio
from causalweights.shift._matching import MatchingProblem
from causalweights.shift._matching_fit import weight_path
from causalweights.shift._relative_ratio import RuLSIF
from causalweights.shift._samples import TargetSample
from causalweights.shift._scorer import ImportanceWeightedScorer
from causalweights.shift._selection import ClassifierPath
from causalweights.shift._shift_test import ShiftTest, shift_test
from causalweights.shift._solution import DoubleWeights, WeightPath
from causalweights.shift._weighted_estimator import ShiftWeightedEstimator

__all__ = [
    "ClassifierPath",
    "DoubleKernelMeanMatching",
    "DoubleWeightingClassifier",
    "DoubleWeights",
    "ImportanceWeightedScorer",
    "KernelMeanMatching",
    "LogisticRatio",
    "MatchingProblem",
    "RuLSIF",
    "ShiftTest",
    "ShiftWeightedEstimator",
    "TargetSample",
    "WeightPath",
    "WeightedConformalRegressor",
    "shift_test",
    "weight_path",
]
