"""Features of the observations for f, and of the instruments for h."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from causalweights._scaling import fit_scaling
from causalweights._typing import FloatArray, IntArray
from causalweights.kernels import (
    Gaussian,
    Kernel,
    LandmarkFeatures,
    Laplace,
    median_distance,
    nystrom,
)

KernelName = Literal["gaussian", "laplace"]
# Their product over blocks is the same kernel of columns in units of each block's h.
_FAMILIES: dict[str, type[Kernel]] = {"gaussian": Gaussian, "laplace": Laplace}
# Where a factor stops early: share of the trace that it may leave.
_TRACE_LEFT = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class BlockScale:
    """Standardisation of blocks of columns, each in units of its bandwidth.

    Attributes
    ----------
    columns : ndarray of shape (d,)
        Positions of the columns kept, in the stacked blocks.
    center, scale : ndarray of shape (d,)
    bandwidth : dict of str to float
        h of each block, in standard deviations of its columns.
    """

    columns: np.ndarray
    center: FloatArray
    scale: FloatArray
    bandwidth: dict[str, float]

    def transform(self, rows: FloatArray) -> FloatArray:
        """Return the points (n, d) of stacked rows (n, sum of blocks)."""
        return (rows[:, self.columns] - self.center) / self.scale


def fit_block_scale(
    blocks: Mapping[str, FloatArray],
    share: FloatArray,
    bandwidth: float | Literal["median"] = "median",
    kernel: KernelName = "gaussian",
    random_state: Any = None,
) -> BlockScale:
    """Return the scale in which a unit bandwidth is each block's own.

    Constant columns and copies of earlier columns are left out: distances would count
    a regressor twice that is its own instrument.

    Parameters
    ----------
    blocks : mapping of str to ndarray of shape (n, d_k)
        Regressors, outcome and instruments, in this order, for f; instruments alone
        for h.
    share : ndarray of shape (n,)
        Row weights, sum one.
    bandwidth : float or "median", default="median"
        h in standard deviations, for all blocks, or the median rule for each.
    kernel : {"gaussian", "laplace"}, default="gaussian"
    random_state : int, RandomState or None, default=None
        Seed of the median rule's subsample above 5000 rows; None is seed 0.

    Raises
    ------
    ValueError
        If every column is constant.
    """
    stacked = np.column_stack(list(blocks.values()))
    kept: dict[str, list[int]] = {}
    seen: list[FloatArray] = []
    position = 0
    for name, block in blocks.items():
        kept[name] = []
        for column in block.T:
            if np.ptp(column) > 0 and not any(np.array_equal(column, c) for c in seen):
                kept[name].append(position)
                seen.append(column)
            position += 1
    columns = np.array([j for block in kept.values() for j in block], dtype=np.intp)
    if not len(columns):
        raise ValueError(
            f"all columns of {' and '.join(blocks)} are constant: a kernel has nothing "
            "to compare. Check the data."
        )
    scaling = fit_scaling(stacked[:, columns], share)
    columns = columns[scaling.kept]
    points, scale, bandwidths = scaling.transform(stacked[:, columns]), [], {}
    for name, positions in kept.items():
        own = np.isin(columns, positions)
        if np.any(own):
            h = _block_bandwidth(points[:, own], bandwidth, kernel, random_state)
            bandwidths[name] = h
            scale.append(h * scaling.scale[own])
    return BlockScale(columns, scaling.mean, np.concatenate(scale), bandwidths)


def _block_bandwidth(
    points: FloatArray, bandwidth: float | str, kernel: str, random_state: Any
) -> float:
    if not isinstance(bandwidth, str):
        return float(bandwidth)
    if kernel == "laplace":
        return median_distance(points, "cityblock", random_state=random_state)
    return float(np.sqrt(median_distance(points, random_state=random_state) / 2.0))


def kernel_features(
    points: FloatArray,
    kernel: KernelName = "gaussian",
    n_components: int | None = 100,
    random_state: Any = None,
) -> tuple[FloatArray, LandmarkFeatures]:
    """Return features whose products are the kernel with bandwidth one.

    Nystrom's, with the pivots of a Cholesky factorisation as landmarks. Time O(n D (d
    + D)), memory O(n D).

    Parameters
    ----------
    points : ndarray of shape (n, d)
    kernel : {"gaussian", "laplace"}, default="gaussian"
    n_components : int or None, default=100
        Most landmarks D; None takes as many as the kernel has directions: exact.
    random_state : int, RandomState or None, default=None
        Seed of the pivots above 2048 rows; None is seed 0.

    Returns
    -------
    Phi : ndarray of shape (n, D)
    mapping : LandmarkFeatures
        Gives the features of other points.
    """
    family = _FAMILIES[kernel](1.0)  # type: ignore[call-arg]
    rank = len(points) if n_components is None else n_components
    # Landmarks go by rank among ties and draws: central rows first, in any row order.
    order = np.lexsort((*points.T, np.einsum("ij,ij->i", points, points)))
    low = family.operator(points[order]).low_rank(
        tol=_TRACE_LEFT, rank=rank, random_state=random_state
    )
    Phi = np.empty_like(low.factor)
    Phi[order] = low.factor
    return Phi, nystrom(family, points[order[low.pivots]])


def smoothed_rows(
    rows: FloatArray,
    share: FloatArray,
    n_draws: int,
    bandwidth: float,
    rng: np.random.RandomState,
) -> tuple[IntArray, FloatArray]:
    """Draw from a kernel density estimate of the rows.

    Each row is moved by normal noise of ``bandwidth`` standard deviations of each
    column; rows are used equally often, up to one. Copies of a column move with it and
    constants stay.

    Returns
    -------
    picked : ndarray of shape (n_draws,)
        The rows that were moved.
    drawn : ndarray of shape (n_draws, d)
    """
    order = rng.permutation(len(rows))
    picked = order[np.arange(n_draws) % len(rows)]
    spread = np.sqrt(share @ (rows - share @ rows) ** 2)
    spread[np.ptp(rows, axis=0) == 0] = 0.0
    noise = rng.standard_normal((n_draws, rows.shape[1]))
    for j in range(rows.shape[1]):
        for k in range(j):
            if np.array_equal(rows[:, j], rows[:, k]):
                noise[:, j] = noise[:, k]
                break
    return picked, rows[picked] + bandwidth * spread * noise
