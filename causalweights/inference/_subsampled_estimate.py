"""An effect's estimate whose uncertainty is that of estimates from subsamples."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import clone

from causalweights._typing import FloatArray, IntArray
from causalweights.inference._contrasts import contrast_gradient
from causalweights.inference._sample import Estimate, Sample
from causalweights.inference._subsamples import Subsamples, draw_subsamples
from causalweights.inference._subsampling import minimum_volatility

# Of the intervals that the size is chosen by; other levels keep that size, so that
# intervals are nested and a p-value can agree with all of them.
_LEVEL = 0.95
# Expected rows of the smallest arm in the smallest subsample: less than two, where
# nothing can be estimated, are then rare (0.3 %).
_FEWEST_IN_ARM = 8


def subsampled_estimate(
    statistic: Callable[[IntArray], FloatArray],
    values: FloatArray,
    sample: Sample,
    *,
    contrast: str,
    n_subsamples: int,
    seed: int,
    n_jobs: int | None,
    advice: str,
) -> tuple[Estimate, Subsamples]:
    """Return the estimate, and what was drawn.

    One size of subsamples for all contrasts, so that they have a covariance: the one
    of least volatility, summed over the contrasts.

    Parameters
    ----------
    statistic : callable
        Takes rows, returns K arm means, K - 1 contrasts (logarithms of ratios), and
        anything else to be drawn with them.
    values : ndarray
        The statistic of all rows.
    sample : Sample
    contrast, n_subsamples, seed, n_jobs, advice
        As in the estimator, and in `draw_subsamples`.
    """
    arms, groups = sample.arms, sample.groups
    n_units = len(sample.y) if groups is None else len(np.unique(groups))
    drawn = draw_subsamples(
        statistic,
        len(sample.y),
        values,
        least=_FEWEST_IN_ARM * n_units / np.bincount(arms.codes).min(),
        n_subsamples=n_subsamples,
        groups=groups,
        random_state=seed,
        n_jobs=n_jobs,
        advice=advice,
    )
    k, last = arms.n_arms, 2 * arms.n_arms - 1
    lowers, uppers = (ends[:, k:last] for ends in drawn.intervals(_LEVEL))
    chosen = minimum_volatility(lowers, uppers)
    roots = drawn.roots()[chosen, :, :last]
    roots = roots[~np.isnan(roots[:, 0])]
    cov = np.cov(roots.T)
    means, contrasts, slope = values[:k], values[k:last], np.ones(k - 1)
    if contrast != "difference":
        slope = contrasts = np.exp(contrasts)
    unit = "rows" if groups is None else "clusters"
    estimate = Estimate(
        means,
        cov[:k, :k],
        contrasts,
        cov[k:, k:] * np.outer(slope, slope),
        draws=roots[:, k:],
        details={"Subsamples": f"{len(roots)} of {drawn.sizes[chosen]} {unit}"},
    )
    return estimate, drawn


def subsample_options(effect: Any) -> tuple[Any, int]:
    """Return a copy of an effect estimator's options for its subsamples, and the seed.

    The folds of a subsample must not depend on which were drawn before it.
    """
    seed = 0 if effect.random_state is None else effect.random_state
    if isinstance(seed, np.random.RandomState):
        seed = int(seed.randint(np.iinfo(np.int32).max))
    return clone(effect).set_params(random_state=seed, n_jobs=None), seed


def means_and_contrasts(means: FloatArray, control: int, contrast: str) -> FloatArray:
    """Return K arm means and K - 1 contrasts; ratios as logarithms."""
    contrasts, _ = contrast_gradient(means, control, contrast)
    if contrast != "difference":
        contrasts = np.log(contrasts)
    return np.concatenate([means, contrasts])


def refuse_fixed_rows(sample: Sample, cv: Any) -> None:
    """Raise for data and folds of which no subsample can be taken."""
    if sample.frequency is not None:
        raise ValueError(
            "se='subsample' draws rows, and a row with a frequency stands for several: "
            "repeat the rows, or use the default se."
        )
    if not (cv is None or isinstance(cv, Integral) or hasattr(cv, "split")):
        raise ValueError(
            "se='subsample' makes the folds of every subsample, and cv= lists those "
            "of all rows: pass a number of folds, a splitter or None."
        )
