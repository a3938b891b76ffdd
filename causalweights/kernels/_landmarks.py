"""Nystrom's approximation from given landmarks, for rows that arrive in blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from scipy.linalg import solve_triangular

from causalweights._typing import FloatArray
from causalweights.kernels._families import Kernel
from causalweights.kernels._low_rank import BLOCK, LowRankFactor
from causalweights.kernels._operator import as_points, check_same_columns
from causalweights.kernels._panels import Columns, Panels, check_float
from causalweights.kernels._pivots import keep_in_order


def nystrom_factor(
    operator: Columns, landmarks: ArrayLike, *, dtype: DTypeLike = np.float64
) -> LowRankFactor:
    """Return the Cholesky factor of a symmetric operator with pivots given in order.

    Its product is Nystrom's ``K[:, S] K[S, S]^{-1} K[S, :]``. A landmark that those
    before it determine, up to rounding, is left out. Time O(n r (d + r)), memory
    O(n r), and bits as in `pivoted_cholesky`.

    Parameters
    ----------
    operator : GramOperator
        Of one sample.
    landmarks : array-like of int of shape (r,)
        Rows, as from `choose_landmarks`.
    dtype : {float64, float32}, default=float64
        Of the factor.

    Returns
    -------
    LowRankFactor
        `pivots` holds the landmarks kept.

    Raises
    ------
    ValueError
        Where a landmark is no row, or the operator is of two samples.

    References
    ----------
    Williams & Seeger (2000), Advances in Neural Information Processing Systems 13.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.kernels import Gaussian, nystrom_factor
    >>> operator = Gaussian(bandwidth=1.0).operator(np.linspace(0, 1, 50)[:, None])
    >>> low = nystrom_factor(operator, [0, 25, 49, 25])
    >>> low.pivots, bool(low.trace_error < 0.01)
    (array([ 0, 25, 49]), True)
    """
    n = operator.shape[0]
    rows = np.asarray(landmarks)
    if rows.size == 0:
        rows = rows.astype(np.intp)
    if (
        rows.ndim != 1
        or rows.dtype.kind not in "iu"
        or np.any((rows < 0) | (rows >= n))
    ):
        raise ValueError(
            f"landmarks must be row numbers from 0 to {n - 1}, one-dimensional."
        )
    panels = Panels(operator, min(len(rows), n), check_float(dtype))
    trace = float(panels.residual.sum())
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        kept, core = keep_in_order(panels.block(part), panels.floor, panels.room)
        # A panel cut short by noise says so; later landmarks may still be sound.
        panels.extend(part[kept], core)
    residual, pivots = panels.residual, panels.pivots
    error = float(residual.sum() / trace) if trace > 0 else 0.0
    return LowRankFactor(panels.finish(), pivots, residual, error)


@dataclass(frozen=True, slots=True, eq=False)
class LandmarkFeatures:
    """Nystrom features of a kernel from landmarks, a function of one block of rows.

    ``phi(x)'phi(x')`` is the kernel's projection on the span of the landmarks'
    features. Nothing is remembered between blocks, and the object holds arrays and a
    kernel only: it may be sent to other processes.

    Attributes
    ----------
    kernel : Kernel
    landmarks : ndarray of shape (r, d)
        The landmarks kept, in their order.
    kept : ndarray of shape (r,)
        Which of the landmarks given these are.
    core : ndarray of shape (r, r)
        Lower Cholesky factor of the landmarks' Gram matrix.
    """

    kernel: Kernel
    landmarks: np.ndarray
    kept: np.ndarray
    core: np.ndarray

    def transform(self, X: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return the features and what they leave of the kernel's diagonal.

        Time O(m r (d + r)), memory 2 m r numbers: pass blocks of rows.

        Parameters
        ----------
        X : array-like of shape (m, d)

        Returns
        -------
        phi : ndarray of shape (m, r)
            Of the landmarks' type.
        residual : ndarray of shape (m,)
            ``k(x, x) - |phi(x)|^2`` in float64, clipped at zero.

        Raises
        ------
        ValueError
            Where X has other columns than the landmarks, or values that are not finite.
        """
        X = as_points(X).astype(self.core.dtype, copy=False)
        check_same_columns(X, self.landmarks)
        residual = self.kernel.operator(X).diagonal()
        if not len(self.core):  # scipy 1.13 solves no empty system
            return np.zeros((len(X), 0), self.core.dtype), np.maximum(residual, 0.0)
        # Landmarks as rows: the compiled sweeps run along rows.
        columns = self.kernel.operator(self.landmarks, X).dense()
        phi = solve_triangular(
            self.core, columns, lower=True, overwrite_b=True, check_finite=False
        ).T
        residual -= np.square(phi, dtype=np.float64).sum(axis=1)
        return np.ascontiguousarray(phi), np.maximum(residual, 0.0)


def nystrom(
    kernel: Kernel, landmarks: ArrayLike, *, dtype: DTypeLike = np.float64
) -> LandmarkFeatures:
    """Return Nystrom features of a kernel from landmarks.

    For rows that arrive in blocks, or where even one pass over all rows a block of
    pivots is too much. With the pivots of a `pivoted_cholesky` as landmarks, in their
    order, the features are the factor's rows. Time O(r^2 (d + r)), memory O(r^2).

    Parameters
    ----------
    kernel : Kernel
        With numbers for bandwidths: resolve ``"median"`` first.
    landmarks : array-like of shape (r, d)
        Points; one that those before it determine, up to rounding, is dropped.
    dtype : {float64, float32}, default=float64
        Of the kernel values and of the features. Single precision halves time and
        memory, and keeps fewer landmarks of a smooth kernel apart.

    Returns
    -------
    LandmarkFeatures

    Raises
    ------
    ValueError
        Where a bandwidth is not resolved, or the landmarks are not finite points.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.kernels import Gaussian, nystrom
    >>> X = np.linspace(0, 1, 50)[:, None]
    >>> phi, residual = nystrom(Gaussian(bandwidth=1.0), X[::7]).transform(X)
    >>> bool(np.allclose(phi @ phi.T, Gaussian(bandwidth=1.0)(X), atol=1e-6))
    True
    >>> bool(np.all(residual >= 0))
    True
    """
    kernel.spec()  # refuses a bandwidth that each block would resolve differently
    points = as_points(landmarks).astype(check_float(dtype))
    low = nystrom_factor(kernel.operator(points), np.arange(len(points)))
    core = low.factor[low.pivots].astype(points.dtype)
    arrays = (points[low.pivots], low.pivots, core)
    for array in arrays:
        array.setflags(write=False)
    return LandmarkFeatures(kernel, *arrays)
