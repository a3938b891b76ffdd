"""Interior point method for programs over the label probabilities of target rows.

maximise sum_j a_j f_j(q_j) - price(moments(q) - tau) over probabilities q_j; its dual
has one coefficient for each moment. What a step needs of a row is a C x C matrix, in
closed form, so that one system of the moments' size remains. Predictor and corrector
of Mehrotra (1992), rows weighted by their shares; values and gaps are computed from the
program, not from the method's own variables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.linalg import LinAlgError

from causalweights._typing import FloatArray
from causalweights.shift._moment_bounds import Elastic, Within, step_length
from causalweights.shift._moment_program import MomentProgram
from causalweights.shift._moment_rows import EntropyRows, LinearRows, SpreadRows

Rows: TypeAlias = LinearRows | EntropyRows | SpreadRows
Bounds: TypeAlias = Within | Elastic

MAX_ITER = 100
# Products x z of the bounds, over those of the rows. With equal ones single rows are
# soon far from the path, and shorten every step.
WEIGHT = 0.01
# Share of the way to the boundary.
CLOSE = 0.995
# Products end at this share of what the gap allows.
FINAL = 0.1
# Steps without a smaller gap or product after which rounding has won.
PATIENCE = 15
# Products count as equal within this, relative to their size; steps to get there.
CENTERED, CENTER_STEPS = 1e-4, 10

EMPTY = (
    "no labels of the target rows have moments within lam of tau: enlarge lam, to the "
    "tolerances of feasible_lambda at least."
)


@dataclass(frozen=True, slots=True, eq=False)
class InteriorPoint:
    """A point of the program and one of its dual.

    Attributes
    ----------
    mu : (C, m), in the program's units
    q : (C, t), probabilities
    upper, lower : the dual at mu, the program at q; -inf where q is not in the set
    n_iter : int
    """

    mu: FloatArray
    q: FloatArray
    upper: float
    lower: float
    n_iter: int

    @property
    def gap(self) -> float:
        return self.upper - self.lower


class _Search:
    """Where a search is, and its steps."""

    def __init__(self, program: MomentProgram, rows: Rows, bounds: Bounds):
        self.program, self.rows, self.bounds = program, rows, bounds
        self.count = len(rows.z) * program.shape[0] + WEIGHT * bounds.x.size
        self.n_iter = 0

    def point(self) -> InteriorPoint:
        """Return where the search is, with its values."""
        program, rows, bounds = self.program, self.rows, self.bounds
        mu, q = bounds.mu, rows.x[0] / rows.x[0].sum(axis=0)
        upper = float(rows.conjugate(program.scores(mu)) @ program.shares)
        upper += bounds.support(mu) - float((program.tau * mu).sum())
        self.r = program.moments(q) - program.tau
        lower = float(rows.value(q) @ program.shares) - bounds.price(self.r)
        return InteriorPoint(mu, q, upper, lower, self.n_iter)

    def mean_product(self, primal: float = 0.0, dual: float = 0.0) -> float:
        """Return the mean size of x z after steps of these lengths."""
        rows, bounds = self.rows, self.bounds
        moved = [*rows.x, bounds.x], [*rows.z, bounds.z]
        if primal > 0.0 or dual > 0.0:
            steps = [*rows.dx, bounds.dx], [*rows.dz, bounds.dz]
            moved = (
                [x + primal * dx for x, dx in zip(moved[0], steps[0])],
                [z + dual * dz for z, dz in zip(moved[1], steps[1])],
            )
        *inside, last = (x * z for x, z in zip(*moved))
        total = sum(float((p @ self.program.shares).sum()) for p in inside)
        return (total + float(last.sum())) / self.count

    def _prepare(self) -> None:
        self.rows.prepare(self.program.scores(self.bounds.mu))
        width = self.bounds.prepare(self.r)
        self._solve = self.program.newton_solver(self.rows.pair, width)

    def _aim(self, row_targets: list[FloatArray], target: FloatArray) -> None:
        """Find the steps that change the products by these."""
        free = self.program.moments(self.rows.force(row_targets))
        dmu = self._solve(self.bounds.force(target) - free)
        self.rows.direction(self.program.scores(dmu))
        self.bounds.direction(dmu)

    def _lengths(self) -> tuple[float, float]:
        rows, bounds = self.rows, self.bounds
        primal = min(map(step_length, [*rows.x, bounds.x], [*rows.dx, bounds.dx]))
        dual = min(map(step_length, [*rows.z, bounds.z], [*rows.dz, bounds.dz]))
        return primal, dual

    def _advance(self) -> None:
        rows = self.rows
        primal, dual = (min(1.0, CLOSE * length) for length in self._lengths())
        rows.x = [x + primal * dx for x, dx in zip(rows.x, rows.dx)]
        rows.z = [z + dual * dz for z, dz in zip(rows.z, rows.dz)]
        self.bounds.advance(primal, dual)
        self.n_iter += 1

    def step(self, least: float) -> None:
        """Aim at products of zero, then at what that step promises.

        ``least`` is as small as products need to become.
        """
        rows, bounds = self.rows, self.bounds
        self._prepare()
        inside = [-x * z for x, z in zip(rows.x, rows.z)]
        outside = -bounds.x * bounds.z
        self._aim(inside, outside)
        mean, ahead = self.mean_product(), self.mean_product(*self._lengths())
        aim = max(mean * min(1.0, ahead / mean) ** 3, min(least, mean))
        self._aim(
            [aim + p - dx * dz for p, dx, dz in zip(inside, rows.dx, rows.dz)],
            WEIGHT * aim + outside - bounds.dx * bounds.dz,
        )
        self._advance()

    def center(self, aim: float) -> bool:
        """Take a step to products of this size; False where they are there."""
        rows, bounds = self.rows, self.bounds
        inside = [aim - x * z for x, z in zip(rows.x, rows.z)]
        outside = WEIGHT * aim - bounds.x * bounds.z
        off = [np.abs(p).max() for p in [*inside, outside / WEIGHT]]
        if max(off) <= CENTERED * aim:
            return False
        self._prepare()
        self._aim(inside, outside)
        self._advance()
        return True


def interior_point(
    program: MomentProgram,
    rows: Rows,
    bounds: Bounds,
    tol: float,
    *,
    least: float = -np.inf,
    max_iter: int = MAX_ITER,
) -> InteriorPoint:
    """Return the best points of a search, to a gap of ``tol`` where rounding lets it.

    Parameters
    ----------
    rows, bounds : at their first point; changed
    least : float, default=-inf
        What no distribution of the set is below.

    Raises
    ------
    ValueError
        Where the dual falls below ``least``, which proves the set empty.

    Notes
    -----
    A step costs O(t C^2 m^2 + (C m)^3), and with `SpreadRows` O(t C^3) besides; memory
    O(t (C + m) + (C m)^2).
    """
    search = _Search(program, rows, bounds)
    return _descend(search, tol, least, max_iter)


def central_point(
    program: MomentProgram, rows: Rows, bounds: Bounds, tol: float
) -> InteriorPoint:
    """Return the point of the central path from which the gap is below ``tol`` / 10.

    The path ends in the analytic center of the solutions. Unlike the best points of a
    search, which are somewhere among them, it does not depend on the order of rows and
    classes.
    """
    search = _Search(program, rows, bounds)
    found = _descend(search, tol, -np.inf, MAX_ITER)
    aim = FINAL * tol / search.count
    for _ in range(CENTER_STEPS):
        try:
            if not search.center(aim):
                break
        except LinAlgError:
            break
        found = search.point()
    return found


def _descend(search: _Search, tol: float, least: float, max_iter: int) -> InteriorPoint:
    best, smallest, last = search.point(), np.inf, 0
    aim = FINAL * tol / search.count
    while best.gap > tol and search.n_iter < min(max_iter, last + PATIENCE):
        try:
            search.step(aim)
        except LinAlgError:
            break
        best = _better(search.point(), best)
        if best.upper < least - tol:
            raise ValueError(EMPTY)
        product = search.mean_product()
        if isinstance(search.bounds, Within) and product < 2.0 * aim:
            search.bounds.draw_in(search.r)
        reached = min(best.gap, product)
        if reached < smallest:
            smallest, last = reached, search.n_iter
    return best


def _better(new: InteriorPoint, best: InteriorPoint) -> InteriorPoint:
    """Return the better of both sides."""
    q, lower = (new.q, new.lower) if new.lower >= best.lower else (best.q, best.lower)
    mu, upper = new.mu, new.upper
    if upper > best.upper:
        mu, upper = best.mu, best.upper
    return InteriorPoint(mu, q, upper, lower, new.n_iter)
