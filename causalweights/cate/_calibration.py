"""Do predicted effects have the right level and spread? Regression test and curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from causalweights._typing import FloatArray
from causalweights.cate._contrast import (
    InfluenceResult,
    check_rows,
    check_vector,
    contrast_of,
    scored_rows,
)
from causalweights.cate._folds import centered_within, ranks_within
from causalweights.cate._groups import group_means, quantile_groups
from causalweights.cate._pseudo_outcomes import doubly_robust
from causalweights.inference import robust_regression

if TYPE_CHECKING:
    import pandas as pd


def calibration_test(
    y: Any,
    effects: Any,
    *,
    treatment: Any,
    propensity: Any,
    mean_0: Any = None,
    mean_1: Any = None,
    mean: Any = None,
    complement: Any = None,
    form: Literal["r", "dr"] = "r",
    folds: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    frequency: Any = None,
) -> InfluenceResult:
    r"""Regress on predicted effects to test their calibration and heterogeneity.

    Parameters
    ----------
    y : array-like of shape (n,)
    effects : array-like of shape (n,)
        Predicted effects g by models that did not learn from the row.
    treatment, propensity, mean_0, mean_1, mean, complement
        As in `average_effect`; the R form needs ``mean``, or both ``mean_0`` and
        ``mean_1``, and then takes a dose as well.
    form : {"r", "dr"}, default="r"
        ``"r"`` regresses :math:`Y - \eta` on :math:`(A - \pi) \bar g` and
        :math:`(A - \pi) (g - \bar g)`: both coefficients are 1 for perfect predictions.
        ``"dr"`` regresses the doubly robust pseudo-outcome on 1 and
        :math:`g - \bar g`: the average effect and again 1.
    folds : array-like of shape (n,) or None, default=None
        Which of several models an effect comes from: effects are centered within each.
    sample_weight, groups, frequency
        As in `average_effect`.

    Returns
    -------
    InfluenceResult
        Two coefficients, HC3 covariance, or the clusters'. ``pvalue_greater[1]`` is the
        one-sided test of no heterogeneity that the predictions find.

    Raises
    ------
    ValueError
        For bad input, and for predictions that are constant, or average zero in the R
        form.

    Notes
    -----
    The R form describes the overlap population, the DR form all rows. The normal law
    gives p-values: of effects learned on other data, or on earlier folds only (see
    `gates`). O(n).

    References
    ----------
    .. [1] Chernozhukov, Demirer, Duflo & Fernández-Val (2025), Fisher-Schultz lecture:
       Generic machine learning inference on heterogeneous treatment effects,
       Econometrica 93.
    .. [2] Athey & Wager (2019), Estimating treatment effects with causal forests: an
       application, Observational Studies 5.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.cate import calibration_test
    >>> rng = np.random.default_rng(0)
    >>> x, a = rng.normal(size=500), rng.integers(0, 2, size=500)
    >>> y = a * (1 + x) + rng.normal(size=500)
    >>> test = calibration_test(
    ...     y, 1 + x, treatment=a, propensity=np.full(500, 0.5), mean=(1 + x) / 2)
    >>> test.effect.round(2)
    array([0.88, 0.94])
    >>> bool(test.pvalue_greater[1] < 0.001)
    True
    """
    if form not in ("r", "dr"):
        raise ValueError(f"form={form!r}: choose 'r' or 'dr'.")
    v = contrast_of(
        y, treatment=treatment, propensity=propensity, mean_0=mean_0, mean_1=mean_1,
        mean=mean, complement=complement, residual=form == "r",
    )  # fmt: skip
    n = len(v.y)
    rows = check_rows(n, sample_weight, groups, frequency)
    g = check_vector("effects", effects, n)
    pair = np.isfinite(v.a) if form == "r" else np.ones(n, dtype=bool)
    g = centered_within(g, folds, rows.mass * pair)
    center = np.average(g[pair], weights=rows.mass[pair])
    if form == "r":
        rest = v.residual[pair]
        scale, response, first = rest * center, (v.y - v.mean)[pair], "mean effect"
    else:
        rest = scale = np.ones(n)
        response, first = doubly_robust(v), "average effect"
    spread = g[pair] - center
    fit = robust_regression(
        np.column_stack([scale, rest * spread]),
        response,
        rows.weight[pair],
        groups=None if rows.groups is None else rows.groups[pair],
        frequency=rows.copies[pair],
    )
    if fit.rank < 2:
        raise ValueError(
            "effects are constant, so that there is no heterogeneity to test, or "
            "average zero, so that form='r' has no coefficient of their mean: use 'dr'."
        )
    phi = np.zeros((n, 2))
    phi[pair] = fit.influence
    return rows.result(
        fit.coefficients, phi, [first, "heterogeneity"],
        estimand="calibration", title="Calibration of predicted effects", cov=fit.cov,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationCurve:
    """Predicted and estimated effects of groups of like predictions.

    Attributes
    ----------
    predicted, estimated, se, share : ndarray of shape (K,)
        Mean prediction, mean pseudo-outcome, its standard error, and share of the rows.
    error : float
        Mean absolute difference, weighted by shares. Noise alone makes it positive.
    constant_error : float
        The same for the average effect in place of every prediction.
    """

    predicted: FloatArray
    estimated: FloatArray
    se: FloatArray
    share: FloatArray
    error: float
    constant_error: float

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame, one row a group."""
        import pandas as pd

        columns = ("predicted", "estimated", "se", "share")
        index = pd.RangeIndex(1, len(self.share) + 1, name="group")
        return pd.DataFrame({name: getattr(self, name) for name in columns}, index)

    def _repr_html_(self) -> str:
        return self.to_frame().to_html(float_format="{:.4g}".format)


