"""What all weighters share: validation, targets, and the fitted attributes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import _safe_indexing
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from causalweights._base import unchanged_on_error
from causalweights._categories import INDICATOR_SCALE, scale_indicators
from causalweights._from_formula import WeighterFormulaMixin
from causalweights._scaling import Scaling, fit_scaling
from causalweights._typing import FloatArray
from causalweights._validation import (
    Arms,
    check_covariates,
    check_estimand,
    check_same_rows,
    check_sample_weight,
    check_treatment,
    covariate_names,
    focal_arm,
    warn_constant,
)
from causalweights.balancing._blocks_input import dask_refusal, is_dask
from causalweights.discrepancy import mmd_matrix
from causalweights.kernels import Energy


@dataclass(frozen=True, slots=True)
class Design:
    """The validated rows of positive sample weight.

    Attributes
    ----------
    X : ndarray of shape (n, d)
        Covariates as given, float64.
    Z : ndarray of shape (n, d_kept)
        Standardised with the full sample's weighted mean and ddof-0 SD; constant
        columns dropped.
    scaling : Scaling
    arms : Arms
    sample_weight : ndarray of shape (n,)
        Positive; as given.
    estimand : str
    focal : int or None
        Arm that is the target, None where all rows are.
    rows : ndarray of shape (n_all,), bool
        Which of the caller's rows these are.
    tilt : ndarray of shape (n,) or None
        Density of the target relative to the rows, where it is neither all of them nor
        an arm.
    """

    X: FloatArray
    Z: FloatArray
    scaling: Scaling
    arms: Arms
    sample_weight: FloatArray
    estimand: str
    focal: int | None
    rows: np.ndarray
    tilt: FloatArray | None = field(default=None, kw_only=True)

    def target_masses(self) -> FloatArray:
        """Return the target's masses, sum one; zero outside the focal arm."""
        masses = self.sample_weight.copy()
        if self.focal is not None:
            masses[self.arms.codes != self.focal] = 0.0
        if self.tilt is not None:
            masses *= self.tilt
        return masses / masses.sum()

    def base_masses(self) -> FloatArray:
        """Return the masses of the unweighted arms, sum one an arm."""
        return normalize_per_arm(self.sample_weight, self.arms)

    def weighted_arms(self) -> list[int]:
        """Return the arms that receive weights (all but the focal one)."""
        return [k for k in range(self.arms.n_arms) if k != self.focal]


def normalize_per_arm(values: FloatArray, arms: Arms) -> FloatArray:
    """Return the values divided by their sum in each arm."""
    totals = np.bincount(arms.codes, weights=values, minlength=arms.n_arms)
    return values / totals[arms.codes]


def effective_sizes(
    masses: FloatArray, arms: Arms, sample_weight: FloatArray, weight_type: str
) -> dict[Any, float]:
    """Return Kish's effective sample size by arm label."""
    squares = masses**2
    if weight_type == "frequency":
        squares = squares / sample_weight
    sums = np.bincount(arms.codes, weights=squares, minlength=arms.n_arms)
    return {arms.label(k): float(1 / sums[k]) for k in range(arms.n_arms)}


def warn_concentration(
    design: Design,
    masses: FloatArray,
    advice: str = "a larger ridge spreads the weights",
) -> None:
    """Warn where a weighted arm rests on a few rows."""
    for a in design.weighted_arms():
        found = concentration(masses[design.arms.codes == a])
        if found is not None:
            warnings.warn(
                f"the weights of arm {design.arms.label(a)!r} {found}. Check overlap; "
                f"{advice}.",
                UserWarning,
                stacklevel=5,
            )


def concentration(masses: FloatArray) -> str | None:
    """Return how masses of sum one rest on few rows, None where they do not."""
    size, largest = 1 / np.sum(masses**2), masses.max()
    if len(masses) <= 10 or (size >= 10 and largest <= 0.2):
        return None
    return (
        f"rest on few rows: effective sample size {size:.1f} of {len(masses)}, largest "
        f"share {largest:.2f}"
    )


def _weighs_new_rows(weighter: Any) -> bool:
    return hasattr(weighter, "predict_weights")


