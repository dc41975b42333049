"""The error that the parts of a study's answer share.

A study may ask several things of its trials: a rule (`verdict`), questions about curves, alarms,
endpoints and claims. Each of these parts says something in the answer, so a reader is misled when
any of them is wrong. Parts that err in 5 % of studies each would mislead in up to 10 % of studies
with two of them; so k parts are judged with a k-th of the error each (Bonferroni), and with one
part nothing changes.

What the answer does not hold has no share: secondary endpoints and effects are told in tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestrator.study_file import Fractions

if TYPE_CHECKING:
    from orchestrator.alarms.rule import AlarmRule
    from orchestrator.study_file import StudyFile
    from orchestrator.verdict import Rule


def answering_parts(file: StudyFile) -> tuple[str, ...]:
    """The parts that say something in the study's answer."""
    parts = {
        "verdict": file.verdict is not None,
        "curves": isinstance(file.design, Fractions) and bool(file.design.questions),
        "alarms": file.alarms is not None,
        "endpoints": any(one.primary for one in file.endpoints.values()),
        "claims": bool(file.claims),
    }
    return tuple(name for name, answers in parts.items() if answers)


def shared_confidence(file: StudyFile, confidence: float) -> float:
    """With what confidence a part is judged that would have `confidence` by itself."""
    parts = len(answering_parts(file))
    return confidence if parts < 2 else 1 - (1 - confidence) / parts


def judged_rule(file: StudyFile) -> Rule | None:
    """The study's rule with the confidence that it is judged with; None without one."""
    rule = file.verdict
    if rule is None:
        return None
    return rule.model_copy(update={"confidence": shared_confidence(file, rule.confidence)})


def judged_alarms(file: StudyFile) -> AlarmRule | None:
    """The same of its rule for alarms."""
    rule = file.alarms
    if rule is None:
        return None
    return rule.model_copy(update={"confidence": shared_confidence(file, rule.confidence)})


def share_notes(file: StudyFile) -> Iterator[str]:
    """What a plan says of several parts that answer."""
    parts = answering_parts(file)
    if len(parts) > 1:
        yield (
            f"{', '.join(parts[:-1])} and {parts[-1]} answer this study and share the error of its "
            f"answer: each is judged with one part in {len(parts)} of the error that it would "
            "have by itself"
        )
