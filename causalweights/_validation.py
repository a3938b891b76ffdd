"""Checks of treatments, sampling weights and row order, with errors that advise."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, column_or_1d, validate_data

from causalweights._categories import (
    Categories,
    covariate_advice,
    is_frame,
    is_missing,
    joinable,
)
from causalweights._doses import refuse_doses
from causalweights._formula import rows_by_formula, spec_of
from causalweights._typing import ESTIMANDS, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Arms:
    """A validated treatment.

    Attributes
    ----------
    codes : ndarray of shape (n,)
        Position of each row's label in ``treatments``.
    treatments : ndarray of shape (K,)
        Labels, sorted (ordered categories in their own order).
    control, focal : int
        Positions of the control arm and of the arm that an ATT is about (binary: the
        other arm; -1 where K > 2 and none was given).
    """

    codes: IntArray
    treatments: np.ndarray
    control: int
    focal: int

    @property
    def n_arms(self) -> int:
        """Number of arms K."""
        return len(self.treatments)

    def label(self, position: int) -> Any:
        """Return the label at a position as a plain Python object."""
        value = self.treatments[position]
        return value.item() if isinstance(value, np.generic) else value

    def contrasts(self) -> list[int]:
        """Return the positions of the arms compared with the control arm."""
        return [k for k in range(self.n_arms) if k != self.control]

    def take(self, rows: np.ndarray) -> Arms:
        """Return the arms of a subset of rows; every arm must stay non-empty."""
        codes = self.codes[rows]
        counts = np.bincount(codes, minlength=self.n_arms)
        if np.any(counts == 0):
            empty = self.label(int(np.argmin(counts)))
            raise ValueError(
                f"treatment arm {empty!r} has no row with a positive sample_weight: "
                "give one of its rows a positive weight, or leave the arm out."
            )
        return Arms(codes, self.treatments, self.control, self.focal)


def check_covariates(
    estimator: Any,
    X: Any,
    *,
    dtype: Any = np.float64,
    reset: bool = True,
    min_rows: int = 2,
    allow_nan: bool = False,
) -> np.ndarray:
    """Return X as scikit-learn's `validate_data` does, with errors that name columns.

    The dtype None keeps that of X: for an estimator that hands X on as it is. Else the
    categories of a frame become indicators, those of fit where ``reset`` is False; the
    estimator's names and number of features stay those of the frame.
    """
    if reset:
        categories = None if dtype is None else Categories.of(X)
    else:
        X = rows_by_formula(estimator, X)
        categories = getattr(estimator, "_categories", None)
    if categories is not None and not is_frame(X):
        raise ValueError(
            "fit was given a data frame with categories: pass a frame with the same "
            "columns."
        )
    finite: Any = "allow-nan" if allow_nan else True
    try:
        if categories is None:
            checked = validate_data(
                estimator, joinable(X) if dtype is None else X, dtype=dtype,
                ensure_min_samples=min_rows, reset=reset, ensure_all_finite=finite,
            )  # fmt: skip
            if checked.dtype == object and not allow_nan:
                import pandas as pd

                # scikit-learn looks for NaN, which None is not.
                if pd.isna(checked).any():
                    raise ValueError("Input X contains missing values.")
        else:
            validate_data(estimator, X, skip_check_array=True, reset=reset)
            checked = check_array(
                categories.transform(X), ensure_min_samples=min_rows,
                ensure_all_finite=finite, input_name="X",
            )  # fmt: skip
    except (TypeError, ValueError) as error:
        advice = covariate_advice(X, categories)
        if getattr(X, "shape", (0,))[0] == 1 < min_rows:
            advice = "X has one row: pass the rows to compare, of all arms, at once."
        if advice is None:
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{str(error).splitlines()[0]}\n{advice}") from error
    if reset:
        estimator._categories, estimator._formula_spec = categories, spec_of(X)
    return checked


def covariate_names(estimator: Any) -> list[str]:
    """Return the names of the columns that an estimator computes with, or numbers."""
    if getattr(estimator, "_categories", None) is not None:
        return estimator._categories.names
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        names = [f"column {j}" for j in range(estimator.n_features_in_)]
    return [str(name) for name in names]


def check_estimand(estimand: str, allowed: Iterable[str] = ESTIMANDS) -> str:
    """Return the estimand in lower case, or raise a ValueError that lists them."""
    allowed = tuple(allowed)
    value = estimand.lower() if isinstance(estimand, str) else estimand
    if value not in allowed:
        raise ValueError(
            f"estimand={estimand!r} is not available here; choose one of "
            f"{', '.join(repr(e) for e in allowed)}."
        )
    return value


def check_treatment(
    treatment: Any, n_samples: int, *, control: Any = None, focal: Any = None
) -> Arms:
    """Validate a treatment vector and find its control and focal arm.

    ``control=None`` means the smallest label of a bool or numeric treatment and the
    first of ordered categories; for strings and unordered categories it must be given,
    since an alphabetical default would silently decide the sign of the effect.
    """
    if treatment is None:
        raise ValueError(
            "treatment is missing: pass one label a row (in a scikit-learn tool, "
            "through metadata routing: set_config(enable_metadata_routing=True))."
        )
    labels, order = _labels(treatment)
    if len(labels) != n_samples:
        raise ValueError(
            f"treatment has {len(labels)} rows, X has {n_samples}: pass one label a "
            "row of X."
        )
    if order is None:
        treatments, codes = np.unique(labels, return_inverse=True)
    else:
        present = set(labels.tolist())
        kept = [c for c in order[0] if c in present]
        position_of = {label: k for k, label in enumerate(kept)}
        treatments = np.array(kept)
        codes = np.array([position_of[v] for v in labels.tolist()], dtype=np.intp)
    if len(treatments) < 2:
        raise ValueError(
            f"treatment has one arm only ({_list(treatments)}): at least one row of "
            "another arm is needed to compare with. In cross-validation keep both arms "
            "in every fold: StratifiedKFold(shuffle=True)."
        )
    refuse_doses(treatments, n_samples)
    if order is None:
        sorted_labels = treatments.dtype.kind in "biuf"
    else:
        sorted_labels = order[1]
    if control is None:
        if not sorted_labels:
            raise ValueError(
                "control must be given for a treatment of strings or unordered "
                f"categories; its labels are {_list(treatments)}."
            )
        position = 0
    else:
        position = _position(treatments, control, "control")
    if focal is not None:
        focus = _position(treatments, focal, "focal")
    else:
        focus = 1 - position if len(treatments) == 2 else -1
    return Arms(np.asarray(codes, dtype=np.intp), treatments, position, focus)


def focal_arm(arms: Arms, estimand: str) -> int | None:
    """Return the arm whose covariates are the target, None where all rows are."""
    if estimand == "atc":
        return arms.control
    if estimand != "att":
        return None
    if arms.focal < 0:
        raise ValueError(
            f"estimand='att' with {arms.n_arms} arms needs focal=, the arm whose "
            f"effect is wanted; the labels are {_list(arms.treatments)}."
        )
    return arms.focal


def check_sample_weight(sample_weight: Any, n_samples: int) -> FloatArray:
    """Return the weights as float64 (ones for None); refuse negative or bad ones."""
    if sample_weight is None:
        return np.ones(n_samples)
    try:
        weights = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            "sample_weight must hold one number a row, none missing: remove those rows."
        ) from None
    if weights.ndim == 0:
        raise ValueError("sample_weight must hold one weight a row, got a scalar.")
    if weights.ndim != 1 or len(weights) != n_samples:
        raise ValueError(
            f"sample_weight has shape {weights.shape}, X has {n_samples} rows: pass "
            "one weight a row."
        )
    if not np.all(np.isfinite(weights)):
        row = int(np.argmin(np.isfinite(weights)))
        raise ValueError(
            f"sample_weight contains NaN or infinity (first in row {row}): remove "
            "those rows."
        )
    if np.any(weights < 0):
        row = int(np.argmax(weights < 0))
        raise ValueError(
            f"sample_weight contains negative values (first in row {row}): weights "
            "are counts or shares; zero removes a row."
        )
    if not np.any(weights > 0):
        raise ValueError(
            "sample_weight is zero on every row: give the rows to use positive weights."
        )
    return weights


def check_base_weights(base_weights: Any, rows: np.ndarray) -> FloatArray | None:
    """Return the base weights of the kept rows; refuse any that is not positive."""
    if base_weights is None:
        return None
    base = np.asarray(base_weights, dtype=np.float64)
    if base.shape != rows.shape:
        raise ValueError(
            f"base_weights has shape {base.shape}, X has {len(rows)} rows: pass one "
            "weight a row."
        )
    base = base[rows]
    if not np.all(np.isfinite(base) & (base > 0)):
        raise ValueError("base_weights must be positive and finite.")
    return base


def check_same_rows(**inputs: Any) -> None:
    """Refuse inputs whose pandas indexes hold the same labels in another order.

    Rows are matched by position everywhere; two frames with the same labels in
    another order were almost surely meant to be matched by label.
    """
    indexed = [
        (name, value.index) for name, value in inputs.items()
        if hasattr(value, "index") and hasattr(value, "iloc")
    ]  # fmt: skip
    for (first, a), (second, b) in combinations(indexed, 2):
        # Counted, not sorted: an index may mix types that have no order.
        if len(a) == len(b) and not a.equals(b) and Counter(a) == Counter(b):
            raise ValueError(
                f"{first} and {second} have the same index labels in another order. "
                f"Rows are matched by position: reorder one, e.g. "
                f"{second} = {second}.loc[{first}.index]."
            )


def check_outcome(y: Any, n_samples: int) -> FloatArray:
    """Return the outcome as a finite float64 vector."""
    if y is None:
        raise ValueError(
            "y is missing: this estimator requires y to be passed, but the target y is "
            "None. Pass one outcome a row."
        )
    values = column_or_1d(y, warn=True)
    if len(values) != n_samples:
        raise ValueError(
            f"y has {len(values)} rows, X has {n_samples} (inconsistent numbers of "
            "samples): pass one outcome a row of X."
        )
    if values.dtype == object and any(is_missing(v) for v in values):
        values = np.full(n_samples, np.nan)
    try:
        values = values.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            "y must be numeric: code it as numbers (0/1 for a binary outcome); its "
            f"dtype is {values.dtype}."
        ) from None
    if not np.all(np.isfinite(values)):
        raise ValueError(
            "Input y contains NaN or infinity: drop those rows (and say so), or model "
            "the missingness."
        )
    return values


def check_groups(groups: Any, n_samples: int) -> np.ndarray | None:
    """Return cluster labels as positions 0..G-1, or None."""
    if groups is None:
        return None
    labels = np.asarray(groups)
    if labels.shape != (n_samples,):
        raise ValueError(
            f"groups has shape {labels.shape}, X has {n_samples} rows: pass one "
            "cluster label a row."
        )
    if any(is_missing(v) for v in labels.tolist()):
        raise ValueError("groups contains missing values: remove those rows.")
    return np.unique(labels, return_inverse=True)[1]


def warn_constant(names: list[str]) -> None:
    """Warn that constant covariates are ignored."""
    warnings.warn(
        f"constant covariates are ignored: {', '.join(names)}.",
        UserWarning,
        stacklevel=5,
    )


def _labels(treatment: Any) -> tuple[np.ndarray, tuple[list, bool] | None]:
    """Return plain labels and, for pandas categories, (category order, ordered)."""
    dtype: Any = getattr(treatment, "dtype", None)
    categories = getattr(dtype, "categories", None)
    order = None
    if categories is not None and hasattr(dtype, "ordered"):
        order = (list(categories), bool(dtype.ordered))
        if bool(np.any(treatment.isna())):
            raise ValueError("treatment contains missing values: remove those rows.")
    # numpy would turn the 1 of the list ["a", 1] into "1".
    plain = isinstance(treatment, list | tuple)
    values = np.asarray(treatment, dtype=object if plain else None)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values.ravel()
    if values.ndim != 1:
        raise ValueError(f"treatment must be one-dimensional, got {values.shape}.")
    if values.dtype == object:
        if any(is_missing(v) for v in values):
            raise ValueError("treatment contains missing values: remove those rows.")
        if len({isinstance(v, str) for v in values}) > 1:
            raise ValueError(
                "treatment mixes strings and other labels: give every arm a label of "
                "one kind."
            )
        values = np.array(values.tolist())
    if values.dtype.kind == "f" and not np.all(np.isfinite(values)):
        raise ValueError("treatment contains NaN or infinity: remove those rows.")
    if values.dtype.kind not in "biufUS":
        raise ValueError(
            f"treatment has dtype {values.dtype}; labels must be bool, numbers or "
            "strings."
        )
    return values, order


def _position(treatments: np.ndarray, label: Any, name: str) -> int:
    is_scalar = np.ndim(label) == 0
    hits = [k for k, value in enumerate(treatments) if is_scalar and value == label]
    if not hits:
        raise ValueError(
            f"{name}={label!r} is not a treatment label; the labels are "
            f"{_list(treatments)}."
        )
    return hits[0]


def _list(labels: np.ndarray) -> str:
    shown = ", ".join(repr(v) for v in labels[:10].tolist())
    return shown + (", ..." if len(labels) > 10 else "")
