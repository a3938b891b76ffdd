"""Nuisances of rows that no model has seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from causalweights._typing import FloatArray
from causalweights._validation import check_treatment
from causalweights.cate._crossfit import CrossFit, Plan, average_prediction
from causalweights.cate._first_stage import FirstStage
from causalweights.cate._nuisances import Data
from causalweights.cate._options import known_propensities
from causalweights.cate._rows import one_dose


def held_out_stage(
    estimator: Any, X: Any, y: FloatArray, treatment: Any, propensity: Any
) -> FirstStage:
    """Return a first stage of new rows: the average prediction of all fold models."""
    first: FirstStage = estimator._first
    arms, n_arms = first.arms, 0
    a: np.ndarray
    if arms is None:
        a = one_dose(treatment, len(y))
    else:
        found = check_treatment(treatment, len(y), control=arms.label(arms.control))
        if not np.array_equal(found.treatments, arms.treatments):
            raise ValueError(
                f"treatment has the arms {found.treatments.tolist()}, fit had "
                f"{arms.treatments.tolist()}: score rows of all arms."
            )
        a, n_arms = found.codes, arms.n_arms
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
    data = Data(X, y, a, n_arms, None)
    return replace(
        first, data=data, rows=everyone >= 0, groups=None, crosses=[cross],
        known=known is not None, variances=None, seeds=first.seeds[:1],
    )  # fmt: skip
