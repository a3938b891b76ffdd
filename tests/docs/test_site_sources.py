"""What the site is made of: its pages, the front picture, vignettes, docstrings."""

import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
VIGNETTES = sorted(path.stem for path in (ROOT / "vignettes").glob("*.py"))
ROOMS = sorted(
    path.parent.name
    for path in (ROOT / "causalweights").glob("*/__init__.py")
    if not path.parent.name.startswith("_")
)


@pytest.fixture
def extension(monkeypatch):
    """Return a function that imports one of the site's own extensions."""
    monkeypatch.syspath_prepend(str(DOCS / "extensions"))
    yield importlib.import_module
    for path in (DOCS / "extensions").glob("*.py"):
        sys.modules.pop(path.stem, None)


def read(path):
    """Return the text of a file in docs/."""
    return (DOCS / path).read_text(encoding="utf-8")


# ---- pages -----------------------------------------------------------------------


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda path: path.stem)
def test_page_is_in_the_index_or_in_the_guide(page):
    contents = re.findall(
        r"```\{toctree\}.*?```", read("index.md") + read("guide.md"), re.S
    )
    lines = [line for block in contents for line in block.splitlines()]
    listed = {re.sub(r".*<(.*)>", r"\1", line) for line in lines}
    assert page.stem == "index" or page.stem in listed


@pytest.mark.parametrize("name", VIGNETTES)
def test_vignette_is_described_in_the_gallery(name):
    assert f"(vignettes/{name}.ipynb)" in read("gallery.md")


@pytest.mark.parametrize("room", ROOMS)
def test_room_is_in_the_api(room):
    assert re.search(rf"^   {room}$", read("api/index.md"), re.M)


# ---- the front page --------------------------------------------------------------


def test_front_page_includes_the_code_and_the_output_of_the_readme():
    index, readme = read("index.md"), (ROOT / "README.md").read_text(encoding="utf-8")
    start = re.search(r":start-after: (.*)", index)[1]
    end = re.search(r":end-before: (.*)", index)[1]
    part = readme.split(start)[1].split(end)[0]
    assert part.count("```python\n") == part.count("```text\n") == 1
    assert "print(effect.summary())" in part and "smd_after" in part


def test_front_picture_shows_the_numbers_of_the_readme():
    words = re.findall(r"<text[^>]*>([^<]*)</text>", read("pictures/front.svg"))
    shown = {
        tuple(int(part.replace(",", "")) for part in word.split(" ± "))
        for word in words
        if " ± " in word and word[0].isdigit()
    }
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    effect, error = map(float, re.search(r"1 vs 0 +(\S+) +(\S+)", readme).groups())
    truth = re.search(r"earnings \\\$([\d,]+), SE ([\d,]+)", readme).groups()
    truth, truth_error = (float(number.replace(",", "")) for number in truth)
    wanted = {(effect, 1.96 * error), (truth, 1.96 * truth_error)}
    # The experiment's standard error is a whole number in the README.
    assert len(shown) == len(wanted) == 2
    for (value, width), (x, half) in zip(sorted(shown), sorted(wanted), strict=True):
        assert abs(value - x) <= 0.5 and abs(width - half) <= 1.5


# ---- vignettes -------------------------------------------------------------------


@pytest.mark.parametrize("name", VIGNETTES)
def test_notebook_is_the_vignette_as_a_script(extension, name):
    import jupytext

    pages, path = extension("vignette_pages"), ROOT / "vignettes" / f"{name}.py"
    book, script = pages.notebook_of(path), jupytext.read(path, fmt="py:percent")
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    own = [cell.source for cell in code if "tags" not in cell.metadata]
    assert own == [c.source for c in script.cells if c.cell_type == "code"]
    assert code[0].metadata["tags"] == ["remove-cell"]
    assert ("--quick" in code[0].source) is (name not in pages.WHOLE)
    assert book.cells[0].source == script.cells[0].source
    assert pages.notebook_of(path) == book  # or a cached run would not be found
    if name not in pages.WHOLE:
        added = "".join(cell.source for cell in code if "tags" in cell.metadata)
        results = (ROOT / "vignettes" / "results").glob(f"{name}*.csv")
        assert all(f'"{table.name}"' in added for table in results)


def test_a_cell_without_its_place_is_noticed(extension):
    import nbformat

    pages = extension("vignette_pages")
    cells = [nbformat.v4.new_code_cell(source) for source in ("a = 1", "b = a", "a")]
    found = pages.with_inserted(cells, {"b = a": "new"})
    assert [cell.source for cell in found] == ["a = 1", "b = a", "new", "a"]
    for marker in ("c", "a"):
        with pytest.raises(ValueError, match="one cell each"):
            pages.with_inserted(cells, {marker: "new"})


# ---- docstrings ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a |x - y| b\n", "a \\|x - y\\| b\n"),
        ("objective_ - minimum <= gap_.\n", "objective\\_ - minimum <= gap\\_.\n"),
        ("of shape (n_features_in_,)\n", "of shape (n_features_in\\_,)\n"),
        ("a ``gap_`` and `weights_`, [1]_\n", None),
        (":math:`\\sum |K_{ij}|`, `a <b>`_\n", None),
        (">>> m.gap_ | 1\narray|x_\n", None),
        ("Solve::\n\n    min |x_|\n    s.t. y_\n", None),
        (".. math:: |x|\n          + y_\n", None),
        ("x_ y\n\n.. math:: |x|\n\n|y|\n", "x\\_ y\n\n.. math:: |x|\n\n\\|y\\|\n"),
        ("__init__ and _private, a_b\n", None),
        (
            "solve\n\n    min |x|\n\nat x_.\n",
            "solve\n\n::\n\n    min |x|\n\nat x\\_.\n",
        ),
        ("Solve::\n\n    min |x|\n", None),
        ("- one\n\n  more of one\n", None),
        (":Parameters:\n\n    **a** : int\n\n        Text.\n", None),
    ],
)
def test_plain_signs_are_escaped_outside_of_markup(extension, text, wanted):
    assert extension("plain_docstrings").escape(text) == (wanted or text)
