"""From checked rows to arm means, imputed arm by arm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice, permutations
from math import factorial
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.utils import check_random_state

from causalweights._typing import FloatArray
from causalweights._validation import focal_arm
from causalweights.crossfit import make_folds, outcome_predictions
from causalweights.inference import matching_variance
from causalweights.inference._sample import Sample
from causalweights.ustatistics._arm_fit import (
    ArmFit,
    ArmRows,
    fit_arm,
    fit_map,
    images_of,
)
from causalweights.ustatistics._comparison import Comparison
from causalweights.ustatistics._transformer import UniformTransformer


@dataclass(frozen=True, slots=True, eq=False)
class UStatistic:
    """Arm means and what they are made of.

    Attributes
    ----------
    means : ndarray of shape (K,)
    masses, target_masses : ndarray of shape (n,)
        Sum one in each arm (not with ``normalization="none"``); sum one.
    imputed : ndarray of shape (n, K)
        Outcome of each target row under each arm: its own, or imputed.
    residuals : ndarray of shape (n,)
        From the nearest rows of the own arm, scaled to the noise's variance.
    squares : ndarray of shape (n,)
        Squared shares: as in `matching_variance`.
    maps : dict of list
        By arm that is imputed.
    fits : dict of ArmFit
        The same.
    """

    means: FloatArray
    masses: FloatArray
    target_masses: FloatArray
    imputed: FloatArray
    residuals: FloatArray
    squares: FloatArray
    maps: dict[int, list[Any]]
    fits: dict[int, ArmFit]

    def covariance(self, sample: Sample) -> FloatArray:
        """Return the covariance of the arm means, equations (6) and (7).

        Shares of one sign have masses whose squares exceed the squared shares; where
        an extrapolating imputation breaks that, the conservative variant is taken.
        """
        return matching_variance(
            sample.arms.codes,
            self.masses,
            self.target_masses,
            self.residuals**2,
            imputed=self.imputed,
            squared_shares=np.minimum(self.squares, self.masses**2 / sample.copies),
            frequency=sample.frequency,
        ).cov

    def contributions(self, sample: Sample) -> FloatArray:
        """Return (n, K): sampling of the target plus noise of the outcomes used."""
        phi = self.target_masses[:, None] * (self.imputed - self.means)
        received = self.masses - self.target_masses
        rows = np.arange(len(received))
        phi[rows, sample.arms.codes] += received * self.residuals
        return phi


def fit_ustatistic(
    effect: Any,
    comparison: Comparison,
    X: FloatArray,
    sample: Sample,
    estimand: str,
    cv: Any,
) -> UStatistic:
    """Return the estimate of `UniformTransformerEffect` with options ``effect``.

    ``X`` (n, d) are the covariates as numbers, ``sample.X`` as the caller gave them;
    ``cv`` are the folds of these rows.
    """
    arms, n = sample.arms, len(sample.y)
    focal = focal_arm(arms, estimand)
    t, copies = sample.target_masses(focal), sample.copies
    layout = {k: arm_rows(sample, t, k) for k in range(arms.n_arms) if k != focal}
    maps = {k: fit_maps(effect, X, rows) for k, rows in layout.items()}
    predictions = predicted_outcomes(effect, X, sample, maps, cv)
    imputed, masses, residuals = predictions.copy(), t.copy(), np.zeros(n)
    squares = t**2 / copies
    fits = {}
    for k, rows in layout.items():
        own, others = rows.reference, rows.targets
        images = [(images_of(m, X[own]), images_of(m, X[others])) for m in maps[k]]
        fits[k] = fit = fit_arm(
            comparison,
            effect.bandwidth,
            images,
            replace(rows, r=sample.y[own] - predictions[own, k]),
            n_neighbors=effect.n_neighbors,
            frequency=sample.frequency is not None,
        )
        imputed[others, k] += fit.imputation.imputed
        masses[own] += fit.imputation.received
        squares[own] += fit.imputation.squares / copies[own]
        residuals[own] = fit.residuals
    imputed[np.arange(n), arms.codes] = sample.y
    means = t @ imputed
    return UStatistic(means, masses, t, imputed, residuals, squares, maps, fits)


def arm_rows(sample: Sample, t: FloatArray, arm: int) -> ArmRows:
    """Return the arm's rows as the reference, and the others with target mass."""
    codes = sample.arms.codes
    reference = np.flatnonzero(codes == arm)
    targets = np.flatnonzero((codes != arm) & (t > 0))
    copies = sample.copies
    return ArmRows(
        reference, targets, sample.y[reference], sample.base[reference], t[targets],
        (copies[reference], copies[targets]),
    )  # fmt: skip


def fit_maps(effect: Any, X: FloatArray, rows: ArmRows) -> list[Any]:
    """Return the maps of one arm's reference rows: one, or one a coordinate order."""
    transformer = effect.transformer
    if isinstance(transformer, str) and transformer != "none":
        transformer = UniformTransformer(transformer)
    if effect.order_average == 1:
        return [fit_map(transformer, X, rows, effect.weight_type)]
    d = X.shape[1]
    joint = isinstance(transformer, UniformTransformer) and transformer.kind == "joint"
    if not joint or transformer.coordinate_order is not None:
        raise ValueError(
            f"order_average={effect.order_average} averages over the coordinate orders "
            "of the joint map: use transformer='joint', without a coordinate_order."
        )
    if effect.order_average > factorial(d):
        raise ValueError(
            f"order_average={effect.order_average}: {d} columns have {factorial(d)} "
            "orders only."
        )
    return [
        fit_map(
            clone(transformer).set_params(coordinate_order=order),
            X, rows, effect.weight_type,
        )
        for order in islice(permutations(range(d)), effect.order_average)
    ]  # fmt: skip


def predicted_outcomes(
    effect: Any, X: FloatArray, sample: Sample, maps: dict[int, list[Any]], cv: Any
) -> FloatArray:
    """Return predictions (n, K) for the arms that are imputed, zero for others."""
    arms, n = sample.arms, len(sample.y)
    predictions = np.zeros((n, arms.n_arms))
    model, cv = outcome_model(effect, cv)
    if model is None:
        return predictions
    seed = 0 if effect.random_state is None else effect.random_state
    folds = make_folds(
        cv, n, codes=arms.codes, groups=sample.groups,
        labels=[arms.label(k) for k in range(arms.n_arms)],
        random_state=check_random_state(seed),
    )  # fmt: skip
    for k, found in maps.items():
        features = covariates_of_model(effect, X, sample.X, found[0])
        predictions[:, [k]] = outcome_predictions(
            model, features, sample.y, arms.codes, arms.n_arms, folds,
            sample_weight=sample.weight, arms=[k], n_jobs=effect.n_jobs,
        )  # fmt: skip
    return predictions


def outcome_model(effect: Any, cv: Any) -> tuple[Any, Any]:
    """Return the model to augment with (None for none), and its folds."""
    if isinstance(effect.augment, str):
        return LinearRegression(), None
    return effect.augment, cv


def covariates_of_model(effect: Any, X: FloatArray, given: Any, fitted: Any) -> Any:
    """Return what the outcome model sees: covariates, or their images.

    Least squares by name sees numbers, a model of the caller's what the caller gave.
    """
    if effect.augment_space == "u":
        return images_of(fitted, X)
    return X if isinstance(effect.augment, str) else given
