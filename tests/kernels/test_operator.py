"""The Gram operator: its methods agree, on any input, thread count and process."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pandas as pd
import pytest
from threadpoolctl import ThreadpoolController, threadpool_info

from causalweights._blas import single_blas_thread
from causalweights._numba._gram import DIRECT_MAX, ROWS, TILE
from causalweights._numba._symmetric import PIECES
from causalweights._threads import SERIAL_VALUES
from causalweights.kernels import (
    Energy,
    Gaussian,
    GramOperator,
    Laplace,
    Linear,
    Matern,
    Polynomial,
)

KERNELS = {
    "gaussian": Gaussian(bandwidth=2.5),
    "laplace": Laplace(bandwidth=2.5),
    "matern": Matern(bandwidth=2.5, nu=1.5),
    "energy": Energy(),
    "polynomial": Polynomial(degree=3, gamma=0.1),
    "compound": 0.5 * Gaussian(bandwidth=2.5) * Linear(1.0) + Laplace(bandwidth=2.5),
}
DIMENSIONS = [1, 3, 10, DIRECT_MAX + 1, 50]
# Relative to the largest entry; some hundred roundings of 1e-16.
EXACT = 1e-12
# Single precision (6e-8 a rounding) over sums of some hundred terms.
SINGLE = 1e-5
EPS = np.finfo(np.float64).eps

kernels = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
dimensions = pytest.mark.parametrize("d", DIMENSIONS)


def assert_close(actual, expected, tolerance=EXACT):
    size = np.max(np.abs(expected), initial=0.0)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * size)


# ---- methods agree with the dense matrix -----------------------------------------


@kernels
@dimensions
@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 63), (65, 700), (TILE + 1, 3)])
def test_methods_of_two_samples_agree(kernel, d, n, m, two_samples, rng):
    X, Y = two_samples(n, m, d)
    operator = kernel.operator(X, Y)
    K = operator.dense()
    assert operator.shape == K.shape == (n, m)
    np.testing.assert_array_equal(operator.block(None), K)
    v, V = rng.normal(size=m), rng.normal(size=(m, 5))
    assert_close(operator.matvec(v), K @ v)
    assert_close(operator.matvec(V), K @ V)
    assert operator.matvec(V[:, :1]).shape == (n, 1)
    w = rng.normal(size=n)
    assert operator.quadratic_form(w, v) == pytest.approx(w @ K @ v, rel=1e-9, abs=1e-9)
    share = rng.uniform(size=m)
    assert_close(operator.row_mean(), K.mean(axis=1))
    assert_close(operator.row_mean(share), K @ share / share.sum())
    assert_close(operator.row_mean(10 * share), operator.row_mean(share))


@kernels
@dimensions
@pytest.mark.parametrize("n", [1, 2, 63, 65, 513, TILE + 1])
def test_methods_of_one_sample_agree(kernel, d, n, two_samples, rng):
    X, _ = two_samples(n, 1, d)
    operator = kernel.operator(X)
    K = operator.dense()
    np.testing.assert_array_equal(K, K.T)
    assert_close(operator.block(None), K)
    assert_close(operator.diagonal(), np.diag(K))
    v = rng.normal(size=n)
    assert_close(operator.matvec(v), K @ v)
    expected = v @ K @ v
    size = np.abs(v) @ np.abs(K) @ np.abs(v)
    assert operator.quadratic_form(v) == pytest.approx(expected, abs=EXACT * size)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_matrix_goes_into_memory_used_before(dtype, two_samples):
    X, Y = two_samples(70, 65, 3)
    for operator in (
        KERNELS["compound"].operator(X.astype(dtype)),
        KERNELS["compound"].operator(X.astype(dtype), Y.astype(dtype)),
    ):
        out = np.full(operator.shape, np.nan, dtype)
        assert operator.dense(out) is out
        np.testing.assert_array_equal(out, operator.dense())


@pytest.mark.parametrize(
    "out",
    [
        np.empty((4, 3)),
        np.empty((4, 4), np.float32),
        np.empty((4, 4), order="F")[:, ::-1],
        np.empty((8, 4))[::2],
        np.broadcast_to(np.zeros(4), (4, 4)),
    ],
)
def test_refuses_memory_of_another_kind(out):
    with pytest.raises(ValueError, match="out must be a writeable, C-contiguous"):
        Gaussian(1.0).operator(np.ones((4, 2))).dense(out)


@kernels
@pytest.mark.parametrize("d", [3, DIRECT_MAX + 1])
def test_rows_and_columns(kernel, d, two_samples, rng):
    X, Y = two_samples(80, 70, d)
    operator = kernel.operator(X, Y)
    K = operator.dense()
    rows, columns = np.array([5, 0, 79, 5, -1]), np.array([69, 3])
    mask = rng.uniform(size=80) < 0.3
    column_mask = rng.uniform(size=70) < 0.3
    assert_close(operator.block(rows), K[rows])
    assert_close(operator.block(None, columns), K[:, columns])
    assert_close(operator.block(rows, columns), K[np.ix_(rows, columns)])
    assert_close(operator.block(mask, column_mask), K[np.ix_(mask, column_mask)])
    assert_close(operator.block([3, 4], [1]), K[3:5, 1:2])
    assert_close(operator.block(slice(2, 40, 3), slice(None)), K[2:40:3])
    assert_close(operator.block(7), K[7:8])
    assert operator.block([], columns).shape == (0, 2)
    v = rng.normal(size=2)
    assert_close(operator.matvec(v, columns=columns), K[:, columns] @ v)
    v = rng.normal(size=column_mask.sum())
    assert_close(operator.matvec(v, columns=column_mask), K[:, column_mask] @ v)
    np.testing.assert_array_equal(operator.matvec([], columns=[]), np.zeros(80))


@kernels
@pytest.mark.parametrize("d", [3, DIRECT_MAX + 1])
def test_product_of_some_rows(kernel, d, two_samples, rng):
    X, Y = two_samples(80, 70, d)
    operator = kernel.operator(X, Y)
    K, V = operator.dense(), rng.normal(size=(70, 3))
    rows, columns = np.array([5, 0, 79, 5, -1]), np.array([69, 3])
    mask = rng.uniform(size=80) < 0.3
    assert_close(operator.matvec(V, rows=rows), K[rows] @ V)
    assert_close(operator.matvec(V[:, 0], rows=mask), K[mask] @ V[:, 0])
    part = operator.matvec(V[:2], columns=columns, rows=slice(2, 40, 3))
    assert_close(part, K[2:40:3][:, columns] @ V[:2])
    assert operator.matvec(V, rows=[]).shape == (0, 3)
    assert operator.matvec(V[:, 0], rows=rows).dtype == np.float64


@kernels
@dimensions
@pytest.mark.parametrize("k", [1, 4, 5])
def test_product_of_one_sample_with_itself(kernel, d, k, two_samples, rng):
    # Few vectors take half of the values; more blocks of rows than pieces.
    X, _ = two_samples(PIECES * ROWS + 70, 1, d)
    operator, V = kernel.operator(X), rng.normal(size=(len(X), k))
    K = operator.dense()
    assert_close(operator.matvec(V), K @ V)
    rows = np.flatnonzero(rng.uniform(size=len(X)) < 0.2)
    part = operator.matvec(V[rows], columns=rows, rows=rows)
    assert_close(part, K[np.ix_(rows, rows)] @ V[rows])


RADIAL = {
    "gaussian": Gaussian,
    "laplace": Laplace,
    "matern": lambda h: Matern(h, nu=2.5),
    "scaled": lambda h: 3.0 * Gaussian(h),
}


@pytest.mark.parametrize("family", RADIAL.values(), ids=RADIAL)
@pytest.mark.parametrize("d", [3, DIRECT_MAX + 1])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_grid_of_bandwidths(family, d, dtype, two_samples, rng):
    X, Y = two_samples(90, TILE + 77, d)
    X, Y = X.astype(dtype), Y.astype(dtype)
    bandwidths, V = [0.7, 2.0, 5.0], rng.normal(size=(len(Y), 3))
    operator = family(1.0).operator(X, Y)
    grid = operator.matvec_grid(V, bandwidths)
    assert grid.shape == (3, 90, 3)
    assert grid.dtype == np.float64
    tolerance = EXACT if dtype == np.float64 else SINGLE
    for h, product in zip(bandwidths, grid, strict=True):
        assert_close(product, family(h).operator(X, Y).matvec(V), tolerance)
    rows, columns = np.array([5, 0, 5]), np.array([9, 4])
    part = operator.matvec_grid(V[:2, 0], bandwidths, columns, rows)
    assert part.shape == (3, 3)
    K = family(5.0).operator(X, Y).dense()
    expected = K[rows][:, columns].astype(np.float64) @ V[:2, 0]
    assert_close(part[2], expected, tolerance)


@kernels
@dimensions
@pytest.mark.parametrize("cells", [1, 7, 600])
def test_means_of_cells(kernel, d, cells, two_samples, rng):
    X, Y = two_samples(66, TILE + 200, d)
    labels = rng.permutation(np.arange(len(Y)) % cells)
    operator = kernel.operator(X, Y)
    K, means = operator.dense(), operator.cell_means(labels)
    members = labels[:, None] == np.arange(cells)
    assert means.shape == (66, cells)
    # Sums of both signs cancel, so compare with the size of the entries.
    error = np.abs(means - K @ members / members.sum(axis=0))
    assert error.max() <= EXACT * np.abs(K).max()
    single = kernel.operator(X.astype(np.float32), Y.astype(np.float32))
    error = np.abs(single.cell_means(labels.astype(np.uint16)) - means)
    assert error.max() <= SINGLE * np.abs(K).max()


def test_means_of_one_column_are_the_columns(two_samples):
    X, _ = two_samples(80, 1, 2)
    operator = KERNELS["matern"].operator(X)
    np.testing.assert_array_equal(operator.cell_means(np.arange(80)), operator.dense())


@kernels
@dimensions
def test_block_of_the_same_rows_is_exactly_symmetric(kernel, d, two_samples):
    X, _ = two_samples(150, 1, d)
    operator = kernel.operator(X)
    rows = np.arange(0, 150, 2)
    block = operator.block(rows, rows)
    np.testing.assert_array_equal(block, block.T)
    assert_close(block, operator.dense()[np.ix_(rows, rows)])


def test_same_rows_of_two_samples_are_no_square_of_one(two_samples):
    X, Y = two_samples(10, 10, 2)
    operator = KERNELS["gaussian"].operator(X, Y)
    rows = np.array([1, 4])
    block = operator.block(rows, rows)
    assert_close(block, operator.dense()[np.ix_(rows, rows)])


@pytest.mark.parametrize(("n", "m"), [(0, 4), (4, 0), (0, 0)])
def test_empty_samples(n, m):
    operator = Gaussian(1.0).operator(np.ones((n, 2)), np.ones((m, 2)))
    assert operator.dense().shape == (n, m)
    np.testing.assert_array_equal(operator.matvec(np.ones(m)), np.zeros(n))
    assert operator.matvec(np.ones((m, 2))).shape == (n, 2)


# ---- accuracy --------------------------------------------------------------------


@pytest.mark.parametrize("offset", [1e3, 1e6])
@pytest.mark.parametrize("d", [3, DIRECT_MAX + 1, 50])
@pytest.mark.parametrize("name", ["gaussian", "laplace", "matern"])
def test_data_far_from_the_origin(name, d, offset, two_samples, brute_force):
    X, Y = two_samples(60, 70, d)
    X, Y = X + offset, Y + offset
    # The shifted coordinates themselves are rounded, the same for both sides.
    kernel = KERNELS[name]
    assert_close(kernel(X, Y), brute_force(kernel, X, Y))
    assert_close(kernel(X), brute_force(kernel, X, X))


def test_far_samples_with_a_kernel_that_forbids_centring(two_samples, brute_force):
    X, Y = two_samples(60, 70, DIRECT_MAX + 1)
    X, Y = X + 1e6, Y + 1e6
    gaussian, linear = KERNELS["gaussian"], Linear()
    expected = brute_force(gaussian, X, Y) * brute_force(linear, X, Y)
    assert_close((gaussian * linear)(X, Y), expected)


@pytest.mark.parametrize("d", [2, DIRECT_MAX + 1, 50])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["energy", "matern", "gaussian"])
def test_identical_rows_are_at_distance_zero(name, d, dtype, rng):
    X = (rng.normal(size=(300, d)) + 3.0).astype(dtype)
    Y = X[::-1].copy()
    values = np.diagonal(KERNELS[name].operator(X, Y).dense()[:, ::-1])
    if name == "energy":
        # (|x| + |x| - 0) / 2 has no rounding of its own.
        norms = KERNELS[name].operator(X).dense().diagonal()
        np.testing.assert_array_equal(values, norms)
        np.testing.assert_allclose(
            norms, np.linalg.norm(X.astype(np.float64), axis=1), rtol=1e-6
        )
    else:
        np.testing.assert_array_equal(values, np.ones(300, dtype))


@pytest.mark.parametrize("d", [2, DIRECT_MAX + 1, 50])
@pytest.mark.parametrize("shift", [1e-4, 1e-7])
def test_near_duplicates_keep_their_distance(d, shift, rng):
    X = rng.normal(size=(100, d))
    Y = X.copy()
    Y[:, 0] += shift
    moved = np.abs(Y[:, 0] - X[:, 0])
    # k = exp(-u) gives the distance back where it is small: -log k.
    kernel = Matern(bandwidth=1e-3, nu=0.5)
    distance = -1e-3 * np.log(np.diagonal(kernel(X, Y)))
    # Half a unit of k = exp(-u) is eps / 2 in u, so eps h / 2 in the distance. BLAS'
    # route centres the rows first, which rounds their coordinates by some 1e-16.
    atol = 1e-3 * EPS + (4 * EPS if d > DIRECT_MAX else 0.0)
    np.testing.assert_allclose(distance, moved, rtol=4 * EPS, atol=atol)
    # The expansion by BLAS alone would leave an error of 1e-8 here.
    energy = Energy().operator(X, Y).dense().diagonal()
    norms = np.linalg.norm(X, axis=1) + np.linalg.norm(Y, axis=1)
    np.testing.assert_allclose(energy, 0.5 * (norms - moved), rtol=4 * EPS)


@kernels
@dimensions
def test_single_precision(kernel, d, two_samples, rng):
    X, Y = two_samples(130, 700, d)
    single = kernel.operator(X.astype(np.float32), Y.astype(np.float32))
    double = kernel.operator(X, Y)
    assert single.dtype == np.float32
    assert single.dense().dtype == np.float32
    assert single.block([1], [2]).dtype == np.float32
    assert_close(single.dense(), double.dense(), SINGLE)
    v = rng.uniform(size=700)
    assert single.matvec(v).dtype == np.float64
    assert_close(single.matvec(v), double.matvec(v), SINGLE)
    one = kernel.operator(X.astype(np.float32))
    assert_close(one.diagonal(), np.diag(kernel(X)), SINGLE)
    np.testing.assert_array_equal(one.dense(), one.dense().T)


def test_mixed_precision_is_double(two_samples):
    X, Y = two_samples(5, 6, 2)
    assert Gaussian(1.0).operator(X.astype(np.float32), Y).dtype == np.float64


# ---- threads and processes -------------------------------------------------------

N_THREADED = 1100
assert N_THREADED**2 > SERIAL_VALUES


def results(kernel, X, v, n_threads):
    one = kernel.operator(X, n_threads=n_threads)
    two = kernel.operator(X, X[::-1], n_threads=n_threads)
    return [
        one.dense(),
        two.dense(),
        one.block(np.arange(900), np.arange(700)),
        one.matvec(v[:, 0]),
        one.matvec(v),
        two.matvec(v[:, 0]),
        one.matvec(np.hstack([v, v])),
        two.cell_means(np.arange(len(X)) % 9),
    ]


@kernels
@pytest.mark.parametrize("d", [4, DIRECT_MAX + 1])
def test_bits_do_not_depend_on_threads(kernel, d, two_samples):
    X, v = two_samples(N_THREADED, N_THREADED, d)[0], None
    v = np.random.default_rng(1).normal(size=(N_THREADED, 3))
    expected = results(kernel, X, v, 1)
    for n_threads in (2, 3):
        for a, b in zip(results(kernel, X, v, n_threads), expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_bits_of_a_grid_do_not_depend_on_threads(two_samples):
    X, _ = two_samples(N_THREADED, 1, 4)
    v = np.random.default_rng(1).normal(size=N_THREADED)
    one, two, three = (
        Gaussian(1.0).operator(X, n_threads=k).matvec_grid(v, [1.0, 3.0])
        for k in (1, 2, 3)
    )
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, three)


def test_bits_do_not_depend_on_numba_or_blas_settings(two_samples):
    X, _ = two_samples(N_THREADED, 1, DIRECT_MAX + 1)
    v = np.random.default_rng(1).normal(size=(N_THREADED, 3))
    expected = results(KERNELS["gaussian"], X, v, 1)
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        with ThreadpoolController().limit(limits=4, user_api="blas"):
            got = results(KERNELS["gaussian"], X, v, None)
    finally:
        numba.set_num_threads(before)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_several_python_threads_at_once(two_samples):
    X, _ = two_samples(N_THREADED, 1, DIRECT_MAX + 1)
    v = np.random.default_rng(1).normal(size=(N_THREADED, 3))
    cases = [*KERNELS.values()] * 2
    expected = [results(kernel, X, v, 1) for kernel in KERNELS.values()] * 2
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda kernel: results(kernel, X, v, 2), cases))
    for mine, theirs in zip(got, expected, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def blas_threads():
    return [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]


def test_overlapping_calls_give_blas_its_threads_back():
    with ThreadpoolController().limit(limits=3, user_api="blas"):
        before = blas_threads()
        single_blas_thread.__enter__()
        single_blas_thread.__enter__()
        assert set(blas_threads()) == {1}
        single_blas_thread.__exit__()
        assert set(blas_threads()) == {1}
        single_blas_thread.__exit__()
        assert blas_threads() == before


def test_blas_gets_its_threads_back_after_an_error():
    before = blas_threads()
    with pytest.raises(RuntimeError, match="inside"), single_blas_thread:
        raise RuntimeError("inside")
    assert blas_threads() == before


def test_pickles(two_samples):
    X, Y = two_samples(30, 20, DIRECT_MAX + 1)
    operator = KERNELS["compound"].operator(X, Y)
    copy = pickle.loads(pickle.dumps(operator))
    np.testing.assert_array_equal(copy.dense(), operator.dense())


# ---- inputs ----------------------------------------------------------------------


def read_only(X):
    X = X.copy()
    X.setflags(write=False)
    return X


LAYOUTS = {
    "read-only": read_only,
    "fortran": np.asfortranarray,
    "every other row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "reversed": lambda X: X[::-1].copy()[::-1],
    "column slice": lambda X: np.hstack([X, X])[:, : X.shape[1]],
    "pandas": pd.DataFrame,
    "list": lambda X: X.tolist(),
    "object": lambda X: X.astype(object),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("d", [3, DIRECT_MAX + 1])
def test_layouts_give_the_same_bits(layout, d, two_samples):
    X, Y = two_samples(40, 50, d)
    v = np.random.default_rng(1).normal(size=50)
    for kernel in KERNELS.values():
        plain, other = kernel.operator(X, Y), kernel.operator(layout(X), layout(Y))
        np.testing.assert_array_equal(other.dense(), plain.dense())
        np.testing.assert_array_equal(other.matvec(read_only(v)), plain.matvec(v))
        strided = np.repeat(v, 2)[::2]
        np.testing.assert_array_equal(other.matvec(strided), plain.matvec(v))


def test_integers_and_half_precision_become_double():
    X = np.arange(6).reshape(3, 2)
    expected = Gaussian(2.0)(X.astype(np.float64))
    for dtype in (np.int32, np.int8, np.float16, bool):
        operator = Gaussian(2.0).operator(X.astype(dtype))
        assert operator.dtype == np.float64
    np.testing.assert_array_equal(Gaussian(2.0)(X), expected)


@kernels
@pytest.mark.parametrize("d", [3, DIRECT_MAX + 1])
def test_inputs_are_not_modified(kernel, d, two_samples):
    X, Y = two_samples(40, 50, d)
    v, weights = np.ones((50, 2)), np.linspace(1, 2, 50)
    rows = np.array([1, 2])
    copies = [a.copy() for a in (X, Y, v, weights, rows)]
    operator = kernel.operator(X, Y)
    operator.dense()
    operator.matvec(v)
    operator.row_mean(weights)
    operator.block(rows, rows)
    kernel.operator(X).low_rank()
    for a, b in zip((X, Y, v, weights, rows), copies, strict=True):
        np.testing.assert_array_equal(a, b)


def test_later_changes_of_the_data_do_not_reach_the_operator(two_samples):
    X, Y = two_samples(20, 30, 2)
    operator = KERNELS["compound"].operator(X, Y)
    before = operator.dense()
    X[:], Y[:] = 0.0, 0.0
    np.testing.assert_array_equal(operator.dense(), before)


# ---- refusals --------------------------------------------------------------------

TALL = np.ones((4, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda k: k.operator(TALL, np.ones((3, 5))), "X has 2 columns and Y has 5"),
        (lambda k: k.operator(np.ones(3)), "two-dimensional, got shape"),
        (lambda k: k.operator(TALL, np.ones(2)), "two-dimensional, got shape"),
        (lambda k: k.operator(np.ones((3, 0))), "points have no columns"),
        (lambda k: k.operator(np.array([[np.nan]])), "contain NaN or infinity"),
        (lambda k: k.operator(TALL, -np.inf * TALL), "contain NaN or infinity"),
        (lambda k: k.operator(TALL, TALL).diagonal(), "for one sample"),
        (lambda k: k.operator(TALL, TALL).low_rank(), "for one sample"),
        (lambda k: k.operator(TALL).matvec(np.ones(3)), r"v has shape \(3,\)"),
        (lambda k: k.operator(TALL).matvec(1.0), r"v has shape \(\)"),
        (lambda k: k.operator(TALL).matvec(np.ones((4, 1, 1))), "v has shape"),
        (lambda k: k.operator(TALL).matvec(np.ones(4), [0, 1]), "the operator 2 col"),
        (lambda k: k.operator(TALL).row_mean(np.ones(5)), r"v has shape \(5,\)"),
        (lambda k: k.operator(TALL).matvec_grid(np.ones(3), [1.0]), "v has shape"),
        (lambda k: k.operator(TALL).matvec_grid(np.ones(4), [0.0]), "positive numbers"),
        (lambda k: k.operator(TALL).matvec_grid(np.ones(4), []), "positive numbers"),
        (lambda k: k.operator(TALL).matvec_grid(np.ones(4), 1.0), "positive numbers"),
        (lambda k: k.operator(TALL).matvec_grid(np.ones(4), [np.inf]), "positive num"),
        (
            lambda k: (k + k).operator(TALL).matvec_grid(np.ones(4), [1.0]),
            "single bandwidth",
        ),
        (
            lambda k: Energy().operator(TALL).matvec_grid(np.ones(4), [1.0]),
            "single bandwidth",
        ),
        (lambda k: k.operator(TALL).cell_means([0, 1]), "must be 4 integers"),
        (lambda k: k.operator(TALL).cell_means(np.ones(4)), "must be 4 integers"),
        (lambda k: k.operator(TALL).cell_means([0, -1, 0, 1]), "not be negative"),
        (lambda k: k.operator(TALL).cell_means([0, 2, 2, 0]), "cell 1 has no columns"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call(Gaussian(1.0))


def test_the_constructor_compares_columns_as_well():
    with pytest.raises(ValueError, match="must hold the same covariates"):
        GramOperator(Gaussian(1.0).spec(), TALL, np.ones((3, 5)))


@pytest.mark.parametrize("index", [[4], [-5], [True, False], [[True] * 5]])
def test_refuses_indices_out_of_range(index):
    with pytest.raises(IndexError):
        Gaussian(1.0).operator(TALL).block(index)


@pytest.mark.parametrize("d", [3, 30])
@pytest.mark.parametrize("kernel", [Energy(), Energy(origin=None), Gaussian(4.0)])
def test_other_precision_is_the_same_operator(kernel, d):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(3.0, 1.0, (40, d)), rng.normal(3.0, 1.0, (30, d))
    for operator in (kernel.operator(X), kernel.operator(X, Y)):
        single = operator.astype(np.float32)
        assert single.dtype == np.float32
        assert single.dense().dtype == np.float32
        np.testing.assert_allclose(single.dense(), operator.dense(), atol=2e-5)
        back = single.astype(np.float64).dense()
        np.testing.assert_allclose(back, operator.dense(), atol=2e-5)
    with pytest.raises(ValueError, match="float32 or float64"):
        operator.astype(int)
