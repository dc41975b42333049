"""What hooks keep of a model's newest forward pass: a row or two, never a tensor of a batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from telemetry.probes.discovery import around, sequence_first

Side = Literal["output", "input"]
_MASKS = ("attention_mask", "src_key_padding_mask")

P = ParamSpec("P")
R = TypeVar("R")


def _uncompiled(hook: Callable[P, R]) -> Callable[P, R]:
    """The hook, left out of what `torch.compile` traces."""
    return torch.compiler.disable(hook)  # type: ignore[no-any-return, no-untyped-call]


@dataclass
class Seen:
    """Of one forward pass, rows on the model's device that share no memory with its tensors."""

    row: Tensor | None = None
    """[dim]: the layer's output (or input) at the last token of the first sample."""
    before: Tensor | None = None
    """[dim]: what went into the layer there, which is what the layer before it gave."""
    logits: Tensor | None = None
    """[vocabulary]: the model's logits there."""
    token: Tensor | None = None
    """[1]: whether the mask has a token for the first sample; None: no mask was needed. Without
    one, the rows are of padding."""
    problems: list[str] = field(default_factory=list)
    """What could not be read, and why."""


class RowCapture:
    """Hooks on a layer of a model, and on the modules around it, that keep rows of each forward.

    The token is the last that is no padding, by the `attention_mask` (1: a token) or
    `src_key_padding_mask` (True: padding) that the forward pass is given, wherever the padding is;
    without a mask the last. [seq, dim]: the last row. [dim]: as it is. `side`: whether the
    layer's output is taken or its input; `before`, `logits`: whether these are too.

    The hooks return None, change nothing, draw no random numbers and never wait for a device. What
    gradient checkpointing computes again in a backward pass is not a forward pass. What goes wrong
    in a hook goes to `Seen.problems`, and with `strict` it raises `ValueError` in the forward pass.
    A hook that changes the layer's output is seen if it was registered first.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: nn.Module,
        side: Side = "output",
        *,
        before: bool = False,
        logits: bool = False,
        strict: bool = False,
    ) -> None:
        self._side, self._before, self._logits, self._strict = side, before, logits, strict
        self._sequence_first = sequence_first(layer)
        self._outer: nn.Module | None = None
        self._mask: _Mask | None = None
        self._seen = Seen()
        self._reached = self._started = False
        roots = around(model, layer) or [model]
        self._masks = {root: _positions_of_masks(root) for root in roots}
        # Bound methods, so that a deep copy of the model is watched by a copy of this, not by this.
        self._handles = [
            root.register_forward_pre_hook(self._enter, with_kwargs=True) for root in roots
        ]
        if side == "input" or before:
            self._handles.append(
                layer.register_forward_pre_hook(self._read_input, with_kwargs=True)
            )
        if side == "output":
            self._handles.append(layer.register_forward_hook(self._read_output))
        self._handles += [root.register_forward_hook(self._leave) for root in roots]

    def take(self) -> Seen | None:
        """What was seen of the newest forward pass; None if there was none since the last call."""
        if self._started and not self._reached:
            self._seen.problems.append(
                "the forward pass did not reach the layer: it is not used, or the model was "
                "compiled, and ran, before the hooks were there"
            )
        elif not self._reached:
            return None
        seen, self._seen, self._reached, self._started = self._seen, Seen(), False, False
        return seen

    def remove(self) -> None:
        """Takes the hooks off and lets go of what they kept."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._masks.clear()
        self._seen, self._mask, self._outer = Seen(), None, None
        self._reached = self._started = False

    @_uncompiled
    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if _in_backward():
            return
        if self._outer is None or self._outer is module:
            self._outer, self._mask, self._seen = module, None, Seen()
            self._reached, self._started = False, True
        if self._mask is None:
            self._mask = _mask_among(args, kwargs, self._masks.get(module, {}))

    @_uncompiled
    def _leave(self, module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        if self._outer is not module or _in_backward():
            return
        self._outer = None
        if self._logits:
            self._guarded("logits", lambda: self._keep_logits(output))
        self._mask = None

    def _keep_logits(self, output: Any) -> None:
        self._seen.logits = self._last(_logits_of(output), batch_first=True)

    @_uncompiled
    def _read_input(
        self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if _in_backward():
            return

        def read() -> None:
            row = self._last(_first_tensor((*args, *kwargs.values())))
            if self._side == "input":
                self._seen.row = row
            else:
                self._seen.before = row

        self._reached = self._reached or self._side == "input"
        self._guarded("the layer's input", read)

    @_uncompiled
    def _read_output(self, _module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        if _in_backward():
            return

        def read() -> None:
            self._seen.row = self._last(_hidden_of(output))

        self._reached = True
        self._guarded("the layer's output", read)

    def _guarded(self, what: str, read: Callable[[], None]) -> None:
        """Reads; what fails never reaches the training loop unless it asked for that."""
        try:
            with torch.no_grad():
                read()
        except Exception as error:
            if self._strict:
                raise ValueError(f"{what}: {error}") from error
            self._seen.problems.append(f"{what}: {error}")

    def _last(self, hidden: Tensor, *, batch_first: bool = False) -> Tensor:
        """The row of the last token of the first sample: [dim], in memory of its own."""
        hidden = hidden.detach()
        if not hidden.is_floating_point() or hidden.ndim not in (1, 2, 3) or not hidden.numel():
            shape = ["nested"] if hidden.is_nested else list(hidden.shape)
            raise ValueError(
                f"unsupported {'shape' if hidden.is_floating_point() else 'type'} "
                f"{shape} of {hidden.dtype}; valid: floating point, [dim], [seq, dim] "
                "or [batch, seq, dim], not empty"
            )
        if hidden.ndim == 1:
            return hidden.clone()
        if hidden.ndim == 2:
            return hidden[-1].clone()
        if hidden.is_nested:  # the padding is left out of it already
            return hidden.unbind()[0][-1].clone()
        sample = hidden[:, 0] if self._sequence_first and not batch_first else hidden[0]
        if self._mask is None:
            return sample[-1].clone()
        position, token = self._mask.last_token(sample.shape[0])
        self._seen.token = token
        position = position.to(sample.device, non_blocking=True)
        return torch.index_select(sample, 0, position)[0]


@dataclass(frozen=True)
class _Mask:
    given: Any
    padding: bool
    """Whether true entries are padding, not tokens."""

    def last_token(self, length: int) -> tuple[Tensor, Tensor]:
        """[1], [1]: where the last token of the first sample is among `length` positions, and
        whether it has any; nobody waits for a device to know.

        Counted from the end, so that it also holds where only the newest positions are computed
        (a cache), and where some were put in front (prompt tuning).
        """
        if self.given.ndim != 2:
            raise ValueError(
                f"a mask of shape {list(self.given.shape)} does not say which tokens are padding; "
                "valid: [batch, seq]"
            )
        first = self.given[0].detach()
        tokens = first == 0 if self.padding else first != 0
        order = torch.arange(1, len(first) + 1, device=first.device)
        last = (tokens * order).argmax(dim=0, keepdim=True)
        position: Tensor = (last + (length - len(first))).clamp(0, length - 1)
        return position, tokens.any(dim=0, keepdim=True)


def _positions_of_masks(module: nn.Module) -> dict[str, int]:
    """Where a mask stands among the positional arguments of a module, by its name."""
    try:
        names = list(inspect.signature(module.forward).parameters)
    except (TypeError, ValueError):
        return {}
    return {name: names.index(name) for name in _MASKS if name in names}


def _mask_among(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], positions: Mapping[str, int]
) -> _Mask | None:
    for name in _MASKS:
        given = kwargs.get(name)
        if given is None and positions.get(name, len(args)) < len(args):
            given = args[positions[name]]
        if isinstance(given, torch.Tensor):
            return _Mask(given, padding=name != "attention_mask")
    return None


def _hidden_of(output: Any) -> Tensor:
    """The hidden states that a layer gave: a tensor, the first of a tuple, or the named one."""
    hidden = getattr(output, "last_hidden_state", None)
    if hidden is None and isinstance(output, Mapping):
        hidden = output.get("last_hidden_state")
    return _first_tensor((hidden, output, *(output if isinstance(output, tuple | list) else ())))


def _logits_of(output: Any) -> Tensor:
    """The logits that a model gave: by their name, or its output itself if that is a tensor."""
    logits = output.get("logits") if isinstance(output, Mapping) else None
    if logits is None:
        logits = getattr(output, "logits", None)
    if logits is None and isinstance(output, torch.Tensor):
        logits = output
    if logits is None and type(output) is tuple:  # (loss, logits, …) or (logits, …)
        tensors = (one for one in output if isinstance(one, torch.Tensor))
        logits = next((one for one in tensors if one.ndim > 1), None)
    if logits is None:
        raise ValueError(
            f"a {type(output).__name__} without logits; attach to the model with its head"
        )
    return logits


def _first_tensor(candidates: tuple[Any, ...]) -> Tensor:
    for one in candidates:
        if isinstance(one, torch.Tensor):
            return one
    raise ValueError("no tensor among " + (", ".join(type(o).__name__ for o in candidates)))


def _in_backward() -> bool:
    """Whether a backward pass is running, which computes checkpointed layers again."""
    return torch._C._current_graph_task_id() != -1
