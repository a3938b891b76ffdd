"""How far two weighted samples are from each other: functions of arrays."""

from causalweights.discrepancy._function_classes import (
    FunctionClass,
    SourceOracle,
    Supremum,
    supremum,
)
from causalweights.discrepancy._mmd import energy_distance, mmd_matrix, squared_mmd
from causalweights.discrepancy._ridge_functions import ReLU, Sigmoid
from causalweights.discrepancy._step_functions import HalfSpaces, MeanDifferences
from causalweights.discrepancy._univariate import kolmogorov_smirnov
from causalweights.discrepancy._wasserstein import Wasserstein, wasserstein_distance

__all__ = [
    "FunctionClass",
    "HalfSpaces",
    "MeanDifferences",
    "ReLU",
    "Sigmoid",
    "SourceOracle",
    "Supremum",
    "Wasserstein",
    "energy_distance",
    "kolmogorov_smirnov",
    "mmd_matrix",
    "squared_mmd",
    "supremum",
    "wasserstein_distance",
]
