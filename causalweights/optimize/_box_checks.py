"""Input checks of the box problems; messages name the argument and the remedy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from causalweights.optimize._box_problem import NOWHERE, Ball, BoxProblem
from causalweights.optimize._box_systems import DenseHessian, FactorHessian, Hessian
from causalweights.optimize._certificate import FloatArray, IntArray
from causalweights.optimize._checks import (
    check_array,
    check_order,
    check_ridge,
    check_vector,
)

SOLVERS = ("auto", "active_set", "interior_point")
# Sums and distances are compared with their bounds up to this relative error.
FEASIBILITY_TOLERANCE = 1e-10


def check_box(
    K: Any,
    q: ArrayLike,
    ridge: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    coupling: ArrayLike | None,
    coupling_bounds: tuple[float, float] | None,
    ball: Ball | None,
) -> BoxProblem:
    """Check the data of a box problem, bring it to canonical shape, or refuse it."""
    matrix, residual = _check_matrix(K)
    n = matrix.shape[0]
    ridge = check_ridge(ridge, n)
    low = check_vector("lower", lower, n)
    high = check_upper(upper, low)
    coefficients, bounds = _check_coupling(coupling, coupling_bounds, n)
    rows, center, radius = check_ball(ball, n)
    hessian: Hessian
    if residual is None:
        hessian = DenseHessian(matrix, ridge)
    else:
        # What a factor leaves out of the diagonal is a ridge to the solvers.
        hessian, ridge = FactorHessian(matrix), ridge + residual
    problem = BoxProblem(
        hessian=hessian,
        ridge=ridge,
        q=check_vector("q", q, n, scalar=False),
        lower=low,
        upper=high,
        row=coefficients,
        bounds=bounds,
        rows=rows,
        center=center,
        radius=radius,
    )
    check_feasible(problem)
    return problem


def check_upper(upper: ArrayLike, low: FloatArray) -> FloatArray:
    """Return finite upper bounds (n,) that are nowhere below the lower ones."""
    high = check_vector("upper", upper, low.size)
    check_order(low, high)
    return high


def check_start(start: ArrayLike | None, n: int) -> FloatArray | None:
    return None if start is None else check_vector("start", start, n, scalar=False)


def _check_matrix(K: Any) -> tuple[FloatArray, FloatArray | None]:
    """Return a dense K and None, or a factor and the residual of its diagonal."""
    if hasattr(K, "factor") and hasattr(K, "residual"):
        factor = np.ascontiguousarray(K.factor, dtype=np.float64)
        if factor.ndim != 2 or factor.shape[0] == 0:
            raise ValueError(
                f"K.factor must be of shape (n, r) with n > 0, got {factor.shape}."
            )
        if not np.isfinite(factor).all():
            raise ValueError("K.factor contains NaN or infinity.")
        residual = check_vector("K.residual", K.residual, factor.shape[0])
        if np.any(residual < 0.0):
            raise ValueError("K.residual must be non-negative.")
        return factor, residual
    matrix = check_array(K)
    if matrix.diagonal().min() < 0.0:
        raise ValueError(
            "K has a negative diagonal entry; it must be positive semi-definite."
        )
    return matrix, None


def _check_coupling(
    coupling: ArrayLike | None, bounds: tuple[float, float] | None, n: int
) -> tuple[FloatArray, tuple[float, float]]:
    if (coupling is None) != (bounds is None):
        raise ValueError("coupling and coupling_bounds must be given together.")
    if coupling is None or bounds is None:
        return np.zeros(n), (-np.inf, np.inf)
    low, high = (float(bound) for bound in bounds)
    if np.isnan(low) or np.isnan(high) or low > high:
        raise ValueError(
            f"coupling_bounds must be (low, high) with low <= high, got {bounds!r}."
        )
    if not low < np.inf or not high > -np.inf:
        raise ValueError("coupling_bounds leave no finite value.")
    return check_vector("coupling", coupling, n, scalar=False), (low, high)


def check_ball(ball: Ball | None, n: int) -> tuple[IntArray, FloatArray, float]:
    """Return distinct rows, center and radius of the ball; no rows for none."""
    if ball is None:
        return NOWHERE, np.empty(0), np.inf
    rows = np.asarray(ball.rows)
    if rows.ndim != 1 or rows.size == 0 or rows.dtype.kind not in "iu":
        raise ValueError("ball.rows must be a non-empty array of row numbers.")
    if rows.min() < 0 or rows.max() >= n or np.unique(rows).size < rows.size:
        raise ValueError(f"ball.rows must be distinct row numbers in 0..{n - 1}.")
    check_radius(ball.radius)
    center = check_vector("ball.center", ball.center, rows.size)
    return rows.astype(np.intp), center, float(ball.radius)


def check_radius(radius: float) -> None:
    if not (np.isfinite(radius) and radius >= 0.0):
        raise ValueError(f"the radius must be finite and non-negative, got {radius!r}.")


def check_feasible(problem: BoxProblem) -> None:
    """Refuse constraints that no point meets."""
    point = problem.nearest()
    total = float(problem.row @ point)
    size = float(np.abs(problem.row) @ np.abs(point))
    slack = FEASIBILITY_TOLERANCE * size
    if total < problem.bounds[0] - slack:
        raise ValueError(
            f"the coupling reaches at most {total:g} within the bounds, below "
            f"{problem.bounds[0]:g}; raise `upper` or widen `coupling_bounds`."
        )
    if total > problem.bounds[1] + slack:
        raise ValueError(
            f"the coupling is at least {total:g} within the bounds, above "
            f"{problem.bounds[1]:g}; reduce `lower` or widen `coupling_bounds`."
        )
    distance = problem.distance(point)
    size = float(np.linalg.norm(problem.center))
    if distance > problem.radius + FEASIBILITY_TOLERANCE * max(size, problem.radius):
        raise ValueError(
            f"the other constraints keep the weights {distance:g} from the center of "
            f"the ball, above its radius {problem.radius:g}; raise the radius."
        )
