"""Run the performance benchmarks: python benchmarks/engine/run.py [--quick] [--only T].

Every case runs in a process of its own whose thread counts are set before anything is
imported. In it, ours and the peers take turns. One row a measurement is appended to
benchmarks/results/engine.csv, from which render.py writes docs/benchmarks.md. With
--quick, small sizes that finish in two minutes, and both files go to build/.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import Bench, Row
from registry import TOPICS, Case, find_cases
from render import write_page
from results import HOST, OURS
from threadpoolctl import threadpool_info

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "engine.csv"
PAGE = ROOT / "docs" / "benchmarks.md"
NOTES = Path(__file__).resolve().parent / "notes.toml"
BUILD = ROOT / "build"
FIELDS = [
    "run", "topic", "case", "threads", "load", "contender", "version", "rep", "metric",
    "value", "note",
]  # fmt: skip
THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    *("NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"),
    *("TF_NUM_INTEROP_THREADS", "VECLIB_MAXIMUM_THREADS"),
)


def host_facts() -> dict[str, str]:
    """Return what a reader needs to know about the machine and the build."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        cpu = next((x.split(":")[1].strip() for x in lines if "model name" in x), cpu)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("numpy", "scipy", "scikit-learn", "numba")
    )
    blas = ", ".join(
        f"{x['internal_api']} {x['version']} {x.get('architecture', '')}"
        for x in threadpool_info() if x["user_api"] == "blas"
    )  # fmt: skip
    return {
        "machine": f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GB memory",
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "with": versions,
        "BLAS": blas,
        "commit": commit or "unknown",
    }


def run_case(position: int, case: Case, arguments: argparse.Namespace) -> list[Row]:
    """Run a case in a new process; return its rows, also when it dies half way."""
    threads = {name: str(case.threads) for name in THREAD_VARIABLES}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.jsonl"
        out.touch()
        command = [sys.executable, __file__, "--worker", str(position), str(out)]
        command += ["--quick"] if arguments.quick else []
        command += ["--only", *arguments.only] if arguments.only else []
        try:
            done = subprocess.run(
                command, env={**os.environ, **threads, "TF_CPP_MIN_LOG_LEVEL": "3"},
                timeout=case.limit, check=False, capture_output=True, text=True,
            )  # fmt: skip
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            failure = (
                f"exit status {done.returncode}: {last}" if done.returncode else ""
            )
        except subprocess.TimeoutExpired:
            failure = f"stopped after {case.limit} seconds"
        rows = [json.loads(line) for line in out.read_text().splitlines()]
    if failure:
        lost = {"contender": OURS, "version": "", "rep": 0, "metric": "failed"}
        rows.append({**lost, "value": None, "note": failure[:200]})
    return rows


def append(path: Path, rows: list[dict[str, Any]]) -> None:
    """Add rows to the results, below a header if the file is new."""
    path.parent.mkdir(exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if new:
            writer.writeheader()
        for row in rows:
            value = row["value"]
            text = "" if value is None else f"{value:.12g}"
            writer.writerow({**row, "value": text})


def work(position: int, out: str, arguments: argparse.Namespace) -> None:
    """Run one case in this process, writing a line a measurement."""
    case = list(find_cases(arguments.quick, arguments.only))[position]
    with open(out, "a", encoding="utf-8") as file:

        def emit(row: Row) -> None:
            file.write(json.dumps(row) + "\n")
            file.flush()

        case.run(Bench(emit, case.threads, case.alone))


def say(text: str) -> None:
    sys.stderr.write(text + "\n")


def run_all(arguments: argparse.Namespace) -> int:
    """Run every case, append its rows, write the page; return the exit status."""
    csv_path = BUILD / "engine-quick.csv" if arguments.quick else RESULTS
    page = BUILD / "benchmarks-quick.md" if arguments.quick else PAGE
    if arguments.quick:
        csv_path.unlink(missing_ok=True)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
    facts = host_facts()
    shared = {"run": now, "load": f"{os.getloadavg()[0]:.2f}"}
    append(csv_path, [
        {**shared, "topic": HOST, "case": HOST, "threads": os.cpu_count(), "rep": 0,
         "contender": key, "version": "", "metric": "fact", "value": None, "note": text}
        for key, text in facts.items()
    ])  # fmt: skip
    cases = list(find_cases(arguments.quick, arguments.only))
    for position, case in enumerate(cases):
        if case.threads > (os.cpu_count() or 1):
            say(f"{case.topic}: {case.name}: skipped, needs {case.threads} cores")
            continue
        load = f"{os.getloadavg()[0]:.2f}"
        say(f"{position + 1}/{len(cases)} {case.topic}: {case.name} (load {load})")
        same = {"run": now, "topic": case.topic, "case": case.name,
                "threads": case.threads, "load": load}  # fmt: skip
        rows = run_case(position, case, arguments)
        append(csv_path, [{**same, **row} for row in rows])
        for row in rows:
            if row["metric"] in ("failed", "unavailable"):
                say(f"    {row['contender']} {row['metric']}: {row['note']}")
    return write_page(csv_path, page, NOTES, bars=not arguments.quick)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to build/")
    parser.add_argument("--only", nargs="+", choices=TOPICS, metavar="TOPIC")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        position, out = arguments.worker
        work(int(position), out, arguments)
        return 0
    return run_all(arguments)


if __name__ == "__main__":
    sys.exit(main())
