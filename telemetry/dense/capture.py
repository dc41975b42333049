"""Looks into a model while it trains: hooks that are there only while something is captured.

Gradients are read at the end of each backward pass, as it left them: before clipping, summed over
the ranks of data-parallel training, still scaled where a loss scaler is in use. Activations are
read as modules give them out: of all modules in the first batch, then of a quarter of them in each,
in turn. All is summed up on the device; nothing waits for a GPU before `read`. Random numbers,
gradients and outputs stay as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from telemetry.dense.activations import ActivationGatherer, ActivationStatistics
from telemetry.dense.gradients import HISTOGRAM_EDGES, GradientGatherer, GradientStatistics
from telemetry.dense.groups import parameter_groups, watched_modules

if TYPE_CHECKING:
    import torch
    from torch import nn

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Captured:
    """What a window's hooks saw."""

    gradients: GradientStatistics
    activations: ActivationStatistics
    group_norms: Sequence[Mapping[str, float | None]]
    """Gradient norm by parameter group, of each captured batch. None: it had no gradient."""
    histogram_edges: Sequence[float] = HISTOGRAM_EDGES


NOTHING = Captured(GradientStatistics({}, {}), ActivationStatistics({}, {}, {}), ())
"""What is captured without hooks."""


class DenseCapture:
    """The hooks of one model. `groups` and `modules` are as in `telemetry.dense.groups`.

    Between `install` and `remove` every training batch is captured: call `end_batch` once a batch,
    after its backward pass. Not installed, it has no hook on the model at all. If a hook fails, its
    error is counted in `errors` and all are removed: training goes on.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: Mapping[str, Iterable[nn.Parameter]] | None = None,
        modules: Mapping[str, nn.Module] | None = None,
    ) -> None:
        self.errors = 0
        self._parameters = parameter_groups(model, groups)
        self._modules = watched_modules(model, modules)
        self._gradients = GradientGatherer(self._parameters)
        self._activations = ActivationGatherer(self._modules)
        self._handles: list[Any] = []
        self._norms: list[torch.Tensor | None] = []
        self._queued = False
        self._last: torch.Tensor | None = None

    @property
    def installed(self) -> bool:
        """Whether there are hooks on the model."""
        return bool(self._handles)

    def install(self) -> None:
        """Puts the hooks on the model; does nothing if they are there."""
        if self._handles:
            return
        self._queued, self._last = False, None
        self._activations.start()
        for parameters in self._parameters.values():
            # One gradient that comes has them all read: two hooks a group see every backward pass.
            for parameter in {parameters[0], parameters[-1]}:
                handle = parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                    self._gradient_came
                )
                self._handles.append(handle)
        for name, module in self._modules.items():
            self._handles.append(module.register_forward_hook(self._forward_hook(name)))

    def remove(self) -> None:
        """Takes every hook off the model; what was captured stays until it is read."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def end_batch(self) -> int | None:
        """Ends a batch: its place in `Captured.group_norms`, or None if none was captured."""
        if not self._handles:
            return None
        self._activations.end_batch()
        if self._last is None:
            return None
        self._norms.append(self._last)
        self._last = None
        return len(self._norms) - 1

    def read(self) -> Captured:
        """What was captured since the last `read`; waits for the device, once."""
        import torch

        norms: list[dict[str, float | None]] = []
        if self._norms:
            for row in torch.stack([n for n in self._norms if n is not None]).tolist():
                norms.append(
                    {
                        name: None if norm < 0 else norm
                        for name, norm in zip(self._gradients.names, row, strict=True)
                    }
                )
            self._norms.clear()
        return Captured(self._gradients.read(), self._activations.read(), norms)

    def _gradient_came(self, parameter: torch.Tensor) -> None:
        """Runs within a backward pass; the first time, it has the gradients read at its end."""
        if not self._queued:
            self._queued = True
            self._at_the_end_of_backward(self._settle)

    def _settle(self) -> None:
        # Data parallelism sums gradients over ranks in such a callback of its own, which stands in
        # line by now: ours goes behind it.
        self._at_the_end_of_backward(self._read_gradients)

    def _read_gradients(self) -> None:
        self._queued = False
        try:
            self._last = self._gradients.gather()
        except Exception as error:
            self._failed(error)

    @staticmethod
    def _at_the_end_of_backward(call: Any) -> None:
        from torch.autograd import Variable

        Variable._execution_engine.queue_callback(call)

    def _forward_hook(self, name: str) -> Any:
        def gave(module: nn.Module, inputs: Any, output: Any) -> None:
            try:
                self._activations.gather(name, output)
            except Exception as error:
                self._failed(error)

        return gave

    def _failed(self, error: Exception) -> None:
        self.errors += 1
        self.remove()
        if self.errors == 1:
            logger.warning("dense capture stops: %s: %s", type(error).__name__, error)
