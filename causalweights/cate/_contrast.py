"""Rows of one contrast, checked, and results that keep their influence values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import norm

from causalweights._typing import FloatArray
from causalweights._validation import (
    check_groups,
    check_outcome,
    check_sample_weight,
)
from causalweights.cate._pseudo_outcomes import Nuisances, doubly_robust
from causalweights.inference import EffectResult, contribution_covariance
from causalweights.inference._bands import confidence_band


@dataclass(frozen=True, eq=False, repr=False)
class InfluenceResult(EffectResult):
    """Estimates with their covariance and influence values.

    Attributes
    ----------
    influence : ndarray of shape (n,), or (n, K) for several estimates
        Root of the summed squares over n is the standard error, of independent rows
        and HC0.
    """

    influence: FloatArray | None = None

    @property
    def pvalue_greater(self) -> FloatArray:
        """One-sided p-value of an estimate that is not above zero, (K,)."""
        return norm.sf(self.statistic)

    def joint_conf_int(
        self, level: float = 0.95, *, n_draws: int = 10_000, random_state: Any = None
    ) -> FloatArray:
        """Return intervals that cover all estimates at once, (K, 2).

        By the quantile of the largest standardised error, drawn from the normal law
        with covariance ``cov``: what Gaussian multipliers of the influence values
        give.

        Parameters
        ----------
        level : float, default=0.95
        n_draws : int, default=10_000
        random_state : int, RandomState instance or None, default=None
            None is seed 0.
        """
        values, vectors = np.linalg.eigh(self.cov)
        factor = vectors * np.sqrt(np.maximum(values, 0.0))
        band = confidence_band(
            np.eye(len(factor)), factor, level, "uniform",
            n_draws=n_draws, random_state=random_state,
        )  # fmt: skip
        effect = np.atleast_1d(self.effect)
        return np.column_stack([effect - band.half_width, effect + band.half_width])


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What each row counts.

    Attributes
    ----------
    mass : ndarray of shape (n,)
        Shares of the sample: sampling weights times copies, sum one.
    weight, copies : ndarray of shape (n,)
    groups : ndarray of shape (n,) or None
        Clusters.
    """

    mass: FloatArray
    weight: FloatArray
    copies: FloatArray
    groups: np.ndarray | None

    @property
    def n_samples(self) -> float:
        """Rows of positive weight, copies counted."""
        return float(self.copies[self.mass > 0].sum())

    def covariance(self, phi: FloatArray) -> FloatArray:
        """Return the covariance of estimates with contributions phi (n, K)."""
        rows = self.mass > 0
        return contribution_covariance(
            phi[rows],
            frequency=self.copies[rows],
            groups=None if self.groups is None else self.groups[rows],
        )

    def result(
        self,
        effect: Any,
        phi: FloatArray,
        names: Sequence[str],
        *,
        estimand: str,
        title: str,
        cov: FloatArray | None = None,
    ) -> InfluenceResult:
        """Return estimates (K,) whose errors are sums of contributions phi (n, K).

        ``cov`` replaces the covariance that follows from them.
        """
        cov = self.covariance(phi) if cov is None else cov
        effect, se, rows = np.atleast_1d(effect), np.sqrt(np.diag(cov)), self.mass > 0
        influence = np.zeros_like(phi)
        influence[rows] = self.n_samples * phi[rows] / self.copies[rows, None]
        single = len(effect) == 1
        return InfluenceResult(
            float(effect[0]) if single else effect,
            float(se[0]) if single else se,
            cov,
            list(names),
            estimand=estimand,
            n_samples=round(self.n_samples),
            title=title,
            influence=influence[:, 0] if single else influence,
        )


def check_rows(n: int, sample_weight: Any, groups: Any, frequency: Any) -> Rows:
    """Return what each of n rows counts: sampling weights, copies, clusters."""
    weight = check_sample_weight(sample_weight, n)
    copies = check_sample_weight(frequency, n)
    mass = weight * copies
    return Rows(mass / mass.sum(), weight, copies, check_groups(groups, n))


