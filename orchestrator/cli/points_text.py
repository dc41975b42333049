"""Points of a study's models, as a person and as a machine reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.fraction_words import fractions_lines
from orchestrator.fractions import curves_asked
from orchestrator.study_file import Fractions

if TYPE_CHECKING:
    from orchestrator.planning import Plan
    from orchestrator.study import Study

MOST_DAMAGED = 3


def points_lines(plan: Plan) -> list[str]:
    """How many points are asked of how many models, and what of them is known."""
    subjects = plan.subjects
    if not subjects:
        return []
    asked, known = sum(s.asked for s in subjects), sum(s.known for s in subjects)
    failed = sum(s.failed for s in subjects)
    now = sum(len(s.missing) for s in subjects if s.state == "open")
    later = sum(len(s.missing) for s in subjects if s.state == "waits")
    parts = [f"known {known}"]
    parts += [f"to measure {now}"] if now else []
    parts += [f"after their trials {later}"] if later else []
    parts += [f"failed {failed} (orrery retry)"] if failed else []
    models = "1 model" if len(subjects) == 1 else f"{len(subjects)} models"
    lines = [f"{asked} points on {models}: {', '.join(parts)}"]
    damaged = [line for subject in subjects for line in subject.damaged]
    lines += [f"  {line}" for line in damaged[:MOST_DAMAGED]]
    if len(damaged) > MOST_DAMAGED:
        lines.append(f"  and {len(damaged) - MOST_DAMAGED} more (orrery ledger verify lists all)")
    return lines


def curve_lines(study: Study) -> list[str]:
    """The paths and questions of a design `fractions`; none of another."""
    design = study.file.design
    return list(fractions_lines(design)) if isinstance(design, Fractions) else []


def curves_json(study: Study) -> list[dict[str, Any]]:
    """An entry for each curve that is asked."""
    return [
        {
            "arm": curve.arm,
            "path": curve.path,
            "along": curve.along,
            "values": list(curve.values),
            "points": [[dict(point) for point in points] for points in curve.points],
        }
        for curve in curves_asked(study)
    ]


def left_lines(left: Mapping[str, str]) -> list[str]:
    """Models that were given up, a line each."""
    return [f"points left: {where}: {why}" for where, why in left.items()]


def points_json(plan: Plan) -> list[dict[str, Any]]:
    """An entry for each model."""
    return [
        {
            "trial": subject.trial.identity,
            "arm": subject.trial.arm,
            "seed": subject.trial.seed,
            "subject": subject.subject or None,
            "state": subject.state,
            "asked": subject.asked,
            "known": subject.known,
            "failed": subject.failed,
            "missing": len(subject.missing),
        }
        for subject in plan.subjects
    ]
