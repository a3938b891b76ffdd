"""From propensities to weights: target functions h, trimming, checks of the input."""

from __future__ import annotations

import warnings

import numpy as np

from causalweights._typing import FloatArray, IntArray
from causalweights._validation import Arms

# A probability this close to zero or one is separation, not a rare treatment.
SEPARATION = 1e-10


def overlap_share(e: FloatArray) -> FloatArray:
    """Return ``(1 / e_k) / sum_j (1 / e_j)``, which needs no e_k to be positive.

    This is the overlap weight h / e_k of a row of arm k: 1 - e_k with two arms.
    """
    low = e.min(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Relative to the smallest, so that a zero gives shares 1 and 0.
        ratio = np.where(e == low, 1.0, low / e)
    return ratio / ratio.sum(axis=1, keepdims=True)


def balancing_ratio(
    e: FloatArray, codes: IntArray, estimand: str, focal: int | None
) -> FloatArray:
    """Return ``h(x) / e_a(x)`` for each row's own arm a, shape (n,).

    h is 1 (ATE), the focal arm's probability (ATT, ATC) or ``1 / sum_k 1 / e_k`` (ATO,
    Li and Li 2019); a row of the focal arm gets exactly one.
    """
    own = e[np.arange(len(e)), codes]
    if estimand == "ato":
        return overlap_share(e)[np.arange(len(e)), codes]
    with np.errstate(divide="ignore", invalid="ignore"):
        if focal is None:
            return 1.0 / own
        return np.where(codes == focal, 1.0, e[:, focal] / own)


def overlap_tilt(e: FloatArray) -> FloatArray:
    """Return ``h = 1 / sum_k 1 / e_k``, which is e(1 - e) for two arms."""
    return e[:, 0] * overlap_share(e)[:, 0]


def crump_threshold(e: FloatArray, sample_weight: FloatArray) -> float:
    """Return the largest ``sum_k 1 / e_k`` to keep (Crump et al. 2009, Theorem 1).

    Keeping the rows with ``v = sum_k 1 / e_k`` up to a threshold gives the variance
    bound ``E[v | kept] / P(kept)`` under equal outcome variances; the threshold that
    minimises it in the sample is returned, infinity where every row stays.
    """
    with np.errstate(divide="ignore"):
        v = np.sum(1.0 / e, axis=1)
    order = np.argsort(v, kind="stable")
    v, s = v[order], sample_weight[order]
    bound = np.cumsum(s * v) / np.cumsum(s) ** 2
    last = len(v) - 1 - int(np.argmin(bound[::-1]))
    return np.inf if last == len(v) - 1 else float(v[last])


def warn_separation(e: FloatArray, arms: Arms, cause: str) -> None:
    """Warn about rows that some arm has no chance to hold, by arm."""
    extreme = np.any((e < SEPARATION) | (e > 1 - SEPARATION), axis=1)
    counts = np.bincount(arms.codes[extreme], minlength=arms.n_arms)
    if not np.any(counts):
        return
    where = ", ".join(
        f"{count} of arm {arms.label(k)!r}" for k, count in enumerate(counts) if count
    )
    warnings.warn(
        f"probabilities of 0 or 1 from {cause}. Rows concerned: {where}. The arms do "
        "not overlap there: drop or coarsen covariates, set trim= or clip=, or use "
        "estimand='ato'.",
        UserWarning,
        stacklevel=5,
    )


def refuse_unusable(ratio: FloatArray, arms: Arms) -> None:
    """Raise where a weight is infinite or an arm has none that is positive."""
    for k in range(arms.n_arms):
        own = ratio[arms.codes == k]
        if not np.all(np.isfinite(own)):
            raise ValueError(
                f"rows of arm {arms.label(k)!r} have probability 0 of their own arm "
                "and so infinite weights: set clip= or trim=, or use estimand='ato'."
            )
        if not np.any(own > 0):
            raise ValueError(
                f"every weight of arm {arms.label(k)!r} is zero: none of its rows "
                "resembles the target."
            )
