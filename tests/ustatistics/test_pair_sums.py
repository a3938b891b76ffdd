"""Sums over pairs: four routes against numpy's matrices and closed forms."""

import tracemalloc
from math import factorial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from causalweights.ustatistics._local_kernels import LOCAL_KERNELS, evaluate
from causalweights.ustatistics._pair_sums import PairSums

KERNELS = list(LOCAL_KERNELS.values())
GAUSSIANS = [kernel for kernel in KERNELS if kernel.factor is not None]
POLYNOMIALS = [kernel for kernel in KERNELS if kernel.power is not None]
# What the routes promise; they are usually near 1e-14.
AGREE = 1e-10
# Sums below it have lost their digits, in numpy's exponential as well.
LIVE = 1e-290


def dense(kernel, h, U, V, boundary):
    """The matrix of kernel values, by definition."""
    K = np.ones((len(U), len(V)))
    # Images so far that, against the nearest one, the others are nothing.
    most = int(np.ceil((kernel.reach * h + 4) / 2))
    for k in range(U.shape[1]):
        u, v = U[:, k, None], V[None, :, k]
        shifts = range(-most, most + 1)
        if boundary == "none":
            K *= evaluate(kernel, (u - v) / h) / h
        else:
            K *= (
                sum(
                    evaluate(kernel, ((u - v) + 2 * s) / h)
                    + evaluate(kernel, ((u + v) + 2 * s) / h)
                    for s in shifts
                )
                / h
            )
    return K


def routes(kernel, h, d, boundary):
    """The methods that apply."""
    methods = ["brute", "cells", "auto"]
    if d == 1 and kernel.power is not None and (h <= 0.5 or boundary == "none"):
        methods.append("prefix")
    if kernel.factor is not None and boundary == "reflect" and h > 0.03 * d:
        methods.append("cosine")
    return methods


def awkward_points(rng, d, m=170, n=140):
    """Two samples with corners, ties, gaps and rows in common."""
    U, V = rng.random((m, d)), rng.random((n, d))
    U[:4], V[:4] = np.round(U[:4]), np.round(V[:4])
    U[4:30], V[4:30] = np.round(U[4:30], 1), np.round(V[4:30], 1)
    U[30:60] = U[30]
    V[30:40] = U[60:70]
    U[U[:, 0] > 0.8] *= 0.8
    return U, V


def check(sums, K, rng):
    """Compare all sums with those of a matrix."""
    m, n = K.shape
    c = rng.normal(size=(m, 2))
    D = np.abs(K).sum(axis=0)
    live = LIVE < D
    scale = np.where(live, D, 1.0)
    errors = np.abs(sums.to_targets(c) - K.T @ c)[live] / scale[live, None]
    assert errors.size == 0 or errors.max() < AGREE * np.abs(c).max()
    assert_array_equal(sums.to_targets(c[:, 0]), sums.to_targets(c)[:, 0])

    e = np.where(live, rng.choice([-1.0, 1.0], n), 0.0) / scale
    kappa = K * e
    largest = np.abs(kappa).sum(axis=1).max()
    first, second = sums.to_reference(e), sums.to_reference(e, power=2)
    assert first.shape == second.shape == (m,)
    assert_allclose(first, kappa.sum(axis=1), rtol=0, atol=AGREE * largest)
    assert_allclose(second, (kappa**2).sum(axis=1), rtol=0, atol=AGREE * largest)
    both = sums.to_reference_powers(e, e)
    assert_array_equal(both[0], first)
    assert_array_equal(both[1], second)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("boundary", ["none", "reflect"])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_every_route_sums_the_matrix(kernel, boundary, d, rng):
    for h in (0.008, 0.1, 0.3, 1.0)[: 4 if d == 1 else 3]:
        U, V = awkward_points(rng, d)
        K = dense(kernel, h, U, V, boundary)
        for method in routes(kernel, h, d, boundary):
            sums = PairSums(kernel, h, U, V, boundary=boundary, method=method)
            assert sums.method in {"brute", "cells", "prefix", "cosine"}
            assert method in ("auto", sums.method)
            check(sums, K, rng)


