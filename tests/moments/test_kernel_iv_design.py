"""Functions of instruments and of regressors: orthonormality, spans, first stage."""

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.metrics.pairwise import rbf_kernel

from causalweights.moments import MomentData
from causalweights.moments._kernel_iv_design import (
    fit_instrument_basis,
    function_moments,
    weakness,
)
from causalweights.moments._sigmoid_kernel import sigmoid_kernel

STEEPNESS = (0.5, 2.0)


def sample(n=90, d=2, q=2, weights=False, seed=0):
    rng = np.random.default_rng(seed)
    Z, e = rng.normal(size=(n, q)), rng.normal(size=n)
    X = 3.0 + np.column_stack([Z[:, 0] + e, *rng.normal(size=(d - 1, n))])
    y = np.sin(X[:, 0]) + e
    weight = rng.uniform(0.2, 2.0, size=n) if weights else np.ones(n)
    return MomentData(
        X, y, Z, weight / weight.mean(), "sampling", None, ["x"] * d, ["z"] * q,
        np.ones(n, dtype=bool),
    )  # fmt: skip


@pytest.mark.parametrize("weights", [False, True])
def test_instrument_functions_are_orthonormal_under_the_weights(weights):
    data = sample(weights=weights)
    B, basis = fit_instrument_basis(data)
    share = data.sample_weight / len(B)
    np.testing.assert_allclose(
        B.T @ (share[:, None] * B), np.eye(B.shape[1]), atol=1e-9
    )
    np.testing.assert_array_equal(B[:, 0], 1.0)
    np.testing.assert_allclose(basis.transform(data.Z), B, atol=1e-7)
    assert B.shape[1] == 1 + 2 + 90 // 8


def test_instrument_functions_span_instruments_and_kernel():
    data = sample(n=240)
    B, basis = fit_instrument_basis(data, bandwidth=1.5, n_instruments=25)
    points = (data.Z - data.Z.mean(axis=0)) / data.Z.std(axis=0) / 1.5
    distance = np.abs(points[None] - basis.landmarks.landmarks[:, None]).sum(axis=2)
    assert distance.min(axis=1).max() < 1e-12  # landmarks are rows
    columns = [points, rbf_kernel(points, basis.landmarks.landmarks, gamma=0.5)]
    wanted = np.column_stack([np.ones(240), *columns])
    left = wanted - B @ (B.T @ wanted) / 240
    assert np.abs(left).max() < 1e-6
    assert B.shape[1] == wanted.shape[1] == 28


def test_few_distinct_instruments_have_few_functions():
    data = sample(n=160, q=1)
    levels = np.repeat([0.0, 1.0, 5.0], [60, 50, 50])[:, None]
    data = MomentData(
        data.X, data.y, levels, data.sample_weight, "sampling", None, ["x"] * 2, ["z"],
        data.rows,
    )  # fmt: skip
    B, _ = fit_instrument_basis(data)
    assert B.shape[1] == 3  # indicators of three levels
    indicators = (levels == np.unique(levels)).astype(float)
    np.testing.assert_allclose(B @ (B.T @ indicators) / 160, indicators, atol=1e-9)


@pytest.mark.parametrize("weights", [False, True])
def test_parts_and_what_is_unseen_make_up_the_kernel(weights):
    data = sample(weights=weights)
    B, _ = fit_instrument_basis(data)
    moments, basis = function_moments(data, B, data.y, STEEPNESS)
    share = data.sample_weight / len(B)
    np.testing.assert_allclose(
        moments.A, B.T @ (share[:, None] * moments.H), atol=1e-14
    )
    np.testing.assert_allclose(moments.m, B.T @ (share * data.y), atol=1e-14)
    np.testing.assert_allclose(basis.transform(data.X), moments.H, atol=1e-6)
    mean = share @ data.X
    points = (data.X - mean) / np.sqrt(share @ (data.X - mean) ** 2)
    np.testing.assert_allclose(moments.H[:, 1:3], points)
    for k, scale in enumerate(STEEPNESS):
        seen = moments.H[:, moments.bounds[k] : moments.bounds[k + 1]]
        unseen = basis.unseen(data.X, k)
        K = sigmoid_kernel(scale * points, scale * points)
        np.testing.assert_allclose(
            seen @ seen.T + unseen @ unseen.T, K, atol=1e-8
        )  # fmt: skip
        assert np.abs(B.T @ (share[:, None] * unseen)).max() < 1e-6
        assert seen.shape[1] <= B.shape[1]


def test_beyond_the_rows_the_variance_is_all_there():
    data = sample(d=1)
    B, _ = fit_instrument_basis(data)
    _, basis = function_moments(data, B, data.y, (4.0,))
    far = np.array([[-30.0], [3.0], [50.0]])
    points = 4.0 * basis.scaling.transform(far)
    columns = np.column_stack([basis.transform(far)[:, 2:], basis.unseen(far, 0)])
    np.testing.assert_allclose(
        np.sum(columns**2, axis=1), np.diag(sigmoid_kernel(points, points)), atol=1e-8
    )
    assert np.all(basis.unseen(far, 0)[[0, 2], -1] > 0.05)


def test_first_stage_f_is_that_of_least_squares():
    data = sample(n=200)
    B, _ = fit_instrument_basis(data)
    f = function_moments(data, B, data.y, STEEPNESS)[0].first_stage_f()
    for j in range(2):
        assert f[j] == pytest.approx(sm.OLS(data.X[:, j], B).fit().fvalue, rel=1e-8)


def test_first_stage_f_of_exogenous_columns_and_of_too_many_functions():
    data = sample(n=60)
    exogenous = MomentData(
        data.X, data.y, data.X, data.sample_weight, "sampling", None, ["x"] * 2,
        ["x"] * 2, data.rows,
    )  # fmt: skip
    B, _ = fit_instrument_basis(exogenous)
    f = function_moments(exogenous, B, data.y, STEEPNESS)[0].first_stage_f()
    assert np.all(np.isfinite(f)) and np.all(f > 1e9)
    many = sample(n=9, q=12)
    B, _ = fit_instrument_basis(many)
    f = function_moments(many, B, many.y, STEEPNESS)[0].first_stage_f()
    np.testing.assert_array_equal(f, 0.0)


def test_weak_instruments_are_named():
    text = weakness(["age", "income", "size"], np.array([9.9, 30.0, 2.34]), 12)
    assert "weak for age, size:" in text and "12 functions of them is 2.3" in text
    assert weakness(["income"], np.array([10.0]), 12) is None
