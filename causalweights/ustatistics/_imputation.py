"""Imputing an arm's outcomes for target rows by a kernel of two samples.

Equations (1) and (2) of Yu & Wang with three normalisations, and what the variance of
a linear imputation needs (Abadie & Imbens, 2006).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.sparse import csr_array

from causalweights._typing import FloatArray
from causalweights.inference import nearest_rows

# Below this a sum of kernel values has lost its digits.
UNDERFLOW = 1e-300
# A kernel that takes negative values may sum to little by cancellation; weights with
# such a denominator are absurd.
_CANCELLED = 1e-3
# A target row with this share of the median row's kernel sum rests on few rows.
_WEAK = 1 / 20


class Sums(Protocol):
    """Sums of kernel values K(U_i, V_j) over reference rows i or target rows j."""

    def to_targets(self, c: FloatArray) -> FloatArray:
        """Return sum_i K_ij c_i, (n,) or (n, q)."""

    def to_reference_powers(
        self, e: FloatArray, f: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return sum_j K_ij e_j and sum_j (K_ij f_j)^2, both (m,)."""


@dataclass(frozen=True, slots=True, eq=False)
class Imputation:
    """Shares kappa_ij of reference rows i in the imputed outcomes of target rows j.

    Attributes
    ----------
    received : ndarray of shape (m,)
        sum_j t_j kappa_ij: the target mass that a reference row stands for.
    imputed : ndarray of shape (n,)
        sum_i kappa_ij r_i, for ``"global"`` about the weighted mean.
    squares : ndarray of shape (m,)
        sum_j (u_j kappa_ij)^2 for the given u.
    support : ndarray of shape (n,)
        sum_i a_i K_ij, on any scale: the reference rows near a target row.
    """

    received: FloatArray
    imputed: FloatArray
    squares: FloatArray
    support: FloatArray

    @property
    def unsupported(self) -> np.ndarray:
        """Target rows that no reference row reaches."""
        return ~(np.abs(self.support) > UNDERFLOW)

    @property
    def weakly_supported(self) -> np.ndarray:
        """Target rows with less than a twentieth of the median row's support."""
        return self.support < _WEAK * np.median(self.support)


def impute_regression(
    sums: Sums, r: FloatArray, a: FloatArray, t: FloatArray, u: FloatArray
) -> Imputation:
    """Impute by kappa_ij = a_i K_ij as it is: K inverts its own Gram matrix."""
    first, second = sums.to_reference_powers(t, u)
    everywhere = np.ones(len(t))
    return Imputation(a * first, sums.to_targets(a * r), a**2 * second, everywhere)


def impute_unnormalized(
    sums: Sums, r: FloatArray, a: FloatArray, t: FloatArray, u: FloatArray
) -> Imputation:
    """Impute by kappa_ij = a_i K_ij / sum a, equation (1)."""
    return impute_regression(sums, r, a / a.sum(), t, u)


def impute_global(
    sums: Sums, r: FloatArray, a: FloatArray, t: FloatArray, u: FloatArray
) -> Imputation:
    """Impute by kappa_ij = a_i K_ij / sum_j b_j sum_i a_i K_ij, equation (2).

    A target's shares do not sum to one. Its imputed outcome is the linearisation of the
    ratio, c + sum_i kappa_ij (r_i - c) with the weighted mean c, so that nothing
    depends on the outcomes' origin.
    """
    total, center = t.sum(), r.mean()
    shares, sums_r = sums.to_targets(np.column_stack([a, a * (r - center)])).T
    scale = float(t @ shares) / total
    if not scale > UNDERFLOW:
        raise ValueError(
            "no reference row is in reach of a target row: increase bandwidth, or use "
            "a kernel of infinite support."
        )
    kappa = a / scale
    first, second = sums.to_reference_powers(t, u)
    received = kappa * first
    c = float(received @ (r - center)) / total
    return Imputation(
        received,
        center + c + (sums_r - c * shares) / scale,
        kappa**2 * second,
        shares,
    )


def impute_per_target(
    sums: Sums,
    r: FloatArray,
    a: FloatArray,
    t: FloatArray,
    u: FloatArray,
    images: tuple[FloatArray, FloatArray],
) -> Imputation:
    """Impute by kappa_ij = a_i K_ij / sum_i a_i K_ij: local means of reference rows.

    Parameters
    ----------
    sums : Sums
    r, a : ndarray of shape (m,)
        Outcomes (or residuals) and base weights of the reference rows.
    t, u : ndarray of shape (n,)
        Target masses, and the factors of ``squares``.
    images : tuple of ndarray of shape (m, d) and (n, d)
        Of both: a target that no reference row reaches takes its nearest ones.
    """
    center = r.mean()
    shares, sums_r = sums.to_targets(np.column_stack([a, a * (r - center)])).T
    lost = ~(shares > UNDERFLOW)
    safe = np.where(lost, 1.0, shares)
    imputed = center + sums_r / safe
    kept = ~lost / safe
    first, second = sums.to_reference_powers(t * kept, u * kept)
    received, squares = a * first, a**2 * second
    if np.any(lost):
        near = nearest_rows(images[0], images[1][lost])
        kappa = near.multiply(a).tocsr()
        kappa = csr_array(kappa / kappa.sum(axis=1)[:, None])
        imputed[lost] = kappa @ r
        received += kappa.T @ t[lost]
        squares += kappa.power(2).T @ u[lost] ** 2
    return Imputation(received, imputed, squares, shares)


def cancels(sums: Sums, a: FloatArray) -> bool:
    """Tell whether a kernel with negative values leaves a target with hardly any sum.

    Less than a thousandth of the median target's, or a negative one.
    """
    shares = sums.to_targets(a)
    return bool(shares.min() < _CANCELLED * max(float(np.median(shares)), 0.0))
