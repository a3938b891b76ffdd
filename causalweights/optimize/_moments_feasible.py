"""Refusal of moment targets that no weights can meet, with how far the closest are."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from causalweights.optimize._certificate import FloatArray, bounded_gap
from causalweights.optimize._moments import MOMENT_ACCURACY, Moments
from causalweights.optimize._problem import Simplices

LP_OPTIONS = {"primal_feasibility_tolerance": 1e-10, "presolve": True}


def check_ranges(simplices: Simplices, moments: Moments) -> None:
    """Refuse a target outside the range of its own moment, a bound the rows decide."""
    inside = simplices.interior()
    for j in range(moments.low.size):
        rows = np.flatnonzero(simplices.labels == moments.label[j])
        c, v = moments.C[rows, j], inside[rows]
        mass = simplices.mass[[moments.label[j]]]
        group = np.zeros(rows.size, dtype=np.intp)
        value = float(c @ v)
        least = value - bounded_gap(c, v, group, mass, simplices.upper[rows])
        most = value + bounded_gap(-c, v, group, mass, simplices.upper[rows])
        below, above = least - moments.high[j], moments.low[j] - most
        if max(below, above) > MOMENT_ACCURACY:
            closest = least if below > above else most
            raise ValueError(_message(moments, j, closest, "on its own"))


def feasible_point(simplices: Simplices, moments: Moments) -> FloatArray:
    """Return a vertex that meets all constraints; ValueError when there is none.

    One linear program for each group, which minimizes the summed distances to the
    intervals in standard deviations.
    """
    v = np.zeros(simplices.labels.size)
    for g in range(simplices.mass.size):
        rows = np.flatnonzero(simplices.labels == g)
        chosen = np.flatnonzero(moments.label == g)
        v[rows] = _closest(simplices, moments, rows, chosen)
    off = moments.missing(v)
    if off.size and np.abs(off).max() > MOMENT_ACCURACY:
        j = int(np.argmax(np.abs(off)))
        closest = float(moments.C[:, j] @ v)
        raise ValueError(_message(moments, j, closest, "together with the others"))
    return v


def _closest(
    simplices: Simplices,
    moments: Moments,
    rows: np.ndarray,
    chosen: np.ndarray,
) -> FloatArray:
    """Feasible rows of one group with the smallest summed violation."""
    C = moments.C[np.ix_(rows, chosen)].T
    m, eye = chosen.size, np.eye(chosen.size)
    # Variables: v, then what is missing and what is too much of each moment.
    upper = np.vstack([np.hstack([C, eye, -eye]), np.hstack([-C, -eye, eye])])
    bounds = np.append(moments.high[chosen], -moments.low[chosen])
    mass = simplices.mass[simplices.labels[rows[0]]]
    top = np.append(np.minimum(simplices.upper[rows], mass), np.full(2 * m, np.inf))
    sums = np.append(np.ones(rows.size), np.zeros(2 * m))
    program = linprog(
        np.append(np.zeros(rows.size), np.ones(2 * m)),
        A_ub=upper if m else None,
        b_ub=bounds if m else None,
        A_eq=sums[None, :],
        b_eq=[mass],
        bounds=np.column_stack([np.zeros(top.size), top]),
        method="highs",
        options=LP_OPTIONS,
    )
    if program.x is None:
        raise RuntimeError(f"linear program of the moments failed: {program.message}")
    return np.asarray(program.x[: rows.size], dtype=np.float64)


def _message(moments: Moments, j: int, closest: float, how: str) -> str:
    """Say which target is out of reach, in the caller's units."""
    g, k = int(moments.group[j]), int(moments.index[j])
    asked, scale = moments.asked, moments.scale[j]
    middle = 0.5 * (moments.low[j] + moments.high[j])
    value = asked.targets[g, k] + (closest - middle) * scale
    distance = abs(closest - np.clip(closest, moments.low[j], moments.high[j])) * scale
    return (
        f"{asked.describe(g, k)} cannot be met {how}: the closest that weights within "
        f"the bounds come is {value:.6g}, {distance:.3g} too far. Raise moment_tol, "
        "relax the bounds, or drop the moment."
    )
