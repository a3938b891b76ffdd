"""Bands of fitted regressors, which conformal prediction moves to the right width."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.validation import _num_samples

from causalweights._typing import FloatArray
from causalweights.crossfit import (
    check_takes_weights,
    fit_with_weights,
    mean_prediction,
    seeded_clone,
)

# Smallest scale of a row, as a share of the weighted mean absolute residual.
SMALLEST_SCALE = 0.1
# Residuals of this share of the outcome are rounding.
NO_RESIDUAL = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Fitted regressors of an outcome, and the band and scale that they make of rows.

    Attributes
    ----------
    mean : regressor
        The band, of width zero, where there are no quantiles.
    scale : regressor or None
        Of absolute residuals; None is a scale of one.
    quantiles : tuple of two regressors, or None
        The band's lower and upper end.
    smallest : float
        Below which no scale falls.
    """

    mean: Any
    scale: Any
    quantiles: tuple[Any, Any] | None
    smallest: float

    def at(self, X: Any) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return lower end, upper end and scale of rows, each (m,)."""
        one = np.ones(_num_samples(X))
        if self.quantiles is not None:
            low, high = (mean_prediction(model, X) for model in self.quantiles)
            return low, high, one
        mean = mean_prediction(self.mean, X)
        if self.scale is None:
            return mean, mean, one
        return mean, mean, np.maximum(mean_prediction(self.scale, X), self.smallest)


def check_band(
    estimator: Any, scale: Any, quantiles: Sequence[Any] | None, *, weighted: bool
) -> None:
    """Refuse a band of two shapes, and regressors that cannot be fitted with weights.

    Raises
    ------
    ValueError
        For scale and quantiles, other than two quantiles, and where ``weighted`` for a
        regressor that takes no weights.
    """
    if quantiles is not None and len(quantiles) != 2:
        raise ValueError(
            f"quantile_estimators holds {len(quantiles)} estimators: pass two, of a "
            "low and of a high quantile."
        )
    if quantiles is not None and scale is not None:
        raise ValueError(
            "scale_estimator and quantile_estimators were both given: pass one of the "
            "two."
        )
    for model in (estimator, scale, *(quantiles or ())) if weighted else ():
        if model is not None:
            try:
                check_takes_weights(model)
            except ValueError as error:
                raise ValueError(f"{error} Or set weighted_fit=False.") from None


def fit_band(
    estimator: Any,
    scale: Any,
    quantiles: Sequence[Any] | None,
    X: Any,
    y: FloatArray,
    weights: FloatArray | None,
    seed: int,
) -> Band:
    """Fit clones of the regressors, the scale's to absolute residuals.

    Weights (n,) reach them with mean one, so that penalties keep their meaning. Without
    residuals there is no scale, of which a warning points at the line that called the
    caller's decorated ``fit``.
    """
    if weights is not None:
        weights = weights / weights.mean()

    def fitted(model: Any, outcome: FloatArray) -> Any:
        return fit_with_weights(seeded_clone(model, seed), X, outcome, weights)

    mean, smallest = fitted(estimator, y), 0.0
    if scale is not None:
        residuals = np.abs(y - mean_prediction(mean, X))
        smallest = SMALLEST_SCALE * float(np.average(residuals, weights=weights))
        if smallest > NO_RESIDUAL * np.abs(y).max():
            scale = fitted(scale, residuals)
        else:
            warnings.warn(
                "the estimator leaves no residuals on the rows it was fitted to, so "
                "scale_estimator has none to learn from, and all intervals have one "
                "width. Choose an estimator that does not interpolate.",
                UserWarning,
                stacklevel=4,
            )
            scale = None
    pair = None
    if quantiles is not None:
        pair = fitted(quantiles[0], y), fitted(quantiles[1], y)
    return Band(mean, scale, pair, smallest)
