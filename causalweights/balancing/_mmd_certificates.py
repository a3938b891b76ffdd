"""What is reported of squared-MMD weights: discrepancies, certificates, dual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from causalweights._typing import FloatArray
from causalweights._validation import Arms
from causalweights.discrepancy import mmd_matrix
from causalweights.kernels import Kernel


class Solved(Protocol):
    """What a certificate needs of a solver's result; gaps are of half the objective."""

    @property
    def gap(self) -> float: ...

    @property
    def relative_gap(self) -> float: ...

    @property
    def n_iter(self) -> int: ...

    @property
    def solver(self) -> str: ...


def arm_report(
    result: Solved,
    discrepancy: float,
    discrepancy_before: float,
    objective: float,
    gap: float,
) -> dict[str, Any]:
    """Return what `IPMBalancer` says of one arm (or of all), by attribute."""
    return {
        "discrepancy": discrepancy,
        "discrepancy_before": discrepancy_before,
        "objective": objective,
        "gap": gap,
        "relative_gap": result.relative_gap,
        "n_iter": result.n_iter,
        "solver": result.solver,
    }


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
    results: Mapping[Any, Solved],
    n_threads: int | None = None,
    anchor: FloatArray | float = 0.0,
) -> tuple[dict[tuple, float], dict[Any, dict[str, Any]]]:
    """Return discrepancies by pair, and certificates by arm label (None: joint).

    The penalty is that of the masses' distance to ``anchor``.

    One pass over the Gram matrix, O(n^2 (d + K)), gives every discrepancy after and
    before weighting. ``results`` is keyed by arm position, None for the joint problem.
    """
    columns = mass_columns(arms, masses, target, base)
    table = PairTable(arms, mmd_matrix(kernel, Z, columns, n_threads=n_threads))
    spread = np.bincount(arms.codes, weights=penalty * (masses - anchor) ** 2)
    by_arm: dict[Any, dict[str, Any]] = {}
    for a, result in results.items():
        now, then = table.criterion(a)
        cost = float(spread.sum() if a is None else spread[a])
        label = None if a is None else arms.label(a)
        by_arm[label] = arm_report(result, now, then, now + cost, 2 * result.gap)
    return table.pairs(), by_arm


def mass_columns(
    arms: Arms, masses: FloatArray, target: FloatArray, base: FloatArray
) -> FloatArray:
    """Return weightings (n, 2K + 1): arms after, target, arms before weighting."""
    K, rows = arms.n_arms, np.arange(len(masses))
    columns = np.zeros((len(masses), 2 * K + 1))
    columns[rows, arms.codes] = masses
    columns[:, K] = target
    columns[rows, K + 1 + arms.codes] = base
    return columns


class PairTable:
    """Squared discrepancies (2K + 1, 2K + 1) between the columns of `mass_columns`."""

    def __init__(self, arms: Arms, table: FloatArray) -> None:
        K = arms.n_arms
        order = [*range(K + 1, 2 * K + 1), K]
        self._after, self._before = table[: K + 1, : K + 1], table[np.ix_(order, order)]
        self._labels = [*(arms.label(k) for k in range(K)), "target"]
        self._positions = [(i, j) for j in range(K + 1) for i in range(j)]

    def pairs(self) -> dict[tuple, float]:
        """Return the discrepancies after weighting by pair of labels."""
        labels = self._labels
        return {
            (labels[i], labels[j]): float(self._after[i, j]) for i, j in self._positions
        }

    def criterion(self, arm: int | None) -> tuple[float, float]:
        """Return an arm's discrepancy to the target, after and before; None: all."""
        tables = (self._after, self._before)
        if arm is None:
            now, then = (sum(t[p] for p in self._positions) for t in tables)
        else:
            now, then = (t[arm, -1] for t in tables)
        return float(now), float(then)
