"""Pointwise and uniform confidence bands of linear estimators of a function."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

import numpy as np
from scipy.stats import norm
from sklearn.utils import check_random_state

from causalweights._typing import FloatArray
from causalweights._validation import check_groups
from causalweights.inference._arm_means import cluster_sums

BandKind = Literal["pointwise", "uniform"]
Multiplier = Literal["gaussian", "rademacher", "mammen"]

KINDS: tuple[str, ...] = ("pointwise", "uniform")
MULTIPLIERS: tuple[str, ...] = ("gaussian", "rademacher", "mammen")
# Entries of the largest temporary array.
_ENTRIES = 4_000_000
_GOLDEN = (1 + np.sqrt(5)) / 2


@dataclass(frozen=True, slots=True, eq=False)
class ConfidenceBand:
    """Half width of a band around m estimates.

    Attributes
    ----------
    se : ndarray of shape (m,)
        Standard errors.
    half_width : ndarray of shape (m,)
        ``critical_value * se``.
    critical_value : float
    kind : {"pointwise", "uniform"}
    level : float
    """

    se: FloatArray
    half_width: FloatArray
    critical_value: float
    kind: str
    level: float


def confidence_band(
    A: Any,
    S: Any,
    level: float = 0.95,
    kind: BandKind = "pointwise",
    *,
    groups: Any = None,
    n_draws: int = 1000,
    random_state: Any = None,
    multiplier: Multiplier = "gaussian",
) -> ConfidenceBand:
    r"""Return the half width of a confidence band around estimates of a function.

    Parameters
    ----------
    A : array-like of shape (m, p)
    S : array-like of shape (p, n)
        What ``linear_influence(X)`` of a learner returns: row i of the data contributes
        ``(A @ S)[:, i]`` to the error of the m estimates.
    level : float, default=0.95
        Coverage of each interval (pointwise) or of all at once (uniform).
    kind : {"pointwise", "uniform"}, default="pointwise"
    groups : array-like of shape (n,) or None, default=None
        Clusters: contributions are summed within them, times sqrt(G / (G - 1)).
    n_draws : int, default=1000
        Draws of the multiplier bootstrap; uniform bands only.
    random_state : int, RandomState instance or None, default=None
        Seed of the draws; None is seed 0.
    multiplier : {"gaussian", "rademacher", "mammen"}, default="gaussian"
        Law of the multipliers, of mean zero and variance one.

    Returns
    -------
    ConfidenceBand

    Raises
    ------
    ValueError
        For shapes that do not fit, values that are not finite, options out of range and
        a single cluster.

    Notes
    -----
    Pointwise the critical value is the normal quantile. Uniform it is the quantile of

    .. math:: \max_x \Big| \sum_i (A S)_{xi} \, \xi_i \Big| \Big/ se(x)

    over draws of independent multipliers :math:`\xi`, one a cluster with groups
    (Chernozhukov, Chetverikov & Kato, 2014; Semenova & Chernozhukov, 2021). Points of
    standard error zero are left out of the maximum. The band takes the bias of the
    estimates to be small beside their standard errors.

    O(p (n + m) n_draws) time for the draws, 32 MB of memory beside A and S. Products
    with an identity A are left out.

    References
    ----------
    .. [1] Chernozhukov, Chetverikov & Kato (2014), Anti-concentration and honest,
       adaptive confidence bands, Annals of Statistics 42.
    .. [2] Semenova & Chernozhukov (2021), Debiased machine learning of conditional
       average treatment effects and other causal functions, Econometrics Journal 24.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.inference import confidence_band
    >>> rng = np.random.default_rng(0)
    >>> S = rng.normal(size=(3, 400)) / 20
    >>> A = rng.normal(size=(50, 3))
    >>> confidence_band(A, S).critical_value
    1.96
    >>> 2.2 < confidence_band(A, S, kind="uniform").critical_value < 3.3
    True
    """
    A, S = _check_factors(A, S)
    _check_options(level, kind, n_draws, multiplier)
    labels = check_groups(groups, S.shape[1])
    if labels is not None:
        sums = cluster_sums(S.T, labels).T
        S = sums * np.sqrt(sums.shape[1] / (sums.shape[1] - 1))
    # Of a local smoother: A would cost more than all the rest.
    plain = A.shape[0] == A.shape[1] and np.array_equal(A, np.eye(len(A)))
    factor = None if plain else A
    se = standard_errors(factor, S)
    critical = float(norm.ppf(0.5 + level / 2))
    if kind == "uniform":
        rng = check_random_state(0 if random_state is None else random_state)
        maxima = multiplier_maxima(factor, S, se, n_draws, rng, multiplier)
        critical = float(np.quantile(maxima, level, method="higher"))
    return ConfidenceBand(se, critical * se, critical, kind, level)


def standard_errors(A: FloatArray | None, S: FloatArray) -> FloatArray:
    """Return the root sums of squares of the rows of A S (of S for None), (m,)."""
    if A is None:
        return np.sqrt(np.einsum("ij,ij->i", S, S))
    # With more columns than points S S' would be the larger product.
    if S.shape[0] <= len(A):
        return np.sqrt(np.maximum(np.einsum("ij,ij->i", A @ (S @ S.T), A), 0.0))
    squares = np.zeros(len(A))
    width = max(1, _ENTRIES // len(A))
    for start in range(0, S.shape[1], width):
        part = A @ S[:, start : start + width]
        squares += np.einsum("ij,ij->i", part, part)
    return np.sqrt(squares)


def multiplier_maxima(
    A: FloatArray | None,
    S: FloatArray,
    se: FloatArray,
    n_draws: int,
    rng: np.random.RandomState,
    multiplier: str,
) -> FloatArray:
    """Return draws of the largest absolute standardised error, (n_draws,)."""
    inverse = np.divide(1.0, se, out=np.zeros_like(se), where=se > 0)
    out = np.empty(n_draws)
    width = max(1, _ENTRIES // max(S.shape[1], len(se)))
    for start in range(0, n_draws, width):
        stop = min(start + width, n_draws)
        # S first: what follows has p rows and not n.
        errors = S @ draw_multipliers(rng, (stop - start, S.shape[1]), multiplier).T
        errors = errors if A is None else A @ errors
        out[start:stop] = np.max(np.abs(errors) * inverse[:, None], axis=0)
    return out


def draw_multipliers(
    rng: np.random.RandomState, shape: tuple[int, int], multiplier: str
) -> FloatArray:
    """Return independent draws of mean zero and variance one."""
    if multiplier == "gaussian":
        return rng.standard_normal(shape)
    uniform = rng.random_sample(shape)
    if multiplier == "rademacher":
        return np.where(uniform < 0.5, -1.0, 1.0)
    # Mammen's two points, of third moment one as well.
    return np.where(uniform < _GOLDEN / np.sqrt(5), 1 - _GOLDEN, _GOLDEN)


def _check_factors(A: Any, S: Any) -> tuple[FloatArray, FloatArray]:
    A, S = np.asarray(A, dtype=np.float64), np.asarray(S, dtype=np.float64)
    if A.ndim != 2 or S.ndim != 2 or A.shape[1] != S.shape[0] or 0 in A.shape:
        raise ValueError(
            f"A has shape {A.shape}, S {S.shape}: pass (m, p) and (p, n), as a "
            "learner's linear_influence(X) returns them, for at least one point."
        )
    if not (np.all(np.isfinite(A)) and np.all(np.isfinite(S))):
        raise ValueError("A and S must be finite.")
    return A, S


def _check_options(level: Any, kind: Any, n_draws: Any, multiplier: Any) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level!r}.")
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r} is unknown: choose 'pointwise' or 'uniform'.")
    if not isinstance(n_draws, Integral) or n_draws < 1:
        raise ValueError(f"n_draws must be a whole number from 1 on, got {n_draws!r}.")
    if multiplier not in MULTIPLIERS:
        raise ValueError(
            f"multiplier={multiplier!r} is unknown: choose one of "
            f"{', '.join(map(repr, MULTIPLIERS))}."
        )
