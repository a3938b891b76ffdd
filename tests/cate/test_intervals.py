"""Bands of the effect by final models that have them."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression

from causalweights import PseudoOutcomeRegressor
from causalweights.learners import SeriesRegressor


def fitted(n=600, seed=0, **options):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, size=(n, 1))
    e = expit(1.5 * X[:, 0])
    a = (rng.uniform(size=n) < e).astype(int)
    y = X[:, 0] + a * (1 + X[:, 0]) + rng.normal(size=n)
    options = {
        "final_model": SeriesRegressor("linear", cov_type="HC0"),
        "outcome_strategy": "separate", **options,
    }  # fmt: skip
    model = PseudoOutcomeRegressor(
        outcome_model=LinearRegression(),
        propensity_model=LogisticRegression(C=1e6),
        **options,
    )
    groups = rng.integers(0, 60, n)
    return model, X, y, a, e, groups


GRID = np.linspace(-0.9, 0.9, 20)[:, None]


def test_series_bands_are_the_sandwich_of_the_pseudo_outcomes():
    model, X, y, a, *_ = fitted()
    model.fit(X, y, treatment=a)
    f, w = model.pseudo_outcome_, model.weights_
    P = np.column_stack([np.ones(len(X)), X])
    bread = np.linalg.inv(P.T @ (w[:, None] * P))
    beta = bread @ (P.T @ (w * f))
    meat = (w * (f - P @ beta))[:, None] * P
    cov = bread @ (meat.T @ meat) @ bread
    Q = np.column_stack([np.ones(20), GRID])
    half = 1.959964 * np.sqrt(np.einsum("ij,jk,ik->i", Q, cov, Q))
    limits = model.predict_interval(GRID)
    assert np.allclose(limits[:, 0], Q @ beta - half, atol=1e-6)
    assert np.allclose(limits[:, 1], Q @ beta + half, atol=1e-6)
    uniform = model.predict_interval(GRID, kind="uniform")
    assert np.all(uniform[:, 1] > limits[:, 1])
    assert np.array_equal(uniform, model.predict_interval(GRID, kind="uniform"))


def test_clusters_and_stacked_rows_are_summed():
    model, X, y, a, _, groups = fitted()
    model.fit(X, y, treatment=a, groups=groups)
    f, w = model.pseudo_outcome_, model.weights_
    P = np.column_stack([np.ones(len(X)), X])
    bread = np.linalg.inv(P.T @ (w[:, None] * P))
    scores = (w * (f - P @ (bread @ (P.T @ (w * f)))))[:, None] * P
    sums = np.array([scores[groups == g].sum(axis=0) for g in np.unique(groups)])
    G = len(sums)
    cov = G / (G - 1) * bread @ (sums.T @ sums) @ bread
    Q = np.column_stack([np.ones(20), GRID])
    limits = model.predict_interval(GRID)
    width = 2 * 1.959964 * np.sqrt(np.einsum("ij,jk,ik->i", Q, cov, Q))
    assert np.allclose(np.diff(limits)[:, 0], width, atol=1e-6)
    # Six rows a unit are one observation: intervals stay about as long.
    four, *rest = fitted(cf_order=4)
    two, *_ = fitted()
    X, y, a = rest[:3]
    lengths = [
        np.diff(m.fit(X, y, treatment=a).predict_interval(GRID)).mean()
        for m in (two, four)
    ]
    assert lengths[1] == pytest.approx(lengths[0], rel=0.2)


def test_repetitions_widen_by_their_spread():
    model, X, y, a, *_ = fitted(n_rep=3)
    model.fit(X, y, treatment=a)
    center = model.predict(GRID)
    parts = []
    for one in model.cate_models_:
        A, S = one.linear_influence(GRID)
        parts.append(np.sum((A @ S) ** 2, axis=1) + (one.predict(GRID) - center) ** 2)
    half = 1.959964 * np.sqrt(np.median(parts, axis=0))
    assert np.allclose(model.predict_interval(GRID)[:, 1], center + half, atol=1e-6)


def test_several_arms_have_a_band_each():
    rng = np.random.default_rng(1)
    X, a = rng.normal(size=(300, 1)), np.arange(300) % 3
    y = X[:, 0] + a + rng.normal(size=300)
    model, *_ = fitted()
    limits = model.fit(X, y, treatment=a).predict_interval(GRID)
    assert limits.shape == (20, 2, 2)
    assert np.all(limits[..., 0] < limits[..., 1])
    assert np.all(limits[..., 0].max(axis=0) < [1, 2])


def test_a_final_model_without_bands_is_refused():
    model, X, y, a, *_ = fitted(final_model=HistGradientBoostingRegressor(max_iter=5))
    with pytest.raises(ValueError, match=r"refit_final\(final_model=SeriesRegressor"):
        model.fit(X, y, treatment=a).predict_interval(GRID)


def test_pointwise_coverage():
    covered = []
    for seed in range(80):
        model, X, y, a, e, _ = fitted(400, seed)
        model.fit(X, y, treatment=a, propensity=e)
        low, high = model.predict_interval(GRID).T
        covered.append((low <= 1 + GRID[:, 0]) & (1 + GRID[:, 0] <= high))
    share = np.mean(covered)
    error = np.std(np.mean(covered, axis=1)) / 80**0.5
    assert share == pytest.approx(0.95, abs=4 * error + 0.005)
