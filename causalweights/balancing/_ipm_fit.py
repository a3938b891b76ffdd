"""From a balancer's options to the program that gives its weights."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from causalweights._typing import FloatArray
from causalweights._validation import (
    check_covariates,
    check_same_rows,
    check_sample_weight,
    covariate_names,
)
from causalweights.balancing._blocks import BlockDesign, LocalBlocks
from causalweights.balancing._blocks_fit import fit_blocks
from causalweights.balancing._discriminators import function_class, wasserstein_of
from causalweights.balancing._goal import Goal
from causalweights.balancing._mass_problem import MassProblem
from causalweights.balancing._mmd_fit import BalancingFit, fit_exactly
from causalweights.balancing._moment_constraints import MomentConstraints, fit_moments
from causalweights.balancing._parametric_fit import TRAINED, fit_parametric
from causalweights.balancing._supremum_fit import fit_supremum
from causalweights.balancing._variance_fit import fit_variance
from causalweights.balancing._wasserstein_fit import fit_wasserstein
from causalweights.balancing._weighter import Design


def fit_balance(
    balancer: Any, design: Design, goal: Goal | None, problem: MassProblem
) -> BalancingFit:
    """Return the weights of a design by the program that the options ask for.

    `goal` is a target outside the sample; None is the estimand's own.
    """
    joint = design.focal is None and balancer.between_arms
    blocks = isinstance(design, BlockDesign) or balancer.solver == "low_rank"
    parametric = balancer.weight_model == "loglinear" or balancer.solver == "adam"
    classes = None if parametric else function_class(balancer.discriminator)
    constrained = (
        balancer.moments or balancer.interactions or len(balancer.quantiles) > 0
    )
    if parametric:
        _refuse_parametric(balancer, joint, bool(constrained), design)
    if balancer.discriminator is None and (not constrained or blocks):
        raise ValueError(
            "discriminator=None gives the least variable weights that meet moments: "
            "ask for some by moments, interactions or quantiles, with rows in memory "
            "and solver='auto'."
        )
    transport = None if parametric else wasserstein_of(balancer.discriminator)
    if transport is not None:
        _refuse_with_class(balancer, joint, blocks)
        if balancer.min_weight > 0 or balancer.max_weight is not None:
            raise ValueError(
                "discriminator='wasserstein' takes no bounds on the weights: a ridge "
                "spreads them."
            )
    if constrained and (blocks or transport is not None or classes is not None):
        raise ValueError(
            "moments, interactions and quantiles constrain the exact program of a "
            "kernel or the energy distance: pass one of these as discriminator, rows "
            "in memory and solver='auto', 'active_set' or 'interior_point'."
        )
    if goal is not None and blocks:
        raise ValueError(
            "target= needs rows in memory and solver='auto', 'active_set' or "
            "'interior_point'."
        )
    if classes is not None:
        _refuse_with_class(balancer, joint, blocks)
    if isinstance(design, BlockDesign):
        return fit_blocks(balancer, design, design.points, joint)
    points = balancer._points(design)
    if blocks:
        return fit_blocks(balancer, design, LocalBlocks.of_rows(points), joint)
    if goal is None:
        goal = Goal.within(points, design.target_masses())
    if parametric:
        return fit_parametric(balancer, design, points, goal, problem)
    if transport is not None:
        return fit_wasserstein(
            balancer, design, points, goal, problem, transport.entropy
        )
    if classes is not None:
        return fit_supremum(balancer, design, points, goal, problem, classes)
    moments = _constraints(balancer, design, points, goal) if constrained else None
    if balancer.discriminator is None and moments is not None:
        return fit_variance(balancer, design, points, problem, moments)
    return fit_exactly(balancer, design, points, goal, problem, joint, moments)


def report_fit(balancer: Any, fit: BalancingFit) -> None:
    """Set what a balancer says of its fit, and warn where that is not optimal."""
    balancer.kernel_, balancer.function_class_ = fit.kernel, fit.function_class
    balancer.moment_names_ = [] if fit.moments is None else fit.moments.names
    balancer.bandwidth_ = getattr(fit.kernel, "bandwidth", None)
    balancer.pairwise_discrepancy_ = fit.pairs
    for name in next(iter(fit.by_arm.values())):
        values = {key: row[name] for key, row in fit.by_arm.items()}
        setattr(balancer, f"{name}_", values[None] if None in values else values)
    balancer.converged_ = fit.converged
    if fit.converged:
        return
    rows = fit.by_arm.values()
    worst = max(row["relative_gap"] for row in rows)
    approximate = any(row["solver"] == "low_rank" for row in rows)
    advice = "rank, ridge or tol" if approximate else "ridge or tol"
    if balancer.solver == "adam":
        advice = "epochs or take another solver, which is exact"
    warnings.warn(
        f"balancing weights are not optimal to tol={balancer.tol:g}: the relative "
        f"gap is {worst:.2g}. Raise {advice}, or remove near-duplicate columns.",
        ConvergenceWarning,
        stacklevel=5,
    )


def outside_goal(balancer: Any, design: Design) -> Goal | None:
    """Return the checked rows of `target` in the criterion's scale, None without."""
    if balancer.target is None:
        if balancer.target_weight is not None:
            raise ValueError("target_weight needs target, the rows it weighs.")
        return None
    if design.estimand != "ate":
        raise ValueError(
            "target= takes the place of the estimand's own population: pass "
            "estimand='ate', the average effect in the target."
        )
    check_same_rows(target=balancer.target, target_weight=balancer.target_weight)
    X = check_covariates(balancer, balancer.target, reset=False, min_rows=1)
    masses = check_sample_weight(balancer.target_weight, len(X))
    used, rows = masses > 0, balancer._scaled(X, design.scaling)
    return Goal.outside(rows[used], masses[used], len(design.arms.codes))


