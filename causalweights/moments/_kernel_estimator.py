"""What the kernel method of moments and its limits share as estimators."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from causalweights._base import unchanged_on_error
from causalweights._blas import single_blas_thread
from causalweights._progress import ProgressMixin, reports_progress
from causalweights._typing import FloatArray
from causalweights.moments._data import (
    MomentData,
    check_moment_data,
    check_regressors,
)
from causalweights.moments._formula import FormulaMixin
from causalweights.moments._kernel_fit import (
    KernelFit,
    KernelSettings,
    fit_kernel_moments,
)
from causalweights.moments._kernel_inference import FixedFeatures
from causalweights.moments._model_regression import LinearIVMoment
from causalweights.moments._models import MomentModel, restriction_of
from causalweights.moments._moment_bootstrap import Refit
from causalweights.moments._moment_inference import MomentInferenceMixin
from causalweights.moments._moment_result import MomentResult, TestResult
from causalweights.moments._profile import Objective

# Implied probabilities that amount to a smaller share of the rows are said to.
_FEW_ROWS = 0.1


def _predicts(estimator: Any) -> bool:
    """Whether the moment model predicts an outcome."""
    return estimator.moment is None or hasattr(estimator.moment, "predict")


class _KernelMomentEstimator(
    FormulaMixin, MomentInferenceMixin, ProgressMixin, BaseEstimator, ABC
):
    """Base of estimators of a moment model by the inner problem of `inner_dual`.

    A subclass has the parameters below and its own, and `_settings`, which turns them
    into a `KernelSettings`.
    """

    _title = "Kernel method of moments"

    __metadata_request__fit = {
        "instruments": True, "sample_weight": True, "groups": True,
    }  # fmt: skip
    __metadata_request__score = {"instruments": True, "sample_weight": True}

    _parameter_constraints: dict = {
        "moment": [MomentModel, None],
        "cov_type": [StrOptions({"robust", "unadjusted", "cluster", "hac"})],
        "fit_intercept": ["boolean"],
        "weight_type": [StrOptions({"sampling", "frequency"})],
        "n_starts": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    @abstractmethod
    def _settings(self) -> KernelSettings:
        """Return the options of the fit."""

    @_fit_context(prefer_skip_nested_validation=False)
    @reports_progress
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
        groups : array-like of shape (n,) or None, default=None
            Clusters, for standard errors and folds.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For bad input, under-identified models, and moments that no weights of the
            rows satisfy.

        Warns
        -----
        ConvergenceWarning
            Where the parameters did not converge.
        UserWarning
            Where the implied probabilities rest on less than a tenth of the rows.
        """
        with unchanged_on_error(self), single_blas_thread:
            data = check_moment_data(
                self, X, y, instruments, sample_weight, groups,
                fit_intercept=self.fit_intercept, weight_type=self.weight_type,
            )  # fmt: skip
            model = LinearIVMoment() if self.moment is None else self.moment
            self.moment_ = model.prepare(data)
            found = fit_kernel_moments(self.moment_, data, self._settings())
            self._store(data, found)
        self._warn(found)
        return self

    def _warn(self, found: KernelFit) -> None:
        if not found.converged:
            warnings.warn(
                f"the estimate did not converge to tol={self.tol:g} in {self.max_iter} "
                "steps: raise max_iter, or give the model a better start. Parameters "
                "that run off to infinity have weak instruments.",
                ConvergenceWarning,
                stacklevel=4,
            )
        if self.ess_ < _FEW_ROWS * len(found.p):
            warnings.warn(
                f"the implied probabilities amount to {self.ess_:.0f} of "
                f"{len(found.p)} rows: zero is near the edge of the moments' convex "
                "hull, or the model is wrong. Look at weights_.",
                UserWarning,
                stacklevel=4,
            )

    def _store(self, data: MomentData, found: KernelFit) -> None:
        """Set the fitted attributes."""
        self._sample = data
        self.objective_ = found.minimum.at.value
        self.start_objectives_ = found.minimum.values
        self.n_iter_, self.converged_ = found.minimum.n_iter, found.converged
        self.ess_ = float(1.0 / np.sum(found.p**2))
        n = len(data.y)
        weights = np.zeros(len(data.rows) + len(found.p) - n)
        weights[: len(data.rows)][data.rows] = found.p[:n]
        weights[len(data.rows) :] = found.p[n:]
        self.weights_ = weights
        self.instrument_names_ = data.z_names
        self._fit = found
        self._store_result(self._result(data, found))

    def _result(self, data: MomentData, found: KernelFit) -> MomentResult:
        details = {
            "Moment model": type(self.moment_).__name__,
            "Covariance": "cluster" if data.groups is not None else self.cov_type,
            "No. moments": found.n_moments,
            "lam": found.lam,
            "Effective sample size": self.ess_,
        }
        if data.groups is not None:
            details["No. clusters"] = int(data.groups.max()) + 1
        j_test = None
        if found.j is not None:
            j_test = TestResult.of(
                "Hansen's J", found.j, found.n_moments - len(found.theta),
                "the moments have mean zero",
            )  # fmt: skip
        return MomentResult(
            found.theta, found.cov, self.moment_.names(data), data.n_samples, j_test,
            details, self._title,
        )  # fmt: skip

    def _held(self, method: str) -> FixedFeatures:
        return FixedFeatures.of(
            self.moment_, self._sample, self._fit, self._settings(), method
        )

    def _refit(self) -> Refit:
        return self._held("the bootstrap")

    def _shift(self) -> None:
        """Return none: the refit recentres the moments of its features itself."""

    def _criterion(self) -> Objective:
        return self._held("method='profile'").criterion()

    def _influence(self) -> FloatArray:
        return self._held("the conditional moment test").influence()

    def j_test(self) -> TestResult:
        """Return the test of the overidentifying restrictions, valid for every kappa.

        Hansen's statistic at the estimate with a centred covariance, of the moments
        projected on what estimating theta leaves of them. The likelihood ratio 2 n V
        is chi-squared only for large kappa: with kappa = 1e-3 a test of level 5 %
        rejects in 30 % of samples.

        Raises
        ------
        ValueError
            With kernel instruments, a smoothed reference and after the efficient step,
            where the statistic has no chi-squared law.
        """
        check_is_fitted(self)
        if self.result_.j is None:
            raise ValueError(
                "there is no J test with kernel features of the instruments, with "
                "reference='kde' or after one_step=True: test a finite set of moments, "
                "instrument_features='linear' or a function."
            )
        return self.result_.j

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
        """Return minus the norm of held-out mean moments.

        The norm is that of the inverse covariance of the moments at the fit, with a
        ridge of 1e-4; moments and features are those of the fit.

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
            At most zero.
        """
        check_is_fitted(self)
        data = check_moment_data(
            self, X, y, instruments, sample_weight, fit_intercept=self.fit_intercept,
            weight_type=self.weight_type, reset=False,
        )  # fmt: skip
        B = self._fit.instruments.transform(data.Z)
        restriction = restriction_of(self.moment_, data, B).scaled(self._fit.scale)
        mean = data.masses @ restriction.moments(self.params_)
        return -float(mean @ self._fit.norm.solve(mean))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
