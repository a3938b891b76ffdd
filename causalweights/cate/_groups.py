"""Effects and covariates of groups by predicted effect: GATES and CLAN."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm
from sklearn.utils.validation import check_array

from causalweights._categories import Categories
from causalweights._typing import FloatArray, IntArray
from causalweights.cate._contrast import (
    InfluenceResult,
    check_rows,
    check_vector,
    scored_rows,
)
from causalweights.cate._folds import mid_ranks, ranks_within

if TYPE_CHECKING:
    import pandas as pd


def quantile_groups(effects: FloatArray, n_groups: int, weight: FloatArray) -> IntArray:
    """Return the group 0..n_groups-1 of each row, of equal shares, in rising order.

    A row's place is the middle of its rank, its equals' ranks counted together: ties
    are never split, and whole-number weights are copies. Rows of weight zero are in the
    group of those they tie with, or lie between.
    """
    if not isinstance(n_groups, Integral) or n_groups < 2:
        raise ValueError(
            f"n_groups must be a whole number from 2 on, got {n_groups!r}."
        )
    # Multiplied first: middles of whole-number weights meet cuts exactly.
    place = mid_ranks(effects, weight) * n_groups / weight.sum()
    group = np.minimum(place.astype(np.intp), n_groups - 1)
    if np.any(np.bincount(group, weights=weight, minlength=n_groups) == 0):
        raise ValueError(
            f"effects take too few distinct values for {n_groups} groups: one would be "
            "empty. Choose a smaller n_groups."
        )
    return group


def group_means(
    values: FloatArray, group: IntArray, mass: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the mean of each group (K,) and contributions to its error (n, K)."""
    member = (group[:, None] == np.arange(group.max() + 1)) * mass[:, None]
    member /= member.sum(axis=0)
    # A constant's error must be zero, not the rounding of its mean.
    away = values - values[0]
    means = away @ member
    return values[0] + means, member * (away[:, None] - means)


def gates(
    y: Any,
    effects: Any,
    *,
    treatment: Any,
    propensity: Any,
    mean_0: Any,
    mean_1: Any,
    complement: Any = None,
    n_groups: int = 5,
    folds: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    frequency: Any = None,
) -> InfluenceResult:
    """Return the average effects of groups by predicted effect (GATES).

    Parameters
    ----------
    y : array-like of shape (n,)
    effects : array-like of shape (n,)
        Predicted effects by models that did not learn from the row.
    treatment, propensity, mean_0, mean_1, complement
        As in `dr_loss`: nuisances fitted without the row.
    n_groups : int, default=5
        Groups of equal share by ``effects``; ties stay together.
    folds : array-like of shape (n,) or None, default=None
        Which of several models an effect comes from: rows are ranked within each.
    sample_weight, groups, frequency
        As in `average_effect`.

    Returns
    -------
    InfluenceResult
        Effects of group 1 (smallest predictions) to ``n_groups``, and the last minus
        the first. ``joint_conf_int`` covers all of them at once.

    Raises
    ------
    ValueError
        For bad input, and for fewer distinct predictions than groups need.

    Notes
    -----
    Means of the doubly robust pseudo-outcome in each group, with the variance that
    takes the groups as given, divisor n: right where effects were learned on other
    data, or on earlier folds only, as `PseudoOutcomeRegressor.group_effects` does.
    Effects from all other folds make the folds depend on each other, and the intervals
    too short (Wager, 2024). O(n n_groups).

    References
    ----------
    .. [1] Chernozhukov, Demirer, Duflo & Fernández-Val (2025), Fisher-Schultz lecture:
       Generic machine learning inference on heterogeneous treatment effects,
       Econometrica 93.
    .. [2] Wager (2024), Sequential validation of treatment heterogeneity,
       arXiv:2405.05534.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.cate import gates
    >>> rng = np.random.default_rng(0)
    >>> x, a = rng.normal(size=900), rng.integers(0, 2, size=900)
    >>> y = a * x + rng.normal(size=900)
    >>> nuisances = dict(propensity=np.full(900, 0.5), mean_0=0 * x, mean_1=x)
    >>> gates(y, x, treatment=a, n_groups=3, **nuisances).to_frame()["effect"].round(1)
    difference
    group 1             -0.9
    group 2             -0.0
    group 3              0.9
    group 3 - group 1    1.8
    Name: effect, dtype: float64
    """
    f, g, rows = scored_rows(
        y, effects, treatment, propensity, mean_0, mean_1, complement,
        sample_weight, groups, frequency,
    )  # fmt: skip
    weight = rows.weight * rows.copies
    group = quantile_groups(ranks_within(g, folds, weight), n_groups, weight)
    means, phi = group_means(f, group, rows.mass)
    names = [f"group {k + 1}" for k in range(n_groups)]
    return rows.result(
        np.append(means, means[-1] - means[0]),
        np.column_stack([phi, phi[:, -1] - phi[:, 0]]),
        [*names, f"{names[-1]} - {names[0]}"],
        estimand="gate",
        title="Average effects by predicted effect",
    )


def clan(
    X: Any,
    effects: Any,
    *,
    n_groups: int = 5,
    folds: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    frequency: Any = None,
) -> pd.DataFrame:
    """Return mean covariates of groups by predicted effect (CLAN).

    Parameters
    ----------
    X : array-like or frame of shape (n, d)
        Columns of strings or categories of a frame become one indicator a level.
    effects : array-like of shape (n,)
        Predicted effects by models that did not learn from the row.
    n_groups : int, default=5
        The groups of `gates`.
    folds : array-like of shape (n,) or None, default=None
        As in `gates`.
    sample_weight, groups, frequency
        As in `average_effect`.

    Returns
    -------
    DataFrame
        A row a column of X: the mean in each group, the difference of the last and the
        first, its standard error and two-sided p-value.

    Raises
    ------
    ValueError
        As `gates`, and for missing values.

    Examples
    --------
    >>> import pandas as pd
    >>> from causalweights.cate import clan
    >>> X = pd.DataFrame({"age": [30, 40, 50, 70], "smoker": [0, 1, 1, 0]})
    >>> clan(X, [1, 2, 3, 4], n_groups=2)[["group 1", "group 2", "difference", "se"]]
               group 1   group 2   difference        se
    covariate
    age           35.0      60.0         25.0      7.906
    smoker         0.5       0.5          0.0      0.5
    """
    import pandas as pd

    categories = Categories.of(X)
    numbers = X if categories is None else categories.transform(X)
    values = check_array(numbers, dtype=np.float64)
    if categories is not None:
        labels = categories.names
    else:
        labels = [str(c) for c in getattr(X, "columns", range(values.shape[1]))]
    n = len(values)
    rows = check_rows(n, sample_weight, groups, frequency)
    g = check_vector("effects", effects, n)
    weight = rows.weight * rows.copies
    group = quantile_groups(ranks_within(g, folds, weight), n_groups, weight)
    table = []
    for column in values.T:
        means, phi = group_means(column, group, rows.mass)
        gap = (phi[:, -1] - phi[:, 0])[:, None]
        difference, se = means[-1] - means[0], np.sqrt(rows.covariance(gap)[0, 0])
        pvalue = 2 * norm.sf(abs(difference) / se) if se > 0 else np.nan
        table.append([*means, difference, se, pvalue])
    names = [f"group {k + 1}" for k in range(n_groups)]
    index = pd.Index(labels, name="covariate")
    return pd.DataFrame(table, index, [*names, "difference", "se", "pvalue"])
