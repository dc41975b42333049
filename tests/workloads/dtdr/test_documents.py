"""What docs/transform-domain.md shows can be planned, and its words are those of the program."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from orchestrator import Study
from orchestrator.evaluation.tables import asked_points
from workloads.dtdr import asking
from workloads.dtdr.codec.recipe import Quantiser, Transform

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "transform-domain.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def commands() -> list[list[str]]:
    """The lines that call the program, as words."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines]


def test_the_shown_study_asks_each_path_of_each_arm(tmp_path: Path) -> None:
    study = Study.load(yaml.safe_load(blocks("yaml")[0]), home=tmp_path)
    trials = {item.trial.arm: item.trial for item in study.plan().to_run}
    study.maker.check(trials.values())
    # one whole point, 7 cut by rows, 7 at random in two draws, 3 with noise
    assert len(asked_points(study, trials["int8"])) == 1 + 7 + 14
    assert len(asked_points(study, trials["hadamard"])) == 1 + 7 + 14 + 3


@pytest.mark.parametrize(
    "words", [words for words in commands() if words[1] == "run"], ids=" ".join
)
def test_every_shown_run_names_a_study_and_settings_that_exist(
    words: list[str], tmp_path: Path
) -> None:
    preset = words[words.index("--preset") + 1] if "--preset" in words else None
    study = Study.load(words[2], preset=preset, home=tmp_path)
    settings = [one.split("=")[0] for flag, one in pairwise(words) if flag == "-s"]
    assert set(settings) <= set(study.workload.Config.model_fields)


@pytest.mark.parametrize(
    "words", [words for words in commands() if words[1] != "run"], ids=" ".join
)
def test_every_shown_command_takes_its_words(words: list[str]) -> None:
    from typer.main import get_command

    from orchestrator.cli.app import app

    program: Any = get_command(app)
    command = program.commands[words[1]]
    assert command.make_context(words[1], words[2:]).params


@pytest.mark.parametrize("what", [Transform, Quantiser, asking.Domain, asking.Fill, asking.Damage])
def test_every_name_of_the_codec_and_of_points_is_explained(what: object) -> None:
    named = set(re.findall(r"`([a-z+]+)`", TEXT))
    assert set(get_args(what)) <= named


def test_every_key_of_a_point_is_explained() -> None:
    assert {one.name for one in fields(asking.Asked)} <= set(re.findall(r"`([a-z_]+)`", TEXT))
