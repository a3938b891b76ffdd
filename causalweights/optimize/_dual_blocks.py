"""A low-rank quadratic program on simplices, solved over blocks of rows.

Row i has features f_i = phi_i (x) B[g_i], where g_i is its group. The program

    min |sum_i w_i f_i - c|^2/2 + sum_i d_i w_i^2/2,  sum of w_i over group g = m_g,

with lower <= w <= upper has r k + G dual unknowns, T (r, k) and one level y per group:

    w_i = clip((y_g - phi_i' T B[g]) / d_i, lower_i, upper_i),

and the dual function, its gradient and its Hessian are sums over the rows. So each step
is one or two passes over blocks of rows that may lie anywhere, and one small system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from causalweights.optimize._certificate import FloatArray, IntArray

# Rows are read in pieces, so that copies stay small beside the features.
PIECE = 8192
MAX_STEPS = 300
BACKTRACKS = 20
# Where so many steps do not end, the diagonals come down from FIRST_SCALE times
# themselves by PATH_RATIO, with at most PATH_STEPS at each value.
DIRECT = 40
FIRST_SCALE, PATH_RATIO, PATH_STEPS = 4096.0, 4.0, 40
# A gradient below this many rounding units of its terms is zero.
ROUNDING_UNITS = 64.0
EPS = float(np.finfo(np.float64).eps)

# total(function, *small): sums of what `function(block, *small)` returns, a tuple.
Total: TypeAlias = Callable[..., tuple[Any, ...]]
# Slopes (r, G) and levels (G,): the dual point as each group's rows see it; and the
# factor of the diagonals.
View: TypeAlias = tuple[FloatArray, FloatArray, float]


@dataclass(frozen=True, slots=True, eq=False)
class DualBlock:
    """A block of m rows, ordered by group.

    Attributes
    ----------
    phi : (m, r), features
    diagonal : (m,), positive
    lower, upper : (m,), bounds; `upper` is inf for none
    starts : (G + 1,) int, where each group's rows start, and m
    """

    phi: FloatArray
    diagonal: FloatArray
    lower: FloatArray
    upper: FloatArray
    starts: IntArray

    def groups(self) -> Iterator[tuple[int, slice]]:
        """Yield the groups present and their rows."""
        for g in range(self.starts.size - 1):
            if self.starts[g] < self.starts[g + 1]:
                yield g, slice(int(self.starts[g]), int(self.starts[g + 1]))

    def slack(self, view: View) -> FloatArray:
        """Return y_g - phi'T B[g], (m,)."""
        slopes, levels, _ = view
        slack = np.empty(self.diagonal.shape)
        for g, rows in self.groups():
            slack[rows] = levels[g] - self.phi[rows] @ slopes[:, g]
        return slack

    def free(self, view: View, slack: FloatArray | None = None) -> NDArray[np.bool_]:
        """Tell which rows are strictly between their bounds."""
        slack = self.slack(view) if slack is None else slack
        d = view[2] * self.diagonal
        return (slack > d * self.lower) & (slack < d * self.upper)


@dataclass(frozen=True, slots=True, eq=False)
class DualSolution:
    """Solution of `solve_dual_blocks`.

    Attributes
    ----------
    slopes : ndarray of shape (r, G)
        T B': weights are clip((levels[g] - phi'slopes[:, g]) / d, lower, upper).
    levels : ndarray of shape (G,)
    n_iter : int
        Linear systems solved.
    finished : bool
        The rows at a bound stayed the same, or the gradient is at rounding level.
    """

    slopes: FloatArray
    levels: FloatArray
    n_iter: int
    finished: bool


def block_weights(block: DualBlock, slopes: FloatArray, levels: FloatArray):
    """Return the weights of a block's rows at a dual point, (m,)."""
    slack = block.slack((slopes, levels, 1.0))
    return np.clip(slack / block.diagonal, block.lower, block.upper)


def dual_terms(block: DualBlock, view: View, before: View | None) -> tuple[Any, ...]:
    """Return what the dual function and its gradient sum over rows.

    The conjugate, its size, weighted features (r, G), weights (G,), and how many rows
    have left or met a bound since the point `before` (None: where all rows are free).
    """
    slack, d = block.slack(view), view[2] * block.diagonal
    w = np.clip(slack / d, block.lower, block.upper)
    terms = w * slack, 0.5 * d * w * w
    moments = np.zeros((block.phi.shape[1], block.starts.size - 1))
    sums = np.zeros(block.starts.size - 1)
    for g, rows in block.groups():
        moments[:, g] = w[rows] @ block.phi[rows]
        sums[g] = w[rows].sum()
    was_free = True if before is None else block.free(before)
    moved = np.count_nonzero(block.free(view, slack) != was_free)
    conjugate = terms[0].sum() - terms[1].sum()
    return conjugate, np.abs(terms[0]).sum(), moments, sums, moved


