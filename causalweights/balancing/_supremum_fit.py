"""Weights that make the largest difference over a function class small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from causalweights._typing import FloatArray
from causalweights.balancing._goal import Goal, Pooled
from causalweights.balancing._mass_problem import MassProblem
from causalweights.balancing._mmd_certificates import arm_report
from causalweights.balancing._mmd_fit import BalancingFit
from causalweights.balancing._weighter import Design
from causalweights.discrepancy import FunctionClass, SourceOracle
from causalweights.optimize import simplex_supremum

# Relative gap at which a class that is searched ends its rounds: it is no closer.
CUT_TOL = 1e-4
# Masses that differ by less are equal.
EQUAL = 1e-14


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


class UnitOracle:
    """A class of functions seen from rows, or from clusters that share a weight."""

    def __init__(self, oracle: SourceOracle, problem: MassProblem) -> None:
        self._oracle, self._problem = oracle, problem
        self.exact, self.start = oracle.exact, oracle.start

    def search(
        self, weights: FloatArray, near: FloatArray, thorough: bool = False
    ) -> FloatArray:
        """Return parameters of functions of large difference, the largest first."""
        return self._oracle.search(self._problem.spread(weights), near, thorough)

    def values(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the units' mean values (G, k) and target means (k,)."""
        values, means = self._oracle.values(parameters)
        return self._problem.mean(values), means

    def difference(self, masses: FloatArray) -> float:
        """Return the largest difference found at the rows' masses."""
        found = self._oracle.search(masses, self.start()[:0], thorough=True)
        values, means = self._oracle.values(found)
        return float(np.abs(masses @ values - means).max())


def fit_supremum(
    balancer: Any,
    design: Design,
    Z: FloatArray,
    goal: Goal,
    problem: MassProblem,
    function_class: FunctionClass,
) -> BalancingFit:
    """Return the weights of every arm by cutting planes, with both bounds."""
    seed = balancer.random_state
    rng = check_random_state(0 if seed is None else seed)
    resolved = function_class.resolve(Pooled.of(Z, design.arms, goal).points, rng)
    arms, masses = design.arms, problem.before.copy()
    results, reports, signs = [], {}, []
    for a in design.weighted_arms():
        mine = arms.codes == a
        own, seed = problem.of_rows(mine), rng.randint(2**31 - 1)
        source = SourceOracle(resolved, Z[mine], goal.rows, goal.masses, seed)
        oracle = UnitOracle(source, own)
        found = simplex_supremum(
            oracle,
            own.n_units,
            2.0 * own.ridge,
            center=own.center,
            tol=balancer.tol if resolved.exact else max(balancer.tol, CUT_TOL),
            **own.bounds,
        )
        results.append(found)
        masses[mine] = own.spread(found.weights)
        values, means = oracle.values(found.witness[None])
        signs.append(float(np.sign(found.weights @ values - means)[0]))
        before = found.supremum_before
        if np.ptp(own.sum(own.before)) > EQUAL:  # the units did not start as equals
            before = oracle.difference(own.before)
        reports[arms.label(a)] = arm_report(
            found, found.supremum, before, found.supremum + own.cost(masses[mine]),
            found.gap,
        )  # fmt: skip
    dual = SupremumDual(
        resolved,
        [r.parameters for r in results],
        [r.prices for r in results],
        np.array([r.level / 2.0 for r in results]),
        np.stack([r.witness for r in results]),
        np.array(signs),
    )
    pairs = {(label, "target"): row["discrepancy"] for label, row in reports.items()}
    converged = all(r.converged for r in results)
    return BalancingFit(masses, None, pairs, reports, converged, dual, resolved)
