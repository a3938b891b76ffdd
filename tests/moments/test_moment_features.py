"""Features of observations and instruments: scale, exactness, smoothed draws."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import laplacian_kernel, rbf_kernel

from causalweights.kernels import median_distance
from causalweights.moments._moment_features import (
    fit_block_scale,
    kernel_features,
    smoothed_rows,
)

N = 120


@pytest.fixture(scope="module")
def blocks():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(N, 2)) * [1.0, 5.0]
    t = np.column_stack([z[:, 0] + rng.normal(size=N), z[:, 1], np.ones(N)])
    return {"instruments": z, "X": t, "y": 3.0 + 2.0 * rng.normal(size=(N, 1))}


def share(n=N):
    return np.full(n, 1 / n)


def test_each_block_is_standardised_and_has_its_own_median(blocks):
    scale = fit_block_scale(blocks, share())
    z, t, y = blocks.values()
    assert scale.columns.tolist() == [0, 1, 2, 5]  # no copy of z2, no constant
    points = scale.transform(np.hstack([z, t, y]))
    expected = 1.0
    for block in (z, t[:, :1], y):
        unit = (block - block.mean(axis=0)) / block.std(axis=0)
        expected = expected * rbf_kernel(unit, gamma=1 / median_distance(unit))
    np.testing.assert_allclose(rbf_kernel(points, gamma=0.5), expected, rtol=1e-9)
    unit = y / y.std()
    assert scale.bandwidth["y"] == pytest.approx(np.sqrt(median_distance(unit) / 2))


def test_laplace_blocks(blocks):
    scale = fit_block_scale(blocks, share(), kernel="laplace")
    points = scale.transform(np.hstack(list(blocks.values())))
    expected = 1.0
    for block in (blocks["instruments"], blocks["X"][:, :1], blocks["y"]):
        unit = block / block.std(axis=0)
        h = median_distance(unit, "cityblock")
        expected = expected * laplacian_kernel(unit, gamma=1 / h)
    found, _ = kernel_features(points, "laplace", None)
    np.testing.assert_allclose(found @ found.T, expected, atol=1e-8)


def test_units_do_not_matter_and_a_number_is_in_standard_deviations(blocks):
    moved = {k: 100.0 * v - 7.0 for k, v in blocks.items()}
    rows, there = np.hstack(list(blocks.values())), np.hstack(list(moved.values()))
    first, second = fit_block_scale(blocks, share()), fit_block_scale(moved, share())
    np.testing.assert_allclose(
        first.transform(rows), second.transform(there), atol=1e-10
    )
    wide = fit_block_scale(blocks, share(), 2.0)
    assert set(wide.bandwidth.values()) == {2.0}
    np.testing.assert_allclose(wide.transform(rows).std(axis=0), 0.5, rtol=1e-10)


def test_weights_of_the_scale_are_copies_of_rows(blocks):
    counts = np.random.default_rng(1).integers(1, 4, N)
    rows = {k: np.repeat(v, counts, axis=0) for k, v in blocks.items()}
    copied = fit_block_scale(rows, share(counts.sum()), 1.0)
    weighted = fit_block_scale(blocks, counts / counts.sum(), 1.0)
    np.testing.assert_allclose(copied.scale, weighted.scale, rtol=1e-12)
    np.testing.assert_allclose(copied.center, weighted.center, rtol=1e-12)


def test_constant_blocks_are_refused_or_left_out(blocks):
    flat = {"y": np.ones((N, 1))}
    with pytest.raises(ValueError, match="columns of y are constant"):
        fit_block_scale(flat, share())
    scale = fit_block_scale({**blocks, **flat}, share())
    assert "y" not in scale.bandwidth


def test_all_landmarks_are_the_exact_kernel(blocks):
    scale = fit_block_scale(blocks, share())
    points = scale.transform(np.hstack(list(blocks.values())))
    K = rbf_kernel(points, gamma=0.5)
    exact, _ = kernel_features(points, n_components=None)
    np.testing.assert_allclose(exact @ exact.T, K, atol=1e-8)
    few, mapping = kernel_features(points, n_components=20)
    assert few.shape == (N, 20)
    assert np.all(np.sum(few**2, axis=1) <= 1 + 1e-12)
    np.testing.assert_allclose(mapping.transform(points)[0], few, atol=1e-8)


def test_row_order_does_not_change_the_kernel(blocks):
    scale = fit_block_scale(blocks, share())
    points = scale.transform(np.hstack(list(blocks.values())))
    order = np.random.default_rng(2).permutation(N)
    first, _ = kernel_features(points, n_components=20)
    second, _ = kernel_features(points[order], n_components=20)
    np.testing.assert_allclose(
        second @ second.T, (first @ first.T)[np.ix_(order, order)], atol=1e-10
    )


def test_smoothed_rows(blocks):
    rows = np.hstack(list(blocks.values()))
    rng = np.random.RandomState(0)
    picked, draws = smoothed_rows(rows, share(), 2 * N, 0.3, rng)
    assert np.all(np.bincount(picked) == 2)
    assert np.all(draws[:, 4] == 1.0)  # a constant stays
    np.testing.assert_allclose(
        draws[:, 1] - draws[:, 3],
        0.0,
        atol=1e-12,  # copies move together
    )
    picked, still = smoothed_rows(rows, share(), N, 0.0, np.random.RandomState(0))
    np.testing.assert_array_equal(still, rows[picked])
    _, large = smoothed_rows(rows, share(), 200 * N, 0.3, rng)
    np.testing.assert_allclose(
        large.std(axis=0)[[0, 5]], rows.std(axis=0)[[0, 5]] * np.sqrt(1.09), rtol=0.01
    )
