"""Run a Monte-Carlo design, a replicate at a time, and print what it shows.

Usage::

    python benchmarks/simulate.py inference --reps 300 --seed 1
    python benchmarks/simulate.py att_z --reps 300 --seed 1 --n 200 --jobs 2

One row a replicate is appended to ``benchmarks/results/DESIGN_N.csv``; rows that are
there already are not computed again, so that a long run can stop and go on. A row has
``seed``, ``rep``, ``controls`` (rows of the control arm), and for each estimator (named
estimand/weights/outcome) its estimate and, where it has one, its standard error; the
control arm's effective sample size is there once for all outcomes that share the
weights. Replicate ``rep`` is drawn from ``numpy.random.default_rng([seed, rep])``, so
that any replicate can be run alone. ``benchmarks/report.py`` writes the page.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from conformal_designs import CONFORMAL_DESIGNS, NO_INFERENCE
from designs import DESIGNS as WEIGHTING_DESIGNS
from designs import NO_STANDARD_ERROR
from effect_designs import EFFECT_DESIGNS
from effect_designs import NO_EFFECTIVE_SIZE as EFFECT_FORMS
from joblib import Parallel, delayed
from moment_designs import MOMENT_DESIGNS
from moment_designs import NO_EFFECTIVE_SIZE as MOMENT_FORMS
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from ustatistic_designs import USTATISTIC_DESIGNS

DESIGNS = {
    **WEIGHTING_DESIGNS,
    **USTATISTIC_DESIGNS,
    **EFFECT_DESIGNS,
    **CONFORMAL_DESIGNS,
    **MOMENT_DESIGNS,
}
NO_EFFECTIVE_SIZE = EFFECT_FORMS | MOMENT_FORMS
RESULTS = Path(__file__).resolve().parent / "results"
KEYS = ["seed", "rep", "controls"]
DIGITS = {
    "estimate": 5,
    "se": 4,
    "ess": 4,
}  # significant; the error is far below 1e-3 sd
Z95 = norm.ppf(0.975)
CHUNK = 10  # replicates a job between two writes

Row = dict[str, float]


def replicate(
    design: str, n: int, seed: int, rep: int, estimators: Iterable[str] | None = None
) -> Row:
    """Draw one replicate and run the estimators (None: all of the design)."""
    setting = DESIGNS[design]
    data = setting.draw(n, np.random.default_rng([seed, rep]))
    row: Row = {"seed": seed, "rep": rep, "controls": int(np.sum(data.treatment == 0))}
    for name in estimators or setting.estimators:
        with warnings.catch_warnings():
            # Poor overlap is what some designs are about; an unsolved problem is not.
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("error", ConvergenceWarning)
            found = setting.estimators[name](data)
        row.update({c: float(getattr(found, f)) for f, c in fields(name).items()})
    return row


def fields(name: str) -> dict[str, str]:
    """Return the column of each field that an estimator reports."""
    weights, outcome = name.rsplit("/", 1)
    found = {
        "estimate": f"{name}:estimate",
        "se": f"{name}:se",
        "ess": f"{weights}:ess",
    }
    if outcome in NO_STANDARD_ERROR | NO_INFERENCE:
        del found["se"]
    if outcome in NO_EFFECTIVE_SIZE | NO_INFERENCE:
        del found["ess"]
    return found


def simulate(
    design: str,
    n: int,
    seed: int,
    reps: Iterable[int],
    *,
    estimators: Iterable[str] | None = None,
    jobs: int = 1,
) -> Iterator[list[Row]]:
    """Yield the rows of the replicates, a chunk at a time, in order."""
    reps, names = list(reps), None if estimators is None else list(estimators)
    for start in range(0, len(reps), CHUNK * jobs):
        yield Parallel(n_jobs=jobs)(
            delayed(replicate)(design, n, seed, rep, names)
            for rep in reps[start : start + CHUNK * jobs]
        )


def run(
    design: str,
    reps: int,
    seed: int,
    *,
    n: int | None = None,
    estimators: Iterable[str] | None = None,
    jobs: int = 1,
) -> pd.DataFrame:
    """Simulate in memory; return what `tidy` returns."""
    n = n or DESIGNS[design].n
    chunks = simulate(design, n, seed, range(reps), estimators=estimators, jobs=jobs)
    rows = [row for chunk in chunks for row in chunk]
    return tidy(pd.DataFrame(rows), design)


# ---- files -------------------------------------------------------------------------


def columns(design: str) -> list[str]:
    """Return the header of a design's file."""
    found = [c for name in DESIGNS[design].estimators for c in fields(name).values()]
    return KEYS + list(dict.fromkeys(found))


