"""The workload `ablation`. Importing it loads no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from workloads.ablation.config import AblationConfig, LoraTraining
from workloads.ablation.units import switched_parts
from workloads.contract import Metric, Result, TrialContext, Workload
from workloads.datasets import check_task
from workloads.errors import InputError, did_you_mean
from workloads.models import check_tokenizer, describe, input_fingerprint, pinned_input
from workloads.monitors import check_layer, check_window

if TYPE_CHECKING:
    from workloads.evaluation import Packed, Subject

_ACCURACY = "Scored tokens that are the likeliest, mean over texts"
_NLL = "Negative log-likelihood of a scored token, mean over texts"
METRICS: Mapping[str, Metric] = {
    "accuracy": Metric(_ACCURACY, "points", higher_is_better=True),
    "nll": Metric(_NLL, "nats", higher_is_better=False),
    "accuracy_all_off": Metric(f"{_ACCURACY}; every switch off", "points"),
    "nll_all_off": Metric(f"{_NLL}; every switch off", "nats"),
    "texts": Metric("Texts scored", reducer="last"),
    "scored_tokens": Metric("Tokens scored", reducer="last"),
    "switches": Metric("Parts with a switch", reducer="last"),
    "final_loss": Metric("Training loss of LoRA's last step", "nats", higher_is_better=False),
    "train/loss": Metric("Training loss of LoRA, nats a scored token", higher_is_better=False),
}


class Ablation(Workload[AblationConfig]):
    """Which layers, heads or LoRA adapters of a causal language model its predictions rest on.

    A trial measures the whole model; what its parts are worth is asked of it afterwards.
    """

    name: ClassVar[str] = "ablation"
    version: ClassVar[int] = 1
    reusable: ClassVar[bool] = True
    Config: ClassVar[type[AblationConfig]] = AblationConfig
    metrics: ClassVar[Mapping[str, Metric]] = METRICS
    sources: ClassVar[tuple[str, ...]] = (
        "workloads.ablation",
        "workloads.switching",
        "workloads.evaluation",
        "workloads.training",
        "workloads.models",
        "workloads.datasets",
    )

    def resolve(self, config: AblationConfig) -> AblationConfig:
        """Names every part that has a switch; what is not read returns to its default."""
        update: dict[str, Any] = {"which": tuple(part.name for part in switched_parts(config))}
        if config.units == "lora":
            update["lora"] = config.lora or LoraTraining()
        else:
            update["telemetry"] = "standard"
        for name in ("prefix_tokens", "scored_tokens") if config.task == "qa" else ():
            update[name] = AblationConfig.model_fields[name].default
        if config.task == "continuation":
            update["max_prompt_tokens"] = AblationConfig.model_fields["max_prompt_tokens"].default
        return config.model_copy(update=update)

    def fingerprint(
        self, kind: str, value: str, config: AblationConfig, cache: Path | None = None
    ) -> str:
        """Content hash or pinned revision of the model or the data."""
        return input_fingerprint(kind, value, cache)

    def pin(self, kind: str, value: str) -> str:
        """A hub id with the commit that it stands for now."""
        return pinned_input(kind, value)

    def check(self, config: AblationConfig) -> None:
        """Refuses adapters that would not be switched or trained, and data of the wrong kind."""
        shape = describe(config.model)
        check_tokenizer(shape.ref)
        check_task(config.task, config.data)
        check_layer(config.monitor_layer, shape.modules)
        if config.lora is None:
            check_window(config, config.texts, "texts to read")
            return
        check_window(config, config.lora.steps, "steps of training")
        if config.units != "lora":
            raise InputError(f"lora with units={config.units}: give units=lora, or leave lora out.")
        for target in config.lora.targets:
            if target not in shape.module_suffixes:
                near = did_you_mean(target, shape.module_suffixes)
                raise InputError(f"lora.targets: the model has no module '{target}'; {near}")

    def factors(self, config: AblationConfig) -> Mapping[str, str | int | float]:
        """What is switched, and how many of it."""
        return {"units": config.units, "switches": len(self.switches(config))}

    def scored_units(self, config: AblationConfig) -> int | None:
        """Texts, where the data hold so many."""
        return config.texts

    def deterministic(self, config: AblationConfig) -> bool:
        """Where nothing is trained the seed changes nothing."""
        return config.units != "lora"

    def switches(self, config: AblationConfig) -> Sequence[str]:
        """The parts' names, in order along the network."""
        return tuple(part.name for part in switched_parts(config))

    def measured_on(self, config: AblationConfig) -> Mapping[str, Any]:
        """The test split's texts, and the batches that they are read in."""
        return {
            "split": "test",
            "texts": config.texts,
            "batch_size": config.eval_batch_size,
            "units": config.units,
            "which": list(self.switches(config)),
        }

    def pack_subject(self, config: AblationConfig, checkpoint: Path | None) -> Packed:
        """Weights and texts as arrays; of LoRA the trained adapters from the checkpoint."""
        from workloads.ablation.trial import packed_subject

        return packed_subject(config, checkpoint)

    def open_subject(self, config: AblationConfig, packed: Packed) -> Subject:
        """The model with its switches."""
        from workloads.ablation.trial import opened_subject

        return opened_subject(config, packed)

    def run(self, config: AblationConfig, context: TrialContext) -> Result:
        """Measures the whole model; with units=lora it trains the adapters first."""
        from workloads.ablation.trial import run_trial

        return run_trial(config, context)
