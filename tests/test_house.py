"""The house rules of docs/architecture.md: floors, file sizes, imports, names."""

import ast
import configparser
import graphlib
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import causalweights

PACKAGE = Path(causalweights.__file__).resolve().parent
ROOT = PACKAGE.parent

# The highest number of lines a file may have; past 350 a file has two jobs.
MAX_LINES = 400

SYSTEMS = {"balancing", "ustatistics", "cate", "shift", "moments"}
FLOORS = [
    {
        "_base",
        "_blas",
        "_categories",
        "_doses",
        "_formula",
        "_from_formula",
        "_numba",
        "_progress",
        "_scaling",
        "_threads",
        "_typing",
        "_validation",
    },
    {"kernels", "optimize"},
    {"discrepancy", "crossfit", "learners", "inference", "datasets"},
    {*SYSTEMS, "effects", "diagnostics", "displays"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# Imported where they are used, never at the top of a file.
LAZY = {
    "cvxpy",
    "dask",
    "formulaic",
    "matplotlib",
    "pandas",
    "polars",
    "pyarrow",
    "statsmodels",
}
# What `import causalweights` alone must leave out as well.
HEAVY = LAZY | {"numba", "numpy", "scipy", "sklearn"}

FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted(
    path.parent.name
    for path in PACKAGE.glob("*/__init__.py")
    if path.parent.name != "_data"
)


def label(path):
    """Name a file of the package for pytest's ids."""
    return str(path.relative_to(PACKAGE))


def room_of(parts):
    """Return the room, or the top-level module, that path or module parts lie in."""
    return parts[0].removesuffix(".py")


def imported_modules(tree, parts):
    """Yield the absolute dotted name of every import; relative ones are resolved."""
    package = ["causalweights", *parts[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            base = [*base, node.module] if node.module else base
            yield ".".join(base)
            yield from (".".join([*base, alias.name]) for alias in node.names)


def rooms_used(source, parts):
    """Return the other rooms a file imports from, inside functions as well."""
    modules = imported_modules(ast.parse(source), parts)
    names = [module.split(".") for module in modules]
    used = {room_of(n[1:]) for n in names if n[0] == "causalweights" and len(n) > 1}
    return used.intersection(FLOOR_OF) - {room_of(parts)}


def floor_violations(source, parts):
    """List the imports by which a file reaches above its floor or across systems."""
    here = room_of(parts)
    violations = set()
    for there in rooms_used(source, parts):
        if FLOOR_OF[there] > FLOOR_OF[here]:
            violations.add(f"{here} imports {there}, a higher floor")
        elif there in SYSTEMS and here in SYSTEMS:
            violations.add(f"{here} imports {there}, another system")
    return sorted(violations)


def module_level(tree):
    """Yield what runs when a module is imported: no function bodies, no typing."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)


def eager_imports(source):
    """List the optional or heavy libraries a module imports when it is imported."""
    found = set()
    for node in module_level(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return sorted(found & LAZY)


def print_calls(source):
    """List the lines on which a module prints."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]


def python(code, **environment):
    """Run code in a new interpreter and return what it prints, in words."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


# ---- the rules, on every file ----------------------------------------------------


def test_the_package_has_files_to_check():
    assert len(FILES) > len(ROOMS) > 0


@pytest.mark.parametrize("path", FILES, ids=label)
def test_file_keeps_to_its_floor(path):
    parts = path.relative_to(PACKAGE).parts
    if parts == ("__init__.py",):  # the door names every room, and loads none
        assert eager_imports(path.read_text(encoding="utf-8")) == []
        return
    assert room_of(parts) in FLOOR_OF, "a room without a floor: add it to FLOORS"
    assert floor_violations(path.read_text(encoding="utf-8"), parts) == []


@pytest.mark.parametrize("path", FILES, ids=label)
def test_file_is_short_quiet_and_named_for_its_job(path):
    source = path.read_text(encoding="utf-8")
    n_lines = len(source.splitlines())
    assert n_lines <= MAX_LINES
    assert print_calls(source) == []
    assert path.name not in {"utils.py", "helpers.py", "misc.py", "common.py"}
    assert ast.get_docstring(ast.parse(source)), "no module docstring"


@pytest.mark.parametrize("path", FILES, ids=label)
def test_file_imports_optional_libraries_where_they_are_used(path):
    assert eager_imports(path.read_text(encoding="utf-8")) == []


def test_rooms_do_not_import_each_other_in_a_circle():
    graph = {}
    for path in FILES:
        parts = path.relative_to(PACKAGE).parts
        if parts != ("__init__.py",):
            used = rooms_used(path.read_text(encoding="utf-8"), parts)
            graph.setdefault(room_of(parts), set()).update(used)
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert set(graph) <= set(order)


# ---- the rules can fail ----------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "source", "count"),
    [
        (("kernels", "_a.py"), "from causalweights.learners import b", 1),
        (("kernels", "_a.py"), "from ..learners._b import c", 1),
        (("kernels", "_a.py"), "from causalweights import effects", 1),
        (("kernels", "_a.py"), "def f():\n    import causalweights.effects", 1),
        (("_base.py",), "from .kernels import Gaussian", 1),
        (("cate", "__init__.py"), "from ..balancing import b", 1),
        (("cate", "_a.py"), "from ..balancing import b", 1),
        (("cate", "_a.py"), "from ._b import c", 0),
        (("cate", "_a.py"), "from ..kernels import b", 0),
        (("kernels", "_a.py"), "from causalweights import optimize", 0),
        (("kernels", "_a.py"), "import numpy", 0),
        (("effects", "_a.py"), "from ..balancing import b", 0),
    ],
)
def test_floor_violations_are_seen(parts, source, count):
    assert len(floor_violations(source, parts)) == count


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import matplotlib.pyplot as plt", ["matplotlib"]),
        ("try:\n    from pandas import DataFrame\nexcept ImportError:\n    pass", None),
        ("class A:\n    import cvxpy", ["cvxpy"]),
        ("def f():\n    import cvxpy", []),
        ("if TYPE_CHECKING:\n    import pandas", []),
        ("import numpy", []),
    ],
)
def test_eager_imports_are_seen(source, found):
    assert eager_imports(source) == (["pandas"] if found is None else found)


def test_prints_are_seen():
    assert print_calls("def f():\n    print(1)\n") == [2]


# ---- the public names ------------------------------------------------------------


@pytest.mark.parametrize("name", causalweights.__all__)
def test_public_name_is_there(name):
    value = getattr(causalweights, name)
    assert name in dir(causalweights)
    room = causalweights._ROOM_OF.get(name)
    if room is not None:
        home = importlib.import_module(f"causalweights.{room}")
        assert value is getattr(home, name)
        assert name in home.__all__


def test_public_names_of_the_door_agree():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    typed = {
        alias.name: node.module.removeprefix("causalweights").removeprefix(".")
        for branch in tree.body
        if isinstance(branch, ast.If)
        for node in branch.body
        for alias in node.names
    }
    names = [name for name in causalweights.__all__ if name != "__version__"]
    assert typed == {name: causalweights._ROOM_OF.get(name, "") for name in names}
    assert len(set(causalweights.__all__)) == len(causalweights.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = causalweights.nothing


@pytest.mark.parametrize("room", [room for room in ROOMS if room[0] != "_"])
def test_room_says_what_is_public(room):
    module = importlib.import_module(f"causalweights.{room}")
    assert list(module.__all__), "an empty __all__"
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


# ---- what importing costs --------------------------------------------------------


def test_importing_the_package_loads_nothing_heavy():
    loaded = python("import causalweights, sys; print(*sys.modules)")
    assert "causalweights" in loaded
    assert HEAVY.intersection(loaded) == set()


def test_importing_every_room_loads_no_optional_library():
    # Newer releases of scikit-learn import pandas themselves: only what our rooms
    # load on top of our dependencies counts.
    code = f"""
import importlib, sys
import joblib, numba, scipy.stats, sklearn.ensemble, sklearn.model_selection
before = set(sys.modules)
for room in {ROOMS!r}:
    importlib.import_module(f"causalweights.{{room}}")
print(*set(sys.modules) - before)
"""
    loaded = python(code)
    assert {f"causalweights.{room}" for room in ROOMS} <= set(loaded)
    assert LAZY.intersection(loaded) == set()


COUNT_COMPILATIONS = """
import importlib, numba
from numba.core import event
with event.install_recorder("numba:compile") as recorder:
    {code}
print(len(recorder.buffer))
"""


@pytest.mark.parametrize(
    ("code", "compiles"),
    [
        (f"[importlib.import_module('causalweights.' + r) for r in {ROOMS!r}]", False),
        ("numba.njit('f8(f8)')(lambda x: x + 1)", True),  # the count can be wrong
    ],
    ids=["every room", "control"],
)
def test_importing_every_room_compiles_nothing(code, compiles, tmp_path):
    # An empty cache folder: a compilation cannot hide as a load from disk.
    count = python(COUNT_COMPILATIONS.format(code=code), NUMBA_CACHE_DIR=str(tmp_path))
    assert (int(count[-1]) > 0) is compiles


# ---- the metadata ----------------------------------------------------------------


def test_setup_cfg_ships_every_folder():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = config["options"]["packages"].split()
    on_disk = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in PACKAGE.rglob("__init__.py")
    }
    assert set(listed) == on_disk | {"causalweights._data"}
    assert listed == sorted(listed)


def pinned(*extras):
    """Return {name: lower bound} of what setup.cfg asks for with these extras."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "lowest.py", *extras],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split("==") for line in done.stdout.split())


def test_lower_bounds_can_be_pinned():
    pins = pinned("test", "all", "docs")
    assert pins["numpy"] == "2.0.0"
    assert {"scikit-learn", "pytest", "polars", "dask", "sphinx"} <= pins.keys()


# Modules whose distribution has another name, or comes with another one.
DISTRIBUTIONS = {
    "sklearn": "scikit-learn", "llvmlite": "numba", "_pytest": "pytest",
    "great_tables": "great-tables",
}  # fmt: skip


@pytest.mark.parametrize(
    ("folder", "extras"),
    [("causalweights", ["all"]), ("tests", ["test"]), ("vignettes", ["test"])],
)
def test_imported_libraries_are_declared(folder, extras):
    base = ROOT / folder
    modules = {
        module.split(".")[0]
        for path in base.rglob("*.py")
        for module in imported_modules(
            ast.parse(path.read_text(encoding="utf-8")), path.relative_to(base).parts
        )
    }
    # A vignette's simulated tables come from benchmarks/.
    own = {"causalweights", *(path.stem for path in (ROOT / "benchmarks").glob("*.py"))}
    foreign = modules - sys.stdlib_module_names - own
    needed = {DISTRIBUTIONS.get(name, name) for name in foreign}
    assert needed <= pinned(*extras).keys()
