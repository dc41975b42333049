"""The workload `phase_coupling`. Importing it loads no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from workloads.contract import Metric, Result, TrialContext, Workload
from workloads.models import input_fingerprint, pinned_input
from workloads.phase_coupling.config import PhaseCouplingConfig
from workloads.phase_coupling.metrics import METRICS, SCORE_COLUMNS, SCORE_LIMITS
from workloads.views import StudyView, SummaryTable


class PhaseCoupling(Workload[PhaseCouplingConfig]):
    """Oscillators are joined to a causal language model at one site, trained or not, and what they
    change in it is measured."""

    name: ClassVar[str] = "phase_coupling"
    version: ClassVar[int] = 1
    reusable: ClassVar[bool] = True
    Config: ClassVar[type[PhaseCouplingConfig]] = PhaseCouplingConfig
    metrics: ClassVar[Mapping[str, Metric]] = METRICS
    score_columns: ClassVar[Mapping[str, Sequence[str]]] = SCORE_COLUMNS
    score_limits: ClassVar[Mapping[str, tuple[float | None, float | None]]] = SCORE_LIMITS
    sources: ClassVar[tuple[str, ...]] = (
        "workloads.phase_coupling",
        "workloads.training",
        "workloads.models",
        "workloads.datasets",
    )

    def resolve(self, config: PhaseCouplingConfig) -> PhaseCouplingConfig:
        """Replaces a share of the depth by its block; what is not read returns to its default."""
        from workloads.phase_coupling.checking import resolved

        return resolved(config)

    def fingerprint(
        self, kind: str, value: str, config: PhaseCouplingConfig, cache: Path | None = None
    ) -> str:
        """Content hash or pinned revision of the model or the data."""
        return input_fingerprint(kind, value, cache)

    def pin(self, kind: str, value: str) -> str:
        """A hub id with the commit that it stands for now."""
        return value if Path(value).expanduser().exists() else pinned_input(kind, value)

    def check(self, config: PhaseCouplingConfig) -> None:
        """Refuses a layer beyond the model, a kind of model without a known block, texts that are
        too short or too few, and lengths beyond what the model reads."""
        from workloads.phase_coupling.checking import check_config

        check_config(config)

    def factors(self, config: PhaseCouplingConfig) -> Mapping[str, str | int | float]:
        """What sets an arm apart: its place, and what of it is not as it is by default."""
        if config.mode == "off":
            return {"mode": config.mode}
        found: dict[str, str | int | float] = {
            "mode": config.mode,
            "core": config.core.kind,
            "site": config.site,
        }
        if config.site != "logits":
            found["layer"] = config.layer
        fields = PhaseCouplingConfig.model_fields
        for name in ("gain", "strength", "initial", "state", "driven_by", "target_r"):
            if getattr(config, name) != fields[name].default:
                found[name] = getattr(config, name)
        if config.training.steps:
            found["steps"] = config.training.steps
        return found

    def scored_units(self, config: PhaseCouplingConfig) -> int | None:
        """Test texts."""
        return config.texts

    def run(self, config: PhaseCouplingConfig, context: TrialContext) -> Result:
        """Couples, trains where that is asked for, and measures."""
        from workloads.phase_coupling.trial import run_trial

        return run_trial(config, context)

    def covers(self, observed: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
        """Where nothing is sampled, the number of samples is no reason to run a trial again."""
        read = dict(asked)
        if not read.get("sample_prompts"):
            read.pop("samples", None)
        return super().covers(observed, read)

    def summarise(self, study: StudyView, folder: Path) -> Iterator[Path | SummaryTable]:
        """Tables and pictures of order parameters, survival and the origin's own tests."""
        from workloads.phase_coupling.interventions.summary import write_summary

        return write_summary(study, folder)
