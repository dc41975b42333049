"""What a report shows of findings: sections, and files beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.findings import Findings
    from orchestrator.report.effect_files import Written
    from orchestrator.report.sections import Section


def finding_sections(
    findings: Findings | None, pictures: Mapping[str, str], *, brief: bool = False
) -> list[Section]:
    """Sections of effects, curves, alarms, endpoints and claims; none without any.

    Args:
        pictures: file names by what they show.
        brief: for a terminal: the least that answers.
    """
    if not findings:
        return []
    from orchestrator.report import alarms, claims, endpoints
    from orchestrator.report.alarms import alarm_sections
    from orchestrator.report.claims import claim_sections
    from orchestrator.report.curves import curve_sections
    from orchestrator.report.effects import effect_sections
    from orchestrator.report.endpoints import endpoint_sections
    from orchestrator.report.sections import Section

    named = {*alarms.PICTURES, claims.PICTURE, endpoints.PICTURE}
    others = {text: name for text, name in pictures.items() if text not in named}
    return [
        *effect_sections(findings.effects, others, brief=brief),
        *curve_sections(findings.curves, pictures, brief=brief),
        *alarm_sections(findings.alarms, pictures, brief=brief),
        *endpoint_sections(findings.endpoints, pictures, brief=brief),
        *claim_sections(findings.claims, pictures, brief=brief),
        *([Section("Next steps", findings.next_steps)] if findings.next_steps else []),
        *([Section("Notes", findings.notes)] if findings.notes else []),
    ]


def write_findings(findings: Findings | None, folder: Path) -> Written:
    """Writes tables and pictures of all that was found into a folder that is there."""
    from orchestrator.report.effect_files import Written

    parts = _written(findings, folder) if findings else []
    files = tuple(path for part in parts for path in part.files)
    return Written(files, {text: name for part in parts for text, name in part.pictures.items()})


def _written(findings: Findings, folder: Path) -> list[Written]:
    parts: list[Written] = []
    if findings.effects is not None:
        from orchestrator.report.effect_files import write_effects

        parts.append(write_effects(findings.effects, folder))
    if findings.curves is not None:
        from orchestrator.report.curve_files import write_curves

        parts.append(write_curves(findings.curves, folder))
    if findings.alarms is not None:
        from orchestrator.report.alarm_files import write_alarms

        parts.append(write_alarms(findings.alarms, folder))
    if findings.endpoints is not None:
        from orchestrator.report.endpoints import write_endpoints

        parts.append(write_endpoints(findings.endpoints, folder))
    if findings.claims is not None:
        from orchestrator.report.claims import write_claims

        parts.append(write_claims(findings.claims, folder))
    return parts
