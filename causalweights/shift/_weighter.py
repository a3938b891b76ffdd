"""What the weighters of two samples share: fit, attributes, warnings, score."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils.validation import check_is_fitted

from causalweights._base import unchanged_on_error
from causalweights._categories import scale_indicators
from causalweights._scaling import fit_scaling
from causalweights._typing import FloatArray
from causalweights._validation import check_covariates
from causalweights.diagnostics._weights import kish
from causalweights.discrepancy import energy_distance
from causalweights.shift._samples import (
    Samples,
    TargetSample,
    check_samples,
    split_samples,
)

FEW_EFFECTIVE_ROWS, SMALL_SHARE = 10.0, 0.05
LITTLE_MASS = 0.1
FEW_TARGET_ROWS = 50


def warn_of_weights(
    n: int, t: int, ess_source: float, alpha_mass: float, advice: str, stacklevel: int
) -> None:
    """Warn where the weighted samples say little; ``stacklevel`` as seen from here.

    Where source weights rest on fewer than 10 effective rows or 5 % of them, where the
    target keeps less than 10 % of its mass, and where it has fewer than 50 rows.
    """
    if ess_source < FEW_EFFECTIVE_ROWS or ess_source < SMALL_SHARE * n:
        warnings.warn(
            f"the source weights rest on few rows: effective sample size "
            f"{ess_source:.1f} of {n}. {advice} spreads them.",
            UserWarning,
            stacklevel=stacklevel,
        )
    if alpha_mass < LITTLE_MASS:
        warnings.warn(
            f"the target keeps {alpha_mass:.1%} of its mass: the two samples hardly "
            "share a support, and most target rows are out of the source's reach.",
            UserWarning,
            stacklevel=stacklevel,
        )
    if t < FEW_TARGET_ROWS:
        warnings.warn(
            f"the target sample has {t} rows: it hardly tells its distribution.",
            UserWarning,
            stacklevel=stacklevel,
        )


class _BaseShiftWeighter(BaseEstimator):
    """Base of the weighters of a source sample to a target sample.

    A subclass defines ``_weigh(samples, source, target)``, which returns the weights
    of source and target rows and sets fitted attributes of its own, and
    ``_source_function(Z)``; where ``standardize`` is true (a parameter or a constant of
    the class), ``source``, ``target`` and Z are standardised.
    """

    __metadata_request__fit = {
        "X_target": True, "sample_domain": True, "sample_weight": True,
    }  # fmt: skip
    __metadata_request__score = {"sample_domain": True, "sample_weight": True}

    standardize: bool
    weight_type: str
    # What makes the source weights more equal.
    _advice: str

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        X_target: Any = None,
        sample_domain: Any = None,
        sample_weight: Any = None,
    ) -> Self:
        """Compute the weights. Exactly one of X_target and sample_domain is needed.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            Covariates: of the source, or with ``sample_domain`` of both samples.
            Columns of strings or categories of a frame become one indicator a level.
        y : ignored
        X_target : array-like, frame or TargetSample of shape (t, d), default=None
            Covariates of the target. In cross-validation wrap it in `TargetSample`: an
            array as long as X would be sliced, of which there is a warning.
        sample_domain : array-like of shape (n,) or None, default=None
            1 for source rows, -1 for target rows of X.
        sample_weight : array-like of shape (n,) or None, default=None
            Sampling or frequency weights of the rows of X (of the rows of X_target: by
            `TargetSample`). Rows of weight zero are left out and get weight zero.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Where none or both of the two are given, for a sample of fewer than two
            rows, other columns in the target, NaN, infinity and sparse matrices.
        """
        with unchanged_on_error(self):
            samples = check_samples(self, X, X_target, sample_domain, sample_weight)
            beta, alpha = self._weigh(samples, *self._both(samples))
            self._store(samples, beta, alpha, sample_domain is not None)
        mass = float(samples.target_weight @ alpha / samples.target_weight.sum())
        warn_of_weights(len(beta), len(alpha), self.ess_source_, mass, self._advice, 4)
        return self

    def _target_function(self, Z: FloatArray) -> FloatArray:
        return np.ones(len(Z))

    def _both(self, samples: Samples) -> tuple[FloatArray, FloatArray]:
        """Return source and target in the weighter's scale, which this sets."""
        self._scaling = None
        if self.standardize:
            parts = [samples.source_weight, samples.target_weight]
            weights = np.concatenate(self._relative_weights(parts))
            rows = np.vstack([samples.source, samples.target])
            self._scaling = fit_scaling(rows, weights)
        return self._scaled(samples.source), self._scaled(samples.target)

    def _relative_weights(self, parts: list[FloatArray]) -> list[FloatArray]:
        """Return both samples' weights; sampling weights with mean one in each."""
        if self.weight_type == "sampling":
            parts = [part / part[part > 0].mean() for part in parts]
        return parts

    def _scaled(self, X: FloatArray) -> FloatArray:
        if self._scaling is None:
            return X
        Z = self._scaling.transform(X)
        return scale_indicators(self, Z, self._scaling.kept)

    def _store(
        self, samples: Samples, beta: FloatArray, alpha: FloatArray, by_domain: bool
    ) -> None:
        """Set the attributes every weighter has, in the caller's rows."""
        self.beta_ = np.zeros(len(samples.source_kept))
        self.beta_[samples.source_kept] = beta
        self.alpha_ = np.zeros(len(samples.target_kept))
        self.alpha_[samples.target_kept] = alpha
        counted = self.weight_type == "frequency"
        self.ess_source_, self.ess_target_ = (
            kish(w * own, own if counted else None)
            for w, own in (
                (beta, samples.source_weight),
                (alpha, samples.target_weight),
            )
        )
        self._target = TargetSample(samples.target, samples.target_weight)
        self._by_domain = by_domain

    def predict_weights(self, X: Any) -> FloatArray:
        """Return the source weights of new rows, on the scale of ``beta_``.

        Parameters
        ----------
        X : array-like or frame of shape (m, d)

        Returns
        -------
        ndarray of shape (m,)
        """
        return self._source_function(self._new_rows(X))

    def target_weights(self, X: Any) -> FloatArray:
        """Return the target weights of new rows, in [0, 1].

        Parameters
        ----------
        X : array-like or frame of shape (m, d)

        Returns
        -------
        ndarray of shape (m,)
        """
        return self._target_function(self._new_rows(X))

    def _new_rows(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        return self._scaled(check_covariates(self, X, reset=False, min_rows=1))

    def score(
        self,
        X: Any,
        y: Any = None,
        *,
        sample_domain: Any = None,
        sample_weight: Any = None,
    ) -> float:
        """Return minus the energy distance of held-out rows, weighted, to the target.

        On covariates standardised over these rows and with weights of sum one, so that
        kernels and ridges compare; not values of D, whose larger ones let go of the
        target rows that are hard to reach.

        Parameters
        ----------
        X : array-like or frame of shape (m, d)
            Source rows, compared with the target of `fit`; or with ``sample_domain``
            rows of both.
        y : ignored
        sample_domain : array-like of shape (m,) or None, default=None
            Needed where `fit` had it; in a search, through metadata routing:
            ``set_config(enable_metadata_routing=True)``.
        sample_weight : array-like of shape (m,) or None, default=None

        Returns
        -------
        float
            At most zero; minus infinity where a side receives no weight.
        """
        check_is_fitted(self)
        if self._by_domain and sample_domain is None:
            raise ValueError(
                "score needs sample_domain, as fit had it: pass it; in a scikit-learn "
                "search or cross-validation through metadata routing, "
                "set_config(enable_metadata_routing=True)."
            )
        rows = check_covariates(self, X, reset=False, min_rows=1)
        known = None if sample_domain is not None else self._target
        split = split_samples(rows, known, sample_domain, sample_weight)
        source, target = split.source_of(rows), split.target_of(rows).X
        given = [split.source_weight, split.target_weight]
        masses = given[0] * self._source_function(self._scaled(source))
        target_masses = given[1] * self._target_function(self._scaled(target))
        if not (masses.sum() > 0 and target_masses.sum() > 0):
            return -np.inf
        weights = np.concatenate(self._relative_weights(given))
        scaling = fit_scaling(np.vstack([source, target]), weights)
        pair = (
            scale_indicators(self, scaling.transform(part), scaling.kept)
            for part in (source, target)
        )
        distance = energy_distance(*pair, x_weights=masses, y_weights=target_masses)
        return -float(distance)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        return tags
