"""Weighted kernel ridge in closed form: solutions and leave-one-out errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, eigh
from scipy.linalg.lapack import dtrtri

from causalweights._scaling import Scaling, fit_scaling
from causalweights._typing import FloatArray

# Rows of features that are rotated at a time: bounds the memory next to the features.
_CHUNK = 4096
# A row that decides its own fit has 1 - leverage = 0 up to rounding.
_SMALLEST_SLACK = 1e-10


@dataclass(frozen=True, slots=True)
class Sample:
    """Outcome and weights of the rows of positive weight, free of their scales.

    Attributes
    ----------
    masses : ndarray of shape (n,)
        p_i = s_i / sum s.
    root : ndarray of shape (n,)
        Square roots of the masses.
    copies : ndarray of shape (n,)
        Rows that row i stands for: leaving one out takes 1/copies of its weight.
    target : ndarray of shape (n,)
        (y - center) / scale.
    center, scale : float
        Weighted mean of y (0 without an intercept) and root mean square about it
        (1 where that is zero).
    intercept : bool
    """

    masses: FloatArray
    root: FloatArray
    copies: FloatArray
    target: FloatArray
    center: float
    scale: float
    intercept: bool

    @property
    def variance(self) -> float:
        """Return the squared scale; infinite, not an error, for a huge one."""
        return self.scale * self.scale


def column_scaling(X: FloatArray, weight: FloatArray, standardize: bool) -> Scaling:
    """Return the scaling; it keeps no column where none varies."""
    d = X.shape[1]
    nothing = Scaling(np.zeros(0), np.ones(0), np.zeros(0, dtype=np.intp), np.arange(d))
    varies = np.ptp(X, axis=0) > 0
    if not np.any(varies):
        return nothing
    if not standardize:
        kept = np.arange(d)
        return Scaling(np.zeros(d), np.ones(d), kept, np.flatnonzero(~varies))
    try:
        return fit_scaling(X, weight)
    except ValueError:  # columns that vary by rounding alone
        return nothing


def make_sample(
    y: FloatArray, weight: FloatArray, *, frequency: bool, intercept: bool
) -> Sample:
    """Return the sample of positive weights; y may be tiny, huge or constant."""
    # Dividing by the largest entry first keeps squares of huge or tiny values finite.
    masses = weight / weight.max()
    masses /= masses.sum()
    size = float(np.max(np.abs(y))) or 1.0
    unit = y / size
    center = 0.0
    if intercept:
        center = float(masses @ unit)
        center += float(masses @ (unit - center))
    target = unit - center
    scale = float(np.sqrt(masses @ target**2))
    if intercept and (np.ptp(y) == 0 or scale <= 10 * np.finfo(np.float64).eps):
        # The mean of equal numbers is that number, whatever the sum's rounding.
        center = float(unit[0]) if np.ptp(y) == 0 else center
        target, scale = np.zeros_like(target), 1.0
    elif scale == 0.0:
        scale = 1.0
    copies = np.maximum(weight, 1.0) if frequency else np.ones_like(masses)
    return Sample(
        masses, np.sqrt(masses), copies, target / scale, center * size, scale * size,
        intercept,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Eigenvalues of the root-weighted, centred Gram matrix with what rotates to them.

    Attributes
    ----------
    features : ndarray of shape (n, r)
        With a rotation, ``features @ features.T`` is the matrix (of low rank).
        Without, the columns are orthonormal eigenvectors, all of them but the
        intercept's.
    rotation : ndarray of shape (r, r) or None
        ``features @ rotation`` has orthogonal columns.
    values : ndarray of shape (r,)
        The eigenvalues.
    """

    features: FloatArray
    rotation: FloatArray | None
    values: FloatArray

    def scores(self, sample: Sample) -> FloatArray:
        """Return the inner products of the orthogonal columns with the outcome."""
        scores = self.features.T @ (sample.root * sample.target)
        return scores if self.rotation is None else self.rotation.T @ scores


def gram_spectrum(K: FloatArray, sample: Sample) -> Spectrum:
    """Return the spectrum of a dense Gram matrix, O(n^3)."""
    u = sample.root
    B = K * u * u[:, None]
    if sample.intercept:
        row = B @ u
        row -= 0.5 * (u @ row) * u
        # The intercept gets an eigenvalue of its own, above all others: in the null
        # space its vector would mix with those of repeated rows.
        row -= np.trace(B) * u if np.trace(B) > 0 else u
        B -= np.outer(u, row)
        B -= np.outer(row, u)
    values, vectors = eigh(B, overwrite_a=True, check_finite=False, driver="evd")
    if sample.intercept:
        values, vectors = values[:-1], vectors[:, :-1]
    return Spectrum(vectors, None, np.maximum(values, 0.0))


