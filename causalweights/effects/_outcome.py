"""Outcome models of an effect: cross-fitted predictions, pieces of smooth fits."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_random_state

from causalweights._typing import FloatArray
from causalweights._validation import Arms
from causalweights.balancing._logistic import UnpenalizedLogistic, without_penalty
from causalweights.crossfit import (
    check_binary,
    fit_with_weights,
    make_folds,
    outcome_predictions,
)
from causalweights.effects._outside import Outside
from causalweights.inference import OutcomeFit, score_influence


def repeated_predictions(
    model: Any,
    X: Any,
    y: FloatArray,
    arms: Arms,
    fit_arms: list[int],
    *,
    cv: Any,
    n_rep: int,
    sample_weight: FloatArray | None,
    groups: np.ndarray | None,
    random_state: Any,
    n_jobs: int | None,
    outside: Outside | None = None,
) -> FloatArray:
    """Return out-of-fold predictions m_a(X_i), (n, K), averaged over repetitions.

    Averaging keeps every prediction out of fold. Columns of arms that need no model
    are zero. The rows of a target outside the sample follow, (n + m, K), predicted by
    models of all the sample's rows.
    """
    n, codes, extra = len(y), arms.codes, []
    if outside is not None:
        X, y = outside.stack(X), outside.pad(y)
        codes = outside.pad(codes, arms.n_arms)
        if sample_weight is not None:
            sample_weight = outside.pad(sample_weight)
        extra = [(np.arange(n), np.arange(n, len(y)))]
    # None is seed 0, so that a refit gives the same number.
    rng = check_random_state(0 if random_state is None else random_state)
    total = np.zeros((len(y), arms.n_arms))
    for _ in range(n_rep):
        folds = make_folds(cv, n, codes=arms.codes, groups=groups, random_state=rng)
        total[:, fit_arms] += outcome_predictions(
            model,
            X,
            y,
            codes,
            arms.n_arms,
            [*folds, *extra],
            sample_weight=sample_weight,
            arms=fit_arms,
            n_jobs=n_jobs,
        )
    return total / n_rep


def is_smooth(model: Any) -> bool:
    """Tell whether the model's coefficients solve score equations in all rows.

    Least squares, or logistic regression without a penalty; or a Pipeline's last step.
    """
    last = model[-1] if isinstance(model, Pipeline) else model
    if isinstance(last, LinearRegression):
        return not last.positive
    return without_penalty(last)


def fit_smooth(
    model: Any,
    X: Any,
    y: FloatArray,
    arms: Arms,
    sample_weight: FloatArray | None,
) -> tuple[FloatArray, OutcomeFit]:
    """Fit the model by arm, in sample; return predictions (n, K) and the pieces."""
    s = np.ones(len(y)) if sample_weight is None else sample_weight
    model, logistic = _exact(model), is_classifier(model)
    if logistic:
        check_binary(model, y)
    predictions = np.empty((len(y), arms.n_arms))
    gradients, influence = [], []
    for a in range(arms.n_arms):
        rows = np.flatnonzero(arms.codes == a)
        if logistic and np.ptp(y[rows]) == 0:
            raise ValueError(
                f"outcome_model: arm {arms.label(a)!r} has one outcome only, "
                f"{y[rows[0]]:g}, so a logistic regression has no finite solution. Use "
                "LinearRegression or outcome_model=None."
            )
        weight = None if sample_weight is None else sample_weight[rows]
        fitted = clone(model)
        fit_with_weights(fitted, _safe_indexing(X, rows), y[rows], weight)
        slope: FloatArray | float = 1.0
        if logistic:
            p = predictions[:, a] = fitted.predict_proba(X)[:, 1]
            slope = p * (1.0 - p)
        else:
            predictions[:, a] = fitted.predict(X)
        design = _design(fitted, X)
        own = np.where(arms.codes == a, s, 0.0)
        gradients.append(design * np.reshape(slope, (-1, 1)))
        influence.append(score_influence(design, y - predictions[:, a], own, slope))
    return predictions, OutcomeFit(gradients, influence)


def _exact(model: Any) -> Any:
    """Return the model with a logistic regression that is solved to rounding."""
    if without_penalty(model):
        return UnpenalizedLogistic()
    if isinstance(model, Pipeline) and without_penalty(model[-1]):
        return clone(model).set_params(**{model.steps[-1][0]: UnpenalizedLogistic()})
    return model


def _design(fitted: Any, X: Any) -> FloatArray:
    last = fitted
    if isinstance(fitted, Pipeline):
        last = fitted[-1]
        X = fitted[:-1].transform(X) if len(fitted) > 1 else X
    columns = np.asarray(X, dtype=np.float64)
    if last.fit_intercept:
        columns = np.column_stack([np.ones(len(columns)), columns])
    return columns
