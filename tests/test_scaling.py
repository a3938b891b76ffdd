"""Standardisation: weighted moments, constants at any scale, invariances."""

import numpy as np
import pytest

from causalweights._scaling import fit_scaling

# Sums of some hundred terms of size one.
EXACT = 1e-13
# A shift of 1e6 leaves ten digits of a column of size one.
SHIFTED = 1e-9


def draw(n=60, d=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * [1.0, 5.0, 0.1] + [0.0, -3.0, 2.0]


def moments(Z, weights=None):
    mean = np.average(Z, axis=0, weights=weights)
    return mean, np.sqrt(np.average((Z - mean) ** 2, axis=0, weights=weights))


def test_matches_numpy():
    X = draw()
    scaling = fit_scaling(X)
    np.testing.assert_allclose(scaling.mean, X.mean(axis=0), rtol=EXACT, atol=EXACT)
    np.testing.assert_allclose(scaling.scale, X.std(axis=0), rtol=EXACT)
    np.testing.assert_array_equal(scaling.kept, [0, 1, 2])
    assert scaling.constant.size == 0
    np.testing.assert_allclose(
        scaling.transform(X), (X - X.mean(axis=0)) / X.std(axis=0), atol=EXACT
    )


def test_weighted_moments():
    X, weights = draw(), np.random.default_rng(1).uniform(size=60)
    scaling = fit_scaling(X, weights)
    mean, scale = moments(X, weights)
    np.testing.assert_allclose(scaling.mean, mean, rtol=EXACT, atol=EXACT)
    np.testing.assert_allclose(scaling.scale, scale, rtol=EXACT)
    mean, scale = moments(scaling.transform(X), weights)
    np.testing.assert_allclose(mean, 0.0, atol=EXACT)
    np.testing.assert_allclose(scale, 1.0, rtol=EXACT)


def test_weights_have_no_scale():
    X, weights = draw(), np.random.default_rng(1).uniform(size=60)
    a, b = fit_scaling(X, weights), fit_scaling(X, 1000 * weights)
    np.testing.assert_allclose(a.mean, b.mean, rtol=EXACT)
    np.testing.assert_allclose(a.scale, b.scale, rtol=EXACT)
    ones = fit_scaling(X, np.ones(60))
    np.testing.assert_allclose(ones.scale, fit_scaling(X).scale, rtol=EXACT)


def test_integer_weights_are_repeated_rows():
    X, counts = draw(), np.random.default_rng(1).integers(0, 4, size=60)
    weighted = fit_scaling(X, counts.astype(float))
    repeated = fit_scaling(np.repeat(X, counts, axis=0))
    np.testing.assert_allclose(weighted.mean, repeated.mean, rtol=EXACT)
    np.testing.assert_allclose(weighted.scale, repeated.scale, rtol=EXACT)


@pytest.mark.parametrize("weighted", [False, True])
def test_affine_changes_leave_the_result(weighted):
    X = draw()
    weights = np.random.default_rng(1).uniform(size=60) if weighted else None
    expected = fit_scaling(X, weights).transform(X)
    factor = np.array([1e-8, 3.0, 1e5])
    Z = X * factor + factor * [1e6, -7.0, 1e3]
    got = fit_scaling(Z, weights).transform(Z)
    np.testing.assert_allclose(got, expected, atol=SHIFTED)
    got = fit_scaling(-X, weights).transform(-X)
    np.testing.assert_allclose(got, -expected, atol=EXACT)


@pytest.mark.parametrize("scale", [1e300, 1e150, 1e-150, 1e-300])
def test_extreme_scales_neither_overflow_nor_vanish(scale):
    X = draw()
    expected = fit_scaling(X).transform(X)
    with np.errstate(all="raise", under="ignore"):
        scaling = fit_scaling(X * scale)
        got = scaling.transform(X * scale)
    np.testing.assert_array_equal(scaling.kept, [0, 1, 2])
    np.testing.assert_allclose(got, expected, atol=EXACT)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "value", [0.0, 1.0, -0.1, 1 / 3, 1e9, 1e300, -1e300, 1e-300, 5e-324]
)
def test_constant_columns_are_found(value, weighted):
    X = draw()
    X[:, 1] = value
    weights = np.random.default_rng(1).uniform(size=60) if weighted else None
    scaling = fit_scaling(X, weights)
    np.testing.assert_array_equal(scaling.constant, [1])
    np.testing.assert_array_equal(scaling.kept, [0, 2])
    expected = fit_scaling(X[:, [0, 2]], weights)
    np.testing.assert_array_equal(scaling.mean, expected.mean)
    assert scaling.transform(X).shape == (60, 2)


