"""What this workload adds to a study's report: the trajectories by arm, as table and picture."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from workloads.structural_health.lora.series import SERIES, Series
from workloads.structural_health.lora_config import LORA_SETTINGS
from workloads.views import StudyView, SummaryTable, TrialView

_NOT_MEASURED = "n/a"
Arms = Mapping[str, Mapping[int, Series]]
"""Arm -> seed -> series."""


def write_summary(study: StudyView, folder: Path) -> Iterator[Path | SummaryTable]:
    """Writes `trajectories.csv` and `trajectories.png`, and gives a table of the arms."""
    done = [trial for trial in study.trials if trial.state == "done"]
    if not done:
        return
    yield arms_table(done)
    arms = series_by_arm(done)
    if not arms:
        return
    from workloads.structural_health.lora.pictures import draw_trajectories

    folder.mkdir(parents=True, exist_ok=True)
    yield _write_csv(arms, folder / "trajectories.csv")
    thresholds = {float(trial.config["threshold"]) for trial in done}
    yield draw_trajectories(arms, thresholds, folder / "trajectories.png")


def arms_table(trials: Sequence[TrialView]) -> SummaryTable:
    """A row per arm: description of what was measured. The claims say how sure that is.

    `minus frozen`: the mean difference of the ratio to the frozen model's on the same batches, over
    seeds, with its t interval at 95 %.
    """
    rows = []
    frozen = [trial for trial in trials if not trial.config["train"]]
    for arm in dict.fromkeys(trial.arm for trial in trials):
        mine = [trial for trial in trials if trial.arm == arm]
        alarmed = sum(bool(trial.metrics.get("collapsed_steps")) for trial in mine)
        rows.append(
            (
                arm,
                str(len(mine)),
                str(mine[0].config["window"]),
                _mean(mine, "mean_ratio", "{:.3f}"),
                _difference(mine, frozen),
                _mean(mine, "mean_cosine", "{:.3f}"),
                _mean(mine, "band_share", "{:.1%}"),
                f"{alarmed} of {len(mine)}",
                f"{sum('diverged' in trial.flags for trial in mine)} of {len(mine)}",
                _mean(mine, "mean_loss", "{:.3f}"),
                _mean(mine, "pad_share", "{:.1%}"),
            )
        )
    return SummaryTable(
        caption="Hidden states by arm, means over runs (description; the claims are the answer)",
        head=(
            "arm",
            "runs",
            "window",
            "ratio",
            "minus frozen",
            "implied cosine",
            "steps in 0.5 to 0.7",
            "runs above the threshold",
            "runs not finite",
            "loss, nats",
            "padding",
        ),
        rows=tuple(rows),
        numbers=frozenset(range(1, 11)),
    )


def series_by_arm(trials: Sequence[TrialView]) -> dict[str, dict[int, Series]]:
    """The series of the trials whose artifacts were kept."""
    found: dict[str, dict[int, Series]] = {}
    for trial in trials:
        if trial.artifacts is not None and (path := trial.artifacts / SERIES).is_file():
            found.setdefault(trial.arm, {})[trial.seed] = Series.read_csv(path)
    return found


def _mean(trials: Sequence[TrialView], name: str, form: str) -> str:
    values = [value for trial in trials if (value := trial.metrics.get(name)) is not None]
    return form.format(fmean(values)) if values else _NOT_MEASURED


def _difference(mine: Sequence[TrialView], frozen: Sequence[TrialView]) -> str:
    """Over the seeds of both, where all that differs is whether LoRA was trained."""

    def read(trial: TrialView) -> dict[str, object]:
        unread = {"train", *LORA_SETTINGS}
        return {name: value for name, value in trial.config.items() if name not in unread}

    theirs = {t.seed: t.metrics.get("mean_ratio") for t in frozen if read(t) == read(mine[0])}
    differences = [
        own - there
        for trial in mine
        if trial not in frozen
        and (own := trial.metrics.get("mean_ratio")) is not None
        and (there := theirs.get(trial.seed)) is not None
    ]
    if len(differences) < 2:
        return "-"
    from scipy.stats import t

    middle, n = fmean(differences), len(differences)
    half = float(t.ppf(0.975, n - 1)) * stdev(differences) / math.sqrt(n)
    return f"{middle:+.4f} [{middle - half:+.4f}, {middle + half:+.4f}]"


def _write_csv(arms: Arms, path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["arm", "seed", "step", "column", "value"])
        for arm, several in arms.items():
            for seed, series in several.items():
                for name, column in series.columns.items():
                    for step, value in enumerate(column, start=1):
                        shown = "" if value is None else repr(value)
                        writer.writerow([arm, seed, step, name, shown])
    return path
