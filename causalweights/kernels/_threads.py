"""Blocks of rows over threads, with BLAS held to one thread meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numba

from causalweights._blas import single_blas_thread
from causalweights._numba._gram import ROWS

# Below this many kernel values a thread pool costs more than it saves.
SERIAL_VALUES = 200_000


def run_rows(
    n: int,
    m: int,
    call: Callable[[int, int], None],
    *,
    width: int,
    n_threads: int | None,
    uses_blas: bool,
) -> None:
    """Call ``call(start, stop)`` over n rows, in pieces of ``width`` rows a thread."""
    serial = n * m < SERIAL_VALUES
    threads = 1 if serial else n_threads or numba.get_num_threads()
    # Several BLAS threads would oversubscribe the cores, and split sums otherwise.
    with single_blas_thread if uses_blas else nullcontext():
        if threads < 2:
            call(0, n)
            return
        edges = [*range(0, n, width), n]
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(call, edges[:-1], edges[1:]))


def piece(n: int) -> int:
    """Return the rows of one thread's piece: whole row blocks, about 16 pieces."""
    return max(ROWS, -(-n // 16 // ROWS) * ROWS)
