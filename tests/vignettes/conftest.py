"""What executes a notebook."""

import json
import sys

import pytest


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
