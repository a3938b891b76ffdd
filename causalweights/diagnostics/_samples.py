"""The weighted samples that a diagnostic compares, from arrays or a fitted weighter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, check_is_fitted

from causalweights._categories import INDICATOR_SCALE, Categories
from causalweights._typing import WEIGHT_TYPES, FloatArray
from causalweights._validation import (
    Arms,
    check_estimand,
    check_same_rows,
    check_sample_weight,
    check_treatment,
    focal_arm,
)

# How far a weighter's masses may be from those its weights give with sample_weight.
_MASS_RTOL = 1e-6


@dataclass(frozen=True, slots=True)
class WeightedArms:
    """A treatment with sampling weights and weights; rows of positive sample weight.

    Attributes
    ----------
    arms : Arms
    before : ndarray of shape (n,)
        Sampling weights, the weights before weighting.
    after : ndarray of shape (n,) or None
        Sampling weights times weights; None where none were given.
    estimand : str
    focal : int or None
        Arm that is the target, None where all rows are.
    target : ndarray of shape (n,) or None
        Weights of the target sample, None where it is not known.
    weight_type : str
    rows : ndarray of shape (n_all,), bool
        Which of the caller's rows these are.
    outside : (rows, weights) or None
        A target that is not in the sample; `target` is then None.
    """

    arms: Arms
    before: FloatArray
    after: FloatArray | None
    estimand: str
    focal: int | None
    target: FloatArray | None
    weight_type: str
    rows: np.ndarray
    outside: tuple[Any, FloatArray] | None = None

    @property
    def copies(self) -> FloatArray | None:
        """Rows that each row stands for, None for sampling weights."""
        if self.weight_type != "frequency":
            return None
        return np.where(self.before > 0, self.before, 1.0)

    def of_arm(self, arm: int, weights: FloatArray) -> FloatArray:
        """Return the weights of an arm: zero outside it."""
        return np.where(self.arms.codes == arm, weights, 0.0)


def collect_arms(
    treatment: Any,
    weights: Any = None,
    *,
    sample_weight: Any = None,
    estimand: str | None = None,
    control: Any = None,
    focal: Any = None,
    weight_type: str | None = None,
    X: Any = None,
) -> WeightedArms:
    """Return the weighted arms; a fitted weighter fills in what was not given."""
    weighter = fitted_weighter(weights)
    if weighter is not None:
        weights = weighter.weights_
        estimand = weighter.estimand_ if estimand is None else estimand
        control = weighter.control_ if control is None else control
        focal = getattr(weighter, "focal_", None) if focal is None else focal
    weight_type = resolve_weight_type(weight_type, weighter)
    check_same_rows(
        X=X, treatment=treatment, weights=weights, sample_weight=sample_weight
    )
    n = len(treatment) if hasattr(treatment, "__len__") else 0
    arms = check_treatment(treatment, n, control=control, focal=focal)
    before = check_sample_weight(sample_weight, n)
    after = None if weights is None else before * check_weights(weights, n)
    if weighter is not None and after is not None:
        _check_masses(weighter, after, arms)
    rows = before > 0
    target, outside = getattr(weighter, "target_masses_", None), None
    if target is not None and not np.any(target):
        masses = check_sample_weight(weighter.target_weight, len(weighter.target))
        target, outside = None, (weighter.target, masses)
    if not np.all(rows):
        arms, before = arms.take(rows), before[rows]
        after = None if after is None else after[rows]
        target = None if target is None else target[rows]
    estimand = check_estimand("ate" if estimand is None else estimand)
    focus = focal_arm(arms, estimand)
    if target is None and outside is None and estimand != "ato":
        target = before if focus is None else np.where(arms.codes == focus, before, 0.0)
    _refuse_empty(arms, after)
    return WeightedArms(
        arms, before, after, estimand, focus, target, weight_type, rows, outside
    )


def join_outside(
    X: Any, matrix: FloatArray, samples: WeightedArms
) -> tuple[FloatArray, WeightedArms]:
    """Return the rows of the sample followed by those of an outside target.

    They weigh nothing in the arms.
    """
    if samples.outside is None:
        return matrix, samples
    rows, weights = samples.outside
    categories = Categories.of(X)
    other = check_array(
        rows if categories is None else categories.transform(rows), dtype=np.float64
    )
    if other.shape[1] != matrix.shape[1]:
        raise ValueError(
            f"X has {matrix.shape[1]} columns, the weighter's target {other.shape[1]}: "
            "compare='target' needs the covariates that the weights were made from."
        )
    nothing = np.zeros(len(other))
    codes = np.concatenate([samples.arms.codes, nothing.astype(np.intp)])
    after = samples.after
    joined = replace(
        samples,
        arms=replace(samples.arms, codes=codes),
        before=np.concatenate([samples.before, nothing]),
        after=None if after is None else np.concatenate([after, nothing]),
        target=np.concatenate([np.zeros(len(matrix)), weights]),
        outside=None,
    )
    return np.vstack([matrix, other]), joined


def fitted_weighter(weights: Any) -> Any:
    """Return the fitted weighter that ``weights`` is or ends in, None for arrays."""
    weights = getattr(weights, "weighter_", weights)  # a fitted effect's
    if hasattr(weights, "steps") and hasattr(weights, "fit"):
        weights = weights.steps[-1][1]
    if not (hasattr(weights, "fit") or hasattr(weights, "weights_")):
        return None
    if hasattr(weights, "fit"):
        check_is_fitted(weights, "weights_")
    return weights


def resolve_weight_type(weight_type: str | None, weighter: Any) -> str:
    """Return the weight type: as given, else the weighter's, else sampling."""
    if weight_type is None:
        weight_type = getattr(weighter, "weight_type", "sampling")
    if weight_type not in WEIGHT_TYPES:
        raise ValueError(
            f"weight_type={weight_type!r}: choose one of "
            f"{', '.join(repr(t) for t in WEIGHT_TYPES)}."
        )
    return weight_type


