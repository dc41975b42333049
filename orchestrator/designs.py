"""Designs of a study file: what yields its arms, and what is asked of their models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from orchestrator.seeds import Seed, Seeds
from workloads.contract import refuse_truth_for_number

Role = Literal["baseline", "comparator", "arm", "control"]
Estimator = Literal["auto", "paired_regression", "kernel_shap", "k_additive", "permutation"]
"""How Shapley values are estimated from a sample of coalitions; `auto` takes the least error."""
Level = bool | int | float | str | None


class Part(BaseModel):
    """Base of every part of a study file: immutable, strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _number_is_no_truth_value(cls, data: Any) -> Any:
        return refuse_truth_for_number(cls, data)


class ArmFile(Part):
    """One arm: its name, its role, and what it overrides in `base` (dotted keys or nested)."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=60)
    """What the arm is called in tables, plots and `--only`."""
    role: Role = "arm"
    """What the arm is for. A control is shown apart and never ranked."""
    overrides: dict[str, Any] = {}
    """What the arm sets otherwise than `base`."""
    seeds: Seeds | None = None
    """Replicates of this arm alone; a control that needs no training has one. `0-98` is a range."""
    about: str = ""
    """What the arm is, in a few words; shown in reports, part of no hash."""

    @field_validator("seeds")
    @classmethod
    def _seeds_are_some(cls, seeds: list[int] | None) -> list[int] | None:
        if seeds == []:
            raise ValueError("is empty, so that the arm has no run: list some, or leave it out")
        return seeds


def unique_names(arms: Sequence[ArmFile]) -> Sequence[ArmFile]:
    """Raises ValueError if two arms have one name."""
    names = [arm.name for arm in arms]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"arm names must differ, but {', '.join(twice)} is given more than once")
    return arms


class Configurations(Part):
    """A list of arms."""

    kind: Literal["configurations"]
    arms: list[ArmFile] = Field(min_length=1)
    """The arms, in the order in which tables show them."""

    @field_validator("arms")
    @classmethod
    def _names_differ(cls, arms: list[ArmFile]) -> list[ArmFile]:
        unique_names(arms)
        return arms


class Grid(Part):
    """Every combination of the factors' levels, beside the arms that are listed."""

    kind: Literal["grid"]
    factors: dict[str, list[Level]] = Field(min_length=1)
    """Dotted keys of the configuration, each with the values it takes."""
    arms: list[ArmFile] = []
    """Further arms, such as the comparator and controls."""

    @field_validator("factors")
    @classmethod
    def _levels_given(cls, factors: dict[str, list[Level]]) -> dict[str, list[Level]]:
        for name, levels in factors.items():
            if not levels:
                raise ValueError(f"factor '{name}' has no levels: give a list such as [1, 2]")
        return factors


class Choice(Part):
    choice: list[Level] = Field(min_length=1)
    """One of these."""


class Uniform(Part):
    uniform: tuple[float, float]
    """Drawn evenly between the two."""


class LogUniform(Part):
    loguniform: tuple[float, float]
    """Drawn evenly in the logarithm between the two."""

    @model_validator(mode="after")
    def _positive(self) -> LogUniform:
        if self.loguniform[0] <= 0:
            raise ValueError(f"loguniform needs bounds above 0, got {list(self.loguniform)}")
        return self


class RandInt(Part):
    randint: tuple[int, int]
    """Lower end included, upper end left out."""


class Asha(Part):
    """Asynchronous successive halving (Li et al., 2020): stops trials that fall behind."""

    kind: Literal["asha"] = "asha"
    grace_period: int = Field(default=1, ge=1)
    """No proposal is stopped before this training step."""
    reduction_factor: int = Field(default=3, ge=2)
    """Of the proposals that reach a rung one in so many goes on; rungs lie so many times further
    apart each."""
    max_t: int = Field(default=100, ge=1)
    """The training step of the last rung."""


class Search(Part):
    """An adaptive list of configurations; the winner is run again on the study's seeds."""

    kind: Literal["search"]
    space: dict[str, Choice | Uniform | LogUniform | RandInt] = Field(min_length=1)
    """Dotted keys of the configuration, each with what its value is drawn from."""
    budget: int = Field(ge=1)
    """Number of proposals (ordinals), finished or pruned."""
    metric: str
    """A metric the workload reports while it trains, such as `eval/f1`: of the dev split."""
    mode: Literal["max", "min"] = "max"
    """Whether more of the metric is better, or less."""
    searcher: Literal["random", "optuna"] = "random"
    """How proposals are made: independently, or by Optuna from those that have finished."""
    searcher_seed: Seed = 0
    """The seed of what is proposed."""
    explore_seed: Seed = 1000
    """The seed of every proposal: not among the study's, so that the verdict is on fresh seeds."""
    scheduler: Asha | None = None
    """What stops proposals early; none: each runs to its end."""
    arms: list[ArmFile] = []
    """Arms beside the winner, such as the comparator and controls."""


class Removal(Part):
    """Removal costs: parts of finished models are switched off, and what that costs is measured.

    Each trained model is a subject, each coalition a point on it: nothing is trained.
    """

    of: list[str] = []
    """Arms whose models are looked at. Empty: the arm in which every factor is on; without
    factors every listed arm."""
    full: bool = False
    """All 2^n coalitions beyond n = 6 too, up to n = 16."""
    budget: int | None = Field(default=None, ge=4)
    """Coalitions per model, over all draws, where not all are enumerated."""
    estimator: Estimator = "auto"
    """How costs are estimated from sampled coalitions; `auto` takes the least error."""
    draws: int = Field(default=2, ge=2)
    """Independent draws of sampled coalitions: their spread is the sampling error."""
    sampling_seed: Seed = 0
    """The seed of which coalitions are drawn."""
    order: int = Field(default=3, ge=1, le=3)
    """Interactions are given up to this order."""


class Factorial(Part):
    """Every combination of factors that are on or off: 2^n arms, named by what is on.

    `factors`: what each one's being on overrides; off is absent. `removal` asks another question,
    of the finished models of some arms (see `Removal`). Either may be left out.
    """

    kind: Literal["factorial"]
    factors: dict[str, dict[str, Any]] = {}
    """By factor what its being on overrides in `base`."""
    budget: int | None = Field(default=None, ge=4)
    """Arms to train, over all draws, where not all 2^n are (n above 6)."""
    full: bool = False
    """All 2^n arms beyond n = 6 too, up to n = 16."""
    estimator: Estimator = "auto"
    """How effects are estimated from a sample of arms; `auto` takes the least error."""
    draws: int = Field(default=2, ge=2)
    """Independent draws of sampled arms: their spread is the sampling error."""
    sampling_seed: Seed = 0
    """The seed of which arms are drawn."""
    order: int = Field(default=3, ge=1, le=3)
    """Interactions are given up to this order."""
    removal: Removal | None = None
    """What is asked of finished models: what switching their parts off costs."""
    arms: list[ArmFile] = []
    """Further arms, such as controls."""
