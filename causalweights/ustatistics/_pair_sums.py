"""Sums of a local kernel over all pairs of a reference and a target row."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from causalweights._typing import FloatArray
from causalweights.ustatistics._cell_sums import CellSums, typical_radius
from causalweights.ustatistics._cosine import CosineSums, cosine_terms
from causalweights.ustatistics._local_kernels import LocalKernel
from causalweights.ustatistics._moment_sums import MomentSums

Boundary = Literal["none", "reflect"]
Method = Literal["auto", "brute", "cells", "prefix", "cosine"]

# Points in a window from which moments are quicker than the pairs themselves.
_MANY = 60
# Share of the pairs up to which sorting into cells pays.
_LOCAL = 0.5
# The cosine series needs a kernel that is not too peaked against its mean, one.
_LEAST_MEAN = 4e-3
# Nanoseconds of a kernel value, of a product of features and of a cosine.
_PAIR_COST, _FEATURE_COST, _COSINE_COST = 2.0, 0.15, 10.0
# Targets a quick route leaves to the pairs, as a share from which it does not pay.
_MOST_WEAK = 0.25
# The most frequencies of an axis and products of them, of squares: tens of megabytes.
_MOST_TERMS, _MOST_FEATURES = 1001, 300_000
# The most images of a point.
_MOST_IMAGES = 1000


class PairSums:
    r"""Sums of K(U_i, V_j) over reference rows i or target rows j, never stored.

    .. math:: K(u, v) = \prod_k \frac{1}{h} k_b(u_k, v_k)

    on the unit cube, with :math:`k_b(u, v) = k((u - v)/h)` for ``boundary="none"``.
    With ``"reflect"`` the kernel is reflected at both faces of each axis,
    :math:`k_b(u, v) = \sum_l k((u - v + 2 l)/h) + k((u + v + 2 l)/h)` over all
    integers l, so that it integrates to one in either argument.

    Parameters
    ----------
    kernel : LocalKernel
        One of ``LOCAL_KERNELS``.
    bandwidth : float
        h > 0.
    reference : array-like of shape (m, d)
        U, in the unit cube.
    targets : array-like of shape (n, d)
        V, in the unit cube.
    boundary : {"none", "reflect"}, default="none"
    method : {"auto", "brute", "cells", "prefix", "cosine"}, default="auto"
        How the sums are found; they agree to 1e-10.

        ``"brute"``
            All pairs: O(m n).
        ``"cells"``
            Pairs in reach, from lists of cells: O(m + n) with O(1) points in reach.
            Kernels of infinite support are cut off where the rest is 1e-12 of the
            target's own sum, however small that is.
        ``"prefix"``
            d = 1 and kernels that are one polynomial on their support, with h <= 1/2
            under reflection: cumulated moments, O((m + n) log(m + n)).
        ``"cosine"``
            Gaussian kernels under reflection: the cosine series of M ~ 2.7 / h
            frequencies an axis, O((m + n) M^d), squares O((m + n) (2 M)^d).
        ``"auto"``
            ``"prefix"`` where it applies and windows hold more than 60 points. Else
            ``"cosine"`` where it applies, is accurate (``(h sqrt(pi/2))^d`` at least
            0.004) and is estimated to be quicker. Else ``"cells"`` if the radius
            leaves out half of the cube, else ``"brute"``.
    n_threads : int, optional
        Default: numba's number. Results have the same bits for any number.

    Attributes
    ----------
    method : str
        The route taken. ``"prefix"`` and ``"cosine"`` leave targets whose sum is so
        small that rounding would show to the pairs themselves.

    Raises
    ------
    ValueError
        For an unknown option, a bandwidth that is not positive, rows that are not in
        the unit cube or differ in d, or a method that does not apply.

    Notes
    -----
    Memory is O(m + n), and O(M^d) for the cosine series. Errors are at most 1e-10 of
    :math:`\sum_i |K_{ij}| \max_i |c_i|` for each target j. In ``to_reference`` with
    e_j the inverse of target j's sum they are 1e-10 of the largest row's sum: a
    reference row far from all targets may get zero instead of, say, 1e-20. Kernels of
    higher order are the exception where all of a target's reference rows lie at zeros
    of the kernel.

    Sums over pairs are the computation in Yu & Wang (arXiv 2008.03738), equations (1)
    and (2).

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.ustatistics._local_kernels import LOCAL_KERNELS
    >>> from causalweights.ustatistics._pair_sums import PairSums
    >>> U = (np.arange(1000)[:, None] + 0.5) / 1000
    >>> V = np.array([[0.0], [0.3]])
    >>> sums = PairSums(LOCAL_KERNELS["gaussian"], 0.1, U, V, boundary="reflect")
    >>> sums.to_targets(np.full(1000, 1 / 1000))  # the kernel integrates to one
    array([1., 1.])
    >>> sums.to_reference(np.ones(2)).shape
    (1000,)
    """

    def __init__(
        self,
        kernel: LocalKernel,
        bandwidth: float,
        reference: ArrayLike,
        targets: ArrayLike,
        *,
        boundary: Boundary = "none",
        method: Method = "auto",
        n_threads: int | None = None,
    ):
        _check_options(bandwidth, boundary, method)
        U, V = _points(reference, "reference"), _points(targets, "targets")
        if U.shape[1] != V.shape[1]:
            raise ValueError(
                "reference and targets must have the same number of columns, got "
                f"{U.shape[1]} and {V.shape[1]}."
            )
        h, reflect, d = float(bandwidth), boundary == "reflect", U.shape[1]
        self._shape = len(U), len(V)
        route = str(method)
        if method == "auto":
            route = _choose(kernel, h, *self._shape, d, reflect)
        elif not _applies(route, kernel, h, d, reflect):
            raise ValueError(
                f"method={method!r} does not apply to the {kernel.name} kernel with "
                f"bandwidth={h:g}, {d} columns and boundary={boundary!r}; use 'auto'."
            )
        by_pairs = "cells" if _local_share(kernel, h, len(U), d) < _LOCAL else "brute"
        self._quick: MomentSums | CosineSums | None = None
        self._rest = np.arange(len(V))
        if route in ("prefix", "cosine"):
            quick = _quick_sums(route, kernel, h, U, V, reflect, n_threads)
            if method == "auto" and quick.weak.mean() > _MOST_WEAK:
                route = by_pairs
            else:
                self._quick, self._rest = quick, np.flatnonzero(quick.weak)
        self.method = route
        self._pairs: CellSums | None = None
        if self._rest.size:
            self._pairs = CellSums(
                kernel, h, U, V[self._rest], reflect=reflect, n_threads=n_threads,
                one_cell=(by_pairs if self._quick is not None else route) == "brute",
            )  # fmt: skip

    def to_targets(self, c: ArrayLike) -> FloatArray:
        """Return the sums over reference rows.

        Parameters
        ----------
        c : array-like of shape (m,) or (m, q)

        Returns
        -------
        ndarray of shape (n,) or (n, q)
            sum_i K(U_i, V_j) c_i.
        """
        values = np.asarray(c, dtype=np.float64)
        columns = values.reshape(len(values), -1)
        if values.ndim not in (1, 2) or len(columns) != self._shape[0]:
            raise ValueError(
                f"c must have one row for each of {self._shape[0]} reference rows, got "
                f"shape {values.shape}."
            )
        if self._quick is not None:
            out = self._quick.to_targets(columns)
        else:
            out = np.empty((self._shape[1], columns.shape[1]))
        if self._pairs is not None:
            out[self._rest] = self._pairs.to_targets(columns)
        return out.reshape(-1, *values.shape[1:])

    def to_reference(self, e: ArrayLike, power: int = 1) -> FloatArray:
        """Return the sums over target rows.

        Parameters
        ----------
        e : array-like of shape (n,)
        power : {1, 2}, default=1

        Returns
        -------
        ndarray of shape (m,)
            sum_j (K(U_i, V_j) e_j)^power. The weight is inside the power, as a kernel
            value may be too small, and its inverse too large, to be squared alone.
        """
        if power not in (1, 2):
            raise ValueError(f"power must be 1 or 2, got {power!r}.")
        return self._sum(e, None)[0] if power == 1 else self._sum(None, e)[1]

    def to_reference_powers(
        self, e: ArrayLike, f: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Return ``to_reference(e, 1)`` and ``to_reference(f, 2)`` from one pass."""
        return self._sum(e, f)

    def _sum(
        self, first: ArrayLike | None, second: ArrayLike | None
    ) -> tuple[FloatArray, FloatArray]:
        weights = [None if e is None else self._weights(e) for e in (first, second)]
        sums: list[FloatArray]
        sums = [np.zeros(0 if e is None else self._shape[0]) for e in weights]
        if self._quick is not None:
            for k, e in enumerate(weights):
                if e is not None:
                    strong = e.copy()
                    strong[self._rest] = 0.0
                    sums[k] = self._quick.to_reference(strong, k + 1)
        if self._pairs is not None:
            rest = [None if e is None else e[self._rest] for e in weights]
            for total, part in zip(sums, self._pairs.to_reference(rest[0], rest[1])):
                total += part
        return sums[0], sums[1]

    def _weights(self, e: ArrayLike) -> FloatArray:
        values = np.asarray(e, dtype=np.float64)
        if values.shape != (self._shape[1],):
            raise ValueError(
                f"weights must have one value for each of {self._shape[1]} target "
                f"rows, got shape {values.shape}."
            )
        return values


