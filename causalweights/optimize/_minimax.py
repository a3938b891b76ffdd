"""Smallest largest imbalance plus a ridge, over one bounded simplex.

minimise max_j |F_j'w - h_j| + (w - center)'diag(ridge)(w - center) / 2, sum of w = 1,
lower <= w <= upper: a quadratic (ridge = 0: linear) program in (w, t), by a primal-dual
interior point whose systems have one row a function.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from causalweights.optimize._certificate import FloatArray
from causalweights.optimize._checks import (
    check_bounds,
    check_options,
    check_ridge,
    check_vector,
)
from causalweights.optimize._minimax_system import (
    MinimaxProblem,
    NewtonBorder,
    Point,
    Slacks,
)

# Share of the way to the boundary that a step takes.
STEP = 0.995
# Steps shorter than this gain nothing.
SHORTEST = 1e-9
# Weights within this share of the mass of their lower bound are on it.
ON_BOUND = 1e-12
TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, slots=True, eq=False)
class MinimaxResult:
    """Solution of `simplex_minimax` with its certificate.

    Attributes
    ----------
    weights : ndarray of shape (n,)
    value : float
        max_j |F_j'w - h_j| + (w - center)'diag(ridge)(w - center) / 2.
    largest : float
        The first term alone.
    gap : float
        Duality gap of weights and prices: value - minimum <= gap.
    relative_gap : float
        gap over what the weights gain on uniform ones.
    prices : ndarray of shape (J,)
        Multipliers z of the functions, sum of |z| at most one: with ridge > 0,
        ridge_i (w_i - center_i) = level - (F z)_i on rows strictly within their bounds.
    level : float
    n_iter : int
    converged : bool
        relative_gap <= tol.
    """

    weights: FloatArray
    value: float
    largest: float
    gap: float
    relative_gap: float
    prices: FloatArray
    level: float
    n_iter: int
    converged: bool


def simplex_minimax(
    F: ArrayLike,
    h: ArrayLike,
    ridge: ArrayLike = 0.0,
    *,
    center: ArrayLike = 0.0,
    lower: ArrayLike = 0.0,
    upper: ArrayLike | None = None,
    tol: float = 1e-7,
    max_iter: int = 100,
) -> MinimaxResult:
    """Minimise the largest of J absolute differences of means, plus a ridge.

    Parameters
    ----------
    F : array-like of shape (n, J)
        One function a column, one row of the source sample a row.
    h : array-like of shape (J,)
        Target means of the functions.
    ridge : float or array-like of shape (n,), default=0.0
        Non-negative; the penalty is (w - center)'diag(ridge)(w - center) / 2.
    center : float or array-like of shape (n,), default=0.0
    lower, upper : float or array-like of shape (n,), default=0.0 and None
        Bounds on the weights; an `upper` of None is no bound.
    tol : float, default=1e-7
        Relative gap at which the method stops; rounding ends it at 1e-8 to 1e-10.
    max_iter : int, default=100

    Returns
    -------
    MinimaxResult

    Raises
    ------
    ValueError
        For NaN or infinite entries, wrong shapes, or bounds that no weights meet.

    Notes
    -----
    O(n J^2 + J^3) time a step, usually 10-20 steps; memory O(n J). Mehrotra's
    predictor-corrector (Nocedal & Wright 2006, algorithm 16.4), with the differences
    eliminated, so that no step cancels.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.optimize import simplex_minimax
    >>> F = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    >>> simplex_minimax(F, [0.5, 0.5]).weights.round(6)
    array([0.25, 0.5 , 0.25])
    """
    F = _check_functions(F)
    n = F.shape[0]
    h = check_vector("h", h, F.shape[1], scalar=False)
    low = check_vector("lower", lower, n)
    high = check_vector("upper", np.inf if upper is None else upper, n, True)
    check_bounds(np.zeros(n, np.intp), low, high)
    check_options(("interior_point",), "interior_point", tol, max_iter)
    center = check_vector("center", center, n)
    problem = MinimaxProblem(F, h, check_ridge(ridge, n), low, high, center)
    v, z, step = _solve(problem, tol, max_iter)
    value, largest = problem.value(v)
    gap, level = problem.certificate(v, z)
    return MinimaxResult(
        weights=low + v,
        value=value,
        largest=largest,
        gap=gap,
        relative_gap=problem.relative(gap, value),
        prices=z,
        level=level,
        n_iter=step,
        converged=problem.relative(gap, value) <= tol,
    )


def _check_functions(F: ArrayLike) -> FloatArray:
    F = np.asarray(F, dtype=np.float64)
    if F.ndim != 2 or 0 in F.shape:
        raise ValueError(f"F must have shape (n, J) with n, J >= 1, got {F.shape}.")
    if not np.isfinite(F).all():
        raise ValueError("F contains NaN or infinity.")
    return F


def _longest(values: FloatArray, change: FloatArray) -> float:
    falling = change < 0.0
    if not falling.any():
        return 1.0
    return min(1.0, float(np.min(-values[falling] / change[falling])))


def _solve(
    problem: MinimaxProblem, tol: float, max_iter: int
) -> tuple[FloatArray, FloatArray, int]:
    """Return v, prices and the number of steps: those of the smallest gap."""
    v, z = problem.interior, np.zeros(problem.h.size)
    if np.all(v == problem.room):
        difference = problem.difference(v)
        worst = int(np.argmax(np.abs(difference)))
        z[worst] = np.sign(difference[worst])
        return v, z, 0
    slacks = Slacks(problem)
    state: Point | None = _first(problem, slacks)
    best = np.inf
    for step in range(max_iter + 1):
        if state is None:
            return v, z, step
        point = _on_bounds(problem, state.v)
        prices = state.prices(slacks)
        # Their sum is one unless all imbalances vanish.
        total = max(float(np.abs(prices).sum()), TINY)
        for candidate in (prices, prices / total):
            gap = problem.certificate(point, candidate)[0]
            if gap < best:
                best, v, z = gap, point, candidate
        if problem.relative(best, problem.value(v)[0]) <= tol:
            return v, z, step
        state = _step(problem, slacks, state)
    return v, z, max_iter


def _first(problem: MinimaxProblem, slacks: Slacks) -> Point:
    v = problem.interior
    spread = float(np.abs(problem.F).max()) + 1e-3
    t = 1.1 * float(np.abs(problem.difference(v)).max()) + 1e-3 * spread
    s, J = slacks.at(v, t), problem.h.size
    z = float(s[-2 * J :].mean()) / (2 * J) / np.maximum(s, TINY)
    z[-2 * J :] = 1.0 / (2 * J)
    return Point(v, t, 0.0, z)


def _step(problem: MinimaxProblem, slacks: Slacks, now: Point) -> Point | None:
    """Take one predictor-corrector step; None where rounding allows none."""
    s, z = slacks.at(now.v, now.t), now.z
    below, above, plus, minus = slacks.split(z)
    dual = problem.ridge * (problem.apart + now.v) + problem.F @ (plus - minus)
    dual -= below + now.level
    dual[slacks.capped] += above
    residuals = (
        dual, 1.0 - float(plus.sum() + minus.sum()), problem.mass - float(now.v.sum())
    )  # fmt: skip
    if not np.all(s > 0.0):
        return None
    try:
        system = NewtonBorder(slacks, s, z)
        dv, dt, _, dz = system.solve(-z, *residuals)
        ds = slacks.move(dv, dt)
        mu = float(s @ z) / s.size
        after = (s + _longest(s, ds) * ds) @ (z + _longest(z, dz) * dz) / s.size
        target = mu * (float(after) / mu) ** 3
        dv, dt, dy, dz = system.solve((target - ds * dz) / s - z, *residuals)
    except (np.linalg.LinAlgError, ValueError):
        return None
    # One length for both: with a quadratic term, different ones break the dual.
    length = STEP * min(_longest(s, slacks.move(dv, dt)), _longest(z, dz))
    if not length > SHORTEST:
        return None
    return Point(
        now.v + length * dv, now.t + length * dt, now.level + length * dy,
        z + length * dz,
    )  # fmt: skip


def _on_bounds(problem: MinimaxProblem, v: FloatArray) -> FloatArray:
    """Return v with rows within rounding of a bound on it, and its sum restored."""
    v = np.clip(v, 0.0, problem.room)
    v[v <= ON_BOUND * problem.mass] = 0.0
    slack = np.minimum(v, problem.room - v)
    total = float(slack.sum())
    if total > 0.0:
        v += (problem.mass - float(v.sum())) / total * slack
    return v
