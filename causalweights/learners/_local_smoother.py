"""Local polynomial fits on sorted rows: values, smoother rows, leave-one-out."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
from scipy.spatial import cKDTree

from causalweights._numba import _local_polynomial as loops
from causalweights._threads import run_rows
from causalweights._typing import FloatArray, IntArray
from causalweights.learners._residuals import noise_residuals

KERNELS = {
    "epanechnikov": loops.EPANECHNIKOV,
    "triangular": loops.TRIANGULAR,
    "gaussian": loops.GAUSSIAN,
}
# A window reaches this many times as far as the nearest rows that it must hold.
_REACH = 1.25
# Points that one thread takes at a time.
_PIECE = 64


def monomials(d: int, degree: int) -> tuple[IntArray, IntArray]:
    """Return, of each monomial up to a degree, an earlier one and the factor to it.

    Monomial k > 0 is the ``parents[k]``-th times coordinate ``coordinates[k]``.
    """
    position: dict[tuple[int, ...], int] = {(): 0}
    parents, coordinates = [0], [0]
    for order in range(1, degree + 1):
        for term in combinations_with_replacement(range(d), order):
            position[term] = len(position)
            parents.append(position[term[:-1]])
            coordinates.append(term[-1])
    return np.array(parents, dtype=np.intp), np.array(coordinates, dtype=np.intp)


class Smoother:
    """Local polynomials on sorted rows of positive weight.

    Parameters
    ----------
    Z : ndarray of shape (n, d)
        Standardised; sorted by the first column.
    y, masses : ndarray of shape (n,)
    kernel : int
    n_nearest : int
        Distinct rows that each window must hold.
    """

    def __init__(
        self, Z: FloatArray, y: FloatArray, masses: FloatArray, kernel: int,
        n_nearest: int,
    ):  # fmt: skip
        self.Z, self.y, self.masses, self.kernel = Z, y, masses, kernel
        # Copies of a row are no neighbors: a weight of three is three copies.
        places = np.unique(Z, axis=0)
        self._tree, self._nearest = cKDTree(places), min(n_nearest, len(places))

    def reach(self, points: FloatArray) -> FloatArray:
        """Return the smallest bandwidth allowed at each point."""
        return _REACH * self._tree.query(points, k=[self._nearest])[0][:, 0]

    def values(
        self, points: FloatArray, h: FloatArray, basis: tuple, own: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return fits at points and the leverages of their own rows there, (m,)."""
        out = np.empty(len(points)), np.empty(len(points))

        def piece(start: int, stop: int) -> None:
            at = slice(start, stop)
            loops.smooth(
                points[at], h[at], self.Z, self.y, self.masses, basis, self.kernel,
                own[at], out[0][at], out[1][at],
            )  # fmt: skip

        run_rows(len(points), len(self.Z), piece, width=_PIECE, n_threads=None)
        return out

    def rows(self, points: FloatArray, h: FloatArray, basis: tuple) -> FloatArray:
        """Return the weights of all rows' outcomes in the fit at each point, (m, n)."""
        out = np.empty((len(points), len(self.Z)))

        def piece(start: int, stop: int) -> None:
            at = slice(start, stop)
            loops.smoother_rows(
                points[at], h[at], self.Z, self.masses, basis, self.kernel, out[at]
            )

        run_rows(len(points), len(self.Z), piece, width=_PIECE, n_threads=None)
        return out

    def leave_one_out(self, h: FloatArray, basis: tuple, rows: IntArray) -> FloatArray:
        """Return the leave-one-out residuals of some rows; see `noise_residuals`.

        At its own row a fit's weights do not depend on the outcome, so that residual
        over 1 - leverage is what a fit without the row would leave.
        """
        values, leverage = self.values(self.Z[rows], h, basis, rows)
        residual = self.y[rows] - values
        return noise_residuals(residual, leverage, self.masses[rows], len(basis[0]))

    def mean_square(self, residuals: FloatArray, rows: IntArray) -> float:
        """Return the weighted mean square of residuals."""
        return float(np.average(residuals**2, weights=self.masses[rows]))
