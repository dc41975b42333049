"""An episode: a host is trained for so many epochs, and before each a policy decides what grows.

An epoch is: the decision takes effect; training; the validation split with and without each seed;
the governor's word; one step of every seed's life. All ranks of a trial run the same episode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from telemetry.contracts import FactoredAction
from telemetry.dense import DenseRecorder
from workloads.contract import TrialEmitter
from workloads.morphogenesis.body import GateResult, blueprints_for, parameter_count, slot_widths
from workloads.morphogenesis.body.hosts import build_host
from workloads.morphogenesis.body.slot import EpochFacts, Slot
from workloads.morphogenesis.config import Blend, CounterfactualMode, MorphogenesisConfig
from workloads.morphogenesis.counterfactuals import EpochMeasured, measure_epoch
from workloads.morphogenesis.data import Split, load_data
from workloads.morphogenesis.governor import Governor, Panic
from workloads.morphogenesis.measuring import measure
from workloads.morphogenesis.optimizing import Optimizers
from workloads.morphogenesis.policies.masks import CULL, FOSSILIZE, GERMINATE, WAIT, allowed
from workloads.morphogenesis.restoring import GoodState
from workloads.morphogenesis.training import EpochTrained, EpochTrainer, Watch
from workloads.morphogenesis.view import Decision, EpisodeView
from workloads.switching import CoalitionScores
from workloads.training import stream_seed

if TYPE_CHECKING:
    from accelerate import Accelerator

DEFAULT_BLEND: Blend = "sigmoid"
_Tensors = Mapping[str, torch.Tensor]


class Observer(Protocol):
    """Where an episode's dense traces go; a `TrialContext` is one."""

    @property
    def emitter(self) -> TrialEmitter:
        """Of this rank."""


@dataclass(frozen=True)
class EpochReport:
    """What an epoch was.

    Attributes:
        step: optimizer steps of the episode so far, those of undone epochs too.
        before: what the policy saw; `after` what it will see next.
        applied: whether the decision's first action took effect.
        trained: what training saw, of an undone epoch too.
        measured: the validation split after training, before anything was undone.
        gates: by slot, the gates that were judged.
        panic: why the governor spoke up; None if it did not.
        rolled_back: whether the last good state was put back.
    """

    step: int
    before: EpisodeView
    decision: Decision
    applied: bool
    after: EpisodeView
    trained: EpochTrained
    measured: EpochMeasured
    gates: Mapping[str, Sequence[GateResult]]
    panic: Panic | None
    rolled_back: bool


@dataclass(frozen=True)
class Finished:
    """The network at the end, on the validation and the test split."""

    val: CoalitionScores
    test: CoalitionScores