def factor_spectrum(factor: FloatArray, sample: Sample) -> tuple[Spectrum, FloatArray]:
    """Return the spectrum of a low-rank factor and the factor's mean, O(n r^2).

    The factor is overwritten by the weighted, centred features.
    """
    mean = np.zeros(factor.shape[1])
    if sample.intercept:
        mean = sample.masses @ factor
        factor -= mean
    factor *= sample.root[:, None]
    values, rotation = eigh(factor.T @ factor, check_finite=False, driver="evd")
    return Spectrum(factor, rotation, np.maximum(values, 0.0)), mean


def loo_table(spectrum: Spectrum, sample: Sample, ridges: FloatArray) -> FloatArray:
    """Return the weighted mean squared leave-one-out error of each ridge.

    The error of row i is ``resid_i / (1 - h_ii / copies_i)``, h the leverages of the
    fit with its intercept: what a refit without the row (one of its copies), at the
    same penalty ``ridge * sum(s) * |f|^2``, would leave. O(n r) a ridge, in units of
    the squared standardised outcome.
    """
    shrink = 1.0 / (spectrum.values[:, None] + ridges)
    rotation = spectrum.rotation
    if rotation is None:  # residuals themselves: nothing cancels at a small ridge
        shrink *= ridges
    slopes = spectrum.scores(sample)[:, None] * shrink
    outcome = sample.root * sample.target
    border = sample.root**2 if sample.intercept else np.zeros_like(sample.root)
    errors = np.zeros(len(ridges))
    for start in range(0, len(outcome), _CHUNK):
        rows = slice(start, start + _CHUNK)
        block = spectrum.features[rows]
        if rotation is None:
            residual = block @ slopes
            one_minus_h = (block * block) @ shrink
        else:
            block = block @ rotation
            residual = outcome[rows, None] - block @ slopes
            one_minus_h = 1.0 - border[rows, None] - (block * block) @ shrink
        residual /= slack(one_minus_h, sample.copies[rows, None])
        errors += np.einsum("ij,ij->j", residual, residual)
    return errors


def slack(one_minus_h: FloatArray, copies: FloatArray) -> FloatArray:
    """Return 1 - h / copies, the share of the leave-one-out error in the residual."""
    return np.maximum((copies - 1.0 + one_minus_h) / copies, _SMALLEST_SLACK)


@dataclass(frozen=True, slots=True)
class ExactFit:
    """Solution on all rows: ``f = intercept + sum_i dual_i k(x_i, .)``.

    Attributes
    ----------
    dual : ndarray of shape (n,)
    intercept : float
        Both for the standardised outcome.
    loo_error : float
        As in `loo_table`.
    """

    dual: FloatArray
    intercept: float
    loo_error: float


def exact_fit(K: FloatArray, sample: Sample, ridge: float) -> ExactFit:
    """Solve ``(K + ridge P^-1) dual = target - intercept``, ``sum(dual) = 0``.

    O(n^3): one Cholesky factor and its inverse, whose column norms are the diagonal
    of the inverse that the leave-one-out errors need. A ridge below the rounding of
    the Gram matrix is raised to it.
    """
    root, n = sample.root, len(sample.root)
    B = K * root * root[:, None]
    floor = 4 * n * np.finfo(np.float64).eps * float(np.trace(B))
    ridge = max(ridge, floor, np.finfo(np.float64).tiny)
    B.flat[:: n + 1] += ridge
    # The transpose of a symmetric C-ordered array is what LAPACK overwrites in place.
    lower = cholesky(B.T, lower=True, overwrite_a=True, check_finite=False)
    inverse, _ = dtrtri(lower, lower=1, overwrite_c=1)
    beta = inverse.T @ (inverse @ (root * sample.target))
    diagonal = np.einsum("ij,ij->j", inverse, inverse)
    intercept = 0.0
    if sample.intercept:
        border = inverse.T @ (inverse @ root)
        total = root @ border
        intercept = float(root @ beta / total)
        beta -= intercept * border
        diagonal -= border**2 / total
    loo = ridge * beta / slack(ridge * diagonal, sample.copies)
    return ExactFit(root * beta, intercept, float(loo @ loo))
