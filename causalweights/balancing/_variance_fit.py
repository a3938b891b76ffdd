"""Stable balancing weights (Zubizarreta 2015): least variance under moments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from causalweights._typing import FloatArray
from causalweights.balancing._mass_problem import MassProblem
from causalweights.balancing._mmd_certificates import arm_report
from causalweights.balancing._mmd_fit import BalancingFit
from causalweights.balancing._moment_constraints import (
    MomentConstraints,
    constraints_on,
    readable_moments,
)
from causalweights.balancing._weighter import Design
from causalweights.optimize import LowRankOperator, simplex_qp


@dataclass(frozen=True, slots=True, eq=False)
class MomentDual:
    """The dual solution: linear in the moments' features.

    Attributes
    ----------
    moments : MomentConstraints
    prices : (p, A), by weighted arm
    levels : (A,)
    """

    moments: MomentConstraints
    prices: FloatArray
    levels: FloatArray

    def embed(
        self, Z: FloatArray, n_threads: int | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return the priced features (m, A), and zeros (m,)."""
        return self.moments.transform(Z) @ self.prices, np.zeros(len(Z))

    def witness(self, Z: FloatArray, n_threads: int | None = None) -> FloatArray:
        """Refuse: no class of functions is compared."""
        raise ValueError("discriminator=None compares no functions: it has no witness.")


def fit_variance(
    balancer: Any,
    design: Design,
    Z: FloatArray,
    problem: MassProblem,
    moments: MomentConstraints,
) -> BalancingFit:
    """Return the least variable weights of every arm that meet the moments.

    With base weights, those at the least squared distance to them.
    """
    arms, base, F = design.arms, problem.before, moments.transform(Z)
    masses, prices, levels, converged = base.copy(), [], [], True
    by_arm: dict[Any, dict[str, Any]] = {}
    for a in design.weighted_arms():
        mine = arms.codes == a
        own = problem.of_rows(mine)
        with readable_moments(moments, arms, a):
            result = simplex_qp(
                LowRankOperator(np.zeros((own.n_units, 1))),
                own.ridge * own.center,
                own.ridge,
                tol=balancer.tol,
                **own.bounds,
                **constraints_on(moments, Z[mine], own),
            )
        masses[mine] = own.spread(result.weights)
        now, then = (float(np.abs(w[mine] @ F[mine]).max()) for w in (masses, base))
        by_arm[arms.label(a)] = arm_report(
            result, now, then, own.cost(masses[mine]), 2 * result.gap
        )
        assert result.moment_multipliers is not None
        prices.append(result.moment_multipliers[0])
        levels.append(float(result.multipliers[0]))
        converged = converged and result.converged
    pairs = {(k, "target"): float(row["discrepancy"]) for k, row in by_arm.items()}
    dual = MomentDual(moments, np.stack(prices, axis=1), np.array(levels))
    return BalancingFit(masses, None, pairs, by_arm, converged, dual, moments=moments)
