"""Moment models of regressions whose errors have mean zero given the instruments."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from causalweights._typing import FloatArray
from causalweights.moments._data import MomentData
from causalweights.moments._models import MomentModel, central_differences


class _IndexMoment(MomentModel):
    """Base of models of one residual that depends on theta through X theta."""

    def names(self, data: MomentData) -> list[str]:
        return list(data.x_names)

    def start(self, data: MomentData) -> FloatArray:
        return np.zeros(data.X.shape[1])

    def residual(self, theta: FloatArray, data: MomentData) -> FloatArray:
        return self._residual(data.X @ theta, data.y)[:, None]

    def residual_jac(self, theta: FloatArray, data: MomentData) -> FloatArray:
        slope = self._slope(data.X @ theta, data.y)
        return (slope[:, None] * data.X)[:, None, :]

    @abstractmethod
    def _residual(self, index: FloatArray, y: FloatArray) -> FloatArray:
        """Return the residual, (n,), at an index X theta."""

    @abstractmethod
    def _slope(self, index: FloatArray, y: FloatArray) -> FloatArray:
        """Return the residual's derivative in the index, (n,)."""


@dataclass(frozen=True)
class LinearIVMoment(_IndexMoment):
    """``E[(y - X theta) Z] = 0``: linear instrumental variables."""

    linear = True

    def start(self, data: MomentData) -> FloatArray:
        """Return two-stage least squares, (p,)."""
        root = np.sqrt(data.sample_weight)[:, None]
        basis = np.linalg.qr(root * data.Z)[0]
        fitted, outcome = basis.T @ (root * data.X), basis.T @ (root[:, 0] * data.y)
        return np.linalg.lstsq(fitted, outcome)[0]

    def predict(self, theta: FloatArray, X: FloatArray) -> FloatArray:
        """Return ``X theta``."""
        return X @ theta

    def _residual(self, index: FloatArray, y: FloatArray) -> FloatArray:
        return y - index

    def _slope(self, index: FloatArray, y: FloatArray) -> FloatArray:
        return -np.ones_like(index)


@dataclass(frozen=True)
class LogisticMoment(_IndexMoment):
    """``E[(y - 1 / (1 + exp(-X theta))) Z] = 0``, y in [0, 1].

    With X as its own instruments: logistic regression.
    """

    def prepare(self, data: MomentData) -> Self:
        """Check the outcome's range."""
        if np.any((data.y < 0) | (data.y > 1)):
            raise ValueError(
                "y must lie in [0, 1] in LogisticMoment: code the outcome as 0 and 1."
            )
        return self

    def predict(self, theta: FloatArray, X: FloatArray) -> FloatArray:
        """Return the probabilities."""
        return expit(X @ theta)

    def _residual(self, index: FloatArray, y: FloatArray) -> FloatArray:
        return y - expit(index)

    def _slope(self, index: FloatArray, y: FloatArray) -> FloatArray:
        return -expit(index) * expit(-index)


@dataclass(frozen=True)
class PoissonMoment(_IndexMoment):
    """An exponential mean with endogenous regressors; y need not be a count.

    ``"additive"`` errors: ``E[(y - exp(X theta)) Z] = 0``. ``"multiplicative"`` ones:
    ``E[(y / exp(X theta) - 1) Z] = 0``, for an unobserved factor of the mean. The two
    are different models where regressors are endogenous.

    Parameters
    ----------
    errors : {"additive", "multiplicative"}, default="additive"

    References
    ----------
    .. [1] Mullahy (1997), Instrumental-variable estimation of count data models,
       Review of Economics and Statistics 79.
    .. [2] Windmeijer & Santos Silva (1997), Endogeneity in count data models,
       Journal of Applied Econometrics 12.
    """

    errors: Literal["additive", "multiplicative"] = "additive"

    def prepare(self, data: MomentData) -> Self:
        """Check the option and the outcome's range."""
        if self.errors not in ("additive", "multiplicative"):
            raise ValueError(
                f"errors={self.errors!r} is unknown: choose 'additive' or "
                "'multiplicative'."
            )
        if np.any(data.y < 0) or not np.any(data.y > 0):
            raise ValueError(
                "y must be non-negative, and positive somewhere, in PoissonMoment."
            )
        return self

    def start(self, data: MomentData) -> FloatArray:
        """Return least squares of logarithms, (p,), zeros shrunk to the mean."""
        return np.linalg.lstsq(data.X, np.log(0.5 * (data.y + data.y.mean())))[0]

    def predict(self, theta: FloatArray, X: FloatArray) -> FloatArray:
        """Return the means (up to the mean of a multiplicative error)."""
        return np.exp(X @ theta)

    def _residual(self, index: FloatArray, y: FloatArray) -> FloatArray:
        with np.errstate(over="ignore", invalid="ignore"):
            if self.errors == "additive":
                return y - np.exp(index)
            return y * np.exp(-index) - 1.0

    def _slope(self, index: FloatArray, y: FloatArray) -> FloatArray:
        with np.errstate(over="ignore", invalid="ignore"):
            if self.errors == "additive":
                return -np.exp(index)
            return -y * np.exp(-index)


