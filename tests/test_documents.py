"""What the documents show is what the program takes.

Every block of Python runs, every study file is planned, and every `orrery` line is one that the
program takes. A block that cannot be treated so says why in a comment that no reader sees:

- ``<!-- run by: tests/… -->``: another test runs it, that knows what it needs;
- ``<!-- not run: why -->``: it shows a part of something;
- ``<!-- part of: verdict -->``: YAML that stands below that key of a study file.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
import yaml
from pydantic import BaseModel, ValidationError

from cluster.slurm.settings import SlurmSettings
from orchestrator import Study
from orchestrator.cli.app import app
from orchestrator.cli.options import parsed_settings
from orchestrator.home import Home
from orchestrator.study import shipped_studies
from orchestrator.study_file import StudyFile
from orchestrator.verdict import Rule

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("**/*.md"))]
GENERATED = {"commands.md": "make_commands", "study-file.md": "make_study_file"}
PARTS: dict[str, type[BaseModel]] = {"study": StudyFile, "verdict": Rule}
CHEAP = ("list", "plan", "schema")
"""Commands that take less than a second and need nothing but what is shipped."""

_BLOCK = re.compile(r"(?:<!-- ([a-z ]+): ([^>]*) -->\n)?```(python|yaml|sh)\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of a document, with its mark if it has one."""

    path: Path
    language: str
    text: str
    mark: str
    why: str

    @property
    def id(self) -> str:
        first = next((line for line in self.text.splitlines() if line.strip()), "")
        return f"{self.path.name}:{first[:40]}"


def blocks_of(path: Path) -> list[Block]:
    found = _BLOCK.findall(path.read_text(encoding="utf-8"))
    return [Block(path, language, text, mark, why) for mark, why, language, text in found]


BLOCKS = [block for path in DOCUMENTS for block in blocks_of(path)]
MARKED = [block for block in BLOCKS if block.mark]


def of(language: str, mark: str | None = None) -> list[Block]:
    return [b for b in BLOCKS if b.language == language and (mark is None or b.mark == mark)]


def one(name: str, words: str) -> str:
    """The block of a document with these words in it."""
    (found,) = (b.text for b in BLOCKS if b.path.name == name and words in b.text)
    return found


# -- marks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", MARKED, ids=lambda block: block.id)
def test_a_mark_says_why_or_who_runs_the_block(block: Block) -> None:
    assert block.mark in ("run by", "not run", "part of")
    if block.mark == "run by":
        assert block.path.name in (ROOT / block.why).read_text(encoding="utf-8")
    if block.mark == "not run":
        assert len(block.why.split()) >= 4


def test_few_blocks_are_not_run() -> None:
    assert len([block for block in MARKED if block.mark == "not run"]) <= 10


# -- Python ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the file that pages read: the metrics of a study that has run."""
    from orchestrator.exporting import export_events
    from tests.orchestrator.quick_study import finish, quick_study, write_study

    folder = tmp_path_factory.mktemp("recorded")
    file, home = write_study(folder, quick_study()), folder / "home"
    finish(Study.load(file, home=home))
    export_events(str(file), home, out=folder / "metrics.parquet", flat=True)
    return folder


def shown_together(path: Path) -> str:
    """The unmarked Python of a page, in its order: later blocks use what earlier ones made."""
    return "\n".join(b.text for b in of("python", "") if b.path == path)


