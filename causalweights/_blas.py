"""Hold BLAS to one thread where more would oversubscribe the cores or change bits."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


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
