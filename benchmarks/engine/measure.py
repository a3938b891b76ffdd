"""Time contenders in turn, and record every single measurement as a row."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from registry import Contender, Peer

REPEATS = 5
# Beyond this many seconds a run is repeated only twice, beyond the second not at all.
SLOW, VERY_SLOW = 8.0, 60.0

Row = dict[str, Any]
Judge = Callable[[Any], dict[str, float]]


def peak_megabytes() -> float:
    """Return the highest resident size of this process so far, in MB of 1e6 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def reset_peak() -> None:
    """Forget the high-water mark so far, where the system lets us."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        pass


class Bench:
    """Collects rows; `emit` takes each as soon as it is measured.

    With `alone`, races are not run: the memory of that one contender is measured.
    """

    def __init__(
        self, emit: Callable[[Row], None], threads: int, alone: int | None = None
    ) -> None:
        self._emit = emit
        self.threads = threads
        self.alone = alone

    def record(
        self,
        contender: Contender | Peer,
        metric: str,
        value: float | None = None,
        *,
        rep: int = 0,
        note: str = "",
        label: str = "",
    ) -> None:
        """Store one measurement; a peer's `label` says which of its ways it took."""
        peer = contender.peer if isinstance(contender, Contender) else contender
        self._emit({
            "contender": label or contender.name, "version": peer.version(),
            "rep": rep, "metric": metric, "value": value, "note": note,
        })  # fmt: skip

    def race(
        self,
        contenders: list[Contender],
        judge: Judge | None = None,
        repeats: int = REPEATS,
    ) -> None:
        """Run all contenders in turn, ours/peer/ours/peer, and judge each last output.

        Repetition 0 warms up: it counts only where a run is too slow to be repeated.
        """
        if self.alone is not None:
            self._measure_memory(contenders[self.alone])
            return
        running = [c for c in contenders if self._ready(c)]
        wanted: dict[str, int] = {}
        for rep in range(repeats + 1):
            for c in list(running):
                if rep > wanted.get(c.name, repeats):
                    continue
                try:
                    start = time.perf_counter()
                    output = c.call()
                    seconds = time.perf_counter() - start
                    self.record(c, "seconds", seconds, rep=rep)
                    if len(contenders) == 1:
                        self.record(c, "peak_mb", peak_megabytes(), rep=rep)
                    if rep == 0:
                        few = 0 if seconds > VERY_SLOW else min(2, repeats)
                        wanted[c.name] = few if seconds > SLOW else repeats
                    if judge and rep == wanted[c.name]:
                        for metric, value in judge(output).items():
                            self.record(c, metric, value, rep=rep)
                except Exception as error:  # a contender that fails is a result too
                    text = " ".join(f"{type(error).__name__}: {error}".split())
                    self.record(c, "failed", rep=rep, note=text[:200])
                    running.remove(c)

    def _ready(self, contender: Contender) -> bool:
        reason = contender.peer.available()
        if reason:
            self.record(contender, "unavailable", note=reason)
        return not reason

    def _measure_memory(self, contender: Contender) -> None:
        if self._ready(contender):
            reset_peak()
            before = peak_megabytes()
            output = contender.call()
            self.record(contender, "extra_mb", peak_megabytes() - before)
            del output
