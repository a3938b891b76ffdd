r"""Confidence intervals from a likelihood-type criterion, minimised over the rest.

Where twice N times the criterion's rise is chi-squared at the truth (generalised
empirical likelihood: Qin & Lawless, 1994; continuous updating: Hansen, Heaton & Yaron,
1996), the values of one parameter at which it stays small form an interval. It need
not be symmetric, and its ends are infinite where the criterion is bounded.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2
from sklearn.exceptions import ConvergenceWarning

from causalweights._typing import FloatArray
from causalweights.moments._profile import Evaluation, Objective, minimize

# Standard errors beyond which an end counts as infinite.
_FARTHEST = 1e6
# What stands for an infinite root of the rise, in units of the critical one.
_OUTSIDE = 1e3


class _HeldParameter:
    """An objective of the other parameters, one being held."""

    def __init__(self, objective: Objective, k: int, value: float) -> None:
        self.objective, self.k, self.value = objective, k, value

    def theta(self, rest: FloatArray) -> FloatArray:
        return np.insert(rest, self.k, self.value)

    def __call__(self, theta: FloatArray, near: Evaluation | None) -> Evaluation:
        at = self.objective(self.theta(theta), near)
        inner = np.delete(np.arange(len(theta) + 1), self.k)
        block = np.ix_(inner, inner)
        return replace(
            at, gradient=at.gradient[inner], hessian=at.hessian[block],
            gauss_newton=at.gauss_newton[block],
        )  # fmt: skip


class _Profile:
    """Root of the criterion's rise as a function of one parameter, less its bound."""

    def __init__(
        self,
        objective: Objective,
        theta: FloatArray,
        k: int,
        n_samples: float,
        level: float,
        tol: float,
    ) -> None:
        self.objective, self.k, self.n_samples, self.tol = objective, k, n_samples, tol
        at = objective(theta, None)
        self.lowest = at.value
        self.critical = float(np.sqrt(chi2.ppf(level, 1)))
        # Solutions by the parameter's value, each with its derivatives by that value:
        # the nearest one's tangent is the next one's start.
        self.solved: dict[float, tuple[FloatArray, Evaluation, FloatArray]] = {}
        self._keep(float(theta[k]), np.delete(theta, k), at)
        self.unsettled: set[float] = set()

    def _keep(self, value: float, rest: FloatArray, at: Evaluation) -> None:
        """Keep a solution; ``at`` is of all parameters."""
        across = np.delete(at.hessian[:, self.k], self.k)
        block = np.delete(np.delete(at.hessian, self.k, 0), self.k, 1)
        slopes = np.linalg.lstsq(block, across, rcond=None)[0]
        self.solved[value] = (rest, at, -slopes)

    def __call__(self, value: float) -> float:
        nearest = min(self.solved, key=lambda t: abs(t - value))
        rest, near, slopes = self.solved[nearest]
        held = _HeldParameter(self.objective, self.k, value)
        rest = rest + slopes * (value - nearest)
        if len(rest):
            found = minimize(held, rest, self.tol, near=near)
            rest, near = found.theta, found.at
            if not found.converged:
                self.unsettled.add(value)
        at = self.objective(held.theta(rest), near)
        if np.isfinite(at.value):
            self._keep(value, rest, at)
        rise = 2.0 * self.n_samples * max(at.value - self.lowest, 0.0)
        return min(np.sqrt(rise), _OUTSIDE * self.critical) - self.critical


def profile_interval(
    objective: Objective,
    theta: FloatArray,
    se: FloatArray,
    k: int,
    n_samples: float,
    level: float,
    tol: float = 1e-9,
) -> tuple[float, float]:
    """Return the values of parameter k next to the estimate that its profile keeps.

    Parameters
    ----------
    objective : Objective
        Of which 2 N times the rise is chi-squared at the truth.
    theta : ndarray of shape (p,)
        Its minimum.
    se : ndarray of shape (p,)
        Standard errors, for the first step.
    k : int
    n_samples : float
        N.
    level : float
    tol : float, default=1e-9
        Of each minimisation over the other parameters.

    Warns
    -----
    ConvergenceWarning
        Where the criterion was not minimised over the others at an end.

    Notes
    -----
    The root of the rise is nearly linear, so that Brent's method takes few steps from a
    bracket; the others start from the minimum at the nearest value seen. Beyond 1e6
    standard errors an end is infinite.
    """
    ends = []
    for side in (-1.0, 1.0):
        excess = _Profile(objective, theta, k, n_samples, level, tol)
        inner = float(theta[k])
        step = side * excess.critical * float(se[k])
        outer = inner + step
        while excess(outer) <= 0 and abs(step) < _FARTHEST * se[k]:
            inner, step = outer, 1.5 * step
            outer = float(theta[k]) + step
        if abs(step) >= _FARTHEST * se[k]:
            ends.append(side * np.inf)
            continue
        end = brentq(excess, inner, outer, xtol=1e-9 * float(se[k]), rtol=1e-14)
        ends.append(end)
        if end in excess.unsettled:
            warnings.warn(
                f"the profile of parameter {k} did not converge at its end {end:g}: "
                "the interval may be too short.",
                ConvergenceWarning,
                stacklevel=3,
            )
    return ends[0], ends[1]
