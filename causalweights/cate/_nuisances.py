"""Nuisance models of one training set: arm means, overall mean, propensity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import _safe_indexing

from causalweights._typing import FloatArray, IntArray
from causalweights.crossfit import (
    check_training,
    fit_with_weights,
    mean_prediction,
    seeded_clone,
)


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Rows that nuisance models learn from.

    Attributes
    ----------
    X : array or frame of shape (n, d)
    y : ndarray of shape (n,)
    a : ndarray of shape (n,)
        Arm codes 0, ..., K-1, or doses.
    n_arms : int
        K; 0 for doses.
    weight : ndarray of shape (n,) or None
    """

    X: Any
    y: FloatArray
    a: np.ndarray
    n_arms: int
    weight: FloatArray | None

    def take(self, rows: IntArray) -> Data:
        weight = None if self.weight is None else self.weight[rows]
        return Data(
            _safe_indexing(self.X, rows), self.y[rows], self.a[rows], self.n_arms,
            weight,
        )  # fmt: skip


class SingleModel:
    """One outcome model of covariates and treatment, evaluated at every arm."""

    def __init__(self, model: Any, data: Data):
        self._n_arms = data.n_arms
        table = with_treatment(data.X, data.a, data.n_arms)
        self._model = fit_with_weights(model, table, data.y, data.weight)

    def predict(self, X: Any) -> FloatArray:
        """Return the means (m, K) under each arm."""
        m = X.shape[0]
        columns = [
            mean_prediction(self._model, with_treatment(X, np.full(m, k), self._n_arms))
            for k in range(self._n_arms)
        ]
        return np.column_stack(columns)


class ArmModels:
    """An outcome model for each arm."""

    def __init__(self, models: Sequence[Any], data: Data):
        self._models = []
        for k, model in enumerate(models):
            arm = data.take(np.flatnonzero(data.a == k))
            self._models.append(fit_with_weights(model, arm.X, arm.y, arm.weight))

    def predict(self, X: Any) -> FloatArray:
        """Return the means (m, K) under each arm."""
        return np.column_stack([mean_prediction(model, X) for model in self._models])


class MeanModel:
    """The mean of a variable given covariates: outcome or dose."""

    def __init__(self, model: Any, data: Data, target: FloatArray):
        self._model = fit_with_weights(model, data.X, target, data.weight)

    def predict(self, X: Any) -> FloatArray:
        return mean_prediction(self._model, X)


class PropensityModel:
    """Probabilities of the arms."""

    def __init__(self, model: Any, data: Data):
        self._model = fit_with_weights(model, data.X, data.a, data.weight)

    def predict(self, X: Any) -> FloatArray:
        """Return the probabilities (m, K), in the order of the codes."""
        return np.asarray(self._model.predict_proba(X), dtype=np.float64)


KINDS = ("means", "mean", "propensity")


def fit_nuisance(
    kind: str, model: Any, strategy: str, data: Data, train: IntArray, seed: int
) -> Any:
    """Fit a clone of a model on training rows; return it with its ``predict``.

    Parameters
    ----------
    kind : {"means", "mean", "propensity"}
    model : estimator
    strategy : {"single", "separate"}
        Of the arm means.
    data : Data
    train : ndarray
        Positions.
    seed : int
    """
    rows = data.take(train)
    if kind == "propensity" and data.n_arms:
        return PropensityModel(seeded_clone(model, seed), rows)
    if kind == "propensity":
        return MeanModel(seeded_clone(model, seed), rows, rows.a)
    if kind == "mean":
        return MeanModel(seeded_clone(model, seed), rows, rows.y)
    if strategy == "single":
        return SingleModel(seeded_clone(model, seed), rows)
    return ArmModels([seeded_clone(model, seed) for _ in range(data.n_arms)], rows)


def with_treatment(X: Any, codes: IntArray, n_arms: int) -> Any:
    """Return X with an indicator of each arm beyond the first appended.

    A frame stays a frame; its new columns are called ``treatment_1``, ...
    """
    indicators = (np.asarray(codes)[:, None] == np.arange(1, n_arms)).astype(float)
    if not hasattr(X, "columns"):
        return np.column_stack([X, indicators])
    names: list[Any] = [f"treatment_{k}" for k in range(1, n_arms)]
    if hasattr(X, "with_columns"):  # polars
        import polars as pl

        _refuse_taken(names, X.columns)
        return X.with_columns(
            [pl.Series(k, v) for k, v in zip(names, indicators.T, strict=True)]
        )
    if not all(isinstance(name, str) for name in X.columns):
        # scikit-learn takes names of all columns or of none.
        names = [("treatment", k) for k in range(1, n_arms)]
    _refuse_taken(names, X.columns)
    table = X.copy()
    for name, values in zip(names, indicators.T, strict=True):
        table[name] = values
    return table


def _refuse_taken(names: Sequence[Any], columns: Any) -> None:
    """Refuse a frame that has a column of the treatment's name."""
    taken = [name for name in names if name in set(columns)]
    if taken:
        raise ValueError(
            f"X has a column {taken[0]!r}, the name that the treatment's indicator "
            "gets: rename it, or use outcome_strategy='separate'."
        )


def check_outcomes(model: Any, data: Data, folds: Sequence[IntArray]) -> None:
    """Refuse a classifier where an arm's training outcomes are all the same."""
    if not is_classifier(model):
        return
    for train in folds:
        for k in range(data.n_arms):
            check_training(train[data.a[train] == k], k, data.y, True)
