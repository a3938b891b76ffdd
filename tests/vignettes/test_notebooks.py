"""Every vignette as the notebook that the site shows, executed in quick mode."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "vignettes").glob("*.py"))


@pytest.fixture(scope="module")
def pages():
    path = ROOT / "docs" / "extensions" / "vignette_pages.py"
    spec = importlib.util.spec_from_file_location("vignette_pages", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def repository(tmp_path):
    """Return what a page sees of the repository: what it reads, and room to write."""
    for name in ("vignettes", "benchmarks", "data"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "docs" / "vignettes").mkdir(parents=True)
    return tmp_path


# Of these, test_quickstart.py executes the quickstart with every change.
@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_vignette_runs_as_a_notebook(pages, repository, execute, script):
    book = execute(pages.notebook_of(script), repository / "docs" / "vignettes", 900)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    # In order, and none left out.
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    kinds = {o.output_type for cell in code for o in cell.outputs}
    assert "stream" in kinds and "error" not in kinds


def test_a_cell_that_fails_is_noticed(execute, tmp_path):
    import nbformat
    from nbclient.exceptions import CellExecutionError

    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute(book, tmp_path)
