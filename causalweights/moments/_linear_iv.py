"""Linear instrumental variables: two-stage least squares, LIML, Fuller, k-class."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import Any, Self

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from causalweights._base import unchanged_on_error
from causalweights._typing import FloatArray
from causalweights.moments._data import (
    MomentData,
    check_identified,
    check_moment_data,
    check_regressors,
)
from causalweights.moments._formula import FormulaMixin
from causalweights.moments._gmm_covariance import CovarianceOptions
from causalweights.moments._iv_reports import IVReportsMixin
from causalweights.moments._iv_state import (
    LinearIVState,
    check_shared_names,
    k_class_covariance,
    k_class_scores,
    weighted_equation,
)
from causalweights.moments._k_class import (
    KClassFit,
    LinearEquation,
    k_class,
    liml_kappa,
)
from causalweights.moments._model_regression import LinearIVMoment
from causalweights.moments._models import MomentModel
from causalweights.moments._moment_bootstrap import Refit
from causalweights.moments._moment_result import MomentResult, TestResult

_METHODS = {"2sls": "2SLS", "liml": "LIML", "fuller": "Fuller", "k-class": "k-class"}


def _testable(state: LinearIVState) -> TestResult | None:
    """Return the overidentification test; None where its covariance is singular."""
    try:
        return state.overidentification()
    except ValueError:  # `j_test` says why
        return None


class LinearIV(FormulaMixin, IVReportsMixin, BaseEstimator):
    r"""Linear regression with instruments, by a k-class estimator.

    Solves :math:`X'(I - k M_Z)(y - X\beta) = 0`, where :math:`M_Z` leaves the residuals
    on the instruments. ``"2sls"`` (k = 1) is the default; ``"liml"`` is less biased
    with many or weak instruments, but has no moments; ``"fuller"`` keeps the gain and
    has them. Where instruments may be weak, report `anderson_rubin_set`, which stays
    valid, beside the estimate.

    Parameters
    ----------
    method : {"2sls", "liml", "fuller", "k-class"}, default="2sls"
    k : float or None, default=None
        Of ``"k-class"``, which needs it; zero is least squares.
    fuller : float, default=1
        Of ``"fuller"``: k is that of LIML less fuller / (n - number of instruments). 1
        is nearly unbiased, 4 has a smaller mean squared error.
    cov_type : {"robust", "unadjusted", "cluster", "hac"}, default="robust"
        HC0; homoskedastic; of clusters (as ``"robust"`` is where groups are given); or
        autocorrelated, the rows in the order of time.
    hac_kernel : {"bartlett", "parzen", "quadratic_spectral"}, default="bartlett"
    hac_bandwidth : {"newey_west", "andrews"} or float, default="newey_west"
        Lags: chosen from the moments of two-stage least squares, or given.
    debiased : bool, default=False
        Multiply the covariance by n / (n - p).
    fit_intercept : bool, default=False
        Add a constant, the last column, to X and instruments.
    weight_type : {"sampling", "frequency"}, default="sampling"
        Whether a sample weight multiplies the moments of a row, or counts rows.

    Attributes
    ----------
    params_, se_ : ndarray of shape (p,)
        Coefficients in the order of X's columns, and their standard errors.
    cov_ : ndarray of shape (p, p)
    names_, endogenous_, excluded_ : list of str
        Columns; those of X that the instruments do not span; instruments that are no
        columns of X.
    kappa_ : float
        k.
    residuals_ : ndarray of shape (n,)
        y less X times the coefficients, of the rows of positive weight.
    weight_matrix_ : ndarray of shape (c, c)
        Inverse second moment of the instruments.
    hac_bandwidth_ : float or None
    result_ : MomentResult
    n_features_in_, feature_names_in_ : as in scikit-learn

    See Also
    --------
    GMM : Efficient under heteroskedasticity.

    Notes
    -----
    Assumes errors of mean zero given the instruments, and for the standard errors that
    the instruments are not weak (`first_stage`). A column of X is exogenous where the
    instruments span it, up to rounding; a frame's columns of one name must agree.

    The covariance is :math:`(X'(I - kM_Z)X)^{-1} \hat S (X'(I - kM_Z)X)^{-1}` with the
    scores' sum of squares. Scores are of the projected regressors, as in Stata and
    linearmodels, for estimators whose k tends to one, and of :math:`(I - kM_Z)X` for a
    fixed k, where linearmodels' are inconsistent unless k is one. No small-sample
    factor but G / (G - 1) for clusters. O(n (p + c)^2) time for c instruments; the
    sample is kept for the tests.

    References
    ----------
    .. [1] Theil (1961), Economic Forecasts and Policy, on the k-class; Anderson & Rubin
       (1949), Annals of Mathematical Statistics 20, on LIML.
    .. [2] Fuller (1977), Some properties of a modification of the limited information
       estimator, Econometrica 45.

    Examples
    --------
    >>> from causalweights import LinearIV
    >>> from causalweights.datasets import load_card
    >>> card = load_card()
    >>> iv = LinearIV(fit_intercept=True)
    >>> iv = iv.fit(card.X, card.y, instruments=card.instruments)
    >>> iv.params_[:1].round(4), iv.se_[:1].round(4)
    (array([0.1315]), array([0.054]))
    >>> print(iv.anderson_rubin_set())
    educ: [0.02841, 0.2811], interval, 95 %
    """

    __metadata_request__fit = {
        "instruments": True, "sample_weight": True, "groups": True,
    }  # fmt: skip
    __metadata_request__score = {"instruments": True, "sample_weight": True}

    _parameter_constraints: dict = {
        "method": [StrOptions(set(_METHODS))],
        "k": [Interval(Real, 0, None, closed="left"), None],
        "fuller": [Interval(Real, 0, None, closed="neither")],
        "cov_type": [StrOptions({"robust", "unadjusted", "cluster", "hac"})],
        "hac_kernel": [StrOptions({"bartlett", "parzen", "quadratic_spectral"})],
        "hac_bandwidth": [
            StrOptions({"newey_west", "andrews"}),
            Interval(Real, 0, None, closed="left"),
        ],
        "debiased": ["boolean"],
        "fit_intercept": ["boolean"],
        "weight_type": [StrOptions({"sampling", "frequency"})],
    }

    def __init__(
        self,
        method="2sls",
        *,
        k=None,
        fuller=1,
        cov_type="robust",
        hac_kernel="bartlett",
        hac_bandwidth="newey_west",
        debiased=False,
        fit_intercept=False,
        weight_type="sampling",
    ):
        self.method = method
        self.k = k
        self.fuller = fuller
        self.cov_type = cov_type
        self.hac_kernel = hac_kernel
        self.hac_bandwidth = hac_bandwidth
        self.debiased = debiased
        self.fit_intercept = fit_intercept
        self.weight_type = weight_type

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        *,
        instruments: Any = None,
        sample_weight: Any = None,
        groups: Any = None,
    ) -> Self:
        """Estimate the coefficients.

        Parameters
        ----------
        X : array-like or frame of shape (n, p)
            Regressors, exogenous ones included.
        y : array-like of shape (n,)
            Outcome.
        instruments : array-like or frame of shape (n, q) or None, default=None
            Excluded instruments and the exogenous columns of X; None takes X, which is
            least squares.
        sample_weight : array-like of shape (n,) or None, default=None
            Rows of weight zero are removed first.
        groups : array-like of shape (n,) or (n, 2) or None, default=None
            Clusters; two columns are two ways.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For bad input, under-identified models, LIML of equations that fit exactly,
            a k that is missing or too large, and options that do not go together.
        """
        with unchanged_on_error(self):
            data = check_moment_data(
                self, X, y, instruments, sample_weight, groups,
                fit_intercept=self.fit_intercept, weight_type=self.weight_type,
                two_way=True,
            )  # fmt: skip
            check_shared_names(data)
            self._sample = data
            state, fit, _, cov = self._estimate(data)
            self._store(data, state, fit, cov)
        return self

    def _estimate(
        self, data: MomentData
    ) -> tuple[LinearIVState, KClassFit, FloatArray, FloatArray]:
        """Return the equation's state, the fit, its rows' scores and covariance."""
        check_identified(data.X, data.Z, data.x_names)
        equation = weighted_equation(data)
        fit = k_class(equation, self._kappa(equation))
        options = CovarianceOptions(
            self.cov_type, kernel=self.hac_kernel, bandwidth=self.hac_bandwidth
        ).resolved(LinearIVMoment(), data, k_class(equation).params)
        state = LinearIVState.of(data, equation, fit.residuals, options)
        scores = k_class_scores(fit, state, projected=self.method != "k-class")
        cov = k_class_covariance(fit, state, scores, debiased=self.debiased)
        return state, fit, scores, cov

    def _kappa(self, equation: LinearEquation) -> float:
        """Return k, checked."""
        if (self.k is None) == (self.method == "k-class"):
            raise ValueError(
                "method='k-class' needs k."
                if self.k is None
                else f"k belongs to method='k-class', not to {self.method!r}."
            )
        if self.method == "k-class":
            return float(self.k)
        if self.method == "2sls" or not equation.n_endogenous:
            return 1.0
        kappa = liml_kappa(equation)
        if self.method == "fuller":
            kappa -= self.fuller / equation.df_reduced
        return kappa

    def _model(self) -> MomentModel:
        return LinearIVMoment()

    def _refit(self) -> Refit:
        return self._estimate_of

    def _estimate_of(
        self, model: MomentModel, data: MomentData
    ) -> tuple[FloatArray, FloatArray]:
        # The residual of zero coefficients is the outcome, of a recentred model too.
        outcome = model.residual(np.zeros(data.X.shape[1]), data)[:, 0]
        _, fit, _, cov = self._estimate(replace(data, y=outcome))
        return fit.params, cov

    def _influence(self) -> FloatArray:
        _, fit, scores, _ = self._estimate(self._sample)
        return self._sample.n_samples * scores @ fit.bread

    def _store(
        self, data: MomentData, state: LinearIVState, fit: KClassFit, cov: FloatArray
    ) -> None:
        """Set the fitted attributes."""
        self._state = state
        equation, options = state.equation, state.options
        hac = options.cov_type == "hac"
        self.kappa_ = fit.kappa
        self.endogenous_ = state.endogenous
        self.excluded_ = state.excluded
        self.residuals_ = data.y - data.X @ fit.params
        self.hac_bandwidth_ = float(options.bandwidth) if hac else None
        factor = np.linalg.qr(state.Z / np.sqrt(data.n_samples), mode="r")
        inverse = solve_triangular(factor, np.eye(len(factor)))
        self.weight_matrix_ = inverse @ inverse.T
        details = {
            "Method": _METHODS[self.method],
            "k": f"{fit.kappa:.6g}",
            "Covariance": options.cov_type,
            "Endogenous": ", ".join(self.endogenous_) or "none",
            "No. excluded instruments": equation.n_excluded,
        }
        details |= state.strength()
        if hac:
            details["Kernel"] = f"{options.kernel}, {options.bandwidth:g} lags"
        if state.n_groups:
            details["No. clusters"] = state.n_groups
        self._store_result(
            MomentResult(
                fit.params,
                self._checked_cov(cov),
                data.x_names,
                data.n_samples,
                _testable(state),
                details,
                "Linear instrumental variables",
            )
        )

    def predict(self, X: Any) -> FloatArray:
        """Return X times the coefficients, the structural mean.

        Parameters
        ----------
        X : array-like or frame of shape (m, p)
            After `from_formula`, a frame with the formula's columns will do.

        Returns
        -------
        ndarray of shape (m,)
        """
        check_is_fitted(self)
        X = self._regressors_of(X)
        return check_regressors(self, X, self.fit_intercept)[0] @ self.params_

    def score(
        self, X: Any, y: Any, *, instruments: Any = None, sample_weight: Any = None
    ) -> float:
        """Return minus the norm of held-out mean moments, in two-stage's weight.

        Parameters
        ----------
        X : array-like or frame of shape (m, p)
        y : array-like of shape (m,)
        instruments : array-like or frame of shape (m, q) or None, default=None
            Needed where `fit` had them; in a search, through metadata routing:
            ``set_config(enable_metadata_routing=True)``.
        sample_weight : array-like of shape (m,) or None, default=None

        Returns
        -------
        float
            At most zero; -mbar'W mbar.
        """
        check_is_fitted(self)
        data = check_moment_data(
            self, X, y, instruments, sample_weight, fit_intercept=self.fit_intercept,
            weight_type=self.weight_type, reset=False,
        )  # fmt: skip
        weight = data.sample_weight / data.n_samples
        mean = data.Z.T @ (weight * (data.y - data.X @ self.params_))
        return -float(mean @ self.weight_matrix_ @ mean)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
