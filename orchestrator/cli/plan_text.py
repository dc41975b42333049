"""A plan as a person reads it."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING

from orchestrator.cli.heading import heading
from orchestrator.cli.points_text import curve_lines, points_lines
from orchestrator.counted import counted
from orchestrator.disk import folder_bytes
from orchestrator.earlier import damaged_plan_notes
from orchestrator.progress import duration
from orchestrator.rule_hash import rule_hash
from orchestrator.statement_checks import statement_lines

if TYPE_CHECKING:
    from cluster import Place
    from orchestrator.planning import Plan
    from orchestrator.study import Study
    from orchestrator.study_file import Resources

MOST_ARMS = 40
SIZED = 20
"""Known trials whose size on disk is looked at, to tell that of the others."""


def print_plan(study: Study, plan: Plan, place: Place | None = None) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(heading(study))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("arm", "role", "settings"):
        table.add_column(name, overflow="fold")
    for name in ("known", "to run"):
        table.add_column(name, justify="right")
    by_arm: dict[str, Counter[str]] = {}
    factors = {}
    for item in plan.trials:
        by_arm.setdefault(item.trial.arm, Counter())[item.action] += 1
        factors[item.trial.arm] = item.trial.factors
    for arm in plan.arms[:MOST_ARMS]:
        counts = by_arm.get(arm.name, Counter())
        settings = " ".join(f"{key}={value}" for key, value in factors.get(arm.name, {}).items())
        table.add_row(arm.name, arm.role, settings, str(counts["known"]), str(counts["run"]))
    console.print(table)
    if len(plan.arms) > MOST_ARMS:
        console.print(f"… and {len(plan.arms) - MOST_ARMS} more arms (--json lists all)")
    for line in summary_lines(study, plan, place):
        console.print(line, markup=False)


def summary_lines(study: Study, plan: Plan, place: Place | None = None) -> list[str]:
    """What is known, what would run, with what, and what it can resolve. `place`: where; None for
    this machine."""
    from orchestrator.judging import resolvable

    lines = [*plan.notes, *curve_lines(study), *statement_lines(study.file)]
    if (rule := rule_hash(study.file)) is not None:
        lines += damaged_plan_notes(study)
        lines.append(f"rule {rule}: fixed with the first plan; a report under another is post hoc")
    known = f"known {plan.known}"
    if plan.other_code:
        known += f" ({plan.other_code} under other code; --same-code would run them again)"
    to_run = f"to run {len(plan.to_run)}"
    if plan.proposals_left:
        to_run += f" + {counted(plan.proposals_left, 'proposal')} of the search"
    lines.append(f"{counted(len(plan.trials), 'trial')}: {known}, {to_run}")
    for why, count in Counter(
        item.why for item in plan.trials if item.action == "run" and item.why
    ).items():
        lines.append(f"  {count}: {why}")
    failed = [item for item in plan.trials if item.action == "failed"]
    if failed:
        lines.append(f"  {len(failed)} failed before (orrery retry {study.name}): {failed[0].why}")
    lines += points_lines(plan)
    lines.append(_resources(study, plan, place))
    can = resolvable(study, plan)
    if can is not None:
        lines += [can[0].text, f"Noise: {can[1]}"]
    return lines


def _resources(study: Study, plan: Plan, place: Place | None) -> str:
    from cluster.local import usable_cpus

    wanted = study.file.resources
    ranks = f"{wanted.ranks} ranks of " if wanted.ranks > 1 else ""
    text = f"each takes {ranks}{wanted.cpus:g} CPU, {wanted.gpus:g} GPU: "
    if place is None or place.kind == "local":
        places = _places_here(wanted)
        if places < 1:
            return f"{text}more than this machine has ({usable_cpus()} CPUs)"
        text += f"{counted(places, 'trial')} at once here"
    else:
        places = None
        text += f"as many at once as '{place}' has room for"
        text += f", at most {wanted.max_concurrent}" if wanted.max_concurrent else ""
    return text + _time(plan, places) + _disk(study, plan)


def _places_here(wanted: Resources) -> int:
    from cluster.local import usable_cpus

    places = int(usable_cpus() / wanted.cpus) // wanted.ranks
    return min(places, wanted.max_concurrent or places)


def _time(plan: Plan, places: int | None) -> str:
    """How long it takes; `places`: trials at once, None where nobody knows."""
    times = [
        item.record.outcome.finished_at_s - item.record.outcome.started_at_s
        for item in plan.trials
        if item.record.outcome is not None
    ]
    left = len(plan.to_run)
    if not left:
        return ""
    if not times:
        return "; time n/a until a trial has run"
    mean = sum(times) / len(times)
    if places is None:
        return f"; about {duration(mean * left)} in all at {mean:.1f} s a trial so far"
    return f"; about {duration(mean * left / places)} at {mean:.1f} s a trial so far"


def _disk(study: Study, plan: Plan) -> str:
    text, left = "", len(plan.to_run)
    folder = study.home.root
    while not folder.exists():
        folder = folder.parent
    known = [item.trial.identity for item in plan.trials if item.action == "known"][:SIZED]
    if left and known:
        each = sum(folder_bytes(study.home.trial(identity)) for identity in known) / len(known)
        text += f"; about {each * left / 2**20:.0f} MiB of disk"
    return text + f"; {shutil.disk_usage(folder).free / 2**30:.1f} GiB free in the home"
