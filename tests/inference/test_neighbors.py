"""Neighbors with ties, and residuals from them: brute force, copies, order."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from causalweights.inference import (
    matching_variance,
    nearest_rows,
    neighbor_residuals,
    neighbor_variance,
)


def by_hand(X, y, J):
    """Return the residuals by sorting all distances, ties included."""
    D = cdist(X, X)
    np.fill_diagonal(D, np.inf)
    out = np.empty(len(y))
    for i, row in enumerate(D):
        near = row <= np.sort(row)[J - 1] * (1 + 1e-10)
        count = near.sum()
        out[i] = np.sqrt(count / (count + 1)) * (y[i] - y[near].mean())
    return out


@pytest.mark.parametrize("J", [1, 3, 4])
@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_residuals_by_brute_force(J, decimals, rng):
    # Rounded to whole numbers nearly every distance is tied, many rows equal.
    X, y = rng.normal(size=(80, 2)).round(decimals), rng.normal(size=80)
    found = neighbor_residuals(X, y, np.zeros(80, dtype=int), n_neighbors=J)
    assert np.allclose(found, by_hand(X, y, J), atol=1e-12)
    variance = neighbor_variance(X, y, np.zeros(80, dtype=int), n_neighbors=J)
    assert np.allclose(variance, found**2, atol=1e-15)


def test_frequencies_are_copies(rng):
    X, y = rng.normal(size=(30, 2)).round(1), rng.normal(size=30)
    codes, times = np.arange(30) % 2, rng.integers(1, 4, 30)
    weighted = neighbor_residuals(X, y, codes, frequency=times)
    copied = neighbor_residuals(*(np.repeat(v, times, axis=0) for v in (X, y, codes)))
    assert np.allclose(np.repeat(weighted, times), copied, atol=1e-12)


def test_residuals_estimate_the_noise(rng):
    X = rng.uniform(size=(4000, 1))
    y = np.sin(3 * X[:, 0]) + 0.5 * rng.normal(size=4000)
    variance = neighbor_variance(X, y, np.zeros(4000, dtype=int))
    assert variance.mean() == pytest.approx(0.25, rel=0.08)


def test_nearest_rows_share_ties_and_count_equal_rows():
    X = np.array([[0.0], [2.0], [2.0], [5.0]])
    found = nearest_rows(X, np.array([[1.0], [1.9], [4.0]])).toarray()
    expected = [[1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]]
    assert found.tolist() == expected


def test_too_few_rows_are_refused():
    X, y = np.zeros((4, 1)), np.zeros(4)
    with pytest.raises(ValueError, match="arm 0 offers 3 others in the arm"):
        neighbor_residuals(X, y, np.zeros(4, dtype=int), n_neighbors=4)


def test_variance_of_frequencies_is_that_of_copies(rng):
    n = 12
    codes, times = np.arange(n) % 2, rng.integers(1, 4, n)
    masses, squares = rng.uniform(1, 2, n), rng.uniform(0, 0.01, n)
    for arm in (0, 1):
        own = codes == arm
        masses[own] /= masses[own] @ times[own]
    target = np.full(n, 1 / times.sum())
    sigma2, imputed = rng.uniform(size=n), rng.normal(size=(n, 2))
    weighted = matching_variance(
        codes, masses * times, target * times, sigma2, imputed=imputed,
        squared_shares=squares * times, frequency=times,
    ).cov  # fmt: skip
    copied = matching_variance(
        *(np.repeat(v, times) for v in (codes, masses, target, sigma2)),
        imputed=np.repeat(imputed, times, axis=0),
        squared_shares=np.repeat(squares, times),
    ).cov
    assert np.allclose(weighted, copied, atol=1e-12)
