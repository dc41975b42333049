"""The notebook runs, and shows what it is there to show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

NOTEBOOK = ROOT / "docs" / "notebooks" / "first_study.ipynb"


def html_of(notebook: Any) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output for output in outputs if output.output_type == "error"] == []
    return "\n".join(output.get("data", {}).get("text/html", "") for output in outputs)


@pytest.mark.slow
def test_the_notebook_runs_and_shows_progress_tables_and_plots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    shown = html_of(notebook)
    assert "15/15 trials" in shown
    assert '<table border="1" class="dataframe">' in shown
    assert "shuffled-labels" in shown
    pictures = [o for cell in notebook.cells for o in cell.get("outputs", []) if "data" in o]
    assert sum("image/png" in output["data"] for output in pictures) == 2


def test_the_notebook_is_kept_small_with_its_outputs_and_names_no_machine() -> None:
    import nbformat

    assert NOTEBOOK.stat().st_size < 300_000
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert "15/15 trials" in html_of(nbformat.read(NOTEBOOK, as_version=4))
    assert not any(place in text for place in ("/home/", "/tmp/", "/Users/", str(ROOT)))
