"""The compiled profiles: accuracy of the exponential and of every kernel shape."""

import math

import numpy as np
import pytest
from numba import njit

from causalweights._numba import _blocks, _pointers, _profiles

# Rounding of the polynomial and of the final product: two units in the last place.
EXP2_RTOL = {np.float64: 4e-16, np.float32: 3e-7}
# exp(-t) also carries the rounding of t * log2(e) (the factor and the product, half a
# unit each): t * eps of relative error, as much as a half-unit error of t itself.
ARGUMENT_ULPS = 1.5
# What an underflowing exponential may leave behind.
TINY = {np.float64: 3e-308, np.float32: 1.2e-38}
# Arguments whose exponential is a normal number.
LAST_NORMAL = {np.float64: 700.0, np.float32: 87.0}

DTYPES = [np.float64, np.float32]


@njit
def exp2_each(y, out):
    for j in range(y.shape[0]):
        out[j] = _blocks.exp2(y[j])


@njit
def one_strip(code, params, t, norms_x, norms_y, out):
    width = t.shape[0] // 4
    raw, x, y = (
        _pointers.address(t),
        _pointers.address(norms_x),
        _pointers.address(norms_y),
    )
    values = _pointers.address(out)
    _profiles.apply_profile(
        code, params[0], params[1], params[2], raw, 0, width, values, 0, width, width,
        x, 0, y, 0,
    )  # fmt: skip


def exp_minus(t):
    return profile(_profiles.GAUSSIAN, t)


def profile(code, t, params=(1.0, 0.0, 0.0), norm_x=0.0, norm_y=None):
    """Return the values of a row of t, which is the first of a strip's four."""
    width = -(-len(t) // 64) * 64
    strip, norms = np.zeros((4, width), t.dtype), np.zeros(width, t.dtype)
    strip[0, : len(t)] = t
    norms[: len(t)] = 0.0 if norm_y is None else norm_y
    out = np.full_like(strip, np.nan)
    one_strip(
        code,
        np.array(params, dtype=t.dtype),
        strip.reshape(-1),
        np.full(4, norm_x, t.dtype),
        norms,
        out.reshape(-1),
    )
    assert np.all(np.isfinite(out))
    return out[0, : len(t)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_power_of_two_is_accurate_to_two_units_in_the_last_place(dtype):
    last = -1000.0 if dtype == np.float64 else -125.0
    y = np.linspace(last, 0.0, 200_001).astype(dtype)
    out = np.empty_like(y)
    exp2_each(y, out)
    exact = np.exp2(y.astype(np.longdouble))
    assert np.max(np.abs(out / exact - 1)) <= EXP2_RTOL[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponential_is_as_accurate_as_its_argument(dtype):
    t = np.linspace(0.0, LAST_NORMAL[dtype], 200_001).astype(dtype)
    exact = np.exp(-t.astype(np.longdouble))
    error = np.abs(exp_minus(t) / exact - 1)
    allowed = EXP2_RTOL[dtype] + ARGUMENT_ULPS * np.finfo(dtype).eps * t
    assert np.all(error <= allowed)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponential_of_zero_is_exactly_one(dtype):
    out = exp_minus(np.array([0.0, -0.0, np.finfo(dtype).tiny], dtype=dtype))
    np.testing.assert_array_equal(out, np.ones(3, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponential_underflows_to_nothing_and_never_to_nan(dtype):
    largest = np.finfo(dtype).max
    t = np.array([LAST_NORMAL[dtype] + 10, 1e4, 1e30, largest / 2, largest], dtype)
    out = exp_minus(t)
    assert np.all(out >= 0)
    assert np.all(out <= TINY[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponential_decreases_through_the_underflow(dtype):
    edge = -math.log(np.finfo(dtype).tiny)
    out = exp_minus(np.linspace(edge - 2, edge + 2, 4001).astype(dtype))
    assert np.all(np.diff(out) <= 0)
    assert np.all(out > 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 31, 33, 511, 512])
def test_every_length_of_tile_is_filled(dtype, size):
    # Vectorised code has a main loop and a remainder: both must give the same.
    t = np.linspace(0.1, 5.0, size).astype(dtype)
    one_by_one = [exp_minus(t[j : j + 1])[0] for j in range(size)]
    np.testing.assert_allclose(exp_minus(t), one_by_one, rtol=EXP2_RTOL[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_result_keeps_the_dtype(dtype):
    @njit
    def value(y):
        return _blocks.exp2(y)

    signature = value.overloads if value(dtype(-1.5)) else {}
    (compiled,) = signature.values()
    assert str(compiled.signature.return_type) == np.dtype(dtype).name
    assert value(dtype(-1.5)) == pytest.approx(2**-1.5, rel=EXP2_RTOL[dtype])


def test_single_precision_exponential_stays_in_narrow_registers():
    # Widening to float64 or int64 in the loop would give half the speed, or, with a
    # shift of the wrong width, a wrong result.
    @njit
    def each(t, out):
        for j in range(t.shape[0]):
            out[j] = _blocks.exp2(-t[j])

    t = np.linspace(0, 10, 64).astype(np.float32)
    each(t, np.empty_like(t))
    (code,) = each.inspect_llvm().values()
    assert "fpext" not in code
    assert "fptrunc" not in code


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (_profiles.GAUSSIAN, lambda t: np.exp(-0.7 * t)),
        (_profiles.LAPLACE, lambda t: np.exp(-0.7 * t)),
        (_profiles.MATERN12, lambda t: np.exp(-0.7 * np.sqrt(t))),
        (
            _profiles.MATERN32,
            lambda t: (1 + 0.7 * np.sqrt(t)) * np.exp(-0.7 * np.sqrt(t)),
        ),
        (
            _profiles.MATERN52,
            lambda t: (1 + 0.7 * np.sqrt(t) + 0.49 * t / 3) * np.exp(-0.7 * np.sqrt(t)),
        ),
        (_profiles.LINEAR, lambda t: 0.7 * t + 0.5),
        (_profiles.POLYNOMIAL, lambda t: (0.7 * t + 0.5) ** 3),
    ],
)
def test_profile_matches_its_formula(code, expected, dtype):
    t = np.linspace(0.0, 9.0, 1001).astype(dtype)
    out = profile(code, t, (0.7, 0.5, 3.0))
    assert out.dtype == dtype
    # Ten units: a handful of roundings, times an argument of at most 6.3.
    rtol = 10 * np.finfo(dtype).eps
    np.testing.assert_allclose(out, expected(t.astype(np.float64)), rtol=rtol)


@pytest.mark.parametrize("dtype", DTYPES)
def test_energy_profile_uses_the_norms(dtype):
    t = np.array([0.0, 4.0, 9.0], dtype=dtype)
    norm_y = np.array([1.0, 2.0, 2.5], dtype=dtype)
    out = profile(_profiles.ENERGY, t, norm_x=1.0, norm_y=norm_y)
    np.testing.assert_array_equal(out, [1.0, 0.5, 0.25])


@pytest.mark.parametrize("degree", [1, 2, 5])
def test_polynomial_power_may_be_negative_inside(degree):
    t = np.array([-3.0, -1.0, 0.0, 2.0])
    out = profile(_profiles.POLYNOMIAL, t, (1.0, 1.0, float(degree)))
    np.testing.assert_array_equal(out, (t + 1) ** degree)
