"""Folds for cross-fitting, checked so that every row is predicted exactly once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold
from sklearn.utils import check_random_state

from causalweights._typing import IntArray

Fold: TypeAlias = tuple[IntArray, IntArray]


def make_folds(
    cv: Any,
    n: int,
    *,
    codes: IntArray | None = None,
    groups: Any = None,
    labels: Sequence[Any] | None = None,
    random_state: Any = None,
) -> list[Fold]:
    """Return the (train, test) rows of each fold.

    Parameters
    ----------
    cv : int, splitter, iterable of (train, test) or None
        An int shuffles: stratified on ``codes`` where given; with ``groups``, whole
        groups (`sklearn.model_selection.GroupKFold`). A splitter is called as
        ``split(rows, codes, groups)``. Pairs hold positions or boolean masks. None is
        in sample: one fold that trains and predicts on all rows.
    n : int
        Number of rows.
    codes : ndarray of shape (n,) or None, default=None
        Treatment arm of each row, 0, ..., K-1; every training fold must hold every
        arm.
    groups : array-like of shape (n,) or None, default=None
        Cluster of each row.
    labels : sequence of length K or None, default=None
        Names of the arms for error messages.
    random_state : int, RandomState instance or None, default=None
        Shuffles an int ``cv``.

    Returns
    -------
    list of (ndarray, ndarray)
        Positions, sorted; the test parts partition the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.crossfit import make_folds
    >>> folds = make_folds(2, 4, codes=np.array([0, 0, 1, 1]), random_state=0)
    >>> [len(test) for _, test in folds]
    [2, 2]
    """
    if codes is not None:
        codes = np.asarray(codes)
        if codes.shape != (n,):
            raise ValueError(f"codes has shape {codes.shape}, expected ({n},).")
    if groups is not None:
        groups = np.asarray(groups)
        if groups.shape != (n,):
            raise ValueError(
                f"groups has shape {groups.shape}, X has {n} rows: pass one group a "
                "row."
            )
    if cv is None:
        everything = np.arange(n)
        return [(everything, everything)]
    pairs = _pairs(cv, n, codes, groups, random_state)
    folds = [(_positions(train, n), _positions(test, n)) for train, test in pairs]
    _check_partition(folds, n)
    if codes is not None:
        check_arms([train for train, _ in folds], codes, labels)
    return folds


def repeat_seeds(random_state: Any, n_rep: int) -> list[int]:
    """Return one seed a repetition; the first of many are those of few.

    Parameters
    ----------
    random_state : int, RandomState instance or None
        An int gives the same seeds each time; None draws from numpy's global state.
    n_rep : int
        Number of repetitions.

    Returns
    -------
    list of int

    Examples
    --------
    >>> from causalweights.crossfit import repeat_seeds
    >>> repeat_seeds(0, 3)[:2] == repeat_seeds(0, 2)
    True
    """
    rng = check_random_state(random_state)
    return [int(rng.randint(np.iinfo(np.int32).max)) for _ in range(n_rep)]


def _pairs(
    cv: Any, n: int, codes: Any, groups: Any, random_state: Any
) -> Iterable[tuple[Any, Any]]:
    rows = np.zeros((n, 1))
    if isinstance(cv, (int, np.integer)) and not isinstance(cv, bool):
        if cv < 2 or cv > n:
            raise ValueError(
                f"cv={cv} folds of {n} rows: give an integer from 2 to the number of "
                "rows, or cv=None to fit in sample."
            )
        shuffle = {"n_splits": int(cv), "shuffle": True, "random_state": random_state}
        if groups is not None:
            n_groups = len(np.unique(groups))
            if n_groups < cv:
                raise ValueError(
                    f"cv={cv} folds need at least as many groups, got {n_groups}: use "
                    "fewer folds."
                )
            return GroupKFold(**shuffle).split(rows, groups=groups)
        if codes is None:
            return KFold(**shuffle).split(rows)
        return StratifiedKFold(**shuffle).split(rows, codes)
    if hasattr(cv, "split") and not isinstance(cv, str):
        return cv.split(rows, codes, groups)
    if isinstance(cv, (bool, str)) or not isinstance(cv, Iterable):
        raise ValueError(
            f"cv={cv!r}: give a number of folds, a splitter, a list of (train, test) "
            "rows, or None to fit in sample."
        )
    pairs = list(cv)
    if not pairs or any(not isinstance(p, Sequence) or len(p) != 2 for p in pairs):
        raise ValueError("cv is a list, but not one of (train, test) pairs of rows.")
    return pairs


def _positions(rows: Any, n: int) -> IntArray:
    rows = np.asarray(rows)
    if rows.dtype == bool:
        if rows.shape != (n,):
            raise ValueError(
                f"a fold of cv is a mask of shape {rows.shape}, expected ({n},)."
            )
        return np.flatnonzero(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or len(rows) == 0:
        raise ValueError(
            "a fold of cv must be a non-empty vector of row positions or a mask."
        )
    if rows.min() < 0 or rows.max() >= n:
        raise ValueError(
            f"a fold of cv has positions from {rows.min()} to {rows.max()}, the data "
            f"{n} rows: positions go from 0 to {n - 1}."
        )
    return np.sort(rows.astype(np.intp))


def _check_partition(folds: list[Fold], n: int) -> None:
    times = np.zeros(n, dtype=np.intp)
    for k, (train, test) in enumerate(folds):
        np.add.at(times, test, 1)
        shared = np.intersect1d(train, test)
        if len(shared):
            raise ValueError(
                f"fold {k} of cv trains on row {shared[0]}, which it predicts: the "
                "prediction would not be out of fold. cv=None fits in sample."
            )
    if np.any(times != 1):
        row = int(np.flatnonzero(times != 1)[0])
        raise ValueError(
            f"the test parts of cv hold row {row} {times[row]} times; each row must be "
            "predicted exactly once, so use a splitter that partitions the rows, such "
            "as KFold."
        )


def check_arms(trains: Sequence[IntArray], codes: IntArray, labels: Any = None) -> None:
    """Refuse training rows that lack an arm, by its label where there are labels."""
    n_arms = int(codes.max()) + 1 if labels is None else len(labels)
    for k, train in enumerate(trains):
        missing = np.flatnonzero(np.bincount(codes[train], minlength=n_arms) == 0)
        if len(missing):
            arm = missing[0] if labels is None else labels[missing[0]]
            arm = arm.item() if isinstance(arm, np.generic) else arm
            raise ValueError(
                f"the training rows of fold {k} hold no row of treatment arm {arm!r}: "
                "use fewer folds, or folds stratified on the treatment."
            )


def kept_splits(cv: Any, rows: np.ndarray) -> Any:
    """Return cv for the kept rows: a list of splits is renumbered, others stay."""
    whole = cv is None or isinstance(cv, Integral) or hasattr(cv, "split")
    if whole or np.all(rows):
        return cv
    position = np.cumsum(rows) - 1
    indices = np.arange(len(rows))
    splits = [
        tuple(position[part[rows[part]]] for part in (indices[train], indices[test]))
        for train, test in cv
    ]
    return [(train, test) for train, test in splits if len(test)]
