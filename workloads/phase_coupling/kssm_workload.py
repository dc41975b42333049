"""The workload `phase_coupling_kssm`. Importing it loads no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from workloads.contract import Metric, Result, TrialContext, Workload
from workloads.models import input_fingerprint, pinned_input
from workloads.phase_coupling.kssm.checking import check_config
from workloads.phase_coupling.kssm.columns import SCORE_COLUMNS, SCORE_LIMITS
from workloads.phase_coupling.kssm.metrics import METRICS
from workloads.phase_coupling.kssm_config import COUNTED, OSCILLATING, KssmConfig
from workloads.views import StudyView, SummaryTable

_MODEL = ("mixing", "hidden_size", "layers", "heads", "oscillators", "harmonics")
_TERMS = ("determinant_weight", "control_weight")
_OPTIMISER = ("learning_rate", "warmup_steps", "weight_decay", "grad_clip", "precision")
_WATCHED = ("telemetry", "monitors", "monitor_window", "monitor_layer")
_LOOKS_ONLY = ("checkpoint_steps",)


class Kssm(Workload[KssmConfig]):
    """A small language model with oscillators in each block, trained from scratch."""

    name: ClassVar[str] = "phase_coupling_kssm"
    version: ClassVar[int] = 1
    reusable: ClassVar[bool] = True
    Config: ClassVar[type[KssmConfig]] = KssmConfig
    metrics: ClassVar[Mapping[str, Metric]] = METRICS
    score_columns: ClassVar[Mapping[str, Sequence[str]]] = SCORE_COLUMNS
    score_limits: ClassVar[Mapping[str, tuple[float | None, float | None]]] = SCORE_LIMITS
    sources: ClassVar[tuple[str, ...]] = (
        "workloads.phase_coupling.kssm",
        "workloads.phase_coupling.kssm_config",
        "workloads.phase_coupling.kssm_workload",
        "workloads.phase_coupling.cores.tones",
        "workloads.training",
        "workloads.models",
        "workloads.datasets",
    )

    def resolve(self, config: KssmConfig) -> KssmConfig:
        """What a variant does not read returns to its default."""
        unread: tuple[str, ...] = ()
        if config.variant in COUNTED:
            unread = (*_MODEL, *_TERMS, *_OPTIMISER, *_WATCHED, "checkpoint_steps")
        elif config.variant not in OSCILLATING:
            unread = _TERMS
        if config.mixing == "none":
            unread += ("heads",)
        fields = KssmConfig.model_fields
        return config.model_copy(update={name: fields[name].default for name in unread})

    def fingerprint(
        self, kind: str, value: str, config: KssmConfig, cache: Path | None = None
    ) -> str:
        """Content hash or pinned revision of the texts, and of the tokenizer's model."""
        return input_fingerprint(kind, value, cache)

    def pin(self, kind: str, value: str) -> str:
        """A hub id with the commit that it stands for now."""
        return pinned_input(kind, value)

    def check(self, config: KssmConfig) -> None:
        """Refuses heads that do not share the width, a model without tokenizer, too few texts."""
        check_config(config)

    def factors(self, config: KssmConfig) -> Mapping[str, str | int | float]:
        """What sets an arm apart."""
        if config.variant in COUNTED:
            return {"variant": config.variant, "mixing": "none", "hidden_size": 0, "layers": 0}
        return {
            "variant": config.variant,
            "mixing": config.mixing,
            "hidden_size": config.hidden_size,
            "layers": config.layers,
        }

    def scored_units(self, config: KssmConfig) -> int | None:
        """Test texts: too few are an error."""
        return config.texts

    def covers(self, observed: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
        """How often a trial saved on its way is no reason to run it again."""
        read = {name: value for name, value in asked.items() if name not in _LOOKS_ONLY}
        return super().covers(observed, read)

    def run(self, config: KssmConfig, context: TrialContext) -> Result:
        """Trains a model, or counts, and measures it on the test texts."""
        from workloads.phase_coupling.kssm.trial import run_trial

        return run_trial(config, context)

    def summarise(self, study: StudyView, folder: Path) -> Iterator[Path | SummaryTable]:
        """Losses and R by arm, as tables and pictures."""
        from workloads.phase_coupling.kssm.summary import write_summary

        return write_summary(study, folder)
