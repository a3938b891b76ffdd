"""The covariance of a network of infinitely many sigmoid units (Williams 1998)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular

from causalweights._typing import FloatArray
from causalweights.kernels import pivoted_cholesky

# Share of the trace that the features may leave: rounding, nothing else.
_TRACE_LEFT = 1e-12


def sigmoid_kernel(X: FloatArray, Y: FloatArray) -> FloatArray:
    r"""Return the arcsine kernel of rows X against rows Y, (n, m).

    .. math:: k(x, y) = \frac{2}{\pi} \arcsin \frac{2 u(x, y)}
              {\sqrt{(1 + 2 u(x, x)) (1 + 2 u(y, y))}}, \qquad u(x, y) = 1 + x'y ,

    the covariance of a unit erf(b + w'x) with b and each entry of w standard normal:
    functions that bend near the origin and level off away from it.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.moments._sigmoid_kernel import sigmoid_kernel
    >>> x = np.array([[0.0], [1.0]])
    >>> sigmoid_kernel(x, x).round(3)
    array([[0.465, 0.345],
           [0.345, 0.59 ]])
    """
    cross = 2.0 + 2.0 * (X @ Y.T)
    scale = np.sqrt(np.outer(_spread(X), _spread(Y)))
    return 2.0 / np.pi * np.arcsin(np.clip(cross / scale, -1.0, 1.0))


def sigmoid_variance(X: FloatArray) -> FloatArray:
    """Return k(x, x) of the rows, (n,)."""
    spread = _spread(X)
    return 2.0 / np.pi * np.arcsin((spread - 1.0) / spread)


def _spread(X: FloatArray) -> FloatArray:
    return 3.0 + 2.0 * np.einsum("ij,ij->i", X, X)


@dataclass(frozen=True, slots=True, eq=False)
class SigmoidFeatures:
    """Features whose products are the kernel on the rows that they come from.

    Attributes
    ----------
    landmarks : ndarray of shape (r, d)
    core : ndarray of shape (r, r)
        Lower Cholesky factor of the landmarks' kernel matrix.
    """

    landmarks: FloatArray
    core: FloatArray

    def transform(self, X: FloatArray) -> FloatArray:
        """Return the features of rows (m, d), (m, r)."""
        columns = sigmoid_kernel(self.landmarks, X)
        return solve_triangular(self.core, columns, lower=True).T


def sigmoid_features(
    points: FloatArray, n_components: int, random_state: Any = None
) -> tuple[FloatArray, SigmoidFeatures]:
    """Return features of the points, and what makes those of other rows.

    The landmarks are pivots of a Cholesky factorisation: as many as the kernel has
    directions on the points, at most ``n_components``. Time O(n r (d + r)), memory
    O(n r).

    Parameters
    ----------
    points : ndarray of shape (n, d)
    n_components : int
    random_state : int, RandomState or None, default=None
        Seed of the pivots above 2048 rows; None is seed 0.

    Returns
    -------
    Phi : ndarray of shape (n, r)
    mapping : SigmoidFeatures
    """
    low = pivoted_cholesky(
        _Gram(points), _TRACE_LEFT, n_components, random_state=random_state
    )
    return low.factor, SigmoidFeatures(points[low.pivots], low.factor[low.pivots])


class _Gram:
    """The kernel matrix of one sample, by blocks."""

    dtype = np.dtype(np.float64)

    def __init__(self, points: FloatArray) -> None:
        self._points = points
        self.shape = (len(points), len(points))

    def block(
        self, rows: ArrayLike | None, columns: ArrayLike | None = None
    ) -> FloatArray:
        """Return rows and columns by their positions; None is all."""
        left, right = (
            self._points if at is None else self._points[np.asarray(at)]
            for at in (rows, columns)
        )
        return sigmoid_kernel(left, right)

    def diagonal(self) -> FloatArray:
        """Return the diagonal."""
        return sigmoid_variance(self._points)
