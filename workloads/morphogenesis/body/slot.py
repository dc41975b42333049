"""A place in a host where a seed can grow.

With h the host's activation there and s what the seed makes of it, the slot gives

- h + (s - s.detach()) while training at alpha 0 (straight-through: the numbers of h, and the seed
  still learns what would have helped),
- lerp(h, s, alpha) from then on, and h where there is no seed, where it is switched off, and in
  evaluation at alpha 0.

The seed's input is detached in TRAINING, in a CNN in BLENDING too: the host learns nothing through
the seed before it belongs to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from telemetry.contracts import Stage
from workloads.morphogenesis.body.blends import check_blend
from workloads.morphogenesis.body.blueprints import make_seed
from workloads.morphogenesis.body.gates import GateResult
from workloads.morphogenesis.body.isolation import IsolationWatch
from workloads.morphogenesis.body.life import EpochFacts, LifeTerms, SlotLife, difference
from workloads.morphogenesis.body.sizes import HostKind, parameter_count
from workloads.morphogenesis.body.stages import ACTIVE
from workloads.morphogenesis.config import Blend, SlotSettings
from workloads.morphogenesis.view import SlotView
from workloads.training import seeded

__all__ = ["EpochFacts", "Slot"]

ISOLATED: Mapping[HostKind, frozenset[Stage]] = {
    "cnn": frozenset[Stage]({"TRAINING", "BLENDING"}),
    "gpt": frozenset[Stage]({"TRAINING"}),
}
"""Stages in which the seed's input is detached."""


