"""Cross-fitting: folds, weights for any learner, out-of-fold nuisance predictions."""

from causalweights.crossfit._fitting import check_takes_weights, fit_with_weights
from causalweights.crossfit._folds import (
    Fold,
    check_arms,
    kept_splits,
    make_folds,
    repeat_seeds,
)
from causalweights.crossfit._nuisance import (
    check_binary,
    check_learner,
    check_training,
    mean_prediction,
    outcome_predictions,
)
from causalweights.crossfit._propensity import (
    check_probabilities,
    check_propensity,
    propensity_predictions,
)
from causalweights.crossfit._seeds import seeded_clone

__all__ = [
    "Fold",
    "check_arms",
    "check_binary",
    "check_learner",
    "check_probabilities",
    "check_propensity",
    "check_takes_weights",
    "check_training",
    "fit_with_weights",
    "kept_splits",
    "make_folds",
    "mean_prediction",
    "outcome_predictions",
    "propensity_predictions",
    "repeat_seeds",
    "seeded_clone",
]
