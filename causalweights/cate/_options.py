"""Learners, known propensities and effect modifiers as an estimator's options say."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, get_tags

from causalweights._typing import FloatArray
from causalweights._validation import Arms
from causalweights.cate._pseudo_outcomes import PSEUDO_OUTCOMES, check_weights
from causalweights.crossfit import (
    check_binary,
    check_learner,
    check_probabilities,
    check_propensity,
    check_takes_weights,
)
from causalweights.learners import StackedClassifier, StackedRegressor


def check_options(estimator: Any) -> None:
    """Refuse combinations of options that the theory forbids; warn of a weak one."""
    name, dose = estimator.pseudo_outcome, estimator.treatment_type == "continuous"
    check_weights(name, estimator.weights)
    if dose and not PSEUDO_OUTCOMES[name].dose:
        raise ValueError(
            f"pseudo_outcome={name!r} takes arms: with treatment_type='continuous' use "
            "pseudo_outcome='u' with weights='r', the R-learner."
        )
    if name == "u" and estimator.weights == "uniform":
        warnings.warn(
            "pseudo_outcome='u' with uniform weights divides by A - pi, which is near "
            "zero for some rows, and is not orthogonal: use weights='r'.",
            UserWarning, stacklevel=4,
        )  # fmt: skip
    if estimator.cf_order > 2 and dose:
        raise ValueError(
            f"cf_order={estimator.cf_order} takes arms; use 2 with "
            "treatment_type='continuous'."
        )


def unfitted_learners(estimator: Any, n_arms: int, known: bool) -> dict[str, Any]:
    """Return the nuisance models to fit by kind, ``"auto"`` resolved."""
    outcome = estimator.outcome_model
    needs = PSEUDO_OUTCOMES[estimator.pseudo_outcome].needs
    kind = "mean" if needs == "mean" and n_arms <= 2 else "means"
    if estimator.pseudo_outcome == "x":
        check_blend(known)
    learners = {kind: StackedRegressor() if isinstance(outcome, str) else outcome}
    if not known:
        learners["propensity"] = estimator.propensity_model
        if isinstance(estimator.propensity_model, str):
            learners["propensity"] = (
                StackedClassifier() if n_arms else StackedRegressor()
            )
    return learners


def final_learner(estimator: Any) -> Any:
    """Return the unfitted second-stage learner."""
    model = estimator.final_model
    return StackedRegressor() if isinstance(model, str) else model


def check_learners(
    estimator: Any, learners: dict[str, Any], y: FloatArray, weight: Any, n_arms: int
) -> None:
    """Refuse learners that cannot do their job, before any of them is fitted."""
    for kind, model in learners.items():
        name = "propensity_model" if kind == "propensity" else "outcome_model"
        check_learner(model, name, len(y), weight)
        if name == "outcome_model" and is_classifier(model):
            check_binary(model, y)
        if name == "propensity_model" and n_arms:
            check_probabilities(model)
    final = final_learner(estimator)
    check_learner(final, "final_model", len(y), None)
    if is_classifier(final):
        raise ValueError(
            f"final_model={type(final).__name__} is a classifier: pseudo-outcomes are "
            "real numbers, use a regressor."
        )
    if estimator.weights != "uniform" or weight is not None:
        check_takes_weights(final)


def check_first(estimator: Any, first: Any) -> None:
    """Refuse a second stage that needs nuisances which were not fitted."""
    needs = PSEUDO_OUTCOMES[estimator.pseudo_outcome].needs
    cross = first.crosses[0]
    if needs == "means" and cross.means is None:
        raise ValueError(
            f"pseudo_outcome={estimator.pseudo_outcome!r} needs outcome means by arm; "
            "these nuisances have the overall mean only: fit again."
        )
    if estimator.weights == "het" and first.variances is None:
        raise ValueError("weights='het' needs the noise by arm: fit with it.")
    if estimator.pseudo_outcome == "x":
        check_blend(first.known)


def check_blend(known: bool) -> None:
    """Refuse the X-learner where propensities of new rows are not to be had."""
    if known:
        raise ValueError(
            "pseudo_outcome='x' needs propensities of new rows: leave propensity out, "
            "so that a model is fitted."
        )


def allows_missing(models: list[Any]) -> bool:
    """Tell whether every learner says that covariates may be missing."""

    def first(model: Any) -> Any:
        return first(model[0]) if isinstance(model, Pipeline) else model

    return all(get_tags(first(model)).input_tags.allow_nan for model in models)


def known_propensities(propensity: Any, n: int, arms: Arms | None) -> FloatArray | None:
    """Return given propensities as (n, K), or (n,) means of a dose; refuse bad ones.

    A vector is the probability of the arm that is not the control, of two arms.
    """
    if propensity is None:
        return None
    if arms is None:
        p: FloatArray = np.asarray(propensity, dtype=np.float64)
        if p.shape != (n,) or not np.all(np.isfinite(p)):
            raise ValueError(
                "propensity, the mean of a dose, must hold finite numbers of shape "
                f"({n},), got shape {p.shape}."
            )
        return p
    p = check_propensity(propensity, np.arange(n), arms.control, arms.n_arms)
    if np.any(p <= 0) or np.any(p >= 1):
        raise ValueError(
            "propensity must lie strictly between 0 and 1: rows that are sure to be in "
            "an arm tell nothing of the other."
        )
    return p


def select_modifiers(columns: Any, X: Any) -> Any:
    """Return the columns of X that the effect may depend on."""
    if columns is None:
        return X
    try:
        return _safe_indexing(X, list(columns), axis=1)
    except (IndexError, KeyError, ValueError, TypeError) as error:
        raise ValueError(
            f"modifiers={columns!r} are not columns of X: give names of a frame's "
            "columns, or positions."
        ) from error


def warn_of_modifiers(estimator: Any) -> None:
    """Warn that weights of all covariates change what a subset of them sees."""
    if estimator.modifiers is not None and estimator.weights != "uniform":
        warnings.warn(
            "weights depend on all covariates, so that the effect given modifiers is "
            "an average over the overlap population; weights='uniform' with "
            "pseudo_outcome='dr' gives that of the whole population.",
            UserWarning, stacklevel=4,
        )  # fmt: skip
