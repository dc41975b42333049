"""The workload `structural_health_inference`. Importing it loads no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from workloads.contract import Metric, Result, TrialContext, Workload
from workloads.models import input_fingerprint, pinned_input
from workloads.structural_health.inference.metrics import METRICS
from workloads.structural_health.inference.regimes import REGIMES, with_sizes
from workloads.structural_health.inference_config import InferenceConfig
from workloads.views import StudyView, SummaryTable


class StructuralHealthInference(Workload[InferenceConfig]):
    """How sure a causal language model is, and how much it stays where it was, as it writes.

    A trial writes chunk after chunk in one of four regimes; each chunk has an entropy and a
    consistency with the chunk before.
    """

    name: ClassVar[str] = "structural_health_inference"
    version: ClassVar[int] = 1
    reusable: ClassVar[bool] = True
    Config: ClassVar[type[InferenceConfig]] = InferenceConfig
    metrics: ClassVar[Mapping[str, Metric]] = METRICS
    score_columns: ClassVar[Mapping[str, Sequence[str]]] = {
        "steps": ("entropy", "kappa", "repeats", "same_token")
    }
    sources: ClassVar[tuple[str, ...]] = (
        "workloads.structural_health.inference",
        "workloads.structural_health.inference_config",
        "workloads.structural_health.inference_workload",
        "workloads.training",
        "workloads.models",
        "workloads.datasets",
        # Not telemetry.probes: they only observe here, and its own `state` makes the scores.
    )

    def resolve(self, config: InferenceConfig) -> InferenceConfig:
        """Fills in the regime's sizes; what is not read returns to its default."""
        update: dict[str, Any] = {"telemetry": "standard"}
        if not REGIMES[config.regime].sampled:
            fields = InferenceConfig.model_fields
            update |= {name: fields[name].default for name in ("temperature", "top_p")}
        return with_sizes(config).model_copy(update=update)

    def fingerprint(
        self, kind: str, value: str, config: InferenceConfig, cache: Path | None = None
    ) -> str:
        """Content hash or pinned revision of the model or the data."""
        return input_fingerprint(kind, value, cache)

    def pin(self, kind: str, value: str) -> str:
        """A hub id with the commit that it stands for now."""
        return pinned_input(kind, value)

    def check(self, config: InferenceConfig) -> None:
        """Refuses a model that writes nothing or has no tokenizer, data without texts, and chunks
        that are longer than the model reads."""
        from workloads.structural_health.inference.checking import check_config

        check_config(config)

    def factors(self, config: InferenceConfig) -> Mapping[str, str | int | float]:
        """The regime."""
        return {"regime": REGIMES[config.regime].title}

    def covers(self, observed: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
        """How often a trial saved on its way is no reason to run it again."""
        read = {name: value for name, value in asked.items() if name != "checkpoint_steps"}
        return super().covers(observed, read)

    def run(self, config: InferenceConfig, context: TrialContext) -> Result:
        """Writes all chunks and measures each."""
        from workloads.structural_health.inference.trial import run_trial

        return run_trial(config, context)

    def summarise(self, study: StudyView, folder: Path) -> Iterator[Path | SummaryTable]:
        """Every chunk as a row, a table by regime, and the phase plot as picture and page."""
        from workloads.structural_health.inference.summary import write_summary

        return write_summary(study, folder)
