"""Series regression (Semenova & Chernozhukov, 2021): least squares on a basis."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from scipy.linalg import svd
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from causalweights._base import unchanged_on_error
from causalweights._blas import single_blas_thread
from causalweights._typing import FloatArray
from causalweights._validation import (
    check_covariates,
    check_outcome,
    check_same_rows,
    check_sample_weight,
)
from causalweights.learners._bases import fit_basis
from causalweights.learners._residuals import (
    COV_TYPES,
    noise_residuals,
    refuse_undetermined,
)

# A centred column of this size beside its entries, or less, is rounding.
_CONSTANT = 1e-13


@dataclass(frozen=True, slots=True, eq=False)
class LeastSquares:
    """Weighted least squares with an intercept.

    Attributes
    ----------
    intercept : float
    coef : ndarray of shape (p,)
        The smallest in norm, of columns of equal scale, where they are collinear.
    center : ndarray of shape (p,)
        Weighted mean of the basis.
    influence : ndarray of shape (1 + p, n)
        Contributions of the rows to the errors of the fit at ``center`` and of
        ``coef``; NaN where the rows are no more than the coefficients.
    rank : int
        Of the coefficients, the intercept counted.
    """

    intercept: float
    coef: FloatArray
    center: FloatArray
    influence: FloatArray
    rank: int

    @property
    def covariance(self) -> FloatArray:
        """Return the covariance of intercept and coefficients, (1 + p, 1 + p)."""
        scores = self.influence.copy()
        scores[0] -= self.center @ scores[1:]
        return scores @ scores.T


def least_squares(
    B: FloatArray, y: FloatArray, weight: FloatArray, cov_type: str
) -> LeastSquares:
    """Return the weighted least-squares fit on basis B, O(n p^2).

    The contribution of row i is G^-1 (1, B_i - center) w_i u_i, G the weighted Gram
    matrix and u its residual, adjusted for its leverage as ``cov_type`` says: the sum
    of outer products is statsmodels' robust covariance.
    """
    masses = weight / weight.max()
    masses /= masses.sum()
    root = np.sqrt(masses)
    center = masses @ B
    center += masses @ (B - center)
    D = root[:, None] * (B - center)
    size = np.sqrt(np.einsum("ij,ij->j", D, D))
    size[size <= _CONSTANT * np.max(np.abs(B), axis=0, initial=0.0)] = np.inf
    U, values, Vt = svd(D / size, full_matrices=False, check_finite=False)
    eps = np.finfo(np.float64).eps * max(D.shape)
    keep = values > eps * values.max(initial=0.0)
    U, inverse = U[:, keep], (Vt[keep].T / values[keep]) / size[:, None]
    mean = float(masses @ y)
    mean += float(masses @ (y - mean))
    coef = inverse @ (U.T @ (root * (y - mean)))
    residual = y - mean - (B - center) @ coef
    leverage = masses + np.einsum("ij,ij->i", U, U)
    rank = 1 + int(keep.sum())
    noise = noise_residuals(residual, leverage, masses, rank, cov_type)
    influence = np.vstack([masses * noise, (inverse @ U.T) * (root * noise)])
    return LeastSquares(mean - float(center @ coef), coef, center, influence, rank)


class SeriesRegressor(RegressorMixin, BaseEstimator):
    r"""Fit weighted least squares on a basis, with robust standard errors.

    As the final model of a pseudo-outcome regression it gives the best linear predictor
    of the effect (``basis="linear"``), or, with a basis that grows with the sample, the
    effect curve itself with pointwise and uniform bands (see `confidence_band`).

    Parameters
    ----------
    basis : {"spline", "linear", "polynomial"} or transformer, default="spline"
        Functions of the covariates beside the intercept, which is always fitted.
        ``"spline"``: B-splines of each covariate, added up; a covariate of two values
        stays linear. ``"polynomial"``: powers and products of the standardised
        covariates. ``"linear"``: the covariates. A scikit-learn transformer is cloned
        and fitted to the array of covariates.
    degree : int, default=3
        Of the splines and of the polynomial.
    n_knots : int, default=6
        Knots of each spline, at weighted quantiles; with ``degree`` they make
        ``n_knots + degree - 1`` functions, fewer where quantiles coincide.
    cov_type : {"HC0", "HC1", "HC2", "HC3"}, default="HC3"
        How residuals are adjusted for their leverage in standard errors.

    Attributes
    ----------
    basis_ : transformer
        The fitted basis; `transform` gives its p functions.
    coef_ : ndarray of shape (p,)
        Coefficients of the basis.
    intercept_ : float
    cov_ : ndarray of shape (1 + p, 1 + p)
        Robust covariance of the intercept and the coefficients; NaN where the rows of
        positive weight are no more than the coefficients.
    rank_ : int
        Rank of intercept and basis. Of collinear functions no single one is left out:
        the coefficients are the smallest in norm.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    LocalPolynomialRegressor : Local in place of global functions, up to three columns.
    causalweights.inference.confidence_band : Bands from `linear_influence`.

    Notes
    -----
    The coefficients minimise :math:`\sum_i w_i (y_i - p(x_i)'\beta)^2`, and

    .. math:: V = G^{-1} \Big(\sum_i w_i^2 u_i^2 p_i p_i'\Big) G^{-1}, \qquad
              G = \sum_i w_i p_i p_i' ,

    with residuals u adjusted for leverage. The weights' scale does not matter and rows
    of zero weight are dropped. Whole-number weights are copies for the coefficients;
    in standard errors a row stays one observation, whatever its weight. A row that
    alone decides one function (leverage one) shows no noise of its own: under HC2 and
    HC3 it gets the root mean square of the other residuals.

    Intervals cover the weighted projection on the basis. They cover the function itself
    where the basis is rich enough for its error to be small beside the standard error
    (undersmoothing): choose more knots than prediction asks for.

    Beyond the smallest and largest value seen, splines go on linearly. O(n p^2) time,
    O(n p) memory.

    References
    ----------
    .. [1] Semenova & Chernozhukov (2021), Debiased machine learning of conditional
       average treatment effects and other causal functions, Econometrics Journal 24.
    .. [2] MacKinnon & White (1985), Some heteroskedasticity-consistent covariance
       matrix estimators with improved finite sample properties, J. Econometrics 29.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.learners import SeriesRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-2, 2, size=(500, 1))
    >>> y = np.sin(2 * X[:, 0]) + 0.1 * rng.normal(size=500)
    >>> model = SeriesRegressor().fit(X, y)
    >>> bool(np.abs(model.predict([[0.5]]) - np.sin(1.0)).max() < 0.05)
    True
    >>> A, S = model.linear_influence([[0.5]])
    >>> bool(0.005 < np.sqrt(np.sum((A @ S) ** 2)) < 0.02)
    True
    """

    __metadata_request__fit = {"sample_weight": True}
    __metadata_request__score = {"sample_weight": True}

    _parameter_constraints: dict = {
        "basis": [
            StrOptions({"spline", "linear", "polynomial"}),
            HasMethods(["fit", "transform"]),
        ],
        "degree": [Interval(Integral, 1, None, closed="left")],
        "n_knots": [Interval(Integral, 2, None, closed="left")],
        "cov_type": [StrOptions(set(COV_TYPES))],
    }

    def __init__(
        self,
        basis: Any = "spline",
        *,
        degree: int = 3,
        n_knots: int = 6,
        cov_type: str = "HC3",
    ):
        self.basis = basis
        self.degree = degree
        self.n_knots = n_knots
        self.cov_type = cov_type

    # A transformer that a user brings checks its own parameters.
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SeriesRegressor:
        """Fit basis and coefficients.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            Covariates, n >= 2. Columns of strings or categories of a frame become one
            indicator a level.
        y : array-like of shape (n,)
            Outcome.
        sample_weight : array-like of shape (n,) or None, default=None
            Non-negative weights; only their ratios matter.

        Returns
        -------
        SeriesRegressor
            The fitted estimator.
        """
        with unchanged_on_error(self):
            check_same_rows(X=X, y=y, sample_weight=sample_weight)
            X = check_covariates(self, X)
            y = check_outcome(y, X.shape[0])
            weight = check_sample_weight(sample_weight, X.shape[0])
            rows = weight > 0
            X, y, weight = X[rows], y[rows], weight[rows]
            self.basis_ = fit_basis(self.basis, X, weight, self.degree, self.n_knots)
            with single_blas_thread:
                fit = least_squares(self._functions(X), y, weight, self.cov_type)
            self.intercept_, self.coef_, self.rank_ = fit.intercept, fit.coef, fit.rank
            self.cov_ = fit.covariance
            self._center, self._scores, self._rows = fit.center, fit.influence, rows
        return self

    def predict(self, X: Any) -> FloatArray:
        """Return the fitted function at new rows.

        Parameters
        ----------
        X : array-like of shape (m, d)
            Covariates.

        Returns
        -------
        ndarray of shape (m,)
            Predictions.
        """
        functions = self._new_functions(X)
        return self.intercept_ + functions @ self.coef_

    def linear_influence(self, X: Any) -> tuple[FloatArray, FloatArray]:
        """Return what each training row contributes to the error of predictions.

        Parameters
        ----------
        X : array-like of shape (m, d)
            Covariates.

        Returns
        -------
        A : ndarray of shape (m, 1 + p)
        S : ndarray of shape (1 + p, n)
            Row i of the training data contributes ``(A @ S)[:, i]``, zero where its
            weight is; sums of squares over the rows are the pointwise variances.

        Raises
        ------
        ValueError
            Where the rows of positive weight are no more than the coefficients.
        """
        functions = self._new_functions(X)
        refuse_undetermined(self._scores[0], self.rank_)
        A = np.column_stack([np.ones(len(functions)), functions - self._center])
        S = np.zeros((A.shape[1], len(self._rows)))
        S[:, self._rows] = self._scores
        return A, S

    def _new_functions(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        return self._functions(check_covariates(self, X, reset=False, min_rows=1))

    def _functions(self, X: FloatArray) -> FloatArray:
        """Return the basis at validated rows; refuse what is not finite."""
        values = self.basis_.transform(X)
        values = values.toarray() if issparse(values) else values
        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 2 or not np.all(np.isfinite(values)):
            raise ValueError(
                "basis must transform rows to a two-dimensional array of finite "
                f"numbers; {type(self.basis_).__name__} gave shape {values.shape} or "
                "entries that are NaN or infinite."
            )
        return values
