"""What this workload adds to a study's report: growth, matrices by epoch, scaling, policies.

Tables come from the trials' own telemetry; what was not measured is an empty cell, never 0. The
verdict is elsewhere: nothing here carries an interval or a label.
"""

from __future__ import annotations

import csv
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from telemetry.analytics import ScalingCurve
from workloads.contract import StudyView, TrialView
from workloads.morphogenesis.history import EpisodeHistory, history_of

NOT_MEASURED = "n/a"


@dataclass(frozen=True)
class Told:
    """A finished trial with what it told."""

    trial: TrialView
    history: EpisodeHistory


def write_summary(study: StudyView, folder: Path) -> Iterator[Path]:
    """Writes all files into `folder` and yields each when it is complete."""
    from workloads.morphogenesis import plots
    from workloads.morphogenesis.policies.returns import write_returns

    folder.mkdir(parents=True, exist_ok=True)
    done = [trial for trial in study.trials if trial.state == "done"]
    told = [Told(one, history) for one in done if (history := history_of(one)) is not None]
    tables: Mapping[str, Iterable[Mapping[str, Any]]] = {
        "growth.csv": growth_rows(told),
        "matrices.csv": matrix_rows(told),
        "scaling.csv": scaling_rows(done),
        "policy.csv": policy_rows(told),
        "decisions.csv": decision_rows(told),
    }
    for name, rows in tables.items():
        listed = list(rows)
        if listed:
            yield _write_csv(folder / name, listed)
    text = folder / "growth.md"
    text.write_text(growth_text(study, done, told), encoding="utf-8")
    yield text
    for name, drawn in (
        ("growth_timeline.png", plots.draw_timeline(told, folder / "growth_timeline.png")),
        ("matrices.png", plots.draw_matrices(told, folder / "matrices.png")),
        ("shapley_by_epoch.png", plots.draw_shapley(told, folder / "shapley_by_epoch.png")),
        ("scaling.png", plots.draw_scaling(list(scaling_rows(done)), folder / "scaling.png")),
    ):
        if drawn:
            yield folder / name
    yield from write_returns(done, folder)


# -- tables ---------------------------------------------------------------------------------------


def growth_rows(told: Sequence[Told]) -> Iterator[dict[str, Any]]:
    """One row per trial, epoch and slot: stage, blend, size and contribution."""
    for one in told:
        for epoch, slots in sorted(one.history.slots.items()):
            host = one.history.hosts.get(epoch)
            for name, slot in slots.items():
                yield {
                    **_who(one.trial),
                    "epoch": epoch,
                    "slot": name,
                    "stage": slot.stage,
                    "blueprint": slot.blueprint_id,
                    "alpha": slot.alpha,
                    "params": slot.seed_params,
                    "contribution": slot.counterfactual_contribution,
                    "gate": slot.last_gate_attempted,
                    "gate_passed": slot.last_gate_passed,
                    "val_accuracy": None if host is None else host.val_accuracy,
                }


def matrix_rows(told: Sequence[Told]) -> Iterator[dict[str, Any]]:
    """One row per trial, epoch and configuration: which slots were on, and how the model did."""
    for one in told:
        for epoch, matrix in sorted(one.history.matrices.items()):
            for result in matrix.configs:
                on = [s for s, is_on in zip(matrix.slots, result.config, strict=True) if is_on]
                yield {
                    **_who(one.trial),
                    "epoch": epoch,
                    "slots": "+".join(matrix.slots),
                    "config": "".join("1" if is_on else "0" for is_on in result.config),
                    "on": "+".join(on) or "none",
                    "val_accuracy": result.val_accuracy,
                    "val_loss": result.val_loss,
                }


def is_host_alone(trial: TrialView) -> bool:
    """Whether a trial is the host of the configured size in which nothing grew."""
    config = trial.config
    nothing = config.get("policy") == "none" or not any(
        slot is not None for slot in (config.get("slots") or {}).values()
    )
    return nothing and config.get("params_ratio") is None


def is_larger_host(trial: TrialView) -> bool:
    """Whether a trial is a host that was larger from the start."""
    return trial.config.get("params_ratio") is not None


def scaling_curve(done: Sequence[TrialView]) -> ScalingCurve | None:
    """Mean test accuracy of hosts that grew nothing by size; None for fewer than two sizes."""
    sizes: dict[int, list[float]] = {}
    for trial in done:
        if not (is_host_alone(trial) or is_larger_host(trial)):
            continue
        params, accuracy = trial.metrics.get("total_params"), trial.metrics.get("accuracy")
        if params and accuracy is not None:
            sizes.setdefault(round(params), []).append(accuracy)
    if len(sizes) < 2:
        return None
    points = [(params, statistics.fmean(values)) for params, values in sorted(sizes.items())]
    return ScalingCurve(points, "the hosts of this study that grew nothing")


