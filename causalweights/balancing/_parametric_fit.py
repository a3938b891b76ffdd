"""Log-linear weights, and the authors' own training of either weight model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from causalweights._typing import FloatArray
from causalweights.balancing._adversarial import train_adversarial
from causalweights.balancing._discriminators import resolve_discriminator
from causalweights.balancing._goal import Goal, Pooled
from causalweights.balancing._log_linear import fit_log_linear, log_linear_weights
from causalweights.balancing._log_linear_influence import TiltedArm
from causalweights.balancing._mass_problem import MassProblem
from causalweights.balancing._mmd_certificates import (
    arm_report,
    certify,
    dual_coefficients,
)
from causalweights.balancing._mmd_fit import BalancingFit, KernelDual
from causalweights.balancing._weighter import Design
from causalweights.kernels import Kernel
from causalweights.optimize import frank_wolfe_gap

# What the authors' algorithm calls the classes that it trains against.
TRAINED = {"gaussian": "mmd", "sigmoid": "sigmoid", "wasserstein": "wasserstein"}


@dataclass(frozen=True, slots=True, eq=False)
class LogLinearDual:
    """The tilts of the weighted arms, and the witness of the kernel, if there is one.

    Attributes
    ----------
    coefs : list of (d,) or None, by weighted arm
    log_scales, shares : (A,)
    kernel : KernelDual or None
    tilts : list of TiltedArm
        What the tilts minimise; empty where they were trained, or for an outside
        target.
    rows : (n_all,), bool
        The caller's rows of positive sample weight.
    """

    coefs: list[FloatArray | None]
    log_scales: FloatArray
    shares: FloatArray
    kernel: KernelDual | None
    tilts: list[TiltedArm]
    rows: np.ndarray

    @property
    def levels(self) -> FloatArray:
        """Return zeros: a tilt has no multiplier."""
        return np.zeros(len(self.coefs))

    def weights(self, Z: FloatArray, j: int) -> FloatArray:
        """Return the weights of new rows of the j-th weighted arm, mean one in it."""
        coef = self.coefs[j]
        assert coef is not None
        return log_linear_weights(
            Z, coef, float(self.log_scales[j]), float(self.shares[j])
        )

    def embed(
        self, Z: FloatArray, n_threads: int | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Refuse: the weights are not those of a dual solution."""
        raise ValueError("log-linear and trained weights have no dual solution.")

    def witness(self, Z: FloatArray, n_threads: int | None = None) -> FloatArray:
        """Return arms minus target, (m, A)."""
        if self.kernel is None:
            raise ValueError("the trained adversary is not kept: there is no witness.")
        return self.kernel.witness(Z, n_threads)


@dataclass(frozen=True, slots=True)
class _Solved:
    """What is known of one arm's weights.

    The gap is that of half the objective to the best weights of any form.
    """

    masses: FloatArray
    coef: FloatArray | None
    log_scale: float
    n_iter: int
    stationary: bool
    found: float
    before: float
    gap: float = np.inf
    relative_gap: float = np.inf
    solver: str = "adam"


def fit_parametric(
    balancer: Any, design: Design, Z: FloatArray, goal: Goal, problem: MassProblem
) -> BalancingFit:
    """Return log-linear weights, or weights of either model trained by Adam."""
    arms, base, penalty = design.arms, problem.before, problem.penalty
    adam, name = balancer.solver == "adam", balancer.discriminator
    kernel = None
    if not adam or name == "gaussian":
        kernel = resolve_discriminator(
            name, balancer.bandwidth, Z, balancer.random_state
        )
    shares = _shares(design, goal)
    rng = np.random.default_rng(_seed(balancer.random_state))
    masses, solved, tilts = base.copy(), {}, []
    for a in design.weighted_arms():
        mine = arms.codes == a
        one_arm = (Z[mine], goal, base[mine], penalty[mine], shares[a])
        if adam:
            solved[a] = _train(balancer, kernel, *one_arm, rng)
        else:
            assert kernel is not None
            solved[a] = _descend(balancer, kernel, *one_arm, rng)
            coef = solved[a].coef
            if coef is not None and not goal.is_outside:
                tilts.append(
                    TiltedArm(
                        kernel, Z, mine, design.sample_weight, goal.of_sample, coef,
                        float(shares[a]), penalty, balancer.weight_type == "sampling",
                    )
                )  # fmt: skip
        masses[mine] = solved[a].masses
    results = list(solved.values())
    pairs, by_arm, witness = {}, {}, None
    if kernel is None:
        for a, r in solved.items():
            by_arm[arms.label(a)] = arm_report(r, r.found, r.before, r.found, r.gap)
            pairs[arms.label(a), "target"] = r.found
    else:
        pooled = Pooled.of(Z, arms, goal)
        own, before, cost = (pooled.pad(part) for part in (masses, base, penalty))
        pairs, by_arm = certify(
            kernel, pooled.points, pooled.arms, own, before, pooled.target, cost,
            solved, balancer.n_jobs,
        )  # fmt: skip
        weighted = design.weighted_arms()
        c = dual_coefficients(pooled.arms.codes, weighted, own, pooled.target, False)
        witness = KernelDual(kernel, pooled.points, c, np.zeros(len(weighted)))
    dual = LogLinearDual(
        [r.coef for r in results],
        np.array([r.log_scale for r in results]),
        shares[design.weighted_arms()],
        witness,
        tilts,
        design.rows,
    )
    converged = all(r.stationary for r in results)
    return BalancingFit(masses, kernel, pairs, by_arm, converged, dual)


