"""From a balancer's options to the program that gives its weights."""

from __future__ import annotations

from typing import Any

from causalweights._typing import FloatArray
from causalweights.balancing._blocks import BlockDesign, LocalBlocks
from causalweights.balancing._blocks_fit import fit_blocks
from causalweights.balancing._discriminators import function_class
from causalweights.balancing._mmd_fit import BalancingFit, fit_exactly
from causalweights.balancing._moment_constraints import MomentConstraints, fit_moments
from causalweights.balancing._supremum_fit import fit_supremum
from causalweights.balancing._weighter import Design


def fit_balance(balancer: Any, design: Design) -> BalancingFit:
    """Return the weights of a design by the program that the options ask for."""
    joint = design.focal is None and balancer.between_arms
    blocks = isinstance(design, BlockDesign) or balancer.solver == "low_rank"
    classes = function_class(balancer.discriminator)
    constrained = (
        balancer.moments or balancer.interactions or len(balancer.quantiles) > 0
    )
    if constrained and (blocks or classes is not None):
        raise ValueError(
            "moments, interactions and quantiles constrain the exact program of a "
            "kernel or the energy distance: pass one of these as discriminator, rows "
            "in memory and solver='auto', 'active_set' or 'interior_point'."
        )
    if classes is not None:
        _refuse_with_class(balancer, joint, blocks)
    if isinstance(design, BlockDesign):
        return fit_blocks(balancer, design, design.points, joint)
    points = balancer._points(design)
    if classes is not None:
        return fit_supremum(balancer, design, points, classes)
    if blocks:
        return fit_blocks(balancer, design, LocalBlocks.of_rows(points), joint)
    moments = _constraints(balancer, design, points) if constrained else None
    return fit_exactly(balancer, design, points, joint, moments)


def _constraints(
    balancer: Any, design: Design, points: FloatArray
) -> MomentConstraints | None:
    names = getattr(balancer, "feature_names_in_", None)
    if names is None:
        names = [f"column {j}" for j in range(balancer.n_features_in_)]
    return fit_moments(
        points,
        design.sample_weight,
        design.target_masses(),
        [str(names[j]) for j in design.scaling.kept],
        moments=balancer.moments,
        interactions=balancer.interactions,
        quantiles=balancer.quantiles,
        tol=balancer.moment_tol,
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
            f"{name} is solved by cutting planes with all rows in memory: pass an "
            "array and solver='auto'."
        )
