"""Input checks of the quadratic programs; messages name the argument and the remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from causalweights.optimize._certificate import FloatArray, IntArray
from causalweights.optimize._moments import CheckedMoments
from causalweights.optimize._problem import ArrayOperator, SymmetricOperator

SOLVERS = (
    "auto",
    "active_set",
    "interior_point",
    "working_set",
    "proximal_newton",
)
SAMPLED_ROWS = 256
# Sums of bounds are compared with one up to their own rounding.
SUM_TOLERANCE = 1e-12
OPERATOR_METHODS = ("shape", "dtype", "block", "matvec", "diagonal")


@dataclass(frozen=True, slots=True, eq=False)
class CheckedQP:
    """Arguments of `simplex_qp` as arrays of one shape.

    Attributes
    ----------
    operator : K, dense arrays wrapped
    q, ridge, lower, upper : (n,) float
    labels : (n,) int, group of each row
    start : (n,) float or None
    working_set : (m,) int or None
    moments : constraints on weighted moments, or None
    """

    operator: SymmetricOperator
    q: FloatArray
    ridge: FloatArray
    labels: IntArray
    lower: FloatArray
    upper: FloatArray
    start: FloatArray | None
    working_set: IntArray | None
    moments: CheckedMoments | None = None

    @property
    def n_groups(self) -> int:
        return int(self.labels.max()) + 1


def check_problem(
    K: ArrayLike | SymmetricOperator,
    q: ArrayLike,
    ridge: ArrayLike,
    groups: ArrayLike | None,
    lower: ArrayLike,
    upper: ArrayLike | None,
    solver: str,
    tol: float,
    max_iter: int,
    max_time: float | None,
    start: ArrayLike | None,
    working_set: ArrayLike | None,
    moments: ArrayLike | None = None,
    moment_targets: ArrayLike | None = None,
    moment_tol: ArrayLike = 0.0,
) -> CheckedQP:
    """Check every argument of `simplex_qp` and bring it to canonical shape."""
    check_options(SOLVERS, solver, tol, max_iter)
    if max_time is not None and not max_time > 0.0:
        raise ValueError(
            f"max_time must be positive seconds or None, got {max_time!r}."
        )
    operator = _check_matrix(K)
    n = operator.shape[0]
    labels = check_groups(groups, n)
    ridge = check_ridge(ridge, n)
    low = check_vector("lower", lower, n)
    high = check_vector("upper", np.inf if upper is None else upper, n, True)
    check_bounds(labels, low, high)
    if start is not None:
        start = check_vector("start", start, n)
    if working_set is not None:
        working_set = _check_rows(working_set, n)
    return CheckedQP(
        operator=operator,
        q=check_vector("q", q, n, scalar=False),
        ridge=ridge,
        labels=labels,
        lower=low,
        upper=high,
        start=start,
        working_set=working_set,
        moments=check_moments(
            moments, moment_targets, moment_tol, n, int(labels.max()) + 1
        ),
    )


def check_options(
    solvers: tuple[str, ...], solver: str, tol: float, max_iter: int
) -> None:
    """Refuse an unknown solver, a tolerance of zero and a limit below one step."""
    if solver not in solvers:
        raise ValueError(f"solver must be one of {solvers}, got {solver!r}.")
    if not tol > 0.0:
        raise ValueError(f"tol must be positive, got {tol!r}.")
    if max_iter < 1:
        raise ValueError(f"max_iter must be at least 1, got {max_iter!r}.")


def check_ridge(ridge: ArrayLike, n: int) -> FloatArray:
    """Return the ridge of each row, (n,), or refuse a negative one."""
    checked = check_vector("ridge", ridge, n)
    if np.any(checked < 0.0):
        raise ValueError("ridge must be non-negative.")
    return checked


def check_moments(
    moments: ArrayLike | None,
    targets: ArrayLike | None,
    tol: ArrayLike,
    n: int,
    n_groups: int,
) -> CheckedMoments | None:
    """Check the moment constraints and give every group its own targets."""
    if moments is None:
        if targets is not None:
            raise ValueError("moment_targets needs moments, the columns to weight.")
        return None
    if targets is None:
        raise ValueError("moments needs moment_targets, their weighted means.")
    A = np.asarray(moments, dtype=np.float64)
    if A.ndim != 2 or A.shape[0] != n:
        raise ValueError(f"moments must have shape ({n}, p), got {A.shape}.")
    p = A.shape[1]
    b = np.asarray(targets, dtype=np.float64)
    if b.shape not in ((p,), (n_groups, p)):
        raise ValueError(
            f"moment_targets must have shape ({p},) or ({n_groups}, {p}), "
            f"got {b.shape}."
        )
    width = np.asarray(tol, dtype=np.float64)
    if width.shape not in ((), (p,), (n_groups, p)):
        raise ValueError(
            f"moment_tol must be a number or have shape ({p},) or ({n_groups}, {p}), "
            f"got {width.shape}."
        )
    for name, array in (("moments", A), ("moment_targets", b)):
        if not np.isfinite(array).all():
            raise ValueError(f"{name} contains NaN or infinity.")
    if not np.all(width >= 0.0):
        raise ValueError(
            "moment_tol must be non-negative (infinite for no constraint)."
        )
    shape = (n_groups, p)
    if p == 0:
        return None
    return CheckedMoments(A, np.broadcast_to(b, shape), np.broadcast_to(width, shape))


def _check_matrix(K: Any) -> SymmetricOperator:
    if all(hasattr(K, name) for name in OPERATOR_METHODS[2:4]):
        missing = [name for name in OPERATOR_METHODS if not hasattr(K, name)]
        if missing:
            raise ValueError(f"K as an operator lacks {', '.join(missing)}.")
        operator = K
        values = np.asarray(K.diagonal())
    else:
        return ArrayOperator(check_array(K))
    _check_square(operator.shape, values)
    return operator


def check_array(K: ArrayLike) -> FloatArray:
    """Return a finite, square, symmetric matrix in float64 and C order, or refuse."""
    values = np.ascontiguousarray(K, dtype=np.float64)
    _check_square(values.shape, values)
    _check_symmetry(values)
    return values


def _check_square(shape: tuple[int, ...], values: FloatArray) -> None:
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise ValueError(f"K must be square with at least one row, got shape {shape}.")
    # The sum is finite unless an entry is not (or it overflows): one cheap pass.
    if not np.isfinite(values.sum()) and not np.isfinite(values).all():
        raise ValueError("K contains NaN or infinity.")


def _check_symmetry(K: FloatArray) -> None:
    n = K.shape[0]
    rows = np.unique(np.linspace(0, n - 1, min(n, SAMPLED_ROWS)).astype(np.intp))
    sample = K[np.ix_(rows, rows)]
    if np.max(np.abs(sample - sample.T)) > 1e-8 * np.max(np.abs(sample)):
        raise ValueError("K must be symmetric; pass (K + K.T) / 2.")


def check_vector(
    name: str, value: ArrayLike, n: int, infinite: bool = False, scalar: bool = True
) -> FloatArray:
    """Broadcast to (n,) float64; refuse NaN, and infinity unless it is allowed."""
    array = np.asarray(value, dtype=np.float64)
    if array.shape != (n,) and not (scalar and array.ndim == 0):
        number = "be a number or " if scalar else ""
        raise ValueError(f"{name} must {number}have shape ({n},), got {array.shape}.")
    if np.isnan(array).any() or (not infinite and np.isinf(array).any()):
        raise ValueError(f"{name} contains NaN or infinity.")
    return np.broadcast_to(array, (n,))


def check_groups(groups: ArrayLike | None, n: int) -> IntArray:
    """Return integer labels 0..G-1, each of them present."""
    if groups is None:
        return np.zeros(n, dtype=np.intp)
    labels = np.asarray(groups)
    if labels.shape != (n,):
        raise ValueError(f"groups must have shape ({n},), got {labels.shape}.")
    if labels.dtype.kind not in "iub":
        raise ValueError("groups must hold integers; use numpy.unique's inverse.")
    labels = labels.astype(np.intp)
    if labels.min() < 0 or np.any(np.bincount(labels) == 0):
        raise ValueError(
            "groups must use every label 0..G-1; use numpy.unique's inverse."
        )
    return labels


def check_bounds(labels: IntArray, lower: FloatArray, upper: FloatArray) -> None:
    """Refuse bounds that leave a group without weights that sum to one."""
    check_order(lower, upper)
    least = np.bincount(labels, weights=lower)
    most = np.bincount(labels, weights=upper)
    for g in range(least.size):
        if least[g] > 1.0 + SUM_TOLERANCE:
            raise ValueError(
                f"group {g}: the lower bounds sum to {least[g]:g}, above 1; "
                "reduce `lower`."
            )
        if most[g] < 1.0 - SUM_TOLERANCE:
            raise ValueError(
                f"group {g}: the upper bounds sum to {most[g]:g}, below 1; "
                "raise `upper`."
            )


def check_order(lower: FloatArray, upper: FloatArray) -> None:
    """Refuse bounds that cross, by the first row where they do."""
    if np.any(lower > upper):
        row = int(np.flatnonzero(lower > upper)[0])
        raise ValueError(
            f"lower exceeds upper at row {row} ({lower[row]:g} > {upper[row]:g})."
        )


def _check_rows(rows: ArrayLike, n: int) -> IntArray:
    indices = np.asarray(rows)
    if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
        raise ValueError("working_set must be a one-dimensional array of row numbers.")
    if indices.size and (indices.min() < 0 or indices.max() >= n):
        raise ValueError(f"working_set must hold row numbers in 0..{n - 1}.")
    return np.unique(indices).astype(np.intp)