class Episode:
    """One run of a host under a policy.

    `seed` keys every random stream, each with `stream_prefix` before its name. Without an
    `observer` nothing is emitted and only what steers growth is measured.

    Raises ValueError where the configuration names slots or blueprints that the host lacks.
    """

    def __init__(
        self,
        config: MorphogenesisConfig,
        observer: Observer | None,
        accelerator: Accelerator,
        seed: int,
        stream_prefix: str = "",
    ) -> None:
        self.config, self.seed, self.prefix = config, seed, stream_prefix
        self._accelerator, self._observer = accelerator, observer
        self.data = load_data(config, accelerator.device)
        host_seed = self.stream("host")
        self.host = build_host(config, self.data.classes, self.data.input_shape, host_seed)
        self.host.to(accelerator.device)
        if config.policy == "static":
            self._grow_at_once()
        self.optimizers = Optimizers(self.host, config)
        self.trainer = EpochTrainer(
            self.host, self.optimizers, self.data.train, config, accelerator, seed, stream_prefix
        )
        self.governor = Governor(self.data.classes)
        self.epoch, self.steps, self.rollbacks = 0, 0, 0
        self.diverged = False
        self.train_losses: list[float] = []
        self.val_losses: list[float] = []
        self.val_accuracies: list[float] = []
        self.initial = self._measure("off")
        self.good = GoodState.of(self.host, self.optimizers)
        self.recorder: DenseRecorder | None = None
        self._begun: dict[str, Any] | None = None
        """How it stood before the epoch that is being trained."""
        self._kept: tuple[Mapping[str, Any], _Tensors, _Tensors] | None = None
        """State, parameters and moments within an epoch, until `step` goes on with it."""
        self._watched: tuple[int, ...] = ()
        self._watch()

    @property
    def done(self) -> bool:
        """Whether the last epoch has ended, or numbers were lost for good."""
        return self.diverged or self.epoch >= self.config.epochs

    def stream(self, name: str) -> int:
        """The seed of one of this episode's random streams."""
        return stream_seed(self.seed, self.prefix + name)

    def view(self) -> EpisodeView:
        """Where the episode stands, in front of the next decision."""
        kind, widths = self.config.host, slot_widths(self.config)
        blueprints = tuple(blueprints_for(kind))
        named = [widths[name] for name in self.host.slots] or list(widths.values())
        return EpisodeView(
            epoch=self.epoch,
            max_epochs=self.config.epochs,
            train_losses=tuple(self.train_losses),
            val_losses=tuple(self.val_losses),
            val_accuracies=tuple(self.val_accuracies),
            slots=tuple(slot.view() for slot in self.host.slots.values()),
            host_params=self.host.host_params,
            classes=self.data.classes,
            blueprints=blueprints,
            blueprint_params={
                name: max(parameter_count(name, kind, width) for width in named)
                for name in blueprints
            },
        )

    @property
    def within_epoch(self) -> bool:
        """Whether an epoch has begun and not ended; `step` goes on with one that was restored."""
        return self._begun is not None or self._kept is not None

    def step(
        self,
        decision: Decision,
        between: Callable[[int], None] | None = None,
        watch: Watch | None = None,
    ) -> EpochReport:
        """Applies a decision and trains for an epoch, or for what is left of it after `restore`.

        An action that is not allowed (`policies.masks.allowed`) has no effect. `between` is called
        after each optimizer step but the epoch's last, with the episode's steps so far; the state
        may be saved there. `watch` as `EpochTrainer.run` has it. Raises RuntimeError when the
        episode is done.
        """
        if self.done:
            last = self.epoch - 1
            raise RuntimeError(f"the episode has ended, its last epoch was {last}; make a new one")
        before, self._begun = self.view(), self.to_state()
        culled: set[str] = set()
        gates: dict[str, list[GateResult]] = {}
        applied = [self._apply(each, culled, gates) for each in (decision.action, *decision.also)]
        self._follow()
        self._go_on_within()
        trained = self.trainer.run(self.epoch, self.steps, self.recorder, between, watch)
        self._begun = None
        self.steps += trained.steps
        measured = self._measure(self.config.counterfactual if self._observer else "off")
        panic: Panic | None = "nonfinite" if trained.lost else self.governor.judge(measured.loss)
        rolled_back = panic is not None and self.config.rollback
        stands = measured
        if rolled_back:
            culled |= self.good.put_back(self.host, self.optimizers)
            self._follow()
            self.rollbacks += 1
            stands = self._measure("off")
        self._end_epoch(trained, stands, culled, gates)
        self.diverged = stands.loss is None or (trained.lost and not rolled_back)
        if not rolled_back and not self.governor.suspicious and not self.diverged:
            self.good = GoodState.of(self.host, self.optimizers)
        return EpochReport(
            step=self.steps,
            before=before,
            decision=decision,
            applied=applied[0],
            after=self.view(),
            trained=trained,
            measured=measured,
            gates=gates,
            panic=panic,
            rolled_back=rolled_back,
        )

    def finish(self) -> Finished:
        """Scores of the network as it is; all ranks call it."""
        return Finished(self._scored(self.data.val), self._scored(self.data.test))

    def close(self) -> None:
        """Writes what dense recording has open."""
        if self.recorder is not None:
            self.recorder.close()

    def to_state(self) -> dict[str, Any]:
        """All but the tensors (`checkpoints`), as plain JSON.

        Within an epoch it is how things stood before the epoch's decision, with what was seen since
        then (`within`).
        """
        recorder = self.recorder.to_state() if self.recorder is not None else {}
        if self._begun is not None:
            return {**self._begun, "within": self.trainer.to_state(), "recorder": recorder}
        return {
            "epoch": self.epoch,
            "steps": self.steps,
            "rollbacks": self.rollbacks,
            "diverged": self.diverged,
            "train_losses": self.train_losses,
            "val_losses": self.val_losses,
            "val_accuracies": self.val_accuracies,
            "governor": self.governor.to_state(),
            "lifecycle": self.host.lifecycle(),
            "recorder": recorder,
        }

    def restore(
        self,
        state: Mapping[str, Any],
        tensors: Mapping[str, torch.Tensor],
        moments: Mapping[str, torch.Tensor],
        good: GoodState | None,
    ) -> None:
        """Goes on from another episode's state; `good` None: the state itself is the good one.

        Where that was within an epoch, `step` must be given the epoch's decision: it makes the
        seeds whose tensors these are.
        """
        if "within" in state:
            self._kept = state, tensors, moments
            self.host.restore_lifecycle(state["lifecycle"])
        else:
            self.host.restore(tensors, state["lifecycle"])
            self.optimizers.restore(moments)
        self.epoch, self.steps = state["epoch"], state["steps"]
        self.rollbacks, self.diverged = state["rollbacks"], state["diverged"]
        self.train_losses = list(state["train_losses"])
        self.val_losses = list(state["val_losses"])
        self.val_accuracies = list(state["val_accuracies"])
        self.governor.restore(state["governor"])
        self.good = good or GoodState.of(self.host, self.optimizers)
        self._follow()
        if self._kept is None:
            self._resume_recorder(state["recorder"])

    def _go_on_within(self) -> None:
        """Puts back what an epoch's first part had come to, now that its seeds are planted."""
        if self._kept is not None:
            state, tensors, moments = self._kept
            self._kept = None
            self.host.load_state_dict(dict(tensors))
            self.optimizers.restore(moments)
            self.trainer.restore(state["within"])
            self._resume_recorder(state["recorder"])

    def _resume_recorder(self, state: Mapping[str, Any]) -> None:
        if self.recorder is not None:
            main = self._accelerator.is_main_process  # an open window is the one's who wrote it
            self.recorder.restore(state if main else {**state, "window": None})

    def _apply(
        self, action: FactoredAction, culled: set[str], gates: dict[str, list[GateResult]]
    ) -> bool:
        """Whether the action took effect; it does not where it is not allowed."""
        if action.op == WAIT or not allowed(self.view()).permits(action):
            return action.op == WAIT
        slot = self.host.slots[action.slot or ""]
        if action.op == GERMINATE:
            gate = self._germinate(slot, action)
            gates.setdefault(slot.name, []).append(gate)
            return gate.passed
        if action.op == FOSSILIZE:
            healthy = all(bool(torch.isfinite(each).all()) for each in slot.parameters())
            enforce = self.config.gates == "enforce"
            gate = slot.fossilize(slot.view().contribution, healthy, enforce)
            gates.setdefault(slot.name, []).append(gate)
            return slot.stage == "FOSSILIZED"
        if action.op == CULL:
            slot.cull()
            culled.add(slot.name)
            return True
        return False

    def _germinate(self, slot: Slot, action: FactoredAction) -> GateResult:
        accuracy = self.val_accuracies[-1] if self.val_accuracies else self.initial.accuracy
        if action.blueprint is None or action.blend is None:
            raise ValueError(f"{action} names no blueprint or no blend")
        return slot.germinate(
            action.blueprint,
            action.blend,  # type: ignore[arg-type]  # the slot checks it
            self._seed_stream(slot),
            accuracy,
            self.epoch,
        )

    def _grow_at_once(self) -> None:
        for slot in self.host.slots.values():
            if slot.settings.blueprint is None:
                raise ValueError(
                    f"slots.{slot.name} names no blueprint, but the policy static has nobody to "
                    f"choose one; name one of {', '.join(blueprints_for(self.config.host))}"
                )
            blend = slot.settings.blend or DEFAULT_BLEND
            slot.grow_at_once(slot.settings.blueprint, blend, self._seed_stream(slot))

    def _seed_stream(self, slot: Slot) -> int:
        """A second seed in a slot is another one than the first."""
        return self.stream(f"seed/{slot.name}/{slot.life.planted}")

    def _end_epoch(
        self,
        trained: EpochTrained,
        stands: EpochMeasured,
        culled: set[str],
        gates: dict[str, list[GateResult]],
    ) -> None:
        """Every seed's life goes on by one epoch. One that was culled now begins its embargo."""
        for name, slot in self.host.slots.items():
            if name in culled:
                continue
            facts = EpochFacts(
                epoch=self.epoch,
                accuracy=stands.accuracy,
                contribution=stands.contributions.get(name),
                gradient_ratio=trained.ratios.get(name),
                isolation_violations=trained.violations.get(name, 0),
                enforce=self.config.gates == "enforce",
            )
            if judged := slot.end_epoch(facts):
                gates.setdefault(name, []).extend(judged)
        self._follow()
        self.epoch += 1
        if trained.loss is not None:
            self.train_losses.append(trained.loss)
        if stands.loss is not None and stands.accuracy is not None:
            self.val_losses.append(stands.loss)
            self.val_accuracies.append(stands.accuracy)

    def _measure(self, mode: CounterfactualMode) -> EpochMeasured:
        by_class = self.config.telemetry == "research" and self._observer is not None
        return measure_epoch(
            self.host,
            self.data.val,
            self.config.eval_batch_size,
            epoch=self.epoch + 1,
            mode=mode,
            examples=self.config.matrix_examples,
            switched=self.config.matrix_slots,
            class_names=self.data.class_names if by_class else (),
            accelerator=self._accelerator,
        )

    def _scored(self, split: Split) -> CoalitionScores:
        everything = (True,) * len(self.host.slots)
        size = self.config.eval_batch_size
        (found,) = measure(self.host, [everything], split, size, self._accelerator)
        return found

    def _follow(self) -> None:
        """Optimizers and dense recording go along with the seeds that are there."""
        self.optimizers.follow()
        self._watch()

    def _watch(self) -> None:
        """Has the dense recorder look at the parameters that are there now."""
        if self._observer is None:
            return
        parameters = self.optimizers.parameters()
        watched = tuple(id(each) for group in parameters.values() for each in group)
        if watched == self._watched:
            return
        state = None if self.recorder is None else self.recorder.to_state()
        self.close()
        self.recorder = DenseRecorder(
            self._observer.emitter, self.config.telemetry, model=self.host, groups=parameters
        )
        if state is not None:
            self.recorder.restore(state)
        self._watched = watched
