"""Every block of code in the README and in docs/ runs, or is a command that parses."""

import argparse
import importlib.util
import re
import shlex
import sys
from pathlib import Path

import matplotlib
import pytest

matplotlib.use("Agg")

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md")
] + sorted((ROOT / "docs").glob("*.md"))
FENCED = re.compile(r"^(```+)([^\n]*)\n(.*?)^\1$", re.M | re.S)
# Four spaces after an empty line: a block, which here is a command or a formula.
INDENTED = re.compile(r"(?<=\n\n)(?: {4}[^\n]*\n)+")
COMMAND = re.compile(r"(?: {4}(?:make|python|jupytext|pip) [^\n]*\n)+")

# What fences may hold: code that runs, what it prints, and the site's own directives.
KINDS = {"python", "text", "{include}", "{math}", "{toctree}"}
# Pages whose code another test runs, with more to say about its results.
ELSEWHERE = {
    "README.md": "tests/vignettes/test_quickstart.py",
    "docs/moments.md": "tests/moments/test_user_guide.py",
    "docs/shift.md": "tests/shift/test_user_guide.py",
}


def label(path):
    """Name a page for pytest's ids."""
    return str(path.relative_to(ROOT))


def fences(text):
    """Return the kind and the body of every fenced block."""
    return [(head.split(" ")[0], body) for _, head, body in FENCED.findall(text)]


def code_of(text):
    """Return a page's Python, block by block."""
    return [body for kind, body in fences(text) if kind == "python"]


def commands_of(text):
    """Return the indented commands of a page, in words, comments left out."""
    blocks = INDENTED.findall(FENCED.sub("", text))
    lines = [line for b in blocks if COMMAND.fullmatch(b) for line in b.splitlines()]
    return [shlex.split(line, comments=True) for line in lines]


class ParsedError(Exception):
    """Raised in the place of what a script would do after its arguments."""


def check_script(path, arguments, monkeypatch):
    """Load a script of ours and have it parse its arguments, nothing more."""
    source = (ROOT / path).read_text(encoding="utf-8")
    if "add_argument(" not in source:
        assert arguments == [], f"{path} takes no arguments"
        return
    parse = argparse.ArgumentParser.parse_args

    def only_parse(parser, *_):
        parse(parser, arguments)
        raise ParsedError

    monkeypatch.syspath_prepend(str((ROOT / path).parent))
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", only_parse)
    with pytest.raises(ParsedError):
        module.main()


def check_command(words, monkeypatch):
    """Check that what a command names is there."""
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    match words:
        case ["make", target]:
            assert target in targets
        case ["python", path, *arguments] if path.endswith(".py"):
            check_script(path, arguments, monkeypatch)
        case ["python", "-m", "pip", "install", what]:
            extras = re.fullmatch(r"\.(?:\[([\w,]+)\])?", what)[1]
            config = (ROOT / "setup.cfg").read_text()
            for extra in filter(None, (extras or "").split(",")):
                assert re.search(rf"^{extra} =$", config, re.M)
        case _:
            raise AssertionError(f"unknown command {words}")


@pytest.mark.parametrize("path", PAGES, ids=label)
def test_code_of_the_page_runs_from_top_to_bottom(path, run_page):
    text = path.read_text(encoding="utf-8")
    assert {kind for kind, _ in fences(text)} <= KINDS
    blocks = code_of(text)
    if label(path) in ELSEWHERE:
        assert blocks
        test = (ROOT / ELSEWHERE[label(path)]).read_text(encoding="utf-8")
        assert path.name in test
        return
    run_page(path)


@pytest.mark.parametrize("path", PAGES, ids=label)
def test_commands_of_the_page_are_there(path, monkeypatch):
    for words in commands_of(path.read_text(encoding="utf-8")):
        with monkeypatch.context() as patch:
            check_command(words, patch)


def test_the_pages_have_code_and_commands():
    texts = {label(path): path.read_text(encoding="utf-8") for path in PAGES}
    with_code = {name for name, text in texts.items() if code_of(text)}
    assert {"README.md", "docs/cate.md", "docs/choose.md"} <= with_code
    commands = [c for text in texts.values() for c in commands_of(text)]
    assert sum(c[0] == "make" for c in commands) >= 2
    assert sum(c[1:2] == ["benchmarks/simulate.py"] for c in commands) >= 15


@pytest.mark.parametrize(
    "command",
    [
        "make nothing",
        "python benchmarks/nothing.py",
        "python benchmarks/report.py --reps 3",
        "python -m pip install .[nothing]",
        "curl",
    ],
)
def test_a_command_that_is_not_there_is_noticed(command, monkeypatch):
    with pytest.raises((AssertionError, OSError)):
        check_command(command.split(), monkeypatch)


@pytest.mark.parametrize("arguments", ["no_such_design", "line --repeat 3"])
def test_arguments_that_a_script_does_not_take_are_noticed(arguments, monkeypatch):
    with pytest.raises(SystemExit):
        check_command(
            ["python", "benchmarks/simulate.py", *arguments.split()], monkeypatch
        )