def _seed(random_state: Any) -> int:
    if random_state is None:
        return 0
    return int(check_random_state(random_state).randint(2**31 - 1))


def _shares(design: Design, goal: Goal) -> FloatArray:
    """Return each arm's share of the target: of the whole sample, else zero."""
    s, codes = design.sample_weight, design.arms.codes
    if design.focal is not None or goal.is_outside:
        return np.zeros(design.arms.n_arms)
    return np.bincount(codes, weights=s) / s.sum()


def _descend(
    balancer: Any,
    kernel: Kernel,
    Z: FloatArray,
    goal: Goal,
    base: FloatArray,
    penalty: FloatArray,
    share: float,
    rng: np.random.Generator,
) -> _Solved:
    fit = fit_log_linear(
        kernel, Z, goal.rows, goal.masses, base, penalty, mixture=float(share), rng=rng,
        tol=balancer.tol, n_threads=balancer.n_jobs,
    )  # fmt: skip
    gap, relative = _gap(kernel, Z, goal, base, penalty, fit.masses, balancer.n_jobs)
    return _Solved(
        fit.masses, fit.coef, fit.log_scale, fit.n_iter, fit.converged, fit.discrepancy,
        np.nan, gap, relative, "lbfgs",
    )  # fmt: skip


def _train(
    balancer: Any,
    kernel: Kernel | None,
    Z: FloatArray,
    goal: Goal,
    base: FloatArray,
    penalty: FloatArray,
    share: float,
    rng: np.random.Generator,
) -> _Solved:
    tilted = balancer.weight_model == "loglinear"
    gamma = 10.0 if kernel is None else _bandwidths(kernel)
    fit = train_adversarial(
        Z, goal.rows, goal.masses, discriminator=TRAINED[balancer.discriminator],  # type: ignore[arg-type]
        weight_model="log_linear" if tilted else "nonparametric", base=base,
        gamma=gamma, epochs=balancer.epochs, learning_rate=balancer.learning_rate,
        mixture=float(share) if tilted else 0.0, random_state=rng,
        n_threads=balancer.n_jobs,
    )  # fmt: skip
    log_scale = 0.0
    if fit.coef is not None:
        log_scale = float(np.log(base / base.sum() @ np.exp(Z @ fit.coef)))
    found, before = np.sqrt([fit.loss, fit.losses[0]])
    gap, relative = np.inf, np.inf
    if kernel is not None:
        gap, relative = _gap(kernel, Z, goal, base, penalty, fit.masses, None)
    # There is no rule to stop; only a small gap would tell that it has arrived.
    return _Solved(
        fit.masses, fit.coef, log_scale, fit.n_iter, relative <= balancer.tol,
        float(found), float(before), gap, relative,
    )  # fmt: skip


def _bandwidths(kernel: Kernel) -> Any:
    """Return the bandwidth of a Gaussian kernel, or those of an average."""
    return getattr(kernel, "bandwidth", None)


def _gap(
    kernel: Kernel,
    Z: FloatArray,
    goal: Goal,
    base: FloatArray,
    penalty: FloatArray,
    masses: FloatArray,
    n_threads: int | None,
) -> tuple[float, float]:
    """Return the Frank-Wolfe gap over all weights, of half the objective."""
    operator = kernel.operator(Z, n_threads=n_threads)
    q = kernel.operator(Z, goal.rows, n_threads=n_threads).row_mean(goal.masses)
    both = np.column_stack([masses, base])
    products = operator.matvec(both) + penalty[:, None] * both
    gradient = products[:, 0] - q
    gap = frank_wolfe_gap(gradient, masses)
    values = 0.5 * np.einsum("ij,ij->j", both, products) - q @ both
    gain = float(values[1] - values[0])
    return gap, gap / gain if gain > 0 else np.inf
