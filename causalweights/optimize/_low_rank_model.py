"""Quadratic models with a low-rank plus diagonal Hessian, solved in the dual.

min g'(v - w) + (v - w)'(LL' + diag(d))(v - w)/2 over a product of bounded simplices has
r + G dual unknowns: t = L'(v - w) and one level y per group give

    v = clip(w + (y - g - L t) / d, 0, upper),

and the dual function is convex with a piecewise linear gradient. Semi-smooth Newton
steps on it (Hintermueller, Ito & Kunisch 2003; Qi & Sun 2006 for the dual form) cost
one r x r factorisation, whose matrix changes only by the rows that change sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from causalweights._blas import single_blas_thread
from causalweights.optimize._certificate import FloatArray
from causalweights.optimize._problem import Simplices
from causalweights.optimize._tall import tall_gram, tall_inner, tall_outer

# Rebuilding the matrix costs as much as exchanging this share of its rows.
EXCHANGE = 0.5
MAX_STEPS = 100
BACKTRACKS = 12


@dataclass(frozen=True, slots=True, eq=False)
class ModelStep:
    """Minimiser v (n,) of a model, the steps it took, and whether sets settled."""

    v: FloatArray
    n_iter: int
    finished: bool


class LowRankModel:
    """The Hessian LL' + diag(d), with products and solves on subsets of rows.

    Parameters
    ----------
    factor : (n, r) float32 or float64
    diagonal : (n,), positive
    """

    def __init__(self, factor: NDArray[Any], diagonal: FloatArray) -> None:
        self.factor = factor
        self.diagonal = diagonal
        n, r = factor.shape
        self._gram = np.zeros((r, r))
        self._inside = np.zeros(n, dtype=bool)
        self._weight = 1.0 / diagonal

    @property
    def rank(self) -> int:
        return self.factor.shape[1]

    def project(self, values: FloatArray) -> FloatArray:
        """Return L'values, values (n,) or (n, k)."""
        return tall_inner(self.factor, values)

    def expand(self, t: FloatArray) -> FloatArray:
        """Return L t, (n,)."""
        return tall_outer(self.factor, t)

    def gram(self, inside: NDArray[np.bool_]) -> FloatArray:
        """Return L'diag(1/d)L over the rows `inside`, from the last such matrix."""
        entering = np.flatnonzero(inside & ~self._inside)
        leaving = np.flatnonzero(self._inside & ~inside)
        wanted = np.flatnonzero(inside)
        if entering.size + leaving.size > EXCHANGE * wanted.size:
            self._gram = tall_gram(self.factor, wanted, self._weight)
        else:
            self._gram += tall_gram(self.factor, entering, self._weight)
            self._gram -= tall_gram(self.factor, leaving, self._weight)
        self._inside = inside.copy()
        return self._gram


@dataclass(slots=True, eq=False)
class _Point:
    """Dual point t (r,), y (G,); slack (n,) = c_i d_i + y - L t; v, value, slopes."""

    t: FloatArray
    y: FloatArray
    slack: FloatArray
    v: FloatArray
    value: float
    slope_t: FloatArray
    slope_y: FloatArray