class _BaseWeighter(WeighterFormulaMixin, BaseEstimator):
    """Base of the weighters: ``fit(X, treatment)`` stores weights, one a row.

    A subclass defines ``_weigh(design)``, which returns masses (sum one an arm) and
    may set fitted attributes of its own. Treatment travels as ``y``, so that a
    Pipeline ending in a weighter works with and without metadata routing.
    """

    __metadata_request__fit = {"treatment": UNUSED, "sample_weight": True}
    __metadata_request__score = {"treatment": UNUSED, "sample_weight": True}

    _estimands: tuple[str, ...] = ("ate", "att", "atc")

    def _validate(
        self,
        X: Any,
        treatment: Any,
        sample_weight: Any,
        scaling: Scaling | None = None,
    ) -> Design:
        """Return the checked rows; ``scaling`` is that of fit for new rows."""
        if is_dask(X):
            if scaling is not None:
                raise dask_refusal("score")
            design = self._block_design(X, treatment, sample_weight)
        else:
            design = self._row_design(X, treatment, sample_weight, scaling)
            design = self._targeted(design, scaling is None)
        if scaling is None and len(design.scaling.constant):
            names = covariate_names(self)
            warn_constant([names[j] for j in design.scaling.constant])
        return design

    def _row_design(
        self, X: Any, treatment: Any, sample_weight: Any, scaling: Scaling | None
    ) -> Design:
        estimand = check_estimand(self.estimand, self._estimands)
        check_same_rows(X=X, treatment=treatment, sample_weight=sample_weight)
        X = check_covariates(self, X, reset=scaling is None)
        n = X.shape[0]
        arms = check_treatment(treatment, n, control=self.control, focal=self.focal)
        weight = check_sample_weight(sample_weight, n)
        rows = weight > 0
        if not np.all(rows):
            X, weight, arms = X[rows], weight[rows], arms.take(rows)
        if scaling is None:
            scaling = fit_scaling(X, weight)
        focal = focal_arm(arms, estimand)
        Z = scaling.transform(X)
        return Design(X, Z, scaling, arms, weight, estimand, focal, rows)

    def _targeted(self, design: Design, fitting: bool) -> Design:
        """Return the design with its target, where the arms do not say it."""
        return design

    def _block_design(self, X: Any, treatment: Any, sample_weight: Any) -> Design:
        """Return the design of a dask array, for a weighter that takes one."""
        raise dask_refusal(type(self).__name__)

    def _store(
        self, design: Design, masses: FloatArray, target: FloatArray | None = None
    ) -> None:
        """Set the attributes every weighter has, in the caller's rows."""
        arms, s, rows = design.arms, design.sample_weight, design.rows
        self.estimand_ = design.estimand
        self.treatments_ = arms.treatments
        self.control_ = arms.label(arms.control)
        self.focal_ = arms.label(arms.focal) if arms.focal >= 0 else None
        totals = np.bincount(arms.codes, weights=s, minlength=arms.n_arms)
        n = len(rows)
        self.weights_, self.masses_ = np.zeros(n), np.zeros(n)
        self.target_masses_ = np.zeros(n)
        self.masses_[rows] = masses
        self.weights_[rows] = masses * totals[arms.codes] / s
        if target is None:
            target = design.target_masses()
        self.target_masses_[rows] = target
        self.ess_ = effective_sizes(masses, arms, s, self.weight_type)
        self._scaling = design.scaling

    def _points(self, design: Design) -> FloatArray:
        """Return the covariates in the scale in which discrepancies are measured."""
        scale = getattr(self, "categorical_scale", INDICATOR_SCALE)
        return scale_indicators(self, design.Z, design.scaling.kept, scale)

    def _arm_codes(self, treatment: Any, n_samples: int) -> np.ndarray:
        """Return the positions in ``treatments_`` of new rows' labels."""
        labels = np.asarray(treatment).ravel()
        if len(labels) != n_samples:
            raise ValueError(
                f"treatment has {len(labels)} rows, X has {n_samples}: pass one label "
                "a row of X."
            )
        known = {v: k for k, v in enumerate(self.treatments_.tolist())}
        unknown = [v for v in labels.tolist() if v not in known]
        if unknown:
            raise ValueError(
                f"treatment holds the label {unknown[0]!r}, which fit has not seen; "
                f"the labels are {list(known)}."
            )
        return np.array([known[v] for v in labels.tolist()], dtype=np.intp)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, treatment: Any, *, sample_weight: Any = None) -> Self:
        """Compute the weights.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            Covariates; finite numbers. Columns of strings or categories of a pandas or
            polars frame become one indicator a level, ``name=level``. `IPMBalancer`
            leaves a dask array in its chunks of rows.
        treatment : array-like of shape (n,)
            Label of each row's arm.
        sample_weight : array-like of shape (n,) or None, default=None
            Sampling or frequency weights; rows of weight zero are removed first and
            receive weight zero.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For NaN or infinity, missing levels, one arm only, all columns constant, or
            inputs whose indexes hold the same labels in another order.
        """
        with unchanged_on_error(self):
            design = self._validate(X, treatment, sample_weight)
            self._store(design, self._weigh(design))
        return self

    @available_if(_weighs_new_rows)
    def score(self, X: Any, treatment: Any, *, sample_weight: Any = None) -> float:
        """Return minus the squared discrepancy of out-of-sample weights on new rows.

        Sum over the weighted arms of the discrepancy to the new rows' own target: the
        criterion of `IPMBalancer`; for the others the energy distance on covariates
        standardised as in `fit`. Cross-validate by ``StratifiedKFold(shuffle=True)``:
        every fold needs every arm.

        Parameters
        ----------
        X : array-like of shape (m, d)
        treatment : array-like of shape (m,)
        sample_weight : array-like of shape (m,) or None, default=None

        Returns
        -------
        float
            At most zero; minus infinity where an arm receives no weight.
        """
        check_is_fitted(self)
        design = self._validate(X, treatment, sample_weight, self._scaling)
        arms, kept = design.arms, np.flatnonzero(design.rows)
        weights = self.predict_weights(
            _safe_indexing(X, kept), arms.treatments[arms.codes]
        )
        weighted = design.sample_weight * weights
        if np.any(np.bincount(arms.codes, weights=weighted) <= 0):
            return -np.inf
        masses, target = normalize_per_arm(weighted, arms), design.target_masses()
        Z = self._points(design)
        return -sum(
            self._distance(Z, np.where(arms.codes == a, masses, 0.0), target)
            for a in design.weighted_arms()
        )

    def _distance(self, Z: FloatArray, masses: FloatArray, target: FloatArray) -> float:
        """Return the discrepancy of two weightings of the rows Z."""
        pair = np.column_stack([masses, target])
        kernel = getattr(self, "kernel_", None)
        kernel = 2.0 * Energy() if kernel is None else kernel
        return float(mmd_matrix(kernel, Z, pair)[0, 1])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
