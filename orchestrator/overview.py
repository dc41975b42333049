"""What MLflow's pages show of a study first: which columns, and the files of its report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from orchestrator.study_file import StudyFile
from orchestrator.verdict.rule import Rule
from telemetry import TrialEnd
from telemetry.runs import Overview

MOST_FACTORS = 8
MOST_MEASURES = 4
MOST_FILES = 30
FIRST_FILES = ("report.html", "report.md", "report.csv", "trials.csv", "verdict.json")


def overview_of(
    study: StudyFile,
    arms: Iterable[str],
    factors: Iterable[Mapping[str, object]],
    ends: Iterable[TrialEnd | None],
    report: Path | None,
) -> Overview:
    """`factors` are those of each trial: shown is what differs among them. Shown of what they
    measured is the rule's metric; without a rule the first few of the first trial that is done.
    `report` is the report's folder, if there is one."""
    return Overview(
        question=study.question,
        arms=tuple(dict.fromkeys(arms)),
        factors=_differing(factors),
        measures=_measures(study.verdict, ends),
        files=_files(report) if report is not None else (),
    )


def _differing(factors: Iterable[Mapping[str, object]]) -> tuple[str, ...]:
    levels: dict[str, set[str]] = {}
    for of_trial in factors:
        for name, level in of_trial.items():
            if level is not None:
                levels.setdefault(name, set()).add(str(level))
    return tuple(name for name, seen in levels.items() if len(seen) > 1)[:MOST_FACTORS]


def _measures(rule: Rule | None, ends: Iterable[TrialEnd | None]) -> tuple[str, ...]:
    if rule is not None:
        return (f"final/{rule.metric}",)
    done = next((end for end in ends if end is not None and end.final), None)
    return tuple(f"final/{name}" for name in done.final)[:MOST_MEASURES] if done else ()


def _files(report: Path) -> tuple[str, ...]:
    found = {path.name for path in report.iterdir() if path.is_file()} if report.is_dir() else set()
    first = [name for name in FIRST_FILES if name in found]
    pictures = sorted(name for name in found if name.endswith(".png"))
    return (*first, *pictures)[:MOST_FILES]
