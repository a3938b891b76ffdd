"""The generalised method of moments (Hansen 1982), as an estimator."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any, Self

from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from causalweights._base import unchanged_on_error
from causalweights._typing import FloatArray
from causalweights.moments._data import (
    MomentData,
    check_moment_data,
    check_regressors,
)
from causalweights.moments._formula import FormulaMixin
from causalweights.moments._gmm_covariance import CovarianceOptions
from causalweights.moments._gmm_fit import (
    GMMFit,
    GMMSettings,
    continuous_objective,
    fit_gmm,
    refit_gmm,
)
from causalweights.moments._model_regression import LinearIVMoment
from causalweights.moments._models import MomentModel
from causalweights.moments._moment_bootstrap import Refit
from causalweights.moments._moment_inference import (
    MomentInferenceMixin,
    moment_influence,
)
from causalweights.moments._moment_result import MomentResult, TestResult
from causalweights.moments._profile import Objective

_STEPS = {1: "one-step", 2: "two-step", "iterated": "iterated", "cue": "CUE"}


def _predicts(estimator: GMM) -> bool:
    """Whether the moment model predicts an outcome."""
    return estimator.moment is None or hasattr(estimator.moment, "predict")


class GMM(FormulaMixin, MomentInferenceMixin, BaseEstimator):
    r"""Generalised method of moments, linear instrumental variables by default.

    Chooses theta so that weighted mean moments are smallest,

    .. math:: \hat\theta = \mathrm{argmin}_\theta \bar m(\theta)' W \bar m(\theta),
              \qquad \bar m(\theta) = N^{-1} \textstyle\sum_i m_i(\theta),

    with W a given matrix (one step), the inverse of the moments' covariance at the
    estimate before (two steps, iterated), or at theta itself (continuous updating).

    Parameters
    ----------
    moment : MomentModel or None, default=None
        None is `LinearIVMoment`.
    steps : {1, 2, "iterated", "cue"}, default=2
        1 is two-stage least squares with the default weight.
    initial_weight : {"2sls", "identity"} or array-like of shape (m, m), default="2sls"
        Weight of the first step. ``"2sls"`` is the inverse second moment of the
        instruments (the identity for models without).
    center : bool, default=False
        Centre the moments in their covariance.
    cov_type : {"robust", "unadjusted", "cluster", "hac"}, default="robust"
        Covariance of the moments, for the weight and the standard errors: HC0,
        homoskedastic, of clusters (as ``"robust"`` is where groups are given), or
        autocorrelated, the rows in the order of time.
    hac_kernel : {"bartlett", "parzen", "quadratic_spectral"}, default="bartlett"
    hac_bandwidth : {"newey_west", "andrews"} or float, default="newey_west"
        Lags: chosen from the moments of the first step, or given.
    windmeijer : bool, default=False
        Correct the standard errors of two-step linear estimates for the estimated
        weight.
    fit_intercept : bool, default=False
        Add a constant, the last column, to X and instruments.
    weight_type : {"sampling", "frequency"}, default="sampling"
        Whether a sample weight multiplies the moments of a row, or counts rows.
    n_starts : int, default=5
        Starts of models that are not linear, and of continuous updating.
    tol : float, default=1e-7
        A last step of so many standard errors counts as converged.
    max_iter : int, default=100
        Steps of ``"iterated"``, and of each minimisation.
    random_state : int, RandomState instance or None, default=None
        Draws starts. None is seed 0.

    Attributes
    ----------
    params_, se_ : ndarray of shape (p,)
        Estimates and standard errors, in the order of X's columns where the model has
        one coefficient a column.
    cov_ : ndarray of shape (p, p)
    names_ : list of str
    moment_ : MomentModel
        The model, with constants taken from the data.
    weight_matrix_ : ndarray of shape (m, m)
        W of the last step.
    instrument_names_ : list of str
        Of the linearly independent instruments.
    objective_ : float
        N times the weighted moments' norm.
    hac_bandwidth_ : float or None
    n_iter_ : int
        Steps; of ``"cue"``, Newton's.
    converged_ : bool
    result_ : MomentResult
    n_features_in_, feature_names_in_ : as in scikit-learn

    See Also
    --------
    MomentResult : Intervals, tests and tables, which the methods here delegate to.

    Notes
    -----
    Assumes that the moments have mean zero at one theta only, and instruments that are
    not weak. The standard errors are the sandwich for the weight used, ``(G'WG)^{-1}
    G'W Omega W G (G'WG)^{-1} / N`` without small-sample factor (clusters: C / (C - 1)),
    valid whether or not W is efficient. ``j_test`` is N mbar'W mbar with the weight of
    the last step, as in linearmodels; for ``steps=1``, where that has no known law, the
    moments are projected off their derivatives first. Exactly identified estimates do
    not depend on any weight.

    Linear models are solved in closed form, other ones by damped Gauss-Newton steps,
    continuous updating by Newton steps with exact derivatives. Time O(n m^2 + m^3) a
    step, memory O(n m).

    References
    ----------
    .. [1] Hansen (1982), Large sample properties of generalized method of moments
       estimators, Econometrica 50.
    .. [2] Hansen, Heaton & Yaron (1996), Finite-sample properties of some alternative
       GMM estimators, Journal of Business & Economic Statistics 14.

    Examples
    --------
    >>> from causalweights import GMM
    >>> from causalweights.datasets import load_card
    >>> card = load_card(instruments=["nearc2", "nearc4"])
    >>> gmm = GMM(fit_intercept=True)
    >>> gmm = gmm.fit(card.X, card.y, instruments=card.instruments)
    >>> round(float(gmm.params_[0]), 4), round(float(gmm.se_[0]), 4)
    (0.1552, 0.0522)
    >>> print(gmm.j_test())
    Hansen's J: 1.2689 ~ chi2(1), p = 0.2600. H0: the moments have mean zero.
    """

    __metadata_request__fit = {
        "instruments": True, "sample_weight": True, "groups": True,
    }  # fmt: skip
    __metadata_request__score = {"instruments": True, "sample_weight": True}

    _parameter_constraints: dict = {
        "moment": [MomentModel, None],
        "steps": [Options(Integral, {1, 2}), StrOptions({"iterated", "cue"})],
        "initial_weight": [StrOptions({"2sls", "identity"}), "array-like"],
        "center": ["boolean"],
        "cov_type": [StrOptions({"robust", "unadjusted", "cluster", "hac"})],
        "hac_kernel": [StrOptions({"bartlett", "parzen", "quadratic_spectral"})],
        "hac_bandwidth": [
            StrOptions({"newey_west", "andrews"}),
            Interval(Real, 0, None, closed="left"),
        ],
        "windmeijer": ["boolean"],
        "fit_intercept": ["boolean"],
        "weight_type": [StrOptions({"sampling", "frequency"})],
        "n_starts": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        moment=None,
        *,
        steps=2,
        initial_weight="2sls",
        center=False,
        cov_type="robust",
        hac_kernel="bartlett",
        hac_bandwidth="newey_west",
        windmeijer=False,
        fit_intercept=False,
        weight_type="sampling",
        n_starts=5,
        tol=1e-7,
        max_iter=100,
        random_state=None,
    ):
        self.moment = moment
        self.steps = steps
        self.initial_weight = initial_weight
        self.center = center
        self.cov_type = cov_type
        self.hac_kernel = hac_kernel
        self.hac_bandwidth = hac_bandwidth
        self.windmeijer = windmeijer
        self.fit_intercept = fit_intercept
        self.weight_type = weight_type
        self.n_starts = n_starts
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: Any,
        y: Any,
        *,
        instruments: Any = None,
        sample_weight: Any = None,
        groups: Any = None,
    ) -> Self:
        """Estimate the parameters.

        Parameters
        ----------
        X : array-like or frame of shape (n, p)
            Regressors, exogenous ones included.
        y : array-like of shape (n,)
            Outcome.
        instruments : array-like or frame of shape (n, q) or None, default=None
            Excluded instruments and the exogenous columns of X; None takes X.
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
            For bad input, under-identified models, a singular covariance of the
            moments, and options that do not go together.
        """
        with unchanged_on_error(self):
            data = check_moment_data(
                self, X, y, instruments, sample_weight, groups,
                fit_intercept=self.fit_intercept, weight_type=self.weight_type,
                two_way=True,
            )  # fmt: skip
            model = LinearIVMoment() if self.moment is None else self.moment
            self.moment_ = model.prepare(data)
            seed = 0 if self.random_state is None else self.random_state
            found = fit_gmm(
                self.moment_, data, self._settings(), check_random_state(seed)
            )
            self._store(data, found)
        if not found.converged:
            warnings.warn(
                f"the estimate did not converge to tol={self.tol:g} in {self.max_iter} "
                "steps: raise max_iter, or give the model a better start.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return self

    def _settings(self) -> GMMSettings:
        linear = self.moment is None or self.moment.linear
        if self.windmeijer and (self.steps != 2 or not linear):
            raise ValueError(
                "windmeijer=True is for linear models in two steps: set steps=2."
            )
        options = CovarianceOptions(
            self.cov_type, self.center, self.hac_kernel, self.hac_bandwidth
        )
        return GMMSettings(
            self.steps, self.initial_weight, options, self.windmeijer, self.n_starts,
            self.tol, self.max_iter,
        )  # fmt: skip

    def _store(self, data: MomentData, found: GMMFit) -> None:
        """Set the fitted attributes."""
        self._sample = data
        self.weight_matrix_, self.objective_ = found.W, found.objective
        self.n_iter_, self.converged_ = found.n_iter, found.converged
        self._covariance = options = found.covariance
        hac = options.cov_type == "hac"
        self.hac_bandwidth_ = options.lags if hac else None
        self.instrument_names_ = data.z_names
        n_moments = len(found.W)
        details = {
            "Method": f"GMM, {_STEPS[self.steps]}",
            "Moment model": type(self.moment_).__name__,
            "Covariance": options.cov_type,
            "No. moments": n_moments,
        }
        if hac:
            details["Kernel"] = f"{options.kernel}, {options.lags:g} lags"
        if data.groups is not None:
            details["No. clusters"] = data.n_clusters
        j_test = TestResult.of(
            "Hansen's J", found.j_statistic, n_moments - len(found.theta),
            "the moments have mean zero",
        )  # fmt: skip
        result = MomentResult(
            found.theta, self._checked_cov(found.cov), self.moment_.names(data),
            data.n_samples, j_test, details, "Generalised method of moments",
        )  # fmt: skip
        self._store_result(result)

    def _refit(self) -> Refit:
        return partial(refit_gmm, settings=replace(self._settings(), n_starts=1))

    def _criterion(self) -> Objective:
        if self.steps != "cue":
            return super()._criterion()
        return continuous_objective(self.moment_, self._sample, self._covariance)

    def _influence(self) -> FloatArray:
        return moment_influence(
            self.moment_, self._sample, self.params_, self.weight_matrix_
        )

    @available_if(_predicts)
    def predict(self, X: Any) -> FloatArray:
        """Return what the moment model predicts for rows, the structural mean.

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
        rows, _ = check_regressors(self, X, self.fit_intercept)
        return self.moment_.predict(self.params_, rows)

    def score(
        self,
        X: Any,
        y: Any,
        *,
        instruments: Any = None,
        sample_weight: Any = None,
    ) -> float:
        """Return minus the norm of held-out mean moments, in the weight of the fit.

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
        moments = self.moment_.psi(self.params_, data)
        mean = data.masses @ (data.moment_weight[:, None] * moments)
        return -float(mean @ self.weight_matrix_ @ mean)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
