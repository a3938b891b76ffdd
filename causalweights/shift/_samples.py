"""Source and target rows from the two ways to name them, X_target and sample_domain."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from causalweights._typing import FloatArray, IntArray
from causalweights._validation import (
    check_covariates,
    check_same_rows,
    check_sample_weight,
)

_MISSING = (
    "pass the target's covariates as X_target=, or sample_domain= with one label a row "
    "of X, 1 (source) or -1 (target)."
)
_SLICED = (
    "X_target has as many rows as X: scikit-learn's cross-validation slices such an "
    "argument along with X, silently. Wrap it in causalweights.shift.TargetSample, "
    "which is never sliced (and says nothing of this)."
)
_BOTH = (
    ": sample_domain must name rows of both samples to compare. In cross-validation "
    "keep both in every fold, e.g. by splits that are stratified by sample_domain."
)


class TargetSample:
    """Covariates of the target population that no cross-validation slices.

    scikit-learn's searches and cross-validation slice every argument of ``fit`` that
    is as long as X. A target sample is no property of X's rows; where it happens to
    have as many, its folds would be fitted to parts of it, silently. This object has
    no length, so it arrives whole. It may carry the target's sampling weights.

    Parameters
    ----------
    X : array-like or frame of shape (t, d)
        The columns of the source's X.
    sample_weight : array-like of shape (t,) or None, default=None
        Sampling or frequency weights of its rows; rows of weight zero are left out.

    Attributes
    ----------
    X, sample_weight : as given

    Notes
    -----
    A Pipeline's ``transform_input`` cannot look into it. Scale inside the estimator
    that takes it (``standardize=True``), or pass ``sample_domain``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import GridSearchCV
    >>> from causalweights.shift import KernelMeanMatching, TargetSample
    >>> from causalweights.shift import ShiftWeightedEstimator
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(90, 1)), rng.normal(0.5, 1, size=(90, 1))
    >>> y = X[:, 0] + rng.normal(size=90) > 0
    >>> model = ShiftWeightedEstimator(LogisticRegression(), KernelMeanMatching())
    >>> search = GridSearchCV(model, {"estimator__C": [0.1, 1.0]}, cv=3)
    >>> search = search.fit(X, y, X_target=TargetSample(X_target))
    >>> len(search.best_estimator_.weighter_.alpha_)
    90
    """

    def __init__(self, X: Any, sample_weight: Any = None):
        self.X = X
        self.sample_weight = sample_weight

    def __repr__(self) -> str:
        weighted = "" if self.sample_weight is None else ", weighted"
        return f"TargetSample({_num_samples(self.X)} rows{weighted})"


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Which rows are source and which are target, before anything is converted.

    Attributes
    ----------
    source : ndarray of shape (n,)
        Positions of the source rows in X.
    target : ndarray of shape (t,) or None
        Positions of the target rows in X; None where they are in ``X_target``.
    X_target : array-like or frame of shape (t, d), or None
    source_weight, target_weight : ndarray of shape (n,), (t,)
        Ones where none were given; zeros possible.
    weighted : bool
        Whether source rows were given weights.
    """

    source: IntArray
    target: IntArray | None
    X_target: Any
    source_weight: FloatArray
    target_weight: FloatArray
    weighted: bool

    def source_of(self, values: Any, kept: IntArray | None = None) -> Any:
        """Return the source's part of X or y, in the caller's container.

        Of source rows at the positions ``kept`` among them; None is all.
        """
        rows = self.source if kept is None else self.source[kept]
        whole = self.target is None and len(rows) == len(self.source)
        return values if whole else _safe_indexing(values, rows)

    def target_of(self, X: Any) -> TargetSample:
        """Return the target's covariates, in the caller's container."""
        rows = self.X_target
        if self.target is not None:
            rows = _safe_indexing(X, self.target)
        return TargetSample(rows, self.target_weight)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """The validated rows of positive weight.

    Attributes
    ----------
    source, target : ndarray of shape (n, d), (t, d)
        Covariates in float64.
    source_weight, target_weight : ndarray of shape (n,), (t,)
        Positive, as given.
    source_kept, target_kept : ndarray of bool, of all source and target rows
        Which of them these are.
    """

    source: FloatArray
    target: FloatArray
    source_weight: FloatArray
    target_weight: FloatArray
    source_kept: np.ndarray
    target_kept: np.ndarray


