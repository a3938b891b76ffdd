"""Conjugates of the divergences KL, Burg's ("log") and chi-squared, minus their line.

The concave problem of `_dual` needs ``Psi(u)``, the conjugate less its tangent at zero,
so that values of size u^2 are right to rounding however small they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from causalweights._typing import FloatArray

DivergenceName = Literal["kl", "log", "chi2"]
# Above this spread of the exponents the plain log-sum-exp is as exact, and is safe.
_SMALL = 1.0


@dataclass(frozen=True, slots=True)
class Tilt:
    """Reference weights w tilted by u.

    Attributes
    ----------
    value : float
        ``Psi(u)``; inf outside the domain.
    excess : ndarray of shape (N,)
        Implied weights less w.
    curvature : ndarray of shape (N,)
        Derivative of each implied weight with respect to its u.
    """

    value: float
    excess: FloatArray
    curvature: FloatArray


@dataclass(frozen=True, slots=True)
class Divergence:
    """What the dual needs of a divergence.

    Attributes
    ----------
    tilt : callable
        ``tilt(u, w)``: the `Tilt`.
    excess_cost : callable
        ``excess_cost(change, p, w)``: the Bregman divergence of p + change from p; inf
        where p + change is outside the domain.
    profiled : bool
        Whether the multiplier of "weights sum to one" is solved for inside ``tilt``.
    signed : bool
        Whether weights may be negative.
    """

    tilt: Callable[[FloatArray, FloatArray], Tilt]
    excess_cost: Callable[[FloatArray, FloatArray, FloatArray], float]
    profiled: bool = False
    signed: bool = False


def _tilt_kl(u: FloatArray, w: FloatArray) -> Tilt:
    """Return log sum w exp(u) - sum w u, and its weights, which sum to one."""
    u = u - w @ u
    if np.max(np.abs(u)) <= _SMALL:
        growth = np.expm1(u)
        mean = float(w @ growth)
        excess = w * (growth - mean) / (1.0 + mean)
        return Tilt(float(np.log1p(w @ (growth - u))), excess, w + excess)
    top = float(np.max(u))
    p = w * np.exp(u - top)
    total = float(p.sum())
    p /= total
    return Tilt(float(top + np.log(total)), p - w, p)


def _tilt_log(u: FloatArray, w: FloatArray) -> Tilt:
    if np.max(u) >= 1.0:
        nothing = np.full_like(u, np.nan)
        return Tilt(np.inf, nothing, nothing)
    ratio = 1.0 / (1.0 - u)
    return Tilt(float(-(w @ (np.log1p(-u) + u))), w * u * ratio, w * ratio**2)


def _tilt_chi2(u: FloatArray, w: FloatArray) -> Tilt:
    return Tilt(float(0.5 * (w @ u**2)), w * u, w)


def _cost_kl(change: FloatArray, p: FloatArray, w: FloatArray) -> float:
    kept = p > 0
    share = change[kept] / p[kept]
    if np.any(share < -1.0):
        return np.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = np.where(share > -1.0, (1.0 + share) * np.log1p(share), 0.0)
    return float(p[kept] @ (entropy - share))


def _cost_log(change: FloatArray, p: FloatArray, w: FloatArray) -> float:
    share = change / p
    if np.any(share <= -1.0):
        return np.inf
    return float(w @ (share - np.log1p(share)))


def _cost_chi2(change: FloatArray, p: FloatArray, w: FloatArray) -> float:
    return float(0.5 * np.sum(change**2 / w))


DIVERGENCES: dict[str, Divergence] = {
    "kl": Divergence(_tilt_kl, _cost_kl, profiled=True),
    "log": Divergence(_tilt_log, _cost_log),
    "chi2": Divergence(_tilt_chi2, _cost_chi2, signed=True),
}
