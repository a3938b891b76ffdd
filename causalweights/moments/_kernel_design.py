"""One sample of the kernel method of moments: moments, features, and what they give."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from causalweights._typing import FloatArray, IntArray
from causalweights.moments._divergences import DivergenceName
from causalweights.moments._dual import DualProblem
from causalweights.moments._profile import (
    KernelObjective,
    Objective,
    QuadraticObjective,
    Restriction,
)


@dataclass(frozen=True, slots=True, eq=False)
class KernelDesign:
    """Moments and features of the reference rows: all that does not vary in lam.

    Attributes
    ----------
    restriction : Restriction
        Moments of the N reference rows, residuals of unit scale where lam > 0.
    Phi : ndarray of shape (N, D)
    phibar : ndarray of shape (D,)
        Mean features of the data.
    w : ndarray of shape (N,)
        Reference weights, sum one.
    kappa : float
    divergence : {"kl", "log", "chi2"}
    """

    restriction: Restriction
    Phi: FloatArray
    phibar: FloatArray
    w: FloatArray
    kappa: float
    divergence: DivergenceName = "kl"

    def problem(self, lam: float) -> DualProblem:
        """Return the inner problem for a finite lam."""
        return DualProblem(
            self.Phi, self.phibar, self.w, self.kappa, lam, None, self.divergence
        )

    def objective(self, lam: float) -> Objective:
        """Return V for a lam; for inf its limit, V times lam."""
        if np.isinf(lam):
            return QuadraticObjective(self.restriction, self.w)
        return KernelObjective(self.restriction, self.problem(lam))

    def take(self, rows: IntArray) -> KernelDesign:
        """Return the design of some rows of the sample, its own reference."""
        w, Phi = self.w[rows] / self.w[rows].sum(), self.Phi[rows]
        return replace(
            self, restriction=self.restriction.take(rows), Phi=Phi, phibar=w @ Phi, w=w
        )
