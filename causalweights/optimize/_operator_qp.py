"""The canonical problem through an operator, for sizes where no matrix is formed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from causalweights.optimize._certificate import FloatArray, IntArray
from causalweights.optimize._problem import FactoredOperator, Simplices

# Gaps below this many units of single precision's rounding need double precision.
SINGLE_UNITS = 64
EPS_SINGLE = float(np.finfo(np.float32).eps)


class OperatorQP:
    """Canonical problem whose matrix is only multiplied.

    Parameters
    ----------
    operator : exact products, for gradients once `exact` is set and for inner
        iterations once `exact_inside` is; until then products in single precision
    ridge, q, simplices : as in `DenseQP`
    """

    def __init__(
        self,
        operator: FactoredOperator,
        ridge: FloatArray,
        q: FloatArray,
        simplices: Simplices,
    ) -> None:
        single = operator.dtype == np.float32
        self._operator = operator
        self.quick = operator if single else operator.astype(np.float32)
        self.ridge, self.q, self.simplices = ridge, q, simplices
        self.exact = self.exact_inside = single

    def restrict(self, rows: IntArray) -> OperatorQP:
        """Return the problem of some rows, the others held at zero."""
        return OperatorQP(
            self._operator.restrict(rows),
            self.ridge[rows],
            self.q[rows],
            self.simplices.restrict(rows),
        )

    def gradient(self, v: FloatArray) -> FloatArray:
        """Return (K + ridge) v - q over all rows, by one product with the support."""
        support = np.flatnonzero(v)
        operator = self._operator if self.exact else self.quick
        product = operator.matvec(v[support], columns=support)
        return np.asarray(product, np.float64) + self.ridge * v - self.q

    def multiply(self, rows: IntArray, x: FloatArray) -> FloatArray:
        """Return (K + ridge) x on the given rows, for inner iterations."""
        operator = self._operator if self.exact_inside else self.quick
        product: NDArray[Any] = operator.matvec(x, columns=rows, rows=rows)
        return np.asarray(product, np.float64) + self.ridge[rows] * x

    def value(self, v: FloatArray, gradient: FloatArray) -> float:
        return 0.5 * float(v @ (gradient - self.q))

    def resolves(self, gap: float, gradient: FloatArray) -> bool:
        """Whether a gap is above the rounding of the products in use."""
        if self.exact:
            return True
        size = np.max(np.abs(gradient + self.q)) + np.max(np.abs(self.q))
        return gap > SINGLE_UNITS * EPS_SINGLE * float(size)
