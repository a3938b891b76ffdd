"""Products of tall factors (n, r) with n large, over fixed pieces of rows.

Each piece is one BLAS call on one thread, pieces run in parallel and their results are
added in order: the bits do not depend on the number of threads, and BLAS' own threads,
which spin, never meet the caller's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causalweights._blas import single_blas_thread
from causalweights._threads import run_pieces
from causalweights.optimize._certificate import FloatArray, IntArray

# Rows of a piece: its copy stays small beside the factor, its product large.
PIECE = 8192


def _over_pieces(n: int, r: int, work: Callable[[slice], Any]) -> list[Any]:
    """Return what `work` makes of each piece of n rows, in order."""
    count = -(-n // PIECE)
    results: list[Any] = [None] * count

    def call(p: int) -> None:
        results[p] = work(slice(p * PIECE, min((p + 1) * PIECE, n)))

    with single_blas_thread:
        run_pieces(count, call, values=n * r, n_threads=None)
    return results


def tall_inner(L: NDArray[Any], values: FloatArray) -> FloatArray:
    """Return L'values, values (n,) or (n, k), added in double precision."""
    total = np.zeros((L.shape[1], *values.shape[1:]))

    def work(rows: slice) -> NDArray[Any]:
        return L[rows].T @ values[rows].astype(L.dtype)

    for part in _over_pieces(len(L), L.shape[1], work):
        total += part
    return total


def tall_outer(L: NDArray[Any], t: FloatArray) -> FloatArray:
    """Return L t, t (r,) or (r, k)."""
    out = np.empty((len(L), *t.shape[1:]))
    t = t.astype(L.dtype)

    def work(rows: slice) -> None:
        out[rows] = L[rows] @ t

    _over_pieces(len(L), L.shape[1], work)
    return out


def tall_gram(L: NDArray[Any], rows: IntArray, weight: FloatArray) -> FloatArray:
    """Return L_S' diag(weight_S) L_S over the rows S, weight (n,) non-negative."""
    total = np.zeros((L.shape[1], L.shape[1]))

    def work(piece: slice) -> NDArray[Any]:
        chosen = rows[piece]
        part = L[chosen]
        part *= np.sqrt(weight[chosen])[:, None].astype(L.dtype)
        return part.T @ part

    for part in _over_pieces(rows.size, L.shape[1], work):
        total += part
    return total
