"""Makes the README's pictures from the last `lora-sweep` run of a home.

    orrery run lora-sweep && make pictures

The progress table is that run as it stood halfway, rebuilt from the times in its outcomes.
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
WIDTH = 90


def main() -> None:
    study = Study.last_run(STUDY)
    if study is None:
        sys.exit(f"{STUDY} has not run in this home: orrery run {STUDY}")
    plan = study.plan()
    report = report_study(study, plan)
    assert report.verdict is not None
    _save("verdict", f"orrery run {STUDY}", render_verdict(report.verdict))
    _save("progress", f"orrery run {STUDY}", _halfway(plan, report.verdict.metric).render())
    for name in ("means.png", "differences.png"):
        shutil.copyfile(report.folder / name, HERE / name)
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
