"""What the programs of double weighting return: weights, and paths of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from causalweights._typing import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class DoubleWeights:
    """Weights of both samples, with their certificate.

    Attributes
    ----------
    beta : ndarray of shape (n,)
        Source weights, in [0, B / sqrt(D)].
    alpha : ndarray of shape (t,)
        Target weights, in [0, 1].
    D, kappa : float
        As given.
    cap : float
        Largest source weight allowed: B / sqrt(D), and 1 where D = inf.
    objective, mmd2 : float
        With and without the ridge: v'Kv of the weights as they are, not normalised.
    gap : float
        Duality gap of the program with the kernel itself, whatever the route:
        objective - minimum <= gap.
    relative_gap : float
        The gap over what the weights gain on weights of one.
    ess_source, ess_target : float
        Kish's effective sizes, sampling weights included.
    ball_active, cap_active : bool
        Whether the ball around alpha = 1 holds weights back (for D = 1 it fixes them),
        and whether a source weight is at its upper bound.
    level, ball : float
        Multipliers of the coupling and of the ball, the latter per unit of
        sum b (alpha - 1)^2; inf where D = 1.
    n_iter : int
        Linear systems factored.
    converged : bool
    solver, status : str
    """

    beta: FloatArray
    alpha: FloatArray
    D: float
    kappa: float
    cap: float
    objective: float
    mmd2: float
    gap: float
    relative_gap: float
    ess_source: float
    ess_target: float
    ball_active: bool
    cap_active: bool
    level: float
    ball: float
    n_iter: int
    converged: bool
    solver: str
    status: str


@dataclass(frozen=True, slots=True, eq=False)
class WeightPath:
    """Solutions along a list of D, in its order.

    Attributes
    ----------
    solutions : tuple of DoubleWeights
    first_inactive : float or None
        The smallest D at which the ball is inactive; with a ridge every larger D (but
        inf, which is another program) has the same solution, unless source weights are
        at their upper bound. None where it is active throughout.
    n_solved : int
        Values of D that took a solution; the others share that of a smaller D.
    """

    solutions: tuple[DoubleWeights, ...]
    first_inactive: float | None
    n_solved: int

    def values(self, name: str) -> FloatArray:
        """Return an attribute of the solutions, like ``"mmd2"``, as an array (m,)."""
        return np.array([getattr(solution, name) for solution in self.solutions])
