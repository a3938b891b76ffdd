"""Kernels that are finite sums of products of features."""

from __future__ import annotations

import numpy as np
from scipy.linalg import svd

from causalweights._typing import FloatArray

# Singular values below this share of the largest belong to collinear features.
_COLLINEAR = 1e-10


class FeatureSums:
    """Sums of K_ij = F_i . G_j: O((m + n) p), squares O((m + n) p^2) time.

    Parameters
    ----------
    reference : ndarray of shape (m, p)
        F.
    targets : ndarray of shape (n, p)
        G.
    """

    def __init__(self, reference: FloatArray, targets: FloatArray):
        self._reference, self._targets = reference, targets

    def to_targets(self, c: FloatArray) -> FloatArray:
        """Return sum_i K_ij c_i, (n,) or (n, q)."""
        return self._targets @ (self._reference.T @ c)

    def to_reference_powers(
        self, e: FloatArray, f: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return sum_j K_ij e_j and sum_j (K_ij f_j)^2, both (m,)."""
        scaled = self._targets * f[:, None]
        inner = scaled.T @ scaled
        squares = np.sum((self._reference @ inner) * self._reference, axis=1)
        return self._reference @ (self._targets.T @ e), squares


def regression_sums(
    reference: FloatArray, targets: FloatArray, a: FloatArray
) -> FeatureSums:
    """Return K_ij = P_i' (P' A P)^+ P_j: weighted least squares as an imputation.

    sum_i a_i K_ij y_i is the fitted value at target j, so that the mass that reference
    rows receive balances every feature.
    """
    both = whitened(reference, np.vstack([reference, targets]), a)
    return FeatureSums(both[: len(reference)], both[len(reference) :])


def whitened(reference: FloatArray, rows: FloatArray, a: FloatArray) -> FloatArray:
    """Return P (of ``rows``) times a root of (P' A P)^+ of the reference rows.

    Collinear features are left out, so there may be fewer columns.
    """
    _, s, vt = svd(np.sqrt(a)[:, None] * reference, full_matrices=False)
    kept = s > _COLLINEAR * s[0]
    return rows @ (vt[kept].T / s[kept])
