"""Outcome learners on the package's own kernels."""

from causalweights.learners._kernel_ridge import WeightedKernelRidge

__all__ = ["WeightedKernelRidge"]
