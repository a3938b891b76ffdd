"""What this machine can do at most, and how far from it a phase of work stays."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

DTYPES = (np.float64, np.float32)


def best(call: Callable[[], object], repeats: int = 5) -> float:
    """Return the shortest time of a call, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def peaks(threads: int, n: int = 3000, length: int = 20_000_000) -> dict[str, float]:
    """Return GF/s of GEMM, GB/s of memory and ns of numpy's exp, all threads at once.

    Memory is a = b + c, three arrays of traffic, as STREAM counts it. BLAS takes its
    threads from the environment; the others get a slice of rows a thread.
    """
    found = {}
    with ThreadPoolExecutor(threads) as pool:

        def spread(call: Callable[[slice], object], size: int) -> None:
            edges = np.linspace(0, size, threads + 1).astype(int)
            list(pool.map(call, map(slice, edges[:-1], edges[1:])))

        for dtype in DTYPES:
            name = np.dtype(dtype).name
            A = np.ones((n, n), dtype)
            out = np.empty_like(A)
            seconds = best(lambda A=A, out=out: np.matmul(A, A, out=out))
            found[f"gemm {name}"] = 2 * n**3 / seconds / 1e9
            x = np.linspace(-20, 0, 8192 * threads, dtype=dtype)
            y = np.empty_like(x)

            def exponentials(s: slice, x=x, y=y) -> None:
                for _ in range(400):
                    np.exp(x[s], out=y[s])

            seconds = best(lambda f=exponentials, x=x: spread(f, x.size))
            found[f"exp {name}"] = seconds / (400 * x.size) * 1e9
        b, c, a = (np.ones(length) for _ in range(3))
        seconds = best(lambda: spread(lambda s: np.add(b[s], c[s], out=a[s]), length))
        found["memory"] = 3 * 8 * length / seconds / 1e9
    return found


def floors(phase: dict[str, float], peaks: dict[str, float], name: str) -> dict:
    """Return the seconds that flops, bytes and exps would take at the peaks."""
    dtype = "float32" if name.endswith("float32") else "float64"
    return {
        "GEMM": phase.get("flops", 0) / peaks[f"gemm {dtype}"] / 1e9,
        "memory": phase.get("bytes", 0) / peaks["memory"] / 1e9,
        "exp": phase.get("values", 0) * peaks[f"exp {dtype}"] / 1e9,
    }
