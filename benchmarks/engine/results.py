"""The measurements behind the page: the latest run of every case in the csv file."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from statistics import median

HOST, OURS = "host", "causalweights"
Row = dict[str, str]


class Results:
    """Rows by topic, case and contender, in the order in which they were measured.

    `cases` are those that still exist; rows of others stay in the file, off the page.
    """

    def __init__(self, path: Path, cases: set[tuple[str, str]]) -> None:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        latest: dict[tuple[str, str], str] = {}
        for row in rows:
            latest[row["topic"], row["case"]] = row["run"]
        rows_of = {key: latest[key] for key in cases & latest.keys()}
        self.rows = [
            r for r in rows if rows_of.get((r["topic"], r["case"])) == r["run"]
        ]
        runs = {r["run"] for r in self.rows}
        self.hosts = [r for r in rows if r["topic"] == HOST and r["run"] in runs]

    def select(
        self, topic: str, case: str = "", contender: str = "", metric=""
    ) -> list:
        """Return the rows of a topic that agree with what is given."""
        wanted = {"topic": topic, "case": case, "contender": contender,
                  "metric": metric}  # fmt: skip
        wanted = {key: value for key, value in wanted.items() if value}
        return [r for r in self.rows if all(r[k] == v for k, v in wanted.items())]

    def names(self, topic: str, case: str = "") -> list[str]:
        """Return the cases of a topic, or the contenders of a case, in order."""
        key = "contender" if case else "case"
        return list(dict.fromkeys(r[key] for r in self.select(topic, case)))

    def value(self, topic: str, case: str, metric: str, contender: str = OURS) -> float:
        """Return the last value of a metric; NaN where there is none."""
        rows = self.select(topic, case, contender, metric)
        return float(rows[-1]["value"]) if rows else math.nan

    def trouble(self, topic: str, case: str, contender: str) -> str:
        """Return why a contender has no result; empty where it has."""
        words = {"unavailable": "not installed", "failed": "failed"}
        for metric, word in words.items():
            rows = self.select(topic, case, contender, metric)
            if rows:
                return f"{word}: {rows[-1]['note']}"
        return ""

    def times(self, topic: str, case: str, contender: str = OURS) -> list[float]:
        """Return the seconds of the repetitions, the warm-up only where it is alone."""
        if self.trouble(topic, case, contender):
            return []
        rows = self.select(topic, case, contender, "seconds")
        later = [r for r in rows if r["rep"] != "0"]
        return [float(r["value"]) for r in later or rows]

    def fastest(self, topic: str, case: str, contender: str = OURS) -> float:
        return min(self.times(topic, case, contender), default=math.nan)

    def ratio(self, topic, case, peer: str, ours: str = OURS, statistic=min) -> float:
        """Return how many times faster ours is than a peer."""
        theirs, mine = self.times(topic, case, peer), self.times(topic, case, ours)
        return statistic(theirs) / statistic(mine) if theirs and mine else math.nan


def middle(times: list[float]) -> float:
    return median(times) if times else math.nan
