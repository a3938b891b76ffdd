"""Sums of a product kernel over pairs of points, pair by pair or by lists of cells."""

from __future__ import annotations

import numpy as np
from numpy.polynomial.polynomial import polyval

from causalweights._numba import _local_sums
from causalweights._numba._local_sums import LANES, UNDERFLOW, Cells, Kernel
from causalweights._threads import run_pieces
from causalweights._typing import FloatArray, IntArray
from causalweights.ustatistics._local_kernels import LOCAL_KERNELS, LocalKernel

# What the pairs that are cut off may add up to, as a share of a target's kernel sum.
_TRUNCATION = 1e-12
# Of exp(-t^2/2), beyond which it is not a normal number.
_GAUSSIAN_END = float(np.sqrt(-2 * np.log(2) * UNDERFLOW))
# Cells of an axis across the radius: measured, for two and three axes; and of the last
# axis, whose cells cost no visits.
_ACROSS, _ACROSS_LAST = 2, 16
# Membership is decided where the kernel is computed: rounding must not decide earlier.
_SLACK = 1 + 1e-9
# Pieces of the targets; of the reference rows, each of which looks at all targets.
_PIECES, _REFERENCE_PIECES = 64, 8
# About as many kernel values as a row takes, for the choice of threads.
_NEIGHBORS = 100


def _cut_off(
    kernel: LocalKernel, d: int, pairs: float, log_sum: FloatArray
) -> FloatArray:
    """Return the radius, in bandwidths, beyond which pairs may be left out.

    A Gaussian kernel value at t is exp(-|t|^2/2), or less where it is an image's, times
    a polynomial; Silverman's is at most exp(-|t|_1 / sqrt 2). All pairs and images
    beyond the radius add up to `_TRUNCATION` of the sum of exp(-|t|^2/2) if
    ``pairs`` of them, at the radius, do.

    Parameters
    ----------
    kernel : LocalKernel
    d : int
    pairs : float
        Reference rows, with their images.
    log_sum : ndarray
        The logarithm of a lower bound on each target's sum of exp(-|t|^2/2).
    """
    if kernel.is_compact:
        return np.ones_like(log_sum)
    few = np.log(pairs / _TRUNCATION)
    if kernel.factor is None:
        # Of some pair |t|^2 / 2 is at most log(pairs) - log_sum, and |t|_1 is at most
        # sqrt(d) |t|.
        nearest = np.sqrt(2 * np.maximum(np.log(pairs) - log_sum, 0.0))
        return np.sqrt(2) * few + np.sqrt(d) * nearest
    # The bound on the polynomial, with all its signs alike, is log-concave in t^2:
    # its product over the axes is largest where all |t_k| are equal.
    bound = np.abs(kernel.factor)
    squared = 2 * (few - log_sum)
    radius = np.sqrt(squared)
    for _ in range(8 if len(bound) > 1 else 0):
        radius = np.sqrt(squared + 2 * d * np.log(polyval(radius**2 / d, bound)))
    return np.minimum(radius, _GAUSSIAN_END)


def typical_radius(kernel: LocalKernel, d: int, m: int) -> float:
    """Return the radius, in bandwidths, of a target with a reference row at hand."""
    return float(_cut_off(kernel, d, 2.0**d * m, np.zeros(1))[0])


