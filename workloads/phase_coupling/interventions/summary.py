"""What phase coupling adds to a study's report: tables, pictures, and one page of them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from workloads.phase_coupling.interventions.comparing import (
    comparison_table,
    forced_table,
    forced_tests,
)
from workloads.phase_coupling.interventions.kept import Floats, Run, read_runs
from workloads.phase_coupling.interventions.tables import (
    achieved_table,
    arms_table,
    printed_table,
    residence_by_arm,
    survival_by_arm,
    survival_table,
    training_table,
)
from workloads.phase_coupling.metrics import SAMPLE_COLUMNS
from workloads.views import StudyView, SummaryTable


def write_summary(study: StudyView, folder: Path) -> Iterator[Path | SummaryTable]:
    """Tables of what was measured and of the source's tests; pictures of R over steps, on the
    circle, by tone, of survival by layer, of entropy against R; `samples.csv`, and
    `phase_coupling.html`. Nothing for a study without a finished trial."""
    done = [trial for trial in study.trials if trial.state == "done"]
    if not done:
        return
    yield arms_table(done)
    runs = read_runs(done)
    survival = survival_by_arm(runs)
    tables = (
        achieved_table(done),
        survival_table(survival, done),
        training_table(runs),
        comparison_table(runs),
        forced_table(forced_tests(runs)),
    )
    yield from (table for table in tables if table is not None)
    if any(run.clusters("samples") for run in runs):
        yield printed_table()
    if runs:
        yield from _files(study, runs, survival, folder)


def _files(
    study: StudyView, runs: Sequence[Run], survival: dict[str, dict[str, float]], folder: Path
) -> Iterator[Path]:
    from workloads.phase_coupling.interventions import pictures
    from workloads.phase_coupling.interventions.circle import draw_circles, first_phases
    from workloads.phase_coupling.interventions.page import write_page
    from workloads.phase_coupling.interventions.styles import styles_of

    folder.mkdir(parents=True, exist_ok=True)
    arms, circles = pictures.arms_of(runs), first_phases(runs)
    styles = styles_of(arms)
    residence, points = residence_by_arm([run.trial for run in runs]), entropy_points(runs)
    drawn = [
        pictures.draw_r_over_steps(arms, folder / "r_over_steps.png"),
        pictures.draw_training(arms, folder / "training.png"),
        draw_circles(circles, folder / "circle.png") if circles else None,
        pictures.draw_residence(residence, folder / "residence.png") if residence else None,
        pictures.draw_survival(survival, styles, folder / "survival.png") if survival else None,
        pictures.draw_entropy_against_r(points, styles, folder / "entropy_against_r.png")
        if points
        else None,
    ]
    yield from (path for path in drawn if path is not None)
    if any(run.clusters("samples") for run in runs):
        yield _write_samples(runs, folder / "samples.csv")
    page = folder / "phase_coupling.html"
    yield write_page(study, arms, circles, residence, survival, points, page)


def entropy_points(runs: Sequence[Run]) -> dict[str, tuple[Floats, Floats]]:
    """Arm -> mean R and entropy of each sample that has both."""
    found: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        pairs = zip(run.column("samples", "r_mean"), run.column("samples", "entropy"), strict=True)
        known = [(r, entropy) for r, entropy in pairs if r is not None and entropy is not None]
        if known:
            found.setdefault(run.arm, []).extend(known)
    return {arm: (np.array(of)[:, 0], np.array(of)[:, 1]) for arm, of in found.items()}


def _write_samples(runs: Sequence[Run], path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["arm", "seed", "sample", "prompt", *SAMPLE_COLUMNS])
        for run in runs:
            scores = run.scores.get("samples")
            if scores is None:
                continue
            columns = [run.column("samples", name) for name in SAMPLE_COLUMNS]
            for unit, prompt, *values in zip(scores.units, scores.clusters, *columns, strict=True):
                shown = ["" if value is None else repr(value) for value in values]
                writer.writerow([run.arm, run.trial.seed, unit, prompt, *shown])
    return path
