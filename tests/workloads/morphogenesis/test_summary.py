"""What the workload adds to a report, from the events of trials."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from telemetry import Emitter, spool_path
from telemetry.contracts import (
    CounterfactualMatrix,
    CounterfactualResult,
    FactoredAction,
    HostSnapshot,
    PolicySnapshot,
    SlotSnapshot,
)
from workloads.morphogenesis import plots
from workloads.morphogenesis.history import history_of
from workloads.morphogenesis.summary import Told, all_off_rows, scaling_rows, write_summary
from workloads.views import StudyView, TrialView

SLOTS = ["early", "late"]


def trial(
    arm: str,
    seed: int,
    accuracy: float | None,
    params: int,
    artifacts: Path | None = None,
    **config: Any,
) -> TrialView:
    return TrialView(
        identity=f"{arm}{seed}",
        label=arm,
        arm=arm,
        role="arm",
        seed=seed,
        state="done",
        config={"policy": "none", "slots": {}, "params_ratio": None, **config},
        metrics={"accuracy": accuracy, "val_accuracy": accuracy, "total_params": float(params)},
        flags=frozenset(),
        artifacts=artifacts,
    )


def grown(folder: Path, seed: int, accuracy: float = 90.0) -> TrialView:
    """A trial with two epochs of events: a slot that blends, a matrix, a decision."""
    attempt = folder / f"grown{seed}" / "attempt-0000"
    emitter = Emitter(spool_path(attempt, 0), trial=f"grown{seed}", attempt=0, rank=0)
    for epoch in (0, 1):
        step = 10 * (epoch + 1)
        emitter.snapshot(
            HostSnapshot(epoch=epoch, val_accuracy=80.0 + epoch), step=step, epoch=epoch
        )
        for name in SLOTS:
            slot = SlotSnapshot(slot_id=name, stage="BLENDING", alpha=0.2, seed_params=100)
            emitter.snapshot(slot, step=step, epoch=epoch)
        cells = [
            CounterfactualResult(config=[early, late], val_accuracy=70.0 + 5 * early + 6 * late)
            for early in (False, True)
            for late in (False, True)
        ]
        matrix = CounterfactualMatrix(
            epoch=epoch, slots=SLOTS, configs=cells, shapley_values={"early": 5.0, "late": 6.0}
        )
        emitter.snapshot(matrix, step=step, epoch=epoch)
        decision = PolicySnapshot(
            action=FactoredAction("WAIT"),
            heuristic_action=FactoredAction("WAIT" if epoch else "CULL", "late"),
            explanation="nothing to do",
        )
        emitter.snapshot(decision, step=step, epoch=epoch)
    emitter.close()
    slots = {name: {"blueprint": "norm"} for name in SLOTS}
    artifacts = attempt / "artifacts"
    return trial("grown", seed, accuracy, 1200, artifacts, policy="heuristic", slots=slots)


def study(trials: Sequence[TrialView]) -> StudyView:
    return StudyView(
        name="growth",
        instance="growth-1",
        question="Does it grow?",
        trials=trials,
        table=pd.DataFrame(),
        answer="Inconclusive.",
        state="verdict",
        best_arm=None,
        gate_met=None,
    )


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_table_and_picture_is_written_of_a_study_that_grew(tmp_path: Path) -> None:
    trials = [grown(tmp_path, 0), grown(tmp_path, 1), trial("host", 0, 80.0, 1000)]
    trials.append(trial("wider", 0, 92.0, 2000, policy="none", params_ratio=1.5))
    written = {path.name for path in write_summary(study(trials), tmp_path / "summary")}
    assert written == {
        "growth.csv", "matrices.csv", "contributions.csv", "scaling.csv", "policy.csv",
        "decisions.csv", "growth.md",
        "growth_timeline.png", "matrices.png", "shapley_by_epoch.png", "scaling.png",
    }  # fmt: skip
    assert len(rows_of(tmp_path / "summary" / "matrices.csv")) == 2 * 2 * 4
    assert {row["on"] for row in rows_of(tmp_path / "summary" / "matrices.csv")} == {
        "none", "early", "late", "early+late"
    }  # fmt: skip
    page = (tmp_path / "summary" / "growth.md").read_text()
    assert "| grown | late | 2 | +6.00 | 100 | 600.00 |" in page
    assert "| grown | WAIT 100% | 0% |" in page
    policy = rows_of(tmp_path / "summary" / "policy.csv")
    assert [(row["arm"], row["wait"], row["as_the_heuristic"]) for row in policy] == [
        ("grown", "1.0", "0.0")
    ]


def test_pictures_of_many_arms_stay_narrow_and_say_what_they_leave_out(tmp_path: Path) -> None:
    made = [grown(tmp_path, seed) for seed in range(plots.MOST_TIMELINES + 1)]
    each = [replace(one, arm=f"arm {seed // 2}") for seed, one in enumerate(made)]
    told = [Told(one, history) for one in each if (history := history_of(one)) is not None]
    for name, draw in (
        ("matrices", plots.draw_matrices), ("shapley", plots.draw_shapley),
        ("timeline", plots.draw_timeline),
    ):  # fmt: skip
        assert draw(told, tmp_path / f"{name}.png")
        width, height = Image.open(tmp_path / f"{name}.png").size
        assert width <= 1500, name
        assert height >= width / 3, name


def test_labels_of_points_that_lie_together_stay_in_the_frame_and_apart() -> None:
    figure, axes = plots._figure(6.0, 4.0)
    points = [(f"early+mid+late {n}", 4700.0 + n, 90.0 + n / 100) for n in range(5)]
    points.append(("none", 1700.0, 80.0))
    axes.plot([x for _, x, _ in points], [y for _, _, y in points], "o")
    axes.margins(0.12)
    plots._label_points(axes, points)
    figure.draw_without_rendering()
    frame = axes.get_window_extent()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)
    apart = [(one, other) for one, other in combinations(boxes, 2) if one.overlaps(other)]
    assert not apart


def test_a_study_without_any_finished_trial_says_so_little(tmp_path: Path) -> None:
    written = list(write_summary(study([]), tmp_path / "summary"))
    assert [path.name for path in written] == ["growth.md"]


def test_the_size_of_a_host_alone_is_an_estimate_and_says_from_what(tmp_path: Path) -> None:
    done = [
        trial("host", 0, 80.0, 1000),
        trial("wider", 0, 100.0, 4000, params_ratio=1.5),
        trial("grown", 0, 90.0, 1200, policy="heuristic", slots={"early": {}}),
    ]
    rows = {row["arm"]: row for row in scaling_rows(done)}
    assert rows["grown"]["equivalent_traditional_params"] == 2000
    assert rows["grown"]["equivalent_traditional_params_note"].startswith("estimate")
    assert rows["grown"]["accuracy_delta"] == pytest.approx(10.0)
    assert rows["grown"]["efficiency_ratio"] == pytest.approx((90 / 1200) / (80 / 1000))
    assert rows["host"]["equivalent_traditional_params"] is None


def test_an_arm_that_grew_nothing_says_why_and_is_as_large_as_nothing(tmp_path: Path) -> None:
    one = grown(tmp_path, 0)
    idle = replace(one, metrics={**one.metrics, "seeds_grown": 0.0, "accuracy": 85.0})
    wider = trial("wider", 0, 92.0, 2000, params_ratio=1.5)
    list(write_summary(study([idle, trial("host", 0, 80.0, 1000), wider]), tmp_path / "summary"))
    page = (tmp_path / "summary" / "growth.md").read_text()
    assert "**grown grew nothing**" in page
    assert "nothing to do (trials: 1)." in page
    assert "| n/a: nothing grew, it is the host alone |" in page


def test_what_is_not_known_is_not_a_number() -> None:
    lone = trial("grown", 0, None, 1200, policy="heuristic", slots={"early": {}})
    (row,) = scaling_rows([lone])
    assert row["accuracy"] is None
    assert row["accuracy_delta"] is None
    assert row["efficiency_ratio"] is None
    assert row["equivalent_traditional_params"] is None
    assert row["equivalent_traditional_params_note"].startswith("n/a")


def test_all_switched_off_stands_beside_the_host_alone_of_the_same_seed(tmp_path: Path) -> None:
    one, host = grown(tmp_path, 0), trial("host", 0, 80.0, 1000)
    history = history_of(one)
    assert history is not None
    (row,) = all_off_rows([one, host], [Told(one, history)])
    assert (row["all_on"], row["all_off"], row["alone"]) == (81.0, 70.0, 80.0)


def test_a_trial_that_kept_nothing_has_no_history() -> None:
    assert history_of(trial("grown", 0, 90.0, 1000)) is None
