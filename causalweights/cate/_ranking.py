"""How well predicted effects rank: TOC, AUTOC and Qini (Yadlowsky et al., 2025)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import xlogy

from causalweights._typing import FloatArray
from causalweights.cate._contrast import InfluenceResult, scored_rows
from causalweights.cate._folds import ranks_within

Curve = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True)
class RankWeight:
    """How a functional weights f at rank u, counted from the largest effect.

    Attributes
    ----------
    total : callable
        Integral of the weight from 0 to u in [0, 1]; zero at 0 and 1.
    smooth_total, smooth : callable
        The same and its derivative, the weight itself, made smooth: for what a row does
        to other rows' ranks.
    """

    total: Curve
    smooth_total: Curve
    smooth: Curve


def _log_total(u: FloatArray) -> FloatArray:
    return -xlogy(u, u)


def _linear_total(u: FloatArray) -> FloatArray:
    return u * (1 - u) / 2


AUTOC = RankWeight(_log_total, _log_total, lambda u: -np.log(u) - 1)
QINI = RankWeight(_linear_total, _linear_total, lambda u: 0.5 - u)


def top_share(q: float, width: float) -> RankWeight:
    """Return the weight 1{u <= q} / q - 1; smooth, with its step spread over a width.

    With the step itself, the f at the threshold would be that of one row.
    """

    def ramp(u: FloatArray) -> FloatArray:
        return (q - u) / width + 0.5

    def half_square(z: FloatArray) -> FloatArray:
        return np.where(z > 1, z - 0.5, np.maximum(z, 0.0) ** 2 / 2)

    start = half_square(ramp(np.zeros(1)))
    return RankWeight(
        lambda u: np.minimum(u, q) / q - u,
        lambda u: width * (start - half_square(ramp(u))) / q - u,
        lambda u: np.clip(ramp(u), 0, 1) / q - 1,
    )


def ranking_functional(
    f: FloatArray, effects: FloatArray, mass: FloatArray, weight: RankWeight
) -> tuple[float, FloatArray]:
    """Return the mean of f times the weight of its rank, and contributions (n,).

    Rows in falling order of effects fill the unit interval with their masses; rows of
    equal effects form one block, over which the weight is averaged. Contributions are
    the derivatives in the masses: what a row's own f adds, and what its presence adds
    by moving the ranks of the rows behind it. O(n log n).

    Parameters
    ----------
    f, effects, mass : ndarray of shape (n,)
        Masses sum to one.
    weight : RankWeight
    """
    phi, rows = np.zeros(len(f)), mass > 0
    f, mass = f[rows] - mass @ f, mass[rows]
    _, block = np.unique(-effects[rows], return_inverse=True)
    share = np.asarray(np.bincount(block, weights=mass), dtype=np.float64)
    upper: FloatArray = np.cumsum(share) / share.sum()
    upper[-1] = 1.0
    mean = np.bincount(block, weights=mass * f) / share
    own = np.diff(weight.total(upper), prepend=0.0)
    smooth = np.diff(weight.smooth_total(upper), prepend=0.0)
    step = weight.smooth(upper[:-1]) * (mean[:-1] - mean[1:])
    behind = np.append(np.cumsum(step[::-1])[::-1], 0.0) - step @ upper[:-1]
    moved = behind - smooth * mean / share - (own - smooth) @ mean
    phi[rows] = mass * ((own / share)[block] * f + moved[block])
    return float(own @ mean), phi


def rate_score(
    y: Any,
    effects: Any,
    *,
    treatment: Any,
    propensity: Any,
    mean_0: Any,
    mean_1: Any,
    complement: Any = None,
    folds: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    frequency: Any = None,
) -> InfluenceResult:
    r"""Return the area under the targeting curve (AUTOC); larger ranks better.

    .. math:: \int_0^1 TOC(q) \, dq, \qquad
              TOC(q) = E[f \mid g \text{ among the top } q] - E[f],

    f the doubly robust pseudo-outcome. Zero where the ranking says nothing about the
    effect. Most weight lies on the first ranks; `qini_score` suits effects that differ
    between large groups.

    Parameters
    ----------
    y : array-like of shape (n,)
    effects : array-like of shape (n,)
        Predicted effects g, or any score that says whom to treat first, learned
        without these rows.
    treatment, propensity, mean_0, mean_1, complement
        As in `dr_loss`: nuisances fitted without the row.
    folds : array-like of shape (n,) or None, default=None
        Which of several models an effect comes from: rows are ranked within each.
    sample_weight, groups, frequency
        As in `average_effect`.

    Returns
    -------
    InfluenceResult
        ``effect``, ``se``, ``pvalue_greater``; ``influence`` (n,).

    Raises
    ------
    ValueError
        For bad shapes, other treatment codes, and propensities of zero or one.

    Notes
    -----
    The integral of the curve is exact, linear inside ties: a constant score gives
    zero, weights of whole numbers equal copies. Reference implementations that sum the
    curve at n points differ by O(log n / n). The standard error is that of the
    influence function, the estimation of ranks included. O(n log n).

    References
    ----------
    .. [1] Yadlowsky, Fleming, Shah, Brunskill & Wager (2025), Evaluating treatment
       prioritization rules via rank-weighted average treatment effects, JASA.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.cate import rate_score
    >>> rng = np.random.default_rng(0)
    >>> x, a = rng.normal(size=500), rng.integers(0, 2, size=500)
    >>> y = a * x + rng.normal(size=500)
    >>> nuisances = dict(propensity=np.full(500, 0.5), mean_0=0 * x, mean_1=x)
    >>> rate_score(y, x, treatment=a, **nuisances)
    EffectResult(AUTOC score: 0.8269 (se 0.09025))
    """
    f, g, rows = scored_rows(
        y, effects, treatment, propensity, mean_0, mean_1, complement,
        sample_weight, groups, frequency,
    )  # fmt: skip
    g = ranks_within(g, folds, rows.weight * rows.copies)
    value, phi = ranking_functional(f, g, rows.mass, AUTOC)
    title = "Area under the targeting curve"
    return rows.result(value, phi[:, None], ["score"], estimand="autoc", title=title)


def qini_score(
    y: Any,
    effects: Any,
    *,
    treatment: Any,
    propensity: Any,
    mean_0: Any,
    mean_1: Any,
    complement: Any = None,
    folds: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    frequency: Any = None,
) -> InfluenceResult:
    r"""Return the Qini coefficient, :math:`\int_0^1 q \, TOC(q) \, dq`.

    What treating by rank gains over treating at random, averaged over the share
    treated; see `rate_score` for the curve and everything else.

    Parameters
    ----------
    y, effects, treatment, propensity, mean_0, mean_1, complement
        As in `rate_score`.
    folds, sample_weight, groups, frequency
        As in `gates`.

    Returns
    -------
    InfluenceResult

    Examples
    --------
    >>> from causalweights.cate import qini_score
    >>> nuisances = dict(propensity=[0.5] * 4, mean_0=[0] * 4, mean_1=[1, 1, 0, 0])
    >>> y, a = [1, 0, 0, 0], [1, 0, 1, 0]
    >>> qini_score(y, [2, 2, 1, 1], treatment=a, **nuisances).effect
    0.125
    """
    f, g, rows = scored_rows(
        y, effects, treatment, propensity, mean_0, mean_1, complement,
        sample_weight, groups, frequency,
    )  # fmt: skip
    g = ranks_within(g, folds, rows.weight * rows.copies)
    value, phi = ranking_functional(f, g, rows.mass, QINI)
    title = "Qini coefficient"
    return rows.result(value, phi[:, None], ["score"], estimand="qini", title=title)


def targeting_curve(
    y: Any,
    effects: Any,
    *,
    treatment: Any,
    propensity: Any,
    mean_0: Any,
    mean_1: Any,
    complement: Any = None,
    shares: Any = None,
    folds: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    frequency: Any = None,
) -> InfluenceResult:
    """Return TOC(q): how much more the top share q gains than the average row.

    Parameters
    ----------
    y, effects, treatment, propensity, mean_0, mean_1, complement
        As in `rate_score`.
    shares : array-like of shape (K,) or None, default=None
        Shares q strictly between 0 and 1; None is 0.05, 0.1, ..., 0.95. TOC(1) is zero.
    folds, sample_weight, groups, frequency
        As in `gates`.

    Returns
    -------
    InfluenceResult
        One estimate a share; ``joint_conf_int`` is a uniform band.

    Raises
    ------
    ValueError
        As `rate_score`, and for shares outside (0, 1).

    Notes
    -----
    The standard error counts the estimated threshold, for which f is averaged over the
    n^{1/2} rows around it. O(K n log n).

    Examples
    --------
    >>> from causalweights.cate import targeting_curve
    >>> nuisances = dict(propensity=[0.5] * 4, mean_0=[0] * 4, mean_1=[1, 1, 0, 0])
    >>> y, a = [1, 0, 0, 0], [1, 0, 1, 0]
    >>> curve = targeting_curve(
    ...     y, [2, 2, 1, 1], treatment=a, shares=[0.25, 0.75], **nuisances)
    >>> curve.effect.round(3)
    array([0.5  , 0.167])
    """
    f, g, rows = scored_rows(
        y, effects, treatment, propensity, mean_0, mean_1, complement,
        sample_weight, groups, frequency,
    )  # fmt: skip
    g = ranks_within(g, folds, rows.weight * rows.copies)
    grid = np.arange(1, 20) / 20 if shares is None else np.ravel(shares)
    if not len(grid) or not np.all((grid > 0) & (grid < 1)):
        raise ValueError("shares must lie strictly between 0 and 1.")
    width = rows.n_samples**-0.5
    found = [ranking_functional(f, g, rows.mass, top_share(q, width)) for q in grid]
    return rows.result(
        [value for value, _ in found],
        np.column_stack([phi for _, phi in found]),
        [f"top {q:.3g}" for q in grid],
        estimand="toc",
        title="Targeting curve",
    )
