"""Pieces of work over threads that stay for the next call."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numba

from causalweights._numba._gram import ROWS

# Below this many values threads cost more than they save.
SERIAL_VALUES = 200_000
# Threads start when they are needed, so the limit may be generous.
_MOST_THREADS = max(32, os.cpu_count() or 1)


class _Helpers:
    """Threads shared by all callers, started at the first use in each process."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start afresh: a forked process inherits the object, not the threads."""
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_MOST_THREADS, "causalweights")
            return self._pool


_helpers = _Helpers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.forget)


def run_pieces(
    count: int, call: Callable[[int], None], *, values: int, n_threads: int | None
) -> None:
    """Call ``call(p)`` for each of ``count`` pieces of work, in any order.

    The calling thread takes pieces like its helpers do, so that it never waits for
    helpers that other callers keep busy. ``values``, the kernel values or entries
    worked on in all, decide whether helpers are worth it.
    """
    threads = 1
    if values >= SERIAL_VALUES and count > 1:
        threads = min(n_threads or numba.get_num_threads(), count)
    pieces, lock = iter(range(count)), threading.Lock()

    def taken() -> Iterator[int]:
        while True:
            with lock:
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    def work() -> None:
        for piece in taken():
            call(piece)

    pool = _helpers.pool() if threads > 1 else None
    helpers = [pool.submit(work) for _ in range(threads - 1)] if pool else []
    try:
        work()
    finally:
        # One that never started is not needed any more.
        running = [helper for helper in helpers if not helper.cancel()]
        errors = [helper.exception() for helper in running]
    for error in errors:
        if error is not None:
            raise error


def run_rows(
    n: int,
    m: int,
    call: Callable[[int, int], object],
    *,
    width: int,
    n_threads: int | None,
) -> None:
    """Call ``call(start, stop)`` over n rows against m columns, ``width`` at a time."""

    def piece(p: int) -> None:
        call(p * width, min((p + 1) * width, n))

    run_pieces(-(-n // width), piece, values=n * m, n_threads=n_threads)


def piece_rows(n: int) -> int:
    """Return the rows of one piece: whole row blocks, about 32 pieces."""
    return max(ROWS, -(-n // 32 // ROWS) * ROWS)
