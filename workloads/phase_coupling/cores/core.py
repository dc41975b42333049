"""What both cores are: oscillators that read hidden states and say how to change them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from workloads.phase_coupling.cores.drift import Control
from workloads.phase_coupling.cores.phases import Generators, Initial, initial_phases

Drive = Literal["text", "constant"]
"""`text`: each token drives the oscillators. `constant`: at every token, the mean drive over the
tokens of its row, later ones too: a control, which asks whether what is read matters."""
Gain = Literal["channel", "scalar"]


@dataclass(frozen=True)
class CoreOutput:
    """What a core made of hidden states x [B, T, D].

    Attributes:
        gain: [B, T, D], or [B, T, 1] of one gain for all channels: x times it takes the place of x.
            None of a core that gives `output`.
        output: [B, T, D], takes the place of x. None of a core that gives `gain`.
        phases_after: [B, N] in float64, without gradient: where the next forward pass goes on from.
        r: [B, T], the order parameter after each token, with its gradient. At padding, what it was.
        trace: [B, T, N], the phases after each token; None where they were not asked for.
    """

    gain: Tensor | None
    output: Tensor | None
    phases_after: Tensor
    r: Tensor
    trace: Tensor | None = None


class PhaseCore(nn.Module, ABC):
    """A core for hidden states of `hidden_size` channels, not drawn until `init`.

    Attributes:
        coupling: K or k_scale as it is now; `steer` changes it.
        noise: standard deviation in radians of what each step adds to phases, in training mode.
        rows_apart: whether a pool over the sequence is one of each row alone, not of the batch: so
            texts that are read side by side move oscillators as if read one by one.
    """

    kind: str
    omega: nn.Parameter
    """Natural frequencies [N], in radians per unit of time."""

    def __init__(self, hidden_size: int, oscillators: int, coupling: float) -> None:
        super().__init__()
        self.hidden_size, self.oscillators = hidden_size, oscillators
        self.coupling, self.noise = coupling, 0.0
        self.rows_apart = False
        self._noise_from: torch.Generator | None = None

    @abstractmethod
    def init(self, generator: torch.Generator) -> None:
        """Draws every parameter from the generator: the same seed gives the same core."""

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        phases: Tensor,
        *,
        mask: Tensor | None = None,
        drive: Drive = "text",
        hold: Tensor | None = None,
        keep_trace: bool = False,
    ) -> CoreOutput:
        """Hidden states [B, T, D] and the phases before them [B, N].

        mask: [B, T], false at padding, where nothing moves. hold: phases [N] or [B, N] at which the
        oscillators stand at every token, whatever drives them.
        """

    @abstractmethod
    def structure(self) -> dict[str, int | str]:
        """What another core has to have in common with this one to take its parameters."""

    def initial_phases(
        self, batch: int, how: Initial = "equal", generator: Generators = None
    ) -> Tensor:
        """Phases [batch, N] to begin a text with; see `phases.initial_phases`."""
        return initial_phases(batch, self.oscillators, how, generator).to(self.omega.device)

    def steer(self, control: Control, generator: torch.Generator | None = None) -> None:
        """Takes on a controller's coupling and noise, from the next forward pass on.

        generator: what the noise is drawn from, on the CPU. Raises `ValueError` where there is
        noise and nothing to draw it from.
        """
        if control.noise and generator is None:
            raise ValueError("noise is drawn from a stream of its own: give steer() a generator")
        self.coupling, self.noise, self._noise_from = control.scale, control.noise, generator

    def describe(self) -> str:
        """The structure in words."""
        return described(self.structure())

    def to_state(self) -> dict[str, Any]:
        """All that `load_state` needs: structure, coupling, noise, and copies of the parameters."""
        tensors = {name: value.detach().cpu().clone() for name, value in self.state_dict().items()}
        return {
            "structure": self.structure(),
            "coupling": self.coupling,
            "noise": self.noise,
            "tensors": tensors,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Becomes the core that `to_state` was asked of; noise needs `steer` to be drawn again.

        Raises `ValueError`, naming both, where that one is of another structure.
        """
        if state["structure"] != self.structure():
            raise ValueError(
                f"the checkpoint is of another core: {described(state['structure'])}; this one is "
                f"{self.describe()}. Give the configuration that it was trained with"
            )
        self.load_state_dict(state["tensors"])
        self.coupling, self.noise = float(state["coupling"]), 0.0

    def _noise(self, *size: int) -> Tensor | None:
        """Noise of the present strength, on the core's device; None where there is none."""
        if not (self.noise and self.training and self._noise_from is not None):
            return None
        drawn = torch.randn(*size, generator=self._noise_from)
        return (self.noise * drawn).to(self.omega.device)


def described(structure: Mapping[str, int | str]) -> str:
    """A core's structure in words."""
    return ", ".join(
        f"{name.replace('_', ' ')} {value}" if name != "kind" else str(value)
        for name, value in structure.items()
    )


def held_rows(hold: Tensor, batch: int, oscillators: int) -> Tensor:
    """Phases to hold, [N] or [batch, N], as [batch, N]. Raises `ValueError` for another shape."""
    if hold.shape not in ((oscillators,), (batch, oscillators)):
        raise ValueError(
            f"phases to hold have the shape {list(hold.shape)}; valid: [{oscillators}], or "
            f"[{batch}, {oscillators}]"
        )
    return hold.expand(batch, oscillators)


def mean_over_tokens(x: Tensor, mask: Tensor | None, *, of_batch: bool) -> Tensor:
    """The mean of x [B, T, N] over the tokens of its row, [B, 1, N], or of the batch, [1, 1, N]."""
    over = (0, 1) if of_batch else (1,)
    if mask is None:
        return x.mean(over, keepdim=True)
    there = mask.to(x.dtype).unsqueeze(-1)
    return (x * there).sum(over, keepdim=True) / there.sum(over, keepdim=True).clamp(min=1)


def fill_uniform(parameter: Tensor, inputs: int, generator: torch.Generator) -> None:
    """Draws it from ±1/sqrt(inputs), as torch's linear layers start."""
    bound = inputs**-0.5
    drawn = torch.rand(parameter.shape, generator=generator)
    with torch.no_grad():
        parameter.copy_((2 * drawn - 1) * bound)


def fill_normal(parameter: Tensor, sd: float, generator: torch.Generator) -> None:
    """Draws it from a normal distribution around 0."""
    with torch.no_grad():
        parameter.copy_(sd * torch.randn(parameter.shape, generator=generator))
