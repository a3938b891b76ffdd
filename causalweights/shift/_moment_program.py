"""Target rows and the moments asked of their labels, in the units solvers work in.

A distribution of the uncertainty set gives row j the probabilities q_j of its C labels.
Its moments are sum_j a_j q_jy w_j, one vector for each class: w_j the weighted features
and a_j the share of the row. Arrays over classes and rows are (C, t), so that sums over
classes run over contiguous rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from causalweights._typing import FloatArray

# Narrower tolerances, relative to the largest value of the feature, become this wide:
# the certificate needs a distribution that rounding cannot move out of the set.
LEAST_WIDTH = 1e-8
# Relative to the diagonal: directions that rounding leaves without curvature.
RIDGES = (0.0, 1e-15, 1e-14, 1e-13, 1e-12)


@dataclass(frozen=True, slots=True, eq=False)
class MomentProgram:
    """Weighted features and class moments, features scaled to a mean size of one.

    Attributes
    ----------
    features : (t, m) and its transpose, columns (m, t), both contiguous
    shares : (t,), sum one
    tau : (C, m), in units of `scale`
    scale : (m,), mean absolute value of each feature
    """

    features: FloatArray
    columns: FloatArray
    shares: FloatArray
    tau: FloatArray
    scale: FloatArray

    @classmethod
    def of(
        cls, weighted: FloatArray, shares: FloatArray, tau: FloatArray
    ) -> MomentProgram:
        scale = shares @ np.abs(weighted)
        scale = np.where(scale > 0.0, scale, 1.0)
        columns = np.ascontiguousarray(weighted.T / scale[:, None])
        features = np.ascontiguousarray(columns.T)
        return cls(features, columns, shares, tau / scale, scale)

    @property
    def shape(self) -> tuple[int, int]:
        """Classes and target rows."""
        return self.tau.shape[0], self.shares.size

    def widths(self, lam: FloatArray) -> FloatArray:
        """Return tolerances in these units."""
        return np.maximum(lam / self.scale, LEAST_WIDTH)

    def scores(self, mu: FloatArray) -> FloatArray:
        """Return (C, t)."""
        return mu @ self.columns

    def moments(self, q: FloatArray) -> FloatArray:
        """Return (C, m) of probabilities (C, t), or of changes of them."""
        return (q * self.shares) @ self.features

    def curvature(self, pair: Callable[[int, int], FloatArray]) -> FloatArray:
        """Return the derivative (d, d) of the moments by the coefficients, d = C m.

        ``pair(y, w)`` (t,), for w < y, is the derivative of q_y by the score of w.
        Scores that rise together change nothing: the blocks of a class sum to zero.
        """
        n_classes, m = self.tau.shape
        blocks = np.zeros((n_classes, m, n_classes, m))
        for y in range(n_classes):
            for w in range(y):
                block = (self.columns * (self.shares * pair(y, w))) @ self.features
                blocks[y, :, w] = blocks[w, :, y] = block
                blocks[y, :, y] -= block
                blocks[w, :, w] -= block
        return blocks.reshape(n_classes * m, -1)

    def newton_solver(
        self, pair: Callable[[int, int], FloatArray], width: FloatArray
    ) -> Callable[[FloatArray], FloatArray]:
        """Return the solution of (curvature + diag(width)) x = b as a function of b.

        Where rounding left the matrix indefinite a ridge takes its place; LinAlgError
        where even that does not help.
        """
        matrix = self.curvature(pair)
        diagonal = matrix.diagonal() + width.ravel()
        for ridge in RIDGES:
            matrix[np.diag_indices_from(matrix)] = diagonal * (1.0 + ridge)
            try:
                factor = cho_factor(matrix, lower=True, check_finite=False)
                break
            except LinAlgError:
                if ridge == RIDGES[-1]:
                    raise
        matrix[np.diag_indices_from(matrix)] = diagonal

        def solve(b: FloatArray) -> FloatArray:
            flat = b.ravel()
            x = cho_solve(factor, flat, check_finite=False)
            x += cho_solve(factor, flat - matrix @ x, check_finite=False)
            return x.reshape(b.shape)

        return solve
