"""Simulate the setups A-D of Nie and Wager (2021) and E, F of Fisher (2024)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy.special import expit
from sklearn.utils import Bunch

from causalweights.datasets._draws import (
    Array,
    RandomStateLike,
    as_generator,
    check_sigma,
    check_size,
    with_truth,
)

# E[log(1 + exp(Z))] for a standard normal Z, by quadrature (error below 1e-13)
MEAN_SOFTPLUS = 0.8060591833474
MIN_FEATURES = {"A": 5, "B": 5, "C": 3, "D": 5}


def _setup_a(x: Array) -> tuple[Array, Array, Array]:
    """Return baseline b, propensity e and effect tau of setup A: smooth, confounded."""
    interaction = np.sin(np.pi * x[0] * x[1])
    b = interaction + 2 * (x[2] - 0.5) ** 2 + x[3] + 0.5 * x[4]
    return b, np.clip(interaction, 0.1, 0.9), (x[0] + x[1]) / 2


def _setup_b(x: Array) -> tuple[Array, Array, Array]:
    """Return b, e, tau of setup B: a randomised trial."""
    b = np.maximum.reduce([np.zeros_like(x[0]), x[0] + x[1], x[2]])
    b = b + np.maximum(0, x[3] + x[4])
    return b, np.full_like(x[0], 0.5), x[0] + np.logaddexp(0, x[1])


def _setup_c(x: Array) -> tuple[Array, Array, Array]:
    """Return b, e, tau of setup C: easy propensity, hard baseline, constant effect."""
    b = 2 * np.logaddexp(0, x[0] + x[1] + x[2])
    return b, expit(-(x[1] + x[2])), np.ones_like(x[0])


def _setup_d(x: Array) -> tuple[Array, Array, Array]:
    """Return b, e, tau of setup D: unrelated arms."""
    first, second = np.maximum(x[0] + x[1] + x[2], 0), np.maximum(x[3] + x[4], 0)
    e = 1 / (1 + np.exp(-x[0]) + np.exp(-x[1]))
    return (first + second) / 2, e, first - second


def _setup_e(x: Array) -> tuple[Array, Array, Array]:
    """Return b, e, tau of setup E: a jump in the propensity, a piecewise baseline."""
    v = x[0]
    pieces = [0.5 * (v + 2) ** 2, v / 2 + 0.875, -5 * (v - 0.2) ** 2 + 1.075]
    b = np.select([v <= -0.5, v <= 0, v <= 0.5], pieces, default=v + 0.125)
    return b, 0.1 + 0.8 * (v > 0), np.zeros_like(v)


def _setup_f(x: Array) -> tuple[Array, Array, Array]:
    """Return b, e, tau of setup F: nothing but a propensity equal to the covariate."""
    return np.zeros_like(x[0]), x[0], np.zeros_like(x[0])


# law of the covariates (None = standard normal, else uniform bounds), functions, ATE
SETUPS: dict[
    str,
    tuple[
        tuple[float, float] | None,
        Callable[[Array], tuple[Array, Array, Array]],
        float,
    ],
] = {
    "A": ((0.0, 1.0), _setup_a, 0.5),
    "B": (None, _setup_b, MEAN_SOFTPLUS),
    "C": (None, _setup_c, 1.0),
    # half-normal means: (sqrt(3) - sqrt(2)) / sqrt(2 pi)
    "D": (None, _setup_d, (np.sqrt(3) - np.sqrt(2)) / np.sqrt(2 * np.pi)),
    "E": ((-1.0, 1.0), _setup_e, 0.0),
    "F": ((0.05, 0.95), _setup_f, 0.0),
}


def make_nie_wager(
    n_samples: int = 500,
    n_features: int | None = None,
    *,
    setup: Literal["A", "B", "C", "D", "E", "F"] = "A",
    sigma: float = 1.0,
    random_state: RandomStateLike = None,
) -> Bunch:
    """Simulate the effect-heterogeneity setups A-D of Nie and Wager, E and F of Fisher.

    The outcome is b(X) + (A - 1/2) tau(X) + sigma N(0, 1) with A ~ Bernoulli(e(X)).

    Parameters
    ----------
    n_samples : int, default=500
        Number of rows.
    n_features : int or None, default=None
        Number of covariates, of which at most five matter. None gives 10 in setups A-D.
        A, B and D need at least 5, C at least 3; E and F have exactly one.
    setup : {"A", "B", "C", "D", "E", "F"}, default="A"
        ``"A"`` confounded and smooth; ``"B"`` randomised trial; ``"C"`` easy propensity
        and constant effect 1; ``"D"`` unrelated arms; ``"E"`` (Kennedy) propensity .1
        or .9 and no effect; ``"F"`` propensity equal to the covariate, no effect.
    sigma : float, default=1.0
        Standard deviation of the noise.
    random_state : int, Generator, RandomState or None, default=None
        Seed or generator of the draws.

    Returns
    -------
    data : Bunch
        Arrays ``X`` (n, n_features), ``y``, ``treatment`` (0/1), ``propensity``,
        ``mu0``, ``mu1``, ``cate``, ``baseline`` b(X), each (n,); floats ``true_ate``,
        the population value in closed form (setup B by quadrature), ``true_att`` and
        ``sample_ate``, averages of ``cate`` over the treated and over all rows drawn.

    References
    ----------
    Nie, X. and Wager, S. (2021). Quasi-oracle estimation of heterogeneous treatment
    effects. Biometrika 108, 299-319, Section 6. Fisher, A. (2024). The connection
    between R-learning and inverse-variance weighting for estimation of heterogeneous
    treatment effects. ICML (setups E and F).

    Examples
    --------
    >>> from causalweights.datasets import make_nie_wager
    >>> data = make_nie_wager(100, 6, setup="C", random_state=0)
    >>> data.X.shape, data.true_ate, data.true_att
    ((100, 6), 1.0, 1.0)
    """
    n = check_size(n_samples, "n_samples")
    scale = check_sigma(sigma)
    if setup not in SETUPS:
        raise ValueError(f"setup must be one of {list(SETUPS)}; got {setup!r}")
    if setup in MIN_FEATURES:
        p = 10 if n_features is None else n_features
        p = check_size(p, f'n_features of setup "{setup}"', MIN_FEATURES[setup])
    elif n_features in (None, 1):
        p = 1
    else:
        raise ValueError(f'setup "{setup}" has one covariate; got {n_features!r}')
    bounds, functions, true_ate = SETUPS[setup]
    rng = as_generator(random_state)
    if bounds is None:
        X = rng.standard_normal(size=(n, p))
    else:
        X = rng.uniform(*bounds, size=(n, p))
    baseline, propensity, tau = functions(X.T)
    treatment = (rng.uniform(size=n) < propensity).astype(np.int64)
    y = baseline + (treatment - 0.5) * tau + scale * rng.standard_normal(size=n)
    return with_truth(
        X,
        y,
        treatment,
        propensity=propensity,
        mu0=baseline - tau / 2,
        mu1=baseline + tau / 2,
        true_ate=true_ate,
        baseline=baseline,
    )
