"""The scaling vignette: its quick mode runs, its results keep their promise."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]


def test_quick_mode_fits_and_leaves_no_files(tmp_path):
    before = (ROOT / "vignettes" / "results" / "scaling.csv").read_bytes()
    done = subprocess.run(
        [sys.executable, str(ROOT / "vignettes" / "scaling.py"), "--quick"],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split() for line in done.stdout.splitlines()[2:]]
    assert [int(row[0]) for row in rows] == [500, 1000, 2000]
    assert all(row[-1] == "active_set" for row in rows)
    assert not list(tmp_path.iterdir())
    assert (ROOT / "vignettes" / "results" / "scaling.csv").read_bytes() == before


def test_committed_results_reach_a_hundred_thousand_rows():
    table = pd.read_csv(ROOT / "vignettes" / "results" / "scaling.csv")
    assert table["n"].max() == 100_000
    assert (table["relative gap"] <= 1e-3).all()
    assert (table["peak MiB"] < 2000).all()
    assert table["energy after"].is_monotonic_decreasing
