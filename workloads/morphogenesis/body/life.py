"""One slot's life: what is known of its seed, and how an epoch moves it on. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from telemetry.contracts import Stage
from workloads.morphogenesis.body import gates
from workloads.morphogenesis.body.blends import blend_alpha
from workloads.morphogenesis.body.gates import GateResult
from workloads.morphogenesis.body.stages import (
    ACTIVE,
    CULLABLE,
    EMBARGO_EPOCHS,
    IllegalTransition,
    Lifecycle,
)
from workloads.morphogenesis.config import Blend, MorphogenesisConfig


@dataclass(frozen=True)
class LifeTerms:
    """How long the parts of a seed's life last, in epochs."""

    training_epochs: int
    """A seed trains apart at least so long."""
    blend_epochs: int
    probation_epochs: int
    """On probation for so long without a decision, it is culled."""
    blend_temperature: float = 1.0

    @classmethod
    def of(cls, config: MorphogenesisConfig) -> LifeTerms:
        """Training max(1, int(epochs x share)); probation max(5, a tenth of all epochs)."""
        return cls(
            training_epochs=max(1, int(config.epochs * config.training_share)),
            blend_epochs=config.blend_epochs,
            probation_epochs=max(5, config.epochs // 10),
            blend_temperature=config.blend_temperature,
        )


@dataclass(frozen=True)
class EpochFacts:
    """What was measured in the epoch that ends.

    Attributes:
        epoch: its number, from 0.
        accuracy: of the whole model on the validation split, percent; None: not measured.
        contribution: accuracy with the slot less accuracy without it, points.
        gradient_ratio: see `isolation.gradient_ratio`.
        isolation_violations: those of this epoch; they add up while the seed trains.
        enforce: whether gates and probation decide. If not, gates are judged and hold nothing up,
            and no seed is culled of itself.
    """

    epoch: int
    accuracy: float | None
    contribution: float | None = None
    gradient_ratio: float | None = None
    isolation_violations: int = 0
    enforce: bool = True


@dataclass
class SeedRecord:
    """What is known of the seed in a slot; it outlives the seed until the slot is DORMANT again."""

    seed_id: str
    blueprint: str
    blend: Blend
    seed_stream: int
    germinated_epoch: int
    accuracy_at_germination: float | None
    accuracy_at_stage: float | None
    """When the present stage began."""
    blend_step: int = 0
    contribution: float | None = None
    gradient_ratio: float | None = None
    isolation_violations: int = 0
    last_gate: GateResult | None = None
    cull_reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, from which `from_json` makes an equal record."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SeedRecord:
        """The record that `to_json` wrote."""
        gate = data["last_gate"]
        if gate is not None:
            lists = {key: tuple(gate[key]) for key in ("checks_passed", "checks_failed")}
            gate = GateResult(**{**gate, **lists})
        return cls(**{**data, "last_gate": gate})


class SlotLife:
    """Stage, alpha and record of one slot, and the rules by which they change."""

    def __init__(self, name: str, terms: LifeTerms) -> None:
        self.name = name
        self.terms = terms
        self.clock = Lifecycle()
        self.alpha = 0.0
        self.accuracy: float | None = None
        """Of the last epoch that ended."""
        self.record: SeedRecord | None = None
        self.embargo_left = 0
        self.planted = 0
        """Seeds so far."""
        self.culls = 0

    @property
    def stage(self) -> Stage:
        return self.clock.stage

    def germinate(
        self, blueprint: str, blend: Blend, seed_stream: int, accuracy: float | None, epoch: int
    ) -> GateResult:
        """Enters GERMINATED through G0. Raises `IllegalTransition` unless DORMANT."""
        self.clock.move("GERMINATED")
        seed_id = f"{self.name}-{self.planted}"
        gate = gates.g0(seed_id, blueprint)
        self.planted += 1
        self.alpha = 0.0
        self.record = SeedRecord(
            seed_id, blueprint, blend, seed_stream, epoch, accuracy, accuracy, last_gate=gate
        )
        return gate

    def cull(self, reason: str) -> None:
        """Enters CULLED, under an embargo. Raises `IllegalTransition` without a live seed."""
        if self.stage not in CULLABLE:
            raise IllegalTransition(
                f"slot {self.name}: nothing can be culled in {self.stage}; only a live seed can "
                f"({', '.join(sorted(CULLABLE))})"
            )
        self.clock.move("CULLED")
        self.alpha = 0.0
        self.culls += 1
        self.embargo_left = EMBARGO_EPOCHS
        self.known().cull_reason = reason

    def fossilize(self, contribution: float | None, healthy: bool, enforce: bool) -> GateResult:
        """Enters FOSSILIZED if G5 lets it, or if gates are not enforced.

        Raises `IllegalTransition` unless PROBATIONARY.
        """
        if self.stage != "PROBATIONARY":
            raise IllegalTransition(
                f"slot {self.name}: a seed in {self.stage} cannot be fossilised, only one on "
                "probation (PROBATIONARY)"
            )
        gate = gates.g5(contribution=contribution, healthy=healthy)
        self.known().last_gate = gate
        if gate.passed or not enforce:
            self._enter("FOSSILIZED")
        return gate

    def end_epoch(self, facts: EpochFacts) -> list[GateResult]:
        """One step: at most one transition. Gives the gates that were judged."""
        self.accuracy = facts.accuracy
        self.clock.tick()
        self.embargo_left = max(0, self.embargo_left - 1)
        if self.record is not None:
            self.record.contribution = facts.contribution
            # A seed that the epoch did not run through has no gradient, which is not one of 0.
            self.record.gradient_ratio = facts.gradient_ratio if self.stage in ACTIVE else None
        gate: GateResult | None = None
        match self.stage:
            case "GERMINATED":
                gate = self._pass(gates.g1(self.stage), "TRAINING", facts)
            case "TRAINING":
                gate = self._end_training_epoch(facts)
            case "BLENDING":
                gate = self._end_blending_epoch(facts)
            case "PROBATIONARY" if facts.enforce:
                self._judge_probation(facts)
            case "CULLED":
                self.clock.move("EMBARGOED")
            case "EMBARGOED" if self.embargo_left <= 1:
                self.clock.move("RESETTING")
            case "RESETTING":
                self.clock.move("DORMANT")
                self.record = None
        return [] if gate is None else [gate]

    def grow_at_once(
        self, blueprint: str, blend: Blend, seed_stream: int, accuracy: float | None, epoch: int
    ) -> None:
        """Through all stages to FOSSILIZED and fully on, by no gate: a static host."""
        self.germinate(blueprint, blend, seed_stream, accuracy, epoch)
        stages: tuple[Stage, ...] = ("TRAINING", "BLENDING", "PROBATIONARY", "FOSSILIZED")
        for stage in stages:
            self._enter(stage)
        self.known().blend_step = self.terms.blend_epochs
        self.known().last_gate = None

    def known(self) -> SeedRecord:
        """The record of the seed. Raises RuntimeError where there is none."""
        if self.record is None:
            raise RuntimeError(f"slot {self.name} has no seed in {self.stage}")
        return self.record

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, for `load_json`."""
        return {
            "stage": self.stage,
            "epochs_in_stage": self.clock.epochs_in_stage,
            "alpha": self.alpha,
            "accuracy": self.accuracy,
            "embargo_left": self.embargo_left,
            "planted": self.planted,
            "culls": self.culls,
            "seed": None if self.record is None else self.record.to_json(),
        }

    def load_json(self, data: Mapping[str, Any]) -> None:
        """Becomes what `to_json` told."""
        self.clock = Lifecycle(data["stage"], data["epochs_in_stage"])
        self.alpha = data["alpha"]
        self.accuracy = data["accuracy"]
        self.embargo_left = data["embargo_left"]
        self.planted = data["planted"]
        self.culls = data["culls"]
        seed = data["seed"]
        self.record = None if seed is None else SeedRecord.from_json(seed)

    def _end_training_epoch(self, facts: EpochFacts) -> GateResult | None:
        record = self.known()
        record.isolation_violations += facts.isolation_violations
        if self.clock.epochs_in_stage < self.terms.training_epochs:
            return None
        gate = gates.g2(
            improvement=difference(facts.accuracy, record.accuracy_at_stage),
            isolation_violations=record.isolation_violations,
            epochs_in_stage=self.clock.epochs_in_stage,
            gradient_ratio=facts.gradient_ratio,
        )
        return self._pass(gate, "BLENDING", facts)

    def _end_blending_epoch(self, facts: EpochFacts) -> GateResult | None:
        record, terms = self.known(), self.terms
        record.blend_step = min(terms.blend_epochs, record.blend_step + 1)
        self.alpha = blend_alpha(
            record.blend, record.blend_step, terms.blend_epochs, terms.blend_temperature
        )
        if record.blend_step < terms.blend_epochs:
            return None
        gate = gates.g3(epochs_blending=self.clock.epochs_in_stage, alpha=self.alpha)
        return self._pass(gate, "PROBATIONARY", facts)

    def _judge_probation(self, facts: EpochFacts) -> None:
        if facts.contribution is not None and facts.contribution <= 0:
            self.cull(f"contribution {facts.contribution:.3g} points on probation, not above 0")
        elif self.clock.epochs_in_stage >= self.terms.probation_epochs:
            self.cull(f"no decision in {self.clock.epochs_in_stage} epochs on probation")

    def _pass(self, gate: GateResult, to: Stage, facts: EpochFacts) -> GateResult:
        self.known().last_gate = gate
        if gate.passed or not facts.enforce:
            self._enter(to)
        return gate

    def _enter(self, stage: Stage) -> None:
        self.clock.move(stage)
        self.known().accuracy_at_stage = self.accuracy
        if stage in ("PROBATIONARY", "FOSSILIZED"):
            self.alpha = 1.0


def difference(now: float | None, before: float | None) -> float | None:
    """`now` less `before`; None where one was not measured."""
    return None if now is None or before is None else now - before
