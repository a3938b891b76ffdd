"""The samples and matrices that the cases share."""

from __future__ import annotations

import numpy as np

RIDGE = 1e-2
KERNELS = ("Gaussian", "energy")


def shifted_samples(n: int, m: int, d: int = 10, seed: int = 0):
    """Return n source rows N(0, I) and m target rows N(0.3, I)."""
    rng = np.random.default_rng([seed, n, m, d])
    return rng.normal(size=(n, d)), rng.normal(0.3, 1.0, size=(m, d))


def make_kernel(name: str, *samples: np.ndarray):
    """Return a kernel of this package, its bandwidth by the median rule."""
    from causalweights.kernels import Energy, Gaussian, Laplace

    family = {"Gaussian": Gaussian, "Laplace": Laplace, "energy": Energy}[name]
    return family().resolve(np.vstack(samples))


def warm_up() -> None:
    """Compile, or load from the cache, what the package compiles."""
    X, T = shifted_samples(40, 20, 3)
    for name in ("Gaussian", "Laplace", "energy"):
        kernel = make_kernel(name, X, T)
        for rows in (X, X.astype(np.float32)):
            operator = kernel.operator(rows)
            operator.dense()
            operator.matvec(np.ones(40))
            operator.low_rank(rank=3)
        kernel.operator(X, T).row_mean()
