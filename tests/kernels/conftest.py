"""Kernel matrices by brute force, straight from the formulas."""

import numpy as np
import pytest

from causalweights.kernels import Energy, Gaussian, Laplace, Linear, Matern, Polynomial


def formula(kernel, X, Y):
    """Return the matrix of one of the six families in float64."""
    X, Y = np.asarray(X, dtype=np.float64), np.asarray(Y, dtype=np.float64)
    if isinstance(kernel, Linear):
        return X @ Y.T + kernel.constant
    if isinstance(kernel, Polynomial):
        return (kernel.gamma * (X @ Y.T) + kernel.constant) ** kernel.degree
    gaps = X[:, None, :] - Y[None, :, :]
    if isinstance(kernel, Laplace):
        return np.exp(-np.abs(gaps).sum(axis=2) / kernel.bandwidth)
    r = np.sqrt(np.sum(gaps**2, axis=2))
    if isinstance(kernel, Energy):
        z = 0.0 if kernel.origin is None else np.array(kernel.origin)
        x, y = np.linalg.norm(X - z, axis=1), np.linalg.norm(Y - z, axis=1)
        return 0.5 * (x[:, None] + y - r)
    if isinstance(kernel, Gaussian):
        return np.exp(-(r**2) / (2 * kernel.bandwidth**2))
    assert isinstance(kernel, Matern)
    u = r / kernel.bandwidth
    return {0.5: 1.0, 1.5: 1 + u, 2.5: 1 + u + u**2 / 3}[kernel.nu] * np.exp(-u)


@pytest.fixture
def brute_force():
    """Return ``(kernel, X, Y) -> matrix``."""
    return formula


@pytest.fixture
def two_samples():
    """Return ``(n, m, d, seed) -> X, Y``: normal samples with shifted means."""

    def draw(n, m, d, seed=0):
        rng = np.random.default_rng(seed)
        return rng.normal(size=(n, d)), 1.3 * rng.normal(size=(m, d)) + 0.4

    return draw
