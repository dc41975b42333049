"""The verdict in a terminal of 80 columns: gate, arms, controls apart, and the answer last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.report.findings import finding_sections
from orchestrator.report.markdown import best_text
from orchestrator.report.rows import delta_text, family_text, gate_text, places, tone
from orchestrator.report.sections import comparison_sections, section_rich
from orchestrator.verdict.numbers import shown
from orchestrator.verdict.result import ArmVerdict, Verdict

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

    from orchestrator.findings import Findings

STYLES = {"gain": "green", "harm": "red", "broken": "red", "none": "dim", "unsure": "yellow"}


def render_answer(verdict: Verdict | None, findings: Findings) -> Group:
    """The verdict with what was found beside it, or the findings of a study without a rule."""
    return render_findings(findings) if verdict is None else render_verdict(verdict, findings)


def render_verdict(verdict: Verdict, findings: Findings | None = None) -> Group:
    """Something to give to `rich.console.Console.print`; wraps rather than cuts what is long.

    With the study's findings, if it has any, before the answer.
    """
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    digits = places(verdict)
    parts: list[RenderableType] = []
    if verdict.question:
        parts.append(Text(verdict.question, style="italic"))
    if verdict.gate is not None:
        style = {True: "green", False: "red", None: "yellow"}[verdict.gate.met]
        line = Text("Gate ", style="bold")
        line.append(gate_text(verdict.gate, digits, verdict.unit), style=style)
        parts.append(line)
    title = f"Arms: {verdict.metric} ({verdict.unit}), {verdict.direction} is better"
    parts.append(_table(verdict, verdict.arms, title))
    if verdict.controls:
        parts.append(_table(verdict, verdict.controls, "Controls (shown apart, never ranked)"))
    parts.append(Text(f"Differences to {verdict.comparator}; {family_text(verdict)}.", style="dim"))
    parts += [Text(f"Note: {note}", style="dim") for note in verdict.notes]
    for section in (*comparison_sections(verdict), *finding_sections(findings, {}, brief=True)):
        parts += section_rich(section)
    if findings is not None and findings.answer:
        parts.append(Text(findings.answer))
    if verdict.best is not None:
        parts.append(Text(f"Best: {best_text(verdict.best, digits)}."))
    parts += [Text(f"Next: {step}") for step in verdict.next_steps]
    parts.append(Padding(Text(verdict.answer, style="bold"), (1, 0, 0, 0)))
    return Group(*parts)


def render_findings(findings: Findings) -> Group:
    """The same of a study that states no rule: the answer first if it has one, and what it
    found."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    parts: list[RenderableType] = []
    if findings.answer:
        parts.append(Padding(Text(findings.answer, style="bold"), (0, 0, 1, 0)))
    for section in finding_sections(findings, {}, brief=True):
        parts += section_rich(section)
    return Group(*parts)


def _table(verdict: Verdict, arms: Sequence[ArmVerdict], title: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    digits = places(verdict)
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("arm", overflow="fold", max_width=24)
    table.add_column("n", justify="right")
    table.add_column(verdict.metric, justify="right", no_wrap=True)
    table.add_column("difference", justify="right", no_wrap=True)
    table.add_column("label", overflow="fold")
    for arm in arms:
        style = STYLES.get(tone(arm), "")
        table.add_row(
            Text(arm.arm),
            str(arm.n) if arm.n == arm.planned else f"{arm.n}/{arm.planned}",
            shown(arm.mean, digits),
            "" if arm.delta is None and arm.arm == verdict.comparator else delta_text(arm, digits),
            Text(_label(arm), style=style),
        )
    return table


def _label(arm: ArmVerdict) -> str:
    for what in ("collapsed", "diverged"):
        count = arm.extra.get(what)
        if count:
            note = f"{count} of {arm.planned}"
            return f"{arm.label} ({note})" if arm.label == what else f"{arm.label}; {note} {what}"
    return arm.label
