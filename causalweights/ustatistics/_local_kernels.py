"""One-dimensional kernels of which the local comparisons on the unit cube are made.

The list of Yu & Wang's package: densities, and kernels of higher order, which are
negative in places so that more of their moments vanish.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.polynomial import polyint, polypow, polyval
from scipy.special import erf

from causalweights._numba._local_sums import (
    BETA,
    COSINE,
    GAUSSIAN,
    SILVERMAN,
    TRIANGULAR,
    TRICUBE,
)
from causalweights._typing import FloatArray


@dataclass(frozen=True, slots=True)
class LocalKernel:
    """An even function k of one variable that integrates to one.

    Attributes
    ----------
    name : str
    code : int
        What compiled code computes, up to ``constant``.
    constant : float
    order : int
        The first moment, beyond that of order zero, that does not vanish.
    reach : float
        Beyond it k is zero, or less than 1e-15 of k(0).
    factor : tuple of float or None
        Coefficients of 1, t^2, t^4, ... if k(t) is ``constant`` times them times
        exp(-t^2/2).
    power : int or None
        If k is one polynomial where it is not zero: ``constant`` (1 - t^2)^power on
        |t| <= 1.
    is_positive : bool
        Whether k >= 0.

    Examples
    --------
    >>> from causalweights.ustatistics._local_kernels import LOCAL_KERNELS, evaluate
    >>> kernel = LOCAL_KERNELS["gaussian4"]
    >>> kernel.order, kernel.is_positive
    (4, False)
    >>> evaluate(kernel, [0.0, 2.0])
    array([ 0.598, -0.027])
    """

    name: str
    code: int
    constant: float
    order: int
    reach: float
    factor: tuple[float, ...] | None = None
    power: int | None = None
    is_positive: bool = True

    @property
    def is_compact(self) -> bool:
        """Whether k is zero beyond 1."""
        return self.code not in (GAUSSIAN, SILVERMAN)


def _gaussian(name: str, order: int, reach: float, *factor: float) -> LocalKernel:
    constant = 1 / np.sqrt(2 * np.pi)
    return LocalKernel(
        name, GAUSSIAN, constant, order, reach, factor, is_positive=order == 2
    )


def _beta(name: str, constant: float, power: int) -> LocalKernel:
    return LocalKernel(name, BETA, constant, 2, 1.0, power=power)


LOCAL_KERNELS: dict[str, LocalKernel] = {
    kernel.name: kernel
    for kernel in [
        _gaussian("gaussian", 2, 8.4, 1.0),
        _gaussian("gaussian4", 4, 8.7, 3 / 2, -1 / 2),
        _gaussian("gaussian6", 6, 9.0, 15 / 8, -5 / 4, 1 / 8),
        _gaussian("gaussian8", 8, 9.3, 35 / 16, -35 / 16, 7 / 16, -1 / 48),
        _gaussian(
            "gaussian10", 10, 9.6, 315 / 128, -105 / 32, 63 / 64, -3 / 32, 1 / 384
        ),
        _beta("uniform", 1 / 2, 0),
        _beta("epanechnikov", 3 / 4, 1),
        _beta("biweight", 15 / 16, 2),
        _beta("triweight", 35 / 32, 3),
        LocalKernel("triangular", TRIANGULAR, 1.0, 2, 1.0),
        LocalKernel("tricube", TRICUBE, 70 / 81, 2, 1.0),
        LocalKernel("cosine", COSINE, np.pi / 4, 2, 1.0),
        LocalKernel("silverman", SILVERMAN, 1 / 2, 4, 49.4, is_positive=False),
    ]
}


def evaluate(kernel: LocalKernel, t: FloatArray) -> FloatArray:
    """Return k(t), elementwise.

    Gaussian kernels of higher order are phi(t) times a polynomial; the cosine kernel is
    (pi / 4) cos(pi t / 2) on [-1, 1], Silverman's exp(-|t| / sqrt 2)
    sin(|t| / sqrt 2 + pi / 4) / 2.
    """
    t = np.abs(np.asarray(t, dtype=np.float64))
    values: FloatArray
    if kernel.factor is not None:
        values = polyval(t * t, kernel.factor) * np.exp(-0.5 * t * t)
    elif kernel.code == SILVERMAN:
        x = t / np.sqrt(2)
        values = np.exp(-x) * np.sin(x + np.pi / 4)
    else:
        inside = np.minimum(t, 1.0)
        if kernel.power is not None:
            values = ((1 - inside) * (1 + inside)) ** kernel.power
        elif kernel.code == TRIANGULAR:
            values = 1 - inside
        elif kernel.code == TRICUBE:
            values = (1 - inside**3) ** 3
        else:
            values = np.sin(0.5 * np.pi * (1 - inside))
        values = np.where(t <= 1, values, 0.0)
    return kernel.constant * values


def _half_mass(kernel: LocalKernel, t: FloatArray) -> FloatArray:
    """Return the integral of k from 0 to t, for t >= 0."""
    if kernel.factor is not None:
        # The integral of s^2k phi is (2k - 1) that of s^(2k-2) phi, minus
        # t^(2k-1) phi(t); those of the first terms add up to a half of erf.
        density = np.exp(-0.5 * t * t) / np.sqrt(2 * np.pi)
        moment = 0.5 * erf(t / np.sqrt(2))
        terms = [kernel.factor[0] * moment]
        for k, coefficient in enumerate(kernel.factor[1:], start=1):
            moment = (2 * k - 1) * moment - t ** (2 * k - 1) * density
            terms.append(coefficient * moment)
        return np.sum(terms, axis=0)
    if kernel.code == SILVERMAN:
        x = t / np.sqrt(2)
        return 0.5 * (1 - np.exp(-x) * np.cos(x))
    t = np.minimum(t, 1.0)
    integral: FloatArray
    if kernel.power is not None:
        coefficients = polypow([1.0, 0.0, -1.0], kernel.power)
        integral = polyval(t, polyint(np.asarray(coefficients, dtype=np.float64)))
    elif kernel.code == TRIANGULAR:
        integral = t - t**2 / 2
    elif kernel.code == TRICUBE:
        integral = t - 3 * t**4 / 4 + 3 * t**7 / 7 - t**10 / 10
    else:
        integral = np.sin(0.5 * np.pi * t) * 2 / np.pi
    return kernel.constant * integral


def boundary_mass(kernel: LocalKernel, bandwidth: float, V: FloatArray) -> FloatArray:
    """Return the mass inside the unit cube of the product kernel around each row.

    Parameters
    ----------
    kernel : LocalKernel
    bandwidth : float
        h > 0.
    V : ndarray of shape (n, d)
        Points of the unit cube.

    Returns
    -------
    ndarray of shape (n,)
        The product over k of the integral of k((u - v_k) / h) / h over u in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.ustatistics._local_kernels import (
    ...     LOCAL_KERNELS, boundary_mass,
    ... )
    >>> V = np.array([[0.5, 0.5], [0.0, 0.5], [0.0, 1.0]])
    >>> boundary_mass(LOCAL_KERNELS["uniform"], 0.1, V)
    array([1.  , 0.5 , 0.25])
    """
    below, above = V / bandwidth, (1 - V) / bandwidth
    return np.prod(_half_mass(kernel, below) + _half_mass(kernel, above), axis=1)