@pytest.mark.parametrize("kernel", POLYNOMIALS, ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("boundary", ["none", "reflect"])
def test_moments_sum_full_windows(kernel, boundary, rng):
    U = np.sort(rng.random((1500, 1)) ** 2, axis=0)
    V = rng.random((200, 1))
    U[:3], V[:3], U[100:400], V[10:20] = 0.0, 1.0, 0.25, np.linspace(0, 1, 10)[:, None]
    for h in (1e-9, 0.003, 0.05, 0.249, 0.5):
        K = dense(kernel, h, U, V, boundary)
        sums = PairSums(kernel, h, U, V, boundary=boundary, method="prefix")
        check(sums, K, rng)
        # Sums of few points are theirs, not a difference of large sums.
        assert_allclose(sums.to_targets(np.ones(1500)), K.sum(axis=0), rtol=AGREE)


@pytest.mark.parametrize("kernel", POLYNOMIALS, ids=lambda kernel: kernel.name)
def test_moments_wider_than_the_interval(kernel, rng):
    U, V = rng.random((300, 1)), rng.random((200, 1))
    K = dense(kernel, 1.7, U, V, "none")
    sums = PairSums(kernel, 1.7, U, V, method="prefix")
    assert sums.method == "prefix"
    check(sums, K, rng)


def test_moments_of_a_part_of_a_bin_are_no_difference(rng):
    # Just outside the windows lie weights 1e12 times as large.
    kernel, h = LOCAL_KERNELS["biweight"], 0.1
    near, far = 0.3 + 0.02 * rng.random(40), 0.3 - 0.002 * rng.random(40)
    U, c = np.r_[near, far][:, None], np.r_[np.ones(40), np.full(40, 1e12)]
    V = np.array([[0.4]])
    sums = PairSums(kernel, h, U, V, method="prefix")
    expected = dense(kernel, h, U[:40], V, "none").sum(axis=0)
    assert_allclose(sums.to_targets(c), expected, rtol=AGREE)
    back = PairSums(kernel, h, V, U, method="prefix")
    assert_allclose(back.to_reference(c), expected, rtol=AGREE)


def test_targets_whose_references_are_at_the_windows_end(rng):
    # Tied, so many that moments would be used, which lose what is left of 1 - t^2.
    kernel, h = LOCAL_KERNELS["triweight"], 0.125
    U = np.r_[np.full(200, 0.25), rng.random(49) * 0.1, 0.2][:, None]
    V = np.r_[0.25 + h * (1 - 1e-5), 0.25 + h * (1 - 1e-3), rng.random(40)][:, None]
    K = dense(kernel, h, U, V, "none")
    sums = PairSums(kernel, h, U, V, method="prefix")
    D = sums.to_targets(np.ones(250))
    assert 0 < D[0] < 1e-8
    assert_allclose(D, K.sum(axis=0), rtol=AGREE)
    live = D > 0
    e = np.where(live, 1 / np.where(live, D, 1), 0)
    assert_allclose(sums.to_reference(e), K @ e, rtol=AGREE)
    assert_allclose(sums.to_reference(e, 2), (K * e) ** 2 @ live, rtol=AGREE)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("boundary", ["none", "reflect"])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_targets_far_from_all_references(kernel, boundary, d, rng):
    # References in a corner: sums of targets go down to nothing.
    h = 0.2 if kernel.is_compact else 0.031
    U, V = 0.05 * rng.random((200, d)), rng.random((150, d))
    V[0] = 1.0
    K = dense(kernel, h, U, V, boundary)
    D = np.abs(K).sum(axis=0)
    if kernel.name == "gaussian":
        assert np.any((D > LIVE) & (D < 1e-100))
    live = D > LIVE
    e = np.where(live, 1 / np.where(live, D, 1.0), 0.0)
    for method in routes(kernel, h, d, boundary):
        sums = PairSums(kernel, h, U, V, boundary=boundary, method=method)
        error = np.abs(sums.to_targets(np.ones(200)) - K.sum(axis=0))[live]
        assert np.all(error < AGREE * D[live])
        atol = AGREE * live.sum() / 200
        assert_allclose(sums.to_reference(e), K @ e, rtol=AGREE, atol=atol)
        squares = ((K * e) ** 2).sum(axis=1)
        assert_allclose(sums.to_reference(e, 2), squares, rtol=AGREE, atol=atol / 200)
        if boundary == "none" or method != "cosine":
            assert np.all(np.abs(sums.to_targets(np.ones(200))[D == 0]) < 1e-300)


def test_sums_too_small_to_be_squared_alone():
    # The kernel is 1e-250 and its inverse 1e250: neither has a square.
    kernel, U, V = LOCAL_KERNELS["gaussian"], np.zeros((2, 2)), np.array([[0.34, 0.0]])
    for method in ("brute", "cells"):
        sums = PairSums(kernel, 0.01, U, V, method=method)
        D = sums.to_targets(np.ones(2))
        assert 1e-290 < D[0] < 1e-240
        assert_allclose(sums.to_reference(1 / D), [0.5, 0.5], rtol=1e-12)
        assert_allclose(sums.to_reference(1 / D, 2), [0.25, 0.25], rtol=1e-12)


@pytest.mark.parametrize("kernel", GAUSSIANS, ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("h", [0.04, 0.07, 0.3, 1.0])
def test_reflected_kernel_integrates_to_one_and_is_its_cosine_series(kernel, h, rng):
    nodes, weights = np.polynomial.legendre.leggauss(10)
    u = np.add.outer(np.arange(40), (nodes + 1) / 2).ravel() / 40
    w, v = np.tile(weights, 40) / 80, np.r_[0, 0.01, rng.random(5), 0.99, 1]
    for method in ("brute", "cells", "cosine"):
        there = PairSums(
            kernel, h, u[:, None], v[:, None], boundary="reflect", method=method
        )
        assert_allclose(there.to_targets(w), np.ones(9), atol=1e-12)
        back = PairSums(
            kernel, h, v[:, None], u[:, None], boundary="reflect", method=method
        )
        assert_allclose(back.to_reference(w), np.ones(9), atol=1e-12)
        q = np.arange(1, 400)
        x = (np.pi * q * h) ** 2 / 2
        bump = np.exp(-x) * sum(x**j / factorial(j) for j in range(kernel.order // 2))
        for i in (0, 3, 250, 399):
            series = 1 + 2 * np.cos(np.pi * np.outer(v, q)) @ (
                bump * np.cos(np.pi * q * u[i])
            )
            one = there.to_targets(np.eye(400)[i])
            assert_allclose(one, series, atol=1e-12 * series.max())


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_wide_bandwidths_compare_everything_with_everything(kernel, rng):
    U, V, h = rng.random((60, 2)), rng.random((50, 2)), 1e6
    constant = evaluate(kernel, 0.0) ** 2 / h**2
    for method in ("auto", "brute", "cells"):
        sums = PairSums(kernel, h, U, V, method=method)
        # Silverman's has a kink at zero.
        rtol = 1e-5 if kernel.name in ("silverman", "triangular") else 1e-11
        assert_allclose(sums.to_targets(np.ones(60)), 60 * constant, rtol=rtol)
    if kernel.factor is None:
        with pytest.raises(ValueError, match="images"):
            PairSums(kernel, h, U, V, boundary="reflect")
    else:
        sums = PairSums(kernel, h, U, V, boundary="reflect")
        assert sums.method == "cosine"
        assert_allclose(sums.to_targets(np.ones(60)), 60.0, rtol=1e-13)
        assert_allclose(sums.to_reference(np.ones(50), 2), 50.0, rtol=1e-13)


CASES = [
    ("gaussian", 1, 3e-4, "cells"),
    ("gaussian", 2, 0.01, "cells"),
    ("gaussian6", 2, 0.01, "cells"),
    ("gaussian", 3, 0.2, "brute"),
    ("epanechnikov", 1, 0.05, "prefix"),
    ("gaussian", 2, 0.2, "cosine"),
]


@pytest.mark.parametrize(("name", "d", "h", "method"), CASES)
def test_bits_do_not_depend_on_threads_nor_on_the_arrays_layout(
    name, d, h, method, rng
):
    m, n = 3000, 2500
    U, V = rng.random((m, d)), rng.random((n, d))
    c, e = rng.normal(size=(m, 2)), rng.normal(size=n)
    kept = [array.copy() for array in (U, V, c, e)]
    for array in (U, V, c, e):
        array.flags.writeable = False

    def results(U, V, c, e, n_threads):
        sums = PairSums(
            LOCAL_KERNELS[name], h, U, V, boundary="reflect", method=method,
            n_threads=n_threads,
        )  # fmt: skip
        return sums.to_targets(c), sums.to_reference(e), sums.to_reference(e, 2)

    one = results(U, V, c, e, 1)
    F, lists = np.asfortranarray, [array.tolist() for array in (U, V, c, e)]
    strided = np.repeat(e, 2)[::2]
    for other in (
        results(U, V, c, e, 2),
        results(U, V, c, e, 4),
        results(F(U), F(V), F(c), strided, 1),
        results(*lists, 2),
    ):
        for a, b in zip(one, other):
            assert_array_equal(a, b)
    for array, copy in zip((U, V, c, e), kept):
        assert_array_equal(array, copy)


def test_results_follow_the_rows(rng):
    kernel, U, V = LOCAL_KERNELS["gaussian"], rng.random((400, 2)), rng.random((300, 2))
    sums = PairSums(kernel, 0.02, U, V, boundary="reflect", method="cells")
    p, q = rng.permutation(400), rng.permutation(300)
    turned = PairSums(kernel, 0.02, U[p], V[q], boundary="reflect", method="cells")
    c, e = rng.random(400), rng.random(300)
    assert_allclose(turned.to_targets(c[p]), sums.to_targets(c)[q], rtol=1e-12)
    assert_allclose(turned.to_reference(e[q]), sums.to_reference(e)[p], rtol=1e-12)


def test_rows_of_one():
    kernel, point = LOCAL_KERNELS["epanechnikov"], np.array([[0.5]])
    for method in ("brute", "cells", "prefix", "auto"):
        sums = PairSums(kernel, 0.1, point, point, method=method)
        assert_allclose(sums.to_targets([2.0]), [15.0])
        assert_allclose(sums.to_reference([2.0], 2), [225.0])


@pytest.mark.parametrize(
    ("name", "d", "h", "boundary", "method"),
    [
        ("gaussian", 2, 0.002, "reflect", "cells"),
        ("gaussian", 3, 0.3, "reflect", "cosine"),
        ("gaussian", 1, 0.3, "none", "brute"),
        ("triweight", 1, 0.1, "reflect", "prefix"),
        ("triweight", 1, 1e-4, "reflect", "cells"),
        ("triweight", 1, 0.7, "reflect", "brute"),
        ("tricube", 2, 0.02, "none", "cells"),
    ],
)
def test_auto_takes_the_quickest_route(name, d, h, boundary, method, rng):
    U, V = rng.random((3000, d)), rng.random((2000, d))
    assert PairSums(LOCAL_KERNELS[name], h, U, V, boundary=boundary).method == method


def test_auto_leaves_the_series_where_most_targets_are_far(rng):
    U, V = 0.02 * rng.random((3000, 1)), 1 - 0.02 * rng.random((3000, 1))
    kernel = LOCAL_KERNELS["gaussian"]
    sums = PairSums(kernel, 0.05, U, V, boundary="reflect")
    assert sums.method == "brute"
    assert PairSums(kernel, 0.05, U, U, boundary="reflect").method == "cosine"
    exact = dense(kernel, 0.05, U, V[:50], "reflect").sum(axis=0)
    assert_allclose(sums.to_targets(np.ones(3000))[:50], exact, rtol=AGREE)


@pytest.mark.parametrize(
    ("name", "d", "h"),
    [("gaussian", 2, 0.002), ("gaussian", 1, 0.2), ("triweight", 1, 0.01)],
)
def test_memory_is_linear_in_the_rows(name, d, h, rng):
    n = 100_000
    U, V, c, e = rng.random((n, d)), rng.random((n, d)), np.ones((n, 2)), np.ones(n)
    tracemalloc.start()
    sums = PairSums(LOCAL_KERNELS[name], h, U, V, boundary="reflect")
    sums.to_targets(c)
    sums.to_reference(e)
    sums.to_reference(e, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boundary": "periodic"}, "boundary must be one of"),
        ({"method": "fast"}, "method must be one of"),
        ({"bandwidth": 0.0}, "bandwidth must be a positive"),
        ({"bandwidth": np.nan}, "bandwidth must be a positive"),
        ({"reference": np.full((3, 2), 1.1)}, "reference must lie in the unit cube"),
        ({"targets": np.full((3, 2), np.nan)}, "targets must lie in the unit cube"),
        ({"targets": np.zeros(3)}, "targets must be a matrix"),
        ({"targets": np.zeros((0, 2))}, "targets must be a matrix"),
        ({"targets": np.zeros((3, 1))}, "same number of columns"),
        ({"method": "prefix"}, "does not apply"),
        ({"method": "cosine"}, "does not apply"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    given = {
        "bandwidth": 0.1,
        "reference": np.zeros((3, 2)),
        "targets": np.zeros((2, 2)),
    }
    with pytest.raises(ValueError, match=message):
        PairSums(LOCAL_KERNELS["gaussian"], **(given | change))


def test_bad_weights_are_refused():
    sums = PairSums(LOCAL_KERNELS["gaussian"], 0.1, np.zeros((3, 2)), np.zeros((2, 2)))
    for c in (np.ones(2), np.ones((3, 1, 1))):
        with pytest.raises(ValueError, match="c must have one row"):
            sums.to_targets(c)
    with pytest.raises(ValueError, match="one value for each of 2"):
        sums.to_reference(np.ones(3))
    with pytest.raises(ValueError, match="power must be 1 or 2"):
        sums.to_reference(np.ones(2), 3)
