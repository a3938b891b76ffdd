"""Fit a propensity model: in sample or out of fold, with the scores it solves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from causalweights._typing import FloatArray
from causalweights.balancing._logistic import (
    LogisticScores,
    UnpenalizedLogistic,
    solved_scores,
    without_penalty,
)
from causalweights.balancing._weighter import Design
from causalweights.crossfit import (
    fit_with_weights,
    kept_splits,
    make_folds,
    propensity_predictions,
)


@dataclass(frozen=True, slots=True)
class FittedPropensity:
    """Probabilities and where they come from.

    Attributes
    ----------
    e : ndarray of shape (n, K)
        Probabilities of the arms, in or out of sample.
    model : classifier or None
        Fitted on all rows; None where the probabilities were given.
    scores : LogisticScores or None
        Of an unpenalised logistic model in sample.
    """

    e: FloatArray
    model: Any
    scores: LogisticScores | None

    def describe(self, names: Any = None) -> str:
        """Return what the probabilities are from, for a warning."""
        if self.model is None:
            return "the given propensities"
        if not isinstance(self.model, UnpenalizedLogistic):
            return f"{type(self.model).__name__}"
        columns = ", ".join(repr(name) for name in self.model.steepest(names))
        return f"a logistic model that separates the arms (by {columns})"


def fit_propensity(
    model: Any,
    design: Design,
    cv: Any = None,
    *,
    weight_type: str = "sampling",
    random_state: Any = None,
    n_jobs: int | None = None,
) -> FittedPropensity:
    """Fit a clone of the model (None: unpenalised logistic) on all rows.

    With ``cv`` the probabilities are out of fold, and the model of all rows is there
    for new rows only.
    """
    arms, s = design.arms, design.sample_weight
    # Without a penalty the estimate is defined by its score equations, which a default
    # stopping rule leaves unsolved by a percent of a standard error: solve them.
    exact = model is None or without_penalty(model)
    model = UnpenalizedLogistic() if exact else clone(model)
    if weight_type == "sampling":
        s = s / s.mean()
    # Equal weights say nothing, and not every classifier accepts any.
    weight = None if np.all(s == 1) else s
    model = fit_with_weights(model, design.X, arms.codes, weight)
    if cv is None:
        e: FloatArray = np.asarray(model.predict_proba(design.X), dtype=np.float64)
        scores = solved_scores(model, design.X, arms.codes, e, design.sample_weight)
        return FittedPropensity(e, model, scores)
    folds = make_folds(
        kept_splits(cv, design.rows),
        len(design.X),
        codes=arms.codes,
        labels=arms.treatments.tolist(),
        random_state=random_state,
    )
    e = propensity_predictions(
        model,
        design.X,
        arms.codes,
        arms.n_arms,
        folds,
        sample_weight=weight,
        n_jobs=n_jobs,
    )
    return FittedPropensity(e, model, None)
