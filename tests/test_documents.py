"""What the documents show is what the program takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from orchestrator import Study
from orchestrator.home import Home

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def test_the_readme_s_study_can_be_planned(home: Home) -> None:
    (text,) = blocks(ROOT / "README.md", "yaml")
    study = Study.load(yaml.safe_load(text), home=home.root)
    plan = study.plan()
    study.maker.check(item.trial for item in plan.to_run)
    assert len(plan.to_run) == 4 * 5


def test_contributing_s_workload_runs_from_the_folder_it_lies_in(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.orchestrator.quick_study import finish

    code = blocks(ROOT / "CONTRIBUTING.md", "python")[0]
    text = next(block for block in blocks(ROOT / "CONTRIBUTING.md", "yaml"))
    package = tmp_path / "my_lab"
    package.mkdir()
    (package / "spin.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    study = Study.load(yaml.safe_load(text), home=home.root)
    finish(study)
    assert study.verdict().state == "verdict"
    assert len(study.table()) == 2


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []
