"""Generalised method of moments and its relatives."""

from causalweights.moments._anderson_rubin import ConfidenceSet
from causalweights.moments._data import MomentData
from causalweights.moments._first_stage import FirstStage
from causalweights.moments._gel import GEL
from causalweights.moments._gmm import GMM
from causalweights.moments._kernel_iv import KernelIV
from causalweights.moments._kernel_moments import KernelMoments
from causalweights.moments._linear_iv import LinearIV
from causalweights.moments._mmr import MMR
from causalweights.moments._model_effects import ATEMoment, LATEMoment, MeanVariance
from causalweights.moments._model_regression import (
    LinearIVMoment,
    LogisticMoment,
    NonlinearLeastSquares,
    PoissonMoment,
    QuantileIVMoment,
)
from causalweights.moments._models import MomentModel
from causalweights.moments._moment_covariance import hac_bandwidth, moment_covariance
from causalweights.moments._moment_result import MomentResult, TestResult

__all__ = [
    "GEL",
    "GMM",
    "MMR",
    "ATEMoment",
    "ConfidenceSet",
    "FirstStage",
    "KernelIV",
    "KernelMoments",
    "LATEMoment",
    "LinearIV",
    "LinearIVMoment",
    "LogisticMoment",
    "MeanVariance",
    "MomentData",
    "MomentModel",
    "MomentResult",
    "NonlinearLeastSquares",
    "PoissonMoment",
    "QuantileIVMoment",
    "TestResult",
    "hac_bandwidth",
    "moment_covariance",
]
