"""The code of docs/shift.md runs, from top to bottom."""

from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "shift.md"


def test_code_of_the_user_guide_runs(run_page):
    assert PAGE.read_text(encoding="utf-8").count("```python\n") >= 7
    assert run_page(PAGE)["limits"].shape == (5, 2)
