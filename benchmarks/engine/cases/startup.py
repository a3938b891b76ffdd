"""CPU seconds of imports and of the first call, each in a new interpreter."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from functools import partial

from registry import Case, Peer

IMPORTS, FIRST_CALL = "import, CPU seconds", "first fit, CPU seconds"
OURS, SKLEARN = "causalweights.IPMBalancer", "sklearn.base"
COLD, CACHED, AT_IMPORT = "empty cache", "cached", "compilations at import"

FIRST = """
import time
import numpy as np
from causalweights import IPMBalancer
rng = np.random.default_rng(0)
X, a = rng.normal(size=(300, 5)), np.repeat([0, 1], 150)
start = time.process_time()
for name in ("energy", "gaussian"):
    IPMBalancer(estimand="att", discriminator=name).fit(X, a)
print(time.process_time() - start)
"""
COUNT = """
from numba.core import event
with event.install_recorder("numba:compile") as recorder:
    from causalweights import IPMBalancer
print(len(recorder.buffer))
"""


def python(code: str, **environment: str) -> tuple[float, str]:
    """Run code in a new interpreter; return its CPU seconds and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return cpu, done.stdout.strip()


def imports(bench, repeats: int) -> None:
    from peers import cvxpy, ours, pot, skada, sklearn

    jobs = {
        "python": (Peer("python", "pip", ()), "pass"),
        SKLEARN: (sklearn.PEER, "import sklearn.base"),
        OURS: (ours.PEER, "from causalweights import IPMBalancer"),
        "causalweights alone": (ours.PEER, "import causalweights"),
        "cvxpy": (cvxpy.WITH_OSQP, "import cvxpy"),
        "skada": (skada.PEER, "import skada"),
        "POT": (pot.PEER, "import ot"),  # codespell:ignore ot
    }
    missing = {label: peer.available() for label, (peer, _) in jobs.items()}
    for rep in range(repeats + 1):
        for label, (peer, code) in jobs.items():
            if missing[label]:
                if rep == 0:
                    bench.record(peer, "unavailable", note=missing[label], label=label)
                continue
            bench.record(peer, "seconds", python(code)[0], rep=rep, label=label)


def first_call(bench, repeats: int) -> None:
    from peers import ours

    _, count = python(COUNT)
    bench.record(ours.PEER, "count", float(count), label=AT_IMPORT)
    for rep in range(1, repeats + 1):
        with tempfile.TemporaryDirectory() as folder:
            for label in (COLD, CACHED):
                _, printed = python(FIRST, NUMBA_CACHE_DIR=folder)
                bench.record(ours.PEER, "seconds", float(printed), rep=rep, label=label)


def cases(quick: bool):
    yield Case("startup", IMPORTS, partial(imports, repeats=1 if quick else 5))
    yield Case("startup", FIRST_CALL, partial(first_call, repeats=1 if quick else 3))