def dual_curvature(block: DualBlock, view: View, everywhere: bool) -> tuple[Any, ...]:
    """Return Phi'D Phi (G, r, r), Phi'D 1 (r, G), 1'D 1 (G,) and counts (G,).

    D is 1/d on the free rows, or on all rows where `everywhere`.
    """
    n_groups, r = block.starts.size - 1, block.phi.shape[1]
    gram, border = np.zeros((n_groups, r, r)), np.zeros((r, n_groups))
    curvature, counts = np.zeros(n_groups), np.zeros(n_groups)
    free = None if everywhere else block.free(view)
    for g, rows in block.groups():
        for start in range(rows.start, rows.stop, PIECE):
            piece = slice(start, min(start + PIECE, rows.stop))
            root = np.sqrt(1.0 / (view[2] * block.diagonal[piece]))
            part = block.phi[piece]
            if free is not None:
                root, part = root[free[piece]], part[free[piece]]
            part = part * root[:, None]
            gram[g] += part.T @ part
            border[:, g] += root @ part
            curvature[g] += root @ root
            counts[g] += root.size
    return gram, border, curvature, counts


def solve_dual_blocks(
    total: Total,
    center: ArrayLike,
    mass: ArrayLike,
    root: ArrayLike | None = None,
    *,
    max_iter: int = MAX_STEPS,
) -> DualSolution:
    """Solve the program of a low-rank matrix plus a diagonal by sums over blocks.

    With C = BB' it is min w'(C[g_i, g_j] phi_i'phi_j + diag(d))w/2 - q'w, where
    q_i = phi_i' c B[g_i] is of the same low rank: an exact q would reward directions
    that the features lack. A semi-smooth Newton method, damped by Armijo's rule, from
    the point at which all rows are free.

    Parameters
    ----------
    total : callable
        ``total(function, *small)`` returns the elementwise sums, over all `DualBlock`,
        of the tuples ``function(block, *small)``. The functions are pure and live at
        the top of this module, so that they can be sent to other processes.
    center : array-like of shape (r,) or (r, k)
        c; for k columns (r,) is the same for each.
    mass : array-like of shape (G,)
        Sums of the weights, strictly between the sums of the bounds.
    root : array-like of shape (G, k), default=None
        B; None is one column of ones, one matrix across the groups.
    max_iter : int, default=300
        Limit on the linear systems.

    Returns
    -------
    DualSolution
        `block_weights` gives the weights of each block.

    Notes
    -----
    A step takes O(n r^2) time over the blocks, in sums of G r^2 numbers, and (r k)^3
    here; 5 to 10 steps are usual. How rows are cut into blocks changes rounding only.

    References
    ----------
    Qi & Sun (2006), A quadratically convergent Newton method for computing the nearest
    correlation matrix, SIAM Journal on Matrix Analysis and Applications 28 (the dual
    form); Hintermueller, Ito & Kunisch (2003), SIAM Journal on Optimization 13.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.optimize._dual_blocks import (
    ...     DualBlock, block_weights, solve_dual_blocks)
    >>> x, ones = np.array([[-1.0], [1.0], [3.0]]), np.ones(3)
    >>> block = DualBlock(x, ones, 0 * ones, np.inf * ones, np.array([0, 3]))
    >>> dual = solve_dual_blocks(lambda f, *small: f(block, *small), [0.0], [1.0])
    >>> block_weights(block, dual.slopes, dual.levels).round(4)
    array([0.5556, 0.3333, 0.1111])
    """
    mass = np.asarray(mass, dtype=np.float64)
    B = np.ones((mass.size, 1)) if root is None else np.asarray(root, dtype=np.float64)
    c = np.asarray(center, dtype=np.float64)
    if c.ndim == 1:
        c = np.repeat(c[:, None], B.shape[1], axis=1)
    dual = _Dual(total, c, mass, B)
    point = dual.equality() or dual.origin()
    point, steps, finished = _minimize(dual, point, 1, min(DIRECT, max_iter))
    if not finished and steps < max_iter:
        point, steps, finished = _along_path(dual, steps, max_iter)
    slopes, levels, _ = dual.view(point)
    return DualSolution(slopes, levels, steps, finished)


@dataclass(frozen=True, slots=True, eq=False)
class _Point:
    """Dual point T (r, k), y (G,) with its value, the size of its terms and slopes."""

    T: FloatArray
    y: FloatArray
    value: float
    size: float
    slope_T: FloatArray
    slope_y: FloatArray
    moved: int


