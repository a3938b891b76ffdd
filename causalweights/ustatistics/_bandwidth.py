"""Bandwidths of the U-statistic: undersmoothing rules and Lepski's choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from causalweights._typing import FloatArray

# Lepski's ladder doubles the bandwidth below this, a good part of the unit cube.
_WIDEST = 0.6
# In standard deviations of the difference: larger keeps climbing longer.
_PATIENCE = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class Rung:
    """One bandwidth's imputed mean and the mass that reference rows receive."""

    bandwidth: float
    mean: float
    received: FloatArray


def rule_bandwidth(bandwidth: Any, n: float, U: FloatArray, V: FloatArray) -> float:
    """Return the bandwidth of a rule, a number or a function of both images.

    n^(-1/d) makes the U-statistic's second-order variance as large as its first-order
    one and needs no smoothness to be known (docs/ustatistics.md); ``"wide"`` is twice
    that.
    """
    d = U.shape[1]
    if isinstance(bandwidth, str):
        return (2.0 if bandwidth == "wide" else 1.0) * n ** (-1 / d)
    value = float(bandwidth(U, V)) if callable(bandwidth) else float(bandwidth)
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"bandwidth must be a positive number, got {value}.")
    return value


def lepski_ladder(n: float, d: int) -> list[float]:
    """Return n^(-1/d) times powers of two, below 0.6."""
    ladder = [n ** (-1 / d)]
    while 2 * ladder[-1] < _WIDEST:
        ladder.append(2 * ladder[-1])
    return ladder


def lepski(
    rungs: list[float], fit: Callable[[float], Rung], variance: float
) -> list[Rung]:
    """Climb to the widest bandwidth whose estimate agrees with all narrower ones.

    Two estimates agree where they differ by less than 1.5 standard deviations of the
    difference that the outcomes' noise alone would make, sqrt(variance sum (omega_i -
    omega'_i)^2). The rungs climbed, the last one chosen.

    References
    ----------
    Liu, Mukherjee, Robins & Tchetgen Tchetgen (2021). Adaptive estimation of
    nonparametric functionals. Journal of Machine Learning Research 22.
    """
    climbed = [fit(rungs[0])]
    for h in rungs[1:]:
        new = fit(h)
        for old in climbed:
            spread = np.sqrt(variance * np.sum((new.received - old.received) ** 2))
            if abs(new.mean - old.mean) > _PATIENCE * spread:
                return climbed
        climbed.append(new)
    return climbed
