"""Kernel families as small immutable objects that hand out Gram operators."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from causalweights._numba import _profiles as codes
from causalweights.kernels._bandwidth import median_distance
from causalweights.kernels._largest_variance import largest_variance_bandwidth
from causalweights.kernels._operator import (
    GramOperator,
    Spec,
    as_points,
    check_same_columns,
)

Bandwidth = float | str | Sequence[float]
RULES = ("median", "maxvar")


class Kernel:
    """Base of all kernels: ``k1 + k2``, ``k1 * k2`` and ``2.0 * k`` are kernels too.

    A kernel is immutable. One whose bandwidth is a rule, ``"median"`` or ``"maxvar"``
    (the bandwidth of the largest variance of k over pairs of rows), takes its value
    from data in `resolve`; `operator` resolves on the rows it is given.
    """

    __array_ufunc__ = None  # numpy's scalars leave ``2.0 * kernel`` to `__rmul__`

    def resolve(self, X: ArrayLike, *, random_state: Any = None) -> Kernel:
        """Return the kernel with every bandwidth rule replaced by its value on X."""
        return self

    def spec(self) -> Spec:
        """Return the sum of products of terms that the compiled loops evaluate."""
        raise TypeError(f"{type(self).__name__} does not define its terms.")

    def operator(
        self, X: ArrayLike, Y: ArrayLike | None = None, *, n_threads: int | None = None
    ) -> GramOperator:
        """Return the Gram operator of rows X against rows Y (X itself if None).

        Parameters
        ----------
        X : array-like of shape (n, d)
            float32 or float64; anything else is taken as float64.
        Y : array-like of shape (m, d) or None, default=None
            Second sample.
        n_threads : int or None, default=None
            Threads for blocks of rows; None follows numba's setting. The result does
            not depend on it.
        """
        rows = as_points(X)
        if Y is not None:
            other = as_points(Y)
            check_same_columns(rows, other)
            rows = np.vstack([rows, other])
        return GramOperator(self.resolve(rows).spec(), X, Y, n_threads=n_threads)

    def __call__(self, X: ArrayLike, Y: ArrayLike | None = None) -> np.ndarray:
        """Return the dense Gram matrix (n, m)."""
        return self.operator(X, Y).dense()

    def __add__(self, other: Kernel) -> Kernel:
        return _Sum((self, other)) if isinstance(other, Kernel) else NotImplemented

    def __mul__(self, other: Kernel | float) -> Kernel:
        if isinstance(other, Kernel):
            return _Product(self, other)
        return _Scaled(self, float(other))

    __rmul__ = __mul__


@dataclass(frozen=True)
class _Bandwidthed(Kernel):
    """A family with a bandwidth; a sequence of bandwidths means their average."""

    bandwidth: Bandwidth = "median"

    def __post_init__(self) -> None:
        if isinstance(self.bandwidth, str):
            if self.bandwidth not in RULES:
                raise ValueError(
                    f"bandwidth={self.bandwidth!r}: give 'median', 'maxvar', a "
                    "positive number or a list of positive numbers."
                )
            return
        values = np.atleast_1d(np.asarray(self.bandwidth, dtype=np.float64))
        if values.ndim != 1 or values.size == 0 or not np.all(np.isfinite(values)):
            raise ValueError(f"bandwidth={self.bandwidth!r} is not a list of numbers.")
        if np.any(values <= 0):
            raise ValueError(f"bandwidth must be positive, got {self.bandwidth!r}.")
        value = float(values[0]) if np.ndim(self.bandwidth) == 0 else tuple(values)
        object.__setattr__(self, "bandwidth", value)

    def resolve(self, X: ArrayLike, *, random_state: Any = None) -> Kernel:
        if not isinstance(self.bandwidth, str):
            return self
        rows = as_points(X)
        value = self._median(rows, random_state)
        if self.bandwidth == "maxvar":
            value = largest_variance_bandwidth(
                lambda h, some: dataclasses.replace(self, bandwidth=h)(some),
                rows, value, random_state=random_state,
            )  # fmt: skip
        return dataclasses.replace(self, bandwidth=value)

    def spec(self) -> Spec:
        if isinstance(self.bandwidth, str):
            raise ValueError(
                f"bandwidth={self.bandwidth!r} needs data: call resolve(X) or "
                "operator(X)."
            )
        values = np.atleast_1d(np.asarray(self.bandwidth, dtype=np.float64))
        weight = 1.0 / len(values)
        return Spec.sum([(weight, [self._term(h)]) for h in values])

    def _median(self, X: np.ndarray, random_state: Any) -> float:
        raise TypeError("defined by each family")

    def _term(self, h: float) -> tuple:
        raise TypeError("defined by each family")


@dataclass(frozen=True)
class Gaussian(_Bandwidthed):
    """Gaussian kernel ``exp(-|x - x'|^2 / (2 h^2))``.

    Parameters
    ----------
    bandwidth : float, {"median", "maxvar"} or sequence of float, default="median"
        h; ``"median"`` sets ``2 h^2`` to the median squared distance; a sequence is
        the average of the kernels.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.kernels import Gaussian
    >>> Gaussian(bandwidth=1.0)(np.array([[0.0], [2.0]])).round(4)
    array([[1.    , 0.1353],
           [0.1353, 1.    ]])
    """

    def _median(self, X, random_state):
        return float(np.sqrt(median_distance(X, random_state=random_state) / 2))

    def _term(self, h):
        return (codes.GAUSSIAN, 0.5 / (h * h), 0.0, 0.0)


@dataclass(frozen=True)
class Laplace(_Bandwidthed):
    """Laplace kernel ``exp(-|x - x'|_1 / h)``.

    Parameters
    ----------
    bandwidth : float, {"median", "maxvar"} or sequence of float, default="median"
        h; ``"median"`` is the median L1 distance.
    """

    def _median(self, X, random_state):
        return median_distance(X, "cityblock", random_state=random_state)

    def _term(self, h):
        return (codes.LAPLACE, 1.0 / h, 0.0, 0.0)


@dataclass(frozen=True)
class Matern(_Bandwidthed):
    """Matern kernel in ``u = |x - x'| / h``; its RKHS is a Sobolev space.

    ``exp(-u)``, ``(1 + u) exp(-u)``, ``(1 + u + u^2/3) exp(-u)`` for nu = 1/2, 3/2,
    5/2. scikit-learn's ``length_scale`` is ``h sqrt(2 nu)``.

    Parameters
    ----------
    bandwidth : float, {"median", "maxvar"} or sequence of float, default="median"
        h; ``"median"`` is the median Euclidean distance.
    nu : {0.5, 1.5, 2.5}, default=1.5
        Smoothness.
    """

    nu: float = 1.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nu not in (0.5, 1.5, 2.5):
            raise ValueError(f"nu must be 0.5, 1.5 or 2.5, got {self.nu!r}.")

    def _median(self, X, random_state):
        return median_distance(X, "euclidean", random_state=random_state)

    def _term(self, h):
        code = {0.5: codes.MATERN12, 1.5: codes.MATERN32, 2.5: codes.MATERN52}
        return (code[self.nu], 1.0 / h, 0.0, 0.0)


@dataclass(frozen=True)
class Energy(Kernel):
    """Distance-induced kernel ``(|x - z| + |x' - z| - |x - x'|) / 2``.

    Positive semi-definite, without a bandwidth; twice its squared maximum mean
    discrepancy is the energy distance, whatever z (Sejdinovic et al., 2013).

    Parameters
    ----------
    origin : sequence of float or None, default=None
        z; None is the zero vector, the mean of standardised covariates.
    """

    origin: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.origin is not None:
            object.__setattr__(self, "origin", tuple(float(v) for v in self.origin))

    def spec(self) -> Spec:
        return Spec.sum([(1.0, [(codes.ENERGY, 1.0, self.origin, 0.0)])])


@dataclass(frozen=True)
class Linear(Kernel):
    """Linear kernel ``x'x' + constant``.

    Parameters
    ----------
    constant : float, default=0.0
        Non-negative number added to the inner product.
    """

    constant: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.constant) and self.constant >= 0):
            raise ValueError(f"constant must be >= 0, got {self.constant!r}.")

    def spec(self) -> Spec:
        return Spec.sum([(1.0, [(codes.LINEAR, 1.0, self.constant, 0.0)])])


@dataclass(frozen=True)
class Polynomial(Kernel):
    """Polynomial kernel ``(gamma x'x' + constant)^degree``.

    Parameters
    ----------
    degree : int, default=2
        At least 1.
    gamma : float, default=1.0
        Positive scale of the inner product.
    constant : float, default=1.0
        Non-negative.
    """

    degree: int = 2
    gamma: float = 1.0
    constant: float = 1.0

    def __post_init__(self) -> None:
        if self.degree != int(self.degree) or self.degree < 1:
            raise ValueError(f"degree must be a positive integer, got {self.degree!r}.")
        if not (0 < self.gamma < np.inf and 0 <= self.constant < np.inf):
            raise ValueError("gamma must be positive and constant non-negative.")

    def spec(self) -> Spec:
        term = (codes.POLYNOMIAL, self.gamma, self.constant, float(self.degree))
        return Spec.sum([(1.0, [term])])


@dataclass(frozen=True)
class _Sum(Kernel):
    parts: tuple[Kernel, ...] = field(default=())

    def resolve(self, X, *, random_state=None):
        resolved = (k.resolve(X, random_state=random_state) for k in self.parts)
        return _Sum(tuple(resolved))

    def spec(self) -> Spec:
        return Spec.sum([p for k in self.parts for p in k.spec().products])


@dataclass(frozen=True)
class _Product(Kernel):
    left: Kernel
    right: Kernel

    def resolve(self, X, *, random_state=None):
        return _Product(
            self.left.resolve(X, random_state=random_state),
            self.right.resolve(X, random_state=random_state),
        )

    def spec(self) -> Spec:
        pairs = ((a, b) for a in self.left.spec().products
                 for b in self.right.spec().products)  # fmt: skip
        return Spec.sum([(a[0] * b[0], [*a[1], *b[1]]) for a, b in pairs])


@dataclass(frozen=True)
class _Scaled(Kernel):
    kernel: Kernel
    factor: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.factor) and self.factor >= 0):
            raise ValueError(f"a kernel's factor must be >= 0, got {self.factor!r}.")

    def resolve(self, X, *, random_state=None):
        return _Scaled(self.kernel.resolve(X, random_state=random_state), self.factor)

    def spec(self) -> Spec:
        return Spec.sum([(self.factor * c, t) for c, t in self.kernel.spec().products])
