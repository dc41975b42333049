"""A workload whose trials are two series by step: what alarms and claims are asked of."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from workloads.contract import Metric, Result, Scores, TrialContext, Workload, WorkloadConfig
from workloads.views import StudyView, SummaryTable


class SeriesConfig(WorkloadConfig):
    steps: int = Field(default=12, ge=2)
    onset: int = 4
    ratio_rise: float = 0.0
    """By how much the ratio rises at each step from the onset on."""
    loss_rise: float = 0.0
    loss_breaks: int | None = None
    """The step from which the loss is NaN."""
    window: int = 3
    """Steps before which the ratio is not measured."""
    fails: bool = False


class TwoSeries(Workload[SeriesConfig]):
    """Noise around 0.3 (ratio) and 2 (loss) that a fault makes rise."""

    name: ClassVar[str] = "two_series"
    version: ClassVar[int] = 1
    reusable: ClassVar[bool] = True
    Config: ClassVar[type[SeriesConfig]] = SeriesConfig
    metrics: ClassVar[Mapping[str, Metric]] = {
        "train/loss": Metric("loss at a step"),
        "final_loss": Metric("loss at the last step"),
        "onset_step": Metric("where the fault sets in"),
    }
    score_columns: ClassVar[Mapping[str, Sequence[str]]] = {"steps": ("sv_ratio", "loss")}
    sources: ClassVar[tuple[str, ...]] = ("tests.series_workload",)

    def factors(self, config: SeriesConfig) -> Mapping[str, str | int | float]:
        return {"rise": config.ratio_rise}

    def run(self, config: SeriesConfig, context: TrialContext) -> Result:
        if config.fails:
            raise ValueError("no series today")
        draws = random.Random(f"{context.seed}:series")
        ratios: list[float | None] = []
        losses: list[float | None] = []
        for step in range(config.steps):
            after = max(0, step + 1 - config.onset)
            ratio = 0.3 + draws.gauss(0, 0.01) + config.ratio_rise * after
            loss = 2.0 + draws.gauss(0, 0.1) + config.loss_rise * after
            broken = config.loss_breaks is not None and step >= config.loss_breaks
            ratios.append(ratio if step + 1 >= config.window else None)
            losses.append(float("nan") if broken else loss)
        units = [str(step) for step in range(config.steps)]
        last = losses[-1]
        return Result(
            metrics={
                "final_loss": None if last is None or last != last else last,
                "onset_step": float(config.onset),
            },
            scores=[Scores("steps", units, units, {"sv_ratio": ratios, "loss": losses})],
        )

    def summarise(self, study: StudyView, folder: Path) -> Iterator[Path | SummaryTable]:
        seen = {
            "state": study.state,
            "trials": len(study.trials),
            "answer": study.answer,
            "runs": dict(zip(study.table["arm"], map(int, study.table["n"]), strict=True)),
            "beside": (folder / "alarms.csv").is_file(),
        }
        (folder / "seen.json").write_text(json.dumps(seen))
        yield folder / "seen.json"
