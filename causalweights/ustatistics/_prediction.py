"""Mean outcomes at new rows, imputed as for the target rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import _safe_indexing

from causalweights._typing import FloatArray
from causalweights.crossfit import fit_with_weights, mean_prediction
from causalweights.inference._sample import Sample
from causalweights.ustatistics._arm_fit import ArmFit, images_of
from causalweights.ustatistics._comparison import Comparison
from causalweights.ustatistics._estimate import (
    UStatistic,
    covariates_of_model,
    outcome_model,
)


@dataclass(frozen=True, slots=True, eq=False)
class ArmPredictor:
    """One arm's mean outcome as a function of covariates.

    Attributes
    ----------
    maps : list
    images : list of ndarray of shape (m, d)
        Of the reference rows, by each map.
    fit : ArmFit
    model : fitted estimator or None
        Of all the arm's rows.
    """

    maps: list[Any]
    images: list[FloatArray]
    fit: ArmFit
    model: Any

    def predict(
        self, effect: Any, comparison: Comparison, X: FloatArray, given: Any
    ) -> FloatArray:
        """Return predicted means (n,): the model's, plus imputed residuals."""
        zero, fit = np.zeros(len(X)), self.fit
        parts = [
            comparison.per_target()
            .impute(
                fit.bandwidth,
                [(U, images_of(m, X))],
                fit.outcomes,
                fit.base,
                zero,
                zero,
            )[0]
            .imputed
            for U, m in zip(self.images, self.maps)
        ]
        out = np.mean(parts, axis=0)
        if self.model is None:
            return out
        features = covariates_of_model(effect, X, given, self.maps[0])
        return out + mean_prediction(self.model, features)


def arm_predictors(
    effect: Any, X: FloatArray, sample: Sample, fitted: UStatistic
) -> dict[Any, ArmPredictor]:
    """Return predictors by the imputed arms' labels.

    Their outcome models are fitted on all the arm's rows; the residuals are those of
    the estimate, out of fold where it was cross-fitted.
    """
    model, found = outcome_model(effect, None)[0], {}
    for k, fit in fitted.fits.items():
        rows = np.flatnonzero(sample.arms.codes == k)
        maps = fitted.maps[k]
        images = [fit.images, *(images_of(m, X[rows]) for m in maps[1:])]
        if model is not None:
            model = clone(model)
            features = covariates_of_model(effect, X, sample.X, maps[0])
            weight = None if sample.weight is None else sample.weight[rows]
            fit_with_weights(
                model, _safe_indexing(features, rows), sample.y[rows], weight
            )
        found[sample.arms.label(k)] = ArmPredictor(maps, images, fit, model)
    return found
