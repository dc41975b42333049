"""The section that the source asks for in its report, filled in from the study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from workloads.views import StudyView, TrialView

FINISHED = frozenset({"done", "failed", "pruned", "cancelled"})

_LESSONS = {
    "at least": "LoRA with minimal supervision improves what the model reads from reconstructed "
    "embeddings, by an amount that the interval bounds from below.",
    "less than": "LoRA with minimal supervision does not help: the interval excludes an "
    "improvement of that size. The limitation is not the language model's adaptation.",
    "harm": "LoRA with minimal supervision makes the answers worse.",
    "inconclusive": "The interval allows both a useful improvement and none: more seeds or "
    "questions are needed before a lesson can be drawn.",
    "candidate": "A screen only: the improvement needs a run with five seeds.",
    "collapsed": "LoRA with minimal supervision collapsed: its score is not an answer's score.",
    "diverged": "LoRA with minimal supervision diverged: it cannot be judged.",
}


def report_section(study: StudyView) -> str:
    """Section 2.9 in Markdown, by what may be claimed: verdict, gate not met, or no verdict yet."""
    rows = {str(row["arm"]): row for row in study.table.to_dict("records")}
    lines = [
        "### 2.9 Hypothesis 9: LoRA with Minimal Supervision",
        "",
        "**Motivation**: Phase 1a (pure reconstruction) achieved 24% F1. Can LoRA adaptation",
        "improve this without K-token CE collapse?",
        "",
        f"**Setting**: {_setting(study.trials)}",
        "",
        "**Results**:",
        *_results(study, rows),
        *_k_token(study.trials),
        "",
        f"**Lesson Learned**: {_lesson(study, rows)}",
    ]
    return "\n".join(lines) + "\n"


def _setting(trials: Sequence[TrialView]) -> str:
    if not trials:
        return "no trials."
    config = trials[0].config
    seeds = sorted({trial.seed for trial in trials})
    return (
        f"{config.get('model')} on {config.get('data')} ({config.get('task')}), "
        f"{config.get('samples')} samples × {config.get('epochs')} epochs, "
        f"d_z {config.get('d_z')}, "
        f"{config.get('test_questions')} test questions, {len(seeds)} seeds."
    )


def _results(study: StudyView, rows: Mapping[str, Mapping[Any, Any]]) -> list[str]:
    baseline = next((row for row in rows.values() if row.get("role") == "comparator"), None)
    gate = {True: "gate met", False: "gate not met", None: "gate not judged"}[study.gate_met]
    lines = [f"- Baseline (no LoRA): {_f1(baseline)} ({gate})"]
    best = _best(study, rows)
    if best is None:
        lines.append("- Best LoRA: n/a")
    else:
        shown = ", ".join(
            f"{sign}={best[name]:g}" if isinstance(best.get(name), int | float) else f"{sign}=n/a"
            for sign, name in (("r", "rank"), ("α", "alpha"), ("layers", "layers"))
        )
        lines.append(
            f"- Best LoRA ({shown}), chosen on the dev split: {_f1(best)} "
            f"(Δ={_interval(best, 'delta', 'delta_ci_low', 'delta_ci_high')})"
        )
    for name, row in rows.items():
        if row.get("role") == "control":
            lines.append(f"- Control {name}: {_f1(row)}")
    return lines


def _best(study: StudyView, rows: Mapping[str, Mapping[Any, Any]]) -> Mapping[Any, Any] | None:
    """The best arm's row, if it is a LoRA arm; else the LoRA arm of the largest difference.

    None where the gate is not met: then no arm is ranked.
    """
    if study.gate_met is False:
        return None
    chosen = rows.get(study.best_arm or "")
    if chosen is not None and chosen.get("role") == "arm":
        return chosen
    arms = [row for row in rows.values() if row.get("role") == "arm" and _known(row.get("delta"))]
    return max(arms, key=lambda row: float(row["delta"]), default=None)


def _k_token(trials: Sequence[TrialView]) -> list[str]:
    """Whether answers collapsed under K-token CE, as the origin saw, arm by arm."""
    arms: dict[str, list[TrialView]] = {}
    for trial in trials:
        if trial.config.get("k_token_ce_weight") and trial.state == "done":
            arms.setdefault(trial.arm, []).append(trial)
    lines = []
    for arm, done in arms.items():
        fired = sum("collapsed" in trial.flags for trial in done)
        what = "collapsed" if fired == len(done) else "did not collapse" if not fired else "mixed"
        lines.append(
            f"- K-token CE ({arm}): {what}; the detector fired in {fired} of {len(done)} replicates"
        )
    return lines


def _lesson(study: StudyView, rows: Mapping[str, Mapping[Any, Any]]) -> str:
    ended = sum(trial.state in FINISHED for trial in study.trials)
    if ended < len(study.trials) or not study.trials:
        return f"No verdict yet: {ended} of {len(study.trials)} trials."
    if study.gate_met is False:
        return (
            "Gate not met: the baseline does not reproduce Phase 1a in this setting, so no LoRA "
            f"configuration is ranked. {study.answer}"
        )
    best = _best(study, rows)
    label = str(best.get("label") or "") if best is not None else ""
    lesson = next((text for key, text in _LESSONS.items() if label.startswith(key)), "")
    return " ".join(part for part in (lesson, study.answer) if part)


def _f1(row: Mapping[Any, Any] | None) -> str:
    return "n/a" if row is None else f"{_interval(row, 'mean', 'ci_low', 'ci_high')} F1"


def _interval(row: Mapping[Any, Any], value: str, low: str, high: str) -> str:
    if not _known(row.get(value)):
        return "n/a"
    shown = f"{float(row[value]):.1f}"
    if _known(row.get(low)) and _known(row.get(high)):
        shown += f" [{float(row[low]):.1f}, {float(row[high]):.1f}]"
    return shown


def _known(value: Any) -> bool:
    return isinstance(value, int | float) and not math.isnan(value)
