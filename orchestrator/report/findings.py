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
    """Sections of effects or of curves; none without any.

    Args:
        pictures: file names by what they show.
        brief: for a terminal: the least that answers.
    """
    if not findings:
        return []
    from orchestrator.report.curves import curve_sections
    from orchestrator.report.effects import effect_sections

    return [
        *effect_sections(findings.effects, pictures, brief=brief),
        *curve_sections(findings.curves, pictures, brief=brief),
    ]


def write_findings(findings: Findings | None, folder: Path) -> Written:
    """Writes tables and pictures of all that was found into a folder that is there."""
    from orchestrator.report.effect_files import Written, write_effects

    if findings is not None and findings.effects is not None:
        return write_effects(findings.effects, folder)
    if findings is not None and findings.curves is not None:
        from orchestrator.report.curve_files import write_curves

        return write_curves(findings.curves, folder)
    return Written((), {})