def calibration_curve(
    y: Any,
    effects: Any,
    *,
    treatment: Any,
    propensity: Any,
    mean_0: Any,
    mean_1: Any,
    complement: Any = None,
    n_groups: int = 10,
    folds: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    frequency: Any = None,
) -> CalibrationCurve:
    """Compare mean predictions with doubly robust effects in quantile groups.

    Parameters
    ----------
    y, effects, treatment, propensity, mean_0, mean_1, complement
        As in `rate_score`.
    n_groups : int, default=10
        Groups of equal share by ``effects``; ties stay together.
    folds, sample_weight, groups, frequency
        As in `gates`.

    Returns
    -------
    CalibrationCurve

    Raises
    ------
    ValueError
        As `gates`.

    Examples
    --------
    >>> from causalweights.cate import calibration_curve
    >>> nuisances = dict(propensity=[0.5] * 4, mean_0=[0] * 4, mean_1=[1, 1, 0, 0])
    >>> curve = calibration_curve([1, 0, 0, 0], [2, 2, 1, 1], treatment=[1, 0, 1, 0],
    ...                           n_groups=2, **nuisances)
    >>> curve.predicted, curve.estimated, curve.error, curve.constant_error
    (array([1., 2.]), array([0., 1.]), 1.0, 0.5)
    """
    f, g, rows = scored_rows(
        y, effects, treatment, propensity, mean_0, mean_1, complement,
        sample_weight, groups, frequency,
    )  # fmt: skip
    weight = rows.weight * rows.copies
    group = quantile_groups(ranks_within(g, folds, weight), n_groups, weight)
    estimated, phi = group_means(f, group, rows.mass)
    predicted, _ = group_means(g, group, rows.mass)
    share = np.asarray(np.bincount(group, weights=rows.mass), dtype=np.float64)
    return CalibrationCurve(
        predicted,
        estimated,
        np.sqrt(np.diag(rows.covariance(phi))),
        share,
        float(share @ np.abs(estimated - predicted)),
        float(share @ np.abs(estimated - rows.mass @ f)),
    )
