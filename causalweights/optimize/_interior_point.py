"""Primal-dual interior point method for the canonical problem.

Mehrotra's predictor-corrector (Mehrotra 1992, SIAM J. Optim. 2, 575-601) with one
dense Cholesky factorisation a step, followed by a polish on the support it finds.
Insensitive to conditioning: 12-25 steps for singular kernels with no ridge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError

from causalweights.optimize._active_set import free_block, solve_active_set
from causalweights.optimize._certificate import FloatArray, rounding_level
from causalweights.optimize._factor import BorderedFactor, default_shift, lift
from causalweights.optimize._problem import DenseQP, Outcome, Simplices

EPS = float(np.finfo(np.float64).eps)
TO_BOUNDARY = 0.995
# Diagonal additions tried when a Cholesky factorisation fails, in units of the matrix.
EXTRAS = (0.0, 1e-15, 1e-13, 1e-11, 1e-9)
# The path stops at this share of the first gap; the polish closes the rest.
PATH_TOLERANCE = 1e-13
PATIENCE = 5


@dataclass(slots=True, eq=False)
class _Iterate:
    """Primal v, multipliers y of the groups, z of v >= 0 and x of v <= upper."""

    v: FloatArray
    y: FloatArray
    z: FloatArray
    x: FloatArray


def solve_interior_point(problem: DenseQP, max_iter: int = 100) -> Outcome:
    """Follow the central path to rounding level, then polish on the support found."""
    simplices = problem.simplices
    iterate = _start(problem)
    best, best_gap, stalled, first = iterate.v, np.inf, 0, None
    best_z, lifted, steps = iterate.z, 0.0, 0
    buffer = np.empty_like(problem.K, order="C")
    for _ in range(max_iter):
        steps += 1
        feasible = simplices.repair(iterate.v)
        gradient = problem.gradient(feasible)
        gap = simplices.gap(gradient, feasible)
        first = gap if first is None else first
        stalled = 0 if gap < 0.9 * best_gap else stalled + 1
        if gap < best_gap:
            best, best_gap, best_z = feasible, gap, iterate.z.copy()
        floor = rounding_level(gradient + problem.q, problem.q, EPS)
        if gap <= max(PATH_TOLERANCE * first, 0.01 * floor) or stalled >= PATIENCE:
            break
        factor, lifted = _factor_newton(problem, iterate, buffer, lifted)
        if factor is None or not _advance(problem, iterate, factor):
            break
    v, polished = _polish(problem, best, best_gap, best_z)
    status = "path followed, support polished" if polished else "path followed"
    return Outcome(v, steps, True, "interior_point", status)


def _start(problem: DenseQP) -> _Iterate:
    simplices = problem.simplices
    v = simplices.interior()
    gradient = problem.gradient(v)
    y = simplices.sums(gradient) / simplices.sums(np.ones_like(v))
    spread = np.abs(gradient - y[simplices.labels]).max()
    size = max(float(spread), EPS * float(np.abs(gradient).max()), np.finfo(float).tiny)
    z = np.full(v.size, size)
    return _Iterate(v, y, z, np.where(np.isfinite(simplices.upper), size, 0.0))


def _factor_newton(
    problem: DenseQP, iterate: _Iterate, buffer: FloatArray, lifted: float
) -> tuple[BorderedFactor | None, float]:
    """Factor K + ridge + z/v + x/(upper - v), adding to the diagonal if it must.

    The added amount only slows the step: residuals stay those of the exact problem.
    """
    simplices = problem.simplices
    diagonal = problem.ridge + iterate.z / iterate.v
    diagonal += iterate.x / (simplices.upper - iterate.v)
    E = simplices.indicator()
    size = float(np.abs(problem.K.diagonal()).max()) + float(problem.ridge.max())
    size = max(size, float(np.abs(problem.q).max()))
    for lifting in (False, True):
        if lifting and lifted == 0.0:
            lifted = default_shift(problem.K)
        elif lifting:
            break
        # Without the lift large additions would only hide an indefinite matrix.
        for extra in EXTRAS if lifted > 0.0 else EXTRAS[:2]:
            np.copyto(buffer, problem.K)
            lift(buffer, simplices.labels, lifted)
            buffer.flat[:: diagonal.size + 1] += diagonal + extra * (size + lifted)
            try:
                # The wide range of pivots near the solution is harmless: it sits in
                # the barrier's diagonal.
                return BorderedFactor(buffer, E, problem.q, ratio=0.0), lifted
            except LinAlgError:
                continue
    return None, lifted


def _advance(problem: DenseQP, at: _Iterate, factor: BorderedFactor) -> bool:
    """Take one predictor-corrector step in place; False when it is not finite."""
    simplices = problem.simplices
    bounded = np.isfinite(simplices.upper)
    room = np.where(bounded, simplices.upper - at.v, 1.0)
    dual = problem.gradient(at.v) - at.y[simplices.labels] - at.z + at.x
    primal = simplices.mass - simplices.sums(at.v)
    n_pairs = at.v.size + int(bounded.sum())

    def direction(rz: FloatArray, rx: FloatArray) -> tuple[FloatArray, ...]:
        dv, dy = factor.solve(-dual + rz / at.v - rx / room, primal)
        dz = (rz - at.z * dv) / at.v
        return dv, dy, dz, np.where(bounded, (rx + at.x * dv) / room, 0.0)

    def longest(dv: FloatArray, dz: FloatArray, dx: FloatArray) -> float:
        # One step length for primal and dual: with a quadratic term, different
        # lengths would put the dual residual back.
        return min(
            _ratio(at.v, dv),
            _ratio(at.z, dz),
            _ratio(room[bounded], -dv[bounded]),
            _ratio(at.x[bounded], dx[bounded]),
        )

    mu = (at.v @ at.z + room @ at.x) / n_pairs
    dv, _, dz, dx = direction(-at.v * at.z, -room * at.x)
    length = min(1.0, longest(dv, dz, dx))
    ahead = (at.v + length * dv) @ (at.z + length * dz)
    ahead += np.where(bounded, room - length * dv, 0.0) @ (at.x + length * dx)
    target = mu * (ahead / n_pairs / mu) ** 3
    dv, dy, dz, dx = direction(
        target - at.v * at.z - dv * dz,
        np.where(bounded, target - room * at.x + dv * dx, 0.0),
    )
    length = min(1.0, TO_BOUNDARY * longest(dv, dz, dx))
    if not (np.isfinite(length) and np.isfinite(dv).all() and np.isfinite(dy).all()):
        return False
    at.v, at.y = at.v + length * dv, at.y + length * dy
    at.z, at.x = at.z + length * dz, at.x + length * dx
    return bool(np.all(at.v > 0.0) and np.all(at.z > 0.0))


def _ratio(value: FloatArray, change: FloatArray) -> float:
    """Longest step that keeps value + step * change non-negative."""
    falling = change < 0.0
    if not falling.any():
        return np.inf
    return float(np.min(-value[falling] / change[falling]))


def _polish(
    problem: DenseQP, v: FloatArray, gap: float, z: FloatArray
) -> tuple[FloatArray, bool]:
    """Solve on the guessed support; keep the result if the gap does not grow."""
    guess = support_guess(problem.simplices, v, z)
    outcome = solve_active_set(problem, start=guess, max_iter=10)
    polished = False
    for candidate in (outcome.v, _flatten_gradient(problem, guess)):
        if candidate is None:
            continue
        gradient = problem.gradient(candidate)
        new_gap = problem.simplices.gap(gradient, candidate)
        # Within rounding, prefer the polished weights for their exact zeros.
        floor = rounding_level(gradient + problem.q, problem.q, EPS)
        if new_gap < max(gap, 0.1 * floor):
            v, gap, polished = candidate, new_gap, True
    return v, polished


def support_guess(simplices: Simplices, v: FloatArray, z: FloatArray) -> FloatArray:
    """Set rows to zero, or to the bound, that the path drives there."""
    size = simplices.mass / simplices.sums(np.ones_like(v))
    scale = max(float(z.max()), np.finfo(float).tiny)
    guess = np.where(v / size[simplices.labels] <= z / scale, 0.0, v)
    near = np.isfinite(simplices.upper) & (simplices.upper - v <= 1e-8 * v)
    return np.where(near, simplices.upper, guess)


def _flatten_gradient(problem: DenseQP, guess: FloatArray) -> FloatArray | None:
    """Take regularised Newton steps on the support of a singular problem.

    The minimiser is not unique there, so the nearest one is sought: the small
    diagonal keeps each correction short, and repeating removes its bias.
    """
    simplices = problem.simplices
    v = simplices.repair(guess)
    free = np.flatnonzero((v > 0.0) & (v < simplices.upper))
    on_free = simplices.restrict(free)
    counts = on_free.sums(np.ones(free.size))
    if np.any(counts == 0.0):
        return None
    A = free_block(problem, free)
    shift = default_shift(problem.K)
    lift(A, on_free.labels, shift)
    A.flat[:: free.size + 1] += 1e-13 * (shift + float(np.abs(A.diagonal()).max()))
    try:
        factor = BorderedFactor(A, on_free.indicator(), problem.q[free])
    except LinAlgError:
        return None
    for _ in range(3):
        gradient = problem.gradient(v)[free]
        residual = gradient - (on_free.sums(gradient) / counts)[on_free.labels]
        change, _ = factor.solve(-residual, np.zeros(counts.size))
        length = min(1.0, _ratio(v[free], change))
        length = min(length, _ratio(on_free.upper - v[free], -change))
        if not np.isfinite(change).all():
            return None
        v[free] += length * change
    return simplices.repair(v)