@dataclass(frozen=True)
class QuantileIVMoment(_IndexMoment):
    r"""``E[(tau - 1{y <= X theta}) Z] = 0``, the indicator smoothed.

    The indicator is replaced by the normal distribution function of ``(X theta - y) /
    h``, so that the moments have derivatives. Their bias is of order h^2.

    Parameters
    ----------
    quantile : float, default=0.5
        tau, between 0 and 1.
    bandwidth : float or None, default=None
        h. None: n^(-1/3) times a robust standard deviation of the residuals of two-
        stage least squares, which leaves the bias below the standard error.

    References
    ----------
    .. [1] Kaplan & Sun (2017), Smoothed estimating equations for instrumental
       variables quantile regression, Econometric Theory 33.
    """

    quantile: float = 0.5
    bandwidth: float | None = None

    def prepare(self, data: MomentData) -> Self:
        """Check the options, and set the bandwidth."""
        if not 0 < self.quantile < 1:
            raise ValueError(
                f"quantile must lie between 0 and 1, got {self.quantile!r}."
            )
        if self.bandwidth is None:
            rest = data.y - data.X @ LinearIVMoment().start(data)
            quarter = np.quantile(
                rest, [0.25, 0.75], method="inverted_cdf", weights=data.sample_weight
            )
            scale = float(np.diff(quarter)[0]) / (2 * norm.ppf(0.75))
            bandwidth = float(scale * data.n_samples ** (-1 / 3))
            return replace(self, bandwidth=bandwidth)
        if not self.bandwidth > 0:
            raise ValueError(f"bandwidth must be positive, got {self.bandwidth!r}.")
        return self

    def start(self, data: MomentData) -> FloatArray:
        """Return two-stage least squares, (p,)."""
        return LinearIVMoment().start(data)

    def predict(self, theta: FloatArray, X: FloatArray) -> FloatArray:
        """Return the structural quantiles."""
        return X @ theta

    def _residual(self, index: FloatArray, y: FloatArray) -> FloatArray:
        return self.quantile - norm.cdf(index, loc=y, scale=self.bandwidth)

    def _slope(self, index: FloatArray, y: FloatArray) -> FloatArray:
        return -norm.pdf(index, loc=y, scale=self.bandwidth)


@dataclass(frozen=True, eq=False)
class NonlinearLeastSquares(MomentModel):
    """``E[(y - f(X, theta)) Z] = 0``: a nonlinear regression, exogenous or not.

    With X as its own instruments the moments are linear in X, not the derivatives of f:
    pass those, or powers of X, as instruments where f has more parameters.

    Parameters
    ----------
    function : callable
        f: X (n, p_x), theta (p,) to (n,). In an estimator that is pickled, a function
        of a module.
    initial : sequence of float
        A parameter to start from.
    jacobian : callable or None, default=None
        X, theta to df / dtheta, (n, p); None takes central differences.
    parameter_names : sequence of str or None, default=None
    """

    function: Callable[[FloatArray, FloatArray], FloatArray]
    initial: Sequence[float]
    jacobian: Callable[[FloatArray, FloatArray], FloatArray] | None = None
    parameter_names: Sequence[str] | None = None

    def start(self, data: MomentData) -> FloatArray:
        """Return ``initial``."""
        return np.array(self.initial, dtype=np.float64)

    def names(self, data: MomentData) -> list[str]:
        """Return ``parameter_names``, or numbers."""
        if self.parameter_names is None:
            return super().names(data)
        return list(self.parameter_names)

    def predict(self, theta: FloatArray, X: FloatArray) -> FloatArray:
        """Return f(X, theta)."""
        return np.asarray(self.function(X, theta), dtype=np.float64)

    def residual(self, theta: FloatArray, data: MomentData) -> FloatArray:
        """Return ``y - f(X, theta)``, (n, 1)."""
        return (data.y - self.predict(theta, data.X))[:, None]

    def residual_jac(self, theta: FloatArray, data: MomentData) -> FloatArray:
        """Return ``-df / dtheta``, (n, 1, p)."""
        if self.jacobian is None:
            slopes = central_differences(lambda t: self.predict(t, data.X), theta)
        else:
            slopes = np.asarray(self.jacobian(data.X, theta), dtype=np.float64)
        return -slopes[:, None, :]
