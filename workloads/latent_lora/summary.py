"""What this workload adds to a study's report: the files of the origin's sweep, from data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.latent_lora.diagnostics import read_diagnostics
from workloads.latent_lora.report_section import report_section
from workloads.latent_lora.scoring import mean
from workloads.views import StudyView, TrialView

if TYPE_CHECKING:
    import pandas as pd

NOT_MEASURED = "n/a"
_COMPARED = ("em", "set_f1", "content_f1", "answer_contained", "recon_cosine", "final_loss")


SOURCE_STUDY = "lora-sweep"
"""The study whose source asks for a filled-in section of its report."""


def write_summary(study: StudyView, folder: Path) -> Iterator[Path]:
    """Writes all files into `folder` and yields each when it is complete."""
    from workloads.latent_lora.plots import plot_by_configuration, plot_by_lora

    folder.mkdir(parents=True, exist_ok=True)
    table = comparison(study)
    yield _write(folder / "sweep_summary.txt", sweep_summary(study))
    csv = folder / "comparison.csv"
    table.to_csv(csv, index=False)
    yield csv
    text = table.to_string(index=False, na_rep=NOT_MEASURED, float_format="{:.2f}".format)
    yield _write(folder / "comparison.txt", text if len(table) else "no arms")
    best = json.dumps(best_configuration(study), indent=2)
    yield _write(folder / "best_configuration.json", best)
    if study.name == SOURCE_STUDY:
        yield _write(folder / "report_section.md", report_section(study))
    yield _write(folder / "next_steps.md", next_steps(study))
    for plot, name in (
        (plot_by_configuration, "f1_by_configuration.png"),
        (plot_by_lora, "f1_by_lora.png"),
    ):
        path = folder / name
        if plot(study.table, path):
            yield path


def sweep_summary(study: StudyView) -> str:
    """One line per arm, from what the trials' diagnostics say of the test split, in points.

    A score that no diagnostics hold is "n/a", never 0.
    """
    lines = [f"{study.name}: {study.question}".strip(": "), ""]
    if not study.trials:
        return "\n".join([*lines, "no trials"]) + "\n"
    lines.append(f"{'configuration':<24}{'replicates':>12}{'F1':>9}{'EM':>9}  flags")
    for arm, trials in by_arm(study.trials).items():
        final = [_final_record(trial) for trial in trials]
        f1 = mean([f1_of(record) for record in final])
        em = mean([_points(record, "em") for record in final])
        done = sum(trial.state == "done" for trial in trials)
        flags = sorted({flag for trial in trials for flag in trial.flags})
        lines.append(
            f"{arm:<24}{f'{done} of {len(trials)}':>12}{_shown(f1):>9}{_shown(em):>9}  "
            f"{', '.join(flags)}".rstrip()
        )
    best = study.best_arm or "none"
    return "\n".join([*lines, "", f"best: {best}", study.answer]).rstrip() + "\n"


def comparison(study: StudyView) -> pd.DataFrame:
    """The study's table with means over replicates of what stands beside F1.

    EM, the origin's F1, how often the answer was contained, reconstruction, and final loss.
    """
    table = study.table.copy()
    groups = by_arm(study.trials)
    for name in _COMPARED:
        values = [
            mean([trial.metrics.get(name) for trial in groups.get(str(arm), ())])
            for arm in table.get("arm", ())
        ]
        if any(value is not None for value in values):
            table[name] = values
    return table


def best_configuration(study: StudyView) -> dict[str, Any]:
    """The arm that was best on the dev split with its configuration and test scores, or nulls."""
    trials = by_arm(study.trials).get(study.best_arm or "", ())
    scored = [trial for trial in trials if trial.state == "done"]
    return {
        "arm": study.best_arm,
        "chosen_on": "dev split",
        "replicates": len(scored),
        "test_f1": mean([trial.metrics.get("f1") for trial in scored]),
        "dev_f1": mean([trial.metrics.get("dev_f1") for trial in scored]),
        "config": dict(scored[0].config) if scored else None,
        "gate_met": study.gate_met,
    }


def next_steps(study: StudyView) -> str:
    """The steps that the verdict selected."""
    steps = "\n".join(f"{i}. {step}" for i, step in enumerate(study.next_steps, start=1))
    return f"# Next steps\n\n{study.answer}\n\n{steps or 'None selected: no verdict yet.'}\n"


def by_arm(trials: Sequence[TrialView]) -> dict[str, list[TrialView]]:
    """Trials by arm, in the order in which arms first appear."""
    groups: dict[str, list[TrialView]] = {}
    for trial in trials:
        groups.setdefault(trial.arm, []).append(trial)
    return groups


def f1_of(record: dict[str, Any]) -> float | None:
    """The F1 of an evaluation record, in points, under either of its names; None if it has none."""
    f1 = _points(record, "text_f1")
    return _points(record, "f1") if f1 is None else f1


def _final_record(trial: TrialView) -> dict[str, Any]:
    """The last full evaluation on the test split that the trial's diagnostics hold."""
    if trial.artifacts is None:
        return {}
    records = read_diagnostics(trial.artifacts)
    found = [r for r in records if r.get("type") == "full_eval" and r.get("split") != "dev"]
    return found[-1] if found else {}


def _points(record: dict[str, Any], name: str) -> float | None:
    value = record.get(name)
    return 100.0 * value if isinstance(value, int | float) else None


def _shown(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.2f}"


def _write(path: Path, text: str) -> Path:
    path.write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8")
    return path
