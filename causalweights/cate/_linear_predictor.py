"""The best linear predictor of an effect (Semenova & Chernozhukov, 2021)."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_array

from causalweights._categories import Categories
from causalweights._typing import FloatArray
from causalweights.cate._contrast import (
    InfluenceResult,
    check_rows,
    contrast_of,
)
from causalweights.cate._pseudo_outcomes import doubly_robust
from causalweights.inference import robust_regression


def design_of(V: Any, n: int) -> tuple[FloatArray, list[str]]:
    """Return regressors with a constant, categories as indicators, and their names."""
    categories = Categories.of(V)
    names = [str(name) for name in V.columns] if hasattr(V, "columns") else None
    if categories is not None:
        V, names = categories.transform(V), categories.names
    V = check_array(V, dtype=np.float64, input_name="V")
    if len(V) != n:
        raise ValueError(f"V has {len(V)} rows, the fit {n}: pass the fitted rows'.")
    names = [f"x{j}" for j in range(V.shape[1])] if names is None else list(names)
    return np.column_stack([np.ones(n), V]), ["const", *names]


def linear_predictor(rows: dict[str, Any], V: Any, target: str) -> InfluenceResult:
    """Return the coefficients, with robust or clustered standard errors.

    Parameters
    ----------
    rows : dict
        Of `unit_rows`.
    V : array-like or frame of shape (n, q)
    target : {"population", "overlap"}
        The regression of doubly robust pseudo-outcomes on (1, V), or that of Y - eta on
        (A - pi) (1, V), whose score has no first-order term in pi's error.
    """
    counts = {k: rows.get(k) for k in ("sample_weight", "groups", "frequency")}
    parts = {k: v for k, v in rows.items() if k not in counts}
    checked = check_rows(len(rows["y"]), **counts)
    design, names = design_of(V, len(rows["y"]))
    overlap = target == "overlap"
    if not overlap and "mean_0" not in parts:
        raise ValueError(
            "target='population' needs outcome means by arm, which doses have not: use "
            "target='overlap'."
        )
    v = contrast_of(**parts, residual=overlap)
    if overlap:
        design, response = v.residual[:, None] * design, v.y - v.mean
    else:
        response = doubly_robust(v)
    fit = robust_regression(
        design, response, checked.weight, groups=counts["groups"],
        frequency=counts["frequency"],
    )  # fmt: skip
    return checked.result(
        fit.coefficients, fit.influence, names, estimand="blp",
        title=f"Best linear predictor of the effect, {target}", cov=fit.cov,
    )  # fmt: skip
