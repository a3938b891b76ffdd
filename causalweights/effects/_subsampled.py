"""Standard errors and intervals from subsamples on which everything is fitted again."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline

from causalweights._typing import FloatArray, IntArray
from causalweights.effects._by_influence import point_means, predicted_outcomes
from causalweights.effects._resolve_weights import ArmWeights, arm_weights, last_step
from causalweights.inference._sample import Estimate, Sample
from causalweights.inference._subsampled_estimate import (
    means_and_contrasts,
    refuse_fixed_rows,
    subsample_options,
    subsampled_estimate,
)
from causalweights.kernels import Kernel

_ADVICE = (
    "With se='subsample' more rows, a larger smallest arm or fewer folds help; "
    "otherwise use se='influence'."
)


@dataclass(frozen=True, slots=True, eq=False)
class Refit:
    """The estimate as a function of rows, weights and outcome models included.

    Attributes
    ----------
    effect, weighter : estimators
        The options, and the weighter with the bandwidth of all rows.
    sample : Sample
    estimand : str
    """

    effect: Any
    weighter: Any
    sample: Sample
    estimand: str

    def values(self, weights: ArmWeights, sample: Sample) -> FloatArray:
        """Return K arm means and K - 1 contrasts; ratios as logarithms."""
        effect = self.effect
        predictions = predicted_outcomes(
            effect, effect.outcome_model, sample, weights, self.estimand, effect.cv
        )
        means = point_means(effect, sample, weights, predictions)
        return means_and_contrasts(means, sample.arms.control, effect.contrast)

    def __call__(self, rows: IntArray) -> FloatArray:
        """Return the values, and 1 where something did not converge."""
        sample = self.sample.take(rows)
        everything = np.ones(len(rows), dtype=bool)
        # Warnings of single subsamples would be thousands: those on convergence are
        # counted, those on few rows and constant columns are in a subsample's nature.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            weights = arm_weights(self.weighter, sample, self.estimand, everything)
            values = self.values(weights, sample)
        failed = any(issubclass(w.category, ConvergenceWarning) for w in caught)
        return np.append(values, failed)


def by_subsampling(
    effect: Any, weighter: Any, sample: Sample, weights: ArmWeights, estimand: str
) -> Estimate:
    """Return the estimate with ``se="subsample"``."""
    _refuse(effect, weighter, sample, weights)
    options, seed = subsample_options(effect)
    refit = Refit(options, _pinned(weighter, weights.weighter), sample, estimand)
    values = refit.values(weights, sample)
    found, drawn = subsampled_estimate(
        refit, np.append(values, 0.0), sample,
        contrast=effect.contrast, n_subsamples=effect.n_subsamples, seed=seed,
        n_jobs=effect.n_jobs, advice=_ADVICE,
    )  # fmt: skip
    _warn_unconverged(drawn.values[:, :, -1])
    return found


def _pinned(weighter: Any, fitted: Any) -> Any:
    """Return the weighter with the bandwidths that its fit to all rows has found."""
    pinned, found = clone(weighter), last_step(fitted)
    last = last_step(pinned)
    if isinstance(getattr(last, "discriminator", None), Kernel):
        last.set_params(discriminator=found.kernel_)
    elif getattr(found, "bandwidth_", None) is not None:
        last.set_params(bandwidth=found.bandwidth_)
    return pinned


def _warn_unconverged(flags: FloatArray) -> None:
    count = int(np.nansum(flags))
    if count:
        warnings.warn(
            f"the weights or the outcome model of {count} of {flags.size} subsamples "
            "did not converge: see the advice of their own fit to all rows.",
            ConvergenceWarning,
            stacklevel=5,
        )


def _refuse(effect: Any, weighter: Any, sample: Sample, weights: ArmWeights) -> None:
    """Raise where subsamples do not tell how the estimate varies."""
    step = weighter
    while isinstance(step, Pipeline):
        step = step[-1]
    if weighter is None:
        raise ValueError(
            "se='subsample' is for estimated weights, and weighter=None has none: use "
            "se='m_estimation' with least squares in sample."
        )
    if not isinstance(step, BaseEstimator) or type(step).__name__ == "FrozenEstimator":
        raise ValueError(
            "se='subsample' estimates the weights of every subsample, which a vector "
            "of weights and a FrozenEstimator do not allow: pass the weighter itself, "
            "or use se='influence', which takes the weights as they are."
        )
    if effect.inference == "sample":
        raise ValueError(
            "se='subsample' draws covariates and outcomes together, so it is for "
            "inference='population'; given the sample's covariates use se='influence'."
        )
    if weights.outside is not None:
        raise ValueError(
            "se='subsample' does not draw from a target= outside the sample: use "
            "se='influence', which counts the target's sampling."
        )
    refuse_fixed_rows(sample, effect.cv)