def check_weights(weights: Any, n: int) -> FloatArray:
    """Return non-negative weights, one a row; errors call them weights."""
    try:
        return check_sample_weight(weights, n)
    except ValueError as error:
        raise ValueError(str(error).replace("sample_weight", "weights")) from None


def numeric_covariates(X: Any) -> tuple[FloatArray, list[str]]:
    """Return X as a float64 matrix, and a name for each column.

    A data frame's columns of strings or categories become one 0/1 column a level,
    ``name=level``.
    """
    return encoded_covariates(X)[:2]


def encoded_covariates(X: Any) -> tuple[FloatArray, list[str], FloatArray]:
    """Return `numeric_covariates`, and each column's factor in distances, (p,)."""
    categories = Categories.of(X)
    if categories is not None:
        matrix = check_array(categories.transform(X))
        return matrix, categories.names, categories.factor(INDICATOR_SCALE)
    matrix = check_array(X, dtype=np.float64)
    names = getattr(X, "columns", [f"x{j}" for j in range(matrix.shape[1])])
    return matrix, [str(name) for name in names], np.ones(matrix.shape[1])


def _check_masses(weighter: Any, after: FloatArray, arms: Arms) -> None:
    """Refuse a sample_weight other than the one the weighter was fitted with."""
    masses = getattr(weighter, "masses_", None)
    if masses is None:
        return
    totals = np.bincount(arms.codes, weights=after, minlength=arms.n_arms)
    totals[totals == 0] = 1.0
    scale = np.max(np.abs(masses))
    if not np.allclose(after / totals[arms.codes], masses, 0, _MASS_RTOL * scale):
        raise ValueError(
            "the weighter's masses are not those that its weights give with this "
            "treatment and sample_weight: pass the ones it was fitted with."
        )


def _refuse_empty(arms: Arms, after: FloatArray | None) -> None:
    if after is None:
        return
    totals = np.bincount(arms.codes, weights=after, minlength=arms.n_arms)
    if np.any(totals <= 0):
        label = arms.label(int(np.argmin(totals)))
        raise ValueError(f"weights are zero on every row of treatment arm {label!r}.")
