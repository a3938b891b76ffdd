"""The bandwidth of two pooled samples."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from causalweights.kernels import Gaussian, Laplace, median_distance
from causalweights.shift import _bandwidth
from causalweights.shift._bandwidth import neighbor_distance, pooled_kernel


@pytest.mark.parametrize(
    ("n", "sigma"), [(200, 0.8187057775), (500, 0.5403510102), (1000, 0.3912692007)]
)
def test_reference_values(n, sigma, design_a):
    X = np.vstack(design_a(n, 0))
    assert neighbor_distance(X) == pytest.approx(sigma, abs=1e-9)


@pytest.mark.parametrize("d", [1, 3, 20])
def test_it_is_the_mean_distance_to_an_other_row(d, rng):
    X = rng.normal(size=(70, d))
    X[40:45] = X[0]  # copies are other rows
    distances = np.sort(cdist(X, X), axis=1)  # the row itself comes first
    for k in (1, 3, 50):
        # Many columns go by inner products, which round copies to 1e-8 apart.
        found = neighbor_distance(X, k)
        assert found == pytest.approx(distances[:, k].mean(), abs=1e-8)


def test_few_rows_and_copies(rng):
    X = rng.normal(size=(10, 2))
    assert neighbor_distance(X) == pytest.approx(cdist(X, X).max(axis=1).mean())
    # Half of the rows and more have 50 copies: the others' distances are averaged.
    mostly = np.vstack([np.zeros((80, 1)), np.ones((10, 1))])
    assert neighbor_distance(mostly) == 1.0
    two = np.repeat([[0.0], [2.0]], 60, axis=0)
    assert neighbor_distance(two) == 1.0  # the standard deviation
    assert neighbor_distance(np.zeros((5, 2))) == 1.0


def test_many_rows_are_drawn(monkeypatch, rng):
    X = rng.normal(size=(400, 2))
    exact = neighbor_distance(X)
    monkeypatch.setattr(_bandwidth, "EXACT_ROWS", 300)
    drawn = neighbor_distance(X)
    assert drawn != exact and drawn == pytest.approx(exact, rel=0.05)
    assert drawn == neighbor_distance(X)
    assert drawn != neighbor_distance(X, random_state=1)
    monkeypatch.setattr(_bandwidth, "EXACT_ROWS", 399)
    # All but one row: the same neighbours, the row itself not counted.
    assert neighbor_distance(X) == pytest.approx(exact, rel=0.01)


def test_rules_and_kernels(rng):
    X = rng.normal(size=(80, 2))
    assert pooled_kernel("gaussian", "50nn", X, None) == Gaussian(neighbor_distance(X))
    half = np.sqrt(median_distance(X) / 2)
    assert pooled_kernel("gaussian", "median", X, None) == Gaussian(half)
    assert pooled_kernel("gaussian", 0.7, X, None) == Gaussian(0.7)
    assert pooled_kernel(Laplace(0.3), "50nn", X, None) == Laplace(0.3)
    resolved = pooled_kernel(Laplace("median"), "50nn", X, None)
    assert resolved == Laplace(median_distance(X, "cityblock"))
