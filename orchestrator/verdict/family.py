"""The comparisons that share the error of one verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.verdict.rule import Rule


@dataclass(frozen=True)
class Family:
    """How many comparisons a verdict makes; every end is simultaneous over all of them.

    Attributes:
        arms: arms held against the comparator.
        stated: further pairs of arms that the rule compares; a pair that is compared already, or
            in two ways, is one, since it has one interval.
    """

    arms: int
    stated: int = 0

    @property
    def size(self) -> int:
        """At least 1."""
        return max(1, self.arms + self.stated)

    def arms_confidence(self, confidence: float) -> float:
        """What all arms together may claim, so that with the stated pairs it is `confidence`."""
        return 1.0 - (1.0 - confidence) * max(1, self.arms) / self.size


def family_of(rule: Rule, compared: Iterable[str]) -> Family:
    """The family of a rule that holds these arms against its comparator."""
    main = {frozenset((arm, rule.comparator)) for arm in compared}
    pairs = {frozenset((one.arm, one.against)) for one in rule.comparisons}
    return Family(len(main), len(pairs - main))
