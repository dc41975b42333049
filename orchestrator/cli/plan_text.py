"""A plan as a person reads it."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING

from orchestrator.cli.heading import heading
from orchestrator.disk import folder_bytes
from orchestrator.progress import duration

if TYPE_CHECKING:
    from orchestrator.planning import Plan
    from orchestrator.study import Study

MOST_ARMS = 40
SIZED = 20
"""Known trials whose size on disk is looked at, to tell that of the others."""


def print_plan(study: Study, plan: Plan) -> None:
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
    for line in summary_lines(study, plan):
        console.print(line, markup=False)


def summary_lines(study: Study, plan: Plan) -> list[str]:
    """What is known, what would run, with what, and what it can resolve."""
    from orchestrator.judging import resolvable

    lines = list(plan.notes)
    known = f"known {plan.known}"
    if plan.other_code:
        known += f" ({plan.other_code} under other code; --same-code would run them again)"
    to_run = f"to run {len(plan.to_run)}"
    if plan.proposals_left:
        to_run += f" + {plan.proposals_left} proposals of the search"
    lines.append(f"{len(plan.trials)} trials: {known}, {to_run}")
    for why, count in Counter(
        item.why for item in plan.trials if item.action == "run" and item.why
    ).items():
        lines.append(f"  {count}: {why}")
    failed = [item for item in plan.trials if item.action == "failed"]
    if failed:
        lines.append(f"  {len(failed)} failed before (orrery retry {study.name}): {failed[0].why}")
    lines.append(_resources(study, plan))
    can = resolvable(study, plan)
    if can is not None:
        lines.append(f"{can[0].text} ({can[1]})")
    return lines


def _resources(study: Study, plan: Plan) -> str:
    from cluster.local import usable_cpus

    wanted = study.file.resources
    here = usable_cpus()
    places = int(here / wanted.cpus) // wanted.ranks
    ranks = f"{wanted.ranks} ranks of " if wanted.ranks > 1 else ""
    text = f"each takes {ranks}{wanted.cpus:g} CPU, {wanted.gpus:g} GPU: "
    if places < 1:
        return f"{text}more than this machine has ({here} CPUs)"
    places = min(places, wanted.max_concurrent or places)
    text += f"{places} at once here"
    times = [
        item.record.outcome.finished_at_s - item.record.outcome.started_at_s
        for item in plan.trials
        if item.record.outcome is not None
    ]
    left = len(plan.to_run)
    if left and times:
        guess = sum(times) / len(times) * left / places
        text += f"; about {duration(guess)} at {sum(times) / len(times):.1f} s a trial so far"
    elif left:
        text += "; time n/a until a trial has run"
    folder = study.home.root
    while not folder.exists():
        folder = folder.parent
    known = [item.trial.identity for item in plan.trials if item.action == "known"][:SIZED]
    if left and known:
        each = sum(folder_bytes(study.home.trial(identity)) for identity in known) / len(known)
        text += f"; about {each * left / 2**20:.0f} MiB of disk"
    return text + f"; {shutil.disk_usage(folder).free / 2**30:.1f} GiB free in the home"