def _constraints(
    balancer: Any, design: Design, points: FloatArray, goal: Goal
) -> MomentConstraints | None:
    names = covariate_names(balancer)
    return fit_moments(
        points,
        design.sample_weight,
        goal,
        [names[j] for j in design.scaling.kept],
        moments=balancer.moments,
        interactions=balancer.interactions,
        quantiles=balancer.quantiles,
        tol=balancer.moment_tol,
    )


def _refuse_parametric(
    balancer: Any, joint: bool, constrained: bool, design: Design
) -> None:
    """Refuse what log-linear weights, or the authors' training, do not know."""
    adam = balancer.solver == "adam"
    name = "solver='adam'" if adam else "weight_model='loglinear'"
    if joint:
        raise ValueError(
            f"{name} balances each arm to the target by itself: pass "
            "between_arms=False."
        )
    bounded = balancer.min_weight > 0 or balancer.max_weight is not None
    if constrained or bounded or isinstance(design, BlockDesign):
        raise ValueError(
            f"{name} takes no moments, no bounds on the weights and no dask array: use "
            "weight_model='nonparametric' and another solver."
        )
    if balancer.weight_model == "loglinear" and design.estimand == "ato":
        raise ValueError(
            "estimand='ato' with weight_model='loglinear': overlap weights of an arm "
            "are not log-linear. Use weight_model='nonparametric'."
        )
    if adam and balancer.discriminator not in TRAINED:
        raise ValueError(
            f"solver='adam' trains against {', '.join(map(repr, TRAINED))}, not "
            f"{balancer.discriminator!r}."
        )
    if adam and balancer.ridge not in ("auto", 0):
        raise ValueError(
            "solver='adam' has no ridge: the number of epochs takes its place. Pass "
            "ridge='auto' or 0."
        )
    if not adam and (
        balancer.discriminator is None
        or function_class(balancer.discriminator) is not None
        or balancer.solver != "auto"
    ):
        raise ValueError(
            "weight_model='loglinear' minimises a kernel's discrepancy or the energy "
            "distance with solver='auto'; against a function class only "
            "solver='adam' fits it."
        )


def _refuse_with_class(balancer: Any, joint: bool, blocks: bool) -> None:
    """Refuse what a supremum has no program for."""
    name = f"discriminator={balancer.discriminator!r}"
    if joint:
        raise ValueError(
            f"{name} balances each arm to the target: between_arms=True has no convex "
            "program for a supremum. Pass between_arms=False."
        )
    if blocks or balancer.solver != "auto":
        raise ValueError(
            f"{name} is solved by a method of its own with all rows in memory: "
            "pass an array and solver='auto'."
        )
