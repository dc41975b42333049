"""What a notebook shows: plans, verdicts and runs as tables, and a run's progress in its place."""

from orchestrator.notebook.progress import NotebookProgress
from orchestrator.notebook.shown import plan_html, run_html, study_html, verdict_html

__all__ = ["NotebookProgress", "plan_html", "run_html", "study_html", "verdict_html"]
