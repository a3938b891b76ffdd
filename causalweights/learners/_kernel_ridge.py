"""Kernel ridge regression with sampling weights and closed-form leave-one-out."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from causalweights._blas import single_blas_thread
from causalweights._categories import scale_indicators
from causalweights._typing import WEIGHT_TYPES, FloatArray, WeightType
from causalweights._validation import (
    check_covariates,
    check_outcome,
    check_same_rows,
    check_sample_weight,
)
from causalweights.kernels import Kernel
from causalweights.learners._loo import (
    Sample,
    Spectrum,
    column_scaling,
    exact_fit,
    factor_spectrum,
    loo_table,
    make_sample,
)
from causalweights.learners._selection import (
    FAMILIES,
    PLAIN,
    Path,
    Table,
    bandwidth_of,
    best,
    candidate_kernels,
    check_grid,
    confirm_ridge,
    low_rank_factor,
    ridge_grid,
    search_kernels,
    search_rows,
)

# New rows whose features are formed at a time.
_CHUNK = 8192


class WeightedKernelRidge(RegressorMixin, BaseEstimator):
    r"""Fit a weighted kernel ridge regression that tunes itself by leave-one-out.

    The regression function is an intercept plus a function of a reproducing kernel
    Hilbert space. Bandwidth and ridge minimise the weighted leave-one-out error,
    which has a closed form, so that no cross-validation is nested in a cross-fit.

    Use it for smooth functions of up to some tens of covariates; where few of many
    matter, or the function jumps, a lasso or trees predict better.

    Parameters
    ----------
    kernel : str or Kernel, default="gaussian"
        ``"gaussian"``, ``"laplace"``, ``"matern"``, ``"energy"`` or ``"linear"``. A
        `causalweights.kernels.Kernel` brings its own bandwidth; its ``"median"`` is
        resolved on the fitted rows.
    bandwidth : "auto", "median", float or sequence of float, default="auto"
        h of the named family, for standardised covariates. ``"auto"`` chooses among
        0.5, 1, 2 and 4 times the median rule, a sequence among its entries.
    ridge : "auto", float or sequence of float, default="auto"
        Penalty lambda > 0 of the formula below. ``"auto"`` chooses among 15 values,
        log-spaced from 1e-9 to 1e2 times the trace of the centred, weighted kernel:
        from interpolation to the mean.
    fit_intercept : bool, default=True
        Whether b is fitted (it is not penalised) or zero.
    standardize : bool, default=True
        Centre and scale by the weighted mean and ddof-0 standard deviation; constant
        columns are then ignored. Where all are, the fit is the intercept alone.
    extrapolation : float or None, default=0.25
        Predictions stay within the range of the fitted outcomes, widened on either
        side by this share of its width: with a small ridge a wide kernel is close to a
        polynomial of high degree, which leaves it fast beyond the last rows. None does
        not bound them.
    weight_type : {"sampling", "frequency"}, default="sampling"
        Leave-one-out takes a whole row away under ``"sampling"``; under
        ``"frequency"``, where a weight of 3 stands for three rows, one copy of it.
        The solution at a given bandwidth and ridge is the same.
    max_exact : int, default=3000
        Largest number of rows for the exact solution; above, a low-rank one.
    rank : int, default=400
        Largest rank of the low-rank route.
    tol : float, default=1e-11
        Share of the centred kernel's trace that the low-rank route may leave out, a
        hundredth of the smallest ridge: a wide kernel holds all but its linear part
        in the last 1e-4. A larger value is faster and smooths more.
    random_state : int, RandomState instance or None, default=None
        Draws rows for the median rule (above 5000), for comparing bandwidths (above
        2000) and for pivots (above 4000). None is seed 0: a refit is identical.

    Attributes
    ----------
    bandwidth_ : float, tuple of float or None
        Chosen h, None for a kernel without one.
    ridge_ : float
        Chosen lambda; NaN where all columns are constant.
    intercept_ : float
        b.
    bounds_ : ndarray of shape (2,)
        Lower and upper limit of predictions.
    dual_coef_ : ndarray of shape (n_fit,)
        Coefficients of ``k(X_fit_, x)``; empty where there are none.
    coef_ : ndarray of shape (rank_,) or None
        Coefficients of the low-rank features, None in the exact route.
    X_fit_ : ndarray
        Standardised rows of positive weight, or the pivots; empty if all X is constant.
    loo_error_ : float
        Weighted mean squared leave-one-out error of the fit, in closed form.
    loo_path_ : dict of ndarray
        Columns ``"bandwidth"``, ``"ridge"``, ``"loo_error"`` and ``"n_rows"``, the
        number of rows the error was computed on; empty where nothing was to choose.
    rank_ : int or None
        Rank of the low-rank route, None in the exact one.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    sklearn.kernel_ridge.KernelRidge : No intercept, no tuning; ``alpha`` is
        ``ridge * n``.

    Notes
    -----
    The fit minimises

    .. math:: \sum_i s_i (y_i - b - f(x_i))^2 / \sum_i s_i + \lambda \|f\|^2 ,

    so the weights' scale does not matter, and whole-number weights are repeated rows.
    The leave-one-out residual is :math:`r_i / (1 - h_{ii})` with the leverages of fit
    and intercept together: a refit without row i at the same penalty
    :math:`\lambda \sum_j s_j`, j over all rows, and the same standardisation. Rows of
    zero weight are removed first.

    The bounds do not enter the leave-one-out error. They cut off a true trend too,
    where it leads further beyond the outcomes seen.

    Up to 400 rows the search uses eigendecompositions, above them Nystrom features on
    at most 300 landmarks, with bandwidths compared on at most 2000 rows; the exact
    leave-one-out error at the chosen ridge then confirms the table, or exact errors
    of neighbouring ridges decide. The low-rank route takes its pivots from at most
    4000 rows. Exact: O(n^3) time with two n x n arrays; low rank: O(n r^2) time,
    O(n r) memory. Predictions: O(m n d), or O(m r (d + r)).

    References
    ----------
    .. [1] Saunders, Gammerman & Vovk (1998), Ridge regression learning algorithm in
       dual variables, ICML. The intercept and the weights are additions.
    .. [2] Craven & Wahba (1979), Smoothing noisy data with spline functions,
       Numerische Mathematik 31, for the leave-one-out formula.
    .. [3] Harbrecht, Peters & Schneider (2012), Applied Numerical Mathematics 62, for
       the pivoted Cholesky factor.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.learners import WeightedKernelRidge
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-2, 2, size=(200, 1))
    >>> y = np.sin(2 * X[:, 0]) + 0.1 * rng.normal(size=200)
    >>> model = WeightedKernelRidge().fit(X, y)
    >>> bool(np.abs(model.predict([[0.5]]) - np.sin(1.0)).max() < 0.05)
    True
    """

    coef_: FloatArray | None
    dual_coef_: FloatArray
    rank_: int | None

    __metadata_request__fit = {"sample_weight": True}
    __metadata_request__score = {"sample_weight": True}

    _parameter_constraints: dict = {
        "kernel": [StrOptions({*FAMILIES, *PLAIN}), Kernel],
        "bandwidth": [
            StrOptions({"auto", "median"}),
            Interval(Real, 0, None, closed="neither"),
            "array-like",
        ],
        "ridge": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
            "array-like",
        ],
        "fit_intercept": ["boolean"],
        "standardize": ["boolean"],
        "extrapolation": [Interval(Real, 0, None, closed="left"), None],
        "weight_type": [StrOptions(set(WEIGHT_TYPES))],
        "max_exact": [Interval(Integral, 0, None, closed="left")],
        "rank": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, 1, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        kernel: str | Kernel = "gaussian",
        bandwidth: str | float | Sequence[float] = "auto",
        ridge: str | float | Sequence[float] = "auto",
        fit_intercept: bool = True,
        standardize: bool = True,
        extrapolation: float | None = 0.25,
        weight_type: WeightType = "sampling",
        max_exact: int = 3000,
        rank: int = 400,
        tol: float = 1e-11,
        random_state: Any = None,
    ):
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.ridge = ridge
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.extrapolation = extrapolation
        self.weight_type = weight_type
        self.max_exact = max_exact
        self.rank = rank
        self.tol = tol
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> WeightedKernelRidge:
        """Fit the regression.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            Covariates, n >= 2. Columns of strings or categories of a pandas or polars
            frame become one indicator a level, each times sqrt(1/2) beside the scaling.
        y : array-like of shape (n,)
            Outcome.
        sample_weight : array-like of shape (n,) or None, default=None
            Non-negative weights s; only their ratios matter to the solution.

        Returns
        -------
        WeightedKernelRidge
            The fitted estimator.
        """
        check_same_rows(X=X, y=y, sample_weight=sample_weight)
        X = check_covariates(self, X)
        y = check_outcome(y, X.shape[0])
        weight = check_sample_weight(sample_weight, X.shape[0])
        check_grid("bandwidth", self.bandwidth)
        check_grid("ridge", self.ridge)
        rows = weight > 0
        X, y, weight = X[rows], y[rows], weight[rows]
        free = self.extrapolation is None
        margin = np.inf if free else self.extrapolation * np.ptp(y)
        self.bounds_ = np.array([y.min() - margin, y.max() + margin])
        # Matrices here are too small to gain from BLAS threads, which spin instead.
        with single_blas_thread:
            self._fit(X, y, weight)
        return self

    def _fit(self, X: FloatArray, y: FloatArray, weight: FloatArray) -> None:
        self._scaling = column_scaling(X, weight, self.standardize)
        sample = self._sample(y, weight)
        Z = self._points(X)
        if Z.shape[1] == 0 or len(Z) == 1:
            self._fit_constant(Z, sample)
            return
        path = Path()
        seed = 0 if self.random_state is None else self.random_state
        table = self._search_bandwidth(Z, y, weight, path, seed)
        self.bandwidth_ = bandwidth_of(self._kernel)
        if len(Z) <= self.max_exact:
            self._fit_exact(Z, sample, table, path)
        else:
            self._fit_low_rank(Z, sample, path, seed)
        self.loo_path_ = path.arrays()

    def predict(self, X: Any) -> FloatArray:
        """Return the fitted function at new rows, kept within ``bounds_``.

        Parameters
        ----------
        X : array-like of shape (m, d)
            Covariates.

        Returns
        -------
        ndarray of shape (m,)
            Predictions.
        """
        check_is_fitted(self)
        X = check_covariates(self, X, reset=False, min_rows=1)
        return np.clip(self._evaluate(X), *self.bounds_)

    def _evaluate(self, X: FloatArray) -> FloatArray:
        """Return the function itself, unbounded."""
        out = np.full(X.shape[0], self.intercept_)
        if len(self.X_fit_) == 0:
            return out
        Z = self._points(X)
        if self.coef_ is None:
            out += self._kernel.operator(Z, self.X_fit_).matvec(self.dual_coef_)
            return out
        for start in range(0, len(Z), _CHUNK):
            rows = slice(start, start + _CHUNK)
            columns = self._kernel.operator(Z[rows], self.X_fit_).dense()
            with single_blas_thread:
                features = solve_triangular(self._core, columns.T, lower=True)
                out[rows] += self.coef_ @ features
        return out

    def _points(self, X: FloatArray) -> FloatArray:
        """Return rows in the scale in which the kernel compares them."""
        return scale_indicators(self, self._scaling.transform(X), self._scaling.kept)

    def _sample(self, y: FloatArray, weight: FloatArray) -> Sample:
        frequency = self.weight_type == "frequency"
        return make_sample(y, weight, frequency=frequency, intercept=self.fit_intercept)

    def _search_bandwidth(
        self, Z: FloatArray, y: FloatArray, weight: FloatArray, path: Path, seed: Any
    ) -> Table | None:
        """Set the kernel; return its table of errors where one was computed."""
        kernels = candidate_kernels(self.kernel, self.bandwidth, Z, seed)
        self._kernel = kernels[0]
        if len(kernels) == 1:
            return None
        rows = search_rows(len(Z), seed)
        sample = self._sample(y[rows], weight[rows])
        table = search_kernels(kernels, self.ridge, Z[rows], sample, path)
        self._kernel = table.kernel
        return table

    def _fit_constant(self, Z: FloatArray, sample: Sample) -> None:
        """Store the intercept alone: no column tells the rows apart."""
        n = len(Z)
        nothing = Spectrum(np.zeros((n, 0)), np.zeros((0, 0)), np.zeros(0))
        error = loo_table(nothing, sample, np.ones(1))[0] if n > 1 else np.nan
        self.bandwidth_, self.ridge_, self.rank_, self.coef_ = None, np.nan, None, None
        self.intercept_ = sample.center
        self.dual_coef_, self.X_fit_ = np.zeros(0), Z[:0]
        self.loo_error_ = float(error) * sample.variance
        self.loo_path_ = Path().arrays()

    def _fit_exact(
        self, Z: FloatArray, sample: Sample, table: Table | None, path: Path
    ) -> None:
        K = self._kernel.operator(Z).dense()
        if np.size(self.ridge) == 1 and not isinstance(self.ridge, str):
            ridge = float(np.ravel(self.ridge)[0])
            fit = exact_fit(K, sample, ridge)
        else:
            if table is None or path.n_rows[-1] < len(Z):
                table = search_kernels([self._kernel], self.ridge, Z, sample, path)
            ridge, fit = confirm_ridge(K, sample, table, path)
        self.ridge_, self.rank_, self.coef_ = ridge, None, None
        self.X_fit_, self.dual_coef_ = Z, fit.dual * sample.scale
        self.intercept_ = sample.center + fit.intercept * sample.scale
        self.loo_error_ = fit.loo_error * sample.variance

    def _fit_low_rank(
        self, Z: FloatArray, sample: Sample, path: Path, seed: Any
    ) -> None:
        factor, self._core, self.X_fit_ = low_rank_factor(
            self._kernel, Z, tol=self.tol, rank=self.rank, seed=seed
        )
        spectrum, mean = factor_spectrum(factor, sample)
        ridges = ridge_grid(self.ridge, spectrum)
        errors = loo_table(spectrum, sample, ridges)
        if len(ridges) > 1:
            path.add(self._kernel, ridges, errors, sample)
        at = best(errors)
        scores = spectrum.scores(sample) / (spectrum.values + ridges[at])
        self.coef_ = np.asarray(spectrum.rotation) @ scores * sample.scale
        self.ridge_, self.rank_ = float(ridges[at]), len(self.X_fit_)
        self.dual_coef_ = np.zeros(0)
        self.intercept_ = sample.center - float(mean @ self.coef_)
        self.loo_error_ = float(errors[at]) * sample.variance
