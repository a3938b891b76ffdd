"""LaLonde's vignette: its rows are those of direct fits, its results its text's."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from causalweights import EntropyBalancer, IPMBalancer, WeightedEffect, datasets
from causalweights.kernels import Gaussian

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "vignettes" / "results" / "lalonde.csv"
SAMPLES = {"CPS-1": datasets.load_nsw_cps, "PSID-1": datasets.load_nsw_psid}
SEARCHED = ["sigmoids", "ReLUs"]
# The files hold six digits.
DIGITS = 1e-5


def read(path):
    table = pd.read_csv(path).fillna({"group": "", "warnings": ""})
    return table.set_index(["sample", "method"])


def run(folder, *options):
    """Run a copy of the vignette, so that what is committed stays as it is."""
    script = shutil.copy(ROOT / "vignettes" / "lalonde.py", folder)
    subprocess.run(
        [sys.executable, str(script), *options],
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lalonde")
    run(folder, "--quick")
    assert list((folder / "results").iterdir()) == []
    assert (folder / "figures" / "lalonde_quick.png").stat().st_size > 50_000
    return read(folder / "figures" / "lalonde_quick.csv")


@pytest.fixture(scope="module")
def drawn():
    """The rows of the quick run, drawn once more."""
    samples = {}
    for name, load in SAMPLES.items():
        data = load()
        a = data.treatment.to_numpy()
        rng = np.random.default_rng(0)
        controls = rng.choice(np.flatnonzero(a == 0), 600, replace=False)
        rows = np.append(np.flatnonzero(a == 1), np.sort(controls))
        samples[name] = data.X.to_numpy()[rows], data.y.to_numpy()[rows], a[rows]
    return samples


def att(discriminator="energy", **options):
    return IPMBalancer(estimand="att", discriminator=discriminator, **options)


def test_every_method_has_estimates_and_intervals_where_promised(quick):
    committed = read(RESULTS)
    full = committed.drop(index=SEARCHED, level="method")
    assert set(quick.index) == set(full.index)
    for table, *controls in ((quick, 600, 600), (committed, 15_992, 2490)):
        assert np.isfinite(table[["plain", "augmented", "energy"]]).all(axis=None)
        unweighted = table.index.get_level_values("method") == "no weights"
        sizes = dict(zip(SAMPLES, controls, strict=True))
        n = table.index.get_level_values("sample").map(sizes)
        assert (table["ess"] > 1).all()
        assert (table["ess"][~unweighted] < n[~unweighted]).all()
        assert (table["ess"][unweighted] == n[unweighted]).all()
        assert (table["se"].isna() == unweighted).all()
        assert (table["plain_lower"].notna() == (table["max_smd"] <= 0.1)).all()
        half = table["upper"] - table["augmented"]
        expected = (1.96 * table["se"]).to_numpy()[~unweighted]
        assert half.to_numpy()[~unweighted] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("sample", SAMPLES)
def test_no_row_beats_a_method_at_what_it_optimises(quick, sample):
    committed = read(RESULTS)
    for table in (quick.loc[sample], committed.loc[sample]):
        # Energy weights minimise the energy distance plus 0.01 / ESS over all weights.
        objective = table["energy"] + 0.01 / table["ess"]
        assert objective["energy"] <= objective.min() * (1 + DIGITS)
        assert table.loc["energy", "energy"] < 0.05 * table.loc["no weights", "energy"]
        # Stable weights are the least variable of those with the trainees' means.
        exact = table[table["max_smd"] < 1e-6]
        assert {"entropy balancing", "stable, exact means"} <= set(exact.index)
        assert table.loc["stable, exact means", "ess"] >= exact["ess"].max() * (
            1 - DIGITS
        )
        # What is solved exactly is certified; log-linear weights are no optimum.
        gaps = table["relative_gap"].drop(SEARCHED, errors="ignore")
        assert (gaps.drop("log-linear, energy").dropna() < 1e-6).all()


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize(
    "method", ["energy", "entropy balancing", "Gaussian, 5 × as wide", "no weights"]
)
def test_a_row_is_what_the_estimators_give(quick, drawn, sample, method):
    X, y, a = drawn[sample]
    if method == "no weights":
        weighter = np.ones(len(a))
    elif method == "entropy balancing":
        weighter = EntropyBalancer(estimand="att")
    elif method == "energy":
        weighter = att()
    else:
        median = att("gaussian").fit(X, a).bandwidth_
        weighter = att(Gaussian(bandwidth=5 * median), ridge=1e-3)
    row = quick.loc[(sample, method)]
    plain, augmented = (
        WeightedEffect(weighter, estimand="att", outcome_model=model, cv=2).fit(
            X, y, treatment=a
        )
        for model in (None, "auto")
    )
    assert row["plain"] == pytest.approx(plain.effect_, rel=DIGITS)
    assert row["augmented"] == pytest.approx(augmented.effect_, rel=DIGITS)
    assert plain.se_ == pytest.approx(augmented.se_, rel=1e-10)
    masses = augmented.masses_[a == 0]
    assert row["ess"] == pytest.approx(1 / np.sum(masses**2), rel=DIGITS)
    focal, binary = X[a == 1], np.isin(X, (0.0, 1.0)).all(axis=0)
    mean = focal.mean(axis=0)
    variance = np.where(binary, mean * (1 - mean), focal.var(axis=0, ddof=1))
    smd = np.abs(mean - masses @ X[a == 0]) / np.sqrt(variance)
    assert row["max_smd"] == pytest.approx(smd.max(), rel=DIGITS, abs=1e-9)
    nothing = masses[X[a == 0, 6] == 0].sum()
    assert row["no_earnings_1974"] == pytest.approx(nothing, rel=DIGITS)
    if method == "no weights":
        return
    assert row["se"] == pytest.approx(augmented.se_, rel=DIGITS)
    # The trainees' mean cancels: randomised controls against weighted respondents.
    nsw = datasets.load_nsw()
    randomised = nsw.y[nsw.treatment == 0]
    apart = randomised.mean() - augmented.means_[0]
    variance = augmented.means_cov_[0, 0] + randomised.var() / 260
    assert row["z"] == pytest.approx(apart / np.sqrt(variance), rel=1e-4)


def test_committed_results_say_what_the_text_says():
    table = read(RESULTS)
    assert table.groupby("sample", sort=False).size().to_dict() == {
        "CPS-1": 18,
        "PSID-1": 18,
    }
    unweighted = table.xs("no weights", level="method")
    # Dehejia and Wahba (1999), Table 3: -8,498 and -15,205.
    assert unweighted["plain"].round().tolist() == [-8498, -15205]
    assert (unweighted["augmented"] > 1000).all()
    # The only warning is of overlap; none is of convergence.
    warned = table.index[table["warnings"] != ""].tolist()
    assert warned == [("PSID-1", "logistic odds")]
    assert "separates the arms" in table.loc[warned[0], "warnings"]
    weighted = table.drop(index="no weights", level="method")
    assert (weighted["z"].abs() < 1).all()
    gaps = weighted["relative_gap"].unstack("sample").loc[SEARCHED]
    assert (gaps["CPS-1"] <= 1e-2).all() and (gaps["PSID-1"] <= 1e-4).all()
    for sample, part in weighted.groupby("sample"):
        part = part.droplevel("sample")
        spread = np.ptp(part["augmented"])
        assert 0.8 * part["se"].median() < spread < np.ptp(part["plain"])
        zero = part["no_earnings_1974"]
        assert zero.idxmax() == "half-spaces"
        assert zero["stable, exact means"] < 0.45
        loose = part.loc["stable, within 0.1 SD"]
        assert loose["max_smd"] > 0.25 and loose["plain"] < 500
        zero = zero[part["group"] == "kernels"] - zero["stable, exact means"]
        assert (zero > 0).all() if sample == "CPS-1" else (zero < 0.01).sum() > 2
    psid = weighted.loc["PSID-1"]
    assert (psid["lower"] < 0).sum() > 8 and psid["ess"].median() < 60
    assert (psid.loc[psid["group"] == "transport", "max_smd"] > 0.2).all()


@pytest.mark.slow
def test_full_run_gives_the_committed_results(tmp_path):
    run(tmp_path)
    found, committed = read(tmp_path / "results" / "lalonde.csv"), read(RESULTS)
    assert (tmp_path / "figures" / "lalonde.png").stat().st_size > 50_000
    assert found.index.equals(committed.index)
    columns = ["plain", "augmented", "se"]
    # Exact optima: two dollars, for solvers that end within 1e-6 of it. Searches stop
    # where rounding takes them, within their tolerance: a quarter standard error.
    bar = pd.Series(2.0, index=found.index)
    searched = found.index.get_level_values("method").isin(SEARCHED)
    bar[searched] = 0.25 * committed["se"]
    for column in columns:
        apart = (found[column] - committed[column]).abs()
        assert (apart.isna() == committed[column].isna()).all()
        assert (apart.fillna(0.0) < bar).all(), column
