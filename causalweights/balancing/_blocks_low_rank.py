"""Squared-MMD balancing by landmark features: sums over blocks of rows.

The kernel is replaced by phi(x)'phi(x') plus the residual on the diagonal (FITC;
Snelson & Ghahramani 2006) in the matrix AND in the target's mean: an exact mean with a
matrix of low rank would reward directions that the features lack. What is reported of
the weights is exact all the same: see `certify_blocks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from causalweights._typing import FloatArray, IntArray
from causalweights.balancing._blocks import Blocks, split, take_rows
from causalweights.balancing._discriminators import resolve_discriminator
from causalweights.kernels import (
    Kernel,
    LandmarkFeatures,
    choose_landmarks,
    nystrom,
)
from causalweights.kernels._bandwidth import EXACT_ROWS, SAMPLED_ROWS
from causalweights.optimize._dual_blocks import (
    DualBlock,
    DualSolution,
    block_weights,
    solve_dual_blocks,
)
from causalweights.optimize._problem import Simplices

# Rows that landmarks are chosen from, and rows whose features are made at a time.
CANDIDATES = 20_000
PIECE = 8192


@dataclass(frozen=True, slots=True, eq=False)
class ArmsProblem:
    """What the weights of n rows obey.

    Attributes
    ----------
    codes : (n,) int, arm of each row
    target : (n,), masses of the target
    inverse : (n,), 1 / s: row i pays (ridge + A residual_i) / s_i for its squared mass
    lower, upper : (n,), bounds on the masses
    ridge : float
    """

    codes: IntArray
    target: FloatArray
    inverse: FloatArray
    lower: FloatArray
    upper: FloatArray
    ridge: float


@dataclass(frozen=True, slots=True, eq=False)
class LandmarkDual:
    """The dual solution, as functions of new rows.

    Attributes
    ----------
    features : LandmarkFeatures
    slopes : (r, A), mean features of each weighted arm less the target's
    levels : (A,), multiplier of each arm's sum
    copies : int, how often the objective counts an arm's own kernel: A if joint, or 1
    """

    features: LandmarkFeatures
    slopes: FloatArray
    levels: FloatArray
    copies: int

    def embed(
        self, Z: FloatArray, n_threads: int | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return target minus arms, (m, A), and what to add to the ridge, (m,)."""
        phi, residual = features_of(self.features, Z)
        return -(phi @ self.slopes), self.copies * residual

    def witness(self, Z: FloatArray, n_threads: int | None = None) -> FloatArray:
        """Return arms minus target, (m, A)."""
        return -self.embed(Z, n_threads)[0]


def sampled_kernel(
    discriminator: str | Kernel, bandwidth: Any, blocks: Blocks, random_state: Any
) -> Kernel:
    """Return the kernel with its bandwidth from the rows that the median rule draws."""
    n = sum(blocks.sizes)
    rows = np.arange(n)
    if n > EXACT_ROWS:
        rng = check_random_state(0 if random_state is None else random_state)
        rows = rng.choice(n, SAMPLED_ROWS, replace=False)
    Z = take_rows(blocks, rows)
    return resolve_discriminator(discriminator, bandwidth, Z, random_state)


def landmark_features(
    kernel: Kernel, blocks: Blocks, rank: int, random_state: Any
) -> LandmarkFeatures:
    """Return features from landmarks, chosen among the rows `choose_landmarks` draws.

    Only those rows are brought here.
    """
    n = sum(blocks.sizes)
    rng = check_random_state(0 if random_state is None else random_state)
    rows, sample = np.arange(n), max(CANDIDATES, rank)
    if n > sample:
        rows = np.sort(rng.choice(n, sample, replace=False))
    Z = take_rows(blocks, rows)
    chosen = choose_landmarks(kernel, Z, rank, sample=sample, random_state=rng)
    return nystrom(kernel, Z[chosen])


