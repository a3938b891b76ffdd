"""Blocks of rows over threads, with BLAS held to one thread meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cache
from typing import Any

import numba
from threadpoolctl import ThreadpoolController

from causalweights._numba._gram import ROWS

# Below this many kernel values a thread pool costs more than it saves.
SERIAL_VALUES = 200_000


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


class _SingleBlasThread:
    """Hold BLAS to one thread from the first call's start to the last one's end.

    threadpoolctl's own context restores what it found: of two that overlap in two
    threads, the later one finds, and leaves behind, the limit of the earlier.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._limiter: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._depth == 0:
                self._limiter = _blas().limit(limits=1)
            self._depth += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self._limiter.restore_original_limits()


single_blas_thread = _SingleBlasThread()


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
