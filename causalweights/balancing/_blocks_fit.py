"""The fit of `IPMBalancer` on blocks of rows, here or on a cluster."""

from __future__ import annotations

from typing import Any

import numpy as np

from causalweights.balancing._blocks import Blocks, LocalBlocks
from causalweights.balancing._blocks_certificates import (
    certify_blocks,
    kernel_products,
)
from causalweights.balancing._blocks_low_rank import (
    ArmsProblem,
    landmark_features,
    sampled_kernel,
    solve_blocks,
)
from causalweights.balancing._mmd_certificates import ridge_penalty
from causalweights.balancing._mmd_fit import BalancingFit
from causalweights.balancing._weighter import Design


def fit_blocks(
    balancer: Any, design: Design, blocks: Blocks, joint: bool
) -> BalancingFit:
    """Return weights by landmark features, and their exact certificates."""
    ridge = balancer.ridge_
    if ridge <= 0.0:
        raise ValueError(
            "solver='low_rank' needs ridge > 0: without it rows that are landmarks "
            "have no diagonal left. Use ridge='auto', or solver='auto' on rows in "
            "memory."
        )
    seed = balancer.random_state
    kernel = sampled_kernel(balancer.discriminator, balancer.bandwidth, blocks, seed)
    features = landmark_features(kernel, blocks, balancer.rank, seed)
    arms, base, target = design.arms, design.base_masses(), design.target_masses()
    top = np.inf if balancer.max_weight is None else balancer.max_weight
    inverse = ridge_penalty(1.0, design.sample_weight, arms.codes, balancer.weight_type)
    problem = ArmsProblem(
        arms.codes, target, inverse, balancer.min_weight * base, top * base, ridge
    )
    weighted = design.weighted_arms()
    masses, dual, solutions = solve_blocks(blocks, features, problem, weighted, joint)
    if design.focal is not None:
        masses = np.where(arms.codes == design.focal, base, masses)
    threads = balancer.n_jobs
    if threads is None and not isinstance(blocks, LocalBlocks):
        threads = 1  # a worker's own threads are the cluster's to set
    found = kernel_products(kernel, blocks, arms, masses, target, base, threads)
    steps: dict[int | None, int] = {
        a: solution.n_iter
        for a, solution in zip([None] if joint else weighted, solutions)
    }
    pairs, by_arm = certify_blocks(arms, found, problem, steps)
    gaps = [row["relative_gap"] for row in by_arm.values()]
    converged = max(gaps) <= balancer.tol
    return BalancingFit(masses, kernel, pairs, by_arm, converged, dual)