def features_of(
    features: LandmarkFeatures, Z: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return phi (m, r) and the residual (m,), a piece of rows at a time."""
    phi = np.empty((len(Z), len(features.landmarks)))
    residual = np.empty(len(Z))
    for start in range(0, len(Z), PIECE):
        rows = slice(start, start + PIECE)
        phi[rows], residual[rows] = features.transform(Z[rows])
    return phi, residual


def solve_blocks(
    blocks: Blocks,
    features: LandmarkFeatures,
    problem: ArmsProblem,
    arms: list[int],
    joint: bool,
) -> tuple[FloatArray, LandmarkDual, list[DualSolution]]:
    """Return masses (n,; zero outside `arms`), the dual, and the solutions."""
    center = blocks_mean(blocks, features, problem.target)
    masses = np.zeros(len(problem.codes))
    if joint:
        # C = (K + 1) I - 11' has the root below, which leaves 1 as it is.
        size = len(arms)
        root = np.sqrt(size + 1.0)
        B = root * np.eye(size) + (1.0 - root) / size
        solutions = [_solve_groups(blocks, features, problem, arms, center, B, masses)]
    else:
        solutions = [
            _solve_groups(blocks, features, problem, [a], center, None, masses)
            for a in arms
        ]
    slopes = np.column_stack([dual.slopes for dual in solutions])
    levels = np.concatenate([dual.levels for dual in solutions])
    copies = len(arms) if joint else 1
    return masses, LandmarkDual(features, slopes, levels, copies), solutions


def blocks_mean(
    blocks: Blocks, features: LandmarkFeatures, masses: FloatArray
) -> FloatArray:
    """Return the features' sum under masses of the rows, (r,)."""
    each = [(part,) for part in split(masses, blocks.sizes)]
    return blocks.total(_mean_of_block, features, each=each)[0]


def _mean_of_block(
    Z: FloatArray, masses: FloatArray, features: LandmarkFeatures
) -> tuple[FloatArray]:
    rows = np.flatnonzero(masses)
    total = np.zeros(len(features.landmarks))
    for start in range(0, len(rows), PIECE):
        piece = rows[start : start + PIECE]
        total += masses[piece] @ features.transform(Z[piece])[0]
    return (total,)


def _solve_groups(
    blocks: Blocks,
    features: LandmarkFeatures,
    problem: ArmsProblem,
    arms: list[int],
    center: FloatArray,
    root: FloatArray | None,
    masses: FloatArray,
) -> DualSolution:
    """Solve for one group of rows an arm, and write their masses."""
    group = np.full(problem.codes.max() + 1, len(arms))
    group[arms] = np.arange(len(arms))
    labels = group[problem.codes]
    orders, each, start = [], [], 0
    for size in blocks.sizes:
        own = labels[start : start + size]
        order = np.argsort(own, kind="stable")
        starts = np.searchsorted(own[order], np.arange(len(arms) + 1))
        order = order[: starts[-1]]
        rows = start + order
        each.append(
            (order, starts, problem.inverse[rows], problem.lower[rows],
             problem.upper[rows])
        )  # fmt: skip
        orders.append(rows)
        start += size
    ours = blocks.map(dual_block, features, problem.ridge, len(arms), each=each)
    dual = solve_dual_blocks(ours.total, center, np.ones(len(arms)), root)
    parts = ours.gather(block_weights, dual.slopes, dual.levels)
    rows = np.concatenate(orders)
    lower = problem.lower[rows]
    left = 1.0 - np.bincount(labels[rows], weights=lower).astype(np.float64)
    room = np.asarray(problem.upper[rows] - lower, dtype=np.float64)
    simplices = Simplices(labels[rows], left, room)
    masses[rows] = lower + simplices.repair(np.concatenate(parts) - lower)
    return dual


def dual_block(
    Z: FloatArray,
    order: IntArray,
    starts: IntArray,
    inverse: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    features: LandmarkFeatures,
    ridge: float,
    copies: int,
) -> DualBlock:
    """Return a block's rows of some arms, ordered by arm, with their features.

    The residual is divided by the row's weight like the ridge, so that a row of
    frequency two is the same as two rows.
    """
    phi, residual = features_of(features, Z[order])
    phi, diagonal, low, high = (
        np.asarray(array, dtype=np.float64)
        for array in (phi, (ridge + copies * residual) * inverse, lower, upper)
    )
    return DualBlock(phi, diagonal, low, high, np.asarray(starts, dtype=np.intp))
