"""Box programs whose Gram matrix is too large to form, by models of low rank.

Each step minimises the exact gradient's linear part plus half the quadratic form of a
low-rank factor and what it leaves of the diagonal, over all constraints, and ends at
the exact minimum on the way there. One product with the kernel a step; value and gap
are those of the kernel itself.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from causalweights.kernels import GramOperator, LowRankFactor
from causalweights.optimize import Ball, BoxQPResult, box_qp
from causalweights.optimize._box_checks import check_box
from causalweights.optimize._box_problem import BoxProblem, duality_gap
from causalweights.optimize._box_systems import FactorHessian, LowRankMatrix
from causalweights.optimize._certificate import FloatArray, relative_gap

MAX_STEPS = 50


class KernelHessian(FactorHessian):
    """2 S K S with products by the kernel's operator; only these are asked for."""

    def __init__(self, operator: GramOperator, scale: FloatArray) -> None:
        self.operator, self.scale = operator, scale
        self.n_rows = len(scale)
        self.root = np.abs(scale) * np.sqrt(2.0 * operator.diagonal())

    def product(self, v: FloatArray) -> FloatArray:
        return 2.0 * self.scale * self.operator.matvec(self.scale * v)


def scaled_factor(low: LowRankFactor, scale: FloatArray) -> LowRankMatrix:
    """Return the factor of 2 S K S, with S the diagonal matrix of ``scale``."""
    factor = np.sqrt(2.0) * scale[:, None] * low.factor
    return LowRankMatrix(factor, 2.0 * scale**2 * low.residual)


def solve_by_models(
    hessian: KernelHessian,
    model: LowRankMatrix,
    q: ArrayLike,
    ridge: ArrayLike,
    *,
    lower: ArrayLike,
    upper: ArrayLike,
    coupling: ArrayLike,
    coupling_bounds: tuple[float, float],
    ball: Ball | None,
    tol: float,
    start: ArrayLike | None = None,
) -> BoxQPResult:
    """Minimise v'(hessian + ridge)v/2 - q'v; constraints as in `box_qp`.

    The steps converge at the rate at which the kernel exceeds the model, in units of
    ridge and residual; without a ridge they may stop at 50 before ``tol``, a relative
    gap, is met, and say so.
    """
    ridge = np.asarray(ridge, dtype=np.float64)
    approximate = check_box(
        model, q, ridge, lower, upper, coupling, coupling_bounds, ball
    )
    exact = replace(approximate, hessian=hessian, ridge=ridge)
    first = exact.uniform()
    reference = _value(exact, first, exact.gradient(first))
    v = first if start is None else exact.repair(np.asarray(start, dtype=np.float64))
    gradient, n_iter = exact.gradient(v), 0
    for step in range(1, MAX_STEPS + 1):
        linear = approximate.hessian.product(v) + approximate.ridge * v - gradient
        found = box_qp(
            model, linear, ridge, lower=lower, upper=upper, coupling=coupling,
            coupling_bounds=coupling_bounds, ball=ball, start=v,
        )  # fmt: skip
        n_iter += found.n_iter
        v, gradient, share = _line_minimum(exact, v, gradient, found.weights)
        _, _, relative, _ = _certificate(exact, v, gradient, found, reference)
        if relative <= tol or share == 0.0:
            break
    # Rounding of the updates is not in what is reported.
    v = exact.repair(v)
    value, gap, relative, floor = _certificate(
        exact, v, exact.gradient(v), found, reference
    )
    return BoxQPResult(
        weights=v,
        value=value,
        gap=gap,
        relative_gap=relative,
        n_iter=n_iter,
        converged=bool(relative <= tol or gap <= floor),
        solver="low_rank",
        status=f"{step} models of rank {model.factor.shape[1]}",
        multipliers=found.multipliers,
        uniform_value=reference,
    )


def _line_minimum(
    problem: BoxProblem, v: FloatArray, gradient: FloatArray, goal: FloatArray
) -> tuple[FloatArray, FloatArray, float]:
    """Return the best point on the way from v to goal, its gradient and the share."""
    move = goal - v
    change = problem.hessian.product(move) + problem.ridge * move
    slope, curvature = float(gradient @ move), float(move @ change)
    share = 1.0 if curvature <= -slope else max(-slope / curvature, 0.0)
    return v + share * move, gradient + share * change, share


def _certificate(
    problem: BoxProblem,
    v: FloatArray,
    gradient: FloatArray,
    found: BoxQPResult,
    reference: float,
) -> tuple[float, float, float, float]:
    """Return value, gap, relative gap, and the level of the gap that rounding hides."""
    value = _value(problem, v, gradient)
    multipliers = found.multipliers
    gap = duality_gap(problem, v, gradient, multipliers.coupling, multipliers.ball)
    relative = relative_gap(gap.value, reference - value, gap.floor)
    return value, gap.value, relative, gap.floor


def _value(problem: BoxProblem, v: FloatArray, gradient: FloatArray) -> float:
    return 0.5 * float(v @ (gradient - problem.q))
