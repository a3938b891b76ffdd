"""Loaders: shapes, types, order, codes, options and the folder they read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from causalweights import datasets
from causalweights.datasets import _files

DATA = Path(__file__).parents[2] / "data"
MAX_BYTES = 3_000_000

# loader: rows, columns of X, treated (None: no binary treatment)
SIZES = {
    "load_nsw": (445, 8, 185),
    "load_nsw_cps": (16_177, 8, 185),
    "load_nsw_psid": (2_675, 8, 185),
    "load_lalonde": (614, 7, 185),
    "load_nhefs": (1_566, 9, 403),
    "load_birthweight": (4_642, 19, 864),
    "load_card": (3_010, 15, None),
    "load_ajr": (64, 1, None),
    "load_401k": (9_275, 6, 3_637),
    "load_ihdp": (747, 25, 139),
    "load_actg175": (2_139, 16, 1_607),
}
JOB_COLUMNS = [
    *("age", "education", "black", "hispanic", "married", "nodegree"),
    *("re74", "re75"),
]
EVERY = pytest.mark.parametrize("name", list(SIZES))


def load(name, **options):
    return getattr(datasets, name)(**options)


def test_every_loader_is_covered():
    public = {name for name in datasets.__all__ if name.startswith("load_")}
    assert public == set(SIZES)
    assert datasets.__all__ == sorted(datasets.__all__)


@EVERY
def test_sizes_and_types(name):
    data, (rows, columns, treated) = load(name), SIZES[name]
    assert isinstance(data.X, pd.DataFrame)
    assert data.X.shape == (rows, columns)
    assert data.feature_names == list(data.X.columns)
    assert data.X.index.equals(pd.RangeIndex(rows))
    if name != "load_ihdp":
        assert data.y.shape == (rows,)
        assert data.y.index.equals(pd.RangeIndex(rows))
    if treated is None:
        assert "treatment" not in data
    else:
        assert data.treatment.name == "treatment"
        assert data.treatment.dtype == np.int64
        assert data.treatment.index.equals(pd.RangeIndex(rows))
        assert int(data.treatment.sum()) == treated


@EVERY
def test_no_missing_values(name):
    data = load(name)
    for value in data.values():
        if isinstance(value, (pd.DataFrame, pd.Series)):
            assert not value.isna().to_numpy().any()


@EVERY
def test_columns_are_numbers_except_race(name):
    X = load(name).X
    other = [c for c in X if not pd.api.types.is_numeric_dtype(X[c])]
    assert other == (["race"] if name == "load_lalonde" else [])


@EVERY
def test_treated_rows_come_first(name):
    data = load(name)
    if SIZES[name][2] is not None:
        assert data.treatment.is_monotonic_decreasing
        assert set(data.treatment) == {0, 1}
    else:
        assert data.endogenous + data.exogenous == list(data.X)


@EVERY
def test_a_changed_frame_does_not_change_the_next_load(name):
    first = load(name)
    first.X.iloc[:, 0] = first.X.iloc[0, 0] + 1
    first.feature_names.append("more")
    if "treatment" in first:
        first.treatment[:] = 7
    second = load(name)
    assert second.X.iloc[:, 0].nunique() > 1
    assert "more" not in second.feature_names
    assert "treatment" not in second or second.treatment.max() == 1


@EVERY
def test_description_names_columns_source_and_licence(name):
    data = load(name)
    for column in data.feature_names:
        if not column.startswith(("reg66", "site")):
            assert column in data.DESCR
    assert "licence" in data.DESCR
    assert "PyPI" in data.DESCR


def test_the_trainees_are_the_same_in_every_sample():
    experiment = load("load_nsw")
    treated = experiment.treatment == 1
    for name in ("load_nsw_cps", "load_nsw_psid"):
        data = load(name)
        assert list(data.X) == JOB_COLUMNS
        pd.testing.assert_frame_equal(data.X[:185], experiment.X[treated])
        pd.testing.assert_series_equal(data.y[:185], experiment.y[treated])
    # another order of the same men
    lalonde = load("load_lalonde")
    np.testing.assert_allclose(
        np.sort(lalonde.y[:185]), np.sort(experiment.y[treated]), atol=0.01
    )


@pytest.mark.parametrize("name", ["load_nsw", "load_nsw_cps", "load_nsw_psid"])
def test_nodegree_is_fewer_than_twelve_years_of_schooling(name):
    X = load(name).X
    assert ((X.education < 12).astype(int) == X.nodegree).all()


def test_lalonde_race_is_a_category():
    race = load("load_lalonde").X.race
    assert race.cat.categories.tolist() == ["black", "hispan", "white"]
    assert race.value_counts().to_dict() == {"white": 299, "black": 243, "hispan": 72}


def test_birthweight_codes():
    data = load("load_birthweight")
    for column in ("mmarried", "fbaby", "prenatal1", "alcohol", "foreign"):
        assert set(data.X[column]) == {0, 1}
    assert all(pd.api.types.is_integer_dtype(dtype) for dtype in data.X.dtypes)
    assert ((data.msmoke > 0).astype(int) == data.treatment).all()


def test_card_wage_is_in_cents():
    data = load("load_card")
    assert np.exp(data.y).round(2).mean() == pytest.approx(577.28, abs=0.01)
    assert (data.X.exper**2 == data.X.expersq).all()
    assert data.sample_weight.min() > 0


@pytest.mark.parametrize(
    "controls, names",
    [
        (None, []),
        ("latitude", ["latitude"]),
        ("continents", ["africa", "asia", "other"]),
    ],
)
def test_ajr_controls(controls, names):
    data = load("load_ajr", controls=controls)
    assert list(data.X) == ["risk", *names]
    assert list(data.instruments) == ["logmort0", *names]
    assert data.country.is_unique


def test_401k_treatments():
    eligible, takes_part = (
        load("load_401k"),
        load("load_401k", treatment="participation"),
    )
    assert int(takes_part.treatment.sum()) == 2_562
    np.testing.assert_array_equal(eligible.instruments.e401k, eligible.treatment)
    assert (takes_part.treatment <= takes_part.instruments.e401k).all()
    assert eligible.X.inc.between(10_000, 200_000).all()


def test_actg175_is_a_randomised_benchmark():
    data = load("load_actg175")
    assert data.benchmark.value == pytest.approx(46.811, abs=0.001)
    assert data.benchmark.se == pytest.approx(6.760, abs=0.001)
    assert data.arms.value_counts().to_dict() == {3: 561, 0: 532, 2: 524, 1: 522}
    assert ((data.arms > 0).astype(int) == data.treatment).all()


def test_ihdp_has_no_outcome_unless_simulated():
    data = load("load_ihdp")
    assert data.y is None
    assert data.benchmark is None
    assert data.X.bw.between(500, 2_500).all()


@pytest.mark.parametrize("surface", ["A", "B"])
def test_ihdp_surfaces(surface):
    data = load("load_ihdp", surface=surface, random_state=4)
    again = load("load_ihdp", surface=surface, random_state=4)
    other = load("load_ihdp", surface=surface, random_state=5)
    pd.testing.assert_series_equal(data.y, again.y)
    assert not data.y.equals(other.y)
    treated = data.treatment == 1
    assert data.cate[treated].mean() == pytest.approx(4.0)
    assert data.true_att == pytest.approx(data.benchmark.value)
    np.testing.assert_allclose(data.cate, data.mu1 - data.mu0)
    noise = data.y - np.where(treated, data.mu1, data.mu0)
    # 747 standard normal draws: four Monte-Carlo errors
    assert abs(noise.mean()) < 4 / np.sqrt(747)
    assert abs(noise.var() - 1) < 4 * np.sqrt(2 / 747)
    constant = np.allclose(data.cate, 4.0)
    assert constant == (surface == "A")


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("load_card", {"instruments": ["nearc5"]}, "nearc4"),
        ("load_card", {"instruments": []}, "non-empty"),
        ("load_card", {"instruments": "nearc4"}, "list"),
        ("load_ajr", {"controls": "region"}, "latitude"),
        ("load_401k", {"treatment": "p401k"}, "participation"),
        ("load_ihdp", {"surface": "C"}, "surface"),
    ],
)
def test_bad_options_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        load(name, **options)


def test_files_are_found_with_and_without_the_installed_folder(monkeypatch):
    expected = _files.read_table("ajr.csv")

    def missing(package):
        raise ModuleNotFoundError(package)

    module = DATA.parent / "causalweights" / "datasets" / "_files.py"
    monkeypatch.setattr(_files, "__file__", str(module))
    monkeypatch.setattr(_files.resources, "files", missing)
    assert _files._open("ajr.csv") == DATA / "ajr.csv"
    pd.testing.assert_frame_equal(_files.read_table("ajr.csv"), expected)
    monkeypatch.setattr(_files.resources, "files", lambda package: DATA)
    pd.testing.assert_frame_equal(_files.read_table("ajr.csv"), expected)


def test_the_data_folder_is_small_and_described():
    files = [path for path in DATA.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_BYTES
    tables = sorted(path.name for path in DATA.glob("*.csv*"))
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    build = (DATA / "build.py").read_text(encoding="utf-8")
    assert len(tables) == 11
    for name in tables:
        assert f"| `{name}` |" in readme
        assert f'"{name}"' in build


def test_importing_the_room_does_not_import_pandas():
    # a room's files must cost nothing until a loader is called; sklearn may itself
    # import pandas one day, so compare with sklearn alone
    code = (
        "import sys, sklearn.utils, scipy.special; before = 'pandas' in sys.modules; "
        "import causalweights.datasets; "
        "sys.exit(('pandas' in sys.modules) != before)"
    )
    root = DATA.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, check=False)
    assert done.returncode == 0