def load(path: Path, design: str) -> pd.DataFrame:
    """Return the rows of a file; cut off a last line that was not written whole."""
    header = columns(design)
    if not path.exists():
        return pd.DataFrame(columns=header)
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    frame = pd.read_csv(path)
    if list(frame.columns) != header:
        raise ValueError(
            f"{path.name} holds other estimators than the design has now: move it away "
            "and run the design again."
        )
    return frame


def append(path: Path, design: str, rows: list[Row]) -> None:
    """Append rounded rows, and the header to a new file."""
    new = not path.exists() or path.stat().st_size == 0
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(columns(design))
        for row in rows:
            writer.writerow(
                f"{row[name]:.{DIGITS.get(name.split(':')[-1], 9)}g}"
                for name in columns(design)
            )


def extend(
    design: str, reps: int, seed: int, *, n: int | None = None, jobs: int = 1
) -> pd.DataFrame:
    """Bring a design's file to ``reps`` replicates of ``seed``; return their `tidy`."""
    n = n or DESIGNS[design].n
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{design}_{n}.csv"
    frame = load(path, design)
    have = set(frame.loc[frame["seed"] == seed, "rep"])
    missing = [rep for rep in range(reps) if rep not in have]
    done = len(have)
    for rows in simulate(design, n, seed, missing, jobs=jobs):
        append(path, design, rows)
        done += len(rows)
        print(f"\r{path.name}: {done} replicates", end="", file=sys.stderr, flush=True)
    if missing:
        print(file=sys.stderr)
    frame = load(path, design)
    return tidy(frame[(frame["seed"] == seed) & (frame["rep"] < reps)], design)


# ---- from rows to figures ----------------------------------------------------------


def tidy(frame: pd.DataFrame, design: str) -> pd.DataFrame:
    """Return one row a replicate and estimator, with error, cover and ESS share."""
    parts = []
    names = [c.removesuffix(":estimate") for c in frame if c.endswith(":estimate")]
    for name in names:
        part = frame[KEYS].copy()
        part.insert(2, "estimator", name)
        part[["se", "ess"]] = math.nan
        for field, column in fields(name).items():
            part[field] = frame[column].astype(float)
        truth = DESIGNS[design].truth[name.split("/")[0]]
        part["error"] = part["estimate"] - truth
        covered = (part["error"].abs() <= Z95 * part["se"]).astype(float)
        part["covered"] = covered.where(part["se"].notna())
        part["ess_share"] = part["ess"] / part["controls"]
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def summarise(long: pd.DataFrame) -> pd.DataFrame:
    """Return means with Monte-Carlo standard errors, one row an estimator.

    The error of the RMSE and of mean SE / MC SD is by the delta method from the
    moments of the replicates; that of the coverage is binomial with two successes and
    two failures added (Agresti and Coull), so that it is not zero at full coverage.
    """
    return pd.DataFrame(
        {name: _figures(part) for name, part in long.groupby("estimator", sort=False)}
    ).T


@np.errstate(invalid="ignore")  # figures that do not vary have no error of their own
def _figures(part: pd.DataFrame) -> dict[str, float]:
    error = part["error"].to_numpy()
    reps = len(error)
    root = math.sqrt(reps)
    bias, rmse = error.mean(), math.sqrt(np.mean(error**2))
    centred = error - bias
    sd = math.sqrt(np.sum(centred**2) / (reps - 1))
    se = part["se"].to_numpy()
    # influence of a replicate on log(mean SE / MC SD)
    log_ratio = se / se.mean() - 0.5 * centred**2 / sd**2
    share = part["covered"].mean()
    padded = (share * reps + 2) / (reps + 4)
    return {
        "reps": reps,
        "bias": bias,
        "bias_se": sd / root,
        "rmse": rmse,
        "rmse_se": np.std(error**2) / (2 * rmse * root),
        "ess": part["ess"].mean(),
        "ess_se": part["ess"].std() / root,
        "ess_share": part["ess_share"].mean(),
        "mc_sd": sd,
        "mean_se": se.mean(),
        "se_ratio": se.mean() / sd,
        "se_ratio_se": se.mean() / sd * np.std(log_ratio) / root,
        "coverage": share,
        "coverage_se": math.sqrt(padded * (1 - padded) / (reps + 4))
        if not math.isnan(share)
        else math.nan,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("design", choices=sorted(DESIGNS))
    parser.add_argument("--reps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--n", type=int, help="rows; the design's own by default")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args(arguments)
    long = extend(
        options.design, options.reps, options.seed, n=options.n, jobs=options.jobs
    )
    table = summarise(long).dropna(axis=1, how="all")
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()
