"""Weights of new rows from a solution of double weighting.

With a ridge, the conditions of optimality make the weights functions of the covariates.
Let w be the witness, w(x) = sum_k v_k k(x, x_k), nu the multiplier of the coupling and
mu that of the ball. A row of the fit has

    beta_i = clip(1 - (w(x_i) - nu / 2) / kappa, 0, B / sqrt(D)),
    alpha_j = clip(1 + (w(x_j) - nu / 2) / (kappa + mu), 0, 1).

A new row was not in the fit, which would have bent the witness towards it. With the
rows at a bound staying there, and nu and mu held, adding it with a share of 1 / n
(1 / t) to the program gives, exactly,

    beta(x) = clip((kappa - w(x) + nu / 2) / (kappa + r(x) / n), 0, B / sqrt(D)),
    alpha(x) = clip((kappa + mu + w(x) - nu / 2) / (kappa + mu + r(x) / t), 0, 1),

where r(x) = k(x, x) - k_x'(K + Lambda)^{-1} k_x over the free rows, Lambda = kappa n
(source) and (kappa + mu) t (target): what the fit does not know of x. Far from all rows
both weights are small. r is taken from a factor of low rank.

Without a ridge the solution does not determine such functions, and ratios of smoothed
densities serve: sum_j b_j alpha_j k(x, x_j) / sum_i a_i k(x, x_i) for beta(x), and the
other way round for alpha(x).

On held-out draws of three designs (n = t = 200, five seeds, D = 1 and 4, kappa = 1e-3
and 1e-2) the distances (rmse) to the weights that the rows would have got in the fit
were .10-.67 for beta and .06-.13 for alpha. Without r they were .11-1.41 and .06-.14,
for ratios .20-1.60 and .15-.27; ratios were never the best.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from causalweights._typing import FloatArray
from causalweights.kernels import Kernel, LandmarkFeatures, nystrom
from causalweights.shift._solution import DoubleWeights

# Share of the trace that the low-rank factor may leave, within its 400 columns.
MODEL_TOL = 1e-8


class WeightFunctions:
    """Source and target weights as functions of rows; those of the fit keep theirs.

    Parameters
    ----------
    kernel : Kernel
    points : ndarray of shape (n + t, d)
        Source rows, then target rows.
    signs : ndarray of shape (n + t,)
        Their shares, negative for the target.
    sizes : tuple of two floats
        Rows of the two samples, copies counted: a new row has one part of them.
    solution : DoubleWeights

    Notes
    -----
    Recognising rows takes O(n + t) memory, weights of m rows O(m (n + t) d) time.
    """

    def __init__(
        self,
        kernel: Kernel,
        points: FloatArray,
        signs: FloatArray,
        sizes: tuple[float, float],
        solution: DoubleWeights,
    ):
        self.kernel, self.points, self.signs = kernel, points, signs
        self.sizes = sizes
        self.solution = solution
        self.n, self.t = len(solution.beta), len(solution.alpha)

    def source(self, X: FloatArray, n_threads: int | None = None) -> FloatArray:
        """Return the source weights of rows (m, d), in [0, B / sqrt(D)]."""
        w = self.solution
        if w.D == np.inf:
            return np.ones(len(X))
        if w.kappa > 0.0:
            above = w.kappa - self._witness(X, n_threads) + 0.5 * w.level
            raw: FloatArray = above / (w.kappa + self._unknown(X) / self.sizes[0])
        else:
            raw = self._ratio(X, w.alpha, False, n_threads)
        return self._known(X, np.clip(raw, 0.0, w.cap), 0, w.beta)

    def target(self, X: FloatArray, n_threads: int | None = None) -> FloatArray:
        """Return the target weights of rows (m, d), in [0, 1]."""
        w = self.solution
        if w.D == 1.0:
            return np.ones(len(X))
        if w.kappa > 0.0:
            held = w.kappa + w.ball
            above = held + self._witness(X, n_threads) - 0.5 * w.level
            raw: FloatArray = above / (held + self._unknown(X) / self.sizes[1])
        else:
            raw = self._ratio(X, w.beta, True, n_threads)
        return self._known(X, np.clip(raw, 0.0, 1.0), self.n, w.alpha)

    def _witness(self, X: FloatArray, n_threads: int | None) -> FloatArray:
        v = self.signs * np.concatenate([self.solution.beta, self.solution.alpha])
        used = v != 0.0
        operator = self.kernel.operator(X, self.points[used], n_threads=n_threads)
        return operator.matvec(v[used])

    @cached_property
    def _model(self) -> tuple[LandmarkFeatures, Any]:
        """Return features of the kernel, and the factored I + Phi'Lambda^-1 Phi."""
        w = self.solution
        low = self.kernel.operator(self.points).low_rank(tol=MODEL_TOL)
        free_source = (w.beta > 0.0) & (w.beta < w.cap) & (w.D < np.inf)
        free_target = (w.alpha > 0.0) & (w.alpha < 1.0) & (w.D > 1.0)
        # One over Lambda.
        inverse = np.abs(self.signs)
        inverse[: self.n] *= free_source / w.kappa
        inverse[self.n :] *= free_target / (w.kappa + w.ball)
        inner = (low.factor.T * inverse) @ low.factor
        inner.flat[:: len(inner) + 1] += 1.0
        features = nystrom(self.kernel, self.points[low.pivots])
        kept = features.kept
        return features, cho_factor(inner[np.ix_(kept, kept)])

    def _unknown(self, X: FloatArray) -> FloatArray:
        """Return what the fit does not know of rows, (m,) from 0 to k(x, x)."""
        features, inner = self._model
        phi, residual = features.transform(X)
        return residual + np.einsum("ij,ji->i", phi, cho_solve(inner, phi.T))

    def _ratio(
        self, X: FloatArray, weights: FloatArray, of_source: bool, n_threads: int | None
    ) -> FloatArray:
        """Return the weighted density of one sample over that of the other."""
        n, shares = self.n, np.abs(self.signs)
        source, target = np.arange(n), np.arange(n, n + self.t)
        top, bottom = (source, target) if of_source else (target, source)
        above, below = (
            self.kernel.operator(X, self.points[rows], n_threads=n_threads).matvec(own)
            for rows, own in ((top, shares[top] * weights), (bottom, shares[bottom]))
        )
        # One where no row of the fit is near.
        return np.divide(above, below, out=np.ones_like(above), where=below > 0.0)

    def _known(
        self, X: FloatArray, weights: FloatArray, start: int, own: FloatArray
    ) -> FloatArray:
        """Give rows of the fit the weight they have in it."""
        rows = self.points[start : start + len(own)]
        position = {row.tobytes(): i for i, row in enumerate(rows)}
        found = [
            position.get(row.tobytes(), -1)
            for row in np.ascontiguousarray(X, dtype=rows.dtype)
        ]
        index = np.array(found, dtype=np.intp)
        return np.where(index >= 0, own[index], weights)
