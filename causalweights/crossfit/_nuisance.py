"""Out-of-fold predictions of the mean outcome in each treatment arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils import _safe_indexing
from sklearn.utils.parallel import delayed
from sklearn.utils.validation import _num_samples

from causalweights._progress import run_jobs
from causalweights._typing import FloatArray, IntArray
from causalweights.crossfit._fitting import check_takes_weights, fit_with_weights
from causalweights.crossfit._folds import Fold


def outcome_predictions(
    model: Any,
    X: Any,
    y: FloatArray,
    codes: IntArray,
    n_arms: int,
    folds: Sequence[Fold],
    *,
    sample_weight: FloatArray | None = None,
    arms: Sequence[int] | None = None,
    n_jobs: int | None = None,
) -> FloatArray:
    """Return each row's predicted outcome under each arm, from models without the row.

    For every fold and arm a clone of the model learns from the arm's training rows
    and predicts all test rows.

    Parameters
    ----------
    model : regressor, classifier or Pipeline
        A classifier needs outcomes 0 and 1 and predicts the probability of 1. Its
        ``random_state`` should be an int for identical refits.
    X : array-like or data frame of shape (n, d)
        Handed to the model as it is, rows selected.
    y : ndarray of shape (n,)
        Outcome.
    codes : ndarray of shape (n,)
        Arm of each row, 0, ..., n_arms - 1.
    n_arms : int
        Number of arms.
    folds : list of (train, test)
        Of `make_folds`.
    sample_weight : ndarray of shape (n,) or None, default=None
        Training weights; rows of zero weight do not train. A ValueError for a model
        that cannot take them.
    arms : sequence of int or None, default=None
        Arms to predict; None is all of them.
    n_jobs : int or None, default=None
        Processes over folds and arms, each with the same work for any number.

    Returns
    -------
    ndarray of shape (n, len(arms))
        Columns in the order of ``arms``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from causalweights.crossfit import make_folds, outcome_predictions
    >>> X = np.arange(8.0)[:, None]
    >>> codes = np.arange(8) % 2
    >>> folds = make_folds(2, 8, codes=codes, random_state=0)
    >>> y = X[:, 0] + 10 * codes
    >>> means = outcome_predictions(LinearRegression(), X, y, codes, 2, folds)
    >>> bool(np.allclose(means[:, 1] - means[:, 0], 10.0))
    True
    """
    y, codes = np.asarray(y), np.asarray(codes)
    columns = list(range(n_arms)) if arms is None else list(arms)
    if any(not 0 <= k < n_arms for k in columns):
        raise ValueError(f"arms={columns} are not among the {n_arms} arms.")
    usable = check_learner(model, "outcome_model", len(y), sample_weight)
    if is_classifier(model):
        check_binary(model, y)
    tasks = []
    for train, test in folds:
        train = train[usable[train]]
        tasks += [(j, train[codes[train] == k], test) for j, k in enumerate(columns)]
    for j, train, _ in tasks:
        check_training(train, columns[j], y, is_classifier(model))
    jobs = (
        delayed(_fit_predict)(model, X, y, sample_weight, train, test)
        for _, train, test in tasks
    )
    parts = run_jobs(jobs, n_jobs, "outcome models")
    out = np.full((len(y), len(columns)), np.nan)
    for (j, _, test), part in zip(tasks, parts):
        out[test, j] = part
    if not np.all(np.isfinite(out)):
        raise ValueError(
            f"outcome_model={type(model).__name__} predicted NaN or infinity."
        )
    return out


def check_learner(
    model: Any, name: str, n: int, sample_weight: FloatArray | None
) -> np.ndarray:
    """Return the mask of rows that train; refuse a learner that cannot be used."""
    if isinstance(model, type) or not hasattr(model, "fit"):
        raise ValueError(
            f"{name}={model!r} is not an estimator: pass an instance with fit and "
            "predict."
        )
    if sample_weight is None:
        return np.ones(n, dtype=bool)
    check_takes_weights(model)
    return np.asarray(sample_weight) > 0


def check_binary(model: Any, y: np.ndarray) -> None:
    """Refuse a classifier for outcomes other than 0 and 1."""
    values = np.unique(y)
    if not np.all(np.isin(values, (0, 1))):
        raise ValueError(
            f"outcome_model={type(model).__name__} is a classifier, so y must hold 0 "
            f"and 1 only; it holds {len(values)} distinct values. Use a regressor for "
            "another outcome."
        )
    if not hasattr(model, "predict_proba"):
        raise ValueError(
            f"outcome_model={type(model).__name__} has no predict_proba: use a "
            "classifier with probabilities, or a regressor."
        )


def check_training(train: IntArray, arm: int, y: np.ndarray, classifier: bool) -> None:
    """Refuse an arm's training rows that are none, or tell a classifier nothing."""
    if len(train) == 0:
        raise ValueError(
            f"a fold has no training row of positive weight in treatment arm {arm}: "
            "use fewer folds."
        )
    if classifier and np.all(y[train] == y[train[0]]):
        raise ValueError(
            f"a fold's training rows of treatment arm {arm} all have the outcome "
            f"{y[train[0]]:g}: use fewer folds, or a regressor."
        )


def _fit_predict(
    model: Any, X: Any, y: Any, weight: Any, train: IntArray, test: IntArray
) -> FloatArray:
    model = clone(model)
    weight = None if weight is None else np.asarray(weight)[train]
    fit_with_weights(model, _safe_indexing(X, train), y[train], weight)
    return mean_prediction(model, _safe_indexing(X, test))


def mean_prediction(model: Any, X: Any) -> FloatArray:
    """Return a fitted model's predictions (n,), a classifier's of the outcome 1."""
    if is_classifier(model):
        column = int(np.flatnonzero(np.asarray(model.classes_) == 1)[0])
        return np.asarray(model.predict_proba(X))[:, column]
    return np.asarray(model.predict(X), dtype=np.float64).reshape(_num_samples(X))
