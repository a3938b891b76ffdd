"""Weights that make the largest difference over a function class small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from causalweights._typing import FloatArray
from causalweights.balancing._goal import Goal, Pooled
from causalweights.balancing._mmd_certificates import arm_report, ridge_penalty
from causalweights.balancing._mmd_fit import BalancingFit, mass_bounds
from causalweights.balancing._weighter import Design
from causalweights.discrepancy import FunctionClass, SourceOracle
from causalweights.optimize import simplex_supremum

# Relative gap at which a class that is searched ends its rounds: it is no closer.
CUT_TOL = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class SupremumDual:
    """The dual solution over the functions that hold the weights.

    Attributes
    ----------
    function_class : FunctionClass
    parameters : list of (k_a, p), by weighted arm
    prices : list of (k_a,)
    levels : (A,)
    witnesses : (A, p), the function of the largest difference of each arm
    signs : (A,), of that difference
    """

    function_class: FunctionClass
    parameters: list[FloatArray]
    prices: list[FloatArray]
    levels: FloatArray
    witnesses: FloatArray
    signs: FloatArray

    def embed(
        self, Z: FloatArray, n_threads: int | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return half of minus the priced functions (m, A), and zeros (m,)."""
        columns = [
            self.function_class.evaluate(Z, p) @ z / -2.0
            for p, z in zip(self.parameters, self.prices, strict=True)
        ]
        return np.column_stack(columns), np.zeros(len(Z))

    def witness(self, Z: FloatArray, n_threads: int | None = None) -> FloatArray:
        """Return the functions of the largest difference, arm above target (m, A)."""
        return self.signs * self.function_class.evaluate(Z, self.witnesses)


def fit_supremum(
    balancer: Any,
    design: Design,
    Z: FloatArray,
    goal: Goal,
    function_class: FunctionClass,
) -> BalancingFit:
    """Return the weights of every arm by cutting planes, with both bounds."""
    seed = balancer.random_state
    rng = check_random_state(0 if seed is None else seed)
    resolved = function_class.resolve(Pooled.of(Z, design.arms, goal).points, rng)
    arms, base = design.arms, design.base_masses()
    penalty = ridge_penalty(
        balancer.ridge_, design.sample_weight, arms.codes, balancer.weight_type
    )
    lower, upper = mass_bounds(balancer, base)
    masses, results, signs = base.copy(), {}, []
    for a in design.weighted_arms():
        mine = arms.codes == a
        oracle = SourceOracle(
            resolved, Z[mine], goal.rows, goal.masses, rng.randint(2**31 - 1)
        )
        found = simplex_supremum(
            oracle,
            int(mine.sum()),
            2.0 * penalty[mine],
            lower=lower[mine],
            upper=None if upper is None else upper[mine],
            tol=balancer.tol if resolved.exact else max(balancer.tol, CUT_TOL),
        )
        results[a], masses[mine] = found, found.weights
        values, means = oracle.values(found.witness[None])
        signs.append(float(np.sign(found.weights @ values - means)[0]))
    dual = SupremumDual(
        resolved,
        [r.parameters for r in results.values()],
        [r.prices for r in results.values()],
        np.array([r.level / 2.0 for r in results.values()]),
        np.stack([r.witness for r in results.values()]),
        np.array(signs),
    )
    by_arm = {
        arms.label(a): arm_report(r, r.supremum, r.supremum_before, r.value, r.gap)
        for a, r in results.items()
    }
    pairs = {(label, "target"): row["discrepancy"] for label, row in by_arm.items()}
    converged = all(r.converged for r in results.values())
    return BalancingFit(masses, None, pairs, by_arm, converged, dual, resolved)
