r"""k-class estimators of a linear equation with instruments, by orthogonal factors.

Two-stage least squares, limited-information maximum likelihood (LIML), Fuller's
modification and any other k solve :math:`X'(I - k M_Z)(y - X\beta) = 0`, where
:math:`M_Z` leaves the residuals on the instruments. No cross-product of the data is
inverted: instruments enter by an orthonormal basis, regressors by triangular factors.
Rows come multiplied by the roots of their weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr, solve_triangular

from causalweights._typing import FloatArray

# Of a column of unit length, what rounding may leave beside the instruments.
_DEPENDENT = 1e-10


@dataclass(frozen=True, slots=True, eq=False)
class LinearEquation:
    """An equation with its columns sorted and its instruments made orthonormal.

    Attributes
    ----------
    y : ndarray of shape (n,)
    X : ndarray of shape (n, p)
    endogenous : ndarray of bool, shape (p,)
        Which columns of X are no combinations of the instruments; m of them.
    included : ndarray of shape (n, p - m)
        Orthonormal basis of the exogenous columns of X.
    excluded : ndarray of shape (n, q)
        Orthonormal basis of what the instruments add to them.
    copies : ndarray of shape (n,)
        How many rows each row stands for.
    """

    y: FloatArray
    X: FloatArray
    endogenous: np.ndarray
    included: FloatArray
    excluded: FloatArray
    copies: FloatArray

    @property
    def n_samples(self) -> float:
        """Rows, or the sum of their counts."""
        return float(self.copies.sum())

    @property
    def basis(self) -> FloatArray:
        """Orthonormal basis of all instruments, (n, p - m + q)."""
        return np.hstack([self.included, self.excluded])

    @property
    def n_endogenous(self) -> int:
        """M."""
        return int(self.endogenous.sum())

    @property
    def n_excluded(self) -> int:
        """Q."""
        return self.excluded.shape[1]

    @property
    def df_reduced(self) -> float:
        """Degrees of freedom of a regression on all instruments."""
        return self.n_samples - self.included.shape[1] - self.excluded.shape[1]

    def scores(self, columns: FloatArray, errors: FloatArray) -> FloatArray:
        """Return the products of columns (n, k) and errors (n,) of single copies."""
        return columns * (errors / self.copies)[:, None]

    def partialled(self) -> tuple[FloatArray, FloatArray]:
        """Return residuals of y, (n,), and of the endogenous columns, (n, m).

        Of their regressions on the exogenous columns.
        """
        return (
            residuals_on(self.included, self.y),
            residuals_on(self.included, self.X[:, self.endogenous]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class KClassFit:
    """A k-class estimate.

    Attributes
    ----------
    params : ndarray of shape (p,)
    residuals : ndarray of shape (n,)
    bread : ndarray of shape (p, p)
        :math:`(X'(I - k M_Z)X)^{-1}`.
    projected : ndarray of shape (n, p)
        :math:`X` less :math:`M_Z X`.
    regressors : ndarray of shape (n, p)
        :math:`(I - k M_Z) X`, orthogonal to the residuals.
    kappa : float
        k.
    """

    params: FloatArray
    residuals: FloatArray
    bread: FloatArray
    projected: FloatArray
    regressors: FloatArray
    kappa: float


def residuals_on(basis: FloatArray, values: FloatArray) -> FloatArray:
    """Return the residuals of values on an orthonormal basis.

    Projected out twice, so that they are orthogonal to it where little is left too.
    """
    once = values - basis @ (basis.T @ values)
    return once - basis @ (basis.T @ once)


def linear_equation(
    y: FloatArray, X: FloatArray, Z: FloatArray, copies: FloatArray | None = None
) -> LinearEquation:
    """Sort the columns of an equation and make its instruments orthonormal.

    Parameters
    ----------
    y : ndarray of shape (n,)
    X : ndarray of shape (n, p)
        Of full rank.
    Z : ndarray of shape (n, c)
        All instruments, the exogenous columns of X among their combinations; of full
        rank.
    copies : ndarray of shape (n,) or None, default=None
        How many rows each row stands for; None is one each.

    Notes
    -----
    A column of X is endogenous where the instruments leave more of it than rounding.
    O(n (p + c)^2) time. Ranks do not depend on units.
    """
    basis = np.linalg.qr(Z / np.linalg.norm(Z, axis=0))[0]
    unit = X / np.linalg.norm(X, axis=0)
    left = np.linalg.norm(residuals_on(basis, unit), axis=0)
    endogenous = left > _DEPENDENT
    included = np.linalg.qr(unit[:, ~endogenous])[0]
    rest = residuals_on(included, basis)
    excluded = qr(rest, mode="economic", pivoting=True)[0]
    excluded = excluded[:, : basis.shape[1] - included.shape[1]]
    copies = np.ones(len(y)) if copies is None else copies
    return LinearEquation(y, X, endogenous, included, excluded, copies)


def k_class(equation: LinearEquation, kappa: float = 1.0) -> KClassFit:
    """Return the k-class estimate.

    Parameters
    ----------
    equation : LinearEquation
    kappa : float, default=1.0
        One is two-stage least squares, zero least squares.

    Raises
    ------
    ValueError
        Where ``kappa`` is so large that the objective has no minimum.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.moments._k_class import k_class, linear_equation
    >>> z = np.array([[0.0], [1.0], [2.0], [4.0]])
    >>> x, y = z**2 + [[1.0], [0.0], [0.0], [-1.0]], np.array([1.0, 3.0, 7.0, 31.0])
    >>> k_class(linear_equation(y, x, z)).params.round(4)
    array([2.0435])
    """
    norms = np.linalg.norm(equation.X, axis=0)
    unit, basis = equation.X / norms, equation.basis
    inside = basis.T @ unit
    outside = residuals_on(basis, unit)
    slack = 1.0 - kappa
    kept = np.sqrt(max(slack, 0.0)) * outside
    factor = np.linalg.qr(np.vstack([inside, kept]), mode="r")
    root = solve_triangular(factor, np.eye(len(norms)))
    if slack < 0:
        values, vectors = np.linalg.eigh((outside @ root).T @ (outside @ root))
        if slack * values[-1] <= -1.0:
            raise ValueError(
                f"k={kappa:g} is too large for these data: the k-class objective has "
                f"no minimum from k={1 + 1 / values[-1]:g} on. Take a smaller k."
            )
        root = root @ (vectors / np.sqrt(1.0 + slack * values))
    projected = basis @ inside
    regressors = projected + slack * outside
    params = root @ (root.T @ (regressors.T @ equation.y))
    # A second pass makes the residuals orthogonal to the last digit.
    params += root @ (root.T @ (regressors.T @ (equation.y - unit @ params)))
    root /= norms[:, None]
    return KClassFit(
        params / norms, equation.y - unit @ params, root @ root.T, projected * norms,
        regressors * norms, float(kappa),
    )  # fmt: skip


def liml_kappa(equation: LinearEquation) -> float:
    r"""Return the k of LIML, at least one.

    The smallest eigenvalue of :math:`Y'M_W Y` relative to :math:`Y'M_Z Y`, where Y
    holds y and the endogenous columns, W the exogenous columns and Z all instruments:
    one plus the square of the smallest singular value of a quotient of factors, so that
    k - 1 keeps its digits where it is small.

    Raises
    ------
    ValueError
        Where the instruments explain a combination of Y without a residual.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.moments._k_class import linear_equation, liml_kappa
    >>> rng = np.random.default_rng(0)
    >>> Z = rng.normal(size=(50, 3))
    >>> x = Z.sum(axis=1) + rng.normal(size=50)
    >>> y = x + rng.normal(size=50)
    >>> round(liml_kappa(linear_equation(y, x[:, None], Z)), 3)
    1.031
    """
    if equation.n_excluded <= equation.n_endogenous:
        return 1.0
    Y = np.column_stack(equation.partialled())
    norms = np.linalg.norm(Y, axis=0)
    Y = Y / np.where(norms > 0, norms, 1.0)
    factor = np.linalg.qr(residuals_on(equation.excluded, Y), mode="r")
    if len(factor) < Y.shape[1] or np.linalg.svd(factor)[1][-1] < _DEPENDENT:
        raise ValueError(
            "LIML is not defined: the instruments explain y and the endogenous "
            "columns, or a combination of them, without a residual. Use "
            "method='2sls', or fewer instruments."
        )
    quotient = solve_triangular(factor, (equation.excluded.T @ Y).T, trans="T")
    return 1.0 + float(np.linalg.svd(quotient, compute_uv=False)[-1]) ** 2
