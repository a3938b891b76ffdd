"""Hessians of the box problems, and the linear systems their solvers ask for.

A dense matrix is factored by Cholesky, or, where a ridge makes a low-rank sketch of it
accurate enough, solved by conjugate gradients that the sketch preconditions. A matrix
given by its factor L has the same route with an exact preconditioner: Woodbury's
identity, refined. Either way a solve is exact to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import (
    LinAlgError,
    blas,
    cho_factor,
    cho_solve,
    lapack,
    solve_triangular,
)

from causalweights.optimize._certificate import FloatArray, IntArray
from causalweights.optimize._factor import PIVOT_RATIO, cholesky

# A sketch pays from this size on, and while its rank is below this share of the rows.
SKETCH_ROWS, SKETCH_SHARE = 256, 0.25
# What the sketch may leave out of a diagonal entry, in units of that row's ridge.
SKETCH_LEVEL = 0.02
SKETCH_BLOCK = 32
# A solve ends at this residual, relative to its right side; callers refine to rounding.
CG_TOLERANCE, CG_STEPS = 1e-9, 60
# Above this share of free rows, products use the whole matrix rather than a copy.
WHOLE_SHARE = 0.7
# Factors are scaled in pieces of so many rows, so that copies stay small beside them.
PIECE = 1024


@dataclass(frozen=True, slots=True, eq=False)
class LowRankMatrix:
    """The positive semi-definite matrix factor @ factor.T + diag(residual).

    Attributes
    ----------
    factor : ndarray of shape (n, r)
    residual : ndarray of shape (n,)
        Non-negative: what truncation left out of the diagonal, or zeros.
    """

    factor: NDArray[Any]
    residual: NDArray[Any]


class System(Protocol):
    """A factored positive definite matrix on some rows."""

    def solve(self, r: FloatArray, enough: float = 0.0) -> FloatArray:
        """Solve to CG_TOLERANCE of |r|, or to a residual of norm `enough`."""
        ...


class Hessian(Protocol):
    """What the solvers need of K."""

    @property
    def n_rows(self) -> int: ...

    def product(self, v: FloatArray) -> FloatArray: ...

    @property
    def root(self) -> FloatArray:
        """Square roots of the diagonal of K, (n,)."""
        ...

    def restrict(self, rows: IntArray) -> Hessian: ...

    def system(
        self, rows: IntArray, diagonal: FloatArray, ratio: float = PIVOT_RATIO
    ) -> System:
        """Factor K + diag(diagonal) on `rows`; LinAlgError when it is singular."""
        ...

    def retreat(self) -> bool:
        """Give up a route whose solve failed; False where there is no other."""
        ...


class DenseHessian:
    """A dense K (n, n); `ridge` (n,) is the least diagonal a system will add."""

    def __init__(self, K: FloatArray, ridge: FloatArray) -> None:
        self.K = K
        self.ridge = ridge
        self.n_rows = K.shape[0]
        self.root = np.sqrt(K.diagonal())
        self._sketch: LowRankMatrix | None = None
        self._sketched = self.n_rows < SKETCH_ROWS

    def product(self, v: FloatArray) -> FloatArray:
        return symmetric_product(self.K, v)

    def restrict(self, rows: IntArray) -> DenseHessian:
        return DenseHessian(self.K[np.ix_(rows, rows)], self.ridge[rows])

    def system(
        self, rows: IntArray, diagonal: FloatArray, ratio: float = PIVOT_RATIO
    ) -> System:
        if not self._sketched:
            self._sketched = True
            limit = int(SKETCH_SHARE * self.n_rows)
            self._sketch = sketch(self.K, SKETCH_LEVEL * self.ridge, limit)
        if self._sketch is not None:
            whole = rows.size >= WHOLE_SHARE * self.n_rows
            K = self.K if whole else self.K[np.ix_(rows, rows)]
            return SketchedSystem(
                _Rows.of(self._sketch.factor, rows),
                diagonal + self._sketch.residual[rows],
                _DenseProduct(K, rows if whole else None, diagonal),
            )
        if rows.size == self.n_rows:
            A = np.array(self.K, order="C")
        else:
            A = self.K[np.ix_(rows, rows)]
        A.flat[:: rows.size + 1] += diagonal
        return CholeskySystem(A, ratio)

    def retreat(self) -> bool:
        had_sketch, self._sketch = self._sketch is not None, None
        return had_sketch


class FactorHessian:
    """K = factor @ factor.T without its residual, which belongs to the ridge."""

    def __init__(self, factor: FloatArray) -> None:
        self.factor = factor
        self.n_rows = factor.shape[0]
        self.root = np.sqrt(np.einsum("ij,ij->i", factor, factor))

    def product(self, v: FloatArray) -> FloatArray:
        return self.factor @ (v @ self.factor)

    def restrict(self, rows: IntArray) -> FactorHessian:
        return FactorHessian(self.factor[rows])

    def system(
        self, rows: IntArray, diagonal: FloatArray, ratio: float = PIVOT_RATIO
    ) -> System:
        if not diagonal.min(initial=np.inf) > 0.0:
            raise LinAlgError("a low-rank matrix without a diagonal is singular")
        L = _Rows.of(self.factor, rows)
        return SketchedSystem(L, diagonal, _FactorProduct(L, diagonal))

    def retreat(self) -> bool:
        return False


def symmetric_product(K: FloatArray, v: FloatArray) -> FloatArray:
    """K v of a C-ordered symmetric K: one triangle is read, half the memory traffic."""
    return blas.dsymv(1.0, K.T, v, lower=1)


class CholeskySystem:
    """Cholesky factor of a dense matrix, which is overwritten."""

    def __init__(self, A: FloatArray, ratio: float) -> None:
        self._factor = cholesky(A, ratio)

    def solve(self, r: FloatArray, enough: float = 0.0) -> FloatArray:
        return cho_solve(self._factor, r, check_finite=False)


@dataclass(frozen=True, slots=True, eq=False)
class _DenseProduct:
    """Product with K on `rows` (None: all rows of K) plus a diagonal."""

    K: FloatArray
    rows: IntArray | None
    diagonal: FloatArray

    def __call__(self, x: FloatArray) -> FloatArray:
        if self.rows is None:
            return symmetric_product(self.K, x) + self.diagonal * x
        full = np.zeros(self.K.shape[0])
        full[self.rows] = x
        return symmetric_product(self.K, full)[self.rows] + self.diagonal * x


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """L[rows] without a copy where most rows are meant (`rows` None: all of L)."""

    L: FloatArray
    rows: IntArray | None

    @classmethod
    def of(cls, L: FloatArray, rows: IntArray) -> _Rows:
        if rows.size == L.shape[0]:
            return cls(L, None)
        if rows.size < WHOLE_SHARE * L.shape[0]:
            return cls(L[rows], None)
        return cls(L, rows)

    def expand(self, t: FloatArray) -> FloatArray:
        image = self.L @ t
        return image if self.rows is None else image[self.rows]

    def project(self, x: FloatArray) -> FloatArray:
        if self.rows is None:
            return x @ self.L
        full = np.zeros(self.L.shape[0])
        full[self.rows] = x
        return full @ self.L

    def inner(self, d: FloatArray) -> FloatArray:
        """Return the lower triangle of L' diag(1/d) L, (r, r) in Fortran order."""
        total = np.zeros((self.L.shape[1],) * 2, order="F")
        for i in range(0, d.size, PIECE):
            piece = slice(i, min(i + PIECE, d.size))
            part = self.L[piece if self.rows is None else self.rows[piece]]
            part = part / np.sqrt(d[piece])[:, None]
            # The transpose of a C-ordered array is in Fortran order: no copy.
            total = blas.dsyrk(
                1.0, part.T, beta=1.0, c=total, lower=True, overwrite_c=True
            )
        return total


