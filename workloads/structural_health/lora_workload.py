"""The workload `structural_health_lora`. Importing it loads no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from workloads.contract import Metric, Result, TrialContext, Workload
from workloads.errors import InputError, did_you_mean
from workloads.models import check_tokenizer, describe, input_fingerprint, pinned_input
from workloads.monitors import check_layer
from workloads.structural_health.lora.metrics import METRICS
from workloads.structural_health.lora.sentences import SENTENCES
from workloads.structural_health.lora.series import SPLIT, column_of
from workloads.structural_health.lora_config import LORA_SETTINGS, MEASURED, LoraHealthConfig
from workloads.views import StudyView, SummaryTable

_UNREAD_WITHOUT_TRAINING = (*LORA_SETTINGS, "telemetry")
_LOOKS_ONLY = ("checkpoint_steps",)


class StructuralHealthLora(Workload[LoraHealthConfig]):
    """A language model is fine-tuned with LoRA on a few sentences and watched at every step."""

    name: ClassVar[str] = "structural_health_lora"
    version: ClassVar[int] = 1
    reusable: ClassVar[bool] = True
    Config: ClassVar[type[LoraHealthConfig]] = LoraHealthConfig
    metrics: ClassVar[Mapping[str, Metric]] = METRICS
    score_columns: ClassVar[Mapping[str, Sequence[str]]] = {
        SPLIT: ("loss", *map(column_of, MEASURED))
    }
    sources: ClassVar[tuple[str, ...]] = (
        "workloads.structural_health.lora",
        "workloads.structural_health.lora_config",
        "workloads.structural_health.lora_workload",
        "workloads.training",
        "workloads.models",
        "telemetry.probes",  # which make the scores here
    )

    def resolve(self, config: LoraHealthConfig) -> LoraHealthConfig:
        """A frozen model reads no setting of LoRA: those return to their defaults."""
        if config.train:
            return config
        fields = LoraHealthConfig.model_fields
        fresh = {name: fields[name].default for name in _UNREAD_WITHOUT_TRAINING}
        return config.model_copy(update=fresh)

    def fingerprint(
        self, kind: str, value: str, config: LoraHealthConfig, cache: Path | None = None
    ) -> str:
        """Content hash or pinned revision of the model."""
        return input_fingerprint(kind, value, cache)

    def pin(self, kind: str, value: str) -> str:
        """A hub id with the commit that it stands for now."""
        return pinned_input(kind, value)

    def check(self, config: LoraHealthConfig) -> None:
        """Refuses a window that is never full, targets that are not there, a layer named twice."""
        shape = describe(config.model)
        check_tokenizer(shape.ref)
        steps = config.steps
        if config.window > steps:
            raise InputError(
                f"window={config.window} is never full: the trial has {steps} steps "
                f"({len(SENTENCES)} sentences in batches of {config.batch_size}, "
                f"epochs={config.epochs}, max_steps={config.max_steps}); give 2 to {steps}, or "
                "more epochs."
            )
        if config.monitor_layer is not None or config.monitor_window not in (10, config.window):
            raise InputError(
                "monitor_layer and monitor_window only observe, but here the result is what is "
                "watched: give layer and window."
            )
        check_layer(config.layer, shape.modules, "layer")
        for target in config.targets if config.train else ():
            if target not in shape.module_suffixes:
                raise InputError(
                    f"targets: no module of this model is called '{target}'; "
                    f"{did_you_mean(target, shape.module_suffixes)}."
                )

    def factors(self, config: LoraHealthConfig) -> Mapping[str, str | int | float]:
        """What sets an arm apart."""
        return {
            "rank": config.rank if config.train else 0,
            "window": config.window,
            "steps": config.steps,
            "watch": config.watch,
            "pads": config.pads,
        }

    def covers(self, observed: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
        """How often a trial saved on its way is no reason to run it again."""
        read = {name: value for name, value in asked.items() if name not in _LOOKS_ONLY}
        return super().covers(observed, read)

    def run(self, config: LoraHealthConfig, context: TrialContext) -> Result:
        """Fine-tunes, watching every step."""
        from workloads.structural_health.lora.trial import run_trial

        return run_trial(config, context)

    def summarise(self, study: StudyView, folder: Path) -> Iterator[Path | SummaryTable]:
        """Trajectories of the ratio and of the cosine it implies, as a table and a picture."""
        from workloads.structural_health.lora.summary import write_summary

        return write_summary(study, folder)
