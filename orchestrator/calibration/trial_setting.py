"""What the `verdict:` rule is applied to in simulated studies: its arms, by what they are for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.calibration.layout import ArmLayout

if TYPE_CHECKING:
    from orchestrator.calibration.layout import Layout
    from orchestrator.study import Study
    from orchestrator.verdict.family import Family
    from orchestrator.verdict.rule import RangeGate, RatioGate, Rule


@dataclass(frozen=True)
class TrialSetting:
    """A rule with the arms that it speaks of.

    Attributes:
        arms: those compared with the comparator, in stated comparisons or in the gate, and the
            comparator, in the study's order.
        gate: that applies to this study.
    """

    rule: Rule
    arms: tuple[ArmLayout, ...]
    gate: RatioGate | RangeGate | None = None

    @property
    def compared(self) -> tuple[str, ...]:
        """The arms that get a label, as `orchestrator.verdict.judge` chooses them."""
        known = {self.rule.comparator}
        return tuple(a.name for a in self.arms if a.role == "arm" and a.name not in known)

    @property
    def judged(self) -> tuple[ArmLayout, ...]:
        """The comparator, the compared arms and those of stated comparisons."""
        names = {self.rule.comparator, *self.compared}
        names |= {name for one in self.rule.comparisons for name in (one.arm, one.against)}
        return tuple(arm for arm in self.arms if arm.name in names)

    @property
    def gated(self) -> tuple[ArmLayout, ...]:
        """The arms that the gate looks at; none if one of them is not there."""
        if self.gate is None:
            return ()
        names = [self.gate.control]
        if self.gate.kind == "floor_corrected_ratio":
            names += [self.gate.reference, *self.gate.floor]
        found = tuple(arm for arm in self.arms if arm.name in names)
        return found if len(found) == len(set(names)) else ()

    @property
    def family(self) -> Family:
        """The comparisons that share the verdict's error."""
        from orchestrator.verdict.family import family_of

        return family_of(self.rule, self.compared)

    def arm(self, name: str) -> ArmLayout:
        """The arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)

    def seeds(self, *names: str) -> int:
        """The fewest of these arms, as judging counts them: a deterministic one lacks none."""
        counts = [len(self.arm(name).seeds) for name in names if not self.arm(name).deterministic]
        return min(counts, default=self.rule.full_seeds)


def trial_setting(study: Study, layout: Layout, real_setting: bool) -> TrialSetting | None:
    """What the study's rule is applied to, with its share of the error; None without a rule or
    without an arm to compare."""
    from orchestrator.error_share import judged_rule

    rule = judged_rule(study.file)
    if rule is None:
        return None
    gate = rule.gate_for(real_setting)
    whole = TrialSetting(rule, layout.arms, gate)
    if not whole.compared:
        return None
    used = {arm.name for arm in (*whole.judged, *whole.gated)}
    return TrialSetting(rule, tuple(arm for arm in layout.arms if arm.name in used), gate)
