"""Dual of entropy balancing in one arm: damped Newton, and proofs of infeasibility."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from causalweights._typing import FloatArray

# Eigenvalues of the Hessian are kept above this share of the largest.
_FLOOR = 1e-13
# Share of the predicted decrease that a step must reach (Armijo).
_ARMIJO = 1e-4
# What HiGHS may leave of an equality constraint that it calls satisfied, with room.
_LP_TOL = 1e-6


@dataclass(frozen=True, slots=True)
class DualSolution:
    """Exponential tilt of one arm.

    Attributes
    ----------
    theta : ndarray of shape (r,)
        Dual variables: masses are proportional to ``base * exp(H @ theta)``.
    log_total : float
        Log of the normalising sum, which is the value of the dual.
    masses : ndarray of shape (n,)
    residual : float
        Euclidean norm of ``H' masses``, zero at the solution.
    n_iter : int
    unbounded : bool
        Whether the dual fell below any value it can have if a solution exists.
    """

    theta: FloatArray
    log_total: float
    masses: FloatArray
    residual: float
    n_iter: int
    unbounded: bool


def tilt(
    H: FloatArray, log_base: FloatArray, theta: FloatArray
) -> tuple[float, FloatArray]:
    """Return ``log sum base * exp(H theta)`` and the normalised masses."""
    exponent = log_base + H @ theta
    top = exponent.max()
    masses = np.exp(exponent - top)
    total = masses.sum()
    return float(top + np.log(total)), masses / total


def covariance(H: FloatArray, masses: FloatArray) -> FloatArray:
    """Return the covariance of the rows of H under the masses: the dual's Hessian."""
    centred = H - masses @ H
    return (centred * masses[:, None]).T @ centred


def newton_step(hessian: FloatArray, gradient: FloatArray) -> FloatArray:
    """Return the descent step with the Hessian's eigenvalues bounded below."""
    values, axes = np.linalg.eigh(hessian)
    floor = max(_FLOOR * values[-1], np.finfo(np.float64).tiny)
    return -axes @ ((axes.T @ gradient) / np.maximum(values, floor))


def solve_dual(
    H: FloatArray, base: FloatArray, *, tol: float = 1e-8, max_iter: int = 200
) -> DualSolution:
    """Minimise ``log sum_i base_i exp(theta' h_i)`` over theta.

    The rows of H are centred at the target, so a stationary point has
    ``sum_i masses_i h_i = 0``. Newton steps go on past ``tol`` for as long as they
    shrink the residual: the last ones are the cheapest digits. Each costs n r^2.

    A feasible problem has the dual value -KL(masses, base) >= log(min base); a value
    below that proves that the target lies outside the convex hull.
    """
    theta = np.zeros(H.shape[1])
    log_base = np.log(base)
    lowest = log_base.min() - 1e-6
    value, masses = tilt(H, log_base, theta)
    gradient = masses @ H
    residual = float(np.linalg.norm(gradient))
    n_iter = 0
    while n_iter < max_iter and residual > 0 and value >= lowest:
        n_iter += 1
        step = newton_step(covariance(H, masses), gradient)
        slope = float(gradient @ step)
        length = 1.0
        for _ in range(60):
            trial = theta + length * step
            new_value, new_masses = tilt(H, log_base, trial)
            new_gradient = new_masses @ H
            new_residual = float(np.linalg.norm(new_gradient))
            if new_value <= value + _ARMIJO * length * slope:
                break
            # Close to the solution the value is flat to rounding, the residual not.
            if residual <= 1e-4 and new_residual <= 0.5 * residual:
                break
            length *= 0.5
        else:
            break
        at_rounding = residual <= tol and new_residual > 0.5 * residual
        if at_rounding and new_residual > residual:
            break
        theta, value, masses = trial, new_value, new_masses
        gradient, residual = new_gradient, new_residual
        if at_rounding:
            break
    return DualSolution(theta, value, masses, residual, n_iter, value < lowest)


def worst_feature(F: FloatArray) -> tuple[int, float] | None:
    """Return the feature whose mean no weights can bring to zero, and the miss.

    Rows of F are centred at the target. A column that does not change sign answers at
    once; else a linear programme minimises the sum of absolute misses over the weights.
    None means that the target lies inside the convex hull, up to the solver's 1e-6.
    """
    beyond = np.maximum(F.min(axis=0), -F.max(axis=0))
    if beyond.max() > _LP_TOL:
        j = int(np.argmax(beyond))
        return j, float(beyond[j])
    n, p = F.shape
    equalities = np.vstack(
        [
            np.hstack([F.T, np.eye(p), -np.eye(p)]),
            np.concatenate([np.ones(n), np.zeros(2 * p)])[None, :],
        ]
    )
    found = linprog(
        np.concatenate([np.zeros(n), np.ones(2 * p)]),
        A_eq=equalities,
        b_eq=np.concatenate([np.zeros(p), [1.0]]),
        bounds=(0, None),
        method="highs",
    )
    misses = np.abs(found.x[:n] @ F) if found.status == 0 else np.zeros(p)
    j = int(np.argmax(misses))
    return (j, float(misses[j])) if misses[j] > _LP_TOL else None
