"""The Gram operator: every system asks it, none calls the compiled loops itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from causalweights._numba import _gram
from causalweights._numba import _profiles as codes
from causalweights.kernels._low_rank import LowRankFactor, pivoted_cholesky
from causalweights.kernels._threads import piece, run_rows

_DOT_CODES = (codes.LINEAR, codes.POLYNOMIAL)


def as_points(X: ArrayLike) -> np.ndarray:
    """Return X as a two-dimensional float32 or float64 array."""
    X = np.asarray(X)
    if X.dtype not in (np.float32, np.float64):
        X = X.astype(np.float64)
    if X.ndim != 2:
        raise ValueError(f"points must be two-dimensional, got shape {X.shape}.")
    if X.shape[1] == 0:
        raise ValueError("points have no columns: a kernel needs at least one.")
    # The compiled loops assume finite numbers and would return garbage.
    if not np.all(np.isfinite(X)):
        raise ValueError("points contain NaN or infinity: remove those rows.")
    return X


def check_same_columns(X: np.ndarray, Y: np.ndarray) -> None:
    """Refuse two samples of points with different numbers of columns."""
    if X.shape[1] != Y.shape[1]:
        raise ValueError(
            f"X has {X.shape[1]} columns and Y has {Y.shape[1]}: both samples must "
            "hold the same covariates."
        )


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
        check_same_columns(X, other)
        self.spec = spec
        self.n_threads = n_threads
        self.dtype = np.result_type(X.dtype, other.dtype)
        self.shape = (X.shape[0], other.shape[0])
        # Copies, in one layout: sums over columns then have the same bits for frames.
        X = np.array(X, dtype=self.dtype, order="C")
        other = X if self._symmetric else np.array(other, dtype=self.dtype, order="C")
        self._build(X, other)

    def _build(self, X: np.ndarray, Y: np.ndarray) -> None:
        terms = self.spec.terms
        origins = [t[2] for t in terms if t[0] == codes.ENERGY]
        self._norm_x = _origin_norms(X, origins)
        self._norm_y = self._norm_x if self._symmetric else _origin_norms(Y, origins)
        uses_dots = any(t[0] in _DOT_CODES for t in terms)
        self._use_blas = X.shape[1] > _gram.DIRECT_MAX and any(
            t[0] != codes.LAPLACE for t in terms
        )
        self._rows, self._columns = X, Y
        if self._use_blas and not uses_dots and len(X):
            # Centring shortens the vectors whose squared norms BLAS' route subtracts.
            center = X.mean(axis=0, dtype=np.float64)
            self._rows = (X - center).astype(self.dtype, copy=False)
            self._columns = (
                self._rows
                if self._symmetric
                else (Y - center).astype(self.dtype, copy=False)
            )
        self._columns_t = np.ascontiguousarray(self._columns.T)
        self._sq_x = _squared_norms(self._rows)
        self._sq_y = self._sq_x if self._symmetric else _squared_norms(self._columns)
        self._program = _compile(self.spec, self.dtype)

    def _arguments(self, rows: Any, columns: Any) -> tuple:
        X, nx, sx = self._rows, self._norm_x, self._sq_x
        Y, Yt, ny, sy = self._columns, self._columns_t, self._norm_y, self._sq_y
        if rows is not None:
            rows = _index(rows, self.shape[0])
            X, nx, sx = X[rows], np.ascontiguousarray(nx[:, rows]), sx[rows]
        if columns is not None:
            columns = _index(columns, self.shape[1])
            Y, ny, sy = Y[columns], np.ascontiguousarray(ny[:, columns]), sy[columns]
            Yt = np.ascontiguousarray(Y.T)
        return (X, Y, Yt, *self._program, nx, ny, sx, sy, self._use_blas)

    def _run(
        self,
        n: int,
        m: int,
        call: Callable[[int, int], None],
        *,
        width: int | None = None,
        uses_blas: bool = False,
    ) -> None:
        run_rows(
            n,
            m,
            call,
            width=width or piece(n),
            n_threads=self.n_threads,
            uses_blas=uses_blas or self._use_blas,
        )

    def dense(self) -> np.ndarray:
        """Return the whole matrix, (n, m)."""
        if not self._symmetric:
            return self.block(None)
        return self._one_sample(self._arguments(None, None))

    def _one_sample(self, args: tuple) -> np.ndarray:
        n = args[0].shape[0]
        out = np.empty((n, n), self.dtype)
        # Early rows are longer: small pieces balance the threads.
        self._run(
            n,
            n,
            lambda a, b: _gram.dense_rows(*args, a, b, True, out),
            width=_gram.ROWS,
        )
        return out

    def block(
        self, rows: ArrayLike | None, columns: ArrayLike | None = None
    ) -> np.ndarray:
        """Return the rows (and columns) with the given indices, densely.

        Indices, a boolean mask or a slice; None is all. Where ``columns is rows`` on
        one sample the block is exactly symmetric and half of it is computed.
        """
        args = self._arguments(rows, columns)
        if self._symmetric and rows is not None and columns is rows:
            return self._one_sample(args)
        n, m = args[0].shape[0], args[1].shape[0]
        out = np.empty((n, m), self.dtype)
        self._run(n, m, lambda a, b: _gram.dense_rows(*args, a, b, False, out))
        return out

    def matvec(self, v: ArrayLike, columns: ArrayLike | None = None) -> np.ndarray:
        """Return ``K[:, columns] @ v`` for v of shape (m,) or (m, k), in float64."""
        # A copy: compiled code would treat a read-only array as another type.
        v = np.array(v, dtype=self.dtype, order="C")
        args = self._arguments(None, columns)
        n, m = args[0].shape[0], args[1].shape[0]
        if v.ndim not in (1, 2) or v.shape[0] != m:
            raise ValueError(
                f"v has shape {v.shape}, the operator {m} columns: pass ({m},) or "
                f"({m}, k)."
            )
        V = v.reshape(m, v.shape[1] if v.ndim == 2 else 1)
        out = np.zeros((n, V.shape[1]))
        self._run(
            n,
            m,
            lambda a, b: _gram.matmat_rows(*args, a, b, V, out),
            uses_blas=V.shape[1] > 1,
        )
        return out if v.ndim == 2 else out[:, 0]

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
        inner = _squared_norms(self._rows.astype(np.float64))
        origins = iter(self._norm_x.astype(np.float64))
        out = np.zeros(self.shape[0])
        for coef, terms in self.spec.products:
            product = np.full(self.shape[0], coef)
            for code, scale, first, second in terms:
                if code == codes.ENERGY:
                    product *= next(origins)
                elif code in _DOT_CODES:
                    power = int(second) if code == codes.POLYNOMIAL else 1
                    product *= (scale * inner + first) ** power
            out += product
        return out

    def low_rank(self, tol: float = 1e-4, rank: int = 400) -> LowRankFactor:
        """Return a pivoted Cholesky factor: K is about ``factor @ factor.T``.

        Stops where the trace of the residual is at most ``tol`` times the trace of K,
        or at ``rank`` columns.
        """
        return pivoted_cholesky(self, tol=tol, rank=rank)


def _index(index: Any, size: int) -> np.ndarray:
    """Return positions from indices, a boolean mask or a slice."""
    if isinstance(index, slice):
        return np.arange(size)[index]
    index = np.asarray(index)
    if index.size == 0 and index.dtype != bool:
        index = index.astype(np.intp)
    return np.atleast_1d(np.arange(size)[index])


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
