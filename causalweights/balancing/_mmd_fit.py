"""The exact fit of `IPMBalancer`, and what a fit of any solver returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from causalweights._typing import FloatArray
from causalweights.balancing._discriminators import resolve_discriminator
from causalweights.balancing._goal import Goal, Pooled
from causalweights.balancing._mass_problem import MassProblem
from causalweights.balancing._mmd_certificates import (
    certify,
    dual_coefficients,
)
from causalweights.balancing._mmd_problem import solve_joint, solve_single
from causalweights.balancing._moment_constraints import (
    MomentConstraints,
    constraints_on,
    readable_moments,
)
from causalweights.balancing._weighter import Design
from causalweights.discrepancy import FunctionClass
from causalweights.kernels import Kernel
from causalweights.optimize import SimplexQPResult


class Dual(Protocol):
    """The dual solution as functions of new rows."""

    @property
    def levels(self) -> FloatArray:
        """Multipliers of the A weighted arms."""
        ...

    def embed(
        self, Z: FloatArray, n_threads: int | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return target minus arms (m, A), and what to add to the ridge (m,)."""
        ...

    def witness(self, Z: FloatArray, n_threads: int | None = None) -> FloatArray:
        """Return the functions that tell arms from the target, (m, A)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class BalancingFit:
    """Masses (n,), the kernel, what is reported of them, and the dual solution.

    `function_class` takes the kernel's place where the criterion is a supremum.
    """

    masses: FloatArray
    kernel: Kernel | None
    pairs: dict[tuple, float]
    by_arm: dict[Any, dict[str, Any]]
    converged: bool
    dual: Dual
    function_class: FunctionClass | None = None
    moments: MomentConstraints | None = None


@dataclass(frozen=True, slots=True, eq=False)
class KernelDual:
    """The dual solution of the kernel itself.

    Attributes
    ----------
    kernel : Kernel
    points : (m, d), rows with a coefficient
    coefficients : (m, A), by weighted arm
    levels : (A,)
    moments : MomentConstraints or None
    moment_prices : (p, A), their multipliers
    """

    kernel: Kernel
    points: FloatArray
    coefficients: FloatArray
    levels: FloatArray
    moments: MomentConstraints | None = None
    moment_prices: FloatArray | None = None

    def embed(
        self, Z: FloatArray, n_threads: int | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return target minus arms (m, A) with the moments' prices, and zeros."""
        values = -self.witness(Z, n_threads)
        if self.moments is not None and self.moment_prices is not None:
            values += self.moments.transform(Z) @ self.moment_prices
        return values, np.zeros(len(Z))

    def witness(self, Z: FloatArray, n_threads: int | None = None) -> FloatArray:
        """Return arms minus target, (m, A)."""
        operator = self.kernel.operator(Z, self.points, n_threads=n_threads)
        return -operator.matvec(self.coefficients)


def fit_exactly(
    balancer: Any,
    design: Design,
    Z: FloatArray,
    goal: Goal,
    problem: MassProblem,
    joint: bool,
    moments: MomentConstraints | None = None,
) -> BalancingFit:
    """Return the exact weights of rows in memory, with their certificates."""
    kernel = resolve_discriminator(
        balancer.discriminator, balancer.bandwidth, Z, balancer.random_state
    )
    masses, results = _solve(balancer, design, kernel, Z, goal, problem, joint, moments)
    all_rows = Pooled.of(Z, design.arms, goal)
    own, before, cost, anchor = (
        all_rows.pad(part)
        for part in (masses, problem.before, problem.penalty, problem.anchor)
    )
    pairs, by_arm = certify(
        kernel, all_rows.points, all_rows.arms, own, before, all_rows.target, cost,
        results, balancer.n_jobs, anchor,
    )  # fmt: skip
    weighted = design.weighted_arms()
    coefficients = dual_coefficients(
        all_rows.arms.codes, weighted, own, all_rows.target, joint
    )
    used = np.any(coefficients != 0, axis=1)
    levels = np.concatenate([r.multipliers for r in results.values()])
    converged = all(r.converged for r in results.values())
    prices = None
    if moments is not None:
        parts = [r.moment_multipliers for r in results.values()]
        prices = np.vstack([part for part in parts if part is not None]).T
    dual = KernelDual(
        kernel, all_rows.points[used], coefficients[used], levels, moments, prices
    )
    return BalancingFit(masses, kernel, pairs, by_arm, converged, dual, moments=moments)


def _solve(
    balancer, design, kernel, Z, goal, problem, joint, moments
) -> tuple[FloatArray, dict[Any, SimplexQPResult]]:
    """Return masses and solver results, by arm position (None: joint)."""
    codes, n_arms = design.arms.codes, design.arms.n_arms
    options: dict[str, Any] = {
        "solver": balancer.solver, "tol": balancer.tol, "n_threads": balancer.n_jobs
    }  # fmt: skip
    if joint:
        with readable_moments(moments, design.arms):
            result = solve_joint(
                kernel, Z, codes, n_arms, goal, problem, **options,
                **constraints_on(moments, Z, problem),
            )  # fmt: skip
        return problem.spread(result.weights), {None: result}
    masses, results = problem.before.copy(), {}
    for a in design.weighted_arms():
        mine = codes == a
        own = problem.of_rows(mine)
        with readable_moments(moments, design.arms, a):
            results[a] = solve_single(
                kernel, Z[mine], goal.rows, goal.masses, own, **options,
                **constraints_on(moments, Z[mine], own),
            )  # fmt: skip
        masses[mine] = own.spread(results[a].weights)
    return masses, results