class Gate(nn.Module):
    """A learned weight in (0, 1): of a sample in a CNN, of a token in a GPT; 1/2 at the start.

    Tokens are weighed one by one, since a mean over a text would tell of what comes later.
    """

    def __init__(self, host: HostKind, width: int) -> None:
        super().__init__()
        self.host: HostKind = host
        self.weigh = nn.Linear(width, 1)
        nn.init.zeros_(self.weigh.weight)
        nn.init.zeros_(self.weigh.bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.host == "cnn":
            return torch.sigmoid(self.weigh(x.mean((2, 3))))[:, :, None, None]
        return torch.sigmoid(self.weigh(x))


class Slot(nn.Module):
    """One slot: its seed, if any, and its life.

    Attributes:
        name: of the slot in its host.
        width: channels of a CNN, model width of a GPT.
        settings: what the configuration says of it.
        seed: the module that grows here, or None. Its parameters and those of `gate` are the
            slot's; both are there from `germinate` to the cull.
        gate: of the blend `gated`, else None.
        isolation: what flowed back through the seed's input while it should not.
    """

    seed: nn.Module | None
    gate: Gate | None
    _place: Tensor

    def __init__(
        self,
        name: str,
        host: HostKind,
        width: int,
        terms: LifeTerms,
        settings: SlotSettings | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.host: HostKind = host
        self.width = width
        self.settings = settings or SlotSettings()
        self.life = SlotLife(name, terms)
        self.isolation = IsolationWatch()
        self.seed = None
        self.gate = None
        self._on = True
        # Moves with the module, and so says where a seed is to be planted.
        self.register_buffer("_place", torch.empty(0), persistent=False)

    @property
    def stage(self) -> Stage:
        return self.life.stage

    @property
    def epochs_in_stage(self) -> int:
        return self.life.clock.epochs_in_stage

    @property
    def alpha(self) -> float:
        """How far the seed is blended in, 0 to 1."""
        return self.life.alpha

    @property
    def blueprint(self) -> str | None:
        return None if self.life.record is None else self.life.record.blueprint

    @property
    def blend(self) -> Blend | None:
        return None if self.life.record is None else self.life.record.blend

    @property
    def seed_id(self) -> str | None:
        return None if self.life.record is None else self.life.record.seed_id

    @property
    def last_gate(self) -> GateResult | None:
        """The gate judged last for the present seed."""
        return None if self.life.record is None else self.life.record.last_gate

    @property
    def isolation_violations(self) -> int | None:
        """Of the present seed so far; None without one."""
        return None if self.life.record is None else self.life.record.isolation_violations

    @property
    def active(self) -> bool:
        """Whether there is a seed in the forward pass, be it at alpha 0."""
        return self.seed is not None and self.stage in ACTIVE

    @property
    def seed_params(self) -> int:
        """Parameters of the seed and its gate."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, h: Tensor) -> Tensor:
        return self.run(h, self._on)

    def run(self, h: Tensor, on: bool) -> Tensor:
        """What comes out for `h` with the seed on (at its current alpha) or off. Keeps no state."""
        seed = self.seed
        if seed is None or not on or self.stage not in ACTIVE:
            return h
        learning = self.training and torch.is_grad_enabled()
        if self.alpha == 0.0 and not learning:
            return h
        seed_input = self._seed_input(h)
        s = seed(seed_input).to(h.dtype)
        if self.alpha == 0.0:
            return h + (s - s.detach())  # type: ignore[no-any-return]
        if self.gate is None or self.alpha == 1.0:
            return torch.lerp(h, s, self.alpha)
        gated = self.alpha * (self.alpha + (1.0 - self.alpha) * self.gate(seed_input))
        return torch.lerp(h, s, gated.to(h.dtype))

    @contextmanager
    def switched(self, on: bool) -> Iterator[None]:
        """Within the block the slot is on (at its current alpha) or off."""
        before, self._on = self._on, on
        try:
            yield
        finally:
            self._on = before

    def germinate(
        self, blueprint: str, blend: Blend, seed_stream: int, accuracy: float | None, epoch: int
    ) -> GateResult:
        """Plants a seed; gives G0. It enters TRAINING at the end of the epoch.

        Its parameters are drawn from the stream `seed/<slot>/<blueprint>` of `seed_stream`, and
        nothing else is. `accuracy` is the model's before it, percent. Raises ValueError for an
        unknown blueprint or blend, `IllegalTransition` unless the slot is DORMANT.
        """
        self._check(blueprint, blend)
        gate = self.life.germinate(blueprint, blend, seed_stream, accuracy, epoch)
        self._plant()
        return gate

    def grow_at_once(
        self,
        blueprint: str,
        blend: Blend = "sigmoid",
        seed_stream: int = 0,
        accuracy: float | None = None,
        epoch: int = 0,
    ) -> None:
        """Plants a seed that belongs to the host from the start: FOSSILIZED, alpha 1.

        The seed has the numbers that `germinate` would have given it. Raises as `germinate`.
        """
        self._check(blueprint, blend)
        self.life.grow_at_once(blueprint, blend, seed_stream, accuracy, epoch)
        self._plant()

    def cull(self, reason: str = "decided") -> None:
        """Takes the seed out. Raises `IllegalTransition` unless there is a live one."""
        self.life.cull(reason)
        self._clear()

    def fossilize(
        self, contribution: float | None, healthy: bool, enforce: bool = True
    ) -> GateResult:
        """Makes the seed part of the host for good, if G5 lets it (or is not enforced).

        Raises `IllegalTransition` unless the slot is PROBATIONARY.
        """
        return self.life.fossilize(contribution, healthy, enforce)

    def end_epoch(self, facts: EpochFacts) -> list[GateResult]:
        """One step of the lifecycle; gives the gates that were judged.

        A seed that is culled of itself (`life.record.cull_reason` says why) is taken out.
        """
        judged = self.life.end_epoch(facts)
        if self.stage == "CULLED":
            self._clear()
        return judged

    def view(self) -> SlotView:
        """The slot as a policy sees it."""
        life, record = self.life, self.life.record
        germination = None if record is None else record.accuracy_at_germination
        began = None if record is None else record.accuracy_at_stage
        return SlotView(
            name=self.name,
            stage=self.stage,
            epochs_in_stage=self.epochs_in_stage,
            alpha=self.alpha,
            blueprint=self.blueprint,
            seed_params=self.seed_params,
            contribution=None if record is None else record.contribution,
            total_improvement=difference(life.accuracy, germination),
            stage_improvement=difference(life.accuracy, began),
            accuracy_at_germination=germination,
            gradient_ratio=None if record is None else record.gradient_ratio,
            embargo_left=life.embargo_left,
            allowed_blueprint=self.settings.blueprint,
            allowed_blend=self.settings.blend,
        )

    def lifecycle(self) -> dict[str, Any]:
        """Everything but the tensors, as plain JSON."""
        return self.life.to_json()

    def restore_lifecycle(self, lifecycle: Mapping[str, Any]) -> None:
        """Becomes what `lifecycle` told; a seed is planted as it was at first, to be loaded."""
        self.life.load_json(lifecycle)
        self._clear()
        if self.life.record is not None and self.stage not in ("CULLED", "EMBARGOED", "RESETTING"):
            self._plant()

    def _check(self, blueprint: str, blend: str) -> None:
        parameter_count(blueprint, self.host, self.width)
        check_blend(blend)

    def _plant(self) -> None:
        record = self.life.known()
        with seeded(record.seed_stream, f"seed/{self.name}/{record.blueprint}"):
            seed = make_seed(record.blueprint, self.host, self.width)
        self.seed = seed.to(self._place.device).train(self.training)
        if record.blend == "gated":
            # Drawn before it is set to 0, from a stream of its own: it must use up no others.
            with seeded(record.seed_stream, f"gate/{self.name}"):
                gate = Gate(self.host, self.width)
            self.gate = gate.to(self._place.device).train(self.training)

    def _clear(self) -> None:
        self.seed = None
        self.gate = None
        self.isolation.take()

    def _seed_input(self, h: Tensor) -> Tensor:
        if self.stage not in ISOLATED[self.host]:
            return h
        return self.isolation.observe(self._apart(h))

    def _apart(self, h: Tensor) -> Tensor:
        return h.detach()