def scaling_rows(done: Sequence[TrialView]) -> Iterator[dict[str, Any]]:
    """One row per arm: mean size and accuracy, and how large a host alone would have to be."""
    curve = scaling_curve(done)
    alone = [_mean(group, "accuracy") for group in by_arm(filter(is_host_alone, done)).values()]
    sizes = [_mean(group, "total_params") for group in by_arm(filter(is_host_alone, done)).values()]
    base, base_params = (alone[0], sizes[0]) if alone else (None, None)
    for arm, trials in by_arm(done).items():
        accuracy, params = _mean(trials, "accuracy"), _mean(trials, "total_params")
        first = trials[0]
        kind = "grown"
        if is_host_alone(first) or is_larger_host(first):
            kind = "host alone" if is_host_alone(first) else "larger host"
        efficiency = None
        if accuracy is not None and params and base and base_params:
            efficiency = (accuracy / params) / (base / base_params)
        estimate = None
        note = "n/a: this study has no hosts of two sizes that grew nothing"
        if kind == "grown" and curve is not None and accuracy is not None:
            found = curve.size_for(accuracy)
            estimate, note = found.params, found.note
        yield {
            "arm": arm,
            "kind": kind,
            "trials": len(trials),
            "accuracy": accuracy,
            "total_params": params,
            "accuracy_delta": None if accuracy is None or base is None else accuracy - base,
            "efficiency_ratio": efficiency,
            "equivalent_traditional_params": estimate if kind == "grown" else None,
            "equivalent_traditional_params_note": note if kind == "grown" else "",
        }


def policy_rows(told: Sequence[Told]) -> Iterator[dict[str, Any]]:
    """One row per arm whose trials decide: actions, agreement with the heuristic, rewards."""
    for arm, group in _told_by_arm(told).items():
        decisions = [d for one in group for d in one.history.decisions.values() if d.action]
        if not decisions:
            continue
        ops = Counter(d.action.op for d in decisions if d.action is not None)
        compared = [d for d in decisions if d.heuristic_action is not None]
        agreed = sum(d.action == d.heuristic_action for d in compared)
        trials = [one.trial for one in group]
        yield {
            "arm": arm,
            "trials": len(group),
            "decisions": len(decisions),
            **{op.lower(): count / len(decisions) for op, count in sorted(ops.items())},
            "as_the_heuristic": agreed / len(compared) if compared else None,
            "return": _mean(trials, "return"),
            "seeds_grown": _mean(trials, "seeds_grown"),
            "culled": _mean(trials, "culled"),
            "rollbacks": _mean(trials, "rollbacks"),
        }


def decision_rows(told: Sequence[Told]) -> Iterator[dict[str, Any]]:
    """One row per decision: what was done, why, what the heuristic would have done, the reward."""
    for one in told:
        for epoch, decision in sorted(one.history.decisions.items()):
            parts = decision.reward_components
            yield {
                **_who(one.trial),
                "epoch": epoch,
                "action": None if decision.action is None else str(decision.action),
                "blueprint": decision.action.blueprint if decision.action else None,
                "heuristic": (
                    str(decision.heuristic_action) if decision.heuristic_action else None
                ),
                "reward": decision.reward_total,
                "bounded_attribution": parts.bounded_attribution if parts else None,
                "compute_rent": parts.compute_rent if parts else None,
                "explanation": decision.explanation,
            }


# -- text -----------------------------------------------------------------------------------------


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
        "for the same accuracy: an estimate.",
    ]
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


def all_off_rows(done: Sequence[TrialView], told: Sequence[Told]) -> Iterator[dict[str, Any]]:
    """Of each grown trial: its last matrix's all-on and all-off, and the host alone's accuracy."""
    alone = {t.seed: t.metrics.get("val_accuracy") for t in done if is_host_alone(t)}
    for one in told:
        matrix = one.history.last_matrix
        if matrix is None or not matrix.slots:
            continue
        ends = {all(r.config): r.val_accuracy for r in matrix.configs if len(set(r.config)) == 1}
        yield {
            **_who(one.trial),
            "all_on": ends.get(True),
            "all_off": ends.get(False),
            "alone": alone.get(one.trial.seed),
        }


# -- inside ---------------------------------------------------------------------------------------


def by_arm(trials: Iterable[TrialView]) -> dict[str, list[TrialView]]:
    """Trials by arm, in the order in which arms first appear."""
    groups: dict[str, list[TrialView]] = {}
    for trial in trials:
        groups.setdefault(trial.arm, []).append(trial)
    return groups


def _told_by_arm(told: Sequence[Told]) -> dict[str, list[Told]]:
    groups: dict[str, list[Told]] = {}
    for one in told:
        groups.setdefault(one.trial.arm, []).append(one)
    return groups


def _who(trial: TrialView) -> dict[str, Any]:
    return {"arm": trial.arm, "seed": trial.seed, "trial": trial.identity}


def _mean(trials: Sequence[TrialView], name: str) -> float | None:
    known = [v for trial in trials if (v := trial.metrics.get(name)) is not None]
    return statistics.fmean(known) if known else None


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    names = dict.fromkeys(name for row in rows for name in row)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(names))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _shown(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.2f}"


def _signed(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:+.2f}"


def _count(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{round(value):,}"
