"""The Gram operator: every system asks it, none calls the compiled loops itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits

from causalweights._numba import _gram
from causalweights._numba import _profiles as codes
from causalweights.kernels._low_rank import LowRankFactor, pivoted_cholesky

# Below this many kernel values a thread pool costs more than it saves.
_SERIAL_VALUES = 200_000
_DOT_CODES = (codes.LINEAR, codes.POLYNOMIAL)


def as_points(X: ArrayLike) -> np.ndarray:
    """Return X as a two-dimensional float32 or float64 array."""
    X = np.asarray(X)
    if X.dtype not in (np.float32, np.float64):
        X = X.astype(np.float64)
    if X.ndim != 2:
        raise ValueError(f"points must be two-dimensional, got shape {X.shape}.")
    return X


@dataclass(frozen=True)
class Spec:
    """A kernel as a sum of products of terms ``(code, scale, first, second)``."""

    products: tuple[tuple[float, tuple[tuple, ...]], ...]

    @staticmethod
    def sum(products: Sequence[tuple[float, Sequence[tuple]]]) -> Spec:
        return Spec(tuple((float(c), tuple(terms)) for c, terms in products))

    @property
    def terms(self) -> list[tuple]:
        return [term for _, terms in self.products for term in terms]


class GramOperator:
    """Gram matrix of rows X against rows Y that is formed only where asked.

    Parameters
    ----------
    spec : Spec
        What a `Kernel` hands out.
    X : array-like of shape (n, d)
        First sample. float32 stays float32 (sums run in float64 across tiles).
    Y : array-like of shape (m, d) or None, default=None
        Second sample; None is X, and `dense` then computes one half only.
    n_threads : int or None, default=None
        Threads over blocks of rows. Results are the same bits for any number.

    Notes
    -----
    Time O(n m d) for every method; memory O((n + m) d) plus the result, except
    `low_rank`, O(n r).

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.kernels import Gaussian
    >>> X = np.arange(6.0).reshape(3, 2)
    >>> operator = Gaussian(bandwidth=2.0).operator(X)
    >>> bool(np.allclose(operator.matvec(np.ones(3)), operator.dense().sum(axis=1)))
    True
    """

    def __init__(
        self,
        spec: Spec,
        X: ArrayLike,
        Y: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ):
        X = as_points(X)
        self._symmetric = Y is None
        other = X if Y is None else as_points(Y)
        if other.shape[1] != X.shape[1]:
            raise ValueError(
                f"X has {X.shape[1]} columns and Y has {other.shape[1]}: both samples "
                "must hold the same covariates."
            )
        self.spec = spec
        self.n_threads = n_threads
        self.dtype = np.result_type(X.dtype, other.dtype)
        self.shape = (X.shape[0], other.shape[0])
        self._build(X.astype(self.dtype), other.astype(self.dtype))

    def _build(self, X: np.ndarray, Y: np.ndarray) -> None:
        terms = self.spec.terms
        origins = [t[2] for t in terms if t[0] == codes.ENERGY]
        self._X, self._Y = X, Y
        self._norm_x = _origin_norms(X, origins)
        self._norm_y = self._norm_x if self._symmetric else _origin_norms(Y, origins)
        uses_dots = any(t[0] in _DOT_CODES for t in terms)
        # Centring shortens the vectors whose squared norms the BLAS route subtracts.
        center = 0.0 if uses_dots or not len(X) else X.mean(axis=0, dtype=np.float64)
        self._rows = np.ascontiguousarray(X - center, dtype=self.dtype)
        columns = self._rows if self._symmetric else Y - center
        self._columns = np.ascontiguousarray(np.transpose(columns), dtype=self.dtype)
        self._use_dots = X.shape[1] > _gram.DIRECT_MAX and any(
            t[0] not in (*_DOT_CODES, codes.LAPLACE) for t in terms
        )
        self._sq_x = _squared_norms(self._rows) if self._use_dots else np.zeros(
            1, self.dtype
        )  # fmt: skip
        self._sq_y = (
            _squared_norms(np.ascontiguousarray(self._columns.T))
            if self._use_dots
            else self._sq_x
        )
        self._program = _compile(self.spec, self.dtype)

    def _arguments(self, rows, columns) -> tuple:
        X, nx, sx = self._rows, self._norm_x, self._sq_x
        Yt, ny, sy = self._columns, self._norm_y, self._sq_y
        if rows is not None:
            X, nx = X[rows], np.ascontiguousarray(nx[:, rows])
            sx = sx[rows] if self._use_dots else sx
        if columns is not None:
            Yt = np.ascontiguousarray(Yt[:, columns])
            ny = np.ascontiguousarray(ny[:, columns])
            sy = sy[columns] if self._use_dots else sy
        return (X, Yt, *self._program, nx, ny, sx, sy, self._use_dots)

    def _run(self, n: int, m: int, call: Callable[[int, int], None], width: int):
        threads = self.n_threads or numba.get_num_threads()
        if threads < 2 or n * m < _SERIAL_VALUES:
            call(0, n)
            return
        edges = list(range(0, n, width)) + [n]
        # BLAS inside the tiles must not start threads of its own.
        with (
            threadpool_limits(limits=1, user_api="blas"),
            ThreadPoolExecutor(threads) as pool,
        ):
            list(pool.map(call, edges[:-1], edges[1:]))

    def dense(self) -> np.ndarray:
        """Return the whole matrix, (n, m)."""
        if not self._symmetric:
            return self.block(None)
        out = np.empty(self.shape, self.dtype)
        args = self._arguments(None, None)
        n = self.shape[0]
        width = _gram.ROWS  # early rows are longer: small pieces balance the threads
        self._run(n, n, lambda a, b: _gram.symmetric_rows(*args, a, b, out), width)
        return out

    def block(
        self, rows: ArrayLike | None, columns: ArrayLike | None = None
    ) -> np.ndarray:
        """Return the rows (and columns) with the given indices, densely."""
        args = self._arguments(_index(rows), _index(columns))
        n, m = args[0].shape[0], args[1].shape[1]
        out = np.empty((n, m), self.dtype)
        width = _piece(n)
        self._run(n, m, lambda a, b: _gram.dense_rows(*args, a, b, out), width)
        return out

    def matvec(self, v: ArrayLike, columns: ArrayLike | None = None) -> np.ndarray:
        """Return ``K[:, columns] @ v`` for v of shape (m,) or (m, k), in float64."""
        v = np.asarray(v, dtype=np.float64)
        args = self._arguments(None, _index(columns))
        n, m = args[0].shape[0], args[1].shape[1]
        if v.shape[0] != m:
            raise ValueError(f"v has {v.shape[0]} rows, the operator {m} columns.")
        Vt = np.ascontiguousarray(v.reshape(m, -1).T).astype(self.dtype, copy=False)
        out = np.zeros((n, Vt.shape[0]))
        width = _piece(n)
        self._run(n, m, lambda a, b: _gram.matmat_rows(*args, a, b, Vt, out), width)
        return out.reshape((n, *v.shape[1:]))

    def row_mean(self, weights: ArrayLike | None = None) -> np.ndarray:
        """Return the (weighted) mean of each row; weights are normalised to sum one."""
        m = self.shape[1]
        if weights is None:
            return self.matvec(np.full(m, 1.0 / m))
        weights = np.asarray(weights, dtype=np.float64)
        return self.matvec(weights / weights.sum())

    def quadratic_form(self, w: ArrayLike, v: ArrayLike | None = None) -> float:
        """Return ``w' K w`` (``w' K v`` where v is given)."""
        w = np.asarray(w, dtype=np.float64)
        return float(w @ self.matvec(w if v is None else v))

    def diagonal(self) -> np.ndarray:
        """Return ``k(x_i, x_i)``, (n,); the operator must be of one sample."""
        if not self._symmetric:
            raise ValueError("the diagonal is defined for one sample (Y=None) only.")
        X = self._X.astype(np.float64)
        out = np.zeros(X.shape[0])
        for coef, terms in self.spec.products:
            product = np.full(X.shape[0], coef)
            for code, scale, first, second in terms:
                if code == codes.ENERGY:
                    product *= _origin_norms(X, [first])[0]
                elif code in _DOT_CODES:
                    power = int(second) if code == codes.POLYNOMIAL else 1
                    product *= (scale * np.sum(X * X, axis=1) + first) ** power
            out += product
        return out

    def low_rank(self, tol: float = 1e-4, rank: int = 400) -> LowRankFactor:
        """Return a pivoted Cholesky factor: K is about ``factor @ factor.T``.

        Stops where the trace of the residual is at most ``tol`` times the trace of K,
        or at ``rank`` columns.
        """
        return pivoted_cholesky(self, tol=tol, rank=rank)


def _index(index: ArrayLike | None) -> np.ndarray | None:
    if index is None:
        return None
    index = np.asarray(index)
    return np.flatnonzero(index) if index.dtype == bool else index


def _piece(n: int) -> int:
    """Return the rows of one thread's piece: whole row blocks, about 16 pieces."""
    return max(_gram.ROWS, -(-n // 16 // _gram.ROWS) * _gram.ROWS)


def _origin_norms(X: np.ndarray, origins: list) -> np.ndarray:
    """Return the distance of each row to each energy term's origin, (a, n), a >= 1."""
    if not origins:
        return np.zeros((1, X.shape[0]), X.dtype)
    norms = []
    for origin in origins:
        z = np.zeros(X.shape[1]) if origin is None else np.asarray(origin)
        if z.shape != (X.shape[1],):
            raise ValueError(
                f"Energy(origin=...) has {z.size} entries, X has {X.shape[1]} columns."
            )
        norms.append(np.sqrt(_squared_norms(X - z.astype(X.dtype))))
    return np.ascontiguousarray(norms)


def _squared_norms(X: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", X, X)


def _compile(spec: Spec, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """Return the spec as flat arrays (codes, group, params, coefs)."""
    term_codes, group, params, seen_energy = [], [], [], 0
    for g, (_, terms) in enumerate(spec.products):
        for code, scale, first, second in terms:
            if code == codes.ENERGY:  # its first parameter indexes the norm rows
                first, seen_energy = seen_energy, seen_energy + 1
            term_codes.append(code)
            group.append(g)
            params.append((scale, first, second))
    coefs = [c for c, _ in spec.products]
    return (
        np.asarray(term_codes, dtype=np.int64),
        np.asarray(group, dtype=np.int64),
        np.asarray(params, dtype=dtype).reshape(-1, 3),
        np.asarray(coefs, dtype=dtype),
    )