@pytest.mark.parametrize(
    "path", [path for path in DOCUMENTS if shown_together(path)], ids=lambda path: path.name
)
def test_a_page_s_python_runs(path: Path, recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(recorded)
    exec(compile(shown_together(path), path.name, "exec", dont_inherit=True), {})


@pytest.mark.slow
def test_the_readme_s_study_runs_in_python(home: Home, tmp_path: Path) -> None:
    """With fewer samples and arms than it shows, in a process of its own, as a script would."""
    from tests.orchestrator.quick_study import environment

    shown = yaml.safe_load(one("README.md", "name: my-ranks"))
    shown["base"] |= {"samples": 64, "test_questions": 24, "dev_questions": 8}
    shown["design"]["factors"] = {"lora.rank": [4]}
    # starting a second process takes longer than a trial
    shown["resources"] = {"max_concurrent": 1}
    (tmp_path / "my-ranks.yaml").write_text(yaml.safe_dump(shown))
    script = one("README.md", "Study.load")
    script = re.sub(
        r"^(study\.(?:table|verdict)\(\).*?)(  #.*)?$", r"print(\1)", script, flags=re.M
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment(ORRERY_HOME=str(home.root)),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no-lora" in done.stdout
    assert "Screen of 3 seeds" in done.stdout


# -- a workload that is shown --------------------------------------------------------------------


def test_contributing_s_workload_runs_from_the_folder_it_lies_in(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.orchestrator.quick_study import finish

    page = "CONTRIBUTING.md"
    (tmp_path / "my_lab").mkdir()
    (tmp_path / "my_lab" / "spin.py").write_text(one(page, "class SpinConfig"))
    monkeypatch.chdir(tmp_path)
    study = Study.load(yaml.safe_load(one(page, "workload: my_lab.spin:Spin")), home=home.root)
    finish(study)
    assert study.verdict().state == "verdict"
    assert len(study.table()) == 2


# -- study files ----------------------------------------------------------------------------------


def whole(block: Block) -> bool:
    return not block.mark and "workload:" in block.text


@pytest.mark.parametrize("block", filter(whole, of("yaml")), ids=lambda block: block.id)
def test_a_shown_study_can_be_planned(block: Block, home: Home) -> None:
    study = Study.load(yaml.safe_load(block.text), home=home.root)
    plan = study.plan()
    assert plan.to_run
    study.maker.check(item.trial for item in plan.to_run)


@pytest.mark.parametrize(
    "block",
    [b for b in of("yaml") if not whole(b) and b.mark in ("", "part of")],
    ids=lambda block: block.id,
)
def test_a_shown_part_of_a_study_is_valid_where_it_stands(block: Block) -> None:
    """What is missing stands in the rest of the file; what is there has to be right."""
    said = yaml.safe_load(block.text)
    if block.why == "clusters.yaml":
        for profile in said.values():
            SlurmSettings.model_validate(profile)
        return
    try:
        PARTS[block.why or "study"].model_validate(said)
    except ValidationError as error:
        wrong = [each for each in error.errors() if each["type"] != "missing"]
        assert not wrong, wrong


# -- commands -------------------------------------------------------------------------------------


def shown_commands() -> list[Any]:
    """Each different `orrery` line of the documents, as words after the program's name."""
    found: dict[str, Any] = {}
    for block in of("sh"):
        text = block.text.replace("\\\n", " ")
        for line in text.splitlines():
            words = shlex.split(line.partition(" > ")[0], comments=True)
            if words[:1] == ["orrery"]:
                shown = " ".join(words[1:])
                found.setdefault(shown, pytest.param(words[1:], id=f"{block.path.name}:{shown}"))
    return list(found.values())


COMMANDS = shown_commands()


@cache
def program() -> Any:
    """The program as click's; making it anew takes longer than most tests."""
    return typer.main.get_command(app)


def parsed(words: Sequence[str]) -> Any:
    """The context in which the command would run."""
    group = program()
    context: Any = typer.Context(group, info_name="orrery")
    rest = list(words)
    while hasattr(group, "resolve_command"):
        name, group, rest = group.resolve_command(context, rest)
        if hasattr(group, "resolve_command"):
            context = typer.Context(group, info_name=name, parent=context)
    return group.make_context(name, rest, parent=context)


@pytest.mark.parametrize("words", COMMANDS)
def test_a_shown_command_is_one_that_the_program_takes(words: list[str]) -> None:
    if words[0].startswith("-"):  # of the program itself
        return
    asked = parsed(words).params
    name = asked.get("study")
    if name is None or name.endswith((".yaml", ".yml")) or name.isupper():
        return
    assert name in shipped_studies()
    study = shipped(name, asked.get("preset"))
    known = {*StudyFile.model_fields, *study.workload.Config.model_fields}
    assert {key.split(".")[0] for key in parsed_settings(asked.get("settings"))} <= known
    assert set(asked.get("only") or ()) <= {arm.name for arm in study.arms()}


@cache
def shipped(name: str, preset: str | None) -> Study:
    """Without the settings that are shown beside it: they name files of the reader's."""
    return Study.load(name, preset=preset, home=ROOT / "no-home")


def is_cheap(words: Sequence[str]) -> bool:
    ours = all("/" not in word and not word.endswith(".yaml") for word in words)
    return words[0] in CHEAP and "--on" not in words and ours and not words[-1].isupper()


@pytest.mark.parametrize("words", [each for each in COMMANDS if is_cheap(each.values[0])])
def test_a_cheap_command_runs(words: list[str], home: Home) -> None:
    from typer.testing import CliRunner

    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert done.output.strip()


def test_shown_targets_of_make_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    shown = {
        word
        for block in of("sh")
        for word in re.findall(r"^(?:git .* && )?make ([a-z]+)", block.text, re.MULTILINE)
    }
    assert shown
    assert shown <= set(targets)


# -- pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_page_is_that_of_the_code(name: str) -> None:
    maker = made_by(GENERATED[name])
    again = f"run: python docs/{GENERATED[name]}.py"
    assert (DOCS / name).read_text(encoding="utf-8") == maker.page(), again


def made_by(script: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(script, DOCS / f"{script}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_site_s_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {str(path.relative_to(DOCS)) for path in DOCS.glob("**/*") if is_page(path)}
    assert sorted(page for page in pages if f": {page}\n" not in menu) == []


def is_page(path: Path) -> bool:
    return path.suffix in (".md", ".ipynb") and ".ipynb_checkpoints" not in path.parts
