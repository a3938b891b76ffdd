"""Transport to free source masses with a ridge, by column generation.

minimise  sum_a c_a p_a + sum_j r_j w_j^2  over plans p >= 0 with target masses t, w the
masses that arrive at the sources. Its dual is, with c_ij + u_j the full cost of an arc,

    max over u of  sum_i t_i min_j (c_ij + u_j) - sum_j max(u_j, 0)^2 / (4 r_j),

and u_j = 2 r_j w_j at the optimum. Few arcs carry mass: the interior point solves for a
list of them, and its prices tell over all pairs which ones the list lacks.

A large ridge would drown the distances in rounding. With k = 1 / sum_j (1 / r_j) and
the origin o_j = k / r_j, where the ridge alone has its minimum k, the penalty equals
k + sum_j r_j (w_j - o_j)^2; all is computed in this form, with prices less 2 k.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np

from causalweights._blas import single_blas_thread
from causalweights.optimize._certificate import FloatArray, IntArray
from causalweights.optimize._network_transport import network_transport
from causalweights.optimize._transport_arcs import (
    Arcs,
    all_arcs,
    nearest_arcs,
    price,
    with_keys,
)
from causalweights.optimize._transport_interior_point import Ridge, interior_point

# Up to this many pairs each one is an arc from the start.
ALL_PAIRS = 40_000
# Accuracy of the first round, and share of the remaining gap that later ones leave.
FIRST_ACCURACY, ROUND_ACCURACY = 1e-2, 0.05
# Share of the objective below which the interior point has nothing to resolve.
END = 1e-14
# Up to this many rows on the smaller side BLAS threads cost more than they bring.
SERIAL_ROWS = 1500
# A gap this large says that mass has to travel further than to the nearest rows.
FAR_GAP = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class TransportSolution:
    """A plan's weights, and prices that bound what is left to gain.

    Attributes
    ----------
    weights, prices : (n,) float
    transport_cost : cost of the plan
    excess : objective less the minimum k of the ridge term
    gap : objective - dual value
    level : sum_i t_i min_j (c_ij + u_j), at the prices
    n_iter : interior point steps of all rounds
    is_complete : whether no pair lay below the prices in the end
    """

    weights: FloatArray
    prices: FloatArray
    transport_cost: float
    excess: float
    gap: float
    level: float
    n_iter: int = 0
    is_complete: bool = False


def ridge_penalty(ridge: FloatArray) -> tuple[Ridge, float]:
    """Return the penalty about its minimum, and that minimum k."""
    free = ridge > 0.0
    safe = np.where(free, ridge, 1.0)
    least = 1.0 / float(np.sum(1.0 / safe)) if free.all() else 0.0
    origin = np.where(free, least / safe, 0.0)
    return Ridge(ridge, origin, free, np.where(free, 0.5 / safe, 1.0)), least


def ridge_transport(
    X: FloatArray, Y: FloatArray, t: FloatArray, ridge: FloatArray, max_iter: int
) -> TransportSolution:
    """Solve the problem for distinct rows and positive target masses.

    Runs to the finite end: no pair is missing, and the last round has resolved what
    double precision can. The best certified weights of all rounds are returned.
    """
    if len(X) == 1:
        return _single_source(X, Y, t, ridge)
    penalty, least = ridge_penalty(ridge)
    is_small = len(X) * len(Y) <= ALL_PAIRS
    arcs = all_arcs(X, Y) if is_small else nearest_arcs(X, Y)
    accuracy = END if is_small else FIRST_ACCURACY
    best, n_iter, is_first, side = None, 0, True, min(len(X), len(Y))
    while True:
        room = max_iter - n_iter
        with single_blas_thread if side <= SERIAL_ROWS else nullcontext():
            mass, u, n_steps = interior_point(arcs, t, penalty, accuracy, room)
        n_iter += n_steps
        # No dual value is lost: prices below those of zero weights change nothing.
        u = np.maximum(u, -2.0 * least)
        levels = arcs.least(arcs.cost + u[arcs.source])
        floor, missing = price(X, Y, u, levels)
        found = _certify(arcs, mass, u, t, floor, penalty)
        if best is None or found.gap < best.gap:
            best = found
        is_complete = missing.size == 0
        if n_iter >= max_iter or (is_complete and accuracy <= END):
            u = best.prices + 2.0 * least
            return replace(
                best,
                prices=u,
                level=best.level + 2.0 * least * float(t.sum()),
                n_iter=n_iter,
                is_complete=is_complete,
            )
        open_share = found.gap / max(found.excess, np.finfo(float).tiny)
        accuracy = min(accuracy, max(END, ROUND_ACCURACY * open_share))
        if is_complete:
            accuracy = END
        if is_first and open_share > FAR_GAP and penalty.origin.any():
            missing = np.union1d(missing, _far_keys(X, Y, t, penalty))
        arcs, is_first = with_keys(X, Y, arcs, missing), False


def _single_source(
    X: FloatArray, Y: FloatArray, t: FloatArray, ridge: FloatArray
) -> TransportSolution:
    """Return the only weights there are."""
    cost = float(t @ np.linalg.norm(Y - X, axis=1))
    return TransportSolution(
        weights=np.ones(1),
        prices=2.0 * ridge,
        transport_cost=cost,
        excess=cost,
        gap=0.0,
        level=cost + 2.0 * float(ridge[0]),
        is_complete=True,
    )


def _certify(
    arcs: Arcs,
    mass: FloatArray,
    u: FloatArray,
    t: FloatArray,
    floor: FloatArray,
    penalty: Ridge,
) -> TransportSolution:
    """Return the plan's certificate, without arcs that only hold rounding.

    The gap is a sum of non-negative terms, so it is free of cancellation.
    """
    above = arcs.cost + u[arcs.source] - floor[arcs.target]
    share = mass / t[arcs.target]
    kept = np.where(share * max(above.max(), np.abs(u).max()) > above, mass, 0.0)
    sums = arcs.by_target(kept)
    kept *= (t / np.where(sums > 0.0, sums, 1.0))[arcs.target]
    solutions = []
    for p in (kept, mass) if np.all(sums > 0.0) else (mass,):
        w = arcs.by_source(p)
        off = float(penalty.ridge @ penalty.mismatch(w, u) ** 2)
        cost = float(arcs.cost @ p)
        solutions.append(
            TransportSolution(
                weights=w,
                prices=u,
                transport_cost=cost,
                excess=cost + penalty.value(w),
                gap=float(p @ np.maximum(above, 0.0)) + off,
                level=float(t @ floor),
            )
        )
    return min(solutions, key=lambda solution: solution.gap)


def _far_keys(X: FloatArray, Y: FloatArray, t: FloatArray, penalty: Ridge) -> IntArray:
    """Return keys of arcs near the shortest plan to the origin: a large ridge's aim."""
    plan = network_transport(X, Y, penalty.origin, t)
    _, near = price(X, Y, plan.prices, np.full(len(Y), np.inf))
    return np.union1d(plan.sink * len(X) + plan.source, near)
