"""Kernel families, bandwidth rules and Gram operators."""

from causalweights.kernels._bandwidth import median_distance
from causalweights.kernels._choose import choose_landmarks
from causalweights.kernels._error_bound import ErrorBound, objective_error_bound
from causalweights.kernels._families import (
    Energy,
    Gaussian,
    Kernel,
    Laplace,
    Linear,
    Matern,
    Polynomial,
)
from causalweights.kernels._feature_kernels import MeanSigmoid, RandomFourier
from causalweights.kernels._landmarks import (
    LandmarkFeatures,
    nystrom,
    nystrom_factor,
)
from causalweights.kernels._largest_variance import largest_variance_bandwidth
from causalweights.kernels._low_rank import LowRankFactor, pivoted_cholesky
from causalweights.kernels._operator import GramOperator
from causalweights.kernels._random_features import (
    RandomFourierFeatures,
    random_fourier_features,
)

__all__ = [
    "Energy",
    "ErrorBound",
    "Gaussian",
    "GramOperator",
    "Kernel",
    "LandmarkFeatures",
    "Laplace",
    "Linear",
    "LowRankFactor",
    "Matern",
    "MeanSigmoid",
    "Polynomial",
    "RandomFourier",
    "RandomFourierFeatures",
    "choose_landmarks",
    "largest_variance_bandwidth",
    "median_distance",
    "nystrom",
    "nystrom_factor",
    "objective_error_bound",
    "pivoted_cholesky",
    "random_fourier_features",
]
