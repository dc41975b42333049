"""The report as Markdown: reads well as text, and as the note of an MLflow run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.report.info import StudyInfo
from orchestrator.report.rows import (
    cell,
    counts_text,
    delta_text,
    duration_text,
    family_text,
    gate_text,
    level,
    mean_text,
    places,
    size_text,
    trial_columns,
)
from orchestrator.report.sections import Section, section_markdown
from orchestrator.verdict.labels import COMPARATOR
from orchestrator.verdict.numbers import shown, signed
from orchestrator.verdict.result import ArmVerdict, Best, Verdict

MOST_TRIALS = 200


def markdown(
    verdict: Verdict,
    info: StudyInfo,
    trials: Sequence[Mapping[str, Any]] = (),
    pictures: Mapping[str, str] | None = None,
    sections: Sequence[Section] = (),
) -> str:
    """The whole report; `pictures` are file names beside it, by their alternative text.

    `sections` come after the arms and their pictures.
    """
    parts = [
        *_head(info),
        "## Answer",
        verdict.answer,
        f"- State: {verdict.state}",
        *_facts(verdict),
    ]
    parts += ["## Arms", _arms_intro(verdict), _arm_table(verdict, verdict.arms)]
    if verdict.controls:
        parts += ["## Controls", "Shown apart, never ranked; differences are for one comparison."]
        parts.append(_arm_table(verdict, verdict.controls))
    parts += [f"![{_safe(text)}]({name})" for text, name in (pictures or {}).items()]
    parts += [part for one in sections for part in section_markdown(one)]
    if verdict.next_steps:
        parts += [
            "## Next steps",
            "\n".join(f"{i}. {s}" for i, s in enumerate(verdict.next_steps, 1)),
        ]
    if verdict.notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in verdict.notes)]
    return _join([*parts, *_ending(info, trials)])


def markdown_without_rule(
    info: StudyInfo, trials: Sequence[Mapping[str, Any]], sections: Sequence[Section]
) -> str:
    """The same of a study that states no rule: what was measured, and no verdict."""
    shown = [part for one in sections for part in section_markdown(one)]
    return _join([*_head(info), *shown, *_ending(info, trials)])


def _head(info: StudyInfo) -> list[str]:
    parts = [f"# {info.name}", f"**{_line(info.question)}**"]
    return [*parts, f"Hypothesis: {_line(info.hypothesis)}"] if info.hypothesis else parts


def _ending(info: StudyInfo, trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where it came from, and its trials."""
    parts = ["## Provenance", _provenance(info)]
    if info.reproduce:
        parts += ["## How to reproduce", f"```sh\n{info.reproduce}\n```"]
    if trials:
        parts += ["## Trials", _trials(trials, info.asked)]
    return parts


def best_text(best: Best, digits: int) -> str:
    """The best configuration, with the split that chose it and the split it is reported on."""
    what = f"{signed(best.delta, digits)}: {best.label}"
    return (
        f"{best.arm}, chosen on {best.selection_split} ({shown(best.selection_mean, digits)}); "
        f"on {best.report_split} {shown(best.mean, digits)}, "
        + ("which is the comparator itself" if best.label == COMPARATOR else f"difference {what}")
    )


def _facts(verdict: Verdict) -> list[str]:
    digits = places(verdict)
    facts = [f"- Gate {gate_text(verdict.gate, digits, verdict.unit)}"] if verdict.gate else []
    if verdict.best is not None:
        facts.append(f"- Best: {best_text(verdict.best, digits)}")
    facts += [f"- Mixed: {one}" for one in verdict.mixed]
    return facts


def _arms_intro(verdict: Verdict) -> str:
    return (
        f"{verdict.metric} in {verdict.unit}, {verdict.direction} is better. Means with "
        f"{level(verdict.confidence)} intervals; differences to `{verdict.comparator}` with "
        f"{family_text(verdict)}. The label speaks of the interval, the band of the point estimate."
    )


def _arm_table(verdict: Verdict, arms: Sequence[ArmVerdict]) -> str:
    digits = places(verdict)
    head = ["Arm", "Trials", verdict.metric, "Above floor", "Difference", "Label", "Band", "Why"]
    rows = [
        [
            f"`{arm.arm}`",
            counts_text(arm),
            mean_text(arm, digits),
            shown(arm.extra.get("floor_corrected"), digits),
            delta_text(arm, digits),
            arm.label,
            arm.band or "-",
            arm.why or "-",
        ]
        for arm in arms
    ]
    return _table(head, rows, right={2, 3, 4})


def _provenance(info: StudyInfo) -> str:
    facts = {
        "Instance": info.instance,
        "Home": info.home,
        "MLflow run": info.mlflow_run_id,
        "Time in trials": duration_text(info.wall_time_s),
        "Disk, trials alone": size_text(info.disk_bytes),
        "Written": info.created,
        **info.provenance,
    }
    return "\n".join(f"- {name}: {cell(value)}" for name, value in facts.items())


def _trials(trials: Sequence[Mapping[str, Any]], asked: Sequence[str]) -> str:
    names, left = trial_columns(trials, asked)
    shown_rows = [[cell(row.get(name)) for name in names] for row in trials[:MOST_TRIALS]]
    more = len(trials) - MOST_TRIALS
    tail = f"\n\n{more} more in trials.csv." if more > 0 else ""
    return _table(names, shown_rows) + tail + (f"\n\n{left}" if left else "")


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], right: set[int] | None = None
) -> str:
    rule = ["---:" if i in (right or set()) else "---" for i in range(len(head))]
    lines = [head, rule, *rows]
    return "\n".join("| " + " | ".join(_safe(value) for value in line) + " |" for line in lines)


def _line(text: str) -> str:
    """What somebody wrote as one line, and no element of a page that shows it."""
    return " ".join(text.split()).replace("<", "&lt;")


def _safe(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _join(parts: Sequence[str]) -> str:
    """Blank lines between parts, none between the items of a list."""
    text = ""
    for before, part in zip(["", *parts], parts, strict=False):
        listed = before.startswith("- ") and part.startswith("- ")
        text += ("" if not text else "\n" if listed else "\n\n") + part
    return text + "\n"
