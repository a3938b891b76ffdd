"""Where the time of a solve goes: timers around the engine's floors, from outside.

`Probes` replaces the Gram operator's methods, the LAPACK calls of every loaded module
of the package and a few functions by timed ones, and puts them back afterwards. Time is
exclusive: a block asked for while a low-rank factor is made is charged to the block.
Calls from worker threads belong to the phase that waits for them. What is left over is
numpy's products and bookkeeping.
"""

from __future__ import annotations

import importlib
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.linalg

# Everything inside it is charged to the certificate.
CERTIFY = ("causalweights.optimize._simplex_qp", "_certify")
GRAM = {"matvec": "products K @ v", "block": "blocks of K", "dense": "blocks of K"}
LAPACK = {"cho_factor": "factorisations", "cholesky": "factorisations",
          "cho_solve": "solves with a factor",
          "solve_triangular": "solves with a factor"}  # fmt: skip
# Their own work, beside blocks and LAPACK, is matrix products that are not counted.
FUNCTIONS = {
    ("causalweights.kernels", "pivoted_cholesky"): "low-rank factor",
    ("causalweights.optimize._low_rank_model", "minimize_model"): "low-rank model",
}
Phase = dict[str, float]


def gram_work(method: str, d: int, out: Any, args: tuple, kwargs: dict) -> Phase:
    """Return kernel values, flops and bytes written of a call on d columns."""
    operator, rest = args[0], args[1:]
    size, width = out.size, 0
    if method == "matvec":
        v = np.asarray(rest[0] if rest else kwargs["v"])
        size, width = out.shape[0] * len(v), v.size // max(len(v), 1)
    rows = rest[0] if rest else kwargs.get("rows")
    columns = rest[1] if len(rest) > 1 else kwargs.get("columns")
    half = method == "block" and rows is not None and columns is rows
    half = half or (method == "dense" and out.shape[0] == out.shape[1])
    values = size / (2 if half else 1)
    written = out.nbytes if method != "matvec" else 0
    return {"values": values, "flops": values * (2 * d + 3 + 2 * width),
            "bytes": written, "itemsize": operator.dtype.itemsize}  # fmt: skip


def lapack_work(name: str, out: Any, args: tuple, kwargs: dict) -> Phase:
    """Return the flops and bytes of a factorisation or of solves with a factor."""
    matrix = args[0][0] if isinstance(args[0], tuple) else np.asarray(args[0])
    n = matrix.shape[0]
    if name in ("cho_factor", "cholesky"):
        flops, passes = n**3 / 3, 2.0
    else:
        sweeps = 2 if name == "cho_solve" else 1
        flops, passes = float(sweeps * n * np.size(args[1])), sweeps / 2
    return {"flops": flops, "bytes": passes * n * n * matrix.itemsize,
            "itemsize": matrix.itemsize}  # fmt: skip


class Probes:
    """Context in which calls are counted; `phases` has the sums by phase."""

    def __init__(self, d: int) -> None:
        self._d = d
        self.phases: dict[str, Phase] = defaultdict(lambda: defaultdict(float))
        self._undo: list[tuple[Any, str, Any]] = []
        self._inner: list[float] = []
        self._certifying = 0

    def __enter__(self) -> Probes:
        from causalweights.kernels import GramOperator

        for method, phase in GRAM.items():
            work = partial(gram_work, method, self._d)
            timed = self._timed(getattr(GramOperator, method), phase, work)
            self._replace(GramOperator, method, timed)
        for name, phase in LAPACK.items():
            self._everywhere(
                getattr(scipy.linalg, name), phase, partial(lapack_work, name)
            )
        for (module, name), phase in FUNCTIONS.items():
            function = getattr(importlib.import_module(module), name)
            self._everywhere(function, phase, lambda out, args, kwargs: {})
        module = importlib.import_module(CERTIFY[0])
        certify = getattr(module, CERTIFY[1])

        def counted(*args: Any, **kwargs: Any) -> Any:
            self._certifying += 1
            try:
                return certify(*args, **kwargs)
            finally:
                self._certifying -= 1

        self._replace(module, CERTIFY[1], counted)
        return self

    def __exit__(self, *exception: object) -> None:
        for owner, name, original in reversed(self._undo):
            setattr(owner, name, original)

    def _replace(self, owner: Any, name: str, new: Callable) -> None:
        self._undo.append((owner, name, getattr(owner, name)))
        setattr(owner, name, new)

    def _everywhere(self, function: Callable, phase: str, work: Callable) -> None:
        """Replace a function in every module of the package that imported it."""
        timed = self._timed(function, phase, work)
        for key, module in list(sys.modules.items()):
            if key.startswith("causalweights."):
                for name, value in list(vars(module).items()):
                    if value is function:
                        self._replace(module, name, timed)

    def _timed(self, function: Callable, phase: str, work: Callable) -> Callable:
        def timed(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                return function(*args, **kwargs)
            self._inner.append(0.0)
            start = time.perf_counter()
            out = function(*args, **kwargs)
            seconds = time.perf_counter() - start
            exclusive = seconds - self._inner.pop()
            if self._inner:
                self._inner[-1] += seconds
            done = work(out, args, kwargs)
            name = "certificate" if self._certifying else phase
            name += ", float32" if done.pop("itemsize", 8) == 4 else ""
            for key, value in {"calls": 1, "seconds": exclusive, **done}.items():
                self.phases[name][key] += value
            return out

        return timed
