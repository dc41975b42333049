"""What docs/phase-coupling.md shows can be run, and its words are those of the program."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest

from orchestrator import Study
from orchestrator.cli.options import parsed_settings
from workloads.phase_coupling.config import Mode, PhaseCouplingConfig, Site
from workloads.phase_coupling.metrics import SCORE_COLUMNS, TONES

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "phase-coupling.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
STUDIES = ("phase-baseline", "phase-intervention", "phase-training", "kssm")


def commands(program: str) -> list[list[str]]:
    """The lines that call the program, as words, without its name."""
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [line[1:] for line in lines if line[:1] == [program]]


@pytest.mark.parametrize(
    "words", [line for line in commands("orrery") if line[0] == "run"], ids=" ".join
)
def test_every_shown_run_names_a_study_and_settings_that_exist(
    words: list[str], tmp_path: Path
) -> None:
    preset = words[words.index("--preset") + 1] if "--preset" in words else None
    settings = parsed_settings([pair for flag, pair in pairwise(words) if flag == "-s"])
    study = Study.load(words[1], preset=preset, home=tmp_path)
    assert set(settings) <= set(study.workload.Config.model_fields)


def test_the_shown_demo_takes_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    (words,) = commands("python")
    with pytest.raises(SystemExit) as left:
        import_module(words[1]).main(["--help"])
    assert not left.value.code
    shown = capsys.readouterr().out
    assert all(word in shown for word in words[2:] if word.startswith("--"))


def test_every_mode_site_tone_and_score_is_explained() -> None:
    named = set(re.findall(r"`([a-zA-Z0-9_/]+)`", TEXT))
    assert {*get_args(Mode), *get_args(Site), *TONES, *SCORE_COLUMNS} <= named
    for split in ("texts", "samples", "steps"):
        shown = next(line for line in TEXT.splitlines() if line.startswith(f"| `{split}` |"))
        assert {"entropy", "ce"} & set(re.findall(r"`(\w+)`", shown)), split


def test_the_figures_that_the_source_s_formula_gives_are_those_of_the_program() -> None:
    from workloads.phase_coupling.cores.order import order_parameter
    from workloads.phase_coupling.cores.phases import linspace_phases

    for target, given in (
        (0.1, ".042"),
        (0.3, ".306"),
        (0.5, ".595"),
        (0.7, ".840"),
        (0.9, ".981"),
    ):
        r = float(order_parameter(linspace_phases(target, 16)))
        assert f"{r:.3f}".lstrip("0") == given
        assert given in TEXT


def test_defaults_are_those_that_the_page_tells() -> None:
    config = PhaseCouplingConfig()
    assert (config.strength, config.core.kind, config.initial) == (0.1, "kuramoto", "equal")
    assert "strength = 0.1" in TEXT
    assert "K = 2, dt = 0.1" in TEXT


@pytest.mark.parametrize("name", STUDIES)
def test_the_readme_names_every_study(name: str) -> None:
    assert f"orrery run {name}" in README
    assert f"orrery run {name}" in TEXT
