"""Outer problem: the parameter that minimises the profile of the inner problem.

By the envelope theorem the gradient of V(theta) is ``sum_j p_j b'dm_j/dtheta`` at the
inner solution. Its Hessian follows from the inner problem's factor and, for moments not
linear in theta, differences of their slopes, so that Newton's method needs few values
of V: 3 to 6 for linear moments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy.linalg import LinAlgError, eigh

from causalweights._typing import FloatArray, IntArray
from causalweights.moments._dual import DualProblem, InnerDual

# Directions whose curvature is less than this share of Gauss-Newton's get that share.
_LEAST_CURVATURE = 0.1
_MOST_DAMPING = 1e12
# Newton's steps to infinity pass for small ones, against the gain, after some 1e12.
_LOST = 1e8
# Of theta, between the rounding of slopes that are differences and third derivatives.
_DIFFERENCE = 1e-5
_TRIAL = 20


@dataclass(frozen=True, eq=False)
class Restriction:
    """Moments ``m_j(theta) = residual_j(theta) (x) b_j`` of N rows.

    Attributes
    ----------
    residual : callable
        theta (p,) to (N, r).
    jacobian : callable
        theta (p,) to (N, r, p).
    B : ndarray of shape (N, L)
        Instrument features; a column of ones leaves the residuals themselves. Row
        weights of moments multiply its rows.
    """

    residual: Callable[[FloatArray], FloatArray]
    jacobian: Callable[[FloatArray], FloatArray]
    B: FloatArray

    def moments(self, theta: FloatArray) -> FloatArray:
        """Return M, (N, r L)."""
        residual = self.residual(theta)
        return (residual[:, :, None] * self.B[:, None, :]).reshape(len(residual), -1)

    def along(self, jacobian: FloatArray, b: FloatArray) -> FloatArray:
        """Return ``b'dm_j/dtheta``, (N, p)."""
        weights = self.B @ b.reshape(jacobian.shape[1], -1).T
        return np.einsum("nr,nrp->np", weights, jacobian)

    def mean_slopes(self, jacobian: FloatArray, p: FloatArray) -> FloatArray:
        """Return ``sum_j p_j dm_j/dtheta``, (r L, p)."""
        r, k = jacobian.shape[1:]
        weighted = (p[:, None] * self.B).T
        slopes = [weighted @ jacobian[:, i] for i in range(r)]
        return np.concatenate(slopes).reshape(-1, k)

    def curvature(
        self, theta: FloatArray, jacobian: FloatArray, b: FloatArray, p: FloatArray
    ) -> FloatArray:
        """Return ``sum_j p_j b'd^2 m_j/dtheta^2``, (k, k), by differences of slopes.

        Where slopes near theta are not finite: zero.
        """
        weights = p[:, None] * (self.B @ b.reshape(jacobian.shape[1], -1).T)
        steps = _DIFFERENCE * np.maximum(1.0, np.abs(theta))
        found = np.zeros((len(theta), len(theta)))
        for k, step in enumerate(steps):
            moved = theta.copy()
            moved[k] += step
            with np.errstate(over="ignore", invalid="ignore"):
                change = (self.jacobian(moved) - jacobian) / (moved[k] - theta[k])
                found[k] = np.einsum("nr,nrp->p", weights, change)
        if not np.all(np.isfinite(found)):
            return np.zeros_like(found)
        return (found + found.T) / 2

    def take(self, rows: IntArray) -> Restriction:
        """Return the restriction on some rows."""
        return Restriction(
            lambda theta: self.residual(theta)[rows],
            lambda theta: self.jacobian(theta)[rows],
            self.B[rows],
        )

    def scaled(self, scale: FloatArray) -> Restriction:
        """Return the restriction with residuals divided by their scale, (r,)."""
        return Restriction(
            lambda theta: self.residual(theta) / scale,
            lambda theta: self.jacobian(theta) / scale[:, None],
            self.B,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """An objective at one theta.

    Attributes
    ----------
    value : float
        inf where no weights satisfy the moments.
    gradient : ndarray of shape (p,)
    hessian, gauss_newton : ndarray of shape (p, p)
        The first may be indefinite.
    noise : float
        What sampling leaves of the value at the true theta: the scale of "small".
    dual : InnerDual or None
    """

    value: float
    gradient: FloatArray
    hessian: FloatArray
    gauss_newton: FloatArray
    noise: float
    dual: InnerDual | None = None


def _nowhere(theta: FloatArray) -> Evaluation:
    """Return an infinite value."""
    none = np.full((len(theta), len(theta)), np.nan)
    return Evaluation(np.inf, none[0], none, none, 0.0)


class Objective(Protocol):
    """What `minimize` needs."""

    def __call__(self, theta: FloatArray, near: Evaluation | None) -> Evaluation: ...


class KernelObjective:
    """V(theta) of the kernel method of moments."""

    def __init__(self, restriction: Restriction, problem: DualProblem) -> None:
        self.restriction, self.problem = restriction, problem
        self._rows = 1.0 / float(np.sum(problem.w**2))

    def __call__(self, theta: FloatArray, near: Evaluation | None) -> Evaluation:
        M = self.restriction.moments(theta)
        jacobian = self.restriction.jacobian(theta)
        if not (np.all(np.isfinite(M)) and np.all(np.isfinite(jacobian))):
            return _nowhere(theta)
        start = near.dual.x if near is not None and near.dual is not None else None
        dual = self.problem.solve(M, start)
        if not dual.feasible:
            return _nowhere(theta)
        C = self.restriction.along(jacobian, dual.b)
        G = self.restriction.mean_slopes(jacobian, dual.p)
        hessian, gauss_newton = self.problem.theta_hessians(dual, M, C, G)
        hessian = hessian + self.restriction.curvature(theta, jacobian, dual.b, dual.p)
        centered = M - self.problem.w @ M
        covariance = (self.problem.w[:, None] * centered).T @ centered
        spread = float(np.sum(self.problem.weight_matrix(dual) * covariance))
        return Evaluation(
            dual.value, C.T @ dual.p, hessian, gauss_newton,
            0.5 * spread / self._rows, dual,
        )  # fmt: skip


class QuadraticObjective:
    """``mbar(theta)'W mbar(theta) / 2`` with a fixed weight; None is the identity.

    W = R^{-1} is the limit of lam V as lam grows: maximum moment restrictions.
    """

    def __init__(
        self, restriction: Restriction, w: FloatArray, W: FloatArray | None = None
    ) -> None:
        self.restriction, self.w, self.W = restriction, w, W

    def _weighted(self, vectors: FloatArray) -> FloatArray:
        return vectors if self.W is None else self.W @ vectors

    def __call__(self, theta: FloatArray, near: Evaluation | None) -> Evaluation:
        M = self.restriction.moments(theta)
        mbar = self.w @ M
        jacobian = self.restriction.jacobian(theta)
        G = self.restriction.mean_slopes(jacobian, self.w)
        gauss_newton = G.T @ self._weighted(G)
        if not (np.all(np.isfinite(mbar)) and np.all(np.isfinite(gauss_newton))):
            return _nowhere(theta)
        centered = (self.w[:, None] * (M - mbar)).T
        spread = float(np.sum(self._weighted(centered) * centered))
        weighted = self._weighted(mbar)
        curvature = self.restriction.curvature(theta, jacobian, weighted, self.w)
        return Evaluation(
            0.5 * float(mbar @ weighted), G.T @ weighted, gauss_newton + curvature,
            gauss_newton, 0.5 * spread,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Minimum:
    """A local minimum of an objective.

    Attributes
    ----------
    theta : ndarray of shape (p,)
    at : Evaluation
    n_iter : int
    converged : bool
    values : ndarray
        Values of the minima found from each start, the smallest first.
    """

    theta: FloatArray
    at: Evaluation
    n_iter: int
    converged: bool
    values: FloatArray


def minimize(
    objective: Objective,
    theta: FloatArray,
    tol: float = 1e-7,
    max_iter: int = 200,
    near: Evaluation | None = None,
) -> Minimum:
    """Minimise by damped Newton steps (Levenberg and Marquardt's damping).

    Stops where the next step is at most ``tol`` standard errors long: its gain against
    the value plus what sampling leaves of it, so that the scale of the objective (V is
    of order 1 / lam) does not matter. Values of inf are stepped back from. An objective
    that is lowest at infinity, as with weak instruments, has no minimum to arrive at.

    Parameters
    ----------
    objective : Objective
    theta : ndarray of shape (p,)
        Start; V must be finite there.
    tol : float, default=1e-7
    max_iter : int, default=200
        Accepted steps.
    near : Evaluation or None, default=None
        At a neighbour, to start the inner problem from.
    """
    first, start = objective(theta, near), theta
    at, damping, converged, n_iter = first, 0.0, False, 0
    while np.isfinite(at.value):
        model = _Model(at)
        small = tol**2 * (at.value + at.noise)
        if model.decrement2 <= small or n_iter == max_iter:
            converged = model.decrement2 <= small
            break
        while damping < _MOST_DAMPING:
            step, gain = model.step(damping)
            new = objective(theta + step, at)
            if new.value <= at.value - 1e-4 * gain + 1e-13 * at.value:
                break
            damping = max(10.0 * damping, 1e-3)
        else:
            converged = model.decrement2 <= 1e-8 * (at.value + at.noise)
            break
        theta, at, n_iter = theta + step, new, n_iter + 1
        damping = damping / 10.0 if damping > 1e-4 else 0.0
    converged = converged and not _lost(theta - start, first)
    return Minimum(theta, at, n_iter, converged, np.array([at.value]))


def _lost(moved: FloatArray, start: Evaluation) -> bool:
    """Whether parameters are infinitely far, in standard errors of the start."""
    squares = np.diagonal(start.gauss_newton) * moved**2
    return bool(np.any(squares > _LOST**2 * (start.value + start.noise)))


class _Model:
    """Positive definite quadratic model of an objective, in units of Gauss-Newton's."""

    def __init__(self, at: Evaluation) -> None:
        diagonal = np.diagonal(at.gauss_newton)
        # On the way to infinity slopes vanish, and squares must not overflow.
        self._unit = 1.0 / np.sqrt(np.where(diagonal > 1e-150, diagonal, 1.0))
        outer = self._unit[:, None] * self._unit
        self._gradient = self._unit * at.gradient
        metric = outer * at.gauss_newton
        metric[np.diag_indices_from(metric)] += 1e-10
        try:
            values, vectors = eigh(outer * at.hessian, metric)
        except LinAlgError:
            values, vectors = eigh(metric)
            values, vectors = np.ones_like(values), vectors / np.sqrt(values)
        values = np.maximum(np.abs(values), _LEAST_CURVATURE)
        inverse = np.linalg.inv(vectors)
        self._H = inverse.T @ (values[:, None] * inverse)
        self.decrement2 = self.step(0.0)[1]

    def step(self, damping: float) -> tuple[FloatArray, float]:
        """Return the step, and minus the gradient along it."""
        H = self._H.copy()
        H[np.diag_indices_from(H)] *= 1.0 + damping
        step = -np.linalg.solve(H, self._gradient)
        return self._unit * step, -float(self._gradient @ step)


def minimize_from(
    objective: Objective,
    starts: Sequence[FloatArray],
    tol: float = 1e-7,
    max_iter: int = 200,
) -> Minimum:
    """Return the lowest of the minima found from several starts.

    A start that after 20 steps is not below the lowest minimum so far is left.

    Raises
    ------
    ValueError
        If the objective is infinite at every start.
    """
    found: list[Minimum] = []
    for start in starts:
        trial = minimize(objective, start, tol, min(max_iter, _TRIAL))
        lowest = min((other.at.value for other in found), default=np.inf)
        if trial.n_iter == _TRIAL < max_iter and trial.at.value < lowest:
            rest = minimize(objective, trial.theta, tol, max_iter - _TRIAL, trial.at)
            trial = replace(rest, n_iter=_TRIAL + rest.n_iter)
        found.append(trial)
    found.sort(key=lambda minimum: minimum.at.value)
    best = found[0]
    if not np.isfinite(best.at.value):
        raise ValueError(
            "no weights satisfy the moments at any start: zero is outside the convex "
            "hull of the moments. Use fewer instruments, lam > 0, or other starts."
        )
    values = np.array([minimum.at.value for minimum in found])
    return replace(best, values=values[np.isfinite(values)])
