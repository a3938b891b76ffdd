"""Rows that differ in one covariate, the others held at a typical value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_array

from causalweights._categories import Categories, is_frame
from causalweights._typing import FloatArray, IntArray

# A number of no more distinct values is drawn as points: between them is nothing.
_FEW = 10
# More categories than can be told apart on an axis.
_MOST = 20
_BINS = 30


@dataclass(frozen=True, slots=True, eq=False)
class CovariateGrid:
    """A covariate's values, and rows that have them.

    Attributes
    ----------
    rows : array or frame of shape (m, d)
        The container and the dtypes of the data.
    x : ndarray of shape (m,)
        The values; 0, ..., m - 1 where they have labels.
    labels : list of str or None
        Of categories, and of numbers of few distinct values.
    density : (FloatArray, FloatArray)
        Shares of the data's rows in bins (b,), and the bins' edges (b + 1,).
    text : str
        The covariate's name, and how the others are held.
    """

    rows: Any
    x: FloatArray
    labels: list[str] | None
    density: tuple[FloatArray, FloatArray]
    text: str


def column_labels(X: Any) -> list[str]:
    """Name the columns: as a frame does, else x0, x1, ..."""
    if is_frame(X):
        return [str(name) for name in X.columns]
    return [f"x{j}" for j in range(X.shape[1])]


def choose_column(feature: Any, allowed: Sequence[int], X: Any) -> int:
    """Return the position of a column given by name or position, or of the only one.

    Parameters
    ----------
    feature : int, str or None
    allowed : sequence of int
        Positions to choose from.
    X : array or frame of shape (n, d)
    """
    if feature is None and len(allowed) == 1:
        return allowed[0]
    if feature in allowed and isinstance(feature, Integral):
        return int(feature)
    names = list(X.columns) if is_frame(X) else []
    if feature in names and names.index(feature) in allowed:
        return names.index(feature)
    listed = [names[j] if names else j for j in allowed]
    raise ValueError(
        f"feature={feature!r}: choose one of the columns that the effect depends on, "
        f"by name or position in X: {', '.join(map(repr, listed))}."
    )


def covariate_grid(
    X: Any, j: int, others: Sequence[int], weight: FloatArray, n_points: int
) -> CovariateGrid:
    """Return rows whose column j runs from its 1st to its 99th percentile.

    All other columns stay at their (lower, weighted) median; bools, strings and
    categories at their most frequent value. Categories, bools and numbers of at most
    ten distinct values take each value once. O(n d log n).

    Parameters
    ----------
    X : array or frame of shape (n, d)
    j : int
    others : sequence of int
        Columns that the text speaks of.
    weight : ndarray of shape (n,)
    n_points : int
    """
    if not isinstance(n_points, Integral) or n_points < 2:
        raise ValueError(
            f"n_points must be a whole number from 2 on, got {n_points!r}."
        )
    columns = [_column_of(X, k) for k in range(X.shape[1])]
    found = _distinct(X, j, weight)
    if found is None:
        grid, density = _range(_numbers(X, j), weight, n_points)
        x, labels = grid, None
    else:
        values, labels, density = found
        x, grid = np.arange(len(labels), dtype=float), _take(columns[j], values)
    typical = [_typical_row(X, k, weight) for k in range(len(columns))]
    held = [_take(c, np.full(len(x), i)) for c, i in zip(columns, typical, strict=True)]
    held[j] = grid
    text = column_labels(X)[j]
    if len(others):
        numeric = all(_is_number(columns[k]) for k in others)
        text += f" (others at their {'medians' if numeric else 'medians or modes'})"
    return CovariateGrid(_assembled(X, held), x, labels, density, text)


def _range(
    values: FloatArray, weight: FloatArray, n_points: int
) -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
    """Return points over the bulk of a covariate, and its histogram there."""
    seen = ~np.isnan(values)
    values, weight = values[seen], weight[seen]
    low, high = _quantile(values, [0.01, 0.99], weight)
    if low == high:
        low, high = values.min(), values.max()
    counts, edges = np.histogram(values, _BINS, (low, high), weights=weight)
    return np.linspace(low, high, n_points), (counts / weight.sum(), edges)


def _distinct(
    X: Any, j: int, weight: FloatArray
) -> tuple[IntArray, list[str], tuple[FloatArray, FloatArray]] | None:
    """Return a row, a label and a share of each value; None for a range of numbers."""
    column, name = _column_of(X, j), column_labels(X)[j]
    raw = np.asarray(column, dtype=object)
    words = Categories.of(_safe_indexing(X, [j], axis=1))
    values: np.ndarray = raw if words is not None else _numbers(X, j)
    if words is not None:
        levels = list(words.levels[0] or ())
    else:
        levels = np.unique(values[~np.isnan(values)]).tolist()
        if len(levels) > _FEW:
            return None
    if len(levels) > _MOST:
        raise ValueError(
            f"column {name!r} has {len(levels)} categories: a picture shows {_MOST}. "
            "Group them, or choose another feature."
        )
    members = [values == level for level in levels]
    rows = np.array([np.flatnonzero(member)[0] for member in members])
    labels = [f"{v:g}" if isinstance(v, float) else str(v) for v in raw[rows]]
    shares = np.array([weight[member].sum() for member in members]) / weight.sum()
    return rows, labels, (shares, np.arange(len(levels) + 1) - 0.5)


def _typical_row(X: Any, j: int, weight: FloatArray) -> int:
    """Return a row at the column's median, or at its most frequent value."""
    column = _column_of(X, j)
    if _is_number(column):
        values = _numbers(X, j)
        seen = ~np.isnan(values)
        if not np.any(seen):
            return 0
        median = _quantile(values[seen], 0.5, weight[seen])
        return int(np.flatnonzero(values == median)[0])
    first: dict[Any, int] = {}
    values = np.asarray(column, dtype=object).tolist()
    codes = [first.setdefault(value, i) for i, value in enumerate(values)]
    return int(np.argmax(np.bincount(codes, weights=weight)))


def _quantile(values: FloatArray, q: Any, weight: FloatArray) -> Any:
    """Return quantiles that are values of the data: whole weights are copies."""
    return np.quantile(values, q, weights=weight, method="inverted_cdf")


def _column_of(X: Any, j: int) -> Any:
    if hasattr(X, "iloc"):
        return X.iloc[:, j]
    return X.get_columns()[j] if is_frame(X) else X[:, j]


def _is_number(column: Any) -> bool:
    dtype = column.dtype
    if hasattr(dtype, "is_numeric"):  # polars
        return dtype.is_numeric()
    return dtype.kind in "iuf"


def _numbers(X: Any, j: int) -> FloatArray:
    """Return a column as floats, missing ones NaN."""
    column = _safe_indexing(X, [j], axis=1)
    return check_array(column, dtype=np.float64, ensure_all_finite="allow-nan")[:, 0]


def _take(column: Any, rows: IntArray) -> Any:
    """Return entries of a column in its own dtype, of a pandas one without index."""
    return getattr(column, "array", column)[rows]


def _assembled(X: Any, columns: list[Any]) -> Any:
    if is_frame(X):
        return type(X)(dict(zip(X.columns, columns, strict=True)))
    return np.column_stack(columns)
