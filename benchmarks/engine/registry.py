"""What a case and a contender are, and where the cases of each topic are found."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

# In the order of the page; each is a file of cases/ with a function cases(quick).
TOPICS = (
    *("gram", "qp", "end_to_end", "ustatistics", "effects", "shift"),
    *("large", "memory", "startup"),
)


@dataclass(frozen=True)
class Peer:
    """A package that runs beside ours; `modules` must all import.

    Of two packages together, `distribution` holds both names, separated by a blank.
    """

    name: str
    distribution: str
    modules: tuple[str, ...]

    def version(self) -> str:
        """Return the installed version, empty where it is not installed."""
        try:
            found = map(importlib.metadata.version, self.distribution.split())
            return " + ".join(found)
        except importlib.metadata.PackageNotFoundError:
            return ""

    def available(self) -> str:
        """Return why the package cannot be used; empty where it can."""
        for module in self.modules:
            try:
                importlib.import_module(module)
            except Exception as error:
                return f"{type(error).__name__}: {error}".splitlines()[0]
        return ""


@dataclass(frozen=True)
class Contender:
    """One way to do a case's job; `call` takes nothing and returns the output."""

    peer: Peer
    call: Callable[[], Any]
    label: str = ""

    @property
    def name(self) -> str:
        return self.label or self.peer.name


@dataclass(frozen=True)
class Case:
    """A measurement in a process of its own.

    `run` takes a `measure.Bench`. The thread counts are set before anything is
    imported; after `limit` seconds the process is stopped and the page says so. With
    `alone`, only the memory of that one contender of the race is measured.
    """

    topic: str
    name: str
    run: Callable[[Any], None]
    threads: int = 1
    limit: int = 1800
    alone: int | None = None


def find_cases(quick: bool, only: list[str] | None = None) -> Iterator[Case]:
    """Yield the cases of the topics, small ones only where quick."""
    for topic in only or TOPICS:
        yield from importlib.import_module(f"cases.{topic}").cases(quick)
