"""Whether a learned policy learned: its return over training, with an interval over the seeds.

Written beside a study's other tables: `policy_training.csv`, `policy_training.png` and
`policy_training.md`, the last with what each arm's own episodes earned.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from workloads.morphogenesis.policies.making import CURVE
from workloads.views import TrialView

CONFIDENCE = 0.95
NOT_MEASURED = "n/a"


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and its t interval; `low` and `high` are None below two seeds."""

    mean: float
    low: float | None
    high: float | None
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        """Of one value per seed. Raises ValueError without any."""
        mean, count = fmean(values), len(values)
        if count < 2:
            return cls(mean, None, None, count)
        from scipy.stats import t

        half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * stdev(values) / math.sqrt(count)
        return cls(mean, mean - half, mean + half, count)

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.mean:+.2f} ({self.seeds} seed: no interval)"
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


def write_returns(trials: Sequence[TrialView], folder: Path) -> Iterator[Path]:
    """Writes the files into `folder` if any of the finished trials trained a policy."""
    curves = read_curves(trials)
    if not curves:
        return
    rows = list(return_rows(curves))
    table = folder / "policy_training.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    yield table
    picture = folder / "policy_training.png"
    draw_returns(rows, picture)
    yield picture
    text = folder / "policy_training.md"
    text.write_text(returns_text(trials, curves), encoding="utf-8")
    yield text


Curves = Mapping[str, Sequence[Sequence[Sequence[float]]]]
"""By arm ``[seeds][updates][episodes]`` the return of each training episode."""


def read_curves(trials: Iterable[TrialView]) -> Curves:
    """What the trials that trained a policy left among their artifacts."""
    curves: dict[str, list[Sequence[Sequence[float]]]] = {}
    for trial in trials:
        path = None if trial.artifacts is None else trial.artifacts / CURVE
        if path is not None and path.is_file():
            told = json.loads(path.read_text())["returns_by_update"]
            curves.setdefault(trial.arm, []).append([one for one in told if one])
    return curves


def return_rows(curves: Curves) -> Iterator[dict[str, Any]]:
    """For each arm and update the mean return of its episodes, over the seeds that got so far."""
    for arm, seeds in curves.items():
        episodes = 0
        for update in range(max(map(len, seeds))):
            there = [seed[update] for seed in seeds if len(seed) > update]
            found = Interval.of([fmean(returns) for returns in there])
            episodes += max(map(len, there))
            yield {
                "arm": arm,
                "update": update + 1,
                "episodes": episodes,
                "seeds": found.seeds,
                "return": found.mean,
                "return_low": found.low,
                "return_high": found.high,
            }


def gain(seeds: Sequence[Sequence[Sequence[float]]]) -> Interval | None:
    """What training added: last update's mean return less the first's; None below two updates."""
    long = [seed for seed in seeds if len(seed) > 1]
    return Interval.of([fmean(seed[-1]) - fmean(seed[0]) for seed in long]) if long else None


def has_risen(found: Interval | None) -> str:
    """The sentence that a gain allows."""
    if found is None or found.low is None or found.high is None:
        return "whether it rose cannot be told: there are no two updates of two seeds"
    if found.low > 0:
        return "it rose"
    return "it fell" if found.high < 0 else "whether it rose cannot be told from these seeds"


def returns_text(trials: Sequence[TrialView], curves: Curves) -> str:
    """The page: what training added, and what each arm's own episodes earned."""
    lines = ["# Policies: what they earned", ""]
    for arm, seeds in curves.items():
        found = gain(seeds)
        told = NOT_MEASURED if found is None else str(found)
        lines += [
            f"Training of {arm}: the return of the last update's episodes less that of the "
            f"first's is {told} over {len(seeds)} seeds; {has_risen(found)}.",
            "",
        ]
    lines += [
        "| arm | seeds | return of the trial's own episode |",
        "|---|---:|---:|",
    ]
    by_arm: dict[str, list[float]] = {}
    for trial in trials:
        earned = trial.metrics.get("return")
        if earned is not None:
            by_arm.setdefault(trial.arm, []).append(earned)
    lines += [f"| {arm} | {len(all_)} | {Interval.of(all_)} |" for arm, all_ in by_arm.items()]
    lines += [
        "",
        f"Means with {CONFIDENCE:.0%} t intervals, the seed as unit; not simultaneous, and no "
        "verdict: that is about the study's metric. A policy may earn what the reward pays for "
        "and gain no accuracy.",
    ]
    return "\n".join(lines) + "\n"


def draw_returns(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """The return over the training episodes, a band for each arm."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for arm in dict.fromkeys(row["arm"] for row in rows):
        mine = [row for row in rows if row["arm"] == arm]
        x = [row["episodes"] for row in mine]
        axes.plot(x, [row["return"] for row in mine], marker="o", markersize=3, label=arm)
        banded = [row for row in mine if row["return_low"] is not None]
        axes.fill_between(
            [row["episodes"] for row in banded],
            [row["return_low"] for row in banded],
            [row["return_high"] for row in banded],
            alpha=0.2,
        )
    axes.set_xlabel("training episodes")
    axes.set_ylabel("mean return of an update's episodes")
    axes.set_title(f"Return over training, {CONFIDENCE:.0%} interval over the seeds", fontsize=10)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=130)
