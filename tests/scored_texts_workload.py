"""A workload whose trials score texts in clusters: what endpoints are asked of."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

from workloads.contract import Metric, Result, Scores, TrialContext, Workload, WorkloadConfig
from workloads.errors import DivergedError
from workloads.views import StudyView, SummaryTable

TEXTS, OF_A_STORY = 24, 3


class TextsConfig(WorkloadConfig):
    shift: float = 0.0
    """Added to the entropy of every text."""
    spread: float = 0.0
    """Of what the seed adds to it."""
    seeded: bool = True
    breaks: bool = False
    diverges: bool = False
    flagged: bool = False
    """It acts on nothing, and says so."""
    strange: bool = False
    """One text's entropy is NaN."""
    silent: int = 0
    """Texts that are not measured."""


class ScoredTexts(Workload[TextsConfig]):
    """Entropies around 0.3, the same noise in every arm; a divergence that is their shift."""

    name: ClassVar[str] = "scored_texts"
    version: ClassVar[int] = 1
    reusable: ClassVar[bool] = True
    Config: ClassVar[type[WorkloadConfig]] = TextsConfig
    metrics: ClassVar[Mapping[str, Metric]] = {
        "entropy": Metric("mean over texts"),
        "train/entropy": Metric("the same on the way"),
    }
    score_columns: ClassVar[Mapping[str, Sequence[str]]] = {
        "texts": ("entropy", "kl"),
        "steps": ("loss",),
    }
    sources: ClassVar[tuple[str, ...]] = ("tests.scored_texts_workload",)

    def deterministic(self, config: TextsConfig) -> bool:
        return not config.seeded

    def run(self, config: TextsConfig, context: TrialContext) -> Result:
        if config.breaks:
            raise ValueError("no texts today")
        if config.diverges:
            raise DivergedError("the loss is NaN")
        texts = random.Random("texts")
        own = random.Random(f"{context.seed}:own").gauss(0, config.spread)
        entropy: list[float | None] = []
        kl: list[float | None] = []
        for _ in range(TEXTS):
            noise, slope = texts.gauss(0, 0.05), texts.uniform(0.5, 1.5)
            change = (config.shift + own) * slope
            entropy.append(0.3 + noise + change)
            kl.append(abs(change))
        entropy[: config.silent] = [None] * config.silent
        if config.strange:
            entropy[-1] = float("nan")
        units = [str(text) for text in range(TEXTS)]
        stories = [str(text // OF_A_STORY) for text in range(TEXTS)]
        loss: list[float | None] = [4.0 + own - step / 10 for step in range(5)]
        steps = [str(step) for step in range(5)]
        return Result(
            metrics={"entropy": 0.3 + config.shift},
            scores=[
                Scores("texts", units, stories, {"entropy": entropy, "kl": kl}),
                Scores("steps", steps, steps, {"loss": loss}),
            ],
            flags=frozenset({"dead_site"} if config.flagged else ()),
            notes=["dead site: acts, but changes no logit"] if config.flagged else [],
        )

    def summarise(self, study: StudyView, folder: Path) -> Iterator[Path | SummaryTable]:
        (folder / "seen.json").write_text(json.dumps([asdict(one) for one in study.endpoints]))
        yield folder / "seen.json"
