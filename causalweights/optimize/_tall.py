"""Products of tall factors (n, r) with n large, over fixed pieces of rows.

Each piece is one BLAS call on one thread, pieces run in parallel and their results are
added in order: the bits do not depend on the number of threads, and BLAS' own threads,
which spin, never meet the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from causalweights._blas import single_blas_thread
from causalweights.optimize._certificate import FloatArray, IntArray

# Rows of a piece: its copy stays small beside the factor, its product large.
PIECE = 8192


def _over_pieces(n: int, work: Callable[[slice], Any]) -> Iterator[Any]:
    slices = [slice(start, start + PIECE) for start in range(0, n, PIECE)]
    threads = min(numba.get_num_threads(), len(slices))
    with single_blas_thread:
        if threads < 2:
            yield from map(work, slices)
            return
        with ThreadPoolExecutor(threads) as pool:
            yield from pool.map(work, slices)


def tall_inner(L: NDArray[Any], values: FloatArray) -> FloatArray:
    """Return L'values, values (n,) or (n, k), added in double precision."""
    total = np.zeros((L.shape[1], *values.shape[1:]))

    def work(rows: slice) -> NDArray[Any]:
        return L[rows].T @ values[rows].astype(L.dtype)

    for part in _over_pieces(len(L), work):
        total += part
    return total


def tall_outer(L: NDArray[Any], t: FloatArray) -> FloatArray:
    """Return L t, t (r,) or (r, k)."""
    out = np.empty((len(L), *t.shape[1:]))
    t = t.astype(L.dtype)

    def work(rows: slice) -> None:
        out[rows] = L[rows] @ t

    for _ in _over_pieces(len(L), work):
        pass
    return out


def tall_gram(L: NDArray[Any], rows: IntArray, weight: FloatArray) -> FloatArray:
    """Return L_S' diag(weight_S) L_S over the rows S, weight (n,) non-negative."""
    total = np.zeros((L.shape[1], L.shape[1]))

    def work(piece: slice) -> NDArray[Any]:
        chosen = rows[piece]
        part = L[chosen]
        part *= np.sqrt(weight[chosen])[:, None].astype(L.dtype)
        return part.T @ part

    for part in _over_pieces(rows.size, work):
        total += part
    return total
