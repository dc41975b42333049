"""Reports: a verdict as Markdown, CSV, HTML, pictures, and in the terminal.

Importing this loads no matplotlib and no rich; writing and rendering do.
"""

from orchestrator.report.info import StudyInfo
from orchestrator.report.terminal import render_answer, render_findings, render_verdict
from orchestrator.report.write import (
    Report,
    interactive_page,
    write_findings_report,
    write_report,
)

__all__ = [
    "Report",
    "StudyInfo",
    "interactive_page",
    "render_answer",
    "render_findings",
    "render_verdict",
    "write_findings_report",
    "write_report",
]