@dataclass(frozen=True, slots=True, eq=False)
class _FactorProduct:
    L: _Rows
    diagonal: FloatArray

    def __call__(self, x: FloatArray) -> FloatArray:
        return self.L.expand(self.L.project(x)) + self.diagonal * x


class SketchedSystem:
    """Conjugate gradients on the exact product, preconditioned by LL' + diag(d)."""

    def __init__(
        self, L: _Rows, d: FloatArray, multiply: _DenseProduct | _FactorProduct
    ) -> None:
        self._L, self._d, self._multiply = L, d, multiply
        inner = L.inner(d)
        inner.flat[:: inner.shape[0] + 1] += 1.0
        self._inner = cho_factor(inner, lower=True, overwrite_a=True)

    def _precondition(self, r: FloatArray) -> FloatArray:
        y = r / self._d
        t = cho_solve(self._inner, self._L.project(y), check_finite=False)
        return y - self._L.expand(t) / self._d

    def solve(self, r: FloatArray, enough: float = 0.0) -> FloatArray:
        size = float(np.linalg.norm(r))
        wanted = max(CG_TOLERANCE * size, enough)
        x, residual = np.zeros_like(r), r
        if size <= enough:
            return x
        z = self._precondition(residual)
        direction, inner = z, float(residual @ z)
        for _ in range(CG_STEPS):
            image = self._multiply(direction)
            curvature = float(direction @ image)
            if not (np.isfinite(curvature) and curvature > 0.0 and inner > 0.0):
                break
            step = inner / curvature
            x = x + step * direction
            residual = residual - step * image
            if float(np.linalg.norm(residual)) <= wanted:
                return x
            z = self._precondition(residual)
            previous, inner = inner, float(residual @ z)
            direction = z + (inner / previous) * direction
        raise LinAlgError("conjugate gradients did not converge")


def sketch(K: FloatArray, level: FloatArray, limit: int) -> LowRankMatrix | None:
    """Pivoted Cholesky with residual_i <= level_i; None above `limit` columns.

    Pivots come in blocks: those with the largest residual over level, thinned by a
    pivoted factorisation of the block (Harbrecht, Peters & Schneider 2012).
    """
    if not level.min() > 1e-12 * float(K.diagonal().max()):
        return None
    residual = np.array(K.diagonal())
    # Columns of the factor are rows here, so that panels are contiguous.
    panel = np.empty((limit, K.shape[0]))
    rank = 0
    while True:
        excess = residual / level
        worst = float(excess.max())
        if worst <= 1.0:
            factor = np.ascontiguousarray(panel[:rank].T)
            return LowRankMatrix(factor, np.maximum(residual, 0.0))
        size = min(SKETCH_BLOCK, limit - rank)
        if size == 0:
            return None
        candidates = np.argpartition(-excess, size - 1)[:size]
        candidates = candidates[excess[candidates] > 0.1 * worst]
        done = panel[:rank]
        core = K[np.ix_(candidates, candidates)]
        core = core - done[:, candidates].T @ done[:, candidates]
        root, order, kept, _ = lapack.dpstrf(
            core, tol=0.1 * float(residual[candidates].max()), lower=1
        )
        chosen = candidates[order[:kept] - 1]
        columns = K[chosen] - done[:, chosen].T @ done
        new = solve_triangular(root[:kept, :kept], columns, lower=True)
        panel[rank : rank + kept] = new
        residual -= np.einsum("ij,ij->j", new, new)
        residual[chosen] = 0.0
        rank += kept
