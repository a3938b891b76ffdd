"""Bases of a series regression: weighted splines, polynomials, a user's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    PolynomialFeatures,
    SplineTransformer,
    StandardScaler,
)
from sklearn.utils.validation import has_fit_parameter

from causalweights._typing import FloatArray


def weighted_knots(x: FloatArray, weight: FloatArray, n_knots: int) -> FloatArray:
    """Return the distinct weighted quantiles of one column, smallest and largest too.

    Quantiles are values of the column, so that whole-number weights are copies.
    """
    order = np.argsort(x, kind="stable")
    mass = np.cumsum(weight[order])
    # A little less, since the sum's rounding must not decide about ties.
    level = np.linspace(0, 1, n_knots)[1:-1] * mass[-1] * (1 - 1e-12)
    inner = x[order][np.searchsorted(mass, level)]
    return np.unique([x.min(), *inner, x.max()])


def spline_basis(
    X: FloatArray, weight: FloatArray, degree: int, n_knots: int
) -> ColumnTransformer:
    """Return B-splines of each column; a column of two values stays as it is."""
    parts: list[tuple[str, Any, list[int]]] = []
    for j, x in enumerate(X.T):
        splines = SplineTransformer(
            degree=degree,
            knots=weighted_knots(x, weight, n_knots)[:, None],
            include_bias=False,
            extrapolation="linear",
        )
        few = len(np.unique(x)) <= 2
        parts.append((f"column_{j}", "passthrough" if few else splines, [j]))
    return ColumnTransformer(parts, sparse_threshold=0).fit(X)


def fit_basis(
    basis: Any, X: FloatArray, weight: FloatArray, degree: int, n_knots: int
) -> Any:
    """Return the fitted transformer that `SeriesRegressor`'s ``basis`` stands for."""
    if not isinstance(basis, str):
        new = clone(basis)
        if has_fit_parameter(new, "sample_weight"):
            return new.fit(X, sample_weight=weight)
        return new.fit(X)
    if basis == "linear":
        return FunctionTransformer().fit(X)
    if basis == "spline":
        return spline_basis(X, weight, degree, n_knots)
    # Powers of covariates far from zero are close to collinear.
    scaler = StandardScaler().fit(X, sample_weight=weight)
    powers = PolynomialFeatures(degree, include_bias=False).fit(X)
    return Pipeline([("standardize", scaler), ("powers", powers)])
