"""Monitors on a trial's model: what they see becomes rows `health/…` beside the loss.

Rank 0 watches: it reads the first example of every batch, whatever the number of ranks, so that a
row says the same for any number. Others watch nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workloads.errors import InputError
from workloads.monitors import MONITORS, PREFIX

if TYPE_CHECKING:
    from torch import Tensor, nn

    from telemetry.probes.suite import MonitorSuite
    from workloads.contract import TrialContext, TrialEmitter, WorkloadConfig

logger = logging.getLogger(__name__)

TENSORS = "monitors.safetensors"
"""The file of a checkpoint that holds what the monitors go on from."""
_FLAGS = (f"{PREFIX}collapsed", f"{PREFIX}nonfinite")
_RAISED = "raised"


class Monitoring:
    """Monitors of one trial; without a suite it does nothing.

    The loop calls `step` after every optimizer step, or whatever its rows count. A row is emitted
    for the steps that are recorded, and for one at which a flag goes up (`health/collapsed`,
    `health/nonfinite`). On a GPU it may come some calls later, with the step that it is of.
    """

    def __init__(
        self, suite: MonitorSuite | None = None, emitter: TrialEmitter | None = None
    ) -> None:
        self._suite, self._emitter = suite, emitter
        self._recorded: dict[int, float | None] = {}
        """Steps whose rows are to be emitted, with their epochs."""
        self._raised = dict.fromkeys(_FLAGS, False)

    @property
    def active(self) -> bool:
        """Whether anything is watched."""
        return self._suite is not None

    def step(self, step: int, emit: bool, epoch: float | None = None) -> None:
        """Takes the newest forward pass into the window, as that of `step`; nothing if there was
        none. `emit`: whether the loop records this step."""
        if self._suite is None:
            return
        if emit:
            self._recorded[step] = epoch
        self._suite.observe(step)
        self._tell()

    def flush(self) -> None:
        """Emits what is still on its way from a GPU; waits for it."""
        if self._suite is not None:
            self._suite.flush()
            self._tell()

    def to_state(self) -> dict[str, Tensor]:
        """What a resumed trial needs to emit what this one would: the window, and the flags that
        are up. Emits what is on its way before."""
        if self._suite is None:
            return {}
        import torch

        self.flush()
        raised = torch.tensor([self._raised[name] for name in _FLAGS])
        return {**self._suite.to_state(), _RAISED: raised}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from another's `to_state`; from an empty one, or that of another window, the
        window fills anew."""
        if self._suite is None or not state:
            return
        self._suite.restore({name: each for name, each in state.items() if name != _RAISED})
        self._raised = dict(zip(_FLAGS, map(bool, state[_RAISED].tolist()), strict=True))

    def save(self, folder: Path) -> None:
        """Writes `to_state` into a checkpoint, if there is anything."""
        state = self.to_state()
        if state:
            from safetensors.torch import save_file

            save_file({name: each.contiguous() for name, each in state.items()}, folder / TENSORS)

    def load(self, folder: Path) -> None:
        """Restores what `save` wrote; a checkpoint without it changes nothing."""
        if self._suite is not None and (folder / TENSORS).is_file():
            from safetensors.torch import load_file

            self.restore(load_file(folder / TENSORS))

    def _tell(self) -> None:
        if self._suite is None or self._emitter is None:
            return
        for step, values in self._suite.drain():
            up = {name: values.get(name) == 1.0 for name in _FLAGS}
            news = any(up[name] and not self._raised[name] for name in _FLAGS)
            self._raised = up
            if step in self._recorded or news:
                epoch = self._recorded.get(step)
                self._emitter.metrics(values, step=step, epoch=epoch)
            self._recorded = {at: when for at, when in self._recorded.items() if at > step}


@contextmanager
def monitored(
    config: WorkloadConfig,
    context: TrialContext,
    model: nn.Module,
    *,
    layer: str | nn.Module | None = None,
    capture: Literal["output", "input"] = "output",
) -> Iterator[Monitoring]:
    """Within the block `config.monitors` watch `model`; nothing is attached if there are none.

    Watched is `config.monitor_layer`, else `layer` (what goes in, with `capture="input"`), else the
    last block. Raises `InputError` for a layer that the model does not have, and for monitors that
    were asked for on a model in which no block is found; those that are on by default then watch
    nothing, with a warning.
    """
    if not config.monitors or context.rank:
        yield Monitoring()
        return
    from telemetry.probes.suite import MonitorSuite

    if config.monitor_layer is not None:
        layer, capture = config.monitor_layer, "output"
    try:
        suite = MonitorSuite.attach(
            model,
            config.monitors,
            window=config.monitor_window,
            layer=layer,
            capture=capture,
        )
    except (ValueError, TypeError) as error:
        if not _by_default(config):
            raise InputError(f"monitors: {error}") from error
        logger.warning("the monitors are off: %s", error)
        yield Monitoring()
        return
    with suite:
        monitoring = Monitoring(suite, context.emitter)
        yield monitoring
        monitoring.flush()


def read_through(monitoring: Monitoring, model: Any, texts: Iterable[Tensor]) -> None:
    """The model reads texts one by one, token ids [tokens] each, and each is a recorded step.

    For trials that measure a finished model in batches of many texts. The model, in evaluation
    mode, keeps no trace of it.
    """
    import torch

    with torch.no_grad():
        for number, ids in enumerate(texts, 1):
            model(input_ids=ids.unsqueeze(0).to(model.device), use_cache=False)
            monitoring.step(number, emit=True)


def _by_default(config: WorkloadConfig) -> bool:
    fields = type(config).model_fields
    return config.monitors == fields[MONITORS].default and config.monitor_layer is None
