"""Blocks of rows in this process: the loop that a cluster replaces by tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from causalweights._typing import FloatArray, IntArray
from causalweights.balancing._weighter import Design

# Rows of a block in this process: a block of features then fits the caches' reach.
BLOCK_ROWS = 8192


class Blocks(Protocol):
    """Data cut into blocks of rows, wherever these lie.

    Functions are pure and live at the top of a module. They receive a block, then what
    `each` holds for it (a tuple), then the `small` arguments, the same for every block.
    """

    @property
    def sizes(self) -> list[int]:
        """Rows of each block."""
        ...

    def map(
        self,
        function: Callable[..., Any],
        *small: Any,
        each: Sequence[tuple] | None = None,
    ) -> Blocks:
        """Return the blocks ``function(block, *each, *small)``, kept where they are."""
        ...

    def total(
        self,
        function: Callable[..., tuple],
        *small: Any,
        each: Sequence[tuple] | None = None,
    ) -> tuple:
        """Return the sums over blocks of the tuples of a function, elementwise."""
        ...

    def gather(
        self,
        function: Callable[..., Any],
        *small: Any,
        each: Sequence[tuple] | None = None,
    ) -> list[Any]:
        """Return ``function(block, *each, *small)`` for every block, here."""
        ...

    def cross(
        self, function: Callable[..., Any], *small: Any, each: Sequence[tuple]
    ) -> list[Any]:
        """Return ``sum_j function(block_i, block_j, i == j, *each_j, *small)``."""
        ...


@dataclass(frozen=True, slots=True)
class BlockDesign(Design):
    """A design whose rows lie in blocks: X and Z hold none, `points` hold Z's."""

    points: Blocks


def add_all(items: Sequence[tuple]) -> tuple:
    """Return the elementwise sums of tuples of arrays and numbers, in order."""
    total = list(items[0])
    for item in items[1:]:
        total = [a + b for a, b in zip(total, item)]
    return tuple(total)


def sum_all(items: Sequence[Any]) -> Any:
    """Return the sum of arrays, in order."""
    return add_all([(item,) for item in items])[0]


def split(array: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """Return an array of all rows as its parts, one a block."""
    return np.split(array, np.cumsum(sizes)[:-1])


def take_rows(blocks: Blocks, rows: IntArray) -> FloatArray:
    """Return the given rows of blocks that are arrays, in the order given."""
    starts = np.cumsum([0, *blocks.sizes])
    order = np.argsort(rows, kind="stable")
    ends = np.searchsorted(rows[order], starts)
    each = [(rows[order][a:b] - start,) for a, b, start in zip(ends, ends[1:], starts)]
    parts = blocks.gather(_take, each=each)
    out = np.concatenate(parts)
    out[order] = out.copy()
    return out


def _take(block: np.ndarray, rows: IntArray) -> np.ndarray:
    return block[rows]


class LocalBlocks:
    """Blocks in this process; see `Blocks`."""

    def __init__(self, parts: Sequence[Any], sizes: Sequence[int]) -> None:
        self.parts, self.sizes = list(parts), list(sizes)

    @classmethod
    def of_rows(cls, X: FloatArray) -> LocalBlocks:
        """Return an array cut into blocks of BLOCK_ROWS rows, without a copy."""
        parts = [X[i : i + BLOCK_ROWS] for i in range(0, len(X), BLOCK_ROWS)]
        return cls(parts, [len(part) for part in parts])

    def map(self, function, *small, each=None):
        parts = self._apply(function, small, each)
        return LocalBlocks(list(parts), self.sizes)

    def total(self, function, *small, each=None):
        sums = None
        for item in self._apply(function, small, each):
            sums = item if sums is None else add_all([sums, item])
        return sums

    def gather(self, function, *small, each=None):
        return list(self._apply(function, small, each))

    def cross(self, function, *small, each):
        pairs = list(enumerate(zip(self.parts, each)))
        return [
            sum_all([function(p, q, i == j, *own, *small) for j, (q, own) in pairs])
            for i, (p, _) in pairs
        ]

    def _apply(self, function, small, each):
        own = [()] * len(self.parts) if each is None else each
        return (function(p, *args, *small) for p, args in zip(self.parts, own))