def _check_options(bandwidth: float, boundary: str, method: str) -> None:
    """Refuse unknown options, and bandwidths that are none."""
    for name, value, options in [
        ("boundary", boundary, get_args(Boundary)),
        ("method", method, get_args(Method)),
    ]:
        if value not in options:
            raise ValueError(f"{name} must be one of {options}, got {value!r}.")
    if not (np.isfinite(bandwidth) and bandwidth > 0):
        raise ValueError(f"bandwidth must be a positive number, got {bandwidth!r}.")


def _points(X: ArrayLike, name: str) -> FloatArray:
    """Return points of the unit cube, (n, d) in float64."""
    points = np.asarray(X, dtype=np.float64)
    if points.ndim != 2 or 0 in points.shape:
        raise ValueError(
            f"{name} must be a matrix with rows and columns, got shape {points.shape}."
        )
    if not np.all((points >= 0) & (points <= 1)):
        raise ValueError(
            f"{name} must lie in the unit cube; its values go from {points.min():g} to "
            f"{points.max():g}."
        )
    return points


def _applies(
    method: str, kernel: LocalKernel, bandwidth: float, d: int, reflect: bool
) -> bool:
    """Tell whether a method can compute these sums."""
    if method == "prefix":
        polynomial = kernel.power is not None and d == 1
        return polynomial and (bandwidth <= 0.5 or not reflect)
    if method == "cosine":
        if kernel.factor is None or not reflect:
            return False
        squares = 2.0 * cosine_terms(kernel, bandwidth) + 1
        return squares <= _MOST_TERMS and squares**d <= _MOST_FEATURES
    return not reflect or kernel.reach * bandwidth <= _MOST_IMAGES


