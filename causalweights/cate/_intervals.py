"""Confidence bands of effects given covariates, where the final model has them."""

from __future__ import annotations

from typing import Any

import numpy as np

from causalweights._typing import FloatArray
from causalweights.cate._first_stage import FirstStage
from causalweights.cate._second_stage import SecondStage
from causalweights.crossfit import mean_prediction
from causalweights.inference import confidence_band
from causalweights.inference._bands import BandKind


def effect_bands(
    first: FirstStage,
    second: SecondStage,
    modifiers: Any,
    center: FloatArray,
    *,
    level: float,
    kind: BandKind,
    n_draws: int,
    seed: Any,
) -> FloatArray:
    """Return lower and upper limits (m, contrasts, 2) around effects (m, contrasts).

    Nuisances count as known: they are cross-fitted, and the pseudo-outcome is
    orthogonal to them. Over repetitions the variance is the median of each one's plus
    its squared distance to the center.
    """
    out = np.empty((*center.shape, 2))
    for c in range(center.shape[1]):
        squares, criticals = [], []
        for rep, row in enumerate(second.models):
            model = row[c]
            if not hasattr(model, "linear_influence"):
                raise ValueError(
                    f"final_model={type(model).__name__} has no confidence bands: use "
                    "SeriesRegressor or LocalPolynomialRegressor, for instance by "
                    "refit_final(final_model=SeriesRegressor())."
                )
            units = first.crosses[rep].plan.units[second.targets[rep][c].kept()]
            groups = None if len(units) == len(np.unique(units)) else units
            groups = groups if first.groups is None else first.groups[units]
            A, S = model.linear_influence(modifiers)
            band = confidence_band(
                A, S, level, kind, groups=groups, n_draws=n_draws, random_state=seed
            )
            apart = mean_prediction(model, modifiers) - center[:, c]
            squares.append(band.se**2 + apart**2)
            criticals.append(band.critical_value)
        half = np.median(criticals) * np.sqrt(np.median(squares, axis=0))
        out[:, c] = center[:, c, None] + half[:, None] * [-1.0, 1.0]
    return out
