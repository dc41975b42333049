"""What docs/counterfactuals.md and the docstrings show is what comes out."""

from __future__ import annotations

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "counterfactuals.md"


def test_the_code_of_the_page_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for code in blocks:
        exec(compile(code, str(PAGE), "exec"), {})


@pytest.mark.parametrize("module", ["coalitions", "matrix", "plan"])
def test_docstrings_show_what_comes_out(module: str) -> None:
    result = doctest.testmod(import_module(f"telemetry.counterfactual.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
