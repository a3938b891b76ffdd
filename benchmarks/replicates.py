"""Rows of replicates in a file that grows to as many as are asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import Parallel, delayed

FOLDER = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Replicates:
    """A file of ``benchmarks/results`` and what makes its rows.

    Attributes
    ----------
    name : str
        Of the file.
    keys : list of str
        Columns that name a replicate: the arguments of ``replicate``, in order.
    columns : list of str
        All columns, the keys first.
    replicate : callable
        Returns the rows of one replicate, as records or a frame.
    """

    name: str
    keys: list[str]
    columns: list[str]
    replicate: Callable[..., Any]

    @property
    def path(self) -> Path:
        """Where the rows are kept."""
        return FOLDER / self.name

    def load(self) -> pd.DataFrame:
        """Return all rows that are there."""
        if self.path.exists():
            return pd.read_csv(self.path)
        return pd.DataFrame(columns=self.columns)

    def simulate(
        self, tasks: Iterable[tuple], jobs: int = 1, *options: Any
    ) -> Iterator[pd.DataFrame]:
        """Yield the rows of each task, its keys' values, in any order."""
        found = Parallel(n_jobs=jobs, return_as="generator_unordered")(
            delayed(self.replicate)(*task, *options) for task in tasks
        )
        for rows in found:
            yield pd.DataFrame(rows, columns=self.columns)

    def extend(self, tasks: Iterable[tuple], jobs: int = 1) -> None:
        """Compute the tasks that are not there, and add their rows."""
        done = set(self.load()[self.keys].itertuples(index=False, name=None))
        for rows in self.simulate((task for task in tasks if task not in done), jobs):
            rows.to_csv(
                self.path, mode="a", header=not self.path.exists(), index=False,
                float_format="%.5g", lineterminator="\n",
            )  # fmt: skip
            print(*rows.loc[0, self.keys], file=sys.stderr, flush=True)
