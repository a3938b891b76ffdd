"""The Gram operator: every system asks it, none calls the compiled loops itself."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from causalweights._numba import _columns, _gram, _symmetric
from causalweights._numba import _profiles as codes
from causalweights._threads import piece_rows, run_pieces, run_rows
from causalweights.kernels._low_rank import LowRankFactor, pivoted_cholesky
from causalweights.kernels._points import (
    Selection,
    as_points,
    check_same_columns,
    origin_norms,
    pack_columns,
    pack_rows,
    pad,
    positions,
    room_for,
    squared_norms,
    step,
)
from causalweights.kernels._spec import DOT_CODES, Spec, compile_spec, radial_scales


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
        self._norm_x = origin_norms(X, origins)
        self._norm_y = self._norm_x if self._symmetric else origin_norms(Y, origins)
        uses_products = any(t[0] in DOT_CODES for t in terms)
        self._by_products = X.shape[1] > _gram.DIRECT_MAX and any(
            t[0] != codes.LAPLACE for t in terms
        )
        self._rows, self._columns = X, Y
        if self._by_products and not uses_products and len(X):
            # Centring shortens the vectors whose squared norms this route subtracts.
            center = X.mean(axis=0, dtype=np.float64)
            self._rows = (X - center).astype(self.dtype, copy=False)
            self._columns = (
                self._rows
                if self._symmetric
                else (Y - center).astype(self.dtype, copy=False)
            )
        self._prepare()

    def _prepare(self) -> None:
        """Compute what follows from rows and columns in the operator's precision."""
        self._panel = pack_columns(self._columns)
        self._sq_x = squared_norms(self._rows)
        self._sq_y = self._sq_x if self._symmetric else squared_norms(self._columns)
        self._program = compile_spec(self.spec, self.dtype)

    def _select(self, rows: Any, columns: Any) -> tuple[int, int, _gram.Points]:
        """Return the selected numbers of rows and columns, and their points."""
        X, nx, sx = self._rows, self._norm_x, self._sq_x
        ny, sy, panel = self._norm_y, self._sq_y, self._panel
        if rows is not None:
            rows = positions(rows, self.shape[0])
            X, nx, sx = X[rows], nx[:, rows], sx[rows]
        if columns is not None:
            columns = positions(columns, self.shape[1])
            panel = pack_columns(self._columns[columns])
            ny, sy = ny[:, columns], sy[columns]
        width = step(self.dtype)
        squares_x, squares_y = pad(sx, 4), pad(sy, width)
        points = _gram.Points(
            d=X.shape[1],
            n=len(squares_x),
            m=len(squares_y),
            rows=pack_rows(X),
            panel=panel,
            norms_x=pad(nx, 4).reshape(-1),
            norms_y=pad(ny, width).reshape(-1),
            squares_x=squares_x,
            squares_y=squares_y,
            by_products=int(self._by_products),
        )
        return len(sx), len(sy), points

    def _run(
        self, n: int, m: int, call: Callable[[int, int], None], width: int | None = None
    ) -> None:
        run_rows(n, m, call, width=width or piece_rows(n), n_threads=self.n_threads)

    def dense(self, out: np.ndarray | None = None) -> np.ndarray:
        """Return the whole matrix, (n, m).

        ``out`` is filled where given: a contiguous (n, m) array of the operator's
        dtype. Writing to memory used before takes half the time of fresh memory.
        """
        points = self._select(None, None)
        return self._dense(*points, self._symmetric, out)

    def block(self, rows: Selection, columns: Selection = None) -> np.ndarray:
        """Return the rows (and columns) with the given indices, densely.

        Indices, a boolean mask or a slice; None is all. Where ``columns is rows`` on
        one sample the block is exactly symmetric and half of it is computed.
        """
        one_sample = self._symmetric and rows is not None and columns is rows
        return self._dense(*self._select(rows, columns), one_sample)

    def _dense(
        self,
        n: int,
        m: int,
        points: _gram.Points,
        one: bool,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        table = _gram.table(self._program, points)
        out = room_for((n, m), self.dtype, out)
        flat = out.reshape(-1)
        self._run(
            n,
            m,
            lambda a, b: _gram.dense_rows(table, a, b, m, one, flat),
            # Early rows of one sample are longer: small pieces balance the threads.
            _gram.ROWS if one else None,
        )
        return out

    def matvec(
        self, v: ArrayLike, columns: Selection = None, rows: Selection = None
    ) -> np.ndarray:
        """Return ``K[rows][:, columns] @ v`` for v of shape (m,) or (m, k), in float64.

        Indices, a boolean mask or a slice; None is all. m is the number of columns.
        """
        n, m, points = self._select(rows, columns)
        V = self._vectors(v, m)
        if self._symmetric and columns is rows and len(V) <= _symmetric.MAX_VECTORS:
            out = self._half_product(n, points, V)
        else:
            out = np.zeros((len(V), n))
            table = _gram.table(self._program, points)
            self._run(n, m, lambda a, b: _gram.matmat_rows(table, a, b, m, V, out))
        return np.ascontiguousarray(out.T) if np.ndim(v) == 2 else out[0]

    def _half_product(self, n: int, points: _gram.Points, V: np.ndarray) -> np.ndarray:
        """Return ``K @ V.T`` (k, n) of one sample from the values below the diagonal.

        The pieces depend on n alone, so the bits do not depend on the threads.
        """
        table = _gram.table(self._program, points)
        pieces = max(1, min(_symmetric.PIECES, -(-n // _gram.ROWS)))
        parts = np.zeros((pieces, len(V), n))
        run_pieces(
            pieces,
            lambda p: _symmetric.symmetric_piece(table, p, pieces, n, V, parts),
            values=n * n // 2,
            n_threads=self.n_threads,
        )
        return parts.sum(axis=0)

    def matvec_grid(
        self,
        v: ArrayLike,
        bandwidths: ArrayLike,
        columns: Selection = None,
        rows: Selection = None,
    ) -> np.ndarray:
        """Return ``K_h[rows][:, columns] @ v`` for every bandwidth h, in one pass.

        Distances are computed once for all bandwidths and no matrix is formed: time
        O(n m (d + H)), memory O((n + m) d + n k H) for H bandwidths.

        Parameters
        ----------
        v : array-like of shape (m,) or (m, k)
            m is the number of columns.
        bandwidths : array-like of shape (H,)
            Positive numbers that replace the kernel's own bandwidth.
        columns, rows : array-like or None, default=None
            Indices, a boolean mask or a slice; None is all.

        Returns
        -------
        ndarray of shape (H, n) or (H, n, k)
            In float64.

        Raises
        ------
        ValueError
            If the kernel is not a Gaussian, Laplace or Matern kernel with one
            bandwidth (times a number), or if bandwidths are not positive.

        Examples
        --------
        >>> import numpy as np
        >>> from causalweights.kernels import Gaussian
        >>> X, v = np.arange(6.0).reshape(3, 2), np.ones(3)
        >>> grid = Gaussian().operator(X).matvec_grid(v, [1.0, 2.0])
        >>> bool(np.allclose(grid[1], Gaussian(2.0)(X) @ v))
        True
        """
        scales = radial_scales(self.spec, bandwidths).astype(self.dtype)
        n, m, points = self._select(rows, columns)
        V = self._vectors(v, m)
        table = _gram.table(self._program, points)
        out = np.zeros((len(scales), len(V), n))
        self._run(n, m, lambda a, b: _columns.grid_rows(table, scales, a, b, m, V, out))
        coef = self.spec.products[0][0]
        out *= coef
        if np.ndim(v) == 1:
            return out[:, 0]
        return np.ascontiguousarray(out.transpose(0, 2, 1))

    def cell_means(self, labels: ArrayLike) -> np.ndarray:
        """Return the mean column of every cell of a partition of the columns.

        One pass, time O(n m d) and memory O(n C) for C cells.

        Parameters
        ----------
        labels : array-like of shape (m,)
            The cell of each column, integers 0 to C - 1; no cell may be empty.

        Returns
        -------
        ndarray of shape (n, C)
            ``K[:, labels == c].mean(axis=1)`` as column c, in float64.

        Raises
        ------
        ValueError
            If labels are no integers, negative, too few or leave a cell empty.

        Examples
        --------
        >>> import numpy as np
        >>> from causalweights.kernels import Linear
        >>> X = np.array([[1.0], [2.0], [4.0]])
        >>> Linear().operator(X).cell_means([0, 1, 1])
        array([[ 1.,  3.],
               [ 2.,  6.],
               [ 4., 12.]])
        """
        labels = np.asarray(labels)
        if labels.shape != (self.shape[1],) or labels.dtype.kind not in "iu":
            raise ValueError(
                f"labels must be {self.shape[1]} integers, one a column, got "
                f"{labels.dtype} of shape {labels.shape}."
            )
        if labels.min(initial=0) < 0:
            raise ValueError("labels must not be negative: number the cells from 0 on.")
        counts = np.bincount(labels)
        if np.any(counts == 0):
            empty = int(np.flatnonzero(counts == 0)[0])
            raise ValueError(f"cell {empty} has no columns: number cells without gaps.")
        order = np.argsort(labels, kind="stable")
        n, m, points = self._select(None, order)
        table = _gram.table(self._program, points)
        cells = labels[order].astype(np.int64)
        out = np.zeros((n, len(counts)))
        self._run(
            n,
            m,
            lambda a, b: _columns.cell_rows(table, cells, a, b, points.rows, out),
        )
        out /= counts
        return out

    def _vectors(self, v: ArrayLike, m: int) -> np.ndarray:
        """Return the vectors v (m,) or (m, k) as rows, padded to whole blocks."""
        v = np.asarray(v, dtype=self.dtype)
        if v.ndim not in (1, 2) or v.shape[0] != m:
            raise ValueError(
                f"v has shape {v.shape}, the operator {m} columns: pass ({m},) or "
                f"({m}, k)."
            )
        return pad(v.T if v.ndim == 2 else v[None], step(self.dtype))

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
        inner = squared_norms(self._rows.astype(np.float64))
        origins = iter(self._norm_x.astype(np.float64))
        out = np.zeros(self.shape[0])
        for coef, terms in self.spec.products:
            product = np.full(self.shape[0], coef)
            for code, scale, first, second in terms:
                if code == codes.ENERGY:
                    product *= next(origins)
                elif code in DOT_CODES:
                    power = int(second) if code == codes.POLYNOMIAL else 1
                    product *= (scale * inner + first) ** power
            out += product
        return out

    def astype(self, dtype: DTypeLike) -> GramOperator:
        """Return the same operator in float32 or float64."""
        dtype = np.dtype(dtype)
        if dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, got {dtype}.")
        other = copy(self)
        other.dtype = dtype
        # Converted as they are, centred or not: distances to an origin are kept.
        other._rows = self._rows.astype(dtype)
        other._norm_x = self._norm_x.astype(dtype)
        if self._symmetric:
            other._columns, other._norm_y = other._rows, other._norm_x
        else:
            other._columns = self._columns.astype(dtype)
            other._norm_y = self._norm_y.astype(dtype)
        other._prepare()
        return other

    def restrict(self, rows: Selection) -> GramOperator:
        """Return the operator of some rows of one sample."""
        other = copy(self)
        index = positions(rows, self.shape[0])
        other._rows = other._columns = self._rows[index]
        other._norm_x = other._norm_y = np.ascontiguousarray(self._norm_x[:, index])
        other.shape = (len(index), len(index))
        other._prepare()
        return other

    def low_rank(
        self, tol: float = 1e-4, rank: int = 400, **options: Any
    ) -> LowRankFactor:
        """Return a pivoted Cholesky factor: K is about ``factor @ factor.T``.

        Stops where the trace of the residual is at most ``tol`` times the trace of K,
        or at ``rank`` columns. ``options`` are those of `pivoted_cholesky`: method,
        block_size, dtype, random_state.
        """
        return pivoted_cholesky(self, tol=tol, rank=rank, **options)
