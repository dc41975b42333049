"""The workload `morphogenesis`. Importing it loads no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from workloads.contract import Metric, Result, TrialContext, Workload
from workloads.errors import InputError, did_you_mean
from workloads.monitors import check_window
from workloads.morphogenesis.body import blueprints_for, named_slots, slot_names
from workloads.morphogenesis.config import (
    CounterfactualMode,
    LearnedSettings,
    MorphogenesisConfig,
    SlotSettings,
)
from workloads.morphogenesis.metrics import METRICS
from workloads.views import StudyView

if TYPE_CHECKING:
    from workloads.evaluation import Packed, Subject

_GPT_ONLY = ("layers", "width", "heads", "context")
_CNN_ONLY = ("blocks", "channels")
_GROWTH_ONLY = (
    "gates",
    "seed_learning_rate",
    "training_share",
    "blend_epochs",
    "blend_temperature",
    "counterfactual",
    "matrix_examples",
    "matrix_slots",
)

_PARTS = {"matrix_examples", "matrix_slots"}
"""Which part of the matrix is measured; None is all of it."""


class Morphogenesis(Workload[MorphogenesisConfig]):
    """A small network grows modules in its slots while it trains, under a policy."""

    name: ClassVar[str] = "morphogenesis"
    version: ClassVar[int] = 1
    reusable: ClassVar[bool] = True
    Config: ClassVar[type[MorphogenesisConfig]] = MorphogenesisConfig
    metrics: ClassVar[Mapping[str, Metric]] = METRICS
    sources: ClassVar[tuple[str, ...]] = (
        "workloads.morphogenesis",
        "workloads.switching",
        "workloads.training",
        "workloads.datasets",
    )

    def resolve(self, config: MorphogenesisConfig) -> MorphogenesisConfig:
        """Slots in their order along the network, without those that are None; what a trial does
        not read returns to its default.

        So a policy that has no slot to grow in is the same trial as the policy `none`, and a slot
        that is switched off in a study is the same as one that the study does not know.
        """
        slots = _in_order(config)
        changed: dict[str, Any] = {"slots": slots}
        if not slots and config.policy != "none":
            changed["policy"] = "none"
        policy = changed.get("policy", config.policy)
        if policy == "none":
            changed |= _defaults(_GROWTH_ONLY)
            if config.params_ratio is None:
                changed["slots"] = {}
        changed |= _defaults(_CNN_ONLY if config.host == "gpt" else _GPT_ONLY)
        changed["learned"] = (config.learned or LearnedSettings()) if policy == "learned" else None
        if policy != "schedule":
            unplanned = {"germinate_at": 0}
            changed["slots"] = {
                name: slot.model_copy(update=unplanned) for name, slot in changed["slots"].items()
            }
        return config.model_copy(update=changed)

    def fingerprint(
        self, kind: str, value: str, config: MorphogenesisConfig, cache: Path | None = None
    ) -> str:
        """Content hash of the data, or the name and version of installed or generated data."""
        from workloads.morphogenesis.data.loading import data_fingerprint

        return data_fingerprint(config.model_copy(update={"data": value}), cache)

    def pin(self, kind: str, value: str) -> str:
        """A hub data set with the commit that it stands for now."""
        from workloads.datasets import resolve_data
        from workloads.morphogenesis.data import digits

        if value == digits.NAME or value.startswith("embedded:") or Path(value).exists():
            return value
        source = resolve_data(value)
        return f"{source.name}@{source.revision}" if source.kind == "hub" else value

    def check(self, config: MorphogenesisConfig) -> None:
        """Refuses data that the host can't read, and slots in which nothing can grow as stated."""
        from workloads.morphogenesis.data.loading import check_data

        check_data(config)
        known = blueprints_for(config.host)
        for name, slot in config.slots.items():
            if slot is not None:
                _check_slot(config, name, slot, known)
        for name in config.matrix_slots or ():
            if name not in (names := slot_names(config)):
                raise InputError(
                    f"matrix_slots: this host has no slot {name!r}; {did_you_mean(name, names)}"
                )
        if config.samples is not None:
            steps = config.epochs * math.ceil(config.samples / config.batch_size)
            check_window(config, steps, "steps of training")
        if "layer_delta" in config.monitors and config.monitor_layer is None:
            raise InputError(
                "monitors: layer_delta compares what goes into a block with what comes out, and "
                "the features before the head are one and the same; name a block in monitor_layer"
                + (" (parts.1)" if config.host == "gpt" else ", or leave it out")
            )
        if config.params_ratio is not None and config.policy != "none":
            raise InputError(
                f"params_ratio={config.params_ratio:g} widens a host that grows nothing, but the "
                f"policy is {config.policy}; give policy=none, or leave params_ratio out"
            )
        if config.host == "gpt" and config.width % config.heads:
            raise InputError(
                f"heads={config.heads} does not divide width={config.width}; choose a width that "
                "is a multiple of the heads"
            )

    def factors(self, config: MorphogenesisConfig) -> Mapping[str, str | int | float]:
        """The policy, and what grows in each slot."""
        shown: dict[str, str | int | float] = {"policy": config.policy}
        if config.params_ratio is not None:
            return {**shown, "params_ratio": config.params_ratio}
        for name in slot_names(config) if len(slot_names(config)) <= 4 else tuple(config.slots):
            slot = config.slots.get(name)
            shown[name] = "off" if slot is None else slot.blueprint or "any"
        return shown

    def scored_units(self, config: MorphogenesisConfig) -> int | None:
        """Test examples; None where text has to be read for that."""
        from workloads.morphogenesis.data.loading import scored_examples

        return scored_examples(config)

    def covers(self, observed: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
        """A fuller matrix covers a smaller one: off, ablation, auto, full; all examples or slots
        (None) cover any number. How often a trial saved on its way is no reason to run it again.
        """
        modes, mode = get_args(CounterfactualMode), "counterfactual"
        if mode in asked and mode in observed:
            seen, wanted = (modes.index(each[mode]) for each in (observed, asked))
            if seen < wanted:
                return False
        whole = {name for name in _PARTS if observed.get(name) is None}
        settled = {mode, "checkpoint_steps", *whole}
        if asked.get(mode) == "off":
            settled |= _PARTS
        read = {name: value for name, value in asked.items() if name not in settled}
        return super().covers(observed, read)

    def switches(self, config: MorphogenesisConfig) -> Sequence[str]:
        """The slots in which something may have grown."""
        return () if config.policy == "none" else tuple(named_slots(config))

    def measured_on(self, config: MorphogenesisConfig) -> Mapping[str, Any]:
        """The test split, and the batches in which it is measured."""
        return {
            "split": "test",
            "examples": config.eval_samples,
            "batch_size": config.eval_batch_size,
        }

    def pack_subject(self, config: MorphogenesisConfig, checkpoint: Path | None) -> Packed:
        """The network of the last checkpoint, with the test split."""
        from workloads.morphogenesis.subject import pack

        return pack(config, checkpoint)

    def open_subject(self, config: MorphogenesisConfig, packed: Packed) -> Subject:
        """The network, with its slots to be switched."""
        from workloads.morphogenesis.subject import GrownNetwork

        return GrownNetwork(config, packed)

    def run(self, config: MorphogenesisConfig, context: TrialContext) -> Result:
        """Trains and evaluates one trial."""
        from workloads.morphogenesis.trial import run_trial

        return run_trial(config, context)

    def summarise(self, study: StudyView, folder: Path) -> Iterator[Path]:
        """Matrices by epoch, the growth timeline, the scaling curve, the policies' tables."""
        from workloads.morphogenesis.summary import write_summary

        return write_summary(study, folder)


def _in_order(config: MorphogenesisConfig) -> dict[str, SlotSettings]:
    names = slot_names(config)
    for name in config.slots:
        if name not in names:
            raise InputError(f"this host has no slot {name!r}; {did_you_mean(name, names)}")
    given = {name: config.slots.get(name) for name in names}
    return {name: slot for name, slot in given.items() if slot is not None}


def _defaults(names: Sequence[str]) -> dict[str, Any]:
    return {name: MorphogenesisConfig.model_fields[name].default for name in names}


def _check_slot(
    config: MorphogenesisConfig, name: str, slot: SlotSettings, known: Sequence[str]
) -> None:
    if slot.blueprint is not None and slot.blueprint not in known:
        raise InputError(
            f"slots.{name}.blueprint={slot.blueprint} cannot grow in a {config.host} host; "
            f"{did_you_mean(slot.blueprint, known)}"
        )
    if config.policy == "schedule" and slot.germinate_at >= config.epochs:
        raise InputError(
            f"slots.{name}.germinate_at={slot.germinate_at}: the last epoch is "
            f"{config.epochs - 1}; plant it earlier"
        )
    if slot.blueprint is None and config.policy in ("schedule", "static", "none"):
        raise InputError(
            f"slots.{name} names no blueprint, and the policy {config.policy} chooses none; "
            f"give slots.{name}.blueprint, one of {', '.join(known)}"
        )
