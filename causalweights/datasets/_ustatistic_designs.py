"""Simulate what a two-sample U-statistic is made for, and what breaks it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import expit
from scipy.stats import norm
from sklearn.utils import Bunch

from causalweights.datasets._draws import (
    Array,
    RandomStateLike,
    as_generator,
    check_size,
    with_truth,
)

# Waves of the rough functions: cos(2 pi 2^k u) for k up to this.
_FINEST = 6
_STRENGTH = 0.9
_TILT = 0.8


def rough_wave(u: Array, smoothness: float) -> Array:
    """Return sum_k 2^(-k s) cos(2 pi 2^k u), k = 0..6: Hoelder s up to that scale."""
    k = np.arange(_FINEST + 1)
    return np.cos(2 * np.pi * u[..., None] * 2.0**k) @ 2.0 ** (-k * smoothness)


def make_rough_ratio(
    n_samples: int = 500,
    *,
    alpha: float = 0.3,
    beta: float = 0.3,
    random_state: RandomStateLike = None,
) -> Bunch:
    """Simulate a density ratio and an outcome of known, possibly low, smoothness.

    Half of the rows are controls. On the uniform scale of their one covariate the
    treated have density 1 + 0.9 S_alpha(u) / S_alpha(0), and the outcome's mean is
    2 S_beta(u) plus the treatment, S_s a sum of waves cos(2 pi 2^k u) of size 2^(-k s).
    The ATT is 1; the analyst sees the standard normal quantile of u.

    Parameters
    ----------
    n_samples : int, default=500
        Number of rows, even.
    alpha, beta : float, default=0.3
        Smoothness of ratio and outcome. A root-n estimate needs alpha + beta > 1/2.
    random_state : int, Generator, RandomState or None, default=None
        Seed or generator of the draws.

    Returns
    -------
    data : Bunch
        Arrays ``X`` (n, 1), ``latent`` (n, 1) the uniform scale, ``y``, ``treatment``
        (0/1, controls first), ``propensity``, ``mu0``, ``mu1``, ``cate``, each (n,);
        floats ``true_ate``, ``true_att`` and ``sample_ate``, all 1.

    Examples
    --------
    >>> from causalweights.datasets import make_rough_ratio
    >>> data = make_rough_ratio(400, random_state=0)
    >>> data.X.shape, data.true_att
    ((400, 1), 1.0)
    """
    n = check_size(n_samples, "n_samples", 2)
    if n % 2:
        raise ValueError(f"n_samples must be even, one half a group; got {n}")
    rng = as_generator(random_state)
    ratio_at_zero = float(rough_wave(np.zeros(1), alpha)[0])

    def ratio(u: Array) -> Array:
        return 1 + _STRENGTH * rough_wave(u, alpha) / ratio_at_zero

    treated = _rejected(n // 2, rng, ratio, 1 + _STRENGTH)
    u = np.concatenate([rng.uniform(size=n // 2), treated])
    treatment = np.repeat([0, 1], n // 2)
    mu0 = 2 * rough_wave(u, beta)
    y = mu0 + treatment + rng.standard_normal(n)
    w = ratio(u)
    return with_truth(
        norm.ppf(u)[:, None], y, treatment, propensity=w / (1 + w),
        mu0=mu0, mu1=mu0 + 1, true_ate=1.0, latent=u[:, None],
    )  # fmt: skip


def make_tilted_cube(
    n_samples: int = 400,
    *,
    n_features: int = 2,
    random_state: RandomStateLike = None,
) -> Bunch:
    """Simulate controls uniform on the cube and treated rows tilted to a corner.

    Half of the rows are controls. The treated have density prod_k (1 + 0.8 (2 u_k -
    1)); the outcome's mean is 3 sum_k u_k / sqrt(d) + sin(2 pi u_1) plus the treatment.

    Parameters
    ----------
    n_samples : int, default=400
        Number of rows, even.
    n_features : int, default=2
        Number of covariates d.
    random_state : int, Generator, RandomState or None, default=None
        Seed or generator of the draws.

    Returns
    -------
    data : Bunch
        As `make_rough_ratio`, ``X`` (n, d) itself on the cube. All effects are 1.

    Examples
    --------
    >>> from causalweights.datasets import make_tilted_cube
    >>> data = make_tilted_cube(400, n_features=3, random_state=0)
    >>> data.X.shape, data.true_att
    ((400, 3), 1.0)
    """
    n = check_size(n_samples, "n_samples", 2)
    d = check_size(n_features, "n_features")
    if n % 2:
        raise ValueError(f"n_samples must be even, one half a group; got {n}")
    rng = as_generator(random_state)
    controls = rng.uniform(size=(n // 2, d))
    # The inverse of u + 0.8 (u^2 - u).
    p = rng.uniform(size=(n // 2, d))
    low = 1 - _TILT
    treated = (np.sqrt(low**2 + 4 * _TILT * p) - low) / (2 * _TILT)
    X = np.concatenate([controls, treated])
    treatment = np.repeat([0, 1], n // 2)
    mu0 = 3 * X.sum(axis=1) / np.sqrt(d) + np.sin(2 * np.pi * X[:, 0])
    w = np.prod(1 + _TILT * (2 * X - 1), axis=1)
    return with_truth(
        X, mu0 + treatment + rng.standard_normal(n), treatment,
        propensity=w / (1 + w), mu0=mu0, mu1=mu0 + 1, true_ate=1.0,
    )  # fmt: skip


def make_dependent_normals(
    n_samples: int = 500,
    *,
    n_features: int = 2,
    correlation: float = 0.7,
    random_state: RandomStateLike = None,
) -> Bunch:
    """Simulate equally correlated normal covariates, of which two confound.

    Logit of the propensity -0.2 + 0.6 x1 + 0.4 x2, outcome x1 + x2^2 / 2 + sin(2 x2)
    plus the effect 1 + x1 / 2, noise N(0, 1).

    Parameters
    ----------
    n_samples : int, default=500
        Number of rows.
    n_features : int, default=2
        Number of covariates d >= 2.
    correlation : float, default=0.7
        Of every pair, in [0, 1).
    random_state : int, Generator, RandomState or None, default=None
        Seed or generator of the draws.

    Returns
    -------
    data : Bunch
        Arrays ``X`` (n, d), ``y``, ``treatment`` (0/1), ``propensity``, ``mu0``,
        ``mu1``, ``cate``, each (n,); floats ``true_ate`` = 1, ``true_att`` that of the
        population, by quadrature, and ``sample_ate``.

    Examples
    --------
    >>> from causalweights.datasets import make_dependent_normals
    >>> data = make_dependent_normals(500, random_state=0)
    >>> data.X.shape, round(data.true_att, 4)
    ((500, 2), 1.2018)
    """
    n = check_size(n_samples, "n_samples")
    d = check_size(n_features, "n_features", 2)
    if not 0 <= correlation < 1:
        raise ValueError(f"correlation must lie in [0, 1); got {correlation!r}")
    rng = as_generator(random_state)
    shared = rng.standard_normal((n, 1))
    X = np.sqrt(1 - correlation) * rng.standard_normal((n, d))
    X += np.sqrt(correlation) * shared
    x1, x2 = X[:, 0], X[:, 1]
    propensity = expit(-0.2 + 0.6 * x1 + 0.4 * x2)
    treatment = (rng.uniform(size=n) < propensity).astype(np.int64)
    mu0 = x1 + x2**2 / 2 + np.sin(2 * x2)
    mu1 = mu0 + 1 + x1 / 2
    y = np.where(treatment == 1, mu1, mu0) + rng.standard_normal(n)
    data = with_truth(
        X, y, treatment, propensity=propensity, mu0=mu0, mu1=mu1, true_ate=1.0
    )
    data.true_att = _dependent_att(correlation)
    return data


def _dependent_att(correlation: float) -> float:
    """Return 1 + E[x1 | A = 1] / 2 by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    variance = 0.36 + 0.16 + 0.48 * correlation  # of u = .6 x1 + .4 x2
    u = np.sqrt(variance) * nodes
    e = weights * expit(u - 0.2)
    slope = (0.6 + 0.4 * correlation) / variance
    return float(1 + 0.5 * slope * (u @ e) / e.sum())


def _rejected(
    n: int,
    rng: np.random.Generator | np.random.RandomState,
    density: Callable[[Array], Array],
    bound: float,
) -> Array:
    """Return n draws from a density on [0, 1] with a bound, by rejection."""
    kept: list[Array] = []
    while sum(len(part) for part in kept) < n:
        u, p = rng.uniform(size=(2, 2 * n))
        kept.append(u[p * bound < density(u)])
    return np.concatenate(kept)[:n]