def check_vector(name: str, values: Any, n: int) -> FloatArray:
    """Return one finite number a row."""
    out = np.asarray(values, dtype=np.float64)
    if out.shape != (n,) or not np.all(np.isfinite(out)):
        raise ValueError(
            f"{name} must hold one finite number a row, shape ({n},); got shape "
            f"{out.shape}."
        )
    return out


def pair_contrast(
    y: Any, treatment: Any, propensity: Any, mean: Any, complement: Any = None
) -> Nuisances:
    """Return the rows of a residual-on-residual contrast, doses allowed.

    A treatment of NaN marks a row of a third arm, which needs ``complement``.
    """
    n = len(y)
    a = np.asarray(treatment, dtype=np.float64)
    if a.shape != (n,) or np.any(np.isinf(a)) or np.all(np.isnan(a)):
        raise ValueError(
            "treatment must hold one number a row (NaN: a row of another arm), shape "
            f"({n},); got shape {a.shape}."
        )
    pi = check_vector("propensity", propensity, n)
    kappa = np.full(n, np.nan)
    if complement is not None:
        kappa = check_vector("complement", complement, n)
    elif np.any(np.isnan(a)):
        raise ValueError(
            "treatment is NaN in some rows: pass complement, the probability of the "
            "control arm, beside propensity, that of the treated arm."
        )
    eta = None if mean is None else check_vector("mean", mean, n)
    return Nuisances(check_outcome(y, n), a, pi, kappa, mean=eta)


def arm_contrast(
    y: Any,
    treatment: Any,
    propensity: Any,
    mean_0: Any,
    mean_1: Any,
    complement: Any = None,
    mean: Any = None,
) -> Nuisances:
    """Return the rows of a contrast of two arms with their outcome models.

    ``mean`` of None is pi mu_1 + kappa mu_0 of the pair.
    """
    v = pair_contrast(y, treatment, propensity, mean, complement)
    if not np.all(np.isnan(v.a) | (v.a == 0) | (v.a == 1)):
        raise ValueError(
            "treatment must be 1 in the treated and 0 in the control arm (NaN in "
            "others): pass treatment == label, for two arms."
        )
    kappa = 1 - v.propensity if complement is None else v.complement
    if np.min(v.propensity) <= 0 or np.min(kappa) <= 0:
        raise ValueError(
            "propensity, and complement or 1 - propensity, must be positive: clip them."
        )
    if mean_0 is None or mean_1 is None:
        raise ValueError("mean_0 and mean_1, predictions of both arms, are needed.")
    n = len(v.y)
    mu_0, mu_1 = check_vector("mean_0", mean_0, n), check_vector("mean_1", mean_1, n)
    v = replace(v, complement=kappa, mean_0=mu_0, mean_1=mu_1)
    pi = v.pair_propensity
    return v if mean is not None else replace(v, mean=pi * mu_1 + (1 - pi) * mu_0)


def contrast_of(
    y: Any,
    *,
    treatment: Any,
    propensity: Any,
    mean_0: Any = None,
    mean_1: Any = None,
    mean: Any = None,
    complement: Any = None,
    residual: bool,
) -> Nuisances:
    """Return the rows of a contrast: for residuals the overall mean is enough."""
    if residual and mean is not None:
        return pair_contrast(y, treatment, propensity, mean, complement)
    return arm_contrast(y, treatment, propensity, mean_0, mean_1, complement, mean)


def scored_rows(
    y: Any,
    effects: Any,
    treatment: Any,
    propensity: Any,
    mean_0: Any,
    mean_1: Any,
    complement: Any,
    sample_weight: Any,
    groups: Any,
    frequency: Any,
) -> tuple[FloatArray, FloatArray, Rows]:
    """Return pseudo-outcomes, predicted effects and what each row counts."""
    v = arm_contrast(y, treatment, propensity, mean_0, mean_1, complement)
    rows = check_rows(len(v.y), sample_weight, groups, frequency)
    return doubly_robust(v), check_vector("effects", effects, len(v.y)), rows
