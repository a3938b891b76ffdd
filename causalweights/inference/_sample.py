"""The checked rows of an effect, and what an estimate of them holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing

from causalweights._typing import FloatArray, IntArray
from causalweights._validation import (
    Arms,
    check_groups,
    check_outcome,
    check_sample_weight,
)
from causalweights.inference._sensitivity import Sensitivity


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows of positive weight: covariates as the caller gave them, the rest checked.

    Attributes
    ----------
    X : array-like or frame of shape (n, d)
    y : ndarray of shape (n,)
    arms : Arms
    weight : ndarray of shape (n,) or None
        Sampling weights or frequencies; None where the caller gave none.
    groups : ndarray of shape (n,) or None
        Clusters as positions.
    weight_type : str
    """

    X: Any
    y: FloatArray
    arms: Arms
    weight: FloatArray | None
    groups: np.ndarray | None
    weight_type: str

    @property
    def frequency(self) -> FloatArray | None:
        """Rows that each row stands for; None where a row is one."""
        return self.weight if self.weight_type == "frequency" else None

    @property
    def copies(self) -> FloatArray:
        """The same, ones where a row is one."""
        return np.ones(len(self.y)) if self.frequency is None else self.frequency

    @property
    def base(self) -> FloatArray:
        """Weights of the rows, ones where the caller gave none."""
        return np.ones(len(self.y)) if self.weight is None else self.weight

    def target_masses(self, focal: int | None) -> FloatArray:
        """Return each row's mass in the focal arm's population, or in that of all."""
        t = self.base
        if focal is not None:
            t = np.where(self.arms.codes == focal, t, 0.0)
        return t / t.sum()

    def take(self, rows: IntArray) -> Sample:
        """Return the rows at these positions; every arm must stay non-empty."""
        return Sample(
            _safe_indexing(self.X, rows),
            self.y[rows],
            self.arms.take(rows),
            None if self.weight is None else self.weight[rows],
            None if self.groups is None else self.groups[rows],
            self.weight_type,
        )


def checked_sample(
    X: Any, y: Any, arms: Arms, sample_weight: Any, groups: Any, weight_type: str
) -> tuple[Sample, np.ndarray]:
    """Return the rows of positive weight, and the mask (n,) of them."""
    n = len(arms.codes)
    s = None if sample_weight is None else check_sample_weight(sample_weight, n)
    sample = Sample(
        X, check_outcome(y, n), arms, s, check_groups(groups, n), weight_type
    )
    rows = np.ones(n, dtype=bool) if s is None else s > 0
    return (sample if np.all(rows) else sample.take(np.flatnonzero(rows))), rows


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """Arm means and contrasts with their uncertainty.

    Attributes
    ----------
    means, means_cov : ndarray of shape (K,) and (K, K)
    effect, cov : ndarray of shape (K-1,) and (K-1, K-1)
    influence : ndarray of shape (n, K-1) or None
        Where the standard error is that of an influence function.
    draws : ndarray of shape (B, K-1) or None
        As in `EffectResult`.
    sensitivity : Sensitivity or None
    details : dict
        What the summary's head tells of the standard error.
    """

    means: FloatArray
    means_cov: FloatArray
    effect: FloatArray
    cov: FloatArray
    influence: FloatArray | None = None
    draws: FloatArray | None = None
    sensitivity: Sensitivity | None = None
    details: dict[str, str] = field(default_factory=dict)
