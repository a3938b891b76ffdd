"""Outcome learners on the package's own kernels, and stacks of any learners."""

from causalweights.learners._kernel_ridge import WeightedKernelRidge
from causalweights.learners._local_polynomial import LocalPolynomialRegressor
from causalweights.learners._series import SeriesRegressor
from causalweights.learners._stacking import StackedClassifier, StackedRegressor

__all__ = [
    "LocalPolynomialRegressor",
    "SeriesRegressor",
    "StackedClassifier",
    "StackedRegressor",
    "WeightedKernelRidge",
]
