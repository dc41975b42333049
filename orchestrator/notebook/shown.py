"""Studies, plans, verdicts and runs as fragments of HTML: what `_repr_html_` gives a notebook."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.counted import counted
from orchestrator.progress import duration
from orchestrator.report.findings import finding_sections
from orchestrator.report.rows import counts_text, delta_text, family_text, gate_text, places
from orchestrator.report.sections import comparison_sections, section_html
from orchestrator.report.tables_html import table_html
from orchestrator.verdict.numbers import shown

if TYPE_CHECKING:
    from orchestrator.planning import Plan
    from orchestrator.running import RunReport
    from orchestrator.study import Study
    from orchestrator.verdict import ArmVerdict, Verdict


def study_html(study: Study) -> str:
    """What a study asks, of what, and its name in the home."""
    seeds = counted(len(study.file.seeds), "seed")
    told = f"{study.file.design.kind} of {study.file.workload}, {seeds}"
    return (
        f"<p><strong>{escape(study.instance)}</strong><br>{escape(study.file.question)}</p>"
        f"<p>{escape(told)}</p>"
    )


def plan_html(plan: Plan) -> str:
    """An arm a row: what is known of it and what would run."""
    counts: dict[str, Counter[str]] = {}
    settings: dict[str, str] = {}
    for item in plan.trials:
        counts.setdefault(item.trial.arm, Counter())[item.action] += 1
        factors = item.trial.factors.items()
        settings[item.trial.arm] = " ".join(f"{key}={value}" for key, value in factors)
    rows = [
        [
            arm.name,
            arm.role,
            settings.get(arm.name, ""),
            str(counts.get(arm.name, Counter())["known"]),
            str(counts.get(arm.name, Counter())["run"]),
        ]
        for arm in plan.arms
    ]
    caption = f"{counted(len(plan.trials), 'trial')}: {plan.known} known, {len(plan.to_run)} to run"
    table = table_html(caption, ["arm", "role", "settings", "known", "to run"], rows, {3, 4})
    return table + _paragraphs(plan.notes)


def verdict_html(verdict: Verdict) -> str:
    """The answer, the gate, arms and controls apart, and what else was asked."""
    digits = places(verdict)
    parts = [
        f"<p>{escape(verdict.question)}</p>",
        f"<p><strong>{escape(verdict.state)}</strong>: {escape(verdict.answer)}</p>",
    ]
    if verdict.gate is not None:
        parts.append(f"<p>Gate {escape(gate_text(verdict.gate, digits, verdict.unit))}.</p>")
    title = f"{verdict.metric} ({verdict.unit}), {verdict.direction} is better"
    parts.append(_arms(verdict, verdict.arms, title))
    if verdict.controls:
        parts.append(_arms(verdict, verdict.controls, "Controls: shown apart, never ranked"))
    parts += [section_html(section, None) for section in comparison_sections(verdict)]
    parts.append(
        f"<p>Differences to {escape(verdict.comparator)}; {escape(family_text(verdict))}.</p>"
    )
    return "".join(parts) + _paragraphs(verdict.notes)


def run_html(run: RunReport) -> str:
    """The verdict or the findings of a run, how it went, and where its report is."""
    parts = [] if run.verdict is None else [verdict_html(run.verdict)]
    findings = run.report.findings
    if findings and findings.answer:
        parts.append(f"<p><strong>{escape(findings.answer)}</strong></p>")
    parts += [section_html(one, None) for one in finding_sections(findings, {}, brief=True)]
    counts = ", ".join(f"{count} {state}" for state, count in sorted(run.plan.counts.items()))
    ended = "; interrupted: run it again to go on" if run.interrupted else ""
    parts.append(f"<p>{escape(counts)}; {run.ran} ran now, in {duration(run.seconds)}{ended}</p>")
    page = Path(run.report.folder) / "report.html"
    if page.exists():
        parts.append(f"<p>report: <code>{escape(_from_here(page))}</code></p>")
    return "".join(parts)


def _arms(verdict: Verdict, arms: Sequence[ArmVerdict], caption: str) -> str:
    digits = places(verdict)
    rows = [
        [
            arm.arm,
            counts_text(arm),
            shown(arm.mean, digits),
            "" if arm.delta is None and arm.arm == verdict.comparator else delta_text(arm, digits),
            arm.label,
        ]
        for arm in arms
    ]
    return table_html(
        caption, ["arm", "trials", verdict.metric, "difference", "label"], rows, {2, 3}
    )


def _paragraphs(lines: Sequence[str]) -> str:
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def _from_here(path: Path) -> str:
    """As a reader of the notebook would write it."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
