"""Which columns a pivoted Cholesky takes next: candidates, and who of them is kept.

A block of candidates is drawn from the residual diagonal; their residual block, small
and dense, tells which of them the others make redundant. Only the ones kept are
evaluated against all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from causalweights._typing import FloatArray, IntArray

# Within a block, a greedy pivot must leave at least this share of the largest
# residual outside; one half of the best choice keeps the blocks full.
GREEDY_SHARE = 0.5


def largest(residual: FloatArray, size: int) -> IntArray:
    """Return the indices of the ``size`` largest residuals, the largest first.

    Equal ones come in the order of their indices, the first is always the lowest.
    """
    if size == 1:
        return np.array([int(np.argmax(residual))])
    n = len(residual)
    size = min(size, n)
    chosen = np.sort(np.argpartition(residual, n - size)[n - size :])
    chosen = chosen[np.argsort(-residual[chosen], kind="stable")]
    first = int(np.argmax(residual))
    return np.concatenate(([first], chosen[chosen != first][: size - 1]))


def drawn(
    residual: FloatArray, floor: float, size: int, rng: np.random.RandomState
) -> IntArray:
    """Return ``size`` indices, with repeats, drawn in proportion to the residual.

    Residuals at or below the floor are noise: they have no chance.
    """
    chance = np.cumsum(np.where(residual > floor, residual, 0.0))
    chosen = np.searchsorted(chance, rng.uniform(size=size) * chance[-1], side="right")
    # A draw that rounds up to the whole sum belongs to the last index with a chance.
    last = int(np.searchsorted(chance, chance[-1]))
    return np.minimum(chosen, last)


def keep_greedy(
    block: FloatArray, floor: float, outside: float, limit: int
) -> tuple[IntArray, FloatArray]:
    """Return the candidates kept in the order of their residuals, and their core.

    Parameters
    ----------
    block : ndarray of shape (b, b)
        Residual matrix ``(K - L L')`` of the candidates, the largest residual first.
    floor : float
        A residual at or below it is rounding noise.
    outside : float
        Largest residual among all other rows.
    limit : int
        Candidates to keep at most.

    Returns
    -------
    kept : ndarray of shape (k,)
        Positions in the block, in the order of elimination.
    core : ndarray of shape (k, k)
        Cholesky factor of ``block[kept][:, kept]``, lower triangular.
    """
    bar = max(floor, GREEDY_SHARE * outside)

    def order(left: FloatArray) -> Iterator[int]:
        p = 0
        while left[p] > (bar if p else floor):
            yield p
            p = int(np.argmax(left))

    return _eliminate(block, order, floor, limit)


def keep_at_random(
    block: FloatArray,
    floor: float,
    proposed: FloatArray,
    limit: int,
    rng: np.random.RandomState,
) -> tuple[IntArray, FloatArray]:
    """Return the draws kept by rejection, in their order, and their core.

    A draw is kept with probability (its residual after the draws kept before it) /
    (its residual when it was drawn): the pivots then follow the law of one draw at a
    time (Epperly, Tropp & Webber, 2024).

    Parameters
    ----------
    block : ndarray of shape (b, b)
        Residual matrix ``(K - L L')`` of the draws.
    floor, limit
        As in `keep_greedy`.
    proposed : ndarray of shape (b,)
        The residuals that the draws were made by.
    rng : RandomState
    """
    bars = np.maximum(rng.uniform(size=len(block)) * proposed, floor)

    def order(left: FloatArray) -> Iterator[int]:
        yield from (p for p in range(len(left)) if left[p] > bars[p])

    return _eliminate(block, order, floor, limit)


def keep_in_order(
    block: FloatArray, floor: float, limit: int
) -> tuple[IntArray, FloatArray]:
    """Return the candidates that those before them leave a residual of, and the core.

    Parameters and results as in `keep_greedy`, in the order given.
    """

    def order(left: FloatArray) -> Iterator[int]:
        yield from (p for p in range(len(left)) if left[p] > floor)

    return _eliminate(block, order, floor, limit)


def _eliminate(
    block: FloatArray,
    order: Callable[[FloatArray], Iterator[int]],
    floor: float,
    limit: int,
) -> tuple[IntArray, FloatArray]:
    """Run Cholesky's steps over the positions that ``order`` names.

    ``order`` sees the running residuals, which change between its steps.
    """
    left = np.diagonal(block).copy()
    columns = np.zeros((len(block), min(limit, len(block))))
    kept: list[int] = []
    for p in order(left):
        k = len(kept)
        if k == columns.shape[1]:
            break
        column = block[:, p] - columns[:, :k] @ columns[p, :k]
        left[p] = 0.0
        # The pivot from the column itself, not from the running difference.
        if column[p] <= floor:
            continue
        column /= np.sqrt(column[p])
        columns[:, k] = column
        left -= column * column
        left[kept] = left[p] = 0.0
        kept.append(p)
    chosen = np.array(kept, dtype=np.intp)
    return chosen, np.tril(columns[chosen, : len(kept)])
