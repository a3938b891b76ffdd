"""Kernels that are inner products of drawn features: averages of squared differences.

The squared maximum mean discrepancy of such a kernel is the mean, over the functions
drawn, of the squared difference of means: a discriminator class in its own right and
not an approximation that needs correcting.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn.utils import check_random_state

from causalweights._typing import FloatArray
from causalweights.kernels._families import Gaussian, Kernel, Linear
from causalweights.kernels._operator import GramOperator, Spec, as_points
from causalweights.kernels._random_features import random_fourier_features


class Features(Protocol):
    """Functions of rows."""

    def transform(self, X: ArrayLike) -> FloatArray:
        """Return their values (n, m) at rows X (n, d)."""
        ...


@dataclass(frozen=True)
class _FeatureKernel(Kernel):
    """``k(x, x') = phi(x)'phi(x')``; phi is drawn when rows are known."""

    n_features: int = 1000
    features: Features | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.n_features != int(self.n_features) or self.n_features < 1:
            raise ValueError(
                f"n_features must be a positive integer, got {self.n_features!r}."
            )

    def resolve(self, X: ArrayLike, *, random_state: Any = None) -> Kernel:
        """Return the kernel with its features drawn (None: seed 0)."""
        if self.features is not None:
            return self
        rng = check_random_state(0 if random_state is None else random_state)
        return dataclasses.replace(self, features=self._draw(as_points(X), rng))

    def spec(self) -> Spec:
        raise ValueError(
            f"{type(self).__name__} is a kernel of drawn features: it cannot be a part "
            "of a sum or product, nor have landmarks; its Gram matrix has rank "
            "n_features already."
        )

    def operator(
        self, X: ArrayLike, Y: ArrayLike | None = None, *, n_threads: int | None = None
    ) -> GramOperator:
        """Return the Gram operator, as for other kernels; O(n n_features) memory."""
        rows = as_points(X)
        if self.features is None:
            pooled = rows if Y is None else np.vstack([rows, as_points(Y)])
            return self.resolve(pooled).operator(X, Y, n_threads=n_threads)
        right = None if Y is None else self.features.transform(Y)
        return Linear().operator(
            self.features.transform(rows), right, n_threads=n_threads
        )

    def _draw(self, X: np.ndarray, rng: np.random.RandomState) -> Features:
        raise TypeError("defined by each family")


@dataclass(frozen=True)
class RandomFourier(_FeatureKernel):
    """A kernel's characteristic-function distance at drawn frequencies.

    Its squared discrepancy is the weighted mean of ``|phi_P(t) - phi_Q(t)|^2`` over
    frequencies t from the spectral law of ``kernel``: CFD balancing. The mean over
    draws is the discrepancy of ``kernel`` itself.

    Parameters
    ----------
    n_features : int, default=1000
        Even: a cosine and a sine a frequency.
    kernel : Kernel, default=Gaussian()
        Shift-invariant, see `random_fourier_features`.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.kernels import Gaussian, RandomFourier
    >>> X = np.array([[0.0], [1.0]])
    >>> K = RandomFourier(4000, kernel=Gaussian(bandwidth=1.0))(X)
    >>> bool(abs(K[0, 1] - np.exp(-0.5)) < 0.05)
    True
    """

    kernel: Kernel = field(default_factory=Gaussian)

    def _draw(self, X, rng):
        fixed = self.kernel.resolve(X, random_state=rng)
        return random_fourier_features(
            fixed, X.shape[1], self.n_features, random_state=rng
        )


@dataclass(frozen=True)
class SigmoidFeatures:
    """``s(theta_j'x + b_j) / sqrt(m)`` with the logistic s.

    Attributes
    ----------
    theta : ndarray of shape (m, d)
    b : ndarray of shape (m,)
    """

    theta: FloatArray
    b: FloatArray

    def transform(self, X: ArrayLike) -> FloatArray:
        """Return the features (n, m) of rows X (n, d)."""
        rows = as_points(X)
        values = expit(rows @ self.theta.T.astype(rows.dtype) + self.b)
        return (values / np.sqrt(len(self.b))).astype(rows.dtype, copy=False)


@dataclass(frozen=True)
class MeanSigmoid(_FeatureKernel):
    """The mean of squared differences over sigmoids, in place of their supremum.

    Directions are uniform on the sphere of radius ``bound`` and b uniform within
    ``bound`` times the length of the longest row: the class of
    `causalweights.discrepancy.Sigmoid`. The mean is convex and needs no search; it
    forgives a large difference that few functions see.

    Parameters
    ----------
    n_features : int, default=1000
    bound : float, default=1.0
        Length of theta, on the covariates' scale.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights import IPMBalancer
    >>> from causalweights.kernels import MeanSigmoid
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 2))
    >>> a = (X[:, 0] + rng.normal(size=100) > 0).astype(int)
    >>> fit = IPMBalancer(discriminator=MeanSigmoid(), ridge=1e-3).fit(X, a)
    >>> fit.converged_
    True
    """

    bound: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.bound < np.inf:
            raise ValueError(f"bound must be positive, got {self.bound!r}.")

    def _draw(self, X, rng):
        theta = rng.standard_normal((self.n_features, X.shape[1]))
        theta *= self.bound / np.linalg.norm(theta, axis=1, keepdims=True)
        reach = self.bound * float(np.sqrt(np.max(np.sum(X**2, axis=1))))
        return SigmoidFeatures(theta, rng.uniform(-reach, reach, self.n_features))
