"""The page `growth.md`: is it winning, and why, in tables of Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workloads.morphogenesis.policies.masks import OPS
from workloads.morphogenesis.summary import (
    Told,
    all_off_rows,
    contribution_rows,
    idle_rows,
    policy_rows,
    scaling_rows,
)
from workloads.views import StudyView, TrialView

NOT_MEASURED = "n/a"


def growth_text(study: StudyView, done: Sequence[TrialView], told: Sequence[Told]) -> str:
    """Is it winning, and why: figures without intervals, in Markdown; the verdict is apart."""
    lines = [f"# {study.name}: growth", "", study.question, "", f"Verdict: {study.answer}", ""]
    lines += [
        "What follows describes; it is not a verdict: no interval stands behind it.",
        "",
        "## Size and accuracy",
        "",
        "| arm | kind | accuracy | params | against host alone | efficiency | as large as |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for row in scaling_rows(done):
        estimate = row["equivalent_traditional_params"]
        note = row["equivalent_traditional_params_note"]
        size = f"{estimate:,} ({note})" if estimate is not None else note
        lines.append(
            f"| {row['arm']} | {row['kind']} | {_shown(row['accuracy'])} | "
            f"{_count(row['total_params'])} | {_signed(row['accuracy_delta'])} | "
            f"{_shown(row['efficiency_ratio'])} | {size} |"
        )
    lines += [
        "",
        "Accuracy in percent, on the test split; efficiency: accuracy per parameter, over that of",
        'the host alone. "As large as" is how large a host that grows nothing would have to be',
        "for the same accuracy, at least: an estimate, which says little where larger hosts are no",
        "better here. Below its own params: it is not worth its size.",
    ]
    lines += _contributions(told)
    lines += _policies(told)
    rows = list(all_off_rows(done, told))
    if rows:
        lines += [
            "",
            "## All switched off is not the host alone",
            "",
            "A host that grew up with seeds may lean on them: switched off, they leave another",
            "network behind than one that never had any. What removing a slot costs is not what",
            "growing it did.",
            "",
            "| arm | seed | grown, as trained | all switched off | host alone, same seed |",
            "|---|---:|---:|---:|---:|",
        ]
        lines += [
            f"| {r['arm']} | {r['seed']} | {_shown(r['all_on'])} | {_shown(r['all_off'])} | "
            f"{_shown(r['alone'])} |"
            for r in rows
        ]
        lines += ["", "Accuracy on the validation split after the last epoch, percent."]
    return "\n".join(lines) + "\n"


def _contributions(told: Sequence[Told]) -> Iterator[str]:
    rows = list(contribution_rows(told))
    if not rows:
        return
    yield from (
        "",
        "## What each slot brings to the finished network",
        "",
        "| arm | slot | trials | points | params | points per 10,000 params |",
        "|---|---|---:|---:|---:|---:|",
    )
    for row in rows:
        yield (
            f"| {row['arm']} | {row['slot']} | {row['trials']} | "
            f"{_signed(row['shapley_of_removal'])} | {_count(row['params'])} | "
            f"{_shown(row['efficiency'])} |"
        )
    yield from (
        "",
        "Points: the Shapley value of removal on the validation split after the last epoch, mean",
        "over the trials in which something grew there.",
    )


def _policies(told: Sequence[Told]) -> Iterator[str]:
    rows = list(policy_rows(told))
    if not rows:
        return
    yield from (
        "",
        "## What the policies did, and how sound training was",
        "",
        "| arm | actions | as the heuristic | return | seeds grown | culled | rollbacks | "
        "not a number | alerts |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
    )
    for row in rows:
        shares = [(op, row.get(op.lower())) for op in OPS]
        actions = ", ".join(f"{op} {share:.0%}" for op, share in shares if share)
        agreed = row["as_the_heuristic"]
        yield (
            f"| {row['arm']} | {actions} | {NOT_MEASURED if agreed is None else f'{agreed:.0%}'} | "
            f"{_shown(row['return'])} | {_shown(row['seeds_grown'])} | {_shown(row['culled'])} | "
            f"{_shown(row['rollbacks'])} | {_count(row['nonfinite'])} | "
            f"{row['alerts'] or 'none'} |"
        )
    yield from (
        "",
        "Means over the trials of an arm; not a number: how many values were NaN or infinite, in",
        "all of them; alerts: which, and in how many of its trials.",
    )
    for row in idle_rows(told):
        why = "; ".join(
            f"{reason or 'no reason given'} (trials: {count})"
            for reason, count in row["reasons"].items()
        )
        yield from (
            "",
            f"**{row['arm']} grew nothing**, so it is the host alone. Its policy's last decisions:",
            f"{why or NOT_MEASURED}.",
        )


def _shown(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.2f}"


def _signed(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:+.2f}"


def _count(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{round(value):,}"