def test_rounding_noise_is_constant():
    X = draw()
    # 0.1 * 3 and 0.3 differ in the last bit; 1e9 + 1e-7 does so now and then.
    X[:, 0] = np.where(X[:, 0] > 0, 0.1 * 3, 0.3)
    X[:, 1] = 1e9 + 1e-7 * np.random.default_rng(0).uniform(size=60)
    np.testing.assert_array_equal(fit_scaling(X).constant, [0, 1])


def test_small_variation_on_a_large_level_is_kept():
    noise = np.random.default_rng(0).normal(size=(60, 1))
    # The level's last digit is 1e-7: three digits of the noise are left.
    scaling = fit_scaling(1e9 + 1e-3 * noise)
    assert scaling.scale[0] == pytest.approx(1e-3 * noise.std(), rel=1e-3)
    got = scaling.transform(1e9 + 1e-3 * noise)
    np.testing.assert_allclose(got, (noise - noise.mean()) / noise.std(), atol=1e-3)


def test_rare_values_are_kept():
    X = np.zeros((100_000, 1))
    X[17] = 1.0
    assert fit_scaling(X).scale[0] == pytest.approx(X.std(), rel=EXACT)


def test_column_that_varies_without_weight_is_constant():
    X = draw()
    X[:, 2] = np.arange(60) == 5
    weights = np.ones(60)
    weights[5] = 0.0
    np.testing.assert_array_equal(fit_scaling(X, weights).constant, [2])


@pytest.mark.parametrize("X", [np.ones((5, 2)), np.zeros((5, 1)), np.ones((1, 3))])
def test_refuses_data_without_variation(X):
    with pytest.raises(ValueError, match="all columns of X are constant"):
        fit_scaling(X)


def test_single_precision_is_computed_in_double():
    X = draw().astype(np.float32)
    scaling, double = fit_scaling(X), fit_scaling(X.astype(np.float64))
    np.testing.assert_array_equal(scaling.mean, double.mean)
    np.testing.assert_array_equal(scaling.scale, double.scale)
    assert scaling.transform(X).dtype == np.float64
    X[:, 0] = 0.1
    np.testing.assert_array_equal(fit_scaling(X).constant, [0])


def test_integers_and_bools():
    X = np.array([[0, 1], [2, 0], [4, 1]])
    np.testing.assert_allclose(fit_scaling(X).mean, [2.0, 2 / 3], rtol=EXACT)
    np.testing.assert_allclose(fit_scaling(X[:, 1:] > 0).mean, [2 / 3], rtol=EXACT)


def test_new_rows_are_scaled_by_the_old_ones():
    X = draw()
    scaling = fit_scaling(X)
    new = draw(n=5, seed=1)
    expected = (new - X.mean(axis=0)) / X.std(axis=0)
    np.testing.assert_allclose(scaling.transform(new), expected, atol=1e2 * EXACT)
    one = scaling.transform(X.mean(axis=0)[None])
    np.testing.assert_allclose(one, np.zeros((1, 3)), atol=EXACT)


@pytest.mark.parametrize("order", ["C", "F"])
def test_inputs_are_not_modified(order):
    X, weights = np.array(draw(), order=order), np.linspace(1, 2, 60)
    X.setflags(write=False)
    weights.setflags(write=False)
    before = X.copy()
    scaling = fit_scaling(X, weights)
    out = scaling.transform(X)
    out[:] = 0.0
    np.testing.assert_array_equal(X, before)
