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
from workloads.morphogenesis.history import EpisodeHistory, history_of
from workloads.morphogenesis.kinds import GROWN, HOSTS, is_host_alone, kind_of
from workloads.views import StudyView, TrialView


@dataclass(frozen=True)
class Told:
    """A finished trial with what it told."""

    trial: TrialView
    history: EpisodeHistory


def write_summary(study: StudyView, folder: Path) -> Iterator[Path]:
    """Writes all files into `folder` and yields each when it is complete."""
    from workloads.morphogenesis import plots
    from workloads.morphogenesis.page import growth_text
    from workloads.morphogenesis.policies.returns import write_returns

    folder.mkdir(parents=True, exist_ok=True)
    done = [trial for trial in study.trials if trial.state == "done"]
    told = [Told(one, history) for one in done if (history := history_of(one)) is not None]
    tables: Mapping[str, Iterable[Mapping[str, Any]]] = {
        "growth.csv": growth_rows(told),
        "matrices.csv": matrix_rows(told),
        "contributions.csv": contribution_rows(told),
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
                    "measured_on": matrix.note or "everything",
                }


def contribution_rows(told: Sequence[Told]) -> Iterator[dict[str, Any]]:
    """One row per arm and slot: what switching it off costs the finished network, means over the
    trials in whose last matrix the slot is; `efficiency` is points per 10,000 parameters."""
    for arm, group in _told_by_arm(told).items():
        worth: dict[str, list[float]] = {}
        sizes: dict[str, list[float]] = {}
        for one in group:
            matrix = one.history.last_matrix
            if matrix is None:
                continue
            slots = one.history.slots.get(matrix.epoch, {})
            for slot, value in (matrix.shapley_values or {}).items():
                if value is not None:
                    worth.setdefault(slot, []).append(value)
                    params = slots[slot].seed_params if slot in slots else None
                    sizes.setdefault(slot, []).extend([] if params is None else [float(params)])
        for slot, values in worth.items():
            mean = statistics.fmean(values)
            size = statistics.fmean(sizes[slot]) if sizes[slot] else None
            yield {
                "arm": arm,
                "slot": slot,
                "trials": len(values),
                "shapley_of_removal": mean,
                "params": size,
                "efficiency": mean / size * 1e4 if size else None,
            }


def scaling_curve(done: Sequence[TrialView]) -> ScalingCurve | None:
    """Mean test accuracy of hosts that grew nothing by size; None for fewer than two sizes."""
    sizes: dict[int, list[float]] = {}
    for trial in done:
        if kind_of(trial) not in HOSTS:
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
        kind = kind_of(trials[0])
        efficiency = None
        if accuracy is not None and params and base and base_params:
            efficiency = (accuracy / params) / (base / base_params)
        estimate, note = None, ""
        if kind not in HOSTS:
            note = "n/a: this study has no hosts of two sizes that grew nothing"
            if grew_nothing(trials):
                note = "n/a: nothing grew, it is the host alone"
            elif curve is not None and accuracy is not None:
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
            "equivalent_traditional_params": estimate,
            "equivalent_traditional_params_note": note,
        }


def grew_nothing(trials: Sequence[TrialView]) -> bool:
    """Whether trials that may grow seeds planted none, in any of them."""
    grown = [trial for trial in trials if kind_of(trial) == GROWN]
    return bool(grown) and all(trial.metrics.get("seeds_grown") == 0 for trial in grown)


def idle_rows(told: Sequence[Told]) -> Iterator[dict[str, Any]]:
    """One row per arm that may grow seeds and planted none: what its policies last gave as the
    reason, and in how many of its trials."""
    for arm, group in _told_by_arm(told).items():
        if grew_nothing([one.trial for one in group]):
            decisions = [one.history.decisions for one in group]
            reasons = Counter(made[max(made)].explanation for made in decisions if made)
            yield {"arm": arm, "trials": len(group), "reasons": dict(reasons.most_common())}


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
            **_health(group),
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


def all_off_rows(done: Sequence[TrialView], told: Sequence[Told]) -> Iterator[dict[str, Any]]:
    """Of each grown trial: its last matrix's all-on and all-off, and the host alone's accuracy."""
    alone = {t.seed: t.metrics.get("val_accuracy") for t in done if is_host_alone(t)}
    for one in told:
        matrix = one.history.last_matrix
        if matrix is None or not matrix.slots or matrix.note is not None:
            continue  # a part of the examples or slots is not to be set beside the host alone
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


def _health(group: Sequence[Told]) -> dict[str, Any]:
    """How sound training was: values that were no number, and in how many trials which alert."""
    known = [one.history.health for one in group if one.history.health is not None]
    kinds = Counter(
        kind for health in known for kind in {a.kind for a in health.alerts if a.level != "info"}
    )
    return {
        "nonfinite": sum(health.nonfinite for health in known) if known else None,
        "alerts": ", ".join(f"{kind} in {count}" for kind, count in kinds.most_common()),
    }


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
