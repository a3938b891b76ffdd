"""The rows that an effect is fitted on, checked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from causalweights._doses import check_doses
from causalweights._typing import FloatArray
from causalweights._validation import (
    Arms,
    check_covariates,
    check_groups,
    check_outcome,
    check_sample_weight,
    check_treatment,
)
from causalweights.cate._nuisances import Data


def checked_rows(
    estimator: Any, X: Any, y: Any, treatment: Any, sample_weight: Any, groups: Any
) -> tuple[Data, np.ndarray, Arms | None, np.ndarray | None]:
    """Return the rows of positive weight, their mask, the arms and the clusters.

    Sets the estimator's ``treatments_`` and ``control_``.
    """
    checked = check_covariates(
        estimator, X, dtype=None, allow_nan=estimator._allow_nan()
    )
    n = checked.shape[0]
    X, y = X if hasattr(X, "columns") else checked, check_outcome(y, n)
    arms = None
    a: np.ndarray = np.zeros(n)
    if estimator.treatment_type == "discrete":
        arms = check_treatment(treatment, n, control=estimator.control)
    else:
        a = one_dose(treatment, n)
    weight = None if sample_weight is None else check_sample_weight(sample_weight, n)
    groups = check_groups(groups, n)
    rows = np.ones(n, dtype=bool) if weight is None else weight > 0
    kept = np.flatnonzero(rows)
    if arms is not None:
        arms = arms.take(kept)
    estimator.treatments_ = None if arms is None else arms.treatments
    estimator.control_ = None if arms is None else arms.label(arms.control)
    data = Data(X, y, a, 0, weight)
    data = data.take(kept) if len(kept) < n else data
    if data.weight is not None and estimator.weight_type == "sampling":
        # Penalties and leaf sizes of learners depend on the scale.
        data = replace(data, weight=data.weight / data.weight.mean())
    if arms is not None:
        data = replace(data, a=arms.codes, n_arms=arms.n_arms)
    return data, rows, arms, None if groups is None else groups[kept]


def one_dose(treatment: Any, n: int) -> FloatArray:
    """Return a continuous treatment of one column as a vector."""
    doses = check_doses(treatment, n)
    if doses.shape[1] > 1:
        raise ValueError(
            f"treatment has {doses.shape[1]} columns: the effect is of one dose."
        )
    return doses[:, 0]
