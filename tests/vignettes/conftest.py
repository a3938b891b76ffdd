"""What runs a vignette, as a script or as a notebook."""

import json
import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "vignettes"


@pytest.fixture(scope="module")
def run_quick():
    """Return a function that runs a vignette in quick mode, to its names."""

    def run(name):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MPLBACKEND", "Agg")
            patch.setattr(sys, "argv", [f"{name}.py", "--quick"])
            patch.setattr(sys, "path", list(sys.path))
            return runpy.run_path(str(FOLDER / f"{name}.py"))

    return run


@pytest.fixture(scope="session")
def execute(tmp_path_factory):
    """Return a function that executes a notebook in a folder, by this interpreter."""
    from nbclient import NotebookClient

    root = tmp_path_factory.mktemp("jupyter")
    kernel = root / "kernels" / "this"
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "this", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))

    def run(book, folder, timeout=300):
        book.metadata["kernelspec"] = {
            "name": "this",
            "display_name": "this environment",
            "language": "python",
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("JUPYTER_PATH", str(root))
            NotebookClient(
                book, timeout=timeout, resources={"metadata": {"path": str(folder)}}
            ).execute()
        return book

    return run
