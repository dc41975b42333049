"""Trains a coupled model: one optimizer step a batch, each of them recorded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from telemetry.contracts import HostSnapshot
from telemetry.dense import DenseRecorder
from workloads.contract import TrialContext
from workloads.errors import InputError
from workloads.phase_coupling.config import KuramotoSettings, PhaseCouplingConfig
from workloads.phase_coupling.cores.drift import Control, DriftController, label_of
from workloads.phase_coupling.cores.tones import tone_of
from workloads.phase_coupling.coupling.attach import Coupling
from workloads.phase_coupling.training.gradients import average, norm_of, trained_parameters
from workloads.phase_coupling.training.history import HISTORY, History, Step
from workloads.phase_coupling.training.keeping import (
    COPIES,
    PROGRESS,
    STATE,
    CoreCopies,
    Restored,
    check_tensors,
    parted,
    read_checkpoint,
    spread,
    write_checkpoint,
)
from workloads.phase_coupling.training.losses import StepLoss, step_loss
from workloads.phase_coupling.training.texts import load_training_texts
from workloads.training import checkpointing, generator, seeded, stream_seed
from workloads.training.monitoring import monitored

if TYPE_CHECKING:
    from accelerate import Accelerator

GRADIENT_CLIP: Final = 1.0
"""The norm to which the gradient of all that is trained is scaled down."""
MONITOR_STEPS: Final = 10
"""Rows of monitors are emitted every so many steps; what they watch, they watch at each."""
_CORE: Final = "core."
_PHASES: Final = "phases"


@dataclass(frozen=True)
class Trained:
    """How training ended.

    A training that lost its numbers ends before the step at which it did (`diverged`). `phases`,
    [batch, N], are where the last batch left the oscillators; None where nothing was trained.
    """

    history: History
    diverged: bool
    phases: Tensor | None


def train(
    model: nn.Module,
    core: Any,
    coupling: Coupling,
    config: PhaseCouplingConfig,
    context: TrialContext,
    accelerator: Accelerator,
    tokenizer: Any,
) -> Trained:
    """Trains as `config.training` says, from the newest checkpoint or from the start.

    `coupling` joins `core` to `model`, and stays joined; `core` is None where the mode is off. Both
    are left in evaluation mode and without gradients. Emits a row each step, writes `history.json`
    and copies of the core among the artifacts, and saves checkpoints, the last of them after the
    last step. With `training.steps=0` nothing happens, and the history is empty.

    Several ranks share each batch, and come to what one process comes to. Raises `InputError` for
    a batch that ranks cannot share, and for an end term without an end token.
    """
    if not config.training.steps:
        return Trained(History(), False, None)
    return _Training(model, core, coupling, config, context, accelerator, tokenizer).run()


class _Training:
    """The state that the steps of one training share."""

    def __init__(
        self,
        model: nn.Module,
        core: Any,
        coupling: Coupling,
        config: PhaseCouplingConfig,
        context: TrialContext,
        accelerator: Accelerator,
        tokenizer: Any,
    ) -> None:
        self.model, self.core, self.coupling = model, core, coupling
        self.config, self.context, self.accelerator = config, context, accelerator
        self.settings = config.training
        self.rank, self.ranks = accelerator.process_index, accelerator.num_processes
        self.share = _share(config, self.ranks)
        self.end_token = _end_token(model, config)
        self.texts = load_training_texts(config, tokenizer)
        self.trained = trained_parameters(model, core, self.settings.trains)
        self.optimizer = torch.optim.AdamW(self.trained.values(), lr=self.settings.learning_rate)
        self.frequencies = None if core is None else core.omega.detach().clone()
        """As they were drawn."""
        self.controller = (
            DriftController(self.settings.drift, core.coupling)
            if self.settings.drift is not None and core is not None
            else None
        )
        self.control: Control | None = None
        self.history = History()
        self.copies = CoreCopies(context.artifacts / COPIES)

    def run(self) -> Trained:
        with (
            DenseRecorder(
                self.context.emitter,
                self.config.telemetry,
                model=self.model,
                groups={"core": list(self.core.parameters())} if self.core is not None else None,
            ) as self.recorder,
            monitored(self.config, self.context, self.model) as self.monitoring,
            self._in_training(),
        ):
            finished = self._run()
        if self.accelerator.is_main_process:
            self.history.write(self.context.artifacts / HISTORY)
        return Trained(self.history, not finished, self.coupling.phases)

    def _run(self) -> bool:
        """Whether all steps were made."""
        self._restore()
        for step in range(len(self.history.steps) + 1, self.settings.steps + 1):
            if not self._step(step):
                return False
            due = step % self.settings.checkpoint_steps == 0 or step == self.settings.steps
            if due:
                self._end_interval(step)
            wanted = checkpointing.wanted(self.accelerator, self.context.checkpoints, step)
            if wanted or due:
                self._save(step)
            if due:
                self.context.report(step, {"train/loss": self.history.steps[-1].loss})
        return True

    @contextmanager
    def _in_training(self) -> Iterator[None]:
        self.coupling.hold(None)
        for module in (self.model, self.core):
            if module is not None:
                module.train()
        try:
            yield
        finally:
            for module in (self.model, self.core):
                if module is not None:
                    module.eval().requires_grad_(False)
                    module.zero_grad(set_to_none=True)

    def _step(self, step: int) -> bool:
        """One optimizer step; False, and unchanged weights, where its numbers are not finite."""
        losses = self._losses(step)
        if losses.total.requires_grad:
            losses.total.backward()  # type: ignore[no-untyped-call]
        average(self.trained.values(), self.accelerator)
        norm = norm_of(self.trained.values())
        made = self._measured(step, losses)
        self.monitoring.step(step, emit=self._recorded(step), epoch=self._epoch(step))
        self.recorder.batch(
            step=step,
            epoch=self._interval(step),
            batch_idx=(step - 1) % self.settings.checkpoint_steps,
            loss=made.loss,
            grad_norm=norm,
        )
        if not all(map(math.isfinite, (made.loss, made.u, made.r or 0.0, norm))):
            return False
        if norm > GRADIENT_CLIP:
            for parameter in self.trained.values():
                if parameter.grad is not None:
                    parameter.grad.mul_(GRADIENT_CLIP / norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._record(made)
        return True

    def _losses(self, step: int) -> StepLoss:
        """Of this rank's texts, and with the phases left where they leave them."""
        seed, size = self.context.seed, self.settings.batch_size
        first = self.rank * self.share
        ids = self.texts.batch(seed, step - 1, size)[first : first + self.share]
        ids = ids.to(self.accelerator.device)
        place = (step - 1) * size + first
        names = [f"training/phases/{place + row}" for row in range(self.share)]
        self.coupling.begin(self.share, [stream_seed(seed, name) for name in names])
        with seeded(seed, f"training/dropout/{step}/{self.rank}"), self.accelerator.autocast():
            logits = self.model(input_ids=ids, use_cache=False).logits
        return step_loss(logits, ids, self.coupling.r, self.settings, self.end_token)

    def _steer(self, step: int) -> None:
        """Has the oscillators do from step `step` on what the controller said."""
        if self.control is not None:
            stream = f"training/noise/{step}/{self.rank}"
            self.core.steer(self.control, generator(self.context.seed, stream))

    def _measured(self, step: int, losses: StepLoss) -> Step:
        """What there is to say of a step before its weights are changed, over all ranks."""
        parts = [losses.total, losses.ce, losses.u, losses.u_distance]
        parts += [] if losses.r is None else [losses.r]
        values = torch.stack([part.detach().double().cpu() for part in parts])
        if self.ranks > 1:
            values = self.accelerator.reduce(values.to(self.accelerator.device), reduction="mean")
        loss, ce, u, distance, *rest = values.tolist()
        r = min(rest[0], 1.0) if rest else None
        core = self.core
        return Step(
            step=step,
            loss=loss,
            ce=ce,
            u=u,
            u_loss=distance,
            r=r,
            core_gradient=None if core is None else norm_of(core.parameters()),
            frequency_gradient=None if core is None else norm_of([core.omega]),
        )

    def _record(self, made: Step) -> None:
        """Adds what is known after the step, steers, and emits the step's row."""
        drift: float | None = None
        tone: str | None = None
        action: str | None = None
        if self.frequencies is not None and made.r is not None:
            change = self.core.omega.detach().double() - self.frequencies.double()
            drift = float(change.square().mean().sqrt())
            tone, action = tone_of(made.r), label_of(made.r)
            if self.controller is not None:
                self.control = self.controller.update(made.r)
                self._steer(made.step + 1)
                action = self.control.action
        whole = replace(made, frequency_drift=drift, tone=tone, action=action)
        self.history.add(whole)
        self.context.emitter.metrics(
            whole.as_rows(), step=whole.step, epoch=self._epoch(whole.step)
        )

    def _end_interval(self, step: int) -> None:
        """Tells the recorder, and keeps the history so far and a copy of the core."""
        every = self.settings.checkpoint_steps
        latest = self.history.steps[(step - 1) // every * every :]
        host = HostSnapshot(epoch=self._interval(step), train_loss=fmean(s.loss for s in latest))
        self.recorder.epoch(host, step=step)
        if not self.accelerator.is_main_process:
            return
        self.history.write(self.context.artifacts / HISTORY)
        if self.core is None or step % every:
            return
        metrics = {
            **self.history.steps[-1].as_history(),
            **spread(self.coupling.phases, self.core.omega),
        }
        self.copies.keep(step, self.core.to_state(), metrics)

    def _save(self, step: int) -> None:
        tensors: dict[str, Tensor] = {}
        rest: dict[str, Any] = {}
        if self.core is not None:
            of_core, rest = parted(self.core.to_state())
            tensors |= {_CORE + name: value for name, value in of_core.items()}
            phases = self.coupling.phases
            assert phases is not None
            tensors[_PHASES] = self.accelerator.gather(phases) if self.ranks > 1 else phases
        progress = {
            "history": self.history.to_json(),
            "core": rest,
            "control": None if self.control is None else vars(self.control),
            "telemetry": self.recorder.to_state(),
        }
        if self.accelerator.is_main_process:
            with self.context.checkpoints.saving(step) as folder:
                write_checkpoint(folder, self.trained, self.optimizer, tensors, progress)
                self.monitoring.save(folder)
                self.copies.save(folder)
        self.accelerator.wait_for_everyone()

    def _restore(self) -> None:
        checkpoint = self.context.checkpoints.latest()
        if checkpoint is None:
            return
        saved = read_checkpoint(checkpoint.path, self.trained, self.optimizer)
        self.history = History.from_json(saved.progress["history"])
        if self.core is not None:
            self._restore_core(saved, checkpoint.path)
            rows = slice(self.rank * self.share, (self.rank + 1) * self.share)
            self.coupling.set(saved.tensors[_PHASES][rows], self.share)
        if saved.progress["control"] is not None and self.controller is not None:
            self.control = Control(**saved.progress["control"])
            self.controller.coupling = self.control.scale
            self._steer(len(self.history.steps) + 1)
        self.monitoring.load(checkpoint.path)
        if self.accelerator.is_main_process:
            self.copies.load(checkpoint.path)
        state = saved.progress["telemetry"]
        main = self.accelerator.is_main_process
        self.recorder.restore(state if main else {**state, "window": None})

    def _restore_core(self, saved: Restored, folder: Path) -> None:
        wanted = {_CORE + name: value.shape for name, value in self.core.state_dict().items()}
        phases = (self.settings.batch_size, self.core.oscillators)
        check_tensors(folder / STATE, saved.tensors, {**wanted, _PHASES: phases})
        state = {n.removeprefix(_CORE): t for n, t in saved.tensors.items() if n != _PHASES}
        try:
            self.core.load_state({**saved.progress["core"], "tensors": state})
        except ValueError as error:
            raise InputError(f"'{folder / PROGRESS}': {error}") from error

    def _interval(self, step: int) -> int:
        return (step - 1) // self.settings.checkpoint_steps + 1

    def _epoch(self, step: int) -> float:
        return step * self.settings.batch_size / len(self.texts)

    def _recorded(self, step: int) -> bool:
        return step % MONITOR_STEPS == 0 or step == self.settings.steps


def _share(config: PhaseCouplingConfig, ranks: int) -> int:
    """Texts of a batch that each rank reads. Raises `InputError` where they cannot be shared."""
    size = config.training.batch_size
    if size % ranks:
        raise InputError(
            f"training.batch_size={size} cannot be shared by {ranks} ranks; give a multiple of "
            f"{ranks}, or one rank"
        )
    pooled = isinstance(config.core, KuramotoSettings) and config.core.pool == "sequence"
    if ranks > 1 and pooled and config.mode != "off":
        raise InputError(
            "core.pool=sequence drives the oscillators by the mean of the whole batch, which "
            f"{ranks} ranks do not share; ask for one rank, or pool=causal"
        )
    return size // ranks


def _end_token(model: Any, config: PhaseCouplingConfig) -> int | None:
    """The id of the end token; None where it does not weigh. Raises `InputError` where it does and
    the model has none."""
    if not config.training.end_weight:
        return None
    given = model.config.eos_token_id
    token = given[0] if isinstance(given, list) else given
    if not isinstance(token, int) or not 0 <= token < model.config.vocab_size:
        raise InputError(
            f"training.end_weight={config.training.end_weight:g}: the config.json of "
            f"{config.model} names no end token (eos_token_id); name it there, or leave the "
            "weight at 0"
        )
    return token
