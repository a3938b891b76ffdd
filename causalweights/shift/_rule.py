"""What the minimax programs of double weighting return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from causalweights._typing import FloatArray
from causalweights.shift._interior_point import Rows, interior_point
from causalweights.shift._moment_bounds import Within
from causalweights.shift._moment_program import MomentProgram

Loss = Literal["0-1", "log"]

# The gap aimed at, over the one that counts as converged.
AIM = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class MinimaxRule:
    """A minimax classification rule with its certificate.

    Attributes
    ----------
    mu : ndarray of shape (C, m)
        Coefficients: the scores of a row are its weighted features times mu'.
    risk : float
        Objective at mu: at least the minimax risk, and at least the expected loss of
        this rule under every distribution of the uncertainty set. Log loss in nats.
    lower : float
        At most the minimax risk: the entropy of a distribution of the set, or 0 where
        none was found that rounding leaves in the set.
    gap : float
        risk - lower.
    n_iter : int
        Newton steps.
    converged : bool
        Whether the gap is within the tolerance.
    loss : {"0-1", "log"}
    """

    mu: FloatArray
    risk: float
    lower: float
    gap: float
    n_iter: int
    converged: bool
    loss: Loss


def solved_rule(
    program: MomentProgram,
    rows: Rows,
    bounds: Within,
    *,
    loss: Loss,
    tol: float,
    max_iter: int,
) -> MinimaxRule:
    """Solve for the rule whose loss the rows' entropy belongs to."""
    # No entropy is negative: a dual value that is proves the set empty.
    found = interior_point(
        program, rows, bounds, AIM * tol, least=0.0, max_iter=max_iter
    )
    lower = max(found.lower, 0.0)
    return MinimaxRule(
        mu=found.mu / program.scale,
        risk=found.upper,
        lower=lower,
        gap=found.upper - lower,
        n_iter=found.n_iter,
        converged=found.upper - lower <= tol,
        loss=loss,
    )
