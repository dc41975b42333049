"""The workload `latent_lora`. Importing it loads no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from workloads.contract import Metric, Result, TrialContext, Workload
from workloads.datasets import check_task
from workloads.errors import InputError
from workloads.latent_lora.config import LatentLoraConfig
from workloads.latent_lora.depth import layer_count
from workloads.latent_lora.lora import check_targets
from workloads.latent_lora.metrics import METRICS
from workloads.models import check_tokenizer, describe, input_fingerprint, pinned_input
from workloads.monitors import SETTINGS, check_layer, check_window
from workloads.views import StudyView

_LOOKS_ONLY = ("quick_eval_steps", "checkpoint_steps")

_UNREAD_WITHOUT_ADAPTER = (
    "epochs",
    "batch_size",
    "answer_loss_prompts",
    "hidden_mult",
    "dropout",
    "rms_match",
    "cosine_weight",
    "mse_weight",
    "first_token_ce_weight",
    "k_token_ce_weight",
    "kd_weight",
    "kd_temperature",
    "k_tokens",
    "learning_rate",
    "lora_learning_rate",
    "grad_clip",
    "telemetry",
    *SETTINGS,
)


class LatentLora(Workload[LatentLoraConfig]):
    """A frozen language model answers from reconstructed embeddings, with or without LoRA."""

    name: ClassVar[str] = "latent_lora"
    version: ClassVar[int] = 1
    reusable: ClassVar[bool] = True
    Config: ClassVar[type[LatentLoraConfig]] = LatentLoraConfig
    metrics: ClassVar[Mapping[str, Metric]] = METRICS
    sources: ClassVar[tuple[str, ...]] = (
        "workloads.latent_lora",
        "workloads.training",
        "workloads.models",
        "workloads.datasets",
    )

    def resolve(self, config: LatentLoraConfig) -> LatentLoraConfig:
        """Layers become a count; settings that a control does not read return to their defaults.

        So a text prompt is one trial, whatever the arms beside it train for.
        """
        config = config.model_copy(update={"test_questions": config.questions})
        if not config.trains:
            fresh = {name: _default(name) for name in _UNREAD_WITHOUT_ADAPTER}
            if config.input != "snap":
                fresh["d_z"] = _default("d_z")
            config = config.model_copy(update=fresh)
        if config.lora is None:
            return config
        depth = describe(config.model).layers
        count = layer_count(config.lora.layers, depth)
        lora = config.lora.model_copy(update={"layers": count})
        return config.model_copy(update={"lora": lora})

    def fingerprint(
        self, kind: str, value: str, config: LatentLoraConfig, cache: Path | None = None
    ) -> str:
        """Content hash or pinned revision of the model or the data."""
        return input_fingerprint(kind, value, cache)

    def pin(self, kind: str, value: str) -> str:
        """A hub id with the commit that it stands for now."""
        return pinned_input(kind, value)

    def check(self, config: LatentLoraConfig) -> None:
        """Refuses what would train nothing, adapt nothing or compress nothing."""
        shape = describe(config.model)
        check_tokenizer(shape.ref)
        check_task(config.task, config.data)
        check_layer(config.monitor_layer, shape.modules)
        if config.input in ("reconstructed", "snap") and config.d_z > shape.hidden_size:
            raise InputError(
                f"d_z={config.d_z} exceeds the model's embedding width {shape.hidden_size}: "
                f"give 1 to {shape.hidden_size}."
            )
        if config.trains and not (
            config.cosine_weight or config.mse_weight or config.answer_tokens
        ):
            raise InputError("every loss weight is 0: nothing would be trained; raise one of them.")
        if config.trains:
            steps = config.epochs * math.ceil(config.samples / config.batch_size)
            check_window(config, steps, "steps of training")
        if config.lora is None:
            return
        if not config.trains:
            raise InputError(
                f"lora with input={config.input}: nothing is trained, so LoRA would do nothing; "
                "leave lora out, or give input=reconstructed."
            )
        if not config.answer_tokens:
            raise InputError(
                "lora has no gradient path: first_token_ce_weight, k_token_ce_weight and kd_weight "
                "are all 0, and reconstruction does not reach the language model; raise one of "
                "them (the origin's sweep: first_token_ce_weight 0.01) or leave lora out."
            )
        if not isinstance(config.lora.layers, int) or config.lora.layers > shape.layers:
            raise InputError(
                f"lora.layers={config.lora.layers}: the model has {shape.layers} layers."
            )
        check_targets(config.lora, shape.modules)

    def factors(self, config: LatentLoraConfig) -> Mapping[str, str | int | float]:
        """LoRA's rank, alpha and layers (0 without LoRA), and what else sets an arm apart."""
        lora = config.lora
        shown: dict[str, str | int | float] = {
            "rank": lora.rank if lora else 0,
            "alpha": _short(lora.alpha) if lora else 0,
            "layers": lora.layers if lora else 0,
        }
        if lora and lora.rslora:
            shown["rslora"] = "yes"
        if config.input != "reconstructed":
            shown["input"] = config.input
            return shown
        shown["ce"] = config.first_token_ce_weight
        if config.k_token_ce_weight:
            shown["k_ce"] = config.k_token_ce_weight
        if config.kd_weight:
            shown["kd"] = config.kd_weight
        if not config.rms_match:
            shown["rms_match"] = "off"
        return shown

    def real_setting(self, config: LatentLoraConfig) -> bool:
        """Whether it is Phase 1a's own: Llama-3.1-8B answering SQuAD."""
        model, data = config.model.lower(), config.data.lower()
        return config.task == "qa" and "llama-3.1-8b" in model and "squad" in data

    def deterministic(self, config: LatentLoraConfig) -> bool:
        """Controls that train nothing give the same under every seed."""
        return not config.trains

    def scored_units(self, config: LatentLoraConfig) -> int | None:
        """Test questions, where the data hold so many."""
        return config.questions

    def covers(self, observed: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
        """How often a trial looked or saved on its way is no reason to run it again."""
        read = {name: value for name, value in asked.items() if name not in _LOOKS_ONLY}
        return super().covers(observed, read)

    def run(self, config: LatentLoraConfig, context: TrialContext) -> Result:
        """Trains and evaluates one trial."""
        from workloads.latent_lora.trial import run_trial

        return run_trial(config, context)

    def summarise(self, study: StudyView, folder: Path) -> Iterator[Path]:
        """Sweep summary, comparison, plots, the report's section and the next steps."""
        from workloads.latent_lora.summary import write_summary

        return write_summary(study, folder)


def _short(number: float) -> int | float:
    return int(number) if number == int(number) else number


def _default(name: str) -> Any:
    return LatentLoraConfig.model_fields[name].default
