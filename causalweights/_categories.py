"""Categorical columns of data frames: one indicator column a level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_array

from causalweights._typing import FloatArray

# Of a category's two standardised indicators, each times this, squared differences sum
# to those of one standardised 0/1 column.
INDICATOR_SCALE = 0.5**0.5
# Key of a pandas frame's attrs under which a formula says what it made of categories.
ORIGIN = "causalweights"
# A column of more levels, one for every row, is an identifier.
_MAX_SINGLE_ROWS = 20


@dataclass(frozen=True, slots=True)
class Categories:
    """How the columns of a data frame become numbers, as one frame has shown it.

    A column of categories (pandas ``category``, polars ``Categorical`` and ``Enum``) or
    strings has one 0/1 column for each level that occurs, in the order of its
    categories (strings and polars ``Categorical``: sorted). Bool and numeric columns
    stay one column.

    Attributes
    ----------
    columns : tuple of length d
        Names of the frame's columns.
    levels : tuple of length d
        The levels that have a column of their own, None for a column of numbers.
    known : tuple of length d
        All levels that new rows may have: of a dtype that lists its categories, these.
        Those without a column are zero in all of them.
    made : frozenset
        Names of columns of numbers that are indicators already.
    """

    columns: tuple[Any, ...]
    levels: tuple[tuple[Any, ...] | None, ...]
    known: tuple[frozenset[Any], ...]
    made: frozenset[Any] = frozenset()

    @classmethod
    def of(cls, X: Any) -> Categories | None:
        """Return the categories of a frame; None without any, or for an array.

        Raises
        ------
        ValueError
            By the column's name: missing values beside levels, strings beside other
            values, or a level of its own for every row.
        """
        if not is_frame(X):
            return None
        names = tuple(X.columns)
        found = [_levels(_column(X, j), name) for j, name in enumerate(names)]
        levels = tuple(None if f is None else f[0] for f in found)
        origin = getattr(X, "attrs", {}).get(ORIGIN)
        made = frozenset() if origin is None else origin.indicators.intersection(names)
        if not any(levels) and not made:
            return None
        known = tuple(frozenset() if f is None else f[1] for f in found)
        return cls(names, levels, known, made)

    @property
    def names(self) -> list[str]:
        """Name each column of `transform`: that of the frame, or ``name=level``."""
        out = []
        for name, levels in zip(self.columns, self.levels, strict=True):
            parts = [""] if levels is None else [f"={level}" for level in levels]
            out += [f"{name}{part}" for part in parts]
        return out

    @property
    def indicators(self) -> np.ndarray:
        """Tell which columns of `transform` are indicators, (p,) bool."""
        marked = np.array([name in self.made for name in self.columns])
        return self._coded() | np.repeat(marked, self._counts())

    def _counts(self) -> list[int]:
        return [1 if levels is None else len(levels) for levels in self.levels]

    def _coded(self) -> np.ndarray:
        """Tell which columns of `transform` are made of levels, (p,) bool."""
        return np.repeat([levels is not None for levels in self.levels], self._counts())

    def transform(self, X: Any) -> FloatArray:
        """Return numbers (m, p) of a frame with the same columns; NaN stays NaN.

        Raises
        ------
        ValueError
            By the column's name: a missing level, or one that is not known.
        """
        coded = self._coded()
        out = np.empty((len(X), len(coded)))
        numbers = [j for j, levels in enumerate(self.levels) if levels is None]
        if numbers:
            out[:, ~coded] = check_array(
                _safe_indexing(X, numbers, axis=1),
                dtype=np.float64,
                ensure_all_finite=False,
                ensure_min_samples=0,
            )
        start = 0
        for j, levels in enumerate(self.levels):
            if levels is not None:
                codes = self._codes(_column(X, j), j)
                out[:, start : start + len(levels)] = codes[:, None] == np.arange(
                    len(levels)
                )
            start += 1 if levels is None else len(levels)
        return out

    def factor(self, scale: float) -> FloatArray:
        """Return ``scale`` for the indicators, one for other columns, (p,)."""
        return np.where(self.indicators, scale, 1.0)

    def _codes(self, column: Any, j: int) -> np.ndarray:
        """Return each row's position among the levels, -1 for one without a column."""
        values, levels = np.asarray(column, dtype=object).tolist(), self.levels[j]
        _refuse_missing(values, self.columns[j])
        position = dict.fromkeys(self.known[j], -1)
        position |= {level: k for k, level in enumerate(levels or ())}
        codes = [position.get(value) for value in values]
        if None in codes:
            row = codes.index(None)
            listed = ", ".join(repr(level) for level in (levels or ())[:10])
            raise ValueError(
                f"column {self.columns[j]!r} holds the level {values[row]!r} (first in "
                f"row {row}), which fit has not seen; its levels are {listed}. Drop "
                "those rows, or fit on a column of a categorical dtype that lists "
                "every level."
            )
        return np.array(codes, dtype=np.intp)


