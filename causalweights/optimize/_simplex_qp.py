"""Public entry: quadratic programs on products of simplices, solved exactly.

Checks and reduces the input, picks a route (active set, interior point
or working set) and certifies the result from scratch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from causalweights.optimize._certificate import (
    FloatArray,
    group_sums,
    relative_gap,
    rounding_level,
)
from causalweights.optimize._checks import CheckedQP, check_problem
from causalweights.optimize._large import is_factored, low_rank_model
from causalweights.optimize._moments import MOMENT_ACCURACY
from causalweights.optimize._moments_certificate import (
    lagrangian_term,
    price_moments,
)
from causalweights.optimize._problem import Outcome, Simplices, SymmetricOperator
from causalweights.optimize._proximal_newton import Stop
from causalweights.optimize._reduction import (
    product_of,
    reduce_problem,
    reference_weights,
)
from causalweights.optimize._routes import solve_by_route as _solve
from causalweights.optimize._working_set import group_levels

Solver = Literal[
    "auto", "active_set", "interior_point", "working_set", "proximal_newton"
]
# Above this many rows one product with all of them takes minutes: the objective at
# uniform weights is then bounded through the low-rank model.
ESTIMATED_ROWS, ESTIMATION_RANK = 200_000, 128
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, eq=False)
class SimplexQPResult:
    """Solution of `simplex_qp` with its certificate.

    Attributes
    ----------
    weights : ndarray of shape (n,)
        Feasible weights, also when `converged` is False.
    value : float
        Objective w'(K + diag(ridge))w/2 - q'w.
    gap : float
        Frank-Wolfe gap over all rows: value - minimum <= gap.
    relative_gap : float
        gap / (uniform_value - value); 0 when both are below rounding level, inf when
        the weights do not improve on uniform ones and the gap is larger than that.
        Under moment constraints, which uniform weights may break, the scale is the
        larger of |uniform_value - value| and the same difference in the Lagrangian,
        objective - moment_multipliers'(A'w - b).
    n_iter : int
        Linear systems solved (active set, interior point and a fallback together), or
        pricing rounds of the working set.
    converged : bool
        relative_gap <= tol, or gap below the rounding level of double precision,
        16 eps (max |(K + ridge) w| + max |q|), or that of the terms of K w where these
        cancel, beyond which no gap can be resolved.
    solver : str
        Route that produced the weights: "active_set", "interior_point",
        "working_set", or "constraints" where these leave a single point.
    status : str
        Why the route ended, and why it was taken after a fallback.
    multipliers : ndarray of shape (G,)
        Gradient of the free rows of each group: with ridge > 0 and no upper bound,
        w_i = max(0, (multipliers[g] + q_i - (K w)_i) / ridge_i).
    uniform_value : float
        Objective at uniform weights (moved into the bounds); of an operator with more
        than 200,000 rows a lower bound, so that `relative_gap` errs upwards.
    moment_multipliers : ndarray of shape (G, p) or None
        Multipliers of the moments: the free gradient of group g is
        multipliers[g] + A @ moment_multipliers[g]. Zero for moments strictly within
        their tolerance and for columns that others imply.
    """

    weights: FloatArray
    value: float
    gap: float
    relative_gap: float
    n_iter: int
    converged: bool
    solver: str
    status: str
    multipliers: FloatArray
    uniform_value: float
    moment_multipliers: FloatArray | None = None


def simplex_qp(
    K: ArrayLike | SymmetricOperator,
    q: ArrayLike,
    ridge: ArrayLike = 0.0,
    *,
    groups: ArrayLike | None = None,
    lower: ArrayLike = 0.0,
    upper: ArrayLike | None = None,
    moments: ArrayLike | None = None,
    moment_targets: ArrayLike | None = None,
    moment_tol: ArrayLike = 0.0,
    solver: Solver = "auto",
    tol: float = 1e-6,
    max_iter: int = 100,
    max_time: float | None = None,
    start: ArrayLike | None = None,
    working_set: ArrayLike | None = None,
) -> SimplexQPResult:
    """Minimise w'(K + diag(ridge))w/2 - q'w over a product of bounded simplices.

    Weights sum to one in each group and lie between `lower` and `upper`. The active
    set method, exact in a handful of linear solves, is tried first; the interior
    point takes over when it cycles or when the matrix is singular. Many rows are
    handled by column generation, exact and fast when the solution is sparse, and by
    proximal Newton when it is not. These routes run to their finite end, and `tol` only
    decides what counts as converged; proximal Newton stops at `tol`.

    Parameters
    ----------
    K : array-like of shape (n, n) or operator
        Symmetric, positive semi-definite for vectors that sum to zero in each group;
        minus a distance matrix qualifies. An operator has `shape`, `dtype`,
        `block(rows, columns)`, `matvec(v, columns)` and `diagonal()`; proximal Newton
        also needs `matvec(v, columns, rows)`, `astype`, `restrict` and `low_rank`, as
        `kernel.operator(X)` has. Symmetry of an array is checked on a sample of 256
        rows. A `LowRankOperator` is solved through
        its factor, in O(n r^2) time a step.
    q : array-like of shape (n,)
        Linear term.
    ridge : float or array-like of shape (n,), default=0.0
        Non-negative diagonal. With 0 the minimiser may not be unique.
    groups : array-like of int of shape (n,), default=None
        Labels 0..G-1, each present; None is one group.
    lower, upper : float or array-like of shape (n,), default=0.0 and None
        Bounds on the weights; an `upper` of None is no bound.
    moments : array-like of shape (n, p), default=None
        Columns A whose weighted means are constrained in every group.
    moment_targets : array-like of shape (p,) or (G, p), default=None
        Targets b: |A'w - b| <= moment_tol over each group.
    moment_tol : float or array-like of shape (p,) or (G, p), default=0.0
        Tolerances in the units of the columns; 0 is equality, infinity no constraint.
        Equality holds to 1e-8 standard deviations of the column, in practice 1e-13.
    solver : str, default="auto"
        "active_set" and "interior_point" form the whole matrix; the first still falls
        back to the second. "working_set" and "proximal_newton" do not. "auto" takes the
        active set up to 4000 rows, with the interior point (up to 1000 rows) or the
        working set behind it; from there on the working set, and proximal Newton where
        the optimum turns out dense.
    tol : float, default=1e-6
        Relative gap that counts as converged.
    max_iter : int, default=100
        Limit on the steps of each route.
    max_time : float, default=None
        Seconds after which proximal Newton returns the best weights so far, with the
        status "time limit". Where it binds, results depend on the machine.
    start : array-like of shape (n,), default=None
        Warm start; only its support (and the rows at a bound) matters.
    working_set : array-like of int, default=None
        First rows of the working set, for instance the nearest source rows of each
        target row. By default those with the smallest gradient at uniform weights.

    Returns
    -------
    SimplexQPResult

    Raises
    ------
    ValueError
        For NaN or infinite entries, wrong shapes, bounds that a group cannot meet, and
        moment targets out of reach: the message names the moment and the closest value.

    Notes
    -----
    Time is 4-10 Cholesky factorisations of the free rows (n^3/3 flops at most each;
    12-25 for the interior point), memory n^2 doubles beyond K. The working set needs
    the same in its own size plus one n x support product a round. Proximal Newton needs
    a factor of 4 n r bytes with r at most 1024 (1.2 GB at most), one n x support
    product a round and, for tolerances below 1e-4, products of the support with itself.
    Beyond 200,000 rows without upper bounds it takes 100,000 of them at a time. Moments
    add G p columns to the border of each system; whether they can be met is decided by
    a linear program when the active set method does not end.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.optimize import simplex_qp
    >>> x = np.array([0.0, 1.0])
    >>> K = -np.abs(x[:, None] - x)
    >>> simplex_qp(K, -np.abs(x - 0.25)).weights
    array([0.75, 0.25])
    """
    checked = check_problem(
        K,
        q,
        ridge,
        groups,
        lower,
        upper,
        solver,
        tol,
        max_iter,
        max_time,
        start,
        working_set,
        moments,
        moment_targets,
        moment_tol,
    )
    expired = deadline(max_time)
    reference = reference_weights(checked)
    uniform_gradient, uniform_value = _at_uniform(checked, reference, solver)
    problem = reduce_problem(checked)
    if problem.rows.size == 0:
        only = "the constraints leave a single point"
        outcome = Outcome(np.empty(0), 0, True, "constraints", only)
    else:
        scores = uniform_gradient[problem.rows]
        floor = rounding_level(scores, checked.q, EPS)
        base = problem.constant

        def relative(gap: float, value: float) -> float:
            return relative_gap(gap, uniform_value - base - value, floor)

        stop = Stop(relative, tol, max_iter, expired)
        outcome = _solve(problem, scores, solver, stop)
    weights = problem.expand(outcome.v, checked)
    lam = None
    if checked.moments is not None:
        lam = np.zeros(checked.moments.targets.shape)
        if problem.moments is not None:
            lam = problem.moments.in_units(outcome.multipliers)
    return _certify(checked, weights, outcome, (reference, uniform_value), tol, lam)


def _at_uniform(
    checked: CheckedQP, reference: FloatArray, solver: str
) -> tuple[FloatArray, float]:
    """Return gradient and value at uniform weights; of very many rows, a model's.

    There the value is that without the residual of the low-rank factor, which is
    positive semi-definite: a lower bound, so that relative gaps err upwards.
    """
    n, ridge, q = checked.q.size, checked.ridge, checked.q
    wanted = solver in ("auto", "proximal_newton") and checked.moments is None
    plain = not checked.lower.any() and np.all(checked.upper > 0.0)
    if n > ESTIMATED_ROWS and wanted and plain and is_factored(checked.operator):
        factored: Any = checked.operator
        model = low_rank_model(factored, ridge, ESTIMATION_RANK)
        inner = model.project(reference)
        gradient = model.expand(inner) + model.diagonal * reference - q
        value = 0.5 * float(inner @ inner + reference @ (ridge * reference))
        return gradient, value - float(q @ reference)
    gradient = product_of(checked.operator, reference) + ridge * reference - q
    return gradient, 0.5 * float(reference @ (gradient - q))


def deadline(max_time: float | None) -> Callable[[], bool]:
    """Return a function that tells whether `max_time` seconds from now have passed."""
    if max_time is None:
        return lambda: False
    end = perf_counter() + max_time
    return lambda: perf_counter() > end


def _certify(
    checked: CheckedQP,
    weights: FloatArray,
    outcome: Outcome,
    uniform: tuple[FloatArray, float],
    tol: float,
    lam: FloatArray | None = None,
) -> SimplexQPResult:
    """Recompute gradient, value and gap of the returned weights over all rows."""
    product = product_of(checked.operator, weights) + checked.ridge * weights
    gradient = product - checked.q
    value = 0.5 * float(weights @ (gradient - checked.q))
    shifted = weights - checked.lower
    mass = group_sums(checked.labels, shifted, checked.n_groups)
    room = checked.upper - checked.lower
    simplices = Simplices(checked.labels, mass, room)
    # Terms of K w may cancel, so its rounding is that of sqrt(k_ii k_jj) w_j.
    root = np.sqrt(np.abs(checked.operator.diagonal()))
    terms = np.append(product, root.max() * (root @ np.abs(weights)))
    improvement, excess, met = uniform[1] - value, 0.0, True
    offsets = np.zeros(checked.n_groups)
    if lam is not None:
        priced = price_moments(checked, weights, lam)
        gradient = gradient - priced.prices
        terms = np.append(terms, np.abs(terms).max() + priced.size)
        excess, offsets = priced.excess, priced.offsets
        met = priced.missing <= MOMENT_ACCURACY
        lagrangian = improvement
        for point, sign in ((weights, 1.0), (uniform[0], -1.0)):
            lagrangian += sign * lagrangian_term(checked, point, priced.sides, lam)
        improvement = max(abs(improvement), lagrangian)
    gap = simplices.gap(gradient, shifted) + excess
    eps = float(np.finfo(checked.operator.dtype).eps)
    relative = relative_gap(gap, improvement, rounding_level(terms, checked.q, eps))
    resolved = gap <= rounding_level(terms, checked.q, EPS)
    return SimplexQPResult(
        weights=weights,
        value=value,
        gap=gap,
        relative_gap=relative,
        n_iter=outcome.n_iter,
        converged=bool(met and (relative <= tol or resolved)),
        solver=outcome.solver,
        status=outcome.status,
        multipliers=group_levels(simplices, gradient, shifted) - offsets,
        uniform_value=uniform[1],
        moment_multipliers=lam,
    )
