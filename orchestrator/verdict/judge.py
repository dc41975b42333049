"""The decision rule applied: evidence in, verdict out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.counted import counted
from orchestrator.verdict import labels
from orchestrator.verdict.answer import (
    gate_sentence,
    outcome_of,
    select_next_steps,
    verdict_sentences,
)
from orchestrator.verdict.best import choose_best, selection_mean
from orchestrator.verdict.compare import (
    FEW_CLUSTERS,
    Numbers,
    arm_numbers,
    dunnett_numbers,
)
from orchestrator.verdict.comparisons import compare_stated
from orchestrator.verdict.evidence import ArmScores
from orchestrator.verdict.family import family_of
from orchestrator.verdict.gate import judge_gate
from orchestrator.verdict.measure import finite
from orchestrator.verdict.numbers import decimals
from orchestrator.verdict.result import ArmVerdict, GateResult, Verdict, VerdictState
from orchestrator.verdict.rule import Rule

MOST_DROPPED = 0.1
"""An arm that lacks a larger part of its questions is incomplete."""


def judge(
    rule: Rule,
    arms: Sequence[ArmScores],
    planned: int | Mapping[str, int] | None = None,
    *,
    study: str = "",
    question: str = "",
    real_setting: bool = False,
    next_steps: Mapping[str, Sequence[str]] | None = None,
    notes: Sequence[str] = (),
) -> Verdict:
    """Apply a study's rule to its evidence.

    Args:
        rule: as stated before the run.
        arms: every arm and control of the study, in its order, planned replicates included.
        planned: replicates planned per arm, or by arm name; by default those in `arms`. A number
            for all says nothing of deterministic arms, which take one.
        real_setting: whether the workload says that this is the setting being replicated.
        next_steps: the study's own lists of next steps, keyed by outcome or by band name.
        notes: what else a reader must know, such as that the rule is post hoc; they come first.

    Raises:
        ValueError: no arms, a name twice, no arm named as the rule's comparator or in one of its
            comparisons, or scores, units and clusters that contradict each other.
    """
    verdict = _Judge(rule, arms, planned).verdict(study, question, real_setting, next_steps or {})
    return replace(verdict, notes=(*notes, *verdict.notes))


class _Judge:
    """Holds what every step looks at: the rule, the arms by name, and how far the trials are."""

    def __init__(
        self, rule: Rule, arms: Sequence[ArmScores], planned: int | Mapping[str, int] | None
    ) -> None:
        self.rule = rule
        self.arms = {one.arm: one for one in arms}
        if len(self.arms) != len(arms):
            raise ValueError(f"arm names must differ, got {[one.arm for one in arms]}")
        if rule.comparator not in self.arms:
            raise ValueError(
                f"the rule compares with '{rule.comparator}', which is not an arm; "
                f"arms: {', '.join(self.arms) or 'none'}"
            )
        for one in rule.comparisons:
            for name in (one.arm, one.against):
                if name not in self.arms:
                    raise ValueError(
                        f"the rule compares '{one.arm}' with '{one.against}', but '{name}' is not "
                        f"an arm; arms: {', '.join(self.arms)}"
                    )
        self.planned = {one.arm: _planned(one, planned) for one in arms}
        self.comparator = self.arms[rule.comparator]
        self.compared = [one for one in arms if one.role == "arm" and one.arm != rule.comparator]
        self.names = {one.arm for one in self.compared}
        self.family = family_of(rule, self.names)
        self.places = decimals([(band.at_least, band.name) for band in rule.bands])

    def verdict(
        self,
        study: str,
        question: str,
        real_setting: bool,
        next_steps: Mapping[str, Sequence[str]],
    ) -> Verdict:
        """Everything that follows from the evidence."""
        rule = self.rule
        total = sum(self.planned.values())
        ended = sum(
            min(self.planned[name], sum(one.ended for one in arm.replicates))
            for name, arm in self.arms.items()
        )
        spec = rule.gate_for(real_setting)
        gate = None if spec is None else judge_gate(rule, spec, self.arms, ended == total)
        state = self._state(ended == total, gate)
        numbers = self._numbers()
        judged = [
            self._arm(arm, numbers[arm.arm], state, gate)
            for arm in self.arms.values()
            if arm.arm in self.names or arm is self.comparator
        ]
        apart = [
            self._arm(arm, numbers[arm.arm], state, gate)
            for arm in self.arms.values()
            if arm.arm not in self.names and arm is not self.comparator
        ]
        compared = [one for one in judged if one.arm != rule.comparator]
        decided = state in ("screen", "verdict")
        best, best_note = choose_best(rule, judged, self.arms) if decided else (None, "")
        outcome = (
            outcome_of(rule, compared, state == "screen")
            if decided
            else "gate_not_met"
            if state == "gate not met"
            else "no_verdict_yet"
        )
        mixed = _mixed([one for one in self.arms.values() if one.done()])
        notes = [*self._notes(numbers), *([best_note] if best_note else [])]
        return Verdict(
            study=study,
            question=question,
            metric=rule.metric,
            unit=rule.unit,
            direction=rule.direction,
            comparator=rule.comparator,
            confidence=rule.confidence,
            simultaneous=rule.simultaneous,
            family=self.family.size if self.compared or rule.comparisons else 0,
            bands=tuple((band.at_least, band.name) for band in rule.bands),
            state=state,
            outcome=outcome,
            gate=gate,
            arms=tuple(judged),
            controls=tuple(apart),
            best=best,
            answer=self._answer(state, outcome, compared, gate, ended, total, mixed),
            mixed=mixed,
            notes=tuple(notes),
            next_steps=select_next_steps(rule, outcome, compared, next_steps),
            comparisons=compare_stated(
                rule, self.arms, self.family.size, state, self._broken, self._seeds
            ),
        )

    def _state(self, all_ended: bool, gate: GateResult | None) -> VerdictState:
        if not all_ended or (gate is not None and gate.met is None):
            return "no verdict yet"
        if gate is not None and not gate.met:
            return "gate not met"
        compared = [self._is_screen(arm) for arm in self.compared]
        return "screen" if compared and all(compared) else "verdict"

    def _is_screen(self, arm: ArmScores) -> bool:
        return self._seeds([arm, self.comparator]) < self.rule.full_seeds

    def _seeds(self, arms: Sequence[ArmScores]) -> int:
        """The fewest planned of any of the arms; a deterministic one lacks none."""
        counts = [self.planned[one.arm] for one in arms if not one.deterministic]
        return min(counts, default=self.rule.full_seeds)

    def _numbers(self) -> dict[str, Numbers]:
        rule, family = self.rule, self.family.size
        out = {}
        for name, arm in self.arms.items():
            against = None if arm is self.comparator else self.comparator
            out[name] = arm_numbers(rule, arm, against, family if arm.arm in self.names else 1)
        testable = [one for one in self.compared if out[one.arm].delta_low is not None]
        if rule.simultaneous == "dunnett" and testable:
            joint = dunnett_numbers(rule, testable, self.comparator, self.family)
            if joint is not None:
                out |= {arm.arm: one for arm, one in zip(testable, joint, strict=True)}
        return out

    def _arm(
        self, arm: ArmScores, one: Numbers, state: VerdictState, gate: GateResult | None
    ) -> ArmVerdict:
        label, why = self._label(arm, one, state)
        ranked = state in ("screen", "verdict") and arm.arm in self.names
        ranked = ranked and self._broken(arm, one) is None
        low, high = one.delta_low, one.delta_high
        margin = self.rule.equivalence_margin
        floor = None if gate is None else gate.floor
        inside = margin is not None and low is not None and high is not None
        extra = {
            "floor_corrected": None if one.mean is None or floor is None else one.mean - floor,
            "collapsed": arm.flagged("collapsed"),
            "diverged": arm.diverged(),
            "failed": sum(not one.diverged for one in arm.lost()),
            "selection_mean": selection_mean(arm),
            "seed_sd": one.seed_sd,
            "df": one.df,
            "questions": one.questions,
            "clusters": one.clusters,
            "dropped_questions": one.dropped,
            "equivalent": -margin < low and high < margin if inside else None,  # type: ignore[operator]
            "identical": one.identical,
        }
        return ArmVerdict(
            arm=arm.arm,
            role="comparator" if arm is self.comparator else arm.role,
            n=len(arm.done()),
            planned=self.planned[arm.arm],
            mean=one.mean,
            ci_low=one.ci_low,
            ci_high=one.ci_high,
            delta=one.delta,
            delta_ci_low=low,
            delta_ci_high=high,
            label=label,
            band=labels.point_band(self.rule, one.delta) if ranked else "",
            why=why,
            extra=extra,
            factors=dict(arm.factors),
        )

    def _label(self, arm: ArmScores, one: Numbers, state: VerdictState) -> tuple[str, str]:
        if state == "no verdict yet":
            return (
                labels.NO_VERDICT,
                f"{len(arm.done())} of {self.planned[arm.arm]} trials have a result",
            )
        broken = self._broken(arm, one)
        if arm is self.comparator:
            return broken or (labels.COMPARATOR, "")
        if arm.arm not in self.names:
            return broken or (labels.CONTROL, "")
        if state == "gate not met":
            return labels.GATE_NOT_MET, broken[1] if broken else ""
        if broken:
            return broken
        cause = self._broken(self.comparator)
        if cause and cause[0] != labels.COLLAPSED:
            return labels.INCOMPLETE, f"the comparator is {cause[0]}: {cause[1]}"
        if one.delta is None:
            return labels.INCOMPLETE, "no question was scored in this arm and in the comparator"
        if one.identical:
            return labels.IDENTICAL, "every score equals the comparator's: nothing to test"
        if one.untestable:
            return labels.INCONCLUSIVE, one.untestable
        seeds = self._seeds([arm, self.comparator])
        if seeds < self.rule.screen_seeds:
            return (
                labels.INCONCLUSIVE,
                f"{counted(seeds, 'seed')}; a screen takes {self.rule.screen_seeds}",
            )
        if self._is_screen(arm):
            return labels.screen_label(self.rule, one.delta_low, one.delta_high), ""
        return labels.interval_label(self.rule, one.delta_low, one.delta_high), ""

    def _broken(self, arm: ArmScores, one: Numbers | None = None) -> tuple[str, str] | None:
        """The label of an arm whose score is not to be compared, and why; None for a sound one."""
        n, planned = len(arm.done()), self.planned[arm.arm]
        collapsed = arm.flagged("collapsed")
        if collapsed:
            return labels.COLLAPSED, f"{collapsed} of {n} trials tripped the collapse detector"
        lost = arm.lost()
        if any(rep.diverged for rep in lost):
            gone = sum(rep.diverged for rep in lost)
            return labels.DIVERGED, f"{gone} of {planned} trials diverged and cannot be scored"
        if lost or n < planned or not planned:
            return labels.INCOMPLETE, f"{planned - n} of {planned} trials have no result"
        if one is None:
            return None
        measured = (one.questions or 0) + one.dropped
        if measured and one.dropped > MOST_DROPPED * measured:
            return labels.INCOMPLETE, f"{one.dropped} of {measured} questions lack a score"
        return None

    def _answer(
        self,
        state: VerdictState,
        outcome: str,
        compared: Sequence[ArmVerdict],
        gate: GateResult | None,
        ended: int,
        total: int,
        mixed: Sequence[str],
    ) -> str:
        rule = self.rule
        if ended == total > 0 and not any(arm.done() for arm in self.arms.values()):
            return f"Nothing was measured: none of {counted(total, 'trial')} has a finite score."
        if state == "no verdict yet":
            if ended < total or gate is None:
                return f"No verdict yet: {ended} of {total} trials have ended."
            return f"No verdict yet: the gate cannot be judged ({gate.why})."
        if state == "gate not met" and gate is not None:
            asked = gate_sentence(gate, rule.unit, self.places)
            return f"Gate not met, so no arm is ranked: {asked}."
        seeds = self._seeds([*self.compared, self.comparator])
        text = verdict_sentences(rule, compared, outcome, seeds)
        collapsed = self.comparator.flagged("collapsed")
        if collapsed:
            n = len(self.comparator.done())
            text += f" Differences are to a comparator that collapsed in {collapsed} of {n} trials."
        return text + (f" Mixed: {'; '.join(mixed)}." if mixed else "")

    def _notes(self, numbers: Mapping[str, Numbers]) -> list[str]:
        notes = []
        for name, one in numbers.items():
            if one.mean is not None and one.questions is None:
                notes.append(
                    f"{name}: no scores by question, so the interval speaks of the seeds only."
                )
            if one.dropped:
                notes.append(f"{name}: {one.dropped} questions lack a score somewhere; left out.")
            if one.effective_clusters is not None and one.effective_clusters < FEW_CLUSTERS:
                notes.append(
                    f"{name}: only {one.clusters} clusters, worth {one.effective_clusters:.1f} of "
                    "equal size; the interval is unsure."
                )
            notes += _contradictions(self.arms[name])
        return notes


def _planned(arm: ArmScores, planned: int | Mapping[str, int] | None) -> int:
    if planned is None:
        return len(arm.replicates)
    if isinstance(planned, int):
        count = 1 if arm.deterministic else planned
    else:
        count = planned.get(arm.arm, len(arm.replicates))
    return max(count, len(arm.replicates))


def _contradictions(arm: ArmScores) -> list[str]:
    """Trials whose stated mean is not the mean of their scores; the scores are used."""
    notes = []
    for one in arm.done():
        value, average = finite(one.value), one.mean_score
        if value is None or average is None:
            continue
        if abs(average - value) > 1e-6 + 1e-4 * max(abs(value), abs(average)):
            notes.append(
                f"{arm.arm}, seed {one.seed}: the stated mean {value:g} is not the mean of the "
                f"scores, {average:g}; the scores are used."
            )
    return notes


def _mixed(arms: Sequence[ArmScores]) -> tuple[str, ...]:
    """What the finished trials differ in that should be equal."""
    found = []
    looked_at = {
        "code": "code_digest",
        "dtype": "dtype",
        "device": "device",
        "number of ranks": "ranks",
    }
    for name, attribute in looked_at.items():
        values = {getattr(one, attribute) for arm in arms for one in arm.done()} - {None}
        if len(values) > 1:
            found.append(f"trials differ in {name} ({', '.join(sorted(map(str, values)))})")
    return tuple(found)
