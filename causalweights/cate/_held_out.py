"""Rows that no model has seen: their nuisances, and what scores of effects take."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from causalweights._typing import FloatArray
from causalweights._validation import (
    check_outcome,
    check_same_rows,
    check_sample_weight,
    check_treatment,
)
from causalweights.cate._crossfit import CrossFit, Plan, average_prediction
from causalweights.cate._first_stage import FirstStage
from causalweights.cate._nuisances import Data
from causalweights.cate._options import known_propensities
from causalweights.cate._rows import one_dose
from causalweights.cate._unit_rows import unit_rows


def held_out_rows(
    estimator: Any, X: Any, y: Any, treatment: Any, propensity: Any, sample_weight: Any
) -> list[dict[str, Any]]:
    """Return keyword arguments of the losses and rankings of effects, by contrast.

    Nuisances are the fold models', averaged; effects are the estimator's. Arms have
    ``mean_0`` and ``mean_1``, and ``mean`` only where the outcome means were fitted
    without the treatment; doses have ``mean`` alone.
    """
    check_is_fitted(estimator)
    check_same_rows(
        X=X, y=y, treatment=treatment, propensity=propensity,
        sample_weight=sample_weight,
    )  # fmt: skip
    X = estimator._new_covariates(X)
    y = check_outcome(y, X.shape[0])
    weight = check_sample_weight(sample_weight, len(y))
    stage = held_out_stage(estimator, X, y, treatment, propensity)
    effects = np.asarray(estimator.predict(X)).reshape(len(y), -1)
    found = []
    for g, k in zip(effects.T, stage.contrasts, strict=True):
        rows = unit_rows(stage, 0, k, lambda g=g: g)
        del rows["groups"], rows["frequency" if stage.frequency else "sample_weight"]
        found.append(rows | {"effects": g, "sample_weight": weight})
    return found


def held_out_stage(
    estimator: Any, X: Any, y: FloatArray, treatment: Any, propensity: Any
) -> FirstStage:
    """Return a first stage of new rows: the average prediction of all fold models."""
    first: FirstStage = estimator._first
    arms = first.arms
    a = held_out_treatment(first, treatment, len(y))
    known = known_propensities(propensity, len(y), arms)
    if first.known and known is None:
        raise ValueError(
            "fit was given propensities, so that there is no model of them: pass "
            "propensity= of these rows."
        )
    everyone = np.arange(len(y))
    plan = Plan(
        [], [], np.zeros_like(everyone), everyone, np.zeros((len(y), 3), dtype=np.intp)
    )

    def predicted(kind: str) -> Any:
        fits = [cross for cross in first.crosses if kind in cross.models]
        if not fits:
            return None
        return np.mean(
            [average_prediction(cross.models[kind], X) for cross in fits], axis=0
        )

    pi = known if known is not None else predicted("propensity")
    cross = CrossFit(plan, pi, pi, predicted("means"), predicted("mean"), {})
    data = Data(X, y, a, 0 if arms is None else arms.n_arms, None)
    return replace(
        first, data=data, rows=everyone >= 0, groups=None, crosses=[cross],
        known=known is not None, variances=None, seeds=first.seeds[:1],
    )  # fmt: skip


def held_out_treatment(first: FirstStage, treatment: Any, n: int) -> np.ndarray:
    """Return the arm codes of new rows, (n,), in the order of the fit's; or doses."""
    arms = first.arms
    if arms is None:
        return one_dose(treatment, n)
    found = check_treatment(treatment, n, control=arms.label(arms.control))
    if not np.array_equal(found.treatments, arms.treatments):
        raise ValueError(
            f"treatment has the arms {found.treatments.tolist()}, fit had "
            f"{arms.treatments.tolist()}: score rows of all arms."
        )
    return found.codes
