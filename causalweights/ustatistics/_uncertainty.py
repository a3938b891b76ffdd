"""Standard errors and intervals of a linear imputation's arm means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from causalweights._typing import FloatArray, IntArray
from causalweights.inference import (
    cluster_sums,
    contrast_gradient,
    contribution_covariance,
)
from causalweights.inference._sample import Estimate, Sample
from causalweights.inference._subsampled_estimate import (
    means_and_contrasts,
    refuse_fixed_rows,
    subsample_options,
    subsampled_estimate,
)
from causalweights.ustatistics._comparison import Comparison
from causalweights.ustatistics._estimate import UStatistic, fit_ustatistic

# Multipliers formed at a time.
_BLOCK = 1_000_000
# Mammen's two points have mean 0, variance 1 and third moment 1.
_LOW, _HIGH = (1 - np.sqrt(5)) / 2, (1 + np.sqrt(5)) / 2
_CHANCE_LOW = (np.sqrt(5) + 1) / (2 * np.sqrt(5))
_ADVICE = (
    "With se='subsample' more rows, a larger smallest arm or fewer folds help; "
    "otherwise use se='analytic'."
)


def with_uncertainty(
    effect: Any,
    comparison: Comparison,
    X: FloatArray,
    sample: Sample,
    estimand: str,
    fitted: UStatistic,
) -> Estimate:
    """Return the estimate with the standard error that ``effect.se`` asks for."""
    if effect.se == "subsample":
        return _by_subsampling(effect, comparison, X, sample, estimand)
    control, n_arms = sample.arms.control, sample.arms.n_arms
    values, jacobian = contrast_gradient(fitted.means, control, effect.contrast)
    if effect.se is None:
        unknown = np.full((n_arms, n_arms), np.nan)
        return Estimate(fitted.means, unknown, values, unknown[1:, 1:])
    if comparison.sums_vary:
        raise ValueError(
            "normalization='none' has no variance formula, since the weights' sum "
            "varies too: use se='subsample', or se=None."
        )
    frequency, phi = sample.frequency, fitted.contributions(sample)
    copies = sample.copies
    if sample.groups is None:
        cov = fitted.covariance(sample)
    else:
        cov = contribution_covariance(phi, frequency=frequency, groups=sample.groups)
    found = Estimate(
        fitted.means,
        cov,
        values,
        jacobian @ cov @ jacobian.T,
        influence=copies.sum() * (phi / copies[:, None]) @ jacobian.T,
    )
    if effect.se == "analytic":
        return found
    seed = 0 if effect.random_state is None else effect.random_state
    terms = _terms(fitted, sample, phi) @ jacobian.T
    if effect.contrast != "difference":
        terms = terms / values
    draws = _multiplied(terms, effect.n_draws, check_random_state(seed))
    return replace(
        found, draws=draws, details={"Multiplier draws": f"{effect.n_draws}"}
    )


def _terms(fitted: UStatistic, sample: Sample, phi: FloatArray) -> FloatArray:
    """Return independent terms (m, K) whose squares add up to the covariance."""
    if sample.groups is not None:
        sums = cluster_sums(phi, sample.groups)
        return sums * np.sqrt(len(sums) / (len(sums) - 1))
    copies = sample.copies
    root = np.sqrt(copies)
    spread = (fitted.target_masses / root)[:, None] * (fitted.imputed - fitted.means)
    left = np.maximum(fitted.masses**2 / copies - fitted.squares, 0.0)
    noise = np.zeros_like(spread)
    noise[np.arange(len(phi)), sample.arms.codes] = (
        np.sign(fitted.masses) * np.sqrt(left) * fitted.residuals
    )
    return np.vstack([spread, noise])


def _multiplied(
    terms: FloatArray, n_draws: int, rng: np.random.RandomState
) -> FloatArray:
    """Return sums of terms times independent multipliers, (n_draws, K-1)."""
    out = np.empty((n_draws, terms.shape[1]))
    height = max(1, _BLOCK // len(terms))
    for start in range(0, n_draws, height):
        part = out[start : start + height]
        low = rng.random_sample((len(part), len(terms))) < _CHANCE_LOW
        part[:] = np.where(low, _LOW, _HIGH) @ terms
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Refit:
    """The estimate as a function of rows."""

    effect: Any
    comparison: Comparison
    X: FloatArray
    sample: Sample
    estimand: str

    def __call__(self, rows: IntArray) -> FloatArray:
        """Return K arm means and K - 1 contrasts; ratios as logarithms."""
        part, effect = self.sample.take(rows), self.effect
        fitted = fit_ustatistic(
            effect, self.comparison, self.X[rows], part, self.estimand, effect.cv
        )
        return means_and_contrasts(fitted.means, part.arms.control, effect.contrast)


def _by_subsampling(
    effect: Any, comparison: Comparison, X: FloatArray, sample: Sample, estimand: str
) -> Estimate:
    """Return the estimate with everything fitted again on subsamples."""
    refuse_fixed_rows(sample, effect.cv)
    options, seed = subsample_options(effect)
    refit = Refit(options, comparison, X, sample, estimand)
    return subsampled_estimate(
        refit, refit(np.arange(len(X))), sample,
        contrast=effect.contrast, n_subsamples=effect.n_draws, seed=seed,
        n_jobs=effect.n_jobs, advice=_ADVICE,
    )[0]  # fmt: skip
