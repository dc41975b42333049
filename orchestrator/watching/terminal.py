"""A study's frame in a terminal: header, arms, what runs now, growth, alerts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import StringIO
from typing import TYPE_CHECKING

from orchestrator.progress import duration
from orchestrator.verdict.numbers import shown, signed
from orchestrator.watching.arms import NOT_A_VERDICT, ArmSoFar
from orchestrator.watching.frame import Frame, Growth, RunningTrial
from orchestrator.watching.lines import counts_text
from orchestrator.watching.sparkline import sparkline

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

NARROW = 72
WIDE = 110
MOST_JOBS = 4
"""Jobs that the header names."""
LEAST_ARMS = 2
"""Rows of arms that are worth a table."""
ALERT_STYLES = {"critical": "red", "warning": "yellow", "info": "dim"}
STATE_STYLES = {"done": "green", "failed": "red", "stopped": "yellow"}
LEAST_LATE_S = 0.1
"""A rank that is less late is level with the others."""
GOOD_EFFICIENCY = 10.0
"""Points per 10,000 parameters that the source marks with a star."""


def render_frame(frame: Frame, width: int, height: int | None = None) -> Group:
    """Something for `rich.console.Console.print`, at most `height` lines where that can be.

    Arms give way first, then the rest of the question, then growth: what runs and what is wrong
    stay in sight.
    """
    from rich.console import Console, Group

    if height is None:
        return Group(*_parts(frame, width, _Room(1000, 1000), 1000))
    measure = Console(file=StringIO(), width=width)
    for room in _rooms(height):
        arms = min(len(frame.arms), height)
        while True:
            drawn = Group(*_parts(frame, width, room, arms))
            over = len(measure.render_lines(drawn)) - height
            if over <= 0:
                return drawn
            if arms <= room.least_arms:
                break
            arms = arms - over if arms - over >= LEAST_ARMS else room.least_arms
    return drawn


@dataclass(frozen=True)
class _Room:
    """How many rows the parts of a frame get, and which of them may be left out."""

    running: int
    alerts: int
    least_arms: int = LEAST_ARMS
    question: bool = True
    growth: bool = True


def _rooms(height: int) -> Iterator[_Room]:
    """What is tried for a terminal of that height, one after the other."""
    room = _Room(max(2, height // 5), max(2, height // 6))
    yield room
    room = replace(room, question=False)
    yield room
    yield replace(room, least_arms=0)
    room = replace(room, growth=False)
    yield room
    room = replace(room, least_arms=0)
    yield room
    yield replace(room, running=1, alerts=1)


def _parts(frame: Frame, width: int, room: _Room, arms: int) -> Iterator[RenderableType]:
    from rich.text import Text

    yield _header(frame, None if room.question else width)
    if frame.arms and arms:
        yield _arms(frame, width, arms)
    if (more := len(frame.arms) - arms) > 0:
        text = f"… and {more} more arms" if arms else f"\n… {more} arms"
        yield Text(f"{text} (--once shows all)", style="dim")
    if frame.running:
        yield _running(frame, width, room.running)
    if (more := len(frame.running) - room.running) > 0:
        yield Text(f"… and {more} more", style="dim")
    if frame.growth is not None and room.growth:
        yield growth_text(frame.growth)
    elif frame.growth is not None:
        yield Text("… growth (--once shows it)", style="dim")
    yield _alerts(frame, room.alerts, width)
    if frame.answer is not None:
        name = "Answer" if frame.metric is None else "Verdict"
        yield Text(f"\n{name}: {frame.answer}", style="bold")


def _header(frame: Frame, first_line: int | None) -> Text:
    """`first_line`: how many columns study and question get; None: all they take."""
    from rich.text import Text

    head = Text.assemble((frame.study, "bold"), "  ", frame.question)
    if first_line is not None:
        head.truncate(first_line, overflow="ellipsis")
    head.append("\n")
    head.append(frame.state, style=STATE_STYLES.get(frame.state, "bold"))
    head.append(f"  {counts_text(frame)}")
    if frame.points is not None:
        head.append(f"  {frame.points.text}")
    if frame.elapsed_s is not None:
        head.append(f"  elapsed {duration(frame.elapsed_s)}")
        left = "n/a" if frame.left_s is None else f"about {duration(frame.left_s)}"
        if frame.state == "running":
            head.append(f", left {left}")
    if frame.driver:
        head.append(f"\n{frame.driver} drives it", style="dim")
    elif frame.state in ("planned", "stopped") or _lacks_points(frame):
        head.append(f"\nnobody drives it; go on with: {frame.resume}", style="dim")
    for job in frame.jobs[:MOST_JOBS]:
        head.append(f"\n{job.text}", style="dim")
    if len(frame.jobs) > MOST_JOBS:
        head.append(f"\n… and {len(frame.jobs) - MOST_JOBS} more jobs", style="dim")
    return head


def _lacks_points(frame: Frame) -> bool:
    """Whether its trials are over, and points of their models are left to measure."""
    return frame.over and frame.points is not None and frame.points.settled < frame.points.asked


def _table(title: str) -> Table:
    from rich import box
    from rich.table import Table

    return Table(
        title=f"\n{title}", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
        show_edge=False, pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip


def _arms(frame: Frame, width: int, most: int) -> Table:
    from rich.text import Text

    ruled = frame.metric is not None
    table = _table("Arms so far")
    table.add_column("arm", overflow="fold", max_width=max(12, width // 3))
    table.add_column("done", justify="right", no_wrap=True)
    if ruled:
        table.add_column(f"mean {frame.metric}", justify="right")
        table.add_column(f"vs {frame.comparator or 'n/a'}", justify="left", overflow="fold")
    rows = _chosen(frame, most)
    controls = [arm for arm in rows if arm.role == "control"]
    for arm in [*(arm for arm in rows if arm.role != "control"), *controls]:
        if controls and arm is controls[0]:
            table.add_section()
            table.add_row(Text("controls, never ranked", style="dim"))
        cells = [Text(arm.arm), _counts(arm)]
        if ruled:
            cells += [Text(shown(arm.mean, frame.places)), _difference(arm, frame)]
        table.add_row(*cells)
    return table


def _chosen(frame: Frame, most: int) -> list[ArmSoFar]:
    """All arms where they fit; else the comparator, what runs and what differs most, in order."""
    if len(frame.arms) <= most:
        return list(frame.arms)
    order = sorted(
        frame.arms,
        key=lambda a: (a.arm != frame.comparator, not a.running, -abs(a.difference or 0.0)),
    )
    kept = {arm.arm for arm in order[:most]}
    return [arm for arm in frame.arms if arm.arm in kept]


def _counts(arm: ArmSoFar) -> Text:
    from rich.text import Text

    text = Text(f"{arm.done}/{arm.planned}")
    if arm.failed:
        text.append(f" {arm.failed} failed", style="red")
    return text


def _difference(arm: ArmSoFar, frame: Frame) -> Text:
    from rich.text import Text

    if arm.arm == frame.comparator:
        return Text("comparator", style="dim")
    text = Text(signed(arm.difference, frame.places))
    if arm.ahead and not frame.over:
        text.append(" ✓", style="green")
        text.append(f" {NOT_A_VERDICT}", style="dim")
    return text


def _running(frame: Frame, width: int, most: int) -> Table:
    from rich.text import Text

    table = _table("Running")
    table.add_column("trial", overflow="fold", max_width=max(12, 3 * width // 10))
    table.add_column("step (epoch)", no_wrap=width >= NARROW)
    table.add_column("loss", no_wrap=True)
    table.add_column("eval", no_wrap=True)
    if many := any(trial.ranks > 1 for trial in frame.running):
        table.add_column("ranks", overflow="fold")
    if usage := width >= NARROW:
        table.add_column("cpu, memory", no_wrap=True)
    for trial in frame.running[:most]:
        again = f", attempt {trial.attempt}" if trial.attempt else ""
        cells = [
            Text(f"{trial.arm} seed {trial.seed}{again}"),
            Text(_place(trial)),
            _loss(trial, width),
            Text(_named(trial.eval_name, trial.eval, width)),
        ]
        cells += [Text(ranks_text(trial))] if many else []
        cells += [Text(_usage(trial))] if usage else []
        table.add_row(*cells)
    return table


def _place(trial: RunningTrial) -> str:
    if trial.step is None:
        return "starting"
    epoch = "" if trial.epoch is None else f" ({trial.epoch:g})"
    return f"{trial.step}{epoch}"


def _loss(trial: RunningTrial, width: int) -> Text:
    from rich.text import Text

    text = Text(_named(trial.loss_name, trial.loss, width))
    if trial.loss is not None and not math.isfinite(trial.loss):
        text.stylize("red")
    points = 6 if width < NARROW else 24 if width >= WIDE else 10
    line = sparkline(trial.loss_curve, points)
    return text.append(f" {line}", style="cyan") if line else text


def _named(name: str | None, value: float | None, width: int) -> str:
    """The value, with its name unless that goes without saying or there is no room."""
    if name is None or value is None:
        return "n/a"
    short = name.partition("/")[2] or name
    number = f"{value:.4g}"
    return number if short == "loss" or width < NARROW else f"{short} {number}"


def ranks_text(trial: RunningTrial) -> str:
    """`4, slowest 2 (+1.5 s)`, or how many steps it is behind; just `4` where all are level."""
    late_s = trial.slowest_late_s or 0.0
    if trial.slowest_behind_steps:
        behind = f"{trial.slowest_behind_steps} steps behind"
    elif late_s >= LEAST_LATE_S:
        behind = f"+{late_s:.1f} s"
    else:
        return str(trial.ranks)
    return f"{trial.ranks}, slowest {trial.slowest_rank} ({behind})"


def _usage(trial: RunningTrial) -> str:
    if trial.cpu_percent is None and trial.rss_mib is None:
        return "n/a"
    cpu = "n/a" if trial.cpu_percent is None else f"{trial.cpu_percent:.0f} %"
    memory = "n/a" if trial.rss_mib is None else f"{trial.rss_mib:.0f} MiB"
    return f"{cpu}, {memory}"


def growth_text(growth: Growth) -> Text:
    """The source's dashboard of one trial, as lines."""
    from rich.text import Text

    of = "" if growth.max_epochs is None else f"/{growth.max_epochs}"
    when = "" if growth.epoch is None else f", epoch {growth.epoch:g}{of}"
    ended = "" if growth.running else ", ended"
    text = Text.assemble(("Growth", "bold"), f"  {growth.arm} seed {growth.seed}{when}{ended}\n")
    accuracy = "n/a" if growth.accuracy is None else f"{growth.accuracy:.1f} %"
    text.append(f"  accuracy     {accuracy} ({signed(growth.accuracy_delta)} against the baseline)")
    _tick(text, growth.accuracy_delta is not None and growth.accuracy_delta > 0)
    source = growth.baseline_source or "none is known: no comparator of this seed, no host-only run"
    text.append(f"\n  baseline     {source}\n", style="dim")
    text.append(f"  param ratio  {_times(growth.params_ratio)} host params\n")
    text.append(f"  efficiency   {_times(growth.efficiency_ratio)} accuracy per parameter")
    _tick(text, growth.efficiency_ratio is not None and growth.efficiency_ratio > 1)
    text.append("\n")
    if growth.contributions:
        part = "" if growth.measured_on is None else f"; {growth.measured_on}"
        first = growth.contributions[0]
        if first.epoch is not None and growth.epoch is not None and first.epoch < growth.epoch:
            part += f"; of epoch {first.epoch}"
        text.append(f"  seeds ({first.method}, points{part})\n")
    for one in growth.contributions:
        params = "n/a" if one.params is None else f"{one.params:,}"
        text.append(
            f"    {one.slot}: {signed(one.contribution)} "
            f"({one.blueprint or 'n/a'}, {params} params)  efficiency {shown(one.efficiency, 2)}"
        )
        text.append(" ★\n" if (one.efficiency or 0.0) >= GOOD_EFFICIENCY else "\n")
    if growth.recent_actions or growth.entropy is not None or growth.value_std is not None:
        value = "" if growth.value_collapse is None else _sound(growth.value_collapse, "healthy")
        mood = (
            "" if growth.entropy_collapse is None else _sound(growth.entropy_collapse, "exploring")
        )
        agreed = growth.agreement_rate
        text.append(
            f"  policy       value std {shown(growth.value_std, 2)}{value}, "
            f"entropy {shown(growth.entropy, 2)}{mood}, as the heuristic "
            f"{'n/a' if agreed is None else f'{agreed:.0%}'}\n"
        )
        text.append(f"  actions      {' '.join(growth.recent_actions) or 'n/a'}\n")
    text.right_crop(1)
    return text


def _tick(text: Text, ahead: bool) -> None:
    if ahead:
        text.append(" ✓", style="green")
        text.append(f" {NOT_A_VERDICT}", style="dim")


def _sound(collapsed: bool, otherwise: str) -> str:
    return " (collapsed)" if collapsed else f" ({otherwise})"


def _times(ratio: float | None) -> str:
    return "n/a" if ratio is None else f"{ratio:.2f}×"


def _alerts(frame: Frame, most: int, width: int) -> Text:
    from rich.text import Text

    text = Text.assemble(("\nAlerts", "bold"))
    if not frame.notices:
        return text.append("  none")
    for notice in frame.notices[:most]:
        line = Text(f"\n{notice.level}: {notice.text}", style=ALERT_STYLES[notice.level])
        line.truncate(max(20, 2 * width), overflow="ellipsis")
        text.append(line)
    if (more := len(frame.notices) - most) > 0:
        text.append(f"\n… and {more} more", style="dim")
    return text