def scale_indicators(
    estimator: Any, Z: FloatArray, kept: np.ndarray, scale: float = INDICATOR_SCALE
) -> FloatArray:
    """Return the kept columns Z of what an estimator was fitted on, indicators scaled.

    Z itself where there are no categories.
    """
    categories = getattr(estimator, "_categories", None)
    return Z if categories is None else Z * categories.factor(scale)[kept]


def covariate_advice(X: Any, categories: Categories | None = None) -> str | None:
    """Say which columns of a table cannot be used, and what to do; None if unknown.

    The columns of ``categories`` speak for themselves.
    """
    if len(getattr(X, "shape", ())) != 2 or not hasattr(X, "__array__"):
        return None
    own = () if categories is None else zip(categories.columns, categories.levels)
    spoken = {name for name, levels in own if levels is not None}
    names, words, holes = getattr(X, "columns", None), [], []
    table = np.asarray(X, dtype=object)
    for j in range(X.shape[1]):
        if names is not None and names[j] in spoken:
            continue
        name = f"column {j}" if names is None else repr(names[j])
        values = [np.nan if is_missing(v) else v for v in table[:, j]]
        try:
            finite = np.isfinite(np.array(values, dtype=object).astype(np.float64))
        except (TypeError, ValueError):
            finite = np.array([not is_missing(v) for v in values])
            words.append(name)
        if not np.all(finite):
            holes.append(f"{name} (first in row {int(np.argmin(finite))})")
    if holes:
        return (
            f"Missing or infinite in X: {', '.join(holes)}. Drop those rows, or impute "
            "them and add an indicator of what was missing."
        )
    if words:
        return (
            f"Not numeric in X: {', '.join(words)}. Drop them, or make them numbers or "
            "categories: columns of strings or of a categorical dtype, in the frame "
            "that fit is given."
        )
    return None


def is_frame(X: Any) -> bool:
    """Tell a pandas or polars frame from anything else."""
    return hasattr(X, "columns") and (hasattr(X, "iloc") or hasattr(X, "get_columns"))


def holds_words(dtype: Any) -> bool:
    """Tell whether a pandas dtype is of text or categories, in whose memory ever."""
    return str(dtype).startswith(("category", "str", "large_string", "dictionary"))


def joinable(X: Any) -> Any:
    """Return X, a pandas frame that holds words as one of objects, with NaN for NA.

    scikit-learn takes words beside bool or nullable columns for numbers.
    """
    if hasattr(X, "iloc") and any(map(holds_words, X.dtypes)):
        return X.astype(object).where(X.notna(), np.nan)
    return X


def is_missing(value: Any) -> bool:
    """Tell whether a value is None, NaN or pandas' NA."""
    # pandas' NA does not compare to a bool, so it is known by its type's name.
    return value is None or type(value).__name__ == "NAType" or bool(value != value)


def _column(X: Any, j: int) -> Any:
    return X.iloc[:, j] if hasattr(X, "iloc") else X.get_columns()[j]


def _levels(column: Any, name: Any) -> tuple[tuple, frozenset] | None:
    """Return the levels that occur and all known ones, None for numbers."""
    dtype, declared = column.dtype, None
    # polars' Categorical has categories too, those of every column of the session.
    if hasattr(dtype, "ordered") or type(dtype).__name__ == "Enum":
        declared = list(dtype.categories)
    if declared is None and np.asarray(column).dtype.kind not in "OUS":
        return None
    values = np.asarray(column, dtype=object).tolist()
    if declared is None:
        words = [isinstance(v, str) for v in values]
        if not any(words):
            return None
        _refuse_missing(values, name)
        if not all(words):
            raise ValueError(
                f"column {name!r} mixes strings and other values: give its values one "
                "kind, e.g. by astype(str)."
            )
    _refuse_missing(values, name)
    used = set(values)
    if len(used) == len(values) > _MAX_SINGLE_ROWS:
        raise ValueError(
            f"column {name!r} has a level of its own in each of {len(values)} rows: an "
            "identifier is no covariate; drop it, or group its levels."
        )
    levels = sorted(used) if declared is None else [c for c in declared if c in used]
    return tuple(levels), frozenset(used if declared is None else declared)


def _refuse_missing(values: list, name: Any) -> None:
    missing = [is_missing(value) for value in values]
    if any(missing):
        raise ValueError(
            f"column {name!r} contains missing values (first in row "
            f"{missing.index(True)}): drop those rows, or make missing a level of its "
            "own."
        )
