"""What is reported of weights on blocks of rows: exact, by one pass over all pairs.

The weights may come from an approximate kernel; discrepancies, objective and
Frank-Wolfe gap are those of the kernel itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from causalweights._typing import FloatArray
from causalweights._validation import Arms
from causalweights.balancing._blocks import Blocks, split
from causalweights.balancing._blocks_low_rank import ArmsProblem
from causalweights.balancing._mmd_certificates import PairTable, mass_columns
from causalweights.discrepancy._mmd import squares_of
from causalweights.kernels import Kernel
from causalweights.optimize import frank_wolfe_gap
from causalweights.optimize._certificate import relative_gap, rounding_level

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, eq=False)
class Products:
    """Masses S (n, 2K + 1) and K @ S: arms after, target, arms before weighting."""

    masses: FloatArray
    products: FloatArray


def kernel_products(
    kernel: Kernel,
    blocks: Blocks,
    arms: Arms,
    masses: FloatArray,
    target: FloatArray,
    base: FloatArray,
    n_threads: int | None = None,
) -> Products:
    """Return the kernel's products with all masses, time O(n^2 (d + K))."""
    columns = mass_columns(arms, masses, target, base)
    each = [(part,) for part in split(columns, blocks.sizes)]
    parts = blocks.cross(_pair_product, kernel, n_threads, each=each)
    return Products(columns, np.concatenate(parts))


def _pair_product(
    rows: FloatArray,
    others: FloatArray,
    same: bool,
    masses: FloatArray,
    kernel: Kernel,
    n_threads: int | None,
) -> FloatArray:
    used = np.flatnonzero(masses.any(axis=1))
    if same:  # one sample: distances of rows from themselves are exactly zero
        operator = kernel.operator(rows, n_threads=n_threads)
        return operator.matvec(masses[used], columns=used)
    operator = kernel.operator(rows, others[used], n_threads=n_threads)
    return operator.matvec(masses[used])


def certify_blocks(
    arms: Arms,
    found: Products,
    problem: ArmsProblem,
    solved: dict[int | None, int],
) -> tuple[dict[tuple, float], dict[Any, dict[str, Any]]]:
    """Return discrepancies by pair, and certificates by arm label (None: joint).

    ``solved`` holds the number of steps by arm position, None for the joint problem.
    The relative gap compares with the unweighted arms.
    """
    K = arms.n_arms
    squares = squares_of(found.masses, found.products, np.float64)
    table = PairTable(arms, squares)
    penalty = problem.ridge * problem.inverse
    by_arm: dict[Any, dict[str, Any]] = {}
    for a, n_iter in solved.items():
        mine = np.ones(len(penalty), bool) if a is None else problem.codes == a
        cost = [
            float(np.sum((penalty * found.masses[:, c : c + K].sum(axis=1) ** 2)[mine]))
            for c in (0, K + 1)
        ]
        now, then = table.criterion(a)
        gap, floor = _half_gap(found, problem, mine, penalty, a)
        gained = 0.5 * (then + cost[1] - now - cost[0])
        by_arm[None if a is None else arms.label(a)] = {
            "discrepancy": now,
            "discrepancy_before": then,
            "objective": now + cost[0],
            "gap": 2 * gap,
            "relative_gap": relative_gap(gap, gained, floor),
            "n_iter": n_iter,
            "solver": "low_rank",
        }
    return table.pairs(), by_arm


def _half_gap(
    found: Products,
    problem: ArmsProblem,
    mine: np.ndarray,
    penalty: FloatArray,
    arm: int | None,
) -> tuple[float, float]:
    """Return the gap of half the objective, and the size that rounding can give it."""
    K = (found.masses.shape[1] - 1) // 2
    rows = np.flatnonzero(mine)
    codes, products = problem.codes[rows], found.products[rows]
    w = found.masses[rows, codes]
    if arm is None:
        product = (K + 1) * products[np.arange(len(rows)), codes]
        product = product - products[:, :K].sum(axis=1)
        groups = codes
    else:
        product, groups = products[:, arm], np.zeros(len(rows), np.intp)
    product = product + penalty[rows] * w
    q = products[:, K]
    gap = frank_wolfe_gap(
        product - q, w, groups, problem.lower[rows], problem.upper[rows]
    )
    return gap, rounding_level(product, np.asarray(q, dtype=np.float64), EPS)
