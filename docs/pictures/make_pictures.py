"""Makes the pictures of the README and the docs from the last runs of a home.

    orrery run lora-sweep && orrery run phase-intervention && orrery run phase-baseline
    make pictures

A study that has not run leaves its pictures as they are. The progress table is `lora-sweep` as it
stood halfway, rebuilt from the times in its outcomes.
"""

from __future__ import annotations

import io
import shutil
import sys
import time
from pathlib import Path

from rich.console import Console

from orchestrator import Study
from orchestrator.planning import Plan
from orchestrator.progress import LiveProgress, Tally
from orchestrator.report.terminal import render_verdict
from orchestrator.reporting import report_study

HERE = Path(__file__).parent
STUDY = "lora-sweep"
COPIED = {
    STUDY: {"means.png": "means.png", "differences.png": "differences.png"},
    "phase-intervention": {"circle.png": "circle.png"},
    "phase-baseline": {"survival.png": "survival.png"},
}
"""Study -> picture of its report -> its name here."""
WIDTH = 90


def main() -> None:
    runs = {name: Study.last_run(name) for name in COPIED}
    if not any(runs.values()):
        sys.exit(f"none of {', '.join(COPIED)} has run in this home: orrery run {STUDY}")
    for name, study in runs.items():
        if study is None:
            print(f"{name} has not run in this home: its pictures stay")
        else:
            _make(study)


def _make(study: Study) -> None:
    plan = study.plan()
    report = report_study(study, plan)
    if report.verdict is not None and study.name == STUDY:
        _save("verdict", f"orrery run {STUDY}", render_verdict(report.verdict))
        _save("progress", f"orrery run {STUDY}", _halfway(plan, report.verdict.metric).render())
    for theirs, here in COPIED[study.name].items():
        shutil.copyfile(report.folder / theirs, HERE / here)
    print(f"pictures of {study.instance} in {HERE}")


def _halfway(plan: Plan, metric: str) -> LiveProgress:
    """The run at the moment half of its trials had ended."""
    ends = sorted(i.record.outcome.finished_at_s for i in plan.trials if i.record.outcome)
    moment = ends[len(ends) // 2]
    begin = min(i.record.outcome.started_at_s for i in plan.trials if i.record.outcome)
    tally = Tally(plan, metric)
    tally.rows.clear()
    for item in plan.trials:
        row = tally.row(item.trial.arm)
        row.total += 1
        outcome = item.record.outcome
        if outcome is None:
            continue
        if outcome.finished_at_s <= moment:
            tally.finish(item.trial.arm, item.trial.label, outcome.values().get(metric))
        elif outcome.started_at_s <= moment:
            row.running[item.trial.label] = f"seed {item.trial.seed}"
    tally.to_run = tally.total
    tally.began = time.monotonic() - (moment - begin)
    return LiveProgress(Console(file=io.StringIO(), force_terminal=True, width=WIDTH), tally)


def _save(name: str, title: str, picture: object) -> None:
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(picture)
    (HERE / f"{name}.svg").write_text(console.export_svg(title=title), encoding="utf-8")


if __name__ == "__main__":
    main()
