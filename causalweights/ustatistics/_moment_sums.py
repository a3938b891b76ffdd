"""Sums of a polynomial kernel over pairs of points of an interval, by moments."""

from __future__ import annotations

import numpy as np

from causalweights._numba._window_sums import Bins, cumulate, cut_bins, window_sums
from causalweights._threads import run_pieces
from causalweights._typing import FloatArray, IntArray
from causalweights.ustatistics._local_kernels import LocalKernel

# Bins of half a bandwidth: powers of (v - center) / h stay below one, and a kernel's
# expansion about a center is not much larger than the kernel.
_BIN = 0.5
# Moments are off by about 1e-16 of the weight in a window. Where the mean kernel value
# in a window is larger than this share of k(0), that is 1e-13 of a target's sum, and
# at most 1e-11 of its sum of squares.
_WEAK = 1e-2
_PIECES = 32


class MomentSums:
    """Sums over pairs of a kernel (1 - t^2)^p on an interval, for every bandwidth.

    O((m + n) log(m + n)) time: a row takes two binary searches, and the moments of at
    most six bins. O((m + n) p) memory.

    Parameters
    ----------
    kernel : LocalKernel
        With a ``power``.
    bandwidth : float
        At most 1/2 with ``reflect``.
    reference, targets : ndarray of shape (m, 1) and (n, 1)
    reflect : bool
    n_threads : int or None

    Attributes
    ----------
    weak : ndarray of shape (n,)
        Targets whose reference rows are so close to the window's ends that the errors
        would show.
    """

    def __init__(
        self,
        kernel: LocalKernel,
        bandwidth: float,
        reference: FloatArray,
        targets: FloatArray,
        *,
        reflect: bool,
        n_threads: int | None = None,
    ):
        self._kernel, self._bandwidth = kernel, bandwidth
        self._reflect, self._n_threads = reflect, n_threads
        self._reference = _sorted_bins(reference[:, 0], _BIN * bandwidth)
        self._targets = _sorted_bins(targets[:, 0], _BIN * bandwidth)
        u, v = self._reference[1].points, targets[:, 0]
        inside = np.searchsorted(u, v + bandwidth) - np.searchsorted(u, v - bandwidth)
        largest = kernel.constant / bandwidth
        ones = self.to_targets(np.ones((len(reference), 1)))[:, 0]
        self.weak = ones < _WEAK * largest * inside

    def _sum(
        self,
        sources: tuple[IntArray, Bins],
        at: tuple[IntArray, Bins],
        weights: FloatArray,
        power: int,
    ) -> FloatArray:
        """Return sum_s K(s, at)^power weights_s in the rows' own order."""
        (order, bins), h = sources, self._bandwidth
        exponent = self._kernel.power or 0
        shape = len(order), 2 * exponent * power + 1
        moments, weights = (np.empty(shape), np.empty(shape)), weights[order]
        cumulate(bins, h, weights, *moments)
        rows = at[1].points
        found, out = np.empty(len(rows)), np.empty(len(rows))
        cuts = np.linspace(0, len(rows), _PIECES + 1).astype(np.int64)

        def call(p: int) -> None:
            window_sums(
                bins, moments, weights, rows, h, exponent, power == 2, self._reflect,
                found, cuts[p], cuts[p + 1],
            )  # fmt: skip

        run_pieces(_PIECES, call, values=100 * len(rows), n_threads=self._n_threads)
        out[at[0]] = (self._kernel.constant / h) ** power * found
        return out

    def to_targets(self, c: FloatArray) -> FloatArray:
        """Return sum_i K_ij c_i, (n, q)."""
        columns = [self._sum(self._reference, self._targets, w, 1) for w in c.T]
        return np.column_stack(columns)

    def to_reference(self, e: FloatArray, power: int) -> FloatArray:
        """Return sum_j (K_ij e_j)^power, (m,)."""
        return self._sum(self._targets, self._reference, e**power, power)


def _sorted_bins(v: FloatArray, width: float) -> tuple[IntArray, Bins]:
    """Return the order of the points, and them in bins."""
    order = np.argsort(v, kind="stable")
    return order, cut_bins(np.ascontiguousarray(v[order]), width)
