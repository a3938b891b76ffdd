"""Out-of-fold probabilities of the treatment arms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import _safe_indexing
from sklearn.utils.parallel import delayed

from causalweights._progress import run_jobs
from causalweights._typing import FloatArray, IntArray
from causalweights.crossfit._fitting import fit_with_weights
from causalweights.crossfit._folds import Fold
from causalweights.crossfit._nuisance import check_learner


def propensity_predictions(
    model: Any,
    X: Any,
    codes: IntArray,
    n_arms: int,
    folds: Sequence[Fold],
    *,
    sample_weight: FloatArray | None = None,
    n_jobs: int | None = None,
) -> FloatArray:
    """Return each row's arm probabilities from a model that did not see the row.

    Nothing is clipped: what to do about probabilities near zero is the caller's
    choice.

    Parameters
    ----------
    model : classifier or Pipeline
        With ``predict_proba``; cloned, never fitted in place. Its ``random_state``
        should be an int for identical refits.
    X : array-like or data frame of shape (n, d)
        Handed to the model as it is, rows selected.
    codes : ndarray of shape (n,)
        Arm of each row, 0, ..., n_arms - 1.
    n_arms : int
        Number of arms.
    folds : list of (train, test)
        Of `make_folds`.
    sample_weight : ndarray of shape (n,) or None, default=None
        Training weights; rows of zero weight do not train. A ValueError for a model
        that cannot take them.
    n_jobs : int or None, default=None
        Processes over folds, each with the same work for any number.

    Returns
    -------
    ndarray of shape (n, n_arms)
        Columns in the order of the codes.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from causalweights.crossfit import make_folds, propensity_predictions
    >>> X = np.linspace(-1, 1, 20)[:, None]
    >>> codes = np.arange(20) % 2
    >>> folds = make_folds(4, 20, codes=codes, random_state=0)
    >>> p = propensity_predictions(LogisticRegression(), X, codes, 2, folds)
    >>> bool(np.allclose(p.sum(axis=1), 1.0))
    True
    """
    codes = np.asarray(codes)
    usable = check_learner(model, "propensity_model", len(codes), sample_weight)
    check_probabilities(model)
    tasks = [(train[usable[train]], test) for train, test in folds]
    for train, _ in tasks:
        missing = np.flatnonzero(np.bincount(codes[train], minlength=n_arms) == 0)
        if len(missing):
            raise ValueError(
                f"a fold has no training row of positive weight in treatment arm "
                f"{missing[0]}: use fewer folds."
            )
    jobs = (
        delayed(_fit_predict)(model, X, codes, sample_weight, train, test)
        for train, test in tasks
    )
    parts = run_jobs(jobs, n_jobs, "propensity models")
    out = np.full((len(codes), n_arms), np.nan)
    for (_, test), part in zip(tasks, parts):
        out[test] = part
    if not np.all(np.isfinite(out)):
        raise ValueError(
            f"propensity_model={type(model).__name__} predicted NaN or infinity."
        )
    return out


def check_probabilities(model: Any) -> None:
    """Refuse a propensity model without ``predict_proba``."""
    if not hasattr(model, "predict_proba"):
        raise ValueError(
            f"propensity_model={type(model).__name__} has no predict_proba: use a "
            "classifier with probabilities, such as LogisticRegression."
        )


def check_propensity(
    propensity: Any, rows: np.ndarray, control: int, n_arms: int
) -> FloatArray:
    """Return given probabilities as (n, K) for the kept rows, or raise."""
    given = np.asarray(propensity, dtype=np.float64)
    n = len(rows)
    if given.shape == (n, 1):
        given = given[:, 0]
    if given.ndim == 1 and n_arms == 2 and len(given) == n:
        pair = np.empty((n, 2))
        pair[:, control], pair[:, 1 - control] = 1 - given, given
        given = pair
    if given.shape != (n, n_arms):
        raise ValueError(
            f"propensity has shape {given.shape}: pass ({n}, {n_arms}), the columns in "
            "the order of treatments_"
            + (", or the probability of the non-control arm." if n_arms == 2 else ".")
        )
    given = given[rows]
    if not np.all(np.isfinite(given)):
        raise ValueError("propensity contains NaN or infinity.")
    if np.any((given < 0) | (given > 1)):
        raise ValueError("propensity must lie in [0, 1].")
    if np.any(np.abs(given.sum(axis=1) - 1) > 1e-6):
        raise ValueError("propensity: the probabilities of a row must sum to one.")
    return given


def _fit_predict(
    model: Any, X: Any, codes: IntArray, weight: Any, train: IntArray, test: IntArray
) -> FloatArray:
    model = clone(model)
    weight = None if weight is None else np.asarray(weight)[train]
    # Every arm is in the training rows, so that the classes are 0, ..., K-1 in order.
    fit_with_weights(model, _safe_indexing(X, train), codes[train], weight)
    return np.asarray(model.predict_proba(_safe_indexing(X, test)))
