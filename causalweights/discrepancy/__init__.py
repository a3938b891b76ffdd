"""How far two weighted samples are from each other: functions of arrays."""

from causalweights.discrepancy._mmd import energy_distance, mmd_matrix, squared_mmd
from causalweights.discrepancy._univariate import kolmogorov_smirnov

__all__ = ["energy_distance", "kolmogorov_smirnov", "mmd_matrix", "squared_mmd"]
