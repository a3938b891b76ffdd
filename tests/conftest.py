"""Fixtures every room's tests share."""

import os
import re
import sys
import warnings

import hypothesis
import numpy as np
import pytest

os.environ["MPLBACKEND"] = "Agg"
# A fenced block of Python on a page of Markdown.
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)

# No test is timed (a first call compiles), and CI draws the same examples every time.
hypothesis.settings.register_profile(
    "house", deadline=None, derandomize="CI" in os.environ
)
hypothesis.settings.load_profile("house")


@pytest.fixture
def rng():
    """Return a generator with a fixed seed."""
    return np.random.default_rng(20230715)


@pytest.fixture(params=["numpy", "pandas", "polars"])
def frame_library(request):
    """Return, once a library, a function ``(values, columns) -> container``."""
    if request.param == "pandas":
        import pandas as pd

        return lambda values, columns: pd.DataFrame(values, columns=list(columns))
    if request.param == "polars":
        import polars as pl

        return lambda values, columns: pl.DataFrame(
            {name: values[:, j] for j, name in enumerate(columns)}
        )
    return lambda values, columns: np.asarray(values)


@pytest.fixture
def run_page():
    """Return a function that runs a page's code from top to bottom, to its names."""

    def run(path):
        blocks = PYTHON.findall(path.read_text(encoding="utf-8"))
        names = {"__name__": path.stem}
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what a page shows should not warn
            for block in blocks:
                exec(compile(block, str(path), "exec"), names)
        return names

    return run


@pytest.fixture(autouse=True)
def closed_figures():
    """Close what a test has drawn; matplotlib is not imported for it."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
