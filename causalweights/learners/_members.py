"""Members of a stack: the default sets, their out-of-fold predictions."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, TypeAlias

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import _safe_indexing
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples

from causalweights._blas import single_openmp_thread
from causalweights._typing import FloatArray, IntArray
from causalweights.crossfit import Fold, check_learner, fit_with_weights
from causalweights.learners._kernel_ridge import WeightedKernelRidge

Member: TypeAlias = tuple[str, Any]

# Small trees, slowly: what a stack of few hundred noisy rows can tell apart. More bins
# than leaves can use cost time, as weighted quantiles do. Early stopping would draw
# rows without regard to clusters.
TREES = {
    "max_leaf_nodes": 4,
    "learning_rate": 0.1,
    "min_samples_leaf": 30,
    "max_bins": 64,
    "early_stopping": False,
}
# Up to so many rows OpenMP threads save little; on a busy machine, where they spin
# waiting for each other, they make a fit hundreds of times slower.
_SERIAL_ROWS = 20_000


def default_regressors(missing: bool) -> list[Member]:
    """Return the members of ``"auto"``; those that take missing values, if any are."""
    constant: Member = ("constant", DummyRegressor())
    trees: list[Member] = [
        (f"trees_{k}", HistGradientBoostingRegressor(max_iter=k, **TREES))
        for k in (20, 60)
    ]
    if missing:
        return [constant, *trees]
    kernel_ridge = ("kernel_ridge", WeightedKernelRidge())
    return [constant, ("linear", LinearRegression()), kernel_ridge, *trees]


def default_classifiers(missing: bool) -> list[Member]:
    """Return the members of ``"auto"``; those that take missing values, if any are."""
    constant: Member = ("constant", DummyClassifier(strategy="prior"))
    trees: list[Member] = [
        (f"trees_{k}", HistGradientBoostingClassifier(max_iter=k, **TREES))
        for k in (20, 60)
    ]
    if missing:
        return [constant, *trees]
    logistic = make_pipeline(StandardScaler(), LogisticRegression())
    return [constant, ("logistic", logistic), *trees]


def few_threads(n: int) -> Any:
    """Return a context that holds OpenMP to one thread where there are few rows."""
    return single_openmp_thread if n <= _SERIAL_ROWS else nullcontext()


def check_members(members: Any, method: str, weight: Any) -> None:
    """Refuse what is no list of (name, estimator), or an estimator of another kind."""
    pairs = [m for m in members if isinstance(m, (tuple, list)) and len(m) == 2]
    if not members or len(pairs) < len(members):
        raise ValueError(
            "estimators must be 'auto' or a list of (name, estimator) pairs, not empty."
        )
    for name, model in members:
        label = f"member {name!r}"
        check_learner(model, label, 0, weight)
        if not hasattr(model, method) or is_classifier(model) != (method != "predict"):
            kind = "regressor" if method == "predict" else "classifier"
            raise ValueError(
                f"{label}: {type(model).__name__} is no {kind} with {method}."
            )


def predictions_of(model: Any, X: Any, method: str) -> FloatArray:
    """Return a fitted member's predictions (n, 1), or its probabilities (n, K)."""
    with few_threads(_num_samples(X)):
        values = np.asarray(getattr(model, method)(X), dtype=np.float64)
    if not np.all(np.isfinite(values)):
        raise ValueError(f"member {type(model).__name__} predicted NaN or infinity.")
    return values.reshape(len(values), -1)


def out_of_fold(
    members: Sequence[Member],
    X: Any,
    y: np.ndarray,
    folds: Sequence[Fold],
    *,
    method: str,
    sample_weight: FloatArray | None = None,
    n_jobs: int | None = None,
) -> FloatArray:
    """Return predictions of each row by members fitted without it, (M, n, K).

    One task a member and fold, each with the same work for any number of jobs. K is 1
    for ``method="predict"``, the number of classes for ``"predict_proba"``.
    """
    tasks = [(m, fold) for m in range(len(members)) for fold in folds]
    parts = Parallel(n_jobs=n_jobs)(
        delayed(_fit_predict)(members[m][1], X, y, sample_weight, *fold, method)
        for m, fold in tasks
    )
    out = np.empty((len(members), len(y), parts[0].shape[1]))
    for (m, (_, test)), part in zip(tasks, parts, strict=True):
        out[m, test] = part
    return out


def fit_members(
    members: Sequence[Member],
    X: Any,
    y: np.ndarray,
    *,
    sample_weight: FloatArray | None = None,
    n_jobs: int | None = None,
) -> list[Any]:
    """Return clones of the members fitted on all rows."""
    return Parallel(n_jobs=n_jobs)(
        delayed(_fit)(model, X, y, sample_weight) for _, model in members
    )


def _fit(model: Any, X: Any, y: np.ndarray, weight: FloatArray | None) -> Any:
    with few_threads(len(y)):
        return fit_with_weights(clone(model), X, y, weight)


def _fit_predict(
    model: Any,
    X: Any,
    y: np.ndarray,
    weight: FloatArray | None,
    train: IntArray,
    test: IntArray,
    method: str,
) -> FloatArray:
    part = None if weight is None else weight[train]
    model = _fit(model, _safe_indexing(X, train), y[train], part)
    return predictions_of(model, _safe_indexing(X, test), method)
