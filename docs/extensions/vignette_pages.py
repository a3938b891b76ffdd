"""Write the vignettes as notebooks, which myst-nb executes when the site is built.

The scripts in vignettes/ stay as they are. A notebook gets a hidden cell before the
first, which makes it believe that it is the script, called with --quick where the full
run takes too long. What that run has committed is then read where the script would have
it, so that text and pictures below are of the full run; tables that no such cell reads
are shown at the end. What a notebook writes goes to build/.
"""

from pathlib import Path

import jupytext
import nbformat

ROOT = Path(__file__).resolve().parents[2]
VIGNETTES = ROOT / "vignettes"

# Whole in about a minute: what takes longer is in benchmarks/results.
WHOLE = {"quickstart", "r_learner_ivw"}

AS_SCRIPT = """\
import sys
from pathlib import Path

_repository = Path.cwd().parents[1]
RESULTS = _repository / "vignettes" / "results"
__file__ = str(_repository / "build" / "docs" / "vignettes" / "{name}.py")
Path(__file__).parent.mkdir(parents=True, exist_ok=True)
sys.path.append(str(_repository / "benchmarks"))
sys.argv = [__file__{option}]
# A script shows what it prints and draws, and not the value of its last line.
get_ipython().ast_node_interactivity = "none\""""
NOTICE = """\
:::{{note}}
This page is executed in the quick mode of `vignettes/{name}.py`: few replications and
small samples. The text speaks of the full run. Where a cell reads `RESULTS`, it puts
the full run's table in the place of the quick one's; tables that nothing reads are at
the end.
:::"""
SHOW = """\
from IPython.display import HTML, display
import pandas as pd

display(
    HTML(
        pd.read_csv(RESULTS / "{file}").to_html(
            index=False, na_rep="", float_format="{{:.4g}}".format, border=0
        )
    )
)"""

# After the cell that holds the first string comes a cell with the second.
INSERTED = {
    "lalonde": {
        "table = pd.DataFrame(rows)": """\
QUICK = False
SAMPLES = {
    "CPS-1": draw(datasets.load_nsw_cps()),
    "PSID-1": draw(datasets.load_nsw_psid()),
}
table = pd.read_csv(RESULTS / "lalonde.csv").fillna({"group": "", "warnings": ""})"""
    },
    "ipm_balancing": {
        "for cell, part in table.groupby(level=[0, 1, 2]": """\
QUICK = False
table = pd.read_csv(RESULTS / "ipm_balancing.csv").set_index(keys)
shown = ["reps", "plain_rmse", "ols_rmse", "krr_rmse", "krr_coverage", "ess"]
print(table[shown].round(2).to_string())"""
    },
    "comparison": {
        "table = pd.DataFrame(Parallel(": """\
QUICK = False
PROBLEMS = load()
QUICK = True
table = pd.read_csv(RESULTS / "comparison.csv").fillna({"said": ""})""",
        'repeated.insert(0, "rmse"': """\
repeated = pd.read_csv(RESULTS / "comparison_ihdp.csv", index_col=[0, 1])
print(repeated.round(3).to_string())""",
    },
    "double_weighting": {
        "split = pd.concat(": """\
rows = shift_errors.load()
simulated = rows[rows["design"].isin(["A", "B"])]
split = rows[rows["design"].isin(DATA_SETS)]""",
        "beside = reference.compare(": """\
beside = pd.read_csv(RESULTS / "double_weighting_reference.csv")
print(beside.round(4).to_string(index=False))""",
        'estimates["rmse"] = ': """\
by = pd.read_csv(RESULTS / "double_weighting_intervals.csv", index_col=0)
estimates = pd.read_csv(RESULTS / "double_weighting_scores.csv", index_col=0)
print(by.round(3).to_string())
print(estimates.round(3).to_string())""",
    },
    "scaling": {
        "table = pd.DataFrame([fit(n)": """\
table = pd.read_csv(RESULTS / "scaling.csv", index_col="n")
print(table.to_string(float_format=lambda v: f"{v:.4g}"))"""
    },
    "uniform_transformer": {
        "results = pd.concat(tables)": """\
results = pd.read_csv(RESULTS / "uniform_transformer.csv", index_col="estimator")
shown = ["design", "n", "bias", "rmse", "reference_bias", "reference_rmse"]
print(results[shown].round(3).to_string())""",
        "nsw = compare(": """\
nsw = pd.read_csv(RESULTS / "uniform_transformer_nsw.csv", index_col=0)
print(nsw[["effect", "se", "lower", "upper"]].round(1).to_string())""",
    },
}


def code_cell(source, *tags):
    """Return a cell of code with these tags."""
    cell = nbformat.v4.new_code_cell(source)
    cell.metadata["tags"] = list(tags)
    return cell


def with_inserted(cells, inserted):
    """Return the cells with those to insert, each after the one cell it belongs to."""
    found = []
    for cell in cells:
        found.append(cell)
        for marker, source in inserted.items():
            if cell.cell_type == "code" and marker in cell.source:
                found.append(code_cell(source, "inserted"))
    if len(found) != len(cells) + len(inserted):
        raise ValueError(f"{list(inserted)} are not in one cell each")
    return found


def unread_tables(name, inserted):
    """Return the cells that show the committed tables which no inserted cell reads."""
    read = "".join(inserted.values())
    cells = []
    for path in sorted((VIGNETTES / "results").glob(f"{name}*.csv")):
        if f'"{path.name}"' not in read:
            title = f"`vignettes/results/{path.name}`"
            cells.append(nbformat.v4.new_markdown_cell(title))
            cells.append(code_cell(SHOW.format(file=path.name), "remove-input"))
    if cells:
        cells.insert(0, nbformat.v4.new_markdown_cell("## Tables of the full run"))
    return cells


def notebook_of(script):
    """Return the notebook of one vignette, not executed."""
    book = jupytext.read(script, fmt="py:percent")
    name, whole = script.stem, script.stem in WHOLE
    option = "" if whole else ', "--quick"'
    hidden = code_cell(AS_SCRIPT.format(name=name, option=option), "remove-cell")
    first, *rest = book.cells
    if whole:
        book.cells = [first, hidden, *rest]
    else:
        notice = nbformat.v4.new_markdown_cell(NOTICE.format(name=name))
        inserted = INSERTED.get(name, {})
        rest = with_inserted(rest, inserted) + unread_tables(name, inserted)
        book.cells = [first, notice, hidden, *rest]
    # Ids drawn at random would make every build a new notebook.
    for position, cell in enumerate(book.cells):
        cell["id"] = f"cell-{position}"
    return book


def write_notebooks(app, config):
    """Write docs/vignettes/*.ipynb, touching only what has changed."""
    folder = Path(app.srcdir) / "vignettes"
    folder.mkdir(exist_ok=True)
    scripts = {path.stem: path for path in sorted(VIGNETTES.glob("*.py"))}
    for stale in folder.glob("*.ipynb"):
        if stale.stem not in scripts:
            stale.unlink()
    for name, script in scripts.items():
        text = nbformat.writes(notebook_of(script))
        page = folder / f"{name}.ipynb"
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def setup(app):
    """Write the notebooks before Sphinx looks for pages."""
    app.connect("config-inited", write_notebooks)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
