"""Weights closest to the target in Wasserstein-1: matching, or spread by a ridge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from causalweights._typing import FloatArray
from causalweights.balancing._goal import Goal
from causalweights.balancing._mass_problem import MassProblem
from causalweights.balancing._mmd_certificates import arm_report
from causalweights.balancing._mmd_fit import BalancingFit
from causalweights.balancing._weighter import Design
from causalweights.discrepancy import wasserstein_distance
from causalweights.optimize import transport_weights


@dataclass(frozen=True, slots=True, eq=False)
class NoDual:
    """Transport weights are those of the sample's rows alone."""

    levels: FloatArray

    def embed(
        self, Z: FloatArray, n_threads: int | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Refuse: there are no weights of new rows."""
        raise ValueError("Wasserstein weights say nothing of new rows.")

    def witness(self, Z: FloatArray, n_threads: int | None = None) -> FloatArray:
        """Refuse: the potential is known at the sample's rows only."""
        raise ValueError("Wasserstein weights keep no witness of new rows.")


def fit_wasserstein(
    balancer: Any,
    design: Design,
    Z: FloatArray,
    goal: Goal,
    problem: MassProblem,
    entropy: float,
) -> BalancingFit:
    """Return the weights of every arm: without a ridge, nearest neighbours."""
    arms, base, penalty = design.arms, problem.before, problem.penalty
    masses, converged = base.copy(), True
    by_arm: dict[Any, dict[str, Any]] = {}
    for a in design.weighted_arms():
        mine = arms.codes == a
        result = transport_weights(
            Z[mine], goal.rows, goal.masses, ridge=penalty[mine], entropy=entropy,
            base=base[mine], tol=balancer.tol,
        )  # fmt: skip
        masses[mine] = result.weights
        before = wasserstein_distance(
            Z[mine], goal.rows, x_weights=base[mine], y_weights=goal.masses
        )
        after = result.transport_cost
        if entropy > 0.0:  # the plan with entropy is not the shortest one
            after = wasserstein_distance(
                Z[mine], goal.rows, x_weights=result.weights, y_weights=goal.masses
            )
        by_arm[arms.label(a)] = arm_report(
            result, after, before, result.value, result.gap
        )
        converged = converged and result.converged
    pairs = {(k, "target"): float(row["discrepancy"]) for k, row in by_arm.items()}
    dual = NoDual(np.zeros(len(by_arm)))
    return BalancingFit(masses, None, pairs, by_arm, converged, dual)
