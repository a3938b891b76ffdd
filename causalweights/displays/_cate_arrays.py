"""The arrays of the pictures of a fitted effect regression."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from causalweights._typing import FloatArray
from causalweights.displays._covariate_grid import choose_column, covariate_grid


def along_covariate(
    estimator: Any, c: int, feature: Any, level: float, n_points: int
) -> dict[str, Any]:
    """Return the arrays of a curve along one covariate."""
    first, X = estimator._first, estimator._first.data.X
    allowed = estimator._modifier_positions()
    j = choose_column(feature, allowed, X)
    # The X-learner's blend of two models sees all covariates.
    seen = range(X.shape[1]) if estimator.pseudo_outcome == "x" else allowed
    others = [k for k in seen if k != j]
    grid = covariate_grid(X, j, others, first.base, n_points)
    m = len(grid.x)
    found = {
        "x": grid.x,
        "effect": np.reshape(estimator.predict(grid.rows), (m, -1))[:, c],
        "labels": grid.labels,
        "density": grid.density,
        "x_label": grid.text,
    }
    if hasattr(estimator._second.models[0][c], "linear_influence"):
        for name, kind in (("interval", "pointwise"), ("band", "uniform")):
            limits = estimator.predict_interval(grid.rows, level, kind=kind)
            found[name] = np.reshape(limits, (m, -1, 2))[:, c]
    return found


def sorted_effects(
    estimator: Any, c: int, arm: Any, level: float, n_groups: int | None
) -> dict[str, Any]:
    """Return the arrays of out-of-fold effects in rising order, and of groups."""
    weight: FloatArray = estimator._first.base
    effects = np.reshape(estimator.oof_effect_, (len(weight), -1))[:, c]
    order = np.argsort(effects, kind="stable")
    effects, share = effects[order], weight[order] / weight.sum()
    upper = np.cumsum(share)
    found: dict[str, Any] = {"x": upper - share / 2, "effect": effects}
    if n_groups is not None:
        result = estimator.group_effects(n_groups, arm=arm)
        edges = np.linspace(0, 1, n_groups + 1)
        area = np.append(0.0, np.cumsum(share * effects))
        area = np.interp(edges, np.append(0.0, upper), area)
        found["groups"] = {
            "edges": edges,
            "predicted": n_groups * np.diff(area),
            "effect": result.effect[:n_groups],
            "interval": result.conf_int(level)[:n_groups],
        }
    return found


def targeting(estimator: Any, arm: Any, level: float) -> dict[str, Any]:
    """Return the arrays of the targeting curve."""
    shares = np.arange(1, 20) / 20
    curve = estimator.targeting_curve(shares, arm=arm)
    area = estimator.rank_score(arm=arm)
    form = rounded(area.se)
    return {
        "x": shares,
        "effect": curve.effect,
        "interval": curve.conf_int(level),
        "band": curve.joint_conf_int(level),
        "note": f"AUTOC {form(area.effect)} (se {form(area.se)})",
    }


def rounded(error: float) -> Callable[[float], str]:
    """Return how to write numbers of this error: to its second digit."""
    digits = max(0, 1 - int(np.floor(np.log10(error)))) if error > 0 else 3
    return lambda v: f"{v:,.{digits}f}".replace("-", "\N{MINUS SIGN}")
