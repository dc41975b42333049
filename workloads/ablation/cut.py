"""A causal language model cut into segments: what precedes the layers, each layer, what follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from workloads.ablation.units import Part
from workloads.errors import InputError
from workloads.switching import Coalition, Segment

_LAYOUTS = (
    ("model.layers", "model.norm", "lm_head"),
    ("transformer.h", "transformer.ln_f", "lm_head"),
    ("gpt_neox.layers", "gpt_neox.final_layer_norm", "embed_out"),
)
"""Where families of models keep their layers, the norm after them, and the output layer."""
_OUTPUT_PROJECTIONS = ("self_attn.o_proj", "attn.c_proj", "attention.dense", "self_attn.dense")
"""Where an attention's heads, side by side, are mixed."""


class _Captured(Exception):
    """The input of the first layer is known: nothing after it needs to run."""


@dataclass(frozen=True)
class Stream:
    """The residual stream [batch, seq, dim], and what every layer of the pass is told besides."""

    hidden: torch.Tensor
    beside: Mapping[str, Any]


@dataclass(frozen=True)
class BeforeLayers:
    """From token ids [batch, seq] to the input of the first layer."""

    model: nn.Module
    first: nn.Module
    factors: tuple[int, ...] = ()

    def run(self, x: torch.Tensor, on: Coalition) -> Stream:
        """Runs the model up to its first layer, and no further."""
        found: list[Stream] = []

        def capture(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            kwargs = dict(kwargs)
            hidden = args[0] if args else kwargs.pop("hidden_states")
            found.append(Stream(hidden, kwargs))
            raise _Captured

        handle = self.first.register_forward_pre_hook(capture, with_kwargs=True)
        try:
            self.model(input_ids=x, use_cache=False)
        except _Captured:
            return found[0]
        finally:
            handle.remove()
        raise RuntimeError("the model ran without its first layer")


Switch = Callable[[nn.Module, Sequence[bool]], Any]
"""`switch(layer, states)`: a context within which the layer's parts are on or off."""


@dataclass(frozen=True)
class Layer:
    """One layer. Without `switch` its own factor, if it has one, skips it as a whole."""

    layer: nn.Module
    factors: tuple[int, ...] = ()
    switch: Switch | None = None

    def run(self, x: Stream, on: Coalition) -> Stream:
        """The stream after the layer."""
        if self.switch is None:
            return Stream(self._through(x), x.beside) if all(on) else x
        with self.switch(self.layer, on):
            return Stream(self._through(x), x.beside)

    def _through(self, x: Stream) -> torch.Tensor:
        given = self.layer(x.hidden, **x.beside)
        hidden: torch.Tensor = given[0] if isinstance(given, tuple) else given
        return hidden


@dataclass(frozen=True)
class AfterLayers:
    """From the stream to logits [batch, seq, vocabulary]."""

    norm: nn.Module
    output: nn.Module
    factors: tuple[int, ...] = ()

    def run(self, x: Stream, on: Coalition) -> torch.Tensor:
        """Norm and output layer."""
        logits: torch.Tensor = self.output(self.norm(x.hidden))
        return logits


def cut(model: nn.Module, parts: Sequence[Part], units: str) -> list[Segment]:
    """The model's segments; switch i belongs to `parts[i]`.

    Raises `InputError` for a family of models that is not known.
    """
    layers, norm, output = _layout(model)
    segments: list[Segment] = [BeforeLayers(model, layers[0])]
    for number, layer in enumerate(layers):
        own = [index for index, part in enumerate(parts) if part.layer == number]
        switch: Switch | None = None
        if own and units == "heads":
            switch = _head_switch(layer, model, [parts[index] for index in own])
        elif own and units == "lora":
            switch = _adapters
        segments.append(Layer(layer, tuple(own), switch))
    return [*segments, AfterLayers(norm, output)]


def check_cut(model: nn.Module, segments: Sequence[Segment], ids: torch.Tensor) -> None:
    """Refuses (`InputError`) a model whose segments, all on, do not give its own logits."""
    own = model(input_ids=ids, use_cache=False).logits
    x: Any = ids
    for segment in segments:
        x = segment.run(x, (True,) * len(segment.factors))
    if not torch.allclose(own.float(), x.float(), rtol=1e-4, atol=1e-4, equal_nan=True):
        raise InputError(
            f"{type(model).__name__} does more between or after its layers than this workload "
            "knows: run layer by layer it gives other logits; give a model of the Llama family"
        )


def _layout(model: nn.Module) -> tuple[Sequence[nn.Module], nn.Module, nn.Module]:
    names = {name for name, _ in model.named_modules()}
    for layers, norm, output in _LAYOUTS:
        if {layers, norm, output} <= names:
            found = model.get_submodule(layers)
            return list(found.children()), model.get_submodule(norm), model.get_submodule(output)
    known = ", ".join(layers for layers, _, _ in _LAYOUTS)
    raise InputError(
        f"{type(model).__name__} keeps its layers where this workload does not look ({known}); "
        "give a model of the Llama, GPT-2 or GPT-NeoX family"
    )


def _head_switch(layer: nn.Module, model: Any, parts: Sequence[Part]) -> Switch:
    names = dict(layer.named_modules())
    projection = next((names[name] for name in _OUTPUT_PROJECTIONS if name in names), None)
    if projection is None:
        raise InputError(
            f"{type(model).__name__}: no layer has {' or '.join(_OUTPUT_PROJECTIONS)}, so its "
            "heads cannot be told apart; give units=layers"
        )
    heads = int(model.config.num_attention_heads)

    @contextmanager
    def switched(layer: nn.Module, on: Sequence[bool]) -> Iterator[None]:
        off = [part.head for part, is_on in zip(parts, on, strict=True) if not is_on]

        def silence(module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
            mixed = args[0].clone()
            mixed.view(*mixed.shape[:-1], heads, -1)[..., off, :] = 0
            return (mixed,)

        if not off:
            yield
            return
        handle = projection.register_forward_pre_hook(silence)
        try:
            yield
        finally:
            handle.remove()

    return switched


@contextmanager
def _adapters(layer: nn.Module, on: Sequence[bool]) -> Iterator[None]:
    """Within the block the layer's adapters are on or off."""
    from peft.tuners.lora import LoraLayer

    trained = {weight: weight.requires_grad for weight in layer.parameters()}
    with ExitStack() as stack:
        if not all(on):
            for module in layer.modules():
                if isinstance(module, LoraLayer):
                    module.enable_adapters(False)
                    stack.callback(module.enable_adapters, True)
        yield
    for weight, was_trained in trained.items():  # switching sets it, besides what is switched
        weight.requires_grad_(was_trained)
