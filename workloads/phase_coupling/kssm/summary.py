"""What this workload adds to a study's report: tables by arm, and pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Final

from workloads.phase_coupling.cores.tones import TONES
from workloads.phase_coupling.kssm.columns import PHASES
from workloads.phase_coupling.kssm.history import HISTORY, History, read_history
from workloads.phase_coupling.kssm.metrics import LANTERN, LANTERN_TARGET, zone_names
from workloads.views import StudyView, SummaryTable, TrialView

_NOT_MEASURED: Final = "n/a"


@dataclass(frozen=True)
class Run:
    """What was kept of one trial: its steps, the learned angles [blocks][oscillators], and how
    many R of the test texts are in each of equal parts of 0 to 1 (None without oscillators)."""

    history: History
    phases: Sequence[Sequence[float]]
    histogram: Sequence[int] | None


Runs = Mapping[str, Mapping[int, Run]]
"""Arm -> seed -> run."""


def write_summary(study: StudyView, folder: Path) -> Iterator[Path | SummaryTable]:
    """Tables of perplexity, of the oscillators and of where R is; two pictures."""
    done = [trial for trial in study.trials if trial.state == "done"]
    if not done:
        return
    yield perplexity_table(done)
    if any(trial.metrics.get("r_mean") is not None for trial in done):
        yield oscillators_table(done)
        yield zones_table(done)
    runs = runs_by_arm(done)
    if not runs:
        return
    from workloads.phase_coupling.kssm.pictures import draw_oscillators, draw_training

    folder.mkdir(parents=True, exist_ok=True)
    yield draw_training(runs, folder / "training.png")
    oscillating = {
        arm: several
        for arm, several in runs.items()
        if any(run.histogram is not None for run in several.values())
    }
    if oscillating:
        yield draw_oscillators(oscillating, folder / "oscillators.png")


def perplexity_table(trials: Sequence[TrialView]) -> SummaryTable:
    """A row per arm. Intervals are over seeds: t at 95 %, of perplexity on the scale of its
    logarithm."""
    rows = []
    for arm in _arms(trials):
        mine = [trial for trial in trials if trial.arm == arm]
        ce = _values(mine, "ce")
        rows.append(
            (
                arm,
                str(len(mine)),
                _with_interval(ce, "{:.3f}"),
                _with_interval(ce, "{:.2f}", exp=True),
                _mean(mine, "train_ce", "{:.3f}"),
                _mean(mine, "train_loss", "{:.3f}"),
                _mean(mine, "late_gain", "{:+.3f}"),
                _mean(mine, "parameters", "{:,.0f}"),
                f"{sum('diverged' in trial.flags for trial in mine)} of {len(mine)}",
            )
        )
    return SummaryTable(
        caption="Test texts by arm, with 95 % intervals over seeds (description; the endpoints "
        "are the answer)",
        head=(
            "arm",
            "runs",
            "cross-entropy, nats",
            "perplexity",
            "at the end of training",
            "the same with the loss's terms",
            "late gain",
            "parameters",
            "not finite",
        ),
        rows=tuple(rows),
        numbers=frozenset(range(1, 9)),
    )


def oscillators_table(trials: Sequence[TrialView]) -> SummaryTable:
    """A row per arm with oscillators."""
    rows = []
    for arm in _arms(trials):
        mine = [t for t in trials if t.arm == arm and t.metrics.get("r_mean") is not None]
        if mine:
            rows.append(
                (
                    arm,
                    _with_interval(_values(mine, "r_mean"), "{:.3f}"),
                    _mean(mine, "r_sd", "{:.3f}"),
                    _mean(mine, "u_median", "{:+.3f}"),
                    _mean(mine, "clamped_share", "{:.1%}"),
                    _mean(mine, "coupling_mean", "{:.3f}"),
                    _mean(mine, "determinant_mean", "{:.3g}"),
                    _mean(mine, "noise", "{:.3f}"),
                    _mean(mine, "lantern_share", "{:.1%}"),
                )
            )
    return SummaryTable(
        caption=f"Oscillators on test texts. Last column: steps with R of at least {LANTERN:g} "
        f"among the last 100 (the source aims at {LANTERN_TARGET:.1%})",
        head=(
            "arm",
            "R",
            "SD of R",
            "median u",
            "u at a bound",
            "K",
            "|Delta|",
            "noise",
            f"R >= {LANTERN:g}",
        ),
        rows=tuple(rows),
        numbers=frozenset(range(1, 9)),
    )


def zones_table(trials: Sequence[TrialView]) -> SummaryTable:
    """Shares of tokens by tone, and by the seven zones of the source's training monitor."""
    names: dict[str, str] = {f"residence/{tone}": tone for tone in reversed(TONES)}
    names |= {name: name.removeprefix("zones/") for name in zone_names()}
    rows = []
    for arm in _arms(trials):
        mine = [t for t in trials if t.arm == arm and t.metrics.get("r_mean") is not None]
        if mine:
            rows.append((arm, *(_mean(mine, name, "{:.1%}") for name in names)))
    return SummaryTable(
        caption="Where R is on test texts: share of tokens by tone, and by range of R",
        head=("arm", *names.values()),
        rows=tuple(rows),
        numbers=frozenset(range(1, len(names) + 1)),
    )


def runs_by_arm(trials: Sequence[TrialView]) -> dict[str, dict[int, Run]]:
    """What was kept of the trials that trained a model."""
    found: dict[str, dict[int, Run]] = {}
    for trial in trials:
        folder = trial.artifacts
        if folder is None or not (folder / HISTORY).is_file():
            continue
        kept = json.loads((folder / PHASES).read_text(encoding="utf-8"))
        run = Run(read_history(folder / HISTORY), kept["phases"], kept["r_histogram"])
        found.setdefault(trial.arm, {})[trial.seed] = run
    return found


def _arms(trials: Sequence[TrialView]) -> list[str]:
    return list(dict.fromkeys(trial.arm for trial in trials))


def _values(trials: Sequence[TrialView], name: str) -> list[float]:
    return [value for trial in trials if (value := trial.metrics.get(name)) is not None]


def _mean(trials: Sequence[TrialView], name: str, form: str) -> str:
    values = _values(trials, name)
    return form.format(fmean(values)) if values else _NOT_MEASURED


def _with_interval(values: Sequence[float], form: str, exp: bool = False) -> str:
    """Mean and t interval at 95 % over seeds; `exp`: of the exponentials, on the scale given."""
    if not values:
        return _NOT_MEASURED
    show = math.exp if exp else float
    middle = fmean(values)
    if len(values) < 2:
        return form.format(show(middle))
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    shown = [form.format(show(end)) for end in (middle, middle - half, middle + half)]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"
