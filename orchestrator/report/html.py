"""The report as one self-contained HTML page: no network, light and dark, any width.

As every report writes it, it has no script. With plots it holds what draws them too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from orchestrator.counted import counted
from orchestrator.report.factors import FactorGrid, cell_value, grid_of
from orchestrator.report.info import StudyInfo
from orchestrator.report.interactive.embedding import KEYS, POLICY, Plots
from orchestrator.report.markdown import best_text
from orchestrator.report.plots import reference_lines
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
    tone,
    trial_columns,
)
from orchestrator.report.sections import Section, section_html
from orchestrator.report.strips import Mark, StripRow, strip_plot
from orchestrator.report.tables_html import table_html
from orchestrator.report.trial_places import Places, files_html, trials_html
from orchestrator.verdict.numbers import MISSING, shown
from orchestrator.verdict.result import ArmVerdict, Verdict

NONE, NOWHERE = Plots(), Places()
Part = tuple[str, str]
"""A headline and the body beneath it."""
ANSWER_TONES = {"improves": "gain", "marginal": "gain", "harm": "harm", "gate_not_met": "harm"}


def html_page(
    verdict: Verdict,
    info: StudyInfo,
    trials: Sequence[Mapping[str, Any]] = (),
    sections: Sequence[Section] = (),
    folder: Path | None = None,
    plots: Plots = NONE,
    places: Places = NOWHERE,
) -> str:
    """The whole page as text; `sections` come after the arms, with their pictures in `folder`.

    `plots` stand in place of strips and pictures where a script can draw them; `places` are what
    the page can point to.
    """
    differences = plots.shown("differences", _differences(verdict))
    parts = [
        ("Answer", _answer(verdict)),
        ("Scores", plots.shown("means", _means(verdict))),
        (f"Difference to {verdict.comparator}", differences),
        ("Arms", _arm_table(verdict, verdict.arms, _arms_caption(verdict))),
    ]
    if verdict.controls:
        caption = "Controls are shown apart and never ranked; differences are for one comparison."
        parts.append(("Controls", _arm_table(verdict, verdict.controls, caption)))
    grid = grid_of(verdict)
    if grid is not None:
        parts.append(("By factor", plots.shown("factors", _factor_tables(verdict, grid))))
    parts += [(one.title, section_html(one, folder, plots)) for one in sections]
    if verdict.next_steps:
        steps = "".join(f"<li>{escape(step)}</li>" for step in verdict.next_steps)
        parts.append(("Next steps", f"<ol>{steps}</ol>"))
    if verdict.notes:
        notes = "".join(f"<li>{escape(note)}</li>" for note in verdict.notes)
        parts.append(("Notes", f"<ul>{notes}</ul>"))
    parts += _ending(info, trials, places)
    return _page(f"{info.name}: {verdict.state}", info, parts, plots)


def page_without_rule(
    info: StudyInfo,
    trials: Sequence[Mapping[str, Any]],
    sections: Sequence[Section],
    folder: Path,
    plots: Plots = NONE,
    places: Places = NOWHERE,
) -> str:
    """The same of a study that states no rule: what was measured, and no verdict."""
    shown = [(one.title, section_html(one, folder, plots)) for one in sections]
    return _page(info.name, info, [*shown, *_ending(info, trials, places)], plots)


def _head(info: StudyInfo) -> str:
    head = f"<h1>{escape(info.name)}</h1><p>{escape(info.question)}</p>"
    if info.hypothesis:
        head += f'\n<p class="soft">Hypothesis: {escape(info.hypothesis)}</p>'
    return head


def _ending(info: StudyInfo, trials: Sequence[Mapping[str, Any]], places: Places) -> list[Part]:
    """Where it came from, and its trials."""
    parts: list[Part] = []
    if info.reproduce:
        command = f'<pre tabindex="0"><code>{escape(info.reproduce)}</code></pre>'
        parts.append(("How to reproduce", command))
    parts.append(("Provenance", _provenance(info)))
    if trials:
        looked = trials_html(places.trials, trials) if places.trials else ""
        parts.append(("Trials", _trials(trials, info.asked) + looked))
    if places.files:
        parts.append(("Files", files_html(places.files)))
    return parts


def _page(title: str, info: StudyInfo, parts: Sequence[Part], plots: Plots) -> str:
    titled = [(title, body) for title, body in parts if body]
    listed = "".join(
        f'<li><a href="#{_anchor(i)}">{escape(title)}</a></li>'
        for i, (title, _) in enumerate(titled)
    )
    sections = "\n".join(
        f'<section><h2 id="{_anchor(i)}">{escape(title)}</h2>\n{body}</section>'
        for i, (title, body) in enumerate(titled)
    )
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">' if plots else ""
    keys = f'<p class="soft keys">{KEYS}</p>' if plots else ""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{policy}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>"
        f"<style>\n{_style()}</style></head><body>\n<header>{_head(info)}{keys}</header>\n"
        f'<nav aria-label="On this page"><ul>{listed}</ul></nav>\n'
        f"<main>\n{sections}\n</main>\n{plots.scripts()}</body></html>\n"
    )


def _anchor(place: int) -> str:
    return f"part-{place + 1}"


@cache
def _style() -> str:
    return resources.files(__package__).joinpath("style.css").read_text("utf-8")


def _answer(verdict: Verdict) -> str:
    digits = places(verdict)
    lines = []
    if verdict.gate is not None:
        lines.append(f"Gate {gate_text(verdict.gate, digits, verdict.unit)}.")
    if verdict.best is not None:
        lines.append(f"Best: {best_text(verdict.best, digits)}.")
    more = "".join(f'<p class="soft">{escape(line)}</p>' for line in lines)
    kind = ANSWER_TONES.get(verdict.outcome, "unsure")
    return (
        f'<div class="answer {kind}"><p class="state">{escape(verdict.state)}</p>'
        f'<p class="text">{escape(verdict.answer)}</p>{more}</div>'
    )


def _means(verdict: Verdict) -> str:
    digits = places(verdict)
    sure = level(verdict.confidence)

    def row(arm: ArmVerdict) -> StripRow:
        if arm.mean is None:
            said = f"{arm.arm}: not measured"
        else:
            said = f"{arm.arm}: mean {shown(arm.mean, digits)} {verdict.unit}"
            said += _ends(arm.ci_low, arm.ci_high, digits, sure)
        numbers = mean_text(arm, digits)
        return StripRow(
            arm.arm, arm.mean, arm.ci_low, arm.ci_high, numbers, arm.label, tone(arm), said
        )

    groups = [("Arms", [row(arm) for arm in verdict.arms])]
    if verdict.controls:
        groups.append(("Controls, never ranked", [row(arm) for arm in verdict.controls]))
    marks = [
        Mark(value, f"{name}: {shown(value, digits)}", {"dashdot": "line"}.get(style, style))
        for name, value, style in reference_lines(verdict)
    ]
    caption = (
        f"{verdict.metric} in {verdict.unit}, {verdict.direction} is better; mean with "
        f"{sure} interval."
    )
    return strip_plot(caption, groups, marks)


def _differences(verdict: Verdict) -> str:
    digits = places(verdict)
    sign = 1.0 if verdict.direction == "higher" else -1.0
    rows = []
    for arm in verdict.arms:
        if arm.arm == verdict.comparator:
            continue
        said = f"{arm.arm}: not measured"
        if arm.delta is not None:
            said = f"{arm.arm}: difference {shown(arm.delta, digits)} {verdict.unit}"
            said += _ends(arm.delta_ci_low, arm.delta_ci_high, digits, level(verdict.confidence))
        rows.append(
            StripRow(
                arm.arm,
                arm.delta,
                arm.delta_ci_low,
                arm.delta_ci_high,
                delta_text(arm, digits),
                arm.label,
                tone(arm),
                f"{said}. {arm.label}",
            )
        )
    if not rows:
        return "<p>No arm to compare.</p>"
    marks = [Mark(0.0, "no difference")]
    marks += [Mark(sign * edge, "", "band", until=sign * 1e12) for edge, _ in verdict.bands]
    first, name = verdict.bands[0]
    marks.append(Mark(sign * first, f"first band, {first:g} ({name}); darker: the next", "band"))
    return strip_plot(f"In {verdict.unit}, with {family_text(verdict)}.", [("", rows)], marks)


def _ends(low: float | None, high: float | None, digits: int, sure: str) -> str:
    if low is None or high is None:
        return ", no interval"
    return f", {sure} interval {shown(low, digits)} to {shown(high, digits)}"


def _arms_caption(verdict: Verdict) -> str:
    return (
        f"Means with {level(verdict.confidence)} intervals; differences to {verdict.comparator} "
        f"with {family_text(verdict)}. The label speaks of the interval, the band of the point "
        "estimate."
    )


def _arm_table(verdict: Verdict, arms: Sequence[ArmVerdict], caption: str) -> str:
    digits = places(verdict)
    head = ["Arm", "Trials", verdict.metric, "Above floor", "Difference", "Label", "Band", "Why"]
    rows = [
        [
            arm.arm,
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
    return table_html(caption, head, rows, numbers={2, 3, 4})


def _factor_tables(verdict: Verdict, grid: FactorGrid) -> str:
    found = [cell_value(arms) for table in grid.panels.values() for arms in table.values()]
    known = [value for value in found if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    comparator = verdict.find(verdict.comparator)
    told = shown(comparator.mean if comparator else None, places(verdict))
    empty = "" if grid.full else " Empty: not in the design."
    intro = (
        f'<p class="soft">Mean {escape(verdict.metric)} in {escape(verdict.unit)}; '
        f"{escape(verdict.comparator)}: {told}.{empty}</p>"
    )
    tables = []
    for at, table in grid.panels.items():
        name = f"{grid.panel} = {cell(at)}" if grid.panel else f"by {grid.across}"
        corner = f"{grid.down} / {grid.across}" if grid.down else grid.across
        head = "".join(f'<th scope="col">{escape(cell(one))}</th>' for one in grid.columns)
        body = ""
        for row in grid.rows:
            first = escape(cell(row)) if grid.down else escape(verdict.metric)
            body += f'<tr><th scope="row">{first}</th>'
            for column in grid.columns:
                body += _grid_cell(table.get((row, column)), low, high, places(verdict))
            body += "</tr>"
        tables.append(
            f'<table class="grid"><caption>{escape(name)}</caption><thead><tr>'
            f'<th scope="col">{escape(corner)}</th>{head}</tr></thead><tbody>{body}</tbody></table>'
        )
    return f'{intro}<div class="grids">{"".join(tables)}</div>'


def _grid_cell(arms: Sequence[ArmVerdict] | None, low: float, high: float, digits: int) -> str:
    if not arms:
        return "<td></td>"
    value = cell_value(arms)
    names = escape(", ".join(arm.arm for arm in arms))
    if value is None:
        return f'<td title="{names}">{MISSING}</td>'
    heat = 5 + 40 * ((value - low) / (high - low) if high > low else 0.5)
    return (
        f'<td class="filled" style="--heat:{heat:.0f}%" title="{names}">{shown(value, digits)}</td>'
    )


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
    items = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(cell(value))}</dd>" for name, value in facts.items()
    )
    return f"<dl>{items}</dl>"


def _trials(trials: Sequence[Mapping[str, Any]], asked: Sequence[str]) -> str:
    names, left = trial_columns(trials, asked)
    rows = [[cell(row.get(name)) for name in names] for row in trials]
    table = table_html(f"One row per trial. {left}".rstrip(), names, rows)
    return f"<details><summary>{counted(len(trials), 'trial')}</summary>{table}</details>"