class _Dual:
    """The dual function of one model around w with gradient g."""

    def __init__(
        self,
        model: LowRankModel,
        simplices: Simplices,
        w: FloatArray,
        gradient: FloatArray,
    ) -> None:
        self.model, self.simplices = model, simplices
        self.w = w
        self.constant = model.diagonal * w - gradient
        self.upper = simplices.upper
        self.least = 1.0 / float(model.diagonal.max())
        # Where there is no bound, the curved part of the dual never ends.
        self.bounded = bool(np.isfinite(self.upper).any())

    def point(self, t: FloatArray, y: FloatArray) -> _Point:
        model, simplices = self.model, self.simplices
        slack = self.constant + y[simplices.labels] - model.expand(t)
        v = np.clip(slack / model.diagonal, 0.0, self.upper)
        moved = model.project(v - self.w)
        # sum of v s - d v^2 / 2 is the conjugate; t'L'w completes it to w + step.
        conjugate = float(v @ (slack - 0.5 * model.diagonal * v))
        offset = float(self.w @ (self.constant - slack + y[simplices.labels]))
        value = 0.5 * float(t @ t) + offset + conjugate
        value -= float(simplices.mass @ y)
        return _Point(t, y, slack, v, value, t - moved, simplices.sums(v) - self.mass)

    @property
    def mass(self) -> FloatArray:
        return self.simplices.mass

    def free(self, point: _Point) -> NDArray[np.bool_]:
        inside = point.slack > 0.0
        if self.bounded:
            inside &= point.slack < self.model.diagonal * self.upper
        return inside

    def newton(
        self, inside: NDArray[np.bool_], residual_t: FloatArray, residual_y: FloatArray
    ) -> tuple[FloatArray, FloatArray] | None:
        """Solve [I + L'D L, -L'D E; ., E'D E](dt, dy) = -(residuals) on `inside`."""
        model, labels = self.model, self.simplices.labels
        H = model.gram(inside) + np.eye(model.rank)
        weight = np.where(inside, 1.0 / model.diagonal, 0.0)
        # A group without free rows has a flat level: any curvature makes it move.
        corner = np.diag(np.maximum(self.simplices.sums(weight), self.least))
        E = (labels[:, None] == np.arange(self.mass.size)).astype(np.float64)
        border = model.project(E * weight[:, None])
        try:
            with single_blas_thread:
                factor = cho_factor(H, lower=True, overwrite_a=True, check_finite=False)
                sides = np.column_stack([border, -residual_t])
                solved = cho_solve(factor, sides, check_finite=False)
            schur = corner - border.T @ solved[:, :-1]
            dy = np.linalg.solve(schur, -residual_y + border.T @ solved[:, -1])
        except (LinAlgError, np.linalg.LinAlgError):
            return None
        dt = solved[:, -1] + solved[:, :-1] @ dy
        if not (np.isfinite(dt).all() and np.isfinite(dy).all()):
            return None
        return dt, dy


def minimize_model(
    model: LowRankModel,
    simplices: Simplices,
    w: FloatArray,
    gradient: FloatArray,
    *,
    inside: NDArray[np.bool_] | None = None,
    settled: float = 0.0,
    max_iter: int = MAX_STEPS,
) -> ModelStep:
    """Minimise the model around w; `settled` = share of rows still changing sides.

    The first step takes the rows free at w (all rows where w is interior), whose dual
    point starts far better than t = 0; later steps are damped where the dual function
    would rise, which makes them converge from anywhere.
    """
    dual = _Dual(model, simplices, w, gradient)
    if inside is None:
        inside = (w > 0.0) & (w < simplices.upper)
    totals = simplices.sums(np.where(inside, gradient, 0.0))
    counts = simplices.sums(inside.astype(np.float64))
    y = totals / np.maximum(counts, 1.0)
    t = np.zeros(model.rank)
    # On the rows of w itself the residuals are those of a plain Newton step.
    start = _equality_step(dual, inside, y)
    if start is not None:
        t, y = start
    point = dual.point(t, y)
    allowed = settled * max(1, int(inside.sum()))
    full = start is not None
    for step in range(1, max_iter + 1):
        new = dual.free(point)
        # After a full step, a set that stays is the solution's.
        if full and np.count_nonzero(new != inside) <= allowed:
            return ModelStep(simplices.repair(point.v), step, True)
        inside = new
        direction = dual.newton(inside, point.slope_t, point.slope_y)
        if direction is None:
            break
        following, full = _damped(dual, point, direction)
        if following is None:
            break
        point = following
    return ModelStep(simplices.repair(point.v), step, False)


def _equality_step(
    dual: _Dual, inside: NDArray[np.bool_], y: FloatArray
) -> tuple[FloatArray, FloatArray] | None:
    """Minimise over the rows `inside` as if nothing else could move."""
    slack = dual.constant + y[dual.simplices.labels]
    v = np.where(inside, slack / dual.model.diagonal, dual.w)
    residual_t = -dual.model.project(v - dual.w)
    residual_y = dual.simplices.sums(v) - dual.mass
    step = dual.newton(inside, residual_t, residual_y)
    return None if step is None else (step[0], y + step[1])


def _damped(
    dual: _Dual, point: _Point, direction: tuple[FloatArray, FloatArray]
) -> tuple[_Point | None, bool]:
    """Return the first point along the direction that lowers the dual enough.

    Also tells whether the step was a full one.
    """
    dt, dy = direction
    slope = float(point.slope_t @ dt + point.slope_y @ dy)
    noise = 1e-14 * abs(point.value)
    length = 1.0
    for _ in range(BACKTRACKS):
        following = dual.point(point.t + length * dt, point.y + length * dy)
        if following.value <= point.value + 1e-4 * length * slope + noise:
            return following, length == 1.0
        length *= 0.5
    return None, False