def split_samples(
    X: Any,
    X_target: Any,
    sample_domain: Any,
    sample_weight: Any = None,
    *,
    stacklevel: int = 4,
) -> Split:
    """Find source and target rows; exactly one of the two ways must be given.

    With ``X_target`` the weights are those of the rows of X, all of them source, and
    the target's come with a `TargetSample`. With ``sample_domain`` (positive labels
    source, negative ones target, as in skada) they are row-aligned like it. A warning
    of a target that a cross-validation may have sliced points at the line that called
    the caller's decorated ``fit``.

    Raises
    ------
    ValueError
        Where none or both are given, a domain is empty or its label zero or missing,
        and for bad weights.
    """
    if X_target is None and sample_domain is None:
        raise ValueError(f"the target sample is missing: {_MISSING}")
    if X_target is not None and sample_domain is not None:
        raise ValueError(
            "X_target and sample_domain were both given, and the target rows are "
            "either apart or among those of X: pass one of the two."
        )
    check_same_rows(X=X, sample_domain=sample_domain, sample_weight=sample_weight)
    n = _num_samples(X)
    weight = check_sample_weight(sample_weight, n)
    weighted = sample_weight is not None
    if sample_domain is None:
        wrapped = isinstance(X_target, TargetSample)
        rows = X_target.X if wrapped else X_target
        t = _num_samples(rows)
        if t == 0:
            raise ValueError("X_target has no rows: pass covariates of the target.")
        if t == n and not wrapped and rows is not X:
            warnings.warn(_SLICED, UserWarning, stacklevel=stacklevel)
        target_weight = _target_weight(X_target.sample_weight if wrapped else None, t)
        return Split(np.arange(n), None, rows, weight, target_weight, weighted)
    is_source = _check_domain(sample_domain, n)
    if np.all(is_source):
        raise ValueError(f"no target row (label -1) among n_samples={n}{_BOTH}")
    source, target = np.flatnonzero(is_source), np.flatnonzero(~is_source)
    return Split(source, target, None, weight[source], weight[target], weighted)


def check_samples(
    estimator: Any,
    X: Any,
    X_target: Any = None,
    sample_domain: Any = None,
    sample_weight: Any = None,
) -> Samples:
    """Validate both samples as covariates of an estimator, whose ``fit`` this is.

    Raises
    ------
    ValueError
        As `split_samples`; for NaN, infinity, sparse matrices, a target of other
        columns, and samples of fewer than two rows of positive weight.
    """
    covariates = check_covariates(estimator, X, min_rows=1)
    split = split_samples(X, X_target, sample_domain, sample_weight, stacklevel=5)
    source_kept, target_kept = split.source_weight > 0, split.target_weight > 0
    if split.target is None:
        source = covariates
        try:
            target = check_covariates(
                estimator, split.X_target, reset=False, min_rows=1
            )
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"X_target: {error}") from error
    else:
        source, target = covariates[split.source], covariates[split.target]
    for name, kept in (("source", source_kept), ("target", target_kept)):
        if np.count_nonzero(kept) < 2:
            raise ValueError(
                f"the {name} sample has {np.count_nonzero(kept)} row(s) of positive "
                f"weight (n_samples={len(kept)}): populations are compared by their "
                "samples; pass at least two rows of each."
            )
    return Samples(
        source[source_kept],
        target[target_kept],
        split.source_weight[source_kept],
        split.target_weight[target_kept],
        source_kept,
        target_kept,
    )


def source_rows(
    X: Any, y: Any, sample_domain: Any = None, sample_weight: Any = None
) -> tuple[Any, Any, FloatArray | None]:
    """Return X, y and weights of the rows that have an outcome: those of the source.

    All rows, as given, where there are no domains; weights are None where there are
    none.

    Raises
    ------
    ValueError
        For bad domains, none of them source, and for bad weights.
    """
    check_same_rows(X=X, y=y, sample_domain=sample_domain, sample_weight=sample_weight)
    n = _num_samples(X)
    weight = None if sample_weight is None else check_sample_weight(sample_weight, n)
    if sample_domain is None:
        return X, y, weight
    rows = np.flatnonzero(_check_domain(sample_domain, n))
    if weight is not None:
        weight = weight[rows]
    return _safe_indexing(X, rows), _safe_indexing(y, rows), weight


def _check_domain(sample_domain: Any, n: int) -> np.ndarray:
    """Return which rows are source."""
    try:
        labels = np.asarray(sample_domain).astype(np.float64)
    except (TypeError, ValueError):
        labels = np.full(n, np.nan)
    if labels.shape != (n,):
        raise ValueError(
            f"sample_domain has shape {labels.shape}, X has {n} rows: pass one label a "
            "row."
        )
    bad = ~np.isfinite(labels) | (labels == 0)
    if np.any(bad):
        raise ValueError(
            "sample_domain must be 1 (source) or -1 (target) in every row; it is not "
            f"in row {int(np.argmax(bad))}."
        )
    if not np.any(labels > 0):
        raise ValueError(f"no source row (label 1) among n_samples={n}{_BOTH}")
    return labels > 0


def _target_weight(sample_weight: Any, t: int) -> FloatArray:
    try:
        return check_sample_weight(sample_weight, t)
    except ValueError as error:
        message = str(error).replace("X has", "the target has")
        raise ValueError(f"TargetSample: {message}") from None
