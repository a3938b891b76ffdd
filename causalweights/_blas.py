"""Hold BLAS, or OpenMP, to one thread where more would oversubscribe the cores."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


@cache
def _pools(api: str) -> ThreadpoolController:
    return ThreadpoolController().select(user_api=api)


class _SingleThread:
    """Hold a pool to one thread from the first call's start to the last one's end.

    threadpoolctl's own context restores what it found: of two that overlap in two
    threads, the later one finds, and leaves behind, the limit of the earlier.
    """

    def __init__(self, api: str) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._depth = 0
        self._limiter: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._depth == 0:
                self._limiter = _pools(self._api).limit(limits=1)
            self._depth += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self._limiter.restore_original_limits()


single_blas_thread = _SingleThread("blas")
single_openmp_thread = _SingleThread("openmp")
