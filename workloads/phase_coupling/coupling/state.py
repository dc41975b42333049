"""The phases of a batch: how they begin, that they go on from one forward pass to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor

from workloads.phase_coupling.cores.phases import Generators, Initial

Policy = Literal["reset", "carried"]
Source = torch.Generator | Sequence[int] | None
"""What random phases are drawn from: a generator, or a seed for each row."""


class HasPhases(Protocol):
    """The part of a core that says how phases begin."""

    oscillators: int

    def initial_phases(
        self,
        batch: int,
        how: Initial,
        generator: Generators = None,
    ) -> Tensor:
        """[batch, oscillators]."""


class PhaseState:
    """The phases of a batch's rows, [batch, oscillators].

    `reset`: each `begin` starts anew. `carried`: from the second on, phases go on from where the
    last batch left them, row by row, and so batches have to be of one size.
    """

    def __init__(self, core: HasPhases, policy: Policy, initial: Initial) -> None:
        self._core, self._policy, self._initial = core, policy, initial
        self._phases: Tensor | None = None

    @property
    def phases(self) -> Tensor | None:
        """Where the oscillators are now; None before the first batch."""
        return self._phases

    def begin(self, batch: int, source: Source = None) -> None:
        """Phases for a new batch of so many rows.

        source: what random phases are drawn from. A seed for each row gives a row the same phases
        whatever rows are beside it. Raises `ValueError` where phases are carried across batches of
        different sizes, where random ones have no source, and for a number of seeds other than
        rows.
        """
        if self._policy == "carried" and self._phases is not None:
            self._check_size(batch, self._phases)
            return
        if self._initial != "random":
            self._phases = self._core.initial_phases(batch, self._initial)
            return
        if source is None:
            raise ValueError(
                "initial phases are random, and nothing was given to draw them from: give begin() "
                "a generator, or a seed for each row"
            )
        if not isinstance(source, torch.Generator):
            if len(source) != batch:
                raise ValueError(f"{len(source)} seeds for {batch} rows: give one for each row")
            draws = [torch.Generator().manual_seed(seed) for seed in source]
            self._phases = self._core.initial_phases(batch, self._initial, draws)
            return
        self._phases = self._core.initial_phases(batch, self._initial, source)

    def set(self, phases: Tensor, batch: int) -> None:
        """Puts all rows, or each, at phases of [oscillators] or [batch, oscillators].

        Raises `ValueError` for another number of rows, and of oscillators.
        """
        if phases.shape[-1] != self._core.oscillators:
            raise ValueError(
                f"phases of {phases.shape[-1]} oscillators, and the core has "
                f"{self._core.oscillators}; give one phase for each of them"
            )
        rows = phases if phases.dim() == 2 else phases.unsqueeze(0).expand(batch, -1)
        self._check_size(batch, rows)
        self._phases = rows.detach().clone()

    def of(self, batch: int, device: torch.device) -> Tensor:
        """The phases from which a forward pass of so many rows goes on.

        Where no batch was begun one is, with phases that are not random. Raises `ValueError` for
        another number of rows than was begun.
        """
        if self._phases is None:
            self.begin(batch)
        assert self._phases is not None
        self._check_size(batch, self._phases)
        if self._phases.device != device:
            self._phases = self._phases.to(device)
        return self._phases

    def go_on(self, phases: Tensor) -> None:
        """Where the pass left them. No gradient passes from one forward pass to the next."""
        self._phases = phases.detach()

    def _check_size(self, batch: int, phases: Tensor) -> None:
        if len(phases) == batch:
            return
        carried = self._policy == "carried"
        raise ValueError(
            f"phases of {len(phases)} rows, and a batch of {batch}: "
            + (
                "state=carried goes on row by row, so every batch has to be of one size; give "
                "batches of one size, or state=reset"
                if carried
                else "call begin() with the number of rows before a batch of another size"
            )
        )
