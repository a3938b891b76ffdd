"""The Monte-Carlo designs of benchmarks/, imported by path."""

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def load(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        return importlib.import_module(name)


@pytest.fixture(scope="session")
def simulate():
    """Return benchmarks/simulate.py as a module."""
    return load("simulate")


@pytest.fixture(scope="session")
def reference():
    """Return benchmarks/reference.py as a module."""
    return load("reference")


@pytest.fixture(scope="session")
def ustatistic_rows():
    """Return the rows of benchmarks/ustatistic_reference.py."""
    return load("ustatistic_reference").USTATISTIC_REFERENCE


@pytest.fixture(scope="session")
def shift_designs():
    """Return benchmarks/shift_designs.py as a module."""
    return load("shift_designs")
