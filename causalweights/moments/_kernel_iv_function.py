"""An estimated structural function at any rows, with limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import block_diag

from causalweights._typing import FloatArray
from causalweights.inference import confidence_band
from causalweights.inference._bands import BandKind
from causalweights.moments._data import MomentData
from causalweights.moments._kernel_iv_design import FunctionBasis
from causalweights.moments._kernel_iv_fit import VARIANCES, Prior, prior_grid

# Averaged over: from nearly quadratic to nearly a step.
STEEPNESSES = (0.25, 1.0, 4.0)
# Of the prior that limits allow for, in place of averages.
_WIDE_VARIANCE, _MIDDLE_PART = 100.0, 1

Choice = float | str


@dataclass(frozen=True, slots=True)
class PriorChoice:
    """Prior variances and steepness, each a number or ``"auto"``."""

    slope_variance: Choice
    smooth_variance: Choice
    steepness: Choice

    @property
    def steepnesses(self) -> tuple[float, ...]:
        """Of each smooth part."""
        if isinstance(self.steepness, str):
            return STEEPNESSES
        return (float(self.steepness),)

    def averaged(self) -> list[Prior]:
        """Return the priors that the estimate averages over."""
        slopes, smooths = (
            VARIANCES if isinstance(value, str) else (value,)
            for value in (self.slope_variance, self.smooth_variance)
        )
        return prior_grid(slopes, smooths, len(self.steepnesses))

    def path(self) -> dict[str, FloatArray]:
        """Return the same as arrays by name, each (K,)."""
        priors = self.averaged()
        return {
            "slope_variance": np.array([prior.slope for prior in priors]),
            "smooth_variance": np.array([prior.smooth for prior in priors]),
            "steepness": np.array([self.steepnesses[p.part] for p in priors]),
        }

    def wide(self) -> Prior:
        """Return the prior of limits: wide, but where variances are given."""
        slope, smooth = (
            _WIDE_VARIANCE if isinstance(value, str) else float(value)
            for value in (self.slope_variance, self.smooth_variance)
        )
        return Prior(slope, smooth, _MIDDLE_PART if len(self.steepnesses) > 1 else 0)


@dataclass(frozen=True, slots=True)
class OutcomeScale:
    """Mean and standard deviation of the outcome; one where it is constant."""

    mean: float
    sd: float

    @classmethod
    def of(cls, data: MomentData) -> OutcomeScale:
        """Return those of a sample, weighted."""
        masses = data.sample_weight / data.n_samples
        mean = float(masses @ data.y)
        return cls(mean, float(np.sqrt(masses @ (data.y - mean) ** 2)) or 1.0)

    def standard(self, y: FloatArray) -> FloatArray:
        """Return the outcome in these units."""
        return (y - self.mean) / self.sd


@dataclass(frozen=True, slots=True, eq=False)
class StructuralFunction:
    """The estimate.

    Attributes
    ----------
    basis : FunctionBasis
    outcome : OutcomeScale
    coef : ndarray of shape (p,)
    error : ndarray of shape (p, p)
        Expected squared error of the coefficients under ``prior``.
    prior : Prior
        That of limits.
    """

    basis: FunctionBasis
    outcome: OutcomeScale
    coef: FloatArray
    error: FloatArray
    prior: Prior

    def values(self, X: FloatArray) -> FloatArray:
        """Return the function at rows, (m,)."""
        return self.outcome.mean + self.outcome.sd * (
            self.basis.transform(X) @ self.coef
        )

    def half_width(
        self, X: FloatArray, level: float, kind: BandKind, n_draws: int, seed: Any
    ) -> FloatArray:
        """Return half the width of limits at rows, (m,)."""
        unseen = self.basis.unseen(X, self.prior.part)
        columns = np.column_stack([self.basis.transform(X), unseen])
        values, vectors = np.linalg.eigh(self.error)
        root = block_diag(
            vectors * np.sqrt(np.maximum(values, 0.0)),
            np.sqrt(self.prior.smooth) * np.eye(unseen.shape[1]),
        )
        band = confidence_band(
            columns, root, level, kind, n_draws=n_draws, random_state=seed
        )
        return self.outcome.sd * band.half_width
