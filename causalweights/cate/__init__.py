"""Effects given covariates: pseudo-outcome regression, its tests and its scores."""

from causalweights.cate._average import average_effect, median_result
from causalweights.cate._calibration import (
    CalibrationCurve,
    calibration_curve,
    calibration_test,
)
from causalweights.cate._contrast import InfluenceResult
from causalweights.cate._groups import clan, gates
from causalweights.cate._presets import DRLearner, RLearner
from causalweights.cate._ranking import qini_score, rate_score, targeting_curve
from causalweights.cate._regressor import PseudoOutcomeRegressor
from causalweights.cate._scorers import effect_scorer
from causalweights.cate._scores import (
    dr_loss,
    dr_score,
    policy_value,
    r_loss,
    r_score,
)

__all__ = [
    "CalibrationCurve",
    "DRLearner",
    "InfluenceResult",
    "PseudoOutcomeRegressor",
    "RLearner",
    "average_effect",
    "calibration_curve",
    "calibration_test",
    "clan",
    "dr_loss",
    "dr_score",
    "effect_scorer",
    "gates",
    "median_result",
    "policy_value",
    "qini_score",
    "r_loss",
    "r_score",
    "rate_score",
    "targeting_curve",
]
