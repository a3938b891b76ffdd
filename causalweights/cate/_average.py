"""Average effects from the nuisances of an effect regression, by orthogonal scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from causalweights._typing import FloatArray
from causalweights._validation import check_estimand
from causalweights.cate._contrast import (
    InfluenceResult,
    check_rows,
    contrast_of,
)
from causalweights.cate._pseudo_outcomes import Nuisances, doubly_robust
from causalweights.inference._effect_mixin import TITLES


def average_effect(
    y: Any,
    *,
    treatment: Any,
    propensity: Any,
    mean_0: Any = None,
    mean_1: Any = None,
    mean: Any = None,
    complement: Any = None,
    estimand: str = "ate",
    sample_weight: Any = None,
    groups: Any = None,
    frequency: Any = None,
    name: str = "1 vs 0",
) -> InfluenceResult:
    r"""Average an effect over a population, doubly robustly.

    Parameters
    ----------
    y : array-like of shape (n,)
    treatment : array-like of shape (n,)
        1 treated, 0 control, NaN another arm; with ``estimand="ato"`` also a dose.
    propensity : array-like of shape (n,)
        Cross-fitted probability pi of the treated arm, or mean of the dose.
    mean_0, mean_1 : array-like of shape (n,) or None, default=None
        Cross-fitted outcome means of both arms; not needed for ``"ato"`` with ``mean``.
    mean : array-like of shape (n,) or None, default=None
        Cross-fitted mean of the outcome; None is pi mu_1 + kappa mu_0.
    complement : array-like of shape (n,) or None, default=None
        Probability kappa of the control arm; None is 1 - pi.
    estimand : {"ate", "att", "atc", "ato"}, default="ate"
    sample_weight : array-like of shape (n,) or None, default=None
        Sampling weights; only their ratios matter.
    groups : array-like of shape (n,) or None, default=None
        Clusters.
    frequency : array-like of shape (n,) or None, default=None
        How many rows each row stands for.
    name : str, default="1 vs 0"
        Of the contrast.

    Returns
    -------
    InfluenceResult
        An `EffectResult` with ``influence`` (n,).

    Raises
    ------
    ValueError
        For bad shapes, other treatment codes, and propensities of zero or one.

    Notes
    -----
    Every estimate is a ratio of means, :math:`\theta = \bar a / \bar b`, with influence
    :math:`(a_i - \theta b_i) / \bar b`:

    ========  ==================================================  ===============
    estimand  a                                                   b
    ========  ==================================================  ===============
    ate       f, the doubly robust pseudo-outcome                 1
    att       :math:`A (Y-\mu_0) - (1-A)(Y-\mu_0) \pi / \kappa`   :math:`A`
    ato       :math:`(A - \pi)(Y - \eta)`                         :math:`(A-\pi)^2`
    ========  ==================================================  ===============

    "atc" is "att" with the arms exchanged. The overlap effect takes the R form because
    weights pi kappa around f are not orthogonal to the propensity's error [1]_. The
    variance divides by n, not n - 1. O(n).

    References
    ----------
    .. [1] Fisher (2024), The connection between R-learning and inverse-variance
       weighting for estimation of heterogeneous treatment effects, ICML.
    .. [2] Chernozhukov et al. (2018), Double/debiased machine learning for treatment
       and structural parameters, Econometrics Journal 21.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.cate import average_effect
    >>> rng = np.random.default_rng(0)
    >>> x, a = rng.normal(size=500), rng.integers(0, 2, size=500)
    >>> y = x + 2 * a + rng.normal(size=500)
    >>> half = np.full(500, 0.5)
    >>> average_effect(y, treatment=a, propensity=half, mean_0=x, mean_1=x + 2)
    EffectResult(ATE 1 vs 0: 1.881 (se 0.08552))
    """
    estimand = check_estimand(estimand)
    v = contrast_of(
        y, treatment=treatment, propensity=propensity, mean_0=mean_0, mean_1=mean_1,
        mean=mean, complement=complement, residual=estimand == "ato",
    )  # fmt: skip
    rows = check_rows(len(v.y), sample_weight, groups, frequency)
    a, b = _score(v, estimand)
    total = rows.mass @ b
    theta = (rows.mass @ a) / total
    phi = rows.mass * (a - theta * b) / total
    return rows.result(
        theta, phi[:, None], [name], estimand=estimand, title=TITLES[estimand]
    )


def _score(v: Nuisances, estimand: str) -> tuple[FloatArray, FloatArray]:
    """Return a and b, whose means' ratio is the effect."""
    if estimand == "ate":
        return doubly_robust(v), np.ones(len(v.y))
    if estimand == "ato":
        rest = v.residual
        return rest * (v.y - v.mean), rest**2
    if estimand == "atc":
        swapped = replace(
            v, a=1 - v.a, propensity=v.complement, complement=v.propensity,
            mean_0=v.mean_1, mean_1=v.mean_0,
        )  # fmt: skip
        a, b = _score(swapped, "att")
        return -a, b
    odds = v.propensity / v.complement
    return (v.treated - v.control * odds) * (v.y - v.mean_0), v.treated


def median_result(results: Sequence[InfluenceResult]) -> InfluenceResult:
    """Return one result of repetitions that differ in their folds.

    Estimates and influence values are medians; the covariance is the median of each
    repetition's, its squared distance from the median estimate added (Chernozhukov et
    al., 2018, definition 3.3): entry by entry, so that off the diagonal it need not be
    positive definite.

    Parameters
    ----------
    results : sequence of InfluenceResult
        Of the same estimands and rows.

    Returns
    -------
    InfluenceResult

    Raises
    ------
    ValueError
        For no result.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.cate import InfluenceResult, median_result
    >>> parts = [InfluenceResult(e, 1.0, np.eye(1), ["1 vs 0"], influence=np.ones(2))
    ...          for e in (1.0, 2.0, 5.0)]
    >>> median_result(parts)
    EffectResult(ATE 1 vs 0: 2.000 (se 1.414))
    """
    if not results:
        raise ValueError("median_result needs at least one result.")
    effects = np.array([np.atleast_1d(r.effect) for r in results])
    middle = np.median(effects, axis=0)
    away = effects - middle
    spread = np.array([r.cov for r in results]) + away[:, :, None] * away[:, None, :]
    cov = np.median(spread, axis=0)
    se = np.sqrt(np.diag(cov))
    single = len(middle) == 1
    return replace(
        results[0],
        effect=float(middle[0]) if single else middle,
        se=float(se[0]) if single else se,
        cov=cov,
        influence=np.median([r.influence for r in results], axis=0),
    )
