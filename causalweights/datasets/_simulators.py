"""Simulate the two designs of Kong et al. (2023), with propensity and true effect."""

from __future__ import annotations

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

KS_MEAN, KS_FIRST, KS_OTHERS = 210.0, 27.4, 13.7
KONG_SCORE_VARIANCE, KONG_OUTCOME_VARIANCE = 0.5, 0.1


def make_kang_schafer(
    n_samples: int = 200,
    *,
    design: Literal["Z", "X", "Z2"] = "Z",
    sigma: float = 1.0,
    random_state: RandomStateLike = None,
) -> Bunch:
    """Simulate the Kang-Schafer variant of Kong et al.: no effect, hidden covariates.

    Four standard normal ``Z`` drive the outcome, 210 + 27.4 Z1 + 13.7 (Z2 + Z3 + Z4) +
    noise; the analyst sees only the nonlinear ``X``. Treatment changes nothing, so the
    true effect is exactly zero, while the raw difference in means is far from it.

    Parameters
    ----------
    n_samples : int, default=200
        Number of rows.
    design : {"Z", "X", "Z2"}, default="Z"
        Logit of the propensity: ``"Z"`` linear in ``Z``, hence nonlinear in ``X``
        (about 50 % treated); ``"X"`` linear in ``X`` (about 43 %); ``"Z2"`` twice that
        of ``"Z"``, with little overlap.
    sigma : float, default=1.0
        Standard deviation of the noise.
    random_state : int, Generator, RandomState or None, default=None
        Seed or generator of the draws.

    Returns
    -------
    data : Bunch
        Arrays ``X`` (n, 4), ``latent`` (n, 4) the hidden Z, ``y``, ``treatment`` (0/1),
        ``propensity``, ``mu0``, ``mu1``, ``cate``, each (n,); floats ``true_ate``,
        ``true_att`` and ``sample_ate``, all zero.

    Notes
    -----
    Unlike the missing-data problem of Kang and Schafer (2007), the outcome is observed
    for everybody, and the covariate transformations differ slightly (X2, X3).

    References
    ----------
    Kang, J. and Schafer, J. (2007). Demystifying double robustness. Statistical Science
    22, 523-539. Kong, I. et al. (2023). Covariate balancing using the integral
    probability metric for causal inference. ICML, Section 5.

    Examples
    --------
    >>> from causalweights.datasets import make_kang_schafer
    >>> data = make_kang_schafer(500, design="X", random_state=0)
    >>> data.X.shape, data.true_ate
    ((500, 4), 0.0)
    """
    n = check_size(n_samples, "n_samples")
    scale = check_sigma(sigma)
    if design not in ("Z", "X", "Z2"):
        raise ValueError(f'design must be "Z", "X" or "Z2"; got {design!r}')
    rng = as_generator(random_state)
    latent = rng.standard_normal(size=(n, 4))
    z1, z2, z3, z4 = latent.T
    X = np.column_stack(
        [
            np.exp(z1 / 2),
            z2 / (1 + np.exp(z1)) + 10,
            (z1 * z3 / 25 + 0.6) ** 3,
            (z2 + z4 + 20) ** 2,
        ]
    )
    if design == "X":
        logit = X @ np.array([1.0, -0.5, -2.0, -0.01]) + 8
    else:
        logit = latent @ np.array([-1.0, 0.5, -0.25, -0.1])
        logit = 2 * logit if design == "Z2" else logit
    propensity = expit(logit)
    treatment = (propensity > rng.uniform(size=n)).astype(np.int64)
    mean = KS_MEAN + KS_FIRST * z1 + KS_OTHERS * (z2 + z3 + z4)
    y = mean + scale * rng.standard_normal(size=n)
    return with_truth(
        X,
        y,
        treatment,
        propensity=propensity,
        mu0=mean,
        mu1=mean.copy(),
        true_ate=0.0,
        latent=latent,
    )


def _average_expit(mean: Array, variance: float) -> Array:
    """Integrate expit over N(mean, variance) by Gauss-Hermite quadrature, (n,)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    values = expit(mean[:, None] + np.sqrt(variance) * nodes)
    return values @ (weights / weights.sum())


def make_kong_heterogeneous(
    n_samples: int = 200,
    *,
    row_max: bool = False,
    random_state: RandomStateLike = None,
) -> Bunch:
    """Simulate the heterogeneous-effect design of Kong et al. (2023).

    Six covariates are uniform on (-2, 2); the effect 5 cos(2 x5) depends on one of
    them, and the propensity and both outcome means are strongly nonlinear.

    Parameters
    ----------
    n_samples : int, default=200
        Number of rows.
    row_max : bool, default=False
        How the maxima over several covariates are taken. The authors' R code calls
        ``max`` on whole columns, which returns one number for the sample (about 2);
        False does the same. True takes each row's own maximum, as the formulas read.
    random_state : int, Generator, RandomState or None, default=None
        Seed or generator of the draws.

    Returns
    -------
    data : Bunch
        Arrays ``X`` (n, 6), ``y``, ``treatment`` (0/1), ``propensity``, ``mu0``,
        ``mu1``, ``cate``, each (n,); floats ``true_ate`` = 5 sin(4) / 4 = -0.946, the
        population value, ``true_att`` and ``sample_ate``, averages of ``cate`` over the
        treated and over all rows drawn.

    Notes
    -----
    The logit has normal noise of variance 0.5, so ``propensity`` is the treatment
    probability given ``X``, integrated over that noise. With ``row_max=False`` rows are
    not independent: each depends on the sample's maxima.

    References
    ----------
    Kong, I. et al. (2023). Covariate balancing using the integral probability metric
    for causal inference. ICML, Section 5 and released code.

    Examples
    --------
    >>> from causalweights.datasets import make_kong_heterogeneous
    >>> data = make_kong_heterogeneous(random_state=0)
    >>> data.X.shape, round(data.true_ate, 5)
    ((200, 6), -0.946)
    """
    n = check_size(n_samples, "n_samples")
    rng = as_generator(random_state)
    X = rng.uniform(-2.0, 2.0, size=(n, 6))
    x1, x2, x3, x4, x5, _ = X.T
    axis = 1 if row_max else None
    m123, m345 = X[:, :3].max(axis=axis), X[:, 2:5].max(axis=axis)
    m16 = X[:, [0, 5]].max(axis=axis)
    score = (
        (np.sin(m123) + m345**2) / (2 + (x1 + x5) ** 2)
        + 4 * x1**3 * np.sin(3 * x3) * (1 + np.exp(x4 - 0.5 * x3))
        + x3**2
        + 2 * np.sin(x4) * x5**2
        - 3
    )
    noise = np.sqrt(KONG_SCORE_VARIANCE) * rng.standard_normal(size=n)
    treatment = (expit(score + noise) > rng.uniform(size=n)).astype(np.int64)
    mu0 = (
        2 * (x1 - 2) ** 2
        + m16**3 / (1 + 2 * x3**2) * np.sin(x2) / (x2**2 + 1)
        + 3 * (2 * x4 - 1) ** 2
    )
    mu1 = mu0 + 5 * np.cos(2 * x5)
    mean = np.where(treatment == 1, mu1, mu0)
    y = mean + np.sqrt(KONG_OUTCOME_VARIANCE) * rng.standard_normal(size=n)
    return with_truth(
        X,
        y,
        treatment,
        propensity=_average_expit(score, KONG_SCORE_VARIANCE),
        mu0=mu0,
        mu1=mu1,
        true_ate=5 * np.sin(4.0) / 4,
    )