def _local_share(kernel: LocalKernel, bandwidth: float, m: int, d: int) -> float:
    """Return the share of the cube within the radius of a target."""
    side = 2 * typical_radius(kernel, d, m) * bandwidth
    return min(side, 1.0) ** d


def _choose(
    kernel: LocalKernel, bandwidth: float, m: int, n: int, d: int, reflect: bool
) -> str:
    """Return the method of the least estimated cost, see `PairSums`."""
    if _applies("prefix", kernel, bandwidth, d, reflect):
        if 2 * bandwidth * max(m, n) > _MANY:
            return "prefix"
    share = _local_share(kernel, bandwidth, m, d)
    accurate = (bandwidth * np.sqrt(np.pi / 2)) ** d >= _LEAST_MEAN
    if accurate and _applies("cosine", kernel, bandwidth, d, reflect):
        terms = 2.0 * cosine_terms(kernel, bandwidth) + 1
        series = (m + n) * (_FEATURE_COST * terms**d + _COSINE_COST * d * terms)
        images = 1 + 2 * d * typical_radius(kernel, d, m) * bandwidth
        if series < _PAIR_COST * images * share * m * n:
            return "cosine"
    if not _applies("cells", kernel, bandwidth, d, reflect):
        raise ValueError(
            f"boundary='reflect' with bandwidth={bandwidth:g} needs more than "
            f"{_MOST_IMAGES} images of each point for the {kernel.name} kernel: use a "
            "smaller bandwidth or boundary='none'."
        )
    return "cells" if share < _LOCAL else "brute"


def _quick_sums(
    route: str,
    kernel: LocalKernel,
    h: float,
    U: FloatArray,
    V: FloatArray,
    reflect: bool,
    n_threads: int | None,
) -> MomentSums | CosineSums:
    """Return sums that need not visit the pairs."""
    if route == "prefix":
        return MomentSums(kernel, h, U, V, reflect=reflect, n_threads=n_threads)
    return CosineSums(kernel, h, U, V, n_threads)
