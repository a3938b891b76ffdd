"""How log-linear balancing weights vary with the sample: their influence function.

The coefficients minimise a V-statistic, so their gradient's first-order projection and
its derivative give the sandwich (Stefanski & Boos 2002; Serfling 1980, chapter 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from causalweights._typing import FloatArray
from causalweights.balancing._features import whitening
from causalweights.inference import WeightModel
from causalweights.kernels import Kernel


@dataclass(frozen=True, slots=True, eq=False)
class TiltedArm:
    """An arm's log-linear weights at their optimum, in the rows of all arms.

    Attributes
    ----------
    kernel : Kernel
        Taken as given: what its bandwidth and the scaling owe to the sample matters
        only where the target is out of reach of every log-linear weight.
    Z : ndarray of shape (n, d)
    mine : ndarray of shape (n,), bool
        The arm's rows.
    sample_weight : ndarray of shape (n,)
    target : ndarray of shape (n,)
        Masses, sum one.
    coef : ndarray of shape (d,)
    share : float
        The arm's share of the target, see `fit_log_linear`.
    penalty : ndarray of shape (n,)
    scaled : bool
        Whether the penalty is relative to the arm's mean sampling weight.
    """

    kernel: Kernel
    Z: FloatArray
    mine: np.ndarray
    sample_weight: FloatArray
    target: FloatArray
    coef: FloatArray
    share: float
    penalty: FloatArray
    scaled: bool


def tilt_model(arm: TiltedArm) -> WeightModel:
    """Return the first-order behaviour of one arm's weights, zero rows for others.

    The parameters are the coefficients in coordinates that make the tilted covariates
    white and, where the arm is a share a of its target, the log scale eta of
    ``weight = 1 + exp(x'beta - eta)``, which says that the odds add up to the rows of
    the other arms. Time O(n^2 d), memory O(n d).
    """
    own = np.flatnonzero(arm.mine)
    s, share, penalty = arm.sample_weight, arm.share, arm.penalty[own]
    base = s[own] / s[own].sum()
    log_tilt = arm.Z[own] @ arm.coef
    tilted = base * np.exp(log_tilt - log_tilt.max())
    tilted /= tilted.sum()
    masses = share * base + (1.0 - share) * tilted
    centered = arm.Z[own] - tilted @ arm.Z[own]
    C = centered @ whitening(centered, tilted)
    pulled = tilted[:, None] * C

    measure = -arm.target
    measure[own] += masses
    f = arm.kernel.operator(arm.Z[own], arm.Z).matvec(measure)
    f += penalty * masses
    f -= tilted @ f
    u = arm.kernel.operator(arm.Z, arm.Z[own]).matvec(pulled)
    v = u[own] + penalty[:, None] * pulled
    bread = C.T @ (f[:, None] * pulled) + (1.0 - share) * v.T @ pulled
    inverse = np.linalg.pinv(bread, rcond=1e-12, hermitian=True)

    # What a row's weight changes in the gradient, by the way in which it enters.
    change = np.zeros_like(u)
    cost = penalty * masses
    change[own] = pulled * (f - cost)[:, None]
    change[own] += share * base[:, None] * (v - base @ v)
    change[own] += (1.0 - share) * tilted[:, None] * (v - tilted @ v)
    if arm.scaled:
        change[own] += base[:, None] * (cost @ pulled)
    if share > 0.0:
        moved = s / s.sum() * (arm.mine - share)
        change += moved[:, None] * (base @ v - tilted @ v)
    through_target = arm.target[:, None] * (u - arm.target @ u)

    odds = (1.0 - share) * tilted / masses
    gradient = np.zeros_like(u)
    gradient[own] = odds[:, None] * C
    influence, target = -change @ inverse, through_target @ inverse
    if share == 0.0:
        return WeightModel(gradient, influence, target)
    scale = -s / s[~arm.mine].sum()
    scale[own] = tilted
    level = np.zeros(len(s))
    level[own] = -odds
    return WeightModel(
        np.column_stack([gradient, level]),
        np.column_stack([influence, scale]),
        np.column_stack([target, np.zeros(len(s))]),
    )


def log_linear_model(arms: list[TiltedArm], rows: np.ndarray) -> WeightModel:
    """Return the model of several arms' weights, in the caller's rows (n_all,)."""
    models = [tilt_model(arm) for arm in arms]
    names = ("log_gradient", "influence", "target_influence")
    parts = (np.hstack([getattr(model, name) for model in models]) for name in names)
    return WeightModel(*parts).spread(rows)
