"""The growing factor of a pivoted Cholesky: panels of columns over chunks of rows.

Each panel costs one evaluation of the kernel, one matrix product with the columns so
far and one with a small triangle. The chunks are fixed, and BLAS works on one thread
within each: the bits do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from scipy.linalg import solve_triangular

from causalweights._blas import single_blas_thread
from causalweights._threads import run_rows
from causalweights._typing import FloatArray, IntArray

# Rows of one matrix product: its operands stay in cache, its thread has work.
CHUNK = 2048
# Kernel values evaluated at a time, 64 MB in double precision.
SLAB_VALUES = 8_000_000


def check_float(dtype: DTypeLike) -> np.dtype:
    """Return float32 or float64 as a dtype, or refuse."""
    kind = np.dtype(dtype)
    if kind not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {kind}.")
    return kind


def rounding_floor(diagonal: FloatArray, *dtypes: np.dtype) -> float:
    """Return what rounding to the coarsest type leaves of a residual of zero."""
    eps = max(np.finfo(dtype).eps for dtype in dtypes)
    return float(eps) * 32 * float(diagonal.max(initial=0.0))


def _check_finite(values: FloatArray) -> None:
    if not np.all(np.isfinite(values)):
        raise ValueError(
            "kernel values are not finite: rescale the points, use float64, or take "
            "a kernel that does not overflow."
        )


class Columns(Protocol):
    """What a factorisation asks of a symmetric operator."""

    shape: tuple[int, int]
    dtype: np.dtype

    def block(
        self, rows: ArrayLike | None, columns: ArrayLike | None = None
    ) -> np.ndarray:
        """Return rows and columns by their indices, densely."""

    def diagonal(self) -> np.ndarray:
        """Return the diagonal."""


class Panels:
    """Columns of a Cholesky factor, and the diagonal of what they leave of K.

    Attributes
    ----------
    values : ndarray of shape (n, rank)
        The factor; the first ``len(pivots)`` columns are filled.
    pivots : ndarray of shape (r,)
    floor : float
        What rounding leaves of a residual of zero.
    exhausted : bool
        Whether the last panel has met rounding noise: more columns would be noise.
    """

    def __init__(self, operator: Columns, rank: int, dtype: np.dtype):
        self._operator = operator
        self._left = np.array(operator.diagonal(), dtype=np.float64)
        _check_finite(self._left)
        self.values = np.empty((len(self._left), rank), dtype)
        self.pivots = np.zeros(0, dtype=np.intp)
        self.floor = rounding_floor(self._left, operator.dtype, dtype)
        self.exhausted = False

    @property
    def residual(self) -> FloatArray:
        """Diagonal of ``K - L L'``, float64, (n,): zero at the pivots."""
        return np.maximum(self._left, 0.0)

    @property
    def room(self) -> int:
        """Columns that may still be added."""
        return self.values.shape[1] - len(self.pivots)

    def block(self, rows: IntArray) -> FloatArray:
        """Return the rows' block of ``K - L L'``, in float64."""
        L = self.values[rows, : len(self.pivots)].astype(np.float64)
        K = self._operator.block(rows, rows).astype(np.float64)
        _check_finite(K)
        with single_blas_thread:
            return K - L @ L.T.copy()  # the copy avoids BLAS' slow symmetric route

    def extend(self, rows: IntArray, core: FloatArray, trace: float = -np.inf) -> None:
        """Add the columns of the rows given, whose residual block is ``core core'``.

        Of these, the columns after the one that leaves at most ``trace`` of the
        residual's sum are dropped again, and so are those by which a residual falls
        below zero: with noise for a pivot the columns after it would grow at will.
        """
        r, k = len(self.pivots), len(rows)
        if k == 0:
            return
        before = self._left.copy()
        sums = self._fill(rows, core)
        _check_finite(sums)
        enough = np.maximum(before, 0.0).sum() - np.cumsum(sums) <= trace
        if enough.any():
            k = int(np.argmax(enough)) + 1
        if self._left.min() < -self.floor:
            self.exhausted = True
            k = min(k, self._sound(before, r, r + k))
        if k < len(rows):
            self._left[:] = before
            self._over_rows(len(before), lambda a, b: self._reduce(a, b, r, r + k))
        self.pivots = np.concatenate([self.pivots, rows[:k]])
        self._left[self.pivots] = 0.0

    def _fill(self, rows: IntArray, core: FloatArray) -> FloatArray:
        """Write the panel of the rows, and return the sums of its squared columns."""
        n, r, k = len(self._left), len(self.pivots), len(rows)
        previous = np.ascontiguousarray(self.values[rows, :r].T)
        inverse = solve_triangular(core, np.eye(k), lower=True, check_finite=False)
        inverse = np.ascontiguousarray(inverse.T, dtype=self.values.dtype)
        done = np.sort(self.pivots)
        sums: dict[int, FloatArray] = {}
        whole = n * k <= SLAB_VALUES
        width = n if whole else max(1, SLAB_VALUES // k // CHUNK) * CHUNK

        for start in range(0, n, width):
            # Rows of a symmetric operator: the compiled sweeps run along rows.
            columns = None if whole else np.arange(start, min(start + width, n))
            kernel = self._operator.block(rows, columns)

            def piece(
                a: int, b: int, kernel: FloatArray = kernel, start: int = start
            ) -> None:
                part = kernel[:, a:b].T.astype(self.values.dtype, order="C")
                a, b = a + start, b + start
                if r:
                    part -= self.values[a:b, :r] @ previous
                np.matmul(part, inverse, out=self.values[a:b, r : r + k])
                # Pivot rows exactly: nothing is left of the old ones.
                first, last = np.searchsorted(done, (a, b))
                self.values[done[first:last], r : r + k] = 0.0
                new = np.flatnonzero((a <= rows) & (rows < b))
                self.values[rows[new], r : r + k] = core[new]
                sums[a] = self._reduce(a, b, r, r + k)

            self._over_rows(kernel.shape[1], piece)
        return np.sum([sums[a] for a in sorted(sums)], axis=0)

    def _reduce(self, a: int, b: int, first: int, last: int) -> FloatArray:
        """Take columns off the residual of rows ``a:b``; return the squared norms."""
        squares = np.square(self.values[a:b, first:last], dtype=np.float64)
        self._left[a:b] -= squares.sum(axis=1)
        return squares.sum(axis=0)

    def _sound(self, before: FloatArray, first: int, last: int) -> int:
        """Return how many columns of a panel leave every residual above ``-floor``."""
        lowest: dict[int, FloatArray] = {}

        def piece(a: int, b: int) -> None:
            squares = np.square(self.values[a:b, first:last], dtype=np.float64)
            left = before[a:b, None] - np.cumsum(squares, axis=1)
            lowest[a] = left.min(axis=0)

        self._over_rows(len(before), piece)
        bad = np.min(list(lowest.values()), axis=0) < -self.floor
        return int(np.argmax(bad)) if bad.any() else last - first

    def _over_rows(self, n: int, call: Callable[[int, int], object]) -> None:
        threads = getattr(self._operator, "n_threads", None)
        with single_blas_thread:
            run_rows(n, self.values.shape[1], call, width=CHUNK, n_threads=threads)

    def finish(self) -> FloatArray:
        """Return the factor, (n, r), in the memory of ``values``, which is gone."""
        values, r = self.values, len(self.pivots)
        n, rank = values.shape
        self.values = np.empty((0, 0), values.dtype)
        if r < rank:
            flat = values.reshape(-1)
            for a in range(0, n, CHUNK):  # each target lies before its source
                b = min(a + CHUNK, n)
                flat[a * r : b * r] = values[a:b, :r].reshape(-1)
            del flat
            values.resize((n, r), refcheck=False)
        return values