class _Dual:
    """The dual function |T|^2/2 + <T, c> + conjugates - mass'y and its Newton steps.

    `scale` multiplies the diagonals.
    """

    def __init__(
        self, total: Total, center: FloatArray, mass: FloatArray, root: FloatArray
    ) -> None:
        self.total, self.center, self.mass, self.root = total, center, mass, root
        self.scale = 1.0
        self.least = np.zeros(mass.size)

    def view(self, point: _Point) -> View:
        return point.T @ self.root.T, point.y, self.scale

    def origin(self) -> _Point:
        """Return T = 0 and y = 0 as if no row had a bound, which makes w = 0."""
        T, y = np.zeros(self.center.shape), np.zeros(self.mass.size)
        return _Point(T, y, np.inf, 0.0, self.center, -self.mass, 1)

    def equality(self) -> _Point | None:
        """Return the minimizer of the program without bounds, or None."""
        step = self.newton(self.origin(), everywhere=True)
        return None if step is None else self.point(*step, None)

    def point(self, T: FloatArray, y: FloatArray, before: _Point | None) -> _Point:
        seen = None if before is None else self.view(before)
        conjugate, size, moments, sums, moved = self.total(
            dual_terms, (T @ self.root.T, y, self.scale), seen
        )
        parts = 0.5 * np.sum(T * T), np.sum(T * self.center), -float(self.mass @ y)
        return _Point(
            T,
            y,
            float(conjugate + sum(parts)),
            float(size + sum(abs(part) for part in parts)),
            T + self.center - moments @ self.root,
            sums - self.mass,
            int(moved),
        )

    def settled(self, point: _Point) -> bool:
        """Tell whether the gradient is what rounding leaves of its terms."""
        unit = ROUNDING_UNITS * EPS
        terms = np.abs(point.T).max(initial=0.0) + np.abs(self.center).max(initial=0.0)
        return bool(
            np.abs(point.slope_T).max(initial=0.0) <= unit * terms
            and np.all(np.abs(point.slope_y) <= unit * self.mass)
        )

    def newton(
        self, point: _Point, everywhere: bool = False
    ) -> tuple[FloatArray, FloatArray] | None:
        """Return the step on the free (or all) rows; None where it has none."""
        B, size = self.root, point.T.size
        gram, border, curvature, counts = self.total(
            dual_curvature, self.view(point), everywhere
        )
        if everywhere:
            # A group without free rows has a flat level: one row's curvature moves it.
            self.least = curvature / counts
        H, E = np.eye(size), np.empty((size, B.shape[0]))
        for g, b in enumerate(B):
            H += np.kron(gram[g], np.outer(b, b))
            E[:, g] = np.outer(border[:, g], b).ravel()
        corner = np.diag(np.maximum(curvature, self.least))
        try:
            factor = cho_factor(H, lower=True, overwrite_a=True, check_finite=False)
            right = np.column_stack([E, -point.slope_T.ravel()])
            solved = cho_solve(factor, right, check_finite=False)
            schur = corner - E.T @ solved[:, :-1]
            dy = np.linalg.solve(schur, -point.slope_y + E.T @ solved[:, -1])
        except (LinAlgError, np.linalg.LinAlgError):
            return None
        dt = solved[:, -1] + solved[:, :-1] @ dy
        if not (np.isfinite(dt).all() and np.isfinite(dy).all()):
            return None
        return dt.reshape(point.T.shape), dy


def _minimize(
    dual: _Dual, point: _Point, steps: int, last: int
) -> tuple[_Point, int, bool]:
    """Take Newton steps from `steps` on; tell how many, and whether they ended."""
    full = True
    while True:
        # After a full step, a set that stays is the solution's.
        if dual.settled(point) or (full and point.moved == 0):
            return point, steps, True
        direction = dual.newton(point) if steps < last else None
        if direction is None:
            return point, steps, False
        steps += 1
        following, full = _damped(dual, point, direction)
        if following is None:
            return point, steps, False
        point = following


def _along_path(dual: _Dual, steps: int, last: int) -> tuple[_Point, int, bool]:
    """Lead the diagonals down from large values, which make the program easy.

    Steps from afar are cut short where many rows sit at a bound of theirs; along the
    path each program begins near its solution.
    """
    dual.scale = FIRST_SCALE
    point = dual.equality() or dual.origin()
    steps += 1
    while True:
        ahead = last if dual.scale == 1.0 else min(last, steps + PATH_STEPS)
        point, steps, finished = _minimize(dual, point, steps, ahead)
        if dual.scale == 1.0:
            return point, steps, finished
        dual.scale = max(1.0, dual.scale / PATH_RATIO)
        # One more than no row: a new program is not solved by an old set.
        point = replace(dual.point(point.T, point.y, None), moved=1)


def _damped(
    dual: _Dual, point: _Point, direction: tuple[FloatArray, FloatArray]
) -> tuple[_Point | None, bool]:
    """Return the first point along the direction that lowers the dual enough.

    Also tells whether the step was a full one.
    """
    dT, dy = direction
    slope = float(np.sum(point.slope_T * dT) + point.slope_y @ dy)
    noise = ROUNDING_UNITS * EPS * point.size
    length = 1.0
    for _ in range(BACKTRACKS):
        following = dual.point(point.T + length * dT, point.y + length * dy, point)
        if following.value <= point.value + 1e-4 * length * slope + noise:
            return following, length == 1.0
        length *= 0.5
    return None, False