class CellSums:
    """Sums over the pairs of reference rows i and target rows j of K(U_i, V_j).

    The reference rows are sorted into cells, and each target visits those in its
    radius. For kernels of infinite support the radius follows from a lower bound on the
    target's own kernel sum, so that a target far from all reference rows has a wide
    one: what is cut off is 1e-12 of its sum. In both directions the same pairs count.

    Parameters
    ----------
    kernel : LocalKernel
    bandwidth : float
    reference, targets : ndarray of shape (m, d) and (n, d)
    reflect : bool
    one_cell : bool
        Visit all pairs.
    n_threads : int or None
    """

    def __init__(
        self,
        kernel: LocalKernel,
        bandwidth: float,
        reference: FloatArray,
        targets: FloatArray,
        *,
        reflect: bool,
        one_cell: bool,
        n_threads: int | None = None,
    ):
        (m, d), self._n_threads = reference.shape, n_threads
        self._bandwidth, self._factor = bandwidth, (kernel.constant / bandwidth) ** d
        self._kernel = _compiled(kernel, bandwidth, reflect)
        typical = typical_radius(kernel, d, m) * bandwidth
        counts = np.ones(d, np.int64) if one_cell else _grid(typical, m, d)
        self._order, self._cells = _sort(reference, counts)
        self._rows_order = np.argsort(_labels(targets, counts), kind="stable")
        self._rows = np.ascontiguousarray(targets[self._rows_order])
        if one_cell or kernel.is_compact:
            log_sum = np.full(len(targets), self._diagonal())
        else:
            log_sum = self._log_sums()
        radius = _cut_off(kernel, d, 2.0**d * m, log_sum) * bandwidth
        self._radius = radius * _SLACK + 1e-15

    def _diagonal(self) -> float:
        """Return the log of exp(-|t|^2/2) at the cube's diagonal: none is farther."""
        return -0.5 * self._rows.shape[1] / self._bandwidth**2

    def _gather(
        self, kernel: Kernel, rows: FloatArray, radius: FloatArray, weights: FloatArray
    ) -> FloatArray:
        """Return sums over the sorted reference rows, weights (q, m): (rows, q)."""
        out = np.empty((len(rows), len(weights)))
        pieces = min(len(rows), _PIECES)
        cuts = np.linspace(0, len(rows), pieces + 1).astype(np.int64)

        def call(p: int) -> None:
            _local_sums.gather(
                kernel, self._cells, rows, radius, weights, out, cuts[p], cuts[p + 1]
            )

        values = len(rows) * min(len(self._order), _NEIGHBORS)
        run_pieces(pieces, call, values=values, n_threads=self._n_threads)
        return out

    def _log_sums(self) -> FloatArray:
        """Return a lower bound on the log of each row's sum of exp(-|t|^2/2).

        Any part of the sum is one. A part that is less than a single term at the radius
        looked at leaves room for larger ones: look farther.
        """
        h, n = self._bandwidth, len(self._rows)
        plain = _compiled(LOCAL_KERNELS["gaussian"], h, False)
        ones = np.ones((1, len(self._order)))
        log_sum, left = np.full(n, -np.inf), np.arange(n)
        radius = 2.0
        while left.size and radius < 2 * _GAUSSIAN_END:
            rows = self._rows[left]
            found = self._gather(plain, rows, np.full(left.size, radius * h), ones)
            with np.errstate(divide="ignore"):
                log_sum[left] = np.log(found[:, 0])
            left = left[log_sum[left] < -0.5 * radius**2]
            radius *= 2
        return np.where(np.isfinite(log_sum), log_sum, self._diagonal())

    def to_targets(self, c: FloatArray) -> FloatArray:
        """Return sum_i K_ij c_i, (n, q)."""
        weights = np.ascontiguousarray(c[self._order].T)
        out = np.empty((len(self._rows), c.shape[1]))
        sums = self._gather(self._kernel, self._rows, self._radius, weights)
        out[self._rows_order] = self._factor * sums
        return out

    def to_reference(
        self, first: FloatArray | None, second: FloatArray | None
    ) -> tuple[FloatArray, FloatArray]:
        """Return sum_j K_ij first_j and sum_j (K_ij second_j)^2, (m,) or empty."""
        m, none = len(self._order), np.empty(0)
        weights = [
            none if e is None else self._factor * e[self._rows_order]
            for e in (first, second)
        ]
        sums = [np.zeros(m if e.size else 0) for e in weights]
        cuts = np.linspace(0, m, min(m, _REFERENCE_PIECES) + 1).astype(np.int64)

        def call(p: int) -> None:
            _local_sums.scatter(
                self._kernel, self._cells, self._rows, self._radius, *weights, *sums,
                cuts[p], cuts[p + 1],
            )  # fmt: skip

        values = m * len(self._rows)
        run_pieces(len(cuts) - 1, call, values=values, n_threads=self._n_threads)
        for total in sums:
            total[self._order[: total.size]] = total.copy()
        return sums[0], sums[1]


def _compiled(kernel: LocalKernel, bandwidth: float, reflect: bool) -> Kernel:
    """Return a kernel as compiled code sees it."""
    factor = kernel.factor or ()
    shape = np.zeros(5)
    shape[: len(factor)] = factor
    return Kernel(
        kernel.code,
        kernel.power or 0,
        shape,
        len(factor) == 1,
        not kernel.is_compact,
        reflect,
        float(bandwidth),
    )


def _grid(radius: float, m: int, d: int) -> IntArray:
    """Return the cells of each axis: their sides suit the radius, their number m."""
    most = max(1.0, (4.0 * m) ** (1 / d))
    side = max(1.0, min(_ACROSS / radius, most))
    counts = np.full(d, int(side), dtype=np.int64)
    strips = float(counts[0]) ** (d - 1)
    counts[-1] = int(max(1.0, min(_ACROSS_LAST / radius, 4.0 * m / strips)))
    return counts


def _labels(X: FloatArray, counts: IntArray) -> IntArray:
    """Return the cell of each point; the last axis' index runs fastest."""
    at = np.clip(np.floor(X * counts).astype(np.int64), 0, counts - 1)
    return np.ravel_multi_index(tuple(at.T), tuple(counts))


def _sort(X: FloatArray, counts: IntArray) -> tuple[IntArray, Cells]:
    """Return the order of points by cells, and the cells."""
    labels = _labels(X, counts)
    order = np.argsort(labels, kind="stable")
    starts = np.zeros(int(np.prod(counts)) + 1, np.int64)
    np.cumsum(np.bincount(labels, minlength=len(starts) - 1), out=starts[1:])
    points = np.zeros((X.shape[1], len(X) + LANES))
    points[:, : len(X)] = X[order].T
    return order, Cells(points, starts, counts)
