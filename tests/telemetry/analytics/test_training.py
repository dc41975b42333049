"""What analytics make of a trial's events: claims, attribution, and None for the unmeasured."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path
from random import Random

import pytest

from telemetry import Emitter, Event, Metrics, archive_events, spool_path
from telemetry.analytics import KEPT_SNAPSHOTS, ScalingCurve, TrainingAnalytics, analytics_of
from telemetry.contracts import (
    CounterfactualMatrix,
    FactoredAction,
    HostBaseline,
    HostSnapshot,
    PolicySnapshot,
    SlotSnapshot,
)
from telemetry.events import VERSION

DASHBOARD = HostSnapshot(epoch=47, val_accuracy=67.2, host_params=1_000_000, total_params=1_230_000)


def host(epoch: int, accuracy: float | None = None, **fields: float) -> HostSnapshot:
    return HostSnapshot(epoch=epoch, val_accuracy=accuracy, **fields)  # type: ignore[arg-type]


def fed(*items: object) -> TrainingAnalytics:
    seen = TrainingAnalytics()
    seen.feed_all(items)  # type: ignore[arg-type]
    return seen


# -- claims ---------------------------------------------------------------------------------------


def test_the_dashboard_example_comes_out_by_the_formula_not_by_its_drawing() -> None:
    """67.2 % against 62.3 % at 1.23 times the parameters is 0.877; the drawing says 1.31."""
    seen = fed(HostBaseline(final_host_only_accuracy=62.3), DASHBOARD)
    assert seen.accuracy_delta() == pytest.approx(4.9)
    assert seen.params_ratio() == pytest.approx(1.23)
    assert seen.params_efficiency_ratio() == pytest.approx(0.877, abs=5e-4)


def test_nothing_measured_is_none_everywhere() -> None:
    seen = TrainingAnalytics()
    health = seen.training_health()
    compared = seen.policy_vs_heuristic()
    assert seen.accuracy_trajectory() == []
    assert seen.seed_contributions() == seen.action_distribution() == {}
    unmeasured = [
        seen.current_accuracy, seen.accuracy_delta(), seen.params_ratio(), seen.baseline_source,
        seen.params_efficiency_ratio(), seen.equivalent_traditional_params().params,
        compared.agreement_rate, compared.reward_agreeing, health.loss, health.loss_trend,
        health.gradient_norm, health.value_collapse, health.entropy_collapse, health.level,
        seen.latest("train/loss"), seen.average("train/loss"),
    ]  # fmt: skip
    assert unmeasured == [None] * len(unmeasured)


@pytest.mark.parametrize(
    "baseline", [HostBaseline(), HostBaseline(final_host_only_accuracy=0.0), None]
)
def test_without_a_baseline_that_counts_there_is_no_efficiency(
    baseline: HostBaseline | None,
) -> None:
    seen = fed(*([] if baseline is None else [baseline]), DASHBOARD)
    assert seen.params_efficiency_ratio() is None


def test_the_accuracy_before_training_is_no_baseline() -> None:
    seen = fed(HostBaseline(initial_accuracy=10.0), DASHBOARD)
    assert (seen.accuracy_delta(), seen.baseline_source) == (None, None)


def test_a_given_baseline_is_compared_epoch_by_epoch_and_named() -> None:
    seen = fed(host(1, 40.0), host(2, 50.0), host(3, 55.0))
    seen.compare_with({1: 41.0, 2: 45.0}, "arm 'host-only', seed 0")
    assert seen.accuracy_trajectory() == [(1, 40.0, 41.0), (2, 50.0, 45.0), (3, 55.0, None)]
    assert seen.accuracy_delta() == pytest.approx(10.0)  # the baseline's last epoch before
    assert seen.baseline_source == "arm 'host-only', seed 0"


def test_an_epoch_without_an_accuracy_is_not_in_the_trajectory() -> None:
    assert fed(host(1, 40.0), host(2), host(3, 0.0)).accuracy_trajectory() == [
        (1, 40.0, None),
        (3, 0.0, None),
    ]


def test_an_attempt_that_goes_on_from_a_checkpoint_replaces_what_came_after_it() -> None:
    seen = fed(*(host(epoch, 10.0 + epoch) for epoch in (1, 2, 3, 4)), host(3, 99.0))
    assert seen.accuracy_trajectory() == [(1, 11.0, None), (2, 12.0, None), (3, 99.0, None)]


# -- a scaling curve ------------------------------------------------------------------------------


def test_equivalent_parameters_are_interpolated_and_labelled_an_estimate() -> None:
    curve = ScalingCurve([(1_000, 50.0), (100_000, 70.0)], "the host's curve")
    seen = TrainingAnalytics(curve=curve)
    seen.feed(host(1, 60.0))
    estimate = seen.equivalent_traditional_params()
    assert estimate.params == 10_000  # half way, in log(size)
    assert estimate.note == "estimate, interpolated on the host's curve"


def test_outside_the_curve_there_is_no_estimate_and_it_says_why() -> None:
    estimate = ScalingCurve([(10, 50.0), (20, 70.0)], "the curve").size_for(71.0)
    assert estimate.params is None
    assert "71.0 % is outside the 50.0 to 70.0 % of the curve" in estimate.note


def test_a_curve_of_one_size_is_refused() -> None:
    with pytest.raises(ValueError, match="two or more"):
        ScalingCurve([(10, 1.0), (10, 2.0)], "x")


# -- attribution ----------------------------------------------------------------------------------


def slot(name: str, blueprint: str, params: int, **more: float) -> SlotSnapshot:
    return SlotSnapshot(
        slot_id=name, stage="BLENDING", blueprint_id=blueprint, seed_params=params, **more
    )  # type: ignore[arg-type]


SLOTS = (
    slot("early", "conv_light", 37_000),
    slot("mid", "attention", 2_000),
    slot("late", "norm", 100),
)


def test_contributions_carry_blueprint_parameters_and_points_per_ten_thousand() -> None:
    shapley: dict[str, float | None] = {"early": 1.2, "mid": 2.8, "late": 0.9}
    matrix = CounterfactualMatrix(epoch=5, slots=["early", "mid", "late"], shapley_values=shapley)
    found = fed(*SLOTS, matrix).seed_contributions()
    assert list(found) == ["early", "mid", "late"]
    assert [one.blueprint for one in found.values()] == ["conv_light", "attention", "norm"]
    efficiency = [round(one.efficiency or 0, 2) for one in found.values()]
    assert efficiency == [0.32, 14.0, 90.0]
    assert {one.method for one in found.values()} == {"shapley"}


def test_without_shapley_values_the_marginals_stand_and_are_named_so() -> None:
    matrix = CounterfactualMatrix(epoch=1, slots=["mid"], marginal_contributions={"mid": 1.5})
    (one,) = fed(matrix).seed_contributions().values()
    assert (one.contribution, one.method) == (1.5, "marginal")
    assert (one.params, one.efficiency, one.blueprint) == (None, None, None)


def test_of_an_ablation_the_slots_removal_cost_stands() -> None:
    matrix = CounterfactualMatrix(epoch=1, slots=["early"])  # its cells give no figures
    seen = slot("early", "norm", 100, counterfactual_contribution=2.0)
    (one,) = fed(seen, matrix).seed_contributions().values()
    assert (one.contribution, one.method) == (2.0, "removal")


def test_without_a_matrix_a_slots_removal_cost_stands_and_is_named_so() -> None:
    found = fed(slot("mid", "norm", 0, counterfactual_contribution=2.0), SLOTS[0])
    (one,) = found.seed_contributions().values()
    assert (one.slot, one.contribution, one.method) == ("mid", 2.0, "removal")
    assert one.efficiency is None  # of a slot without parameters


def decision(
    mine: FactoredAction | None, theirs: FactoredAction | None = None, reward: float | None = None
) -> PolicySnapshot:
    return PolicySnapshot(action=mine, heuristic_action=theirs, reward_total=reward)


def test_the_policy_is_compared_with_the_heuristic_part_by_part() -> None:
    wait, grow = FactoredAction("WAIT"), FactoredAction("GERMINATE", "mid", "norm", "linear")
    other = FactoredAction("GERMINATE", "mid", "conv", "linear")
    seen = fed(
        decision(wait, wait, 1.0),
        decision(grow, other, -1.0),
        decision(wait, None, 50.0),
        decision(wait, grow),
    )
    compared = seen.policy_vs_heuristic()
    assert (compared.decisions, compared.compared) == (4, 3)
    assert compared.agreement_rate == pytest.approx(1 / 3)
    assert compared.differing_parts == {"blueprint": 2, "op": 1, "slot": 1, "blend": 1}
    assert compared.commonest[0] == (
        "GERMINATE(mid, norm, linear)", "GERMINATE(mid, conv, linear)", 1,
    )  # fmt: skip
    assert (compared.reward_agreeing, compared.reward_differing) == (1.0, -1.0)
    assert seen.action_distribution() == {"WAIT": 0.75, "GERMINATE": 0.25}
    assert seen.policy.recent(2) == ["WAIT", "WAIT"]


def test_system_metrics_whose_steps_are_seconds_do_not_move_the_training_step() -> None:
    seen = TrainingAnalytics()
    for step, values in ((4, {"train/loss": 1.0}), (1200, {"sys/cpu_percent": 90.0})):
        payload = Metrics(dict[str, float | None](values))
        seen.feed(Event(VERSION, "t", 0, 0, 0, 0, payload, step))
    assert (seen.step, seen.ranks.standings()[0].step) == (4, 4)
    assert seen.latest("sys/cpu_percent") == 90.0


# -- bounds and sources ---------------------------------------------------------------------------


def test_memory_is_bounded() -> None:
    seen = TrainingAnalytics()
    for epoch in range(3 * KEPT_SNAPSHOTS):
        seen.feed(host(epoch, 50.0, train_loss=float(epoch)), step=epoch)
        seen.feed(decision(FactoredAction("WAIT")))
    assert len(seen.accuracy_trajectory()) == KEPT_SNAPSHOTS
    assert seen.policy_vs_heuristic().decisions == KEPT_SNAPSHOTS
    curve = seen.trajectory("train/loss")
    assert len(curve) <= 130
    assert (curve[0], curve[-1]) == (0.0, 3 * KEPT_SNAPSHOTS - 1)  # from the first to the last


def emit(folder: Path) -> None:
    with Emitter(spool_path(folder / "attempt-0000", 0), trial="t", attempt=0) as emitter:
        emitter.snapshot(HostBaseline(final_host_only_accuracy=62.3))
        for step, loss in enumerate((3.0, 2.0, 1.0)):
            emitter.metrics({"train/loss": loss, "train/empty": None}, step=step)
        emitter.snapshot(DASHBOARD, step=3)
        emitter.snapshot(SLOTS[0], step=3)


def test_spools_alone_parquet_alone_and_events_in_process_say_the_same(tmp_path: Path) -> None:
    emit(tmp_path)
    spooled = analytics_of(tmp_path)
    archive_events(tmp_path, remove_spools=True)
    assert not list(tmp_path.glob("*/spool/*.jsonl"))
    archived = analytics_of(tmp_path)
    for seen in (spooled, archived):
        assert seen.params_efficiency_ratio() == pytest.approx(0.877, abs=5e-4)
        assert seen.trajectory("train/loss") == [3.0, 2.0, 1.0]
        assert seen.latest("train/empty") is None
        assert "train/empty" not in seen.measured()
        assert (seen.step, seen.epoch) == (3, 47.0)
    assert spooled.events == archived.events


def test_events_that_are_archived_and_still_spooled_count_once(tmp_path: Path) -> None:
    emit(tmp_path)
    before = analytics_of(tmp_path).events
    archive_events(tmp_path, remove_spools=False)
    assert analytics_of(tmp_path).events == before


def test_dense_traces_of_many_megabytes_are_read_in_little_memory(tmp_path: Path) -> None:
    random = Random(0)
    with Emitter(spool_path(tmp_path / "attempt-0000", 0), trial="t", attempt=0) as emitter:
        for step in range(400):
            emitter.trace("dense", {"bytes": random.randbytes(25_000).hex()}, step=step)
    sources = []
    for archived in (False, True):
        if archived:
            archive_events(tmp_path, remove_spools=True)
        tracemalloc.start()
        try:
            seen = analytics_of(tmp_path)
            sources.append(tracemalloc.get_traced_memory()[1] / 2**20)
        finally:
            tracemalloc.stop()
        assert seen.traces[-1].step == 399
    assert max(sources) < 10, f"MiB at most, from spool and archive: {sources}"


def test_analytics_load_no_heavy_library() -> None:
    import subprocess

    code = (
        "import sys, telemetry.analytics; "
        "print([n for n in ('torch', 'ray', 'mlflow', 'pyarrow', 'numpy') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
