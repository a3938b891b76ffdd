"""Blocks of rows on a dask cluster: a map, a tree of sums, and nothing scheduled here.

Every task is a pure function of data that dask can compute again, so a worker that is
lost costs time only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from causalweights._scaling import Scaling, make_scaling
from causalweights._typing import FloatArray
from causalweights._validation import (
    check_estimand,
    check_same_rows,
    check_sample_weight,
    check_treatment,
    focal_arm,
)
from causalweights.balancing._blocks import BlockDesign, add_all, split, sum_all
from causalweights.balancing._blocks_input import is_dask

# Partial results that one task of a tree adds up.
FAN_IN = 8


class DaskBlocks:
    """Blocks as dask's delayed objects; see `Blocks`."""

    def __init__(self, parts: Sequence[Any], sizes: Sequence[int]) -> None:
        self.parts, self.sizes = list(parts), list(sizes)

    def map(self, function, *small, each=None):
        return DaskBlocks(_persist(self._apply(function, small, each)), self.sizes)

    def total(self, function, *small, each=None):
        return self.fold(add_all, function, *small, each=each)

    def fold(
        self,
        combine: Callable[[Sequence], Any],
        function: Callable[..., Any],
        *small: Any,
        each: Sequence[tuple] | None = None,
    ) -> Any:
        """Return what a tree of ``combine([...])`` makes of the blocks' results."""
        return _compute([_tree(combine, self._apply(function, small, each))])[0]

    def gather(self, function, *small, each=None):
        return _compute(self._apply(function, small, each))

    def cross(self, function, *small, each):
        call, shared = _delayed(function), [_once(value) for value in small]
        own = [tuple(_once(value) for value in args) for args in each]
        rows = [
            [
                call(p, q, i == j, *args, *shared)
                for j, (q, args) in enumerate(zip(self.parts, own))
            ]
            for i, p in enumerate(self.parts)
        ]
        return _compute([_tree(sum_all, row) for row in rows])

    def _apply(self, function, small, each):
        call, shared = _delayed(function), [_once(value) for value in small]
        own = [()] * len(self.parts) if each is None else each
        return [call(p, *args, *shared) for p, args in zip(self.parts, own)]


def _delayed(function: Callable[..., Any]) -> Any:
    from dask import delayed

    return delayed(function, pure=False)


def _once(value: Any) -> Any:
    """Return a value as one node of the graph, however many tasks use it."""
    from dask import delayed

    return delayed(value, pure=False, traverse=False)


def _compute(nodes: Sequence[Any]) -> list[Any]:
    import dask

    return list(dask.compute(*nodes))


def _persist(nodes: Sequence[Any]) -> list[Any]:
    import dask

    return list(dask.persist(*nodes))


def _tree(combine: Callable[[Sequence], Any], nodes: list[Any]) -> Any:
    join = _delayed(combine)
    while len(nodes) > 1:
        nodes = [join(nodes[i : i + FAN_IN]) for i in range(0, len(nodes), FAN_IN)]
    return nodes[0]


def dask_design(weighter: Any, X: Any, treatment: Any, sample_weight: Any):
    """Return the design of a dask array: rows stay in blocks, labels come here.

    Raises
    ------
    ValueError
        For chunks of unknown sizes, NaN or infinity (with the column and the row), an
        empty arm, and what treatments and weights are refused for elsewhere.
    """
    estimand = check_estimand(weighter.estimand, weighter._estimands)
    check_same_rows(treatment=treatment, sample_weight=sample_weight)
    n = _checked_rows(X)
    validate_data(weighter, X, skip_check_array=True)
    weighter._categories = None
    arms = check_treatment(
        np.asarray(treatment) if is_dask(treatment) else treatment,
        n,
        control=weighter.control,
        focal=weighter.focal,
    )
    weight = check_sample_weight(sample_weight, n)
    rows = weight > 0
    raw = _load(X, rows)
    if not np.all(rows):
        weight, arms = weight[rows], arms.take(rows)
    scaling = scale_blocks(raw, weight)
    points = raw.map(_points, scaling, weighter.standardize)
    none = np.empty((0, len(scaling.kept)))
    return BlockDesign(
        none, none, scaling, arms, weight, estimand, focal_arm(arms, estimand), rows,
        points,
    )  # fmt: skip


def _checked_rows(X: Any) -> int:
    if X.ndim != 2:
        raise ValueError(
            f"X must be two-dimensional, got a dask array of {X.ndim} dimension(s)."
        )
    if any(np.isnan(size) for sizes in X.chunks for size in sizes):
        raise ValueError(
            "the sizes of X's chunks are unknown: call X.compute_chunk_sizes() first."
        )
    if X.shape[0] < 2 or X.shape[1] < 1:
        raise ValueError(
            f"X has shape {X.shape}: weights need two rows and one column at least."
        )
    return int(X.shape[0])


def _load(X: Any, rows: np.ndarray) -> DaskBlocks:
    """Return the checked float64 rows as blocks of all columns; empty ones dropped."""
    if X.numblocks[1] > 1:
        X = X.rechunk({1: -1})
    sizes, call = X.chunks[0], _delayed(_finite_rows)
    starts = np.cumsum([0, *sizes])
    parts, kept = [], []
    for block, start, mine in zip(X.to_delayed()[:, 0], starts, split(rows, sizes)):
        if mine.any():
            parts.append(call(block, int(start), None if mine.all() else mine))
            kept.append(int(mine.sum()))
    return DaskBlocks(_persist(parts), kept)


def _finite_rows(block: Any, start: int, mine: np.ndarray | None) -> FloatArray:
    block = np.ascontiguousarray(block, dtype=np.float64)
    finite = np.isfinite(block)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise ValueError(
            f"X contains NaN or infinity: column {column}, first in row {start + row} "
            "of its blocks. Drop those rows, or impute them and add an indicator of "
            "what was missing."
        )
    return block if mine is None else block[mine]


def scale_blocks(blocks: DaskBlocks, sample_weight: FloatArray) -> Scaling:
    """Return the scaling of the rows of all blocks: `fit_scaling` by reductions."""
    share = sample_weight / sample_weight.sum()
    each = [(part,) for part in split(share, blocks.sizes)]
    high, low = blocks.fold(_widest, _extremes)
    size = np.maximum(np.abs(high), np.abs(low))
    size[size == 0] = 1.0
    mean = np.zeros(len(size))
    for _ in range(2):  # a second pass takes the rounding of the first mean out
        mean = mean + blocks.total(_moment, size, mean, 1, each=each)[0]
    scale = np.sqrt(blocks.total(_moment, size, mean, 2, each=each)[0])
    return make_scaling(size, mean, scale, high == low)


def _extremes(block: FloatArray) -> tuple[FloatArray, FloatArray]:
    return block.max(axis=0), block.min(axis=0)


def _widest(items: Sequence[tuple]) -> tuple[FloatArray, FloatArray]:
    high, low = zip(*items)
    return np.max(high, axis=0), np.min(low, axis=0)


def _moment(
    block: FloatArray, share: FloatArray, size: FloatArray, mean: FloatArray, power: int
) -> tuple[FloatArray]:
    return (share @ (block / size - mean) ** power,)


def _points(block: FloatArray, scaling: Scaling, standardize: bool) -> FloatArray:
    """Return the covariates in the scale in which discrepancies are measured."""
    return scaling.transform(block) if standardize else block[:, scaling.kept]
