"""Conjugate gradients on the free rows, preconditioned by a low-rank model.

Solves (K + ridge)_FF x = q_F + y[group], sum of x over a group = what is missing, with
products only: projected conjugate gradients (Gould, Hribar & Nocedal 2001, SIAM J. Sci.
Comput. 23) whose constraint preconditioner is the model's Hessian by Woodbury.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from causalweights._blas import single_blas_thread
from causalweights.optimize._certificate import FloatArray, IntArray
from causalweights.optimize._low_rank_model import LowRankModel
from causalweights.optimize._operator_qp import OperatorQP
from causalweights.optimize._tall import tall_inner, tall_outer


class Face:
    """The free rows of a problem, ready for conjugate gradients.

    Memory O(|rows| r) for the factor's rows; every step one |rows| x |rows| product.
    """

    def __init__(
        self, problem: OperatorQP, model: LowRankModel, rows: IntArray
    ) -> None:
        self._problem, self.rows = problem, rows
        self._inverse = 1.0 / model.diagonal[rows]
        self._factor = model.factor[rows]
        inside = np.zeros(model.diagonal.size, dtype=bool)
        inside[rows] = True
        core = model.gram(inside) + np.eye(model.rank)
        with single_blas_thread:
            self._core = cho_factor(core, lower=True, overwrite_a=True)
        self._simplices = problem.simplices.restrict(rows)
        self._E = self._simplices.indicator()
        self._counts = self._E.sum(axis=0)
        self._border = self._apply(self._E)
        self._schur = cho_factor(self._E.T @ self._border, lower=True)

    def _apply(self, r: FloatArray) -> FloatArray:
        """Return the inverse of the model's Hessian on the rows times r (m, k)."""
        z = self._inverse[:, None] * r
        with single_blas_thread:
            inner = cho_solve(self._core, tall_inner(self._factor, z))
        return z - self._inverse[:, None] * tall_outer(self._factor, inner)

    def _precondition(self, r: FloatArray) -> FloatArray:
        z = self._apply(self._centered(r)[:, None])[:, 0]
        return z - self._border @ cho_solve(self._schur, self._E.T @ z)

    def _centered(self, r: FloatArray) -> FloatArray:
        # Group constants are the multipliers' part; left in, their rounding in single
        # precision would swamp a small residual.
        means = self._simplices.sums(r) / self._counts
        return r - means[self._simplices.labels]

    def levels(self, gradient: FloatArray) -> FloatArray:
        """Return the mean gradient over the rows of each group, its multiplier."""
        return self._simplices.sums(gradient[self.rows]) / self._counts

    def slope(self, gradient: FloatArray) -> float:
        """Return how far the gradient is from flat on the rows, in the largest norm."""
        return float(np.max(np.abs(self._centered(gradient[self.rows]))))

    def solve(
        self, x: FloatArray, gradient: FloatArray, reduction: float, max_steps: int
    ) -> tuple[FloatArray, int]:
        """Improve x (m,) with `gradient` (m,) until the residual is `reduction` of it.

        Returns x, which may be negative, and the products used. Sums are kept.
        """
        residual = self._centered(-gradient)
        z = self._precondition(residual)
        direction, inner = z, float(residual @ z)
        wanted = reduction**2 * inner
        step = 0
        while step < max_steps and inner > wanted:
            image = self._problem.multiply(self.rows, direction)
            curvature = float(direction @ image)
            if not curvature > 0.0:
                break
            length = inner / curvature
            x = x + length * direction
            residual = self._centered(residual - length * image)
            z = self._precondition(residual)
            new = float(residual @ z)
            direction = z + (new / inner) * direction
            inner = new
            step += 1
        return x, step
