"""Weighted least squares with heteroscedasticity- or cluster-robust covariance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from causalweights._typing import FloatArray
from causalweights._validation import (
    check_groups,
    check_outcome,
    check_sample_weight,
)
from causalweights.inference._arm_means import contribution_covariance

CovType = Literal["HC0", "HC1", "HC2", "HC3"]

# Power of 1 - leverage that divides a row's contribution.
HC_POWERS = {"HC0": 0.0, "HC1": 0.0, "HC2": 0.5, "HC3": 1.0}
# A row that decides its own fit has 1 - leverage = 0 up to rounding.
SMALLEST_SLACK = 1e-10


@dataclass(frozen=True, slots=True, eq=False)
class RobustRegression:
    """Coefficients of a weighted least-squares fit with their robust covariance.

    Attributes
    ----------
    coefficients : ndarray of shape (p,)
    cov : ndarray of shape (p, p)
    influence : ndarray of shape (n, p)
        What each row contributes to the coefficients' errors, of plain residuals: sums
        of its products are ``cov`` under HC0, sums within clusters with groups.
    leverages : ndarray of shape (n,)
        Of one copy of each row; zero for rows of weight zero.
    rank : int
    """

    coefficients: FloatArray
    cov: FloatArray
    influence: FloatArray
    leverages: FloatArray
    rank: int

    @property
    def se(self) -> FloatArray:
        """Standard errors, (p,)."""
        return np.sqrt(np.diag(self.cov))


def robust_regression(
    design: Any,
    response: Any,
    weight: Any = None,
    *,
    cov_type: CovType | None = None,
    groups: Any = None,
    frequency: Any = None,
) -> RobustRegression:
    r"""Regress a response on a design by weighted least squares.

    Parameters
    ----------
    design : array-like of shape (n, p)
        Regressors; no constant is added.
    response : array-like of shape (n,)
    weight : array-like of shape (n,) or None, default=None
        Non-negative weights of the squares; only their ratios matter.
    cov_type : {"HC0", "HC1", "HC2", "HC3"} or None, default=None
        None is HC3, or with groups the clusters' sums, which know no other kind.
    groups : array-like of shape (n,) or None, default=None
        Clusters.
    frequency : array-like of shape (n,) or None, default=None
        How many rows each row stands for.

    Returns
    -------
    RobustRegression

    Raises
    ------
    ValueError
        For shapes that do not fit, values that are not finite, rows no more than the
        rank, a single cluster, ``cov_type`` beside groups, and under HC2 and HC3 a row
        that alone decides a coefficient.

    Notes
    -----
    With residuals :math:`e_i` and leverages :math:`h_i = w_i x_i' G^{-1} x_i`,

    .. math:: \hat V = G^{-1} \Big( \sum_i \frac{w_i^2 e_i^2}{(1 - h_i)^k} x_i x_i'
              \Big) G^{-1}, \qquad G = \sum_i w_i x_i x_i' ,

    k = 0, 1, 2 for HC0, HC2, HC3; HC1 is HC0 times n / (n - p). The same as
    statsmodels' ``WLS``. For clusters the scores are summed within and the sum of
    their squares is multiplied by G / (G - 1), where statsmodels has the further
    factor (n - 1) / (n - p). Rows of weight zero do not count in n, in statsmodels
    they do.

    A design without full rank has the smallest coefficients in norm, their covariance
    by the pseudo-inverse, and p replaced by the rank: predictions, and coefficients
    that the data determine, are those of any full-rank version. O(n p^2) time.

    References
    ----------
    .. [1] MacKinnon & White (1985), Some heteroskedasticity-consistent covariance
       matrix estimators with improved finite sample properties, J. Econometrics 29.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.inference import robust_regression
    >>> fit = robust_regression(np.ones((4, 1)), [1.0, 2.0, 3.0, 6.0], cov_type="HC0")
    >>> fit.coefficients, fit.se
    (array([3.]), array([0.935]))
    """
    D, y, w, m, labels = _checked(design, response, weight, groups, frequency)
    if cov_type is None:
        cov_type = "HC3" if groups is None else "HC0"
    elif cov_type not in HC_POWERS:
        raise ValueError(
            f"cov_type={cov_type!r} is unknown: choose one of "
            f"{', '.join(map(repr, HC_POWERS))}."
        )
    elif groups is not None:
        raise ValueError(
            f"cov_type={cov_type!r} is of independent rows: leave it out with groups."
        )
    root = np.sqrt(w * m)
    U, values, Vt = np.linalg.svd(root[:, None] * D, full_matrices=False)
    eps = np.finfo(np.float64).eps * max(D.shape)
    kept = values > eps * values.max(initial=0.0)
    U, inverse, rank = U[:, kept], Vt[kept].T / values[kept], int(kept.sum())
    coefficients = inverse @ (U.T @ (root * y))
    influence = (root * (y - D @ coefficients))[:, None] * (U @ inverse.T)
    rows, n = root > 0, float(m[root > 0].sum())
    if n <= rank:
        raise ValueError(
            f"the regression has {n:g} rows of positive weight for {rank} "
            "coefficients: no residual is left for a standard error."
        )
    squares = np.einsum("ij,ij->i", U, U)
    leverages = np.divide(squares, m, out=np.zeros_like(squares), where=rows)
    scaled = influence[rows] / _slack(leverages, rows, cov_type)[:, None]
    if cov_type == "HC1":
        scaled *= np.sqrt(n / (n - rank))
    cov = contribution_covariance(
        scaled,
        frequency=None if frequency is None else m[rows],
        groups=None if labels is None else labels[rows],
    )
    return RobustRegression(coefficients, cov, influence, leverages, rank)


def _slack(leverages: FloatArray, rows: np.ndarray, cov_type: str) -> FloatArray:
    """Return the powers of 1 - leverage for the rows of positive weight."""
    slack, power = 1.0 - leverages[rows], HC_POWERS[cov_type]
    if power and np.any(slack < SMALLEST_SLACK):
        row = int(np.flatnonzero(rows)[np.argmin(slack)])
        raise ValueError(
            f"row {row} alone decides a coefficient (leverage one), so that "
            f"{cov_type} is not defined: use cov_type='HC0', or leave the row out."
        )
    return slack**power


def _checked(
    design: Any, response: Any, weight: Any, groups: Any, frequency: Any
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, np.ndarray | None]:
    """Return design, response, weights, row counts and cluster labels."""
    D = np.asarray(design, dtype=np.float64)
    if D.ndim != 2 or 0 in D.shape or not np.all(np.isfinite(D)):
        raise ValueError(
            f"design must be a finite array (n, p) of at least one row and column, "
            f"got shape {D.shape}."
        )
    n = len(D)
    return (
        D, check_outcome(response, n), check_sample_weight(weight, n),
        check_sample_weight(frequency, n), check_groups(groups, n),
    )  # fmt: skip
