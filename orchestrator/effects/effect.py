"""What follows from a table of coalitions, with its uncertainty: plain, frozen data.

Two questions are asked and never mixed. *Removal cost*: parts of a finished model are switched off.
*Causal effect*: every combination of factors is trained from the same seeds.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

Question = Literal["removal cost", "causal effect"]

HELPS = "helps"
HARMS = "harms"
SYNERGY = "synergy"
INTERFERENCE = "interference"
INCONCLUSIVE = "inconclusive"
CANDIDATE = "candidate"
NULL_PLAYER = "null player"
ZERO = "exactly 0"
NOT_ESTIMATED = "not estimated"

LEFT_OUT = "left_out"
"""What a causal effect is called that compares all on with all but one: nothing is removed."""
SINGLE = frozenset({"shapley", "banzhaf", "removal_cost", LEFT_OUT})
"""Kinds of figures that are of one factor."""


@dataclass(frozen=True)
class Effect:
    """One figure, in the units of the metric; None is "not estimated", never 0.

    Attributes:
        kind: `shapley`, `banzhaf` (the mean with a factor less the mean without it), `removal_cost`
            or `left_out` (all on less all but that one), `interaction`, `sii`, `stii`, `total`.
        of: the factors it is of, in their order; none for the total.
        low, high: ends of the interval, simultaneous over the `family` of its kind and order.
        replicates: how many models (removal cost) or seeds (causal effect) it is made from.
        sampling_se: standard error from the choice of coalitions alone; None where all were
            measured, or the sampling error is not known.
        label: what the interval supports; `why` where the numbers do not say it.
    """

    kind: str
    of: tuple[str, ...]
    question: Question
    value: float | None
    low: float | None
    high: float | None
    confidence: float
    family: int
    replicates: int
    label: str
    why: str = ""
    sampling_se: float | None = None

    @property
    def name(self) -> str:
        """As a metric: `shapley/early`, `sii/early+mid`, `total`."""
        return f"{self.kind}/{'+'.join(self.of)}" if self.of else self.kind


@dataclass(frozen=True)
class CoalitionMean:
    """How one coalition did: the mean over models or seeds; its interval is its own.

    `on` are the factors that are on, `by_replicate` the means in the order of the table's seeds;
    None is "not measured".
    """

    on: tuple[str, ...]
    value: float | None
    low: float | None = None
    high: float | None = None
    by_replicate: tuple[float | None, ...] = ()

    @property
    def name(self) -> str:
        """What is on, joined by `+`; `none` if all is off."""
        return "+".join(self.on) or "none"


@dataclass(frozen=True)
class EffectTable:
    """One question, asked of one model, of the models of one arm, or of the trained arms.

    Attributes:
        about: whose effects they are, such as `early+mid+late, seed 0`.
        arm: whose models were switched; empty for a causal effect.
        seeds: of the models or of the arms, in order.
        metric, unit, direction: what was scored. `unit` may be empty.
        coalitions: in the order in which they were asked for.
        null_players: factors that changed no score in any coalition.
        problems: what is missing or failed, by coalition: with any there are no figures.
        examples, clusters: how many were scored; None where there are means only.
    """

    question: Question
    about: str
    arm: str
    seeds: tuple[int, ...]
    metric: str
    unit: str
    direction: Literal["higher", "lower"]
    factors: tuple[str, ...]
    effects: tuple[Effect, ...]
    coalitions: tuple[CoalitionMean, ...]
    null_players: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    examples: int | None = None
    clusters: int | None = None

    @property
    def sampled(self) -> bool:
        """Whether some coalitions were left out."""
        return len(self.coalitions) < 1 << len(self.factors)

    def find(self, kind: str, *of: str) -> Effect | None:
        """One figure, or None."""
        return next((one for one in self.effects if (one.kind, one.of) == (kind, of)), None)

    def mean_of(self, *on: str) -> CoalitionMean | None:
        """How the coalition did in which just these are on."""
        return next((one for one in self.coalitions if set(one.on) == set(on)), None)


@dataclass(frozen=True)
class StudyEffects:
    """All effects of a study.

    Attributes:
        causal: from the trained arms; None where the study trains no combinations.
        removal: over the models of each arm that is looked at.
        subjects: of each model alone, by trial identity in the order of the plan.
        notes: what a reader must know of all of them.
    """

    causal: EffectTable | None = None
    removal: tuple[EffectTable, ...] = ()
    subjects: tuple[tuple[str, EffectTable], ...] = ()
    notes: tuple[str, ...] = ()

    def tables(self) -> tuple[EffectTable, ...]:
        """The causal effects and those over the models of each arm."""
        return (*((self.causal,) if self.causal else ()), *self.removal)

    def to_json(self) -> dict[str, Any]:
        """Plain data for `report --json`; the two questions stand apart, under their names."""
        return {
            "causal_effect": None if self.causal is None else _json(self.causal),
            "removal_cost": [_json(one) for one in self.removal],
            "removal_cost_by_model": [
                {"trial": identity, **_json(one)} for identity, one in self.subjects
            ],
            "notes": list(self.notes),
        }


def _json(table: EffectTable) -> dict[str, Any]:
    from orchestrator.verdict.result import plain

    data: dict[str, Any] = plain(dataclasses.asdict(table))
    for shown, one in zip(data["coalitions"], table.coalitions, strict=True):
        shown["name"] = one.name
    for shown, effect in zip(data["effects"], table.effects, strict=True):
        shown["name"] = effect.name
    return data
