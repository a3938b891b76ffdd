"""Kernel families, bandwidth rules and Gram operators."""

from causalweights.kernels._bandwidth import median_distance
from causalweights.kernels._families import (
    Energy,
    Gaussian,
    Kernel,
    Laplace,
    Linear,
    Matern,
    Polynomial,
)
from causalweights.kernels._low_rank import LowRankFactor, pivoted_cholesky
from causalweights.kernels._operator import GramOperator

__all__ = [
    "Energy",
    "Gaussian",
    "GramOperator",
    "Kernel",
    "Laplace",
    "Linear",
    "LowRankFactor",
    "Matern",
    "Polynomial",
    "median_distance",
    "pivoted_cholesky",
]
