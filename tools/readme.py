"""Write the README's code and output blocks from the quickstart vignette.

Usage: python tools/readme.py [--check]

Runs the code cells of vignettes/quickstart.py in order and puts into README.md the
first cell, what it prints, and the table that the third cell prints. With --check the
README is left alone and the exit status tells whether its code is the vignette's and
its numbers are those of this run.
"""

import argparse
import contextlib
import io
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Relative difference that another BLAS or processor may make to a printed number: the
# outcome model's tuning can flip between neighbours of a grid.
TOLERANCE = 0.02
BLOCK = re.compile(r"```(python|text)\n(.*?)```", re.S)
NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*\.?\d*(?![\w])")


def code_cells(script: str) -> list[str]:
    """Return the code cells of a percent-format script."""
    parts = re.split(r"^# %%(.*)$", script, flags=re.M)
    kinds, bodies = parts[1::2], parts[2::2]
    return [b.strip() + "\n" for k, b in zip(kinds, bodies) if "markdown" not in k]


def run(cells: list[str]) -> list[str]:
    """Run the cells in one namespace; return what each prints."""
    names: dict = {"__name__": "quickstart"}
    printed = []
    for cell in cells:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(cell, "quickstart", "exec"), names)
        lines = (line.rstrip() for line in out.getvalue().splitlines())
        printed.append("\n".join(lines).strip("\n") + "\n")
    return printed


def wanted_blocks() -> list[tuple[str, str]]:
    """Return the README's three blocks as this run makes them."""
    cells = code_cells((ROOT / "vignettes" / "quickstart.py").read_text())[:3]
    printed = run(cells)
    return [("python", cells[0]), ("text", printed[0]), ("text", printed[2])]


def differences(readme: str, blocks: list[tuple[str, str]]) -> list[str]:
    """Return what differs between the README's blocks and the wanted ones."""
    found = BLOCK.findall(readme)
    if [kind for kind, _ in found] != [kind for kind, _ in blocks]:
        return [f"the README has blocks {[kind for kind, _ in found]}"]
    rows = []
    for (kind, old), (_, new) in zip(found, blocks):
        if kind == "python":
            rows += [] if old == new else ["the code is not the vignette's first cell"]
            continue
        words = [re.sub(r"[-\s]+", " ", NUMBER.sub("#", text)) for text in (old, new)]
        rows += [] if words[0] == words[1] else ["the words of an output differ"]
        pairs = zip(NUMBER.findall(old), NUMBER.findall(new))
        for a, b in pairs:
            x, y = (float(v.replace(",", "")) for v in (a, b))
            # Small entries are rounded imbalances and distances: compare absolutely.
            if abs(x - y) > max(TOLERANCE * max(abs(x), abs(y)), 0.01):
                rows.append(f"printed {a}, now {b}")
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    path = ROOT / "README.md"
    blocks = wanted_blocks()
    if check:
        rows = differences(path.read_text(), blocks)
        sys.stdout.writelines(f"README.md: {row}\n" for row in rows)
        return int(bool(rows))
    fresh = iter(blocks)

    def replace(_: re.Match) -> str:
        kind, text = next(fresh)
        return f"```{kind}\n{text}```"

    path.write_text(BLOCK.sub(replace, path.read_text()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
