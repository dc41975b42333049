"""Plots of a page that answer to a pointer and to keys, in place of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.report.interactive.plot import Plot

if TYPE_CHECKING:
    from orchestrator.findings import Findings
    from orchestrator.verdict.result import Verdict

__all__ = ["Plot", "finding_plots", "verdict_plots"]


def verdict_plots(verdict: Verdict) -> Mapping[str, Sequence[Plot]]:
    """`means`, `differences` and `factors`, as far as the verdict has them."""
    from orchestrator.report.interactive import verdicts

    differences = verdicts.differences_plot(verdict)
    return {
        "means": (verdicts.means_plot(verdict),),
        "differences": () if differences is None else (differences,),
        "factors": verdicts.factor_plots(verdict),
    }


def finding_plots(findings: Findings | None) -> Mapping[str, Sequence[Plot]]:
    """By the text of the picture that they stand in place of."""
    return dict(_finding_plots(findings)) if findings else {}


def _finding_plots(findings: Findings) -> Iterator[tuple[str, Sequence[Plot]]]:
    if findings.effects is not None:
        from orchestrator.report.effect_files import slug
        from orchestrator.report.interactive.effects import effect_plots, matrix_plot

        for table in findings.effects.tables():
            matrix = matrix_plot(table)
            yield f"every combination, {slug(table)}", () if matrix is None else (matrix,)
            yield f"interactions, {slug(table)}", effect_plots(table)
    if (curves := findings.curves) is not None:
        from orchestrator.report.curves import arm_title, picture_title
        from orchestrator.report.interactive.curves import arm_plots, pair_plot

        for answer in curves.answers:
            pair = pair_plot(curves, answer)
            yield picture_title(answer), () if pair is None else (pair,)
        for arm in dict.fromkeys(one.arm for one in curves.curves):
            yield arm_title(arm), arm_plots(curves, arm)
    if (alarms := findings.alarms) is not None:
        from orchestrator.report import alarms as of
        from orchestrator.report.interactive import alarms as draw

        timeline = draw.timeline_plot(alarms)
        yield of.TIMELINE, () if timeline is None else (timeline,)
        yield of.TRAJECTORIES, draw.trajectory_plots(alarms)
        yield of.ROC, draw.roc_plots(alarms)
        yield of.BY_RATE, draw.rate_plots(alarms)
    if findings.endpoints is not None:
        from orchestrator.report.endpoints import PICTURE as ENDPOINTS
        from orchestrator.report.interactive.endpoints import endpoint_plots

        yield ENDPOINTS, endpoint_plots(findings.endpoints)
    if findings.claims is not None:
        from orchestrator.report.claims import PICTURE as CLAIMS
        from orchestrator.report.interactive.claims import claim_plots

        yield CLAIMS, claim_plots(findings.claims)
