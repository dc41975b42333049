"""A core joined to a model by hooks: it reads one tensor of each forward pass, and may replace it.

with Coupling.attach(model, core, site="residual", layer="1/2", mode="modulate") as coupling:
    coupling.begin(batch=8)
    logits = model(ids).logits      # as the oscillators would have it
    coupling.r                      # [8, tokens]: their order parameter
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from inspect import signature
from types import TracebackType
from typing import Any, Self, get_args

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from telemetry.probes.discovery import unwrapped
from workloads.errors import InputError
from workloads.phase_coupling.config import Mode
from workloads.phase_coupling.cores.core import Drive
from workloads.phase_coupling.cores.phases import Initial
from workloads.phase_coupling.coupling.layers import resolve_layer
from workloads.phase_coupling.coupling.sites import Place, Sites, sites_of
from workloads.phase_coupling.coupling.state import PhaseState, Policy, Source


class Coupling:
    """A core at a site of a model; as a context manager it takes its hooks off at the end.

    In `observe`, and wherever a mode does not act, the core runs without gradients and the model's
    tensors are not touched: its outputs are the same bits as without. The core computes in float32
    whatever the model does.
    """

    def __init__(
        self,
        model: nn.Module,
        core: Any,
        *,
        sites: Sites,
        layer: int | None,
        place: Place,
        mode: Mode,
        state: PhaseState,
    ) -> None:
        self.sites, self.layer, self.mode = sites, layer, mode
        self.width = place.width
        self._model, self._core, self._site = unwrapped(model), core, place.module
        self._state = state
        self._training: bool | None = None
        self._held: Tensor | None = None
        self._drive: Drive = "text"
        self._paused = self._reached = False
        self._mask: Tensor | None = None
        self._r: Tensor | None = None
        self._all_r: list[Tensor] = []
        self._handles: list[RemovableHandle] = []
        if mode != "off":
            self._hook(place)

    @classmethod
    def attach(
        cls,
        model: nn.Module,
        core: nn.Module | None,
        *,
        site: str,
        layer: int | str,
        mode: Mode,
        state: Policy = "reset",
        initial: Initial = "equal",
    ) -> Coupling:
        """Joins a core to a Mamba, Mamba2, RWKV, Llama or Qwen2, also within PEFT and
        DistributedDataParallel.

        The core's `hidden_size` is that of the site (`site_width`). `mode="off"` needs no core and
        sets no hook. Raises `InputError` for a model, site or block that is none, for a core of
        another width, and for a model with gradient checkpointing, which would let the oscillators
        make every step twice.
        """
        sites = sites_of(model)
        place = sites.at(site, layer)
        if mode != "off":
            _check_core(core, place.width, site)
            _check_model(model)
        index = None if site == "logits" else resolve_layer(layer, len(sites.blocks))
        phases = PhaseState(core, state, initial)  # type: ignore[arg-type]
        return cls(model, core, sites=sites, layer=index, place=place, mode=mode, state=phases)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Takes the hooks off: the model is as it was before."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @property
    def core(self) -> Any:
        """What is joined to the model."""
        return self._core

    @property
    def acts(self) -> bool:
        """Whether the next forward pass would be changed."""
        if self.mode == "modulate_train_only":
            training = self._model.training if self._training is None else self._training
            return training and not self._paused
        return self.mode == "modulate" and not self._paused

    @property
    def r(self) -> Tensor | None:
        """[batch, seq]: the order parameter after each token of the newest forward pass, with its
        gradient where the oscillators act; None before the first one, and where mode is off."""
        return self._r

    @property
    def phases(self) -> Tensor | None:
        """[batch, oscillators]: where they are now."""
        return self._state.phases

    def collect(self) -> Tensor | None:
        """[batch, seq]: the order parameter after each token since `begin`, over all forward passes
        (a prompt, and then each token that was decoded); None if there was none."""
        return torch.cat(self._all_r, dim=1) if self._all_r else None

    def begin(self, batch: int, source: Source = None) -> None:
        """A new batch of so many rows begins: phases start anew, or, where they are carried, go on.

        source: what random phases are drawn from; a seed for each row makes a row independent of
        those beside it. Raises `ValueError`, as `PhaseState.begin` does.
        """
        self._r, self._all_r = None, []
        if self.mode != "off":
            self._state.begin(batch, source)

    def set(self, phases: Tensor, batch: int) -> None:
        """Puts the oscillators at these phases once: [oscillators], or [batch, oscillators]."""
        if self.mode != "off":
            self._state.set(phases, batch)

    def hold(self, phases: Tensor | None) -> None:
        """Phases that are set again at every token from now on: [oscillators], or
        [batch, oscillators]. None: the oscillators run free."""
        self._held = phases

    def training(self, on: bool | None) -> None:
        """Whether it counts as training, for `modulate_train_only`; None: as the model's own
        `training` says, which is what the origin went by."""
        self._training = on

    def drive(self, mode: Drive) -> None:
        """What drives the oscillators: each token's own vector, or at every token the mean drive of
        the text's tokens."""
        if mode not in get_args(Drive):
            raise InputError(f"drive {mode!r} is not known; valid: {', '.join(get_args(Drive))}")
        self._drive = mode

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Within the block the model runs as if nothing were joined to it; phases stay."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def _hook(self, place: Place) -> None:
        self._handles = [
            self._model.register_forward_pre_hook(self._enter, with_kwargs=True),
            self._model.register_forward_hook(self._leave),
        ]
        if place.side == "input":
            self._handles.append(self._site.register_forward_pre_hook(self._replace_input))
        else:
            self._handles.append(self._site.register_forward_hook(self._replace_output))

    def _enter(self, model: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        named = dict(zip(signature(model.forward).parameters, args, strict=False)) if args else {}
        mask = {**named, **kwargs}.get("attention_mask")
        self._mask = mask if isinstance(mask, Tensor) and mask.dim() == 2 else None
        self._reached = False

    def _leave(self, model: nn.Module, _args: Any, _output: Any) -> None:
        self._mask = None
        if not self._reached and not self._paused:
            raise RuntimeError(
                f"the forward pass of {type(model).__name__} did not pass through the site: a "
                "fused kernel took its place; load the model without kernels, or choose the site "
                "'residual'"
            )

    def _replace_input(self, _module: nn.Module, args: tuple[Any, ...]) -> Any:
        replaced = self._step(args[0])
        return None if replaced is None else (replaced, *args[1:])

    def _replace_output(self, _module: nn.Module, _args: Any, output: Any) -> Any:
        """A block gives a bare tensor or a tuple that begins with it, as its family has it."""
        if isinstance(output, Tensor):
            return self._step(output)
        replaced = self._step(output[0])
        return None if replaced is None else (replaced, *output[1:])

    def _step(self, x: Tensor) -> Tensor | None:
        """One forward pass of the core; what takes the place of x, None where x stays."""
        if self._paused:
            return None
        self._reached = True
        acts = self.acts
        phases = self._state.of(len(x), x.device)
        if self._held is not None:  # moved once: a copy at every token would wait for the GPU
            self._held = self._held.to(x.device)
        with nullcontext() if acts else torch.no_grad():
            out = self._core(
                x.float(),
                phases,
                mask=self._mask_of(x),
                drive=self._drive,
                hold=self._held,
            )
            self._state.go_on(out.phases_after)
            self._r = out.r
            self._all_r.append(out.r.detach())
            if not acts:
                return None
            value: Tensor = x.float() * out.gain if out.output is None else out.output
            return value.to(x.dtype)

    def _mask_of(self, x: Tensor) -> Tensor | None:
        """[batch, seq]: 1 where there is a token. A mask may also tell of tokens read earlier."""
        return None if self._mask is None else self._mask[:, -x.shape[1] :].bool()


def site_width(model: nn.Module, site: str, layer: int | str) -> int:
    """The number of channels at a site: the `hidden_size` that a core for it needs.

    Raises `InputError` for a model, site or block that is none.
    """
    return sites_of(model).at(site, layer).width


def _check_core(core: nn.Module | None, width: int, site: str) -> None:
    if core is None:
        raise InputError("a mode other than 'off' needs a core to join to the model")
    size = getattr(core, "hidden_size", width)
    if size != width:
        raise InputError(
            f"the core reads {size} channels and the model has {width} at site={site}; make the "
            f"core with hidden_size={width}"
        )


def _check_model(model: nn.Module) -> None:
    if any(getattr(one, "gradient_checkpointing", False) for one in model.modules()):
        raise InputError(
            "the model computes its blocks twice (gradient checkpointing), and the oscillators "
            "would make each step twice; switch it off: model.gradient_checkpointing_disable()"
        )
