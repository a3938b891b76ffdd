"""The quickstart: the README's code and figures, the script as a notebook."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PICTURES = {"quickstart_love.png", "quickstart_overlap.png", "quickstart_weights.png"}


@pytest.fixture(scope="module")
def readme_tool():
    spec = importlib.util.spec_from_file_location("readme", ROOT / "tools/readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def notebook(tmp_path_factory, execute):
    """Execute the vignette as a notebook, with a cell that shows the objects."""
    import jupytext
    import nbformat

    folder = tmp_path_factory.mktemp("quickstart")
    book = jupytext.read(ROOT / "vignettes" / "quickstart.py")
    for shown in ("balancer", "effect", "effect.result_", "balance"):
        book.cells.append(nbformat.v4.new_code_cell(shown))
    return execute(book, folder), folder


def outputs(cell, kind):
    return [o for o in cell.outputs if o.output_type == kind]


def test_readme_shows_what_the_vignette_does(readme_tool, notebook):
    book, _ = notebook
    script = (ROOT / "vignettes" / "quickstart.py").read_text()
    cells = readme_tool.code_cells(script)
    code = [c for c in book.cells if c.cell_type == "code"]
    printed = [
        "".join(
            o.text for o in outputs(c, "stream") if o.name == "stdout"
        )
        for c in code
    ]  # fmt: skip
    tidy = ["\n".join(t.rstrip() for t in p.splitlines()).strip("\n") + "\n"
            for p in printed]  # fmt: skip
    blocks = [("python", cells[0]), ("text", tidy[0]), ("text", tidy[2])]
    assert readme_tool.differences((ROOT / "README.md").read_text(), blocks) == []
    assert cells[0].count("\n") <= 13


def test_a_changed_figure_is_noticed(readme_tool):
    readme = "```python\nx\n```\n```text\nse 764.4 kg\n```\n```text\nb\n```\n"
    blocks = [("python", "x\n"), ("text", "se 764.9 kg\n"), ("text", "b\n")]
    assert readme_tool.differences(readme, blocks) == []
    blocks[1] = ("text", "se 810.0 kg\n")
    assert readme_tool.differences(readme, blocks) == ["printed 764.4, now 810.0"]
    blocks[1] = ("text", "se 764.4 lb\n")
    assert readme_tool.differences(readme, blocks) == ["the words of an output differ"]


def test_notebook_reports_the_distance_and_draws(notebook):
    book, folder = notebook
    code = [c for c in book.cells if c.cell_type == "code"]
    told = outputs(code[1], "stream")[0].text
    assert "-8,497.5" in told and "distance to the experiment" in told
    table = outputs(code[2], "stream")[0].text
    assert table.count("Gaussian") == 2 and "plain" in table
    assert {p.name for p in (folder / "figures").glob("*.png")} == PICTURES
    assert all(p.stat().st_size > 5_000 for p in (folder / "figures").glob("*.png"))


def test_objects_show_as_html(notebook):
    book, _ = notebook
    shown = [c for c in book.cells if c.cell_type == "code"][-4:]
    for cell in shown:
        (result,) = outputs(cell, "execute_result")
        assert (
            "<table" in result.data["text/html"] or "<div" in result.data["text/html"]
        )


@pytest.mark.slow
def test_script_runs_from_anywhere(tmp_path):
    copy = tmp_path / "quickstart.py"
    copy.write_text((ROOT / "vignettes" / "quickstart.py").read_text())
    done = subprocess.run(
        [sys.executable, str(copy)], capture_output=True, text=True, check=True
    )
    assert "Average treatment effect on the treated" in done.stdout
    assert {p.name for p in (tmp_path / "figures").glob("*.png")} == PICTURES
