"""Moment models: what a parameter must satisfy, and the moments that follow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

import numpy as np

from causalweights._typing import FloatArray
from causalweights.moments._data import MomentData
from causalweights.moments._profile import Restriction

_STEP = float(np.finfo(np.float64).eps) ** (1 / 3)


class MomentModel(ABC):
    """Base of moment models: subclass it to write one of your own.

    A model defines residuals rho(theta). Where ``conditional`` is true they have mean
    zero given the instruments, and the moments are ``psi = rho (x) Z``; where it is
    false the residuals are the moments themselves, and instruments are not used.

    A subclass defines `residual` and `start`; `residual_jac` where it is known, `names`
    for the tables, `predict` where theta predicts an outcome, and `prepare` to check
    the data. It holds no data of a fit, so that a model can be cloned.

    Examples
    --------
    Mean and variance of a Poisson outcome are one number: two moments, one parameter.

    >>> import numpy as np
    >>> from causalweights.moments import GMM, MomentModel
    >>> class PoissonMean(MomentModel):
    ...     conditional = False
    ...     def residual(self, theta, data):
    ...         error = data.y - theta[0]
    ...         return np.column_stack([error, error**2 - theta[0]])
    ...     def start(self, data):
    ...         return np.array([data.y.mean()])
    >>> y = np.random.default_rng(0).poisson(52.0, size=400)
    >>> GMM(PoissonMean()).fit(np.ones((400, 1)), y).params_.round(1)
    array([52.])
    """

    conditional: bool = True
    # Whether residuals are y - X theta, for which there are closed forms.
    linear: bool = False

    @abstractmethod
    def residual(self, theta: FloatArray, data: MomentData) -> FloatArray:
        """Return rho(theta), (n, r)."""

    @abstractmethod
    def start(self, data: MomentData) -> FloatArray:
        """Return a parameter to start from, (p,)."""

    def residual_jac(self, theta: FloatArray, data: MomentData) -> FloatArray:
        """Return d rho / d theta, (n, r, p); here by central differences."""
        return central_differences(lambda t: self.residual(t, data), theta)

    def names(self, data: MomentData) -> list[str]:
        """Return the parameters' names, (p,)."""
        return [f"theta{k}" for k in range(len(self.start(data)))]

    def prepare(self, data: MomentData) -> Self:
        """Check the data, and return the model with constants taken from them."""
        return self

    def psi(self, theta: FloatArray, data: MomentData) -> FloatArray:
        """Return the moments of each row, (n, m), unweighted."""
        residual = self.residual(theta, data)
        return instrument_moments(residual, data.Z) if self.conditional else residual

    def jac(self, theta: FloatArray, data: MomentData) -> FloatArray:
        """Return d psi / d theta, (n, m, p), unweighted."""
        slopes = self.residual_jac(theta, data)
        if not self.conditional:
            return slopes
        return np.stack(
            [instrument_moments(slopes[:, :, k], data.Z) for k in range(len(theta))],
            axis=2,
        )


def instrument_moments(residual: FloatArray, B: FloatArray) -> FloatArray:
    """Return ``residual (x) B`` of each row, (n, r L): all of B for each residual.

    Parameters
    ----------
    residual : ndarray of shape (n, r)
    B : ndarray of shape (n, L)
    """
    return (residual[:, :, None] * B[:, None, :]).reshape(len(residual), -1)


def restriction_of(
    model: MomentModel, data: MomentData, features: FloatArray | None = None
) -> Restriction:
    """Return the moments of the rows as functions of theta, multiplied by weights.

    Parameters
    ----------
    model : MomentModel
    data : MomentData
    features : ndarray of shape (n, L) or None, default=None
        Functions of the instruments in their place.
    """
    B: FloatArray
    if not model.conditional:
        B = np.ones((len(data.y), 1))
    else:
        B = data.Z if features is None else features
    return Restriction(
        lambda theta: model.residual(theta, data),
        lambda theta: model.residual_jac(theta, data),
        data.moment_weight[:, None] * B,
    )


def central_differences(
    function: Callable[[FloatArray], FloatArray], theta: FloatArray
) -> FloatArray:
    """Return derivatives along a new last axis, with steps eps^(1/3) max(1, |theta|).

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.moments._models import central_differences
    >>> central_differences(lambda t: t**2, np.array([1.0, 3.0]))
    array([[2., 0.],
           [0., 6.]])
    """
    columns = []
    for k, size in enumerate(np.maximum(1.0, np.abs(theta))):
        above, below = theta.copy(), theta.copy()
        above[k] += _STEP * size
        below[k] -= _STEP * size
        # The step is what the two points differ by, rounding included.
        columns.append((function(above) - function(below)) / (above[k] - below[k]))
    return np.stack(columns, axis=-1)
