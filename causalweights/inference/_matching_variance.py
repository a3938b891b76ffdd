"""Variance of matching with replacement, and of weights that amount to it.

Abadie & Imbens (2006), with target masses in the place of equal ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from causalweights._typing import FloatArray, IntArray
from causalweights.inference._neighbors import (
    check_rows,
    distinct_rows,
    neighborhoods,
    require_rows,
)

# How far sums of masses may be from one.
_MASS_ERROR = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class NearestMatching:
    """Matching with replacement on the nearest rows of each arm.

    Attributes
    ----------
    masses : ndarray of shape (n,)
        Sum one in each arm: a row's own target mass plus what is matched to it.
    imputed : ndarray of shape (n, K)
        Outcome of each row under each arm: its own, or its matches' mean.
    squared_shares : ndarray of shape (n,)
        S_j = t_j^2 + sum_i t_i^2 r_ij^2, r_ij the share of row j in the match of i.
    """

    masses: FloatArray
    imputed: FloatArray
    squared_shares: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class MatchingVariance:
    """Covariance of the arm means, and its parts.

    Attributes
    ----------
    cov : ndarray of shape (K, K)
        A contrast with gradient g has variance g' cov g.
    conditional : ndarray of shape (K, K)
        Given covariates and treatments; diagonal.
    target : ndarray of shape (K, K)
        Sampling of the target's covariates: an unbiased estimate, so that in a small
        sample it may have negative directions, while ``cov`` has none. Zero with
        ``inference="sample"``.
    """

    cov: FloatArray
    conditional: FloatArray
    target: FloatArray


def nearest_matching(
    X: FloatArray,
    y: FloatArray,
    codes: IntArray,
    target_masses: FloatArray,
    *,
    n_neighbors: int = 1,
    base: FloatArray | None = None,
) -> NearestMatching:
    """Match each row with the nearest rows of every other arm, with replacement.

    The masses M_j = t_j + sum_i t_i r_ij make sum_j M_j y_j over an arm the target's
    mean of the imputed outcomes. With one neighbor they solve the transport of the
    target to the arm at the least mean distance (Wasserstein-1). All rows as near as
    the J-th share the match, so that ties depend on no order of the rows.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Covariates in the metric of the matching (Euclidean).
    y : ndarray of shape (n,)
        Outcomes; not read for rows of no arm.
    codes : ndarray of shape (n,)
        Arm of each row, 0..K-1; -1 for rows of no arm (a target outside the sample).
    target_masses : ndarray of shape (n,)
        Non-negative, sum one: equal for an ATE, equal on the focal arm for an ATT,
        proportional to sampling weights.
    n_neighbors : int, default=1
        J, at most the number of rows in every arm.
    base : ndarray of shape (n,) or None, default=None
        Positive, such as sampling weights: in proportion to them rows share a match.
        None is equally.

    Returns
    -------
    NearestMatching

    Raises
    ------
    ValueError
        For an arm of too few rows, and for bad input.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.inference import nearest_matching
    >>> X, codes = np.array([[0.0], [2.0], [0.4], [0.6]]), np.array([0, 0, 1, 1])
    >>> t = np.array([0.0, 0.0, 0.5, 0.5])
    >>> nearest_matching(X, np.array([1.0, 5.0, 2.0, 3.0]), codes, t).masses
    array([1. , 0. , 0.5, 0.5])
    """
    X, y, codes = check_rows(X, y, codes, n_neighbors)
    t = _check_masses(target_masses, len(y), "target_masses")
    part = np.ones(len(y)) if base is None else _check_column(base, len(y), "base")
    if not np.all(part > 0):
        raise ValueError("base must be positive: drop rows of weight zero.")
    n_arms = int(codes.max()) + 1
    masses, squares = t.copy(), t**2
    masses[codes < 0] = squares[codes < 0] = 0.0
    imputed = np.empty((len(y), n_arms))
    for a in range(n_arms):
        rows, rest = np.flatnonzero(codes == a), np.flatnonzero(codes != a)
        require_rows(len(rows), a, n_neighbors, "rows")
        points, index = distinct_rows(X[rows])
        counts = np.bincount(index).astype(float)
        near = neighborhoods(points, counts, X[rest], n_neighbors, own=0)
        own = part[rows]
        matches = near @ np.bincount(index, weights=own)
        imputed[rows, a] = y[rows]
        imputed[rest, a] = (near @ np.bincount(index, weights=own * y[rows])) / matches
        masses[rows] += own * (near.T @ (t[rest] / matches))[index]
        squares[rows] += own**2 * (near.T @ (t[rest] / matches) ** 2)[index]
    return NearestMatching(masses, imputed, squares)


def matching_variance(
    codes: IntArray,
    masses: FloatArray,
    target_masses: FloatArray,
    sigma2: FloatArray,
    *,
    imputed: FloatArray | None = None,
    squared_shares: FloatArray | None = None,
    frequency: FloatArray | None = None,
    inference: str = "population",
) -> MatchingVariance:
    r"""Return the variance of arm means that are matching with replacement.

    Given covariates and treatments, the mean sum_j M_j y_j of arm a has variance
    V_a = sum_{A_j = a} M_j^2 sigma2_j. Sampling the target adds the covariance of
    m(X_i) = (mean outcome under each arm), sum_i t_i^2 (m_a - mu_a)(m_b - mu_b). With
    imputed outcomes in the place of m this sum also holds their noise, on the
    diagonal, sum_{A_j = a} S_j sigma2_j, which is taken off. So

    cov_ab = sum_i t_i^2 (yhat_ia - mu_a) (yhat_ib - mu_b)
    + 1{a = b} sum_{A_j = a} (M_j^2 - S_j) sigma2_j,

    positive semidefinite because M_j^2 >= S_j for matching. For equal target masses
    the contrast's variance is that of [1]_, theorem 7: with K_j times a match among J,
    the factors (K/J)^2 + (2J - 1)/J K/J (ATE) and K (K - 1) / J^2 (ATT).

    Parameters
    ----------
    codes : ndarray of shape (n,)
        Arm of each row, 0..K-1; -1 for rows of no arm.
    masses, target_masses : ndarray of shape (n,)
        Masses sum to one in each arm, target masses over all; sampling weights are in
        both. A linear imputation that extrapolates has negative masses too.
    sigma2 : ndarray of shape (n,)
        Outcome variances, as of `neighbor_variance`.
    imputed : ndarray of shape (n, K) or None, default=None
        Outcome of each row under each arm; needed for the population.
    squared_shares : ndarray of shape (n,) or None, default=None
        S_j, needed for the population; zeros where ``imputed`` is a model's
        predictions with little noise.
    frequency : ndarray of shape (n,) or None, default=None
        Rows that each row stands for: it holds their masses and S_j together.
    inference : {"population", "sample"}, default="population"
        ``"sample"``: the first part alone.

    Returns
    -------
    MatchingVariance

    Raises
    ------
    ValueError
        For bad input.

    Notes
    -----
    The bias of matching in d covariates is of order n^(-1/d): smaller than the
    standard error for one covariate only ([1]_, theorem 1), and not in this variance.
    Rows are taken as independent: there is no version for clusters. The bootstrap is
    not valid here (Abadie & Imbens, 2008). O(n K^2) time.

    References
    ----------
    .. [1] Abadie & Imbens (2006). Large sample properties of matching estimators for
       average treatment effects. Econometrica 74(1).

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.inference import matching_variance
    >>> codes, masses = np.array([0, 0, 1, 1]), np.array([1.0, 0.0, 0.5, 0.5])
    >>> out = matching_variance(
    ...     codes, masses, masses / 2, np.ones(4), inference="sample"
    ... )
    >>> out.cov
    array([[1. , 0. ],
           [0. , 0.5]])
    """
    if inference not in ("population", "sample"):
        raise ValueError(f"inference={inference!r}: choose 'population' or 'sample'.")
    codes = np.asarray(codes)
    n, n_arms = len(codes), int(codes.max()) + 1
    t = _check_masses(target_masses, n, "target_masses")
    sigma2 = _check_column(sigma2, n, "sigma2")
    masses = np.asarray(masses, dtype=float)
    copies = np.ones(n) if frequency is None else frequency
    own = codes >= 0
    sums = np.bincount(codes[own], weights=masses[own], minlength=n_arms)
    if not np.all(np.abs(sums - 1) <= _MASS_ERROR):
        raise ValueError(
            f"masses must sum to one in each arm, got {np.array2string(sums)}: divide "
            "the weights by their sum within the arm."
        )

    def by_arm(values: FloatArray) -> FloatArray:
        return np.diag(np.bincount(codes[own], weights=values[own], minlength=n_arms))

    conditional = by_arm(masses**2 / copies * sigma2)
    if inference == "sample":
        return MatchingVariance(conditional, conditional, np.zeros_like(conditional))
    if imputed is None or squared_shares is None:
        raise ValueError(
            "inference='population' needs imputed and squared_shares, as of "
            "nearest_matching; use inference='sample' for the variance given the "
            "covariates."
        )
    imputed = np.asarray(imputed, dtype=float)
    if imputed.shape != (n, n_arms) or not np.all(np.isfinite(imputed)):
        raise ValueError(
            f"imputed must hold finite outcomes of shape {(n, n_arms)}, got "
            f"{imputed.shape}: one column an arm."
        )
    spread = (t / np.sqrt(copies))[:, None] * (imputed - t @ imputed)
    shares = _check_column(squared_shares, n, "squared_shares")
    target = spread.T @ spread - by_arm(shares * sigma2)
    return MatchingVariance(conditional + target, conditional, target)


def _check_column(values: FloatArray, n: int, name: str) -> FloatArray:
    values = np.asarray(values, dtype=float)
    if values.shape != (n,) or not np.all(values >= 0) or np.any(np.isinf(values)):
        raise ValueError(
            f"{name} must hold {n} finite non-negative numbers, one a row."
        )
    return values


def _check_masses(values: FloatArray, n: int, name: str) -> FloatArray:
    values = _check_column(values, n, name)
    if abs(values.sum() - 1) > _MASS_ERROR:
        raise ValueError(f"{name} must sum to one, got {values.sum():.6g}.")
    return values
