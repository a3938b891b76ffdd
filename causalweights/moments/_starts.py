"""Starts of the outer problem: minima of maximum moment restrictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from causalweights._typing import FloatArray
from causalweights.moments._profile import (
    Minimum,
    QuadraticObjective,
    Restriction,
    minimize,
)

# Every other random start lies so many standard errors around the best minimum so far,
# but no further than a multiple of its size where a parameter is hardly determined.
_SPREAD = 4.0
_FURTHEST = 3.0
# The others lie around the first start, which is not in a valley that leads nowhere.
_AROUND = 1.0
# A drawn start that has not arrived after so many steps is on its way to infinity.
_TRIAL = 30
# Minima are the same where their parameters differ by so many standard errors.
_SAME = 1e-3


def moment_minima(
    restriction: Restriction,
    w: FloatArray,
    starts: Sequence[FloatArray],
    n_starts: int,
    rng: np.random.RandomState,
    tol: float = 1e-7,
    max_iter: int = 200,
) -> list[Minimum]:
    """Return the distinct minima of ``|mbar(theta)|^2 / 2``, the lowest first.

    Parameters
    ----------
    restriction : Restriction
    w : ndarray of shape (N,)
        Row weights, sum one.
    starts : sequence of ndarray of shape (p,)
        All are tried.
    n_starts : int
        Starts in all; those missing are drawn, in turns, around the first start and the
        best minimum.
    rng : RandomState
    tol, max_iter : float and int
        As in `minimize`.

    Raises
    ------
    ValueError
        If the moments are not finite at any start.
    """
    objective = QuadraticObjective(restriction, w)
    found = [minimize(objective, start, tol, max_iter) for start in starts]
    found = [minimum for minimum in found if np.isfinite(minimum.at.value)]
    if not found:
        raise ValueError(
            "the moments are not finite at any start: check the model's start values."
        )
    for k in range(n_starts - len(starts)):
        center: FloatArray = starts[0]
        spread: FloatArray = _AROUND * (1.0 + np.abs(center))
        if k % 2:
            best = min(found, key=lambda minimum: minimum.at.value)
            center, spread = best.theta, _SPREAD * _standard_errors(best)
            spread = np.minimum(spread, _FURTHEST * (1.0 + np.abs(center)))
        start = center + spread * rng.standard_normal(len(spread))
        other = minimize(objective, start, tol, min(max_iter, _TRIAL))
        if other.converged:
            found.append(other)
    return _distinct(found)


def _standard_errors(minimum: Minimum) -> FloatArray:
    """Return what sampling leaves of each parameter, roughly.

    The noise of the objective is half the expected squared error in its own metric.
    """
    inverse = np.linalg.pinv(minimum.at.gauss_newton)
    return np.sqrt(np.maximum(2.0 * minimum.at.noise * np.diagonal(inverse), 0.0))


def _distinct(found: Sequence[Minimum]) -> list[Minimum]:
    kept: list[Minimum] = []
    for minimum in sorted(found, key=lambda m: m.at.value):
        errors = np.maximum(_standard_errors(minimum), 1e-12)
        if all(
            np.max(np.abs(minimum.theta - other.theta) / errors) > _SAME
            for other in kept
        ):
            kept.append(minimum)
    return kept
