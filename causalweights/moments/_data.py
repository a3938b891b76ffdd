"""The sample of a moment model: regressors, outcome, instruments, weights, clusters."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, validate_data

from causalweights._categories import Categories, is_frame
from causalweights._typing import FloatArray, IntArray
from causalweights._validation import (
    check_groups,
    check_outcome,
    check_same_rows,
    check_sample_weight,
)

INTERCEPT = "Intercept"
# Of a column of unit length, what other columns leave where it depends on them.
_DEPENDENT = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class MomentData:
    """A checked sample, rows of weight zero removed.

    Attributes
    ----------
    X : ndarray of shape (n, p)
        Regressors, exogenous ones included; an added intercept is the last column.
    y : ndarray of shape (n,)
    Z : ndarray of shape (n, q)
        Instruments, exogenous regressors included; linearly independent.
    sample_weight : ndarray of shape (n,)
        Positive: of mean one (``"sampling"``), or counts (``"frequency"``).
    weight_type : {"sampling", "frequency"}
    groups : ndarray of shape (n,) or (n, 2) or None
        Clusters 0, ..., C - 1, of one way or two.
    x_names, z_names : list of str
    rows : ndarray of bool
        Which of the caller's rows are here.

    Notes
    -----
    Every sum over the sample is ``sum_i copies_i f(moment_weight_i m_i)``, and N =
    ``n_samples`` divides it: sampling weights multiply the moments of n rows, frequency
    weights count the rows.
    """

    X: FloatArray
    y: FloatArray
    Z: FloatArray
    sample_weight: FloatArray
    weight_type: str
    groups: IntArray | None
    x_names: list[str]
    z_names: list[str]
    rows: np.ndarray

    @property
    def n_clusters(self) -> int:
        """Clusters, of the way that has fewer; zero without."""
        return 0 if self.groups is None else int(self.groups.max(axis=0).min()) + 1

    @property
    def n_samples(self) -> float:
        """N: rows, or the sum of frequency weights."""
        return float(self.sample_weight.sum())

    @property
    def copies(self) -> FloatArray:
        """How many rows each row stands for, (n,)."""
        counted = self.weight_type == "frequency"
        return self.sample_weight if counted else np.ones_like(self.sample_weight)

    @property
    def moment_weight(self) -> FloatArray:
        """What multiplies each row's moments, (n,)."""
        counted = self.weight_type == "frequency"
        return np.ones_like(self.sample_weight) if counted else self.sample_weight

    @property
    def masses(self) -> FloatArray:
        """Copies over N, (n,); sum one."""
        return self.copies / self.copies.sum()

    def take(self, rows: np.ndarray) -> MomentData:
        """Return some rows, by positions or a mask of the rows that are here."""
        groups = self.groups
        if groups is not None:
            groups = _positions(groups[rows])
        weight = self.sample_weight[rows]
        if self.weight_type == "sampling":
            weight = weight / weight.mean()
        mask = np.zeros(len(self.rows), dtype=bool)
        mask[np.flatnonzero(self.rows)[rows]] = True
        return replace(
            self, X=self.X[rows], y=self.y[rows], Z=self.Z[rows], sample_weight=weight,
            groups=groups, rows=mask,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class InstrumentColumns:
    """The instruments of a fit, so that those of new rows are read alike.

    Attributes
    ----------
    given : list of str or None
        Their names; None where the regressors are the instruments.
    named : bool
        Whether the names come from a frame.
    kept : ndarray of bool
        Which columns, an added intercept last, are linearly independent.
    """

    given: list[str] | None
    named: bool
    kept: np.ndarray


def check_moment_data(
    estimator: Any,
    X: Any,
    y: Any,
    instruments: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    *,
    fit_intercept: bool = False,
    weight_type: str = "sampling",
    reset: bool = True,
    two_way: bool = False,
) -> MomentData:
    """Check the input of ``fit``, or with ``reset=False`` new rows after it.

    Sets the estimator's ``n_features_in_``, ``feature_names_in_`` and
    ``_instrument_columns``.

    Parameters
    ----------
    estimator : object
    X : array-like or frame of shape (n, p)
        Numbers; no constant is added but by ``fit_intercept``.
    y : array-like of shape (n,)
    instruments : array-like or frame of shape (n, q) or None, default=None
        None takes X. Otherwise excluded instruments and the exogenous columns of X.
    sample_weight, groups : array-like of shape (n,) or None, default=None
    fit_intercept : bool, default=False
        Add a constant column, the last, to both.
    weight_type : {"sampling", "frequency"}, default="sampling"
    reset : bool, default=True
    two_way : bool, default=False
        Whether groups may have two columns.

    Raises
    ------
    ValueError
        By name, for NaN, infinity, sparse or empty input, numbers of rows that differ,
        frames with the same index in another order, and new rows with other columns.

    Warns
    -----
    UserWarning
        Where instruments are collinear: the columns that depend on those before them
        are left out.
    """
    check_same_rows(
        X=X, y=y, instruments=instruments, sample_weight=sample_weight, groups=groups
    )
    given = instruments
    X, x_names = check_regressors(estimator, X, fit_intercept, reset=reset)
    y = check_outcome(y, len(X))
    weight = check_sample_weight(sample_weight, len(X))
    groups = _clusters(groups, len(X), two_way)
    rows = weight > 0
    if given is None:
        Z, z_names = X, x_names
    else:
        Z, z_names = _numbers(given, len(X))
        if fit_intercept:
            Z, z_names = _with_constant(Z), [*z_names, INTERCEPT]
    if reset:
        kept = _independent(Z[rows])
        if not np.all(kept) and given is not None:
            left_out = [z_names[j] for j in np.flatnonzero(~kept)]
            warnings.warn(
                f"the {len(kept)} instruments are collinear, of rank "
                f"{int(kept.sum())}: {', '.join(left_out)} depend on the columns "
                "before them and are left out.",
                UserWarning,
                stacklevel=4,
            )
        estimator._instrument_columns = InstrumentColumns(
            None if given is None else z_names, is_frame(given), kept
        )
        estimator._formula_spec = None  # of a fit from a formula, before this one
    else:
        kept = _checked_columns(estimator._instrument_columns, given, z_names)
    weight = weight[rows]
    if weight_type == "sampling":
        weight = weight / weight.mean()
    if groups is not None:
        groups = _positions(groups[rows])
    z_names = [name for name, keep in zip(z_names, kept, strict=True) if keep]
    return MomentData(
        X[rows], y[rows], Z[rows][:, kept], weight, weight_type, groups, x_names,
        z_names, rows,
    )  # fmt: skip


def _clusters(groups: Any, n_rows: int, two_way: bool) -> IntArray | None:
    """Return checked clusters, (n,) or, where they may, (n, 2)."""
    if two_way and np.ndim(groups) == 2 and np.shape(groups)[1] == 2:
        ways = np.asarray(groups).T
        return np.array([check_groups(labels, n_rows) for labels in ways]).T
    return check_groups(groups, n_rows)


def _positions(labels: IntArray) -> IntArray:
    """Return labels as positions 0, 1, ..., of each column."""
    if labels.ndim == 1:
        return np.unique(labels, return_inverse=True)[1]
    return np.column_stack([_positions(way) for way in labels.T])


def check_regressors(
    estimator: Any, X: Any, fit_intercept: bool, *, reset: bool = False
) -> tuple[FloatArray, list[str]]:
    """Return X with its intercept, and the columns' names (x0, x1, ... of an array)."""
    _refuse_categories(X, "X")
    checked = validate_data(
        estimator, X, dtype=np.float64, reset=reset,
        ensure_min_samples=2 if reset else 1,
    )  # fmt: skip
    named = getattr(estimator, "feature_names_in_", None)
    names = _default_names("x", checked.shape[1]) if named is None else list(named)
    if fit_intercept:
        return _with_constant(checked), [*names, INTERCEPT]
    return checked, names


def check_identified(X: FloatArray, Z: FloatArray, x_names: list[str]) -> None:
    """Refuse a linear model whose instruments do not determine its coefficients.

    Raises
    ------
    ValueError
        For collinear regressors, fewer instruments than regressors, and regressors of
        which the instruments' projections are collinear.
    """
    p, q = X.shape[1], Z.shape[1]
    free = _independent(X)
    if not np.all(free):
        names = ", ".join(x_names[j] for j in np.flatnonzero(~free))
        raise ValueError(
            f"the model is under-identified: the {p} regressors are collinear, of rank "
            f"{int(free.sum())} ({names} depend on the columns before them). Leave "
            "columns out."
        )
    if q < p:
        raise ValueError(
            f"the model is under-identified: {q} linearly independent instruments for "
            f"{p} regressors. instruments must hold the exogenous columns of X as "
            "well."
        )
    basis = np.linalg.qr(Z / np.linalg.norm(Z, axis=0))[0]
    cross = basis.T @ (X / np.linalg.norm(X, axis=0))
    rank = int(np.sum(np.linalg.svd(cross, compute_uv=False) > _DEPENDENT))
    if rank < p:
        raise ValueError(
            f"the model is under-identified: the instruments' projections of the {p} "
            f"regressors have rank {rank}. Some regressor needs an instrument of its "
            "own."
        )


def _independent(columns: FloatArray) -> np.ndarray:
    """Tell which columns do not depend on those before them, by Gram and Schmidt."""
    length = np.linalg.norm(columns, axis=0)
    kept = length > 0
    basis = np.empty_like(columns)
    rank = 0
    for j in np.flatnonzero(kept):
        rest = columns[:, j] / length[j]
        for _ in range(2):  # the second pass removes what rounding left of the first
            rest = rest - basis[:, :rank] @ (basis[:, :rank].T @ rest)
        size = np.linalg.norm(rest)
        if size <= _DEPENDENT:
            kept[j] = False
            continue
        if rank < len(columns):
            basis[:, rank] = rest / size
        rank += 1
    return kept


def _checked_columns(
    columns: InstrumentColumns, given: Any, names: list[str]
) -> np.ndarray:
    """Return which columns of new rows to keep."""
    if (given is None) != (columns.given is None):
        raise ValueError(
            "instruments are missing: fit had them. Pass them; in a scikit-learn "
            "search or cross-validation through metadata routing, "
            "set_config(enable_metadata_routing=True)."
            if given is None
            else "instruments were given, but fit had none: its instruments were X."
        )
    if columns.given is not None:
        if len(names) != len(columns.given):
            raise ValueError(
                f"instruments have {len(names)} columns (an added intercept included), "
                f"those of fit had {len(columns.given)}."
            )
        if columns.named and is_frame(given) and names != columns.given:
            raise ValueError(
                f"instruments have the columns {', '.join(names)}; those of fit were "
                f"{', '.join(columns.given)}, in this order."
            )
    return columns.kept


def _numbers(instruments: Any, n_rows: int) -> tuple[FloatArray, list[str]]:
    values = instruments
    if getattr(values, "ndim", 2) == 1:
        values = np.asarray(values)[:, None]
    if getattr(values, "shape", (1, 1))[1:] == (0,):
        raise ValueError("instruments have no columns: pass None to take X's.")
    _refuse_categories(instruments, "instruments")
    Z = check_array(values, dtype=np.float64, input_name="instruments")
    if len(Z) != n_rows:
        raise ValueError(
            f"instruments have {len(Z)} rows, X has {n_rows}: pass one row of "
            "instruments a row of X."
        )
    if is_frame(instruments):
        return Z, [str(name) for name in instruments.columns]
    return Z, _default_names("z", Z.shape[1])


def _refuse_categories(given: Any, name: str) -> None:
    """Refuse a frame with strings or categories: their coding must be the user's."""
    categories = Categories.of(given)
    if categories is not None:
        columns = [
            c for c, levels in zip(categories.columns, categories.levels) if levels
        ]
        raise ValueError(
            f"{name} has columns of strings or categories: "
            f"{', '.join(map(str, columns))}. Use from_formula, which codes them, or "
            "pass indicators of all levels but one."
        )


def _with_constant(values: FloatArray) -> FloatArray:
    return np.column_stack([values, np.ones(len(values))])


def _default_names(letter: str, count: int) -> list[str]:
    return [f"{letter}{j}" for j in range(count)]
