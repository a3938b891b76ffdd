"""The smallest tolerances for which some labels have the moments asked of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from causalweights._typing import FloatArray
from causalweights.shift._interior_point import central_point
from causalweights.shift._moment_bounds import Elastic
from causalweights.shift._moment_program import MomentProgram
from causalweights.shift._moment_rows import LinearRows

# The gap of the sum of distances, in units of the largest feature's mean size.
TOL = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class FeasibleLambda:
    """The smallest tolerances, with label probabilities that need no larger ones.

    Attributes
    ----------
    lam : ndarray of shape (C, m)
        |moments - tau| of ``probabilities``, and the margin.
    total : float
        Sum of the distances, margins not included.
    probabilities : ndarray of shape (t, C)
    gap : float
        No labels have a sum of distances below total - gap.
    converged : bool
        Whether the gap is 1e-9 or less, in units of the largest feature's mean size.
    """

    lam: FloatArray
    total: float
    probabilities: FloatArray
    gap: float
    converged: bool


def feasible_lambda(
    weighted: FloatArray, shares: FloatArray, tau: FloatArray, *, margin: float = 1e-6
) -> FeasibleLambda:
    """Return the tolerances of smallest sum for which the uncertainty set is not empty.

    minimise sum |tau - sum_j shares_j q_jy w_j| over label probabilities q_j of the
    target rows, with dual maximise sum(tau * w) - sum_j shares_j max_y s_jy(w) over
    |w| <= 1 (Segovia-Martin, Mazuelas & Liu 2023). The margin makes the set one that
    rounding cannot empty; where tau itself can be met it is all there is.

    The sum is unique, the tolerances are not: where the classes' moments add up to
    something else than the target's, as they do for most weights, any split of the
    difference over the classes has the same sum, and the minimax risk changes by up to
    a quarter from one to another. This is the one that the central path leads to: it
    leaves the label probabilities as even as the sum allows, and does not depend on
    the order of rows or classes, as a vertex of the linear program would.

    Parameters
    ----------
    weighted : ndarray of shape (t, m)
        Features of the target rows times their weights alpha.
    shares : ndarray of shape (t,)
        Shares of the rows in the target: positive, sum one.
    tau : ndarray of shape (C, m)
        Moments of the source, one row a class.
    margin : float, default=1e-6
        Added to every tolerance, in units of the mean absolute value of the weighted
        feature (the paper adds an absolute 1e-6): so that scaling a feature, or both
        weights, scales the tolerances with it.

    Returns
    -------
    FeasibleLambda

    Notes
    -----
    Interior point method, about 12 steps of O(t C^2 m^2 + (C m)^3); memory
    O(t (C + m) + (C m)^2). One thread: 3 ms for t = 1000, C = 2, m = 3; .2 s for
    t = 100,000, C = 2, m = 6; 1.5 s for t = 1000, C = 2, m = 600.

    Examples
    --------
    Means of -1 and 0 cannot be met by classes whose rows average 0.

    >>> import numpy as np
    >>> from causalweights.shift._feasible import feasible_lambda
    >>> x = np.array([[-1.0], [0.0], [1.0]])
    >>> found = feasible_lambda(x, np.full(3, 1 / 3), np.array([[-0.2], [0.0]]))
    >>> round(found.total, 6), found.lam.round(3).tolist()
    (0.2, [[0.1], [0.1]])
    """
    program = MomentProgram.of(weighted, shares, tau)
    rows = LinearRows(program.shape)
    prices = np.broadcast_to(program.scale / program.scale.max(), tau.shape)
    bounds = Elastic(prices, program.moments(rows.x[0]) - program.tau)
    found = central_point(program, rows, bounds, TOL)
    distance = np.abs(program.moments(found.q) - program.tau) * program.scale
    return FeasibleLambda(
        lam=distance + margin * program.scale,
        total=float(distance.sum()),
        probabilities=np.ascontiguousarray(found.q.T),
        gap=float(found.gap * program.scale.max()),
        converged=bool(found.gap <= TOL),
    )
