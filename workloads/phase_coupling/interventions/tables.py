"""Tables of a study's oscillators: arms, survival by layer, training, and the source's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Final

from workloads.phase_coupling.interventions.comparing import probability
from workloads.phase_coupling.interventions.kept import Run
from workloads.phase_coupling.interventions.pictures import arms_of
from workloads.phase_coupling.interventions.printed import printed_tests
from workloads.phase_coupling.metrics import DEAD_SITE, DEAD_WORDS, TONES
from workloads.views import SummaryTable, TrialView

_NONE: Final = "n/a"
_ENDS: Final = 10
"""Training is told by the first so many steps and the last."""
_ROUNDING: Final = 1e-5
"""A gradient that is 0 is measured as about 1e-6 in float32."""


def arms_table(trials: Sequence[TrialView]) -> SummaryTable:
    """A row per arm, means over its finished trials: description, the endpoints are the answer."""
    rows = []
    for arm, mine in _by_arm(trials).items():
        config = mine[0].config
        rows.append(
            (
                arm + _dead(mine),
                str(len(mine)),
                str(config["mode"]),
                _place(config),
                _asked(config),
                _mean(mine, "r_mean", "{:.3f}"),
                _mean(mine, "texts_kl", "{:.2g}"),
                _mean(mine, "texts_entropy", "{:.4f}"),
                _mean(mine, "texts_ce", "{:.3f}"),
                _mean(mine, "samples_entropy", "{:.4f}"),
                _mean(mine, "samples_distinct_2", "{:.3f}"),
                _mean(mine, "samples_repetition", "{:.3f}"),
                _mean(mine, "divergence", "{:.1f}"),
                _same_text(mine),
            )
        )
    return SummaryTable(
        "Arms, means over runs (description; the endpoints and claims are the answer). KL in nats "
        "a token; text parts: tokens until it is not the uncoupled model's with the same noise"
        + (f". {DEAD_WORDS.capitalize()}" if any(DEAD_SITE in t.flags for t in trials) else ""),
        (
            "arm", "runs", "mode", "where", "R asked", "R", "KL", "entropy", "CE",
            "samples: entropy", "distinct-2", "repetition", "text parts", "same text",
        ),
        tuple(rows),
        frozenset([1, *range(4, 14)]),
    )  # fmt: skip


def achieved_table(trials: Sequence[TrialView]) -> SummaryTable | None:
    """How well R was set, while generating and over test texts; None where no arm sets it."""
    rows = []
    for arm, mine in _by_arm(trials).items():
        config = mine[0].config
        target = config.get("target_r")
        if target is None:
            continue
        reached = [r for t in mine if (r := t.metrics.get("achieved_r")) is not None]
        ends = [t.metrics.get(name) for t in mine for name in ("r_min", "r_max")]
        known = [r for r in ends if r is not None]
        rows.append(
            (
                arm,
                f"{config['set_by']}, {'held' if config['hold'] else 'set once'}",
                f"{target:.2f}",
                f"{fmean(reached):.3f}" if reached else _NONE,
                f"{max(abs(r - target) for r in reached):.4f}" if reached else _NONE,
                f"{min(known):.3f} to {max(known):.3f}" if known else _NONE,
            )
        )
    if not rows:
        return None
    return SummaryTable(
        "R as asked and as reached; furthest: of any run's mean",
        ("arm", "set by", "asked", "while generating", "furthest off", "at tokens of test texts"),
        tuple(rows),
        frozenset([2, 3, 4, 5]),
    )


def survival_by_arm(runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    """Arm -> block or later unit -> relative change, mean over runs; arms that change nothing are
    left out."""
    found: dict[str, dict[str, float]] = {}
    for arm, several in arms_of(runs).items():
        by_unit: dict[str, list[float]] = {}
        for run in several:
            scores = run.scores.get("layers")
            if scores is None:
                continue
            for unit, value in zip(
                scores.units, run.column("layers", "relative_change"), strict=True
            ):
                if value is not None:
                    by_unit.setdefault(unit, []).append(value)
        means = {unit: fmean(values) for unit, values in by_unit.items()}
        if any(means.values()):
            found[arm] = means
    return dict(found)


def survival_table(
    survival: Mapping[str, Mapping[str, float]], trials: Sequence[TrialView] = ()
) -> SummaryTable | None:
    """What the coupling changes where it acts, and what is left of that to the logits.

    trials: of which those that act on nothing have a row too.
    """
    rows = []
    for arm, of in survival.items():
        blocks = [unit for unit in of if unit.startswith("block.")]
        first = of[blocks[0]] if blocks else None
        logits = of.get("logits")
        left = f"{logits / first:.1%}" if first and logits is not None else _NONE
        rows.append(
            (
                arm,
                blocks[0] if blocks else _NONE,
                *(_figure(value) for value in (first, of.get("final_norm"), logits)),
                left,
                _figure(of.get("probabilities")),
            )
        )
    for arm, mine in _by_arm(trials).items():
        if arm not in survival and (dead := _dead(mine)):
            rows.append((arm + dead, _NONE, "0", "0", "0", _NONE, "0"))
    if not rows:
        return None
    return SummaryTable(
        "What survives: change relative to the uncoupled model, mean over tokens and runs",
        ("arm", "first block", "there", "final norm", "logits", "left of it", "probabilities"),
        tuple(rows),
        frozenset(range(2, 7)),
    )


def residence_by_arm(trials: Sequence[TrialView]) -> dict[str, list[float]]:
    """Arm -> share of tokens in each tone, mean over runs; only arms with oscillators."""
    found = {}
    for arm, mine in _by_arm(trials).items():
        shares = [
            [t.metrics[name] for t in mine if t.metrics.get(name) is not None]
            for name in (f"residence/{tone}" for tone in TONES)
        ]
        if all(shares):
            found[arm] = [fmean(value for value in of if value is not None) for of in shares]
    return found


def training_table(runs: Sequence[Run]) -> SummaryTable | None:
    """What training did, by arm: first and last steps, and what gradient came to the oscillators;
    None where nothing was trained."""
    rows = []
    for arm, several in arms_of(runs).items():
        trained = [run for run in several if run.column("steps", "ce")]
        if not trained:
            continue
        gradients = [g for run in trained for g in run.column("steps", "core_gradient")]
        measured = [g for g in gradients if g is not None]
        reached = (
            f"{sum(g > _ROUNDING for g in measured) / len(measured):.0%}" if measured else _NONE
        )
        rows.append(
            (
                arm,
                str(len(trained)),
                str(len(trained[0].column("steps", "ce"))),
                _over(trained, "ce", slice(_ENDS), "{:.3f}"),
                _over(trained, "ce", slice(-_ENDS, None), "{:.3f}"),
                _over(trained, "r", slice(_ENDS), "{:.3f}"),
                _over(trained, "r", slice(-_ENDS, None), "{:.3f}"),
                _over(trained, "u", slice(None), "{:.3f}"),
                reached,
                _over(trained, "core_gradient", slice(None), "{:.2g}"),
                _over(trained, "frequency_gradient", slice(None), "{:.2g}"),
                _over(trained, "frequency_drift", slice(-1, None), "{:.2g}"),
            )
        )
    if not rows:
        return None
    return SummaryTable(
        f"Training, means over runs (first and last {_ENDS} steps). Gradient: at the core, before "
        f"clipping; a step has one above {_ROUNDING:g}, rounding leaves less, and with it AdamW "
        "makes frequencies drift as far",
        (
            "arm", "runs", "steps", "CE first", "CE last", "R first", "R last", "U",
            "steps with gradient", "gradient", "at the frequencies", "frequency drift",
        ),
        tuple(rows),
        frozenset(range(1, 12)),
    )  # fmt: skip


def printed_table() -> SummaryTable:
    """What the source printed, its p from its own figures again, and what those leave open."""
    return SummaryTable(
        "What the source printed of its own models, where oscillators acted in training only: p "
        "again from its figures, and the 95 % interval that they allow",
        ("experiment", "test", "as printed", "p as printed", "p again", "95 %"),
        tuple(
            (
                one.experiment,
                one.test,
                one.figure,
                f"{one.printed_p:.3f}",
                probability(one.p),
                one.allows or _NONE,
            )
            for one in printed_tests()
        ),
        frozenset([3, 4]),
    )


def _by_arm(trials: Sequence[TrialView]) -> dict[str, list[TrialView]]:
    found: dict[str, list[TrialView]] = {}
    for trial in trials:
        if trial.state == "done":
            found.setdefault(trial.arm, []).append(trial)
    return found


def _mean(trials: Sequence[TrialView], name: str, form: str) -> str:
    values = [value for trial in trials if (value := trial.metrics.get(name)) is not None]
    return form.format(fmean(values)) if values else _NONE


def _same_text(trials: Sequence[TrialView]) -> str:
    shares = [s for t in trials if (s := t.metrics.get("identical_samples")) is not None]
    return f"{fmean(shares):.0%}" if shares else _NONE


def _dead(trials: Sequence[TrialView]) -> str:
    """What stands behind the name of an arm of which runs act on nothing."""
    dead = sum(DEAD_SITE in trial.flags for trial in trials)
    if not dead:
        return ""
    return " (dead site)" if dead == len(trials) else f" (dead site in {dead} of {len(trials)})"


def _place(config: Mapping[str, object]) -> str:
    if config["mode"] == "off":
        return "-"
    return "logits" if config["site"] == "logits" else f"{config['site']} {config['layer']}"


def _asked(config: Mapping[str, object]) -> str:
    if config["mode"] == "off":
        return "-"
    target = config.get("target_r")
    return "free" if target is None else f"{target:.2f}"


def _figure(value: float | None) -> str:
    return _NONE if value is None else f"{value:.2g}"


def _over(runs: Sequence[Run], column: str, part: slice, form: str) -> str:
    values = [v for run in runs for v in run.column("steps", column)[part] if v is not None]
    return form.format(fmean(values)) if values else _NONE
