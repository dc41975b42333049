"""Monitors for `transformers.Trainer`: a callback that logs beside the loss."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from telemetry.probes.capture import Side
from telemetry.probes.health import COLLAPSE_THRESHOLD, HealthStatus
from telemetry.probes.monitors import Monitor
from telemetry.probes.probes import DEFAULT_WINDOW
from telemetry.probes.suite import MonitorSuite

if TYPE_CHECKING:
    from torch import nn

STATUSES_KEPT = 10_000
logger = logging.getLogger(__name__)


class HealthCallback(TrainerCallback):  # type: ignore[misc]
    """Watches the model of a `Trainer`: `health/…` beside each logged loss.

    They are in `trainer.state.log_history` and on the progress display. Reporters (TensorBoard,
    MLflow, …) get them too once the callback `join`ed the trainer, since each is called in turn
    and theirs comes before. `statuses` has one `HealthStatus` for each step, the newest 10,000.
    It reports and never stops a training: a callback of your own may, with `status`.

    Takes what `MonitorSuite.attach` takes, and raises what it raises when training begins.

    The window is kept in the trainer's checkpoints, a file for each process, and a training that is
    resumed from the `output_dir` goes on with it; from anywhere else it fills anew, with a warning.
    """

    def __init__(
        self,
        monitors: Sequence[Monitor] = ("svd_ratio",),
        *,
        window: int = DEFAULT_WINDOW,
        threshold: float = COLLAPSE_THRESHOLD,
        layer: str | nn.Module | None = None,
        capture: Side = "output",
    ) -> None:
        self._options: dict[str, Any] = {
            "monitors": monitors,
            "window": window,
            "threshold": threshold,
            "layer": layer,
            "capture": capture,
        }
        self._suite: MonitorSuite | None = None
        self.statuses: deque[HealthStatus] = deque(maxlen=STATUSES_KEPT)

    @property
    def status(self) -> HealthStatus | None:
        """What is known by now; None before the first step."""
        return self.statuses[-1] if self.statuses else None

    def join(self, trainer: Any) -> HealthCallback:
        """Becomes the first callback of a trainer, so that all others see what it logs."""
        callbacks = trainer.callback_handler.callbacks
        if self in callbacks:
            callbacks.remove(self)
        callbacks.insert(0, self)
        return self

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Hooks on the model."""
        self._close()
        self._suite = MonitorSuite.attach(kwargs["model"], **self._options)
        if state.global_step:
            self._restore(_kept(args, state))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keeps the window in the checkpoint that was just written."""
        from safetensors.torch import save_file

        path = _kept(args, state)
        if self._suite is None or not path.parent.is_dir():
            return
        if window := self._suite.to_state():
            save_file(window, path)
        self._keep()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Takes in the step's last forward pass: with accumulation that of its last batch."""
        if self._suite is not None:
            self._suite.observe(state.global_step)
            self._keep()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Adds what is known to a log of training; what was not measured is left out."""
        if self._suite is None or logs is None or "loss" not in logs:
            return
        # The trainer has just waited for the loss: there is nothing left to wait for here.
        self._suite.flush()
        self._keep()
        rows = {name: value for name, value in self._suite.values().items() if value is not None}
        logs.update(rows)
        if state.log_history and state.log_history[-1].get("step") == state.global_step:
            state.log_history[-1].update(
                {name: value for name, value in rows.items() if math.isfinite(value)}
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Takes the hooks off."""
        self._close()

    def _restore(self, path: Path) -> None:
        from safetensors.torch import load_file

        if self._suite is None or not self._suite.to_state():
            return  # no window, so nothing was kept
        if path.is_file():
            self._suite.restore(load_file(path))
        else:
            logger.warning("monitors start with an empty window: there is no %s", path)

    def _close(self) -> None:
        if self._suite is not None:
            self._suite.close()
            self._keep()
            self._suite = None

    def _keep(self) -> None:
        if self._suite is not None:
            self.statuses.extend(self._suite.drain_statuses())


def _kept(args: Any, state: Any) -> Path:
    """Where this process keeps its window in the checkpoint of the step that the trainer is at."""
    folder = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
    return folder / f"health-{args.process_index}.safetensors"
