"""Squared-MMD balancing as a quadratic program over one simplex per arm.

Single arm: MMD^2(P_w, Q) + ridge sum w^2. Joint (Huling & Mak, 2024): every arm to the
target and every pair of arms, sum_a MMD^2(P_a, Q) + sum_{a<b} MMD^2(P_a, P_b), whose
Hessian is the Gram matrix times A on the diagonal blocks and -1 off them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from causalweights._typing import FloatArray, IntArray
from causalweights.balancing._goal import Goal
from causalweights.balancing._mass_problem import MassProblem
from causalweights.kernels import Kernel, LowRankFactor
from causalweights.optimize import SimplexQPResult, simplex_qp

# Above this many source rows the solver prices columns; nearest neighbours of the
# target are the natural first guess of the support.
_GUESS_ABOVE = 4000
_MAX_QUERY = 5000


class BetweenArms:
    """The operator ``C[a_i, a_j] K_ij`` with C = A on the diagonal and -1 off it."""

    def __init__(self, operator: Any, codes: IntArray, n_arms: int):
        self._operator, self._codes = operator, codes
        self._coupling = (n_arms + 1) * np.eye(n_arms) - 1.0
        self.shape, self.dtype = operator.shape, operator.dtype

    def block(self, rows: ArrayLike | None, columns: Any = None) -> np.ndarray:
        """Return the block of the coupled matrix."""
        out = self._operator.block(rows, columns)
        left = self._codes if rows is None else self._codes[np.asarray(rows)]
        right = self._codes if columns is None else self._codes[columns]
        for a in range(len(self._coupling)):
            mine = left == a
            out[mine] *= self._coupling[a, right]
        return out

    def dense(self) -> np.ndarray:
        """Return the whole coupled matrix."""
        return self.block(None)

    def matvec(self, v: ArrayLike, columns: Any = None, rows: Any = None) -> np.ndarray:
        """Return the coupled matrix (its given rows and columns) times v."""
        v = np.asarray(v, dtype=np.float64)
        codes = self._codes if columns is None else self._codes[columns]
        split = np.zeros((len(v), len(self._coupling)))
        split[np.arange(len(v)), codes] = v
        products = self._operator.matvec(split, columns, rows)
        own = self._codes if rows is None else self._codes[rows]
        return np.einsum("ia,ia->i", products, self._coupling[own])

    def diagonal(self) -> np.ndarray:
        """Return the diagonal of the coupled matrix."""
        return self._operator.diagonal() * self._coupling[0, 0]

    def low_rank(self, *, rank: int, **options: Any) -> LowRankFactor:
        """Return a factor of rank at most ``rank``, from one of the Gram matrix.

        With coupling C = BB', rows of arm a are those of the plain factor times row a
        of B: an entry is the product of C's and K's, as is the residual's diagonal.
        """
        arms = len(self._coupling)
        plain = self._operator.low_rank(rank=max(1, rank // arms), **options)
        root = np.linalg.cholesky(self._coupling)[self._codes].astype(
            plain.factor.dtype
        )
        wide = root[:, :, None] * plain.factor[:, None, :]
        scale = self._coupling[0, 0]
        return LowRankFactor(
            wide.reshape(len(root), -1), plain.pivots, scale * plain.residual,
            plain.trace_error,
        )  # fmt: skip

    def restrict(self, rows: IntArray) -> BetweenArms:
        """Return the same operator on some rows."""
        return BetweenArms(
            self._operator.restrict(rows), self._codes[rows], len(self._coupling)
        )

    def astype(self, dtype: Any) -> BetweenArms:
        """Return the same operator in another precision."""
        return BetweenArms(
            self._operator.astype(dtype), self._codes, len(self._coupling)
        )


def solve_single(
    kernel: Kernel,
    source: FloatArray,
    target: FloatArray,
    target_masses: FloatArray,
    problem: MassProblem,
    n_threads: int | None = None,
    **options: Any,
) -> SimplexQPResult:
    """Balance one source sample to a target: half the objective, less a constant.

    ``problem`` = that of the source rows; ``options`` = keywords of `simplex_qp`.
    """
    operator = problem.gram(kernel.operator(source, n_threads=n_threads))
    cross = kernel.operator(source, target, n_threads=n_threads)
    q = problem.mean(cross.row_mean(target_masses))
    guess = None
    if problem.clusters is None and len(source) > _GUESS_ABOVE:
        guess = _nearest(source, target)
    return _solve(operator, q, problem, working_set=guess, **options)


def solve_joint(
    kernel: Kernel,
    Z: FloatArray,
    codes: IntArray,
    n_arms: int,
    goal: Goal,
    problem: MassProblem,
    n_threads: int | None = None,
    **options: Any,
) -> SimplexQPResult:
    """Balance all arms to the target and to one another at once."""
    plain = kernel.operator(Z, n_threads=n_threads)
    unit_codes = problem.labels(codes)
    operator = BetweenArms(problem.gram(plain), unit_codes, n_arms)
    if goal.is_outside:
        q = kernel.operator(Z, goal.rows, n_threads=n_threads).row_mean(goal.masses)
    else:
        q = plain.row_mean(goal.of_sample)
    return _solve(operator, problem.mean(q), problem, groups=unit_codes, **options)


def _solve(
    operator: Any, q: FloatArray, problem: MassProblem, **options: Any
) -> SimplexQPResult:
    """Minimise half of v'Kv - 2 q'v + ridge (v - center)^2 within the bounds."""
    q = q + problem.ridge * problem.center
    return simplex_qp(operator, q, problem.ridge, **problem.bounds, **options)


def _nearest(source: FloatArray, target: FloatArray, k: int = 4) -> IntArray:
    """Return the source rows among the k nearest of the target rows."""
    if len(target) > _MAX_QUERY:
        target = target[:: -(-len(target) // _MAX_QUERY)]
    _, index = cKDTree(source).query(target, k=min(k, len(source)))
    return np.unique(index)
