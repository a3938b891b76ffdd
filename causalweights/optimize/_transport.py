"""Weights that bring a sample as near as possible to a target, by optimal transport."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from causalweights._validation import check_sample_weight
from causalweights.optimize._certificate import (
    FloatArray,
    IntArray,
    group_sums,
    relative_gap,
    rounding_level,
)
from causalweights.optimize._checks import check_options, check_ridge, check_vector
from causalweights.optimize._transport_arcs import EPS, blocks_of
from causalweights.optimize._transport_qp import ridge_transport

# Distances are equal up to this many rounding units of the largest coordinate.
TIE_UNITS = 16.0
# A ridge below this has a reciprocal too near to infinity, and no effect.
SMALLEST_RIDGE = 1e-150


@dataclass(frozen=True, slots=True, eq=False)
class TransportResult:
    """Solution of `transport_weights` with its certificate.

    Attributes
    ----------
    weights : ndarray of shape (n,)
        Non-negative, of sum one, also when `converged` is False.
    value : float
        Objective: `transport_cost` plus the ridge or entropy term.
    transport_cost : float
        Mean distance under the plan that the weights are the source masses of: the
        Wasserstein-1 distance of the weighted source to the target, except with
        entropy, whose plan is not the shortest one.
    gap : float
        value - minimum <= gap; zero for the closed forms.
    relative_gap : float
        gap / (objective at uniform weights - value). Of the former a lower bound stands
        in, from the rows' nearest neighbors, the difference in means and `potentials`,
        so that the figure errs upwards. 0 for the closed forms, and where gap and
        difference are both below rounding level; inf where uniform weights are not
        seen to be worse and the gap is larger than that.
    n_iter : int
        Interior point steps, 0 for the closed forms.
    converged : bool
        relative_gap <= tol, or gap below the rounding level of the objective's terms.
    solver : str
        "nearest_neighbor", "softmin" (entropy) or "interior_point" (ridge).
    potentials : ndarray of shape (n,)
        Prices u >= 0 of the source rows, 2 ridge w up to the gap; zero without a ridge.
        They prove the gap: the minimum is at least
        sum_i t_i min_j (c_ij + u_j) - sum_j u_j^2 / (4 ridge_j), and y -> min_j
        (|y - x_j| + u_j) is the function of Lipschitz constant one with the largest
        difference in means between target and weighted source.
    """

    weights: FloatArray
    value: float
    transport_cost: float
    gap: float
    relative_gap: float
    n_iter: int
    converged: bool
    solver: str
    potentials: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """Distinct source rows with their base masses, and target rows with mass.

    `base` (n,) are the base masses of all rows, `copies` their sums.
    """

    X: FloatArray
    copies: FloatArray
    position: IntArray
    base: FloatArray
    Y: FloatArray
    t: FloatArray

    def share(self, masses: FloatArray, parts: FloatArray) -> FloatArray:
        """Divide the mass of each distinct row among its copies, by the given parts."""
        sums = np.bincount(self.position, parts, len(self.X))
        return (masses / sums)[self.position] * parts


def transport_weights(
    X: ArrayLike,
    Y: ArrayLike,
    target_masses: ArrayLike | None,
    *,
    ridge: ArrayLike = 0.0,
    entropy: float = 0.0,
    base: ArrayLike | None = None,
    tol: float = 1e-6,
    max_iter: int = 500,
) -> TransportResult:
    """Minimise the Wasserstein-1 distance of a weighted sample to a target.

    Over weights w of sum one on the rows of X, the distance W1(w, target) with
    Euclidean costs plus sum_j ridge_j w_j^2. Without a ridge every target row goes to
    its nearest source row: matching with replacement. A ridge spreads the weights over
    more rows; so does entropy, which shares each target row among near source rows.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Source rows, to be weighted. The function does not standardise.
    Y : array-like of shape (m, d)
        Target rows.
    target_masses : array-like of shape (m,) or None
        Non-negative masses of the target rows, normalised to sum one; None is equal
        masses. Rows of mass zero do not count.
    ridge : float or array-like of shape (n,), default=0.0
        Non-negative; in the units of distances. Zero on some rows leaves these free.
    entropy : float, default=0.0
        Non-negative eps, in the units of distances: the objective is then
        sum_ij p_ij c_ij + eps sum_ij p_ij log(p_ij / (t_i b_j)) over plans p, b_j the
        base masses of sum one, or all 1 without any. Not together with a ridge.
    base : array-like of shape (n,) or None, default=None
        Positive masses of the source rows, in proportion to which rows that tie share
        what they get, without a ridge; None is equal masses.
    tol : float, default=1e-6
        Relative gap that counts as converged, not where to stop: the ridge problem is
        solved to its finite end, gaps of 1e-13 or less of the objective.
    max_iter : int, default=500
        Limit on interior point steps, all rounds together. 20-100 do; some hundreds
        where the ridge is so large that the weights are nearly uniform.

    Returns
    -------
    TransportResult

    Raises
    ------
    ValueError
        For NaN or infinity, samples of different width, negative masses or ridges, and
        for ridge and entropy at once.

    See Also
    --------
    causalweights.discrepancy.wasserstein_distance : The distance of given weights.

    Notes
    -----
    Equal source rows share their mass: as ``base`` says, or in proportion to 1 /
    ridge_j. So do source rows at the same distance of a target row, where there is no
    ridge.

    - No ridge, no entropy: a k-d tree, O((n + m) log n) time in few dimensions.
    - Entropy: w_j = sum_i t_i b_j exp(-c_ij / eps) / sum_k b_k exp(-c_ik / eps),
      O(n m d) time in blocks of 8 MB.
    - Ridge: a convex quadratic program over plans, by column generation. The interior
      point works on the 10-30 arcs a row that may carry mass; each step is a Cholesky
      factorization of size min(n, m). All n m pairs are priced every round, in blocks
      of 8 MB. Memory 16 min(n, m)^2 bytes. For n = m half a second to five seconds at
      1000 rows, the more the larger the ridge, and half a minute at 3000.

    The minimiser with ridge > 0 on all rows is unique, and weights are exact to about
    sqrt(gap / ridge).

    References
    ----------
    Abadie & Imbens (2006), Econometrica 74 (matching with replacement); Peyré & Cuturi
    (2019), Computational Optimal Transport, sections 3.3, 4.1 and 6.1.

    Examples
    --------
    >>> from causalweights.optimize import transport_weights
    >>> X, Y = [[0.0], [1.0], [4.0]], [[0.2], [0.4], [0.9], [0.5]]
    >>> transport_weights(X, Y, None).weights  # the last row lies halfway
    array([0.625, 0.375, 0.   ])
    >>> result = transport_weights(X, Y, None, ridge=2.0)
    >>> result.weights
    array([0.5, 0.5, 0. ])
    >>> round(result.value, 9), result.converged  # 0.3 + 2 (1/4 + 1/4)
    (1.3, True)
    >>> transport_weights(X, Y, None, entropy=0.5).weights
    array([0.508..., 0.490..., 0.001...])
    """
    check_options(("auto",), "auto", tol, max_iter)
    source, target = _points(X, "X"), _points(Y, "Y")
    if source.shape[1] != target.shape[1]:
        raise ValueError(
            f"X has {source.shape[1]} columns and Y has {target.shape[1]}: both "
            "samples must hold the same covariates."
        )
    masses = _shares(target_masses, len(target))
    penalties = check_ridge(ridge, len(source))
    penalties = np.where(penalties < SMALLEST_RIDGE, 0.0, penalties)
    eps = _check_entropy(entropy, penalties)
    own = np.ones(len(source))
    if base is not None:
        own = check_vector("base", base, len(source))
        if not np.all(own > 0):
            raise ValueError("base must be positive: drop rows of base mass zero.")
        own = own / own.sum()
    problem = _distinct(source, target, masses, own)
    if eps > 0.0:
        return _softmin(problem, eps)
    if penalties.any():
        return _ridge(problem, penalties, tol, max_iter)
    return _nearest(problem)


def _nearest(problem: _Problem) -> TransportResult:
    """Send each target row to its nearest source rows, equally to rows that tie."""
    X, Y, t = problem.X, problem.Y, problem.t
    tree = KDTree(X)
    distance, nearest = tree.query(Y)
    cost = float(t @ distance)
    size = max(np.abs(X).max(), np.abs(Y).max())
    radius = distance + TIE_UNITS * EPS * (size + distance)
    w = np.zeros(len(X))
    # Most rows have no tie, and a second neighbor says so without lists.
    second = tree.query(Y, [2])[0].ravel()
    tied = np.flatnonzero(second <= radius)
    alone = second > radius
    np.add.at(w, nearest[alone], t[alone])
    for i, rows in zip(tied, tree.query_ball_point(Y[tied], radius[tied])):
        parts = problem.copies[rows]
        w[rows] += t[i] * parts / parts.sum()
    return _closed_form(problem, w, cost, cost, "nearest_neighbor")


def _softmin(problem: _Problem, eps: float) -> TransportResult:
    """Share each target row by exp(-c / eps), in blocks of target rows."""
    X, Y, t = problem.X, problem.Y, problem.t
    w, cost, value = np.zeros(len(X)), 0.0, 0.0
    for rows in blocks_of(len(Y), len(X)):
        distance = cdist(Y[rows], X)
        least = distance.min(axis=1, keepdims=True)
        p = problem.copies * np.exp((least - distance) / eps)
        total = p.sum(axis=1)
        p *= (t[rows] / total)[:, None]
        w += p.sum(axis=0)
        cost += float(np.sum(p * distance))
        value += float(t[rows] @ (least[:, 0] - eps * np.log(total)))
    return _closed_form(problem, w, value, cost, "softmin")


def _closed_form(
    problem: _Problem, w: FloatArray, value: float, cost: float, solver: str
) -> TransportResult:
    return TransportResult(
        weights=problem.share(w / w.sum(), problem.base),
        value=value,
        transport_cost=cost,
        gap=0.0,
        relative_gap=0.0,
        n_iter=0,
        converged=True,
        solver=solver,
        potentials=np.zeros(len(problem.position)),
    )


def _ridge(
    problem: _Problem, ridge: FloatArray, tol: float, max_iter: int
) -> TransportResult:
    """Solve the quadratic program and measure its gap on what balancing gains."""
    position, t = problem.position, problem.t
    # The copies of a row minimise sum r_j w_j^2 for their total, with w_j ~ 1 / r_j:
    # together they cost total^2 / sum (1 / r_j), and nothing where one is free.
    free = np.bincount(position, ridge == 0.0, len(problem.X)) > 0
    inverse = 1.0 / np.where(ridge > 0.0, ridge, np.inf)
    sums = np.bincount(position, inverse, len(problem.X))
    together = np.where(free, 0.0, 1.0 / np.where(free, 1.0, sums))
    parts = np.where(free[position], ridge == 0.0, inverse)
    found = ridge_transport(problem.X, problem.Y, t, together, max_iter)
    weights = problem.share(found.weights / found.weights.sum(), parts)
    potentials = found.prices[position] * (ridge > 0.0)
    value = found.transport_cost + float(ridge @ weights**2)
    uniform = _uniform_bound(problem, found.prices, found.level)
    uniform += float(ridge @ (problem.base / problem.base.sum()) ** 2)
    floor = rounding_level(np.array([value, found.level]), np.zeros(1), EPS)
    relative = relative_gap(found.gap, uniform - value, floor)
    return TransportResult(
        weights=weights,
        value=value,
        transport_cost=found.transport_cost,
        gap=found.gap,
        relative_gap=relative,
        n_iter=found.n_iter,
        converged=bool(relative <= tol or found.gap <= floor),
        solver="interior_point",
        potentials=potentials,
    )


def _uniform_bound(problem: _Problem, prices: FloatArray, level: float) -> float:
    """Bound the Wasserstein-1 distance of the base weights to the target from below."""
    X, Y, t = problem.X, problem.Y, problem.t
    w = problem.copies / problem.copies.sum()
    to_nearest = float(t @ KDTree(X).query(Y)[0])
    from_nearest = float(w @ KDTree(Y).query(X)[0])
    means = float(np.linalg.norm(w @ X - t @ Y))
    return max(to_nearest, from_nearest, means, level - float(w @ prices))


def _distinct(
    X: FloatArray, Y: FloatArray, masses: FloatArray, base: FloatArray
) -> _Problem:
    """Return the problem on distinct rows, about the source mean."""
    center = X.mean(axis=0)
    rows, position = np.unique(X, axis=0, return_inverse=True)
    copies = group_sums(position.ravel(), base, len(rows))
    used = masses > 0.0
    targets, place = np.unique(Y[used], axis=0, return_inverse=True)
    t = group_sums(place.ravel(), masses[used], len(targets))
    return _Problem(rows - center, copies, position.ravel(), base, targets - center, t)


def _points(X: Any, name: str) -> FloatArray:
    """Return a finite float64 matrix with at least one row."""
    points = np.asarray(X, dtype=np.float64)
    if points.ndim != 2 or points.shape[0] == 0 or points.shape[1] == 0:
        raise ValueError(
            f"{name} must be a matrix with at least one row and one column, got shape "
            f"{points.shape}."
        )
    if not np.all(np.isfinite(points)):
        raise ValueError(f"{name} contains NaN or infinity: remove those rows.")
    return points


def _shares(masses: ArrayLike | None, m: int) -> FloatArray:
    """Return the target masses normalised to sum one."""
    try:
        checked = check_sample_weight(masses, m)
    except ValueError as error:
        message = str(error).replace("sample_weight", "target_masses")
        raise ValueError(message.replace("X has", "Y has")) from None
    return checked / checked.sum()


def _check_entropy(entropy: float, ridge: FloatArray) -> float:
    """Refuse a bad entropy, and one together with a ridge."""
    eps = np.asarray(entropy, dtype=np.float64)
    if eps.ndim != 0 or not np.isfinite(eps) or eps < 0.0:
        raise ValueError(f"entropy must be a finite number >= 0, got {entropy!r}.")
    if eps > 0.0 and ridge.any():
        raise ValueError(
            f"ridge and entropy={float(eps)} cannot be combined: set ridge=0 for the "
            "entropic weights, or entropy=0 for the ridge."
        )
    return float(eps)
