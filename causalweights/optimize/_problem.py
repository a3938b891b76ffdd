"""The canonical quadratic program that every solver of this package receives.

minimise  v'(K + diag(ridge)) v / 2 - q'v,  sum of v over group g = mass_g,
0 <= v <= upper, where mass_g > 0 and a group's bounds sum to more than its mass, so
that an interior exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from causalweights.optimize._certificate import (
    FloatArray,
    IntArray,
    bounded_gap,
    group_sums,
)
from causalweights.optimize._dense_systems import FreeSystems, NewtonSystems
from causalweights.optimize._moments import Moments, restore

if TYPE_CHECKING:
    from causalweights.optimize._factor import Bordered

# Relative error of a sum of weights that is put down to rounding.
SUM_ROUNDING = 1e-14


class SymmetricOperator(Protocol):
    """What the solvers need of a symmetric matrix that is never formed."""

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def block(self, rows: IntArray, columns: IntArray | None = None) -> NDArray: ...

    def matvec(self, v: FloatArray, columns: IntArray | None = None) -> NDArray: ...

    def diagonal(self) -> NDArray: ...


class FactoredOperator(SymmetricOperator, Protocol):
    """What the large route needs beyond that: precision, and a low-rank factor.

    `low_rank` returns an object with `factor` (n, r) and `residual` (n,), the diagonal
    of what the factor leaves out.
    """

    def matvec(
        self,
        v: FloatArray,
        columns: IntArray | None = None,
        rows: IntArray | None = None,
    ) -> NDArray: ...

    def astype(self, dtype: Any) -> FactoredOperator: ...

    def restrict(self, rows: IntArray) -> FactoredOperator: ...

    def low_rank(self, *, tol: float, rank: int, dtype: Any) -> Any: ...


class ArrayOperator:
    """A dense symmetric array seen as an operator."""

    def __init__(self, array: FloatArray) -> None:
        self.array = array
        self.shape = array.shape
        self.dtype = array.dtype

    def block(self, rows: IntArray, columns: IntArray | None = None) -> FloatArray:
        return self.array[np.ix_(rows, rows if columns is None else columns)]

    def matvec(self, v: FloatArray, columns: IntArray | None = None) -> FloatArray:
        if columns is None:
            return self.array @ v
        if 3 * columns.size < self.shape[0]:
            # Rows stand in for columns by symmetry: contiguous reads.
            return v @ self.array[columns]
        full = np.zeros(self.shape[0])
        full[columns] = v
        return self.array @ full

    def diagonal(self) -> FloatArray:
        return self.array.diagonal()


class SubOperator:
    """Rows and columns `rows` of an operator."""

    def __init__(self, operator: SymmetricOperator, rows: IntArray) -> None:
        self.operator = operator
        self.rows = rows
        self.shape = (rows.size, rows.size)
        self.dtype = operator.dtype

    def block(self, rows: IntArray, columns: IntArray | None = None) -> NDArray:
        columns = rows if columns is None else columns
        return self.operator.block(self.rows[rows], self.rows[columns])

    def matvec(self, v: FloatArray, columns: IntArray | None = None) -> NDArray:
        chosen = self.rows if columns is None else self.rows[columns]
        return self.operator.matvec(v, columns=chosen)[self.rows]

    def diagonal(self) -> NDArray:
        return self.operator.diagonal()[self.rows]


@dataclass(frozen=True, slots=True, eq=False)
class Simplices:
    """Product of bounded simplices.

    Attributes
    ----------
    labels : (n,) int, group of each row
    mass : (G,), sum of v in each group
    upper : (n,), bound on each row, inf for none
    """

    labels: IntArray
    mass: FloatArray
    upper: FloatArray

    def sums(self, v: FloatArray) -> FloatArray:
        return group_sums(self.labels, v, self.mass.size)

    def indicator(self) -> FloatArray:
        return (self.labels[:, None] == np.arange(self.mass.size)).astype(np.float64)

    def restrict(self, rows: IntArray) -> Simplices:
        return Simplices(self.labels[rows], self.mass, self.upper[rows])

    def interior(self) -> FloatArray:
        """Return a point strictly inside: mass shared in proportion to the bounds."""
        room = np.minimum(self.upper, self.mass[self.labels])
        return room * (self.mass / self.sums(room))[self.labels]

    def repair(self, v: FloatArray) -> FloatArray:
        """Return a feasible point next to v; rows at zero stay there if possible."""
        v = np.clip(np.nan_to_num(v, nan=0.0, posinf=0.0), 0.0, self.upper)
        totals = self.sums(v)
        v = np.where((totals <= 0.0)[self.labels], self.interior(), v)
        totals = self.sums(v)
        factor = self.mass / totals
        if not np.isfinite(self.upper).any():
            return v * factor[self.labels]
        # Rounding is left alone, or rows would move off their bound.
        factor = np.where(np.abs(factor - 1.0) <= SUM_ROUNDING, 1.0, factor)
        v = v * np.minimum(factor, 1.0)[self.labels]
        for rows in (v > 0.0, np.ones(v.shape, bool)):
            missing = self.mass - self.sums(v)
            missing = np.where(missing > SUM_ROUNDING * self.mass, missing, 0.0)
            if not missing.any():
                break
            room = np.where(rows, np.minimum(self.upper, 1e3 * self.mass.max()) - v, 0)
            space = np.maximum(self.sums(room), np.finfo(float).tiny)
            share = np.minimum(missing / space, 1.0)
            v = v + share[self.labels] * room
        return np.minimum(v, self.upper)

    def gap(self, gradient: FloatArray, v: FloatArray) -> float:
        return bounded_gap(gradient, v, self.labels, self.mass, self.upper)


class FreeFactory(Protocol):
    """Factors of the Hessian on the free rows; `shift` lifts it within groups."""

    shift: float

    def factor(
        self, free: IntArray, B: FloatArray, r: FloatArray
    ) -> Bordered | None: ...

    def regularized(
        self, free: IntArray, B: FloatArray, r: FloatArray
    ) -> Bordered | None: ...


class NewtonFactory(Protocol):
    """Factors of K plus a positive diagonal, bordered by B, with a corner."""

    def factor(
        self, diagonal: FloatArray, B: FloatArray, corner: FloatArray | None
    ) -> Bordered | None: ...


class OnSimplices(Protocol):
    """A problem with linear term q (n,) on a product of simplices."""

    @property
    def q(self) -> FloatArray: ...

    @property
    def simplices(self) -> Simplices: ...


class QuadraticProgram(OnSimplices, Protocol):
    """What the exact methods need of a canonical problem, dense or of low rank."""

    @property
    def ridge(self) -> FloatArray: ...

    @property
    def moments(self) -> Moments | None: ...

    def product(self, v: FloatArray) -> FloatArray:
        """K @ v, without the ridge."""
        ...

    def gradient(self, v: FloatArray) -> FloatArray: ...

    def free_systems(self) -> FreeFactory: ...

    def newton_systems(self) -> NewtonFactory: ...


@dataclass(frozen=True, slots=True, eq=False)
class DenseQP:
    """Canonical problem with a dense K (n, n), ridge (n,) and q (n,)."""

    K: FloatArray
    ridge: FloatArray
    q: FloatArray
    simplices: Simplices
    moments: Moments | None = None

    def product(self, v: FloatArray) -> FloatArray:
        return self.K @ v

    def gradient(self, v: FloatArray) -> FloatArray:
        return self.K @ v + self.ridge * v - self.q

    def value(self, v: FloatArray, gradient: FloatArray) -> float:
        return 0.5 * float(v @ (gradient - self.q))

    def free_systems(self) -> FreeSystems:
        return FreeSystems(self)

    def newton_systems(self) -> NewtonSystems:
        return NewtonSystems(self)


def feasible(problem: QuadraticProgram, v: FloatArray) -> FloatArray:
    """Return a point next to v that meets the sums, the bounds and the moments."""
    v = problem.simplices.repair(v)
    if problem.moments is None:
        return v
    return restore(problem.simplices, problem.moments, v)


def duality_gap(
    problem: QuadraticProgram,
    gradient: FloatArray,
    v: FloatArray,
    multipliers: FloatArray | None,
) -> float:
    """Bound on the excess of v over the minimum, from any multipliers of the moments.

    For a feasible u, objective(u) >= objective(v) + gradient'(u - v), and
    C'u in [low, high] bounds l'C'u from below by the side that the sign of l picks.
    """
    if problem.moments is None or multipliers is None:
        return problem.simplices.gap(gradient, v)
    priced = gradient - problem.moments.C @ multipliers
    return problem.simplices.gap(priced, v) + problem.moments.excess(v, multipliers)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a route returns: v (n,) feasible, steps taken, finished, why it ended.

    `multipliers` (m,) belong to the problem's moments.
    """

    v: FloatArray
    n_iter: int
    finished: bool
    solver: str
    status: str
    multipliers: FloatArray | None = None
