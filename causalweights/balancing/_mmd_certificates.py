"""What is reported of squared-MMD weights: discrepancies, certificates, dual."""

from __future__ import annotations

from typing import Any

import numpy as np

from causalweights._typing import FloatArray
from causalweights._validation import Arms
from causalweights.discrepancy import mmd_matrix
from causalweights.kernels import Kernel
from causalweights.optimize import SimplexQPResult


def ridge_penalty(
    ridge: float, sample_weight: FloatArray, codes: np.ndarray, weight_type: str
) -> FloatArray:
    """Return each row's penalty, ``ridge / s_i``, so that copies share their mass.

    Sampling weights are scaled to mean one an arm first; frequencies are taken as
    given, which makes an integer the same as that many rows.
    """
    s = sample_weight
    if weight_type == "sampling":
        counts = np.bincount(codes)
        s = s * (counts / np.bincount(codes, weights=s))[codes]
    return ridge / s


def dual_coefficients(
    codes: np.ndarray,
    weighted: list[int],
    masses: FloatArray,
    target: FloatArray,
    joint: bool,
) -> FloatArray:
    """Return c (n, A) with witness_a = sum_i c_ia k(x, x_i) for the weighted arms.

    The witness of arm a is the target's mean embedding minus the arm's; jointly, minus
    A times the arm's plus the other arms'.
    """
    columns = []
    for a in weighted:
        own = np.where(codes == a, masses, 0.0)
        if joint:
            others = masses - own
            columns.append(target + others - len(weighted) * own)
        else:
            columns.append(target - own)
    return np.column_stack(columns)


def certify(
    kernel: Kernel,
    Z: FloatArray,
    arms: Arms,
    masses: FloatArray,
    base: FloatArray,
    target: FloatArray,
    penalty: FloatArray,
    results: dict[int | None, SimplexQPResult],
    n_threads: int | None = None,
) -> tuple[dict[tuple, float], dict[Any, dict[str, Any]]]:
    """Return discrepancies by pair, and certificates by arm label (None: joint).

    One pass over the Gram matrix, O(n^2 (d + K)), gives every discrepancy after and
    before weighting. ``results`` is keyed by arm position, None for the joint problem.
    """
    K, rows = arms.n_arms, np.arange(len(Z))
    columns = np.zeros((len(Z), 2 * K + 1))
    columns[rows, arms.codes] = masses
    columns[:, K] = target
    columns[rows, K + 1 + arms.codes] = base
    table = mmd_matrix(kernel, Z, columns, n_threads=n_threads)
    order = [*range(K + 1, 2 * K + 1), K]
    after, before = table[: K + 1, : K + 1], table[np.ix_(order, order)]
    labels = [*(arms.label(k) for k in range(K)), "target"]
    positions = [(i, j) for j in range(K + 1) for i in range(j)]
    pairs = {(labels[i], labels[j]): float(after[i, j]) for i, j in positions}
    spread = np.bincount(arms.codes, weights=penalty * masses**2)
    by_arm: dict[Any, dict[str, Any]] = {}
    for a, result in results.items():
        if a is None:
            now, then = (float(sum(t[p] for p in positions)) for t in (after, before))
            cost = float(spread.sum())
        else:
            now, then, cost = float(after[a, K]), float(before[a, K]), float(spread[a])
        by_arm[None if a is None else arms.label(a)] = {
            "discrepancy": now,
            "discrepancy_before": then,
            "objective": now + cost,
            "gap": 2 * result.gap,
            "relative_gap": result.relative_gap,
            "n_iter": result.n_iter,
            "solver": result.solver,
        }
    return pairs, by_arm
