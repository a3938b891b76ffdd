"""Sums of a reflected Gaussian kernel over pairs of points, by its cosine series.

On [0, 1] the reflected kernel of bandwidth h is sum_q a_q cos(pi q u) cos(pi q v), with
a_0 = 1 and a_q twice the kernel's Fourier transform at pi q h: few terms if h is wide.
"""

from __future__ import annotations

from collections.abc import Callable
from math import factorial

import numpy as np

from causalweights._blas import single_blas_thread
from causalweights._threads import run_pieces
from causalweights._typing import FloatArray
from causalweights.ustatistics._local_kernels import LocalKernel

# Terms of the series that are smaller, against a_0 = 1, are left out.
_NEGLIGIBLE = 1e-15
# Rows in pieces of fixed number, whose sums are added in order: the same bits for any
# number of threads. Within them, blocks of so many values.
_PIECES = 8
_BLOCK_VALUES = 400_000
# Rounding leaves an error of about 1e-16 times the largest kernel value in each pair.
# Where the mean kernel value is larger than this share of it, the error is below 1e-12
# of a target's sum, and about 1e-10 of a sum of squares.
_WEAK = 1e-3


def _spectrum(kernel: LocalKernel, omega: FloatArray) -> FloatArray:
    """Return the Fourier transform of a Gaussian kernel of order 2 r.

    exp(-w^2/2) times the first r terms of the series of exp(w^2/2): it is one up to
    terms of order 2 r, as the kernel's moments say.
    """
    x = 0.5 * omega * omega
    terms = [x**j / factorial(j) for j in range(kernel.order // 2)]
    return np.exp(-x) * sum(terms)


def cosine_terms(kernel: LocalKernel, bandwidth: float) -> int:
    """Return the highest frequency M of the series; there are M + 1 terms."""
    omega = np.linspace(0.0, 15.0, 3001)
    last = omega[_spectrum(kernel, omega) > _NEGLIGIBLE][-1]
    return int(np.ceil(last / (np.pi * bandwidth)))


def _square_coefficients(a: FloatArray) -> FloatArray:
    """Return B, such that the squared series is sum B_pr cos(pi p u) cos(pi r v).

    By cos x cos y = (cos(x + y) + cos(x - y)) / 2 in both arguments: p, r <= 2 M.
    """
    q, r = np.indices((a.size, a.size))
    share = np.outer(a, a) / 4
    B = np.zeros((2 * a.size - 1, 2 * a.size - 1))
    for first in (q + r, abs(q - r)):
        for second in (q + r, abs(q - r)):
            np.add.at(B, (first, second), share)
    return B


class _Features:
    """Products of cosines of the coordinates, formed block by block of rows."""

    def __init__(self, X: FloatArray, size: int, n_threads: int | None):
        self.X, self.size, self.n_threads = X, size, n_threads
        self.n, self.d = X.shape
        self.left_size = size ** (self.d - 1)

    def _blocks(self, piece: int) -> list[slice]:
        start, stop = (self.n * p // _PIECES for p in (piece, piece + 1))
        width = max(16, _BLOCK_VALUES // (self.left_size + self.size))
        return [slice(b, min(b + width, stop)) for b in range(start, stop, width)]

    def _factors(self, rows: slice) -> tuple[FloatArray, FloatArray]:
        """Return features of the coordinates before the last, and of the last."""
        X = self.X[rows]
        q = np.pi * np.arange(self.size)
        left = np.ones((len(X), 1))
        for k in range(self.d - 1):
            here = np.cos(X[:, k, None] * q)
            left = (left[:, :, None] * here[:, None, :]).reshape(len(X), -1)
        return left, np.cos(X[:, -1, None] * q)

    def _run(self, call: Callable[[int], None]) -> None:
        values = self.n * self.left_size * self.size
        with single_blas_thread:
            run_pieces(_PIECES, call, values=values, n_threads=self.n_threads)

    def moments(self, weights: FloatArray) -> FloatArray:
        """Return the features' weighted sums: weights (n, k), sums (k, P, ...)."""
        count = weights.shape[1]
        parts = np.zeros((_PIECES, count, self.left_size, self.size))

        def call(piece: int) -> None:
            for rows in self._blocks(piece):
                left, right = self._factors(rows)
                for k in range(count):
                    parts[piece, k] += left.T @ (right * weights[rows, k, None])

        self._run(call)
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total.reshape(count, *(self.size,) * self.d)

    def values(self, coefficients: FloatArray) -> FloatArray:
        """Return the series with coefficients (k, P, ...) at all rows: (n, k)."""
        count = len(coefficients)
        flat = coefficients.reshape(count, self.left_size, self.size)
        out = np.empty((self.n, count))

        def call(piece: int) -> None:
            for rows in self._blocks(piece):
                left, right = self._factors(rows)
                for k in range(count):
                    out[rows, k] = np.einsum("ip,ip->i", left @ flat[k], right)

        self._run(call)
        return out


class CosineSums:
    """Sums over pairs of a Gaussian kernel reflected at the faces of the cube.

    With M frequencies an axis, O((m + n) M^d) time for sums and O((m + n) (2 M)^d) for
    sums of squares; O(M^d) memory beside blocks of a few megabytes. Errors are
    absolute, about 1e-16 times the largest kernel value and the sum of the weights.

    Parameters
    ----------
    kernel : LocalKernel
        A Gaussian one, of any order.
    bandwidth : float
    reference, targets : ndarray of shape (m, d) and (n, d)
    n_threads : int or None

    Attributes
    ----------
    weak : ndarray of shape (n,)
        Targets whose sum is so small that the errors would show.
    """

    def __init__(
        self,
        kernel: LocalKernel,
        bandwidth: float,
        reference: FloatArray,
        targets: FloatArray,
        n_threads: int | None = None,
    ):
        q = np.arange(cosine_terms(kernel, bandwidth) + 1)
        a = np.where(q == 0, 1.0, 2.0) * _spectrum(kernel, np.pi * bandwidth * q)
        self._coefficients = [np.diag(a), _square_coefficients(a)]
        self._reference, self._targets = reference, targets
        self._n_threads = n_threads
        ones = self.to_targets(np.ones((len(reference), 1)))[:, 0]
        largest = float(a.sum()) ** reference.shape[1]
        self.weak = np.abs(ones) < _WEAK * len(reference) * largest

    def _sum(
        self, sources: FloatArray, at: FloatArray, weights: FloatArray, power: int
    ) -> FloatArray:
        """Return sum_s K(s, at)^power weights_s, (rows, k)."""
        B = self._coefficients[power - 1]
        total = _Features(sources, len(B), self._n_threads).moments(weights)
        for axis in range(1, total.ndim):
            total = np.moveaxis(np.tensordot(B, total, (1, axis)), 0, axis)
        total = np.ascontiguousarray(total)
        return _Features(at, len(B), self._n_threads).values(total)

    def to_targets(self, c: FloatArray) -> FloatArray:
        """Return sum_i K_ij c_i, (n, q)."""
        return self._sum(self._reference, self._targets, c, 1)

    def to_reference(self, e: FloatArray, power: int) -> FloatArray:
        """Return sum_j (K_ij e_j)^power, (m,)."""
        weights = (e**power)[:, None]
        return self._sum(self._targets, self._reference, weights, power)[:, 0]
