"""The vocabulary of register blocks, against numpy."""

import numpy as np
import pytest
from numba import njit

from causalweights._numba import _blocks, _pointers
from causalweights._numba._vectors import BYTES, ROWS, VECTORS

DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def width(dtype):
    return BYTES * VECTORS // np.dtype(dtype).itemsize


@njit
def coordinate_sums(which, rows, panel, d, out, step):
    x, y, z = (
        _pointers.address(rows),
        _pointers.address(panel),
        _pointers.address(out),
    )
    if which == 0:
        block = _blocks.squared(x, 0, y, 0, d)
    elif which == 1:
        block = _blocks.absolute(x, 0, y, 0, d)
    else:
        block = _blocks.product(x, 0, y, 0, d)
    _blocks.store(block, z, 0, step)


@DTYPES
@pytest.mark.parametrize("d", [1, 2, 7, 50])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_sums_over_coordinates(which, d, dtype, rng):
    step = width(dtype)
    X, Y = rng.normal(size=(ROWS, d)), rng.normal(size=(step, d))
    X, Y = X.astype(dtype), Y.astype(dtype)
    out = np.full(ROWS * step, np.nan, dtype)
    coordinate_sums(which, X.reshape(-1), Y.T.copy().reshape(-1), d, out, step)
    gaps = X[:, None].astype(np.float64) - Y
    expected = [(gaps**2).sum(2), np.abs(gaps).sum(2), X @ Y.T.astype(np.float64)]
    # Sums of d terms of size one.
    tolerance = 4 * d * np.finfo(dtype).eps
    np.testing.assert_allclose(
        out.reshape(ROWS, step), expected[which], rtol=tolerance, atol=tolerance
    )


@njit
def row_sums(values, out, step):
    sums = _blocks.row_sums(_blocks.load(_pointers.address(values), 0, step))
    for r in range(4):
        out[r] = sums[r]


@DTYPES
def test_row_sums_are_exact_on_integers(dtype, rng):
    step = width(dtype)
    values = rng.integers(-50, 50, size=(ROWS, step)).astype(dtype)
    out = np.empty(ROWS, dtype)
    row_sums(values.reshape(-1), out, step)
    np.testing.assert_array_equal(out, values.sum(axis=1))


@njit
def products(values, v, i, row_out, column_out, step):
    x, w = _pointers.address(values), _pointers.address(v)
    block = _blocks.load(x, 0, step)
    total = _blocks.add_row_products(_blocks.zeros(x), block, w, 0)
    _blocks.store(total, _pointers.address(row_out), 0, step)
    _blocks.add_column_products(_pointers.address(column_out), 0, block, w, i)


@DTYPES
def test_products_with_rows_and_columns_of_weights(dtype, rng):
    step = width(dtype)
    values = rng.integers(-9, 9, size=(ROWS, step)).astype(dtype)
    v = rng.integers(-9, 9, size=step).astype(dtype)
    rows, columns = np.empty_like(values), np.ones(step, dtype)
    products(values.reshape(-1), v, 2, rows.reshape(-1), columns, step)
    np.testing.assert_array_equal(rows, values * v)
    np.testing.assert_array_equal(columns, 1 + v[2 : 2 + ROWS] @ values)


@njit
def transpose(values, target, stride):
    _blocks.transpose(_pointers.address(values), 0, target, stride)


@DTYPES
def test_transpose_moves_a_square(dtype):
    lanes = width(dtype) // VECTORS
    values = np.arange(2 * lanes * 2 * lanes).reshape(2 * lanes, -1).astype(dtype)
    expected = values.copy()
    expected[lanes:, lanes:] = values[:lanes, :lanes].T
    flat = values.reshape(-1)
    transpose(flat, lanes * 2 * lanes + lanes, 2 * lanes)
    np.testing.assert_array_equal(values, expected)


@njit
def comparisons(x, y, out, step):
    a, b = _pointers.address(x), _pointers.address(y)
    p, q = _blocks.load(a, 0, step), _blocks.load(b, 0, step)
    _blocks.store(_blocks.less(p, q, p, q), _pointers.address(out), 0, step)
    return _blocks.any_less(p, q)


@DTYPES
def test_comparisons(dtype, rng):
    step = width(dtype)
    x = rng.normal(size=ROWS * step).astype(dtype)
    out = np.empty_like(x)
    assert not comparisons(x, x, out, step)
    np.testing.assert_array_equal(out, x)
    for j in range(ROWS * step):
        y = x.copy()
        y[j] = np.nextafter(x[j], dtype(np.inf))
        assert comparisons(x, y, out, step)
        np.testing.assert_array_equal(out, x)
        assert not comparisons(y, x, out, step)


@njit
def sums(a, b, out, step):
    block = _blocks.outer_sum(_pointers.address(a), 3, _pointers.address(b), 1)
    _blocks.store(block, _pointers.address(out), 0, step)


@DTYPES
def test_outer_sum(dtype, rng):
    step = width(dtype)
    a, b = rng.normal(size=ROWS + 3).astype(dtype), rng.normal(size=step + 1)
    b, out = b.astype(dtype), np.empty(ROWS * step, dtype)
    sums(a, b, out, step)
    np.testing.assert_array_equal(out.reshape(ROWS, step), a[3:, None] + b[1:])
