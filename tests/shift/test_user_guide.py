"""The code of docs/shift.md runs, from top to bottom."""

import re
import warnings
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "shift.md"


def test_code_of_the_user_guide_runs():
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) >= 7
    names: dict = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what the guide shows should not warn
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), names)
    assert names["limits"].shape == (5, 2)
