"""What training health says, and what it stays silent about."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from telemetry import Emitter, Event, Mark, Metrics, SpoolReader, Trace, spool_path
from telemetry.analytics import RunningAverage, TrainingAnalytics, Trajectory
from telemetry.contracts import DenseTrace, PolicySnapshot
from telemetry.dense import DenseRecorder
from telemetry.events import VERSION, Payload


def event(payload: Payload, *, rank: int = 0, step: int | None = None, at_s: float = 0.0) -> Event:
    return Event(VERSION, "t", 0, rank, 0, int(at_s * 1000), payload, step)


def metrics(rank: int, step: int, at_s: float, **values: float) -> Event:
    named: dict[str, float | None] = {f"train/{key}": value for key, value in values.items()}
    return event(Metrics(named), rank=rank, step=step, at_s=at_s)


def losses(*values: float) -> TrainingAnalytics:
    seen = TrainingAnalytics()
    for step, value in enumerate(values):
        seen.feed(metrics(0, step, step, loss=value))
    return seen


def kinds(seen: TrainingAnalytics) -> list[str]:
    return [alert.kind for alert in seen.training_health().alerts]


# -- losses and gradients -------------------------------------------------------------------------


@pytest.mark.parametrize(("slope", "trend"), [(-0.05, "falling"), (0.0, "flat"), (0.05, "rising")])
def test_the_trend_of_the_loss(slope: float, trend: str) -> None:
    report = losses(*(2 + slope * step for step in range(20))).training_health()
    assert report.loss_trend == trend
    assert ("loss_trend" in [a.kind for a in report.alerts]) == (trend == "rising")


def test_a_few_losses_are_no_trend() -> None:
    assert losses(1, 2, 3, 4).training_health().loss_trend is None


def test_a_loss_is_compared_before_the_average_takes_it_in() -> None:
    assert kinds(losses(1.0, 2.0)) == []  # exactly twice: thresholds are strict
    assert kinds(losses(1.0, 2.001)) == ["loss_spike"]


def test_nan_is_told_once_for_each_metric_with_its_step_and_counted_every_time() -> None:
    report = losses(1.0, math.nan, math.inf, math.nan).training_health()
    (alert,) = report.alerts
    assert (alert.level, alert.kind, alert.step) == ("critical", "nonfinite", 1)
    assert alert.text == "train/loss is nan at step 1"
    assert (report.nonfinite, report.level) == (3, "critical")
    assert report.loss_average == 1.0  # NaN does not poison the average


def test_nan_on_another_rank_is_found_too() -> None:
    seen = TrainingAnalytics()
    seen.feed(metrics(3, 7, 0.0, loss=math.nan))
    assert seen.training_health().alerts[0].text == "train/loss is nan on rank 3 at step 7"
    assert seen.latest("train/loss") is None  # trajectories are rank 0's


def test_a_gradient_is_measured_against_its_average() -> None:
    seen = TrainingAnalytics()
    for step, norm in enumerate((1.0, 1.0, 100.0, 10_000.0)):
        seen.feed(metrics(0, step, step, grad_norm=norm))
    report = seen.training_health()
    assert [(a.kind, a.step) for a in report.alerts] == [("gradient_explosion", 3)]
    assert report.gradient_norm == 10_000.0


# -- the policy -----------------------------------------------------------------------------------


def test_value_collapse_needs_three_values_and_entropy_one() -> None:
    seen = TrainingAnalytics()
    for count, (std, entropy) in enumerate([(0.001, 1.2), (0.001, 1.1), (0.001, 0.05)]):
        report = seen.training_health()
        assert report.value_collapse is None
        assert report.entropy_collapse is (False if count else None)
        seen.feed(PolicySnapshot(value_std=std, entropy=entropy))
    report = seen.training_health()
    assert (report.value_collapse, report.entropy_collapse) == (True, True)
    assert {a.kind for a in report.alerts} == {"value_collapse", "entropy_collapse"}


# -- ranks ----------------------------------------------------------------------------------------


def started(ranks: int) -> Event:
    return event(Mark("started", {"ranks": ranks}))


def test_a_rank_that_stopped_while_another_goes_on_is_silent() -> None:
    seen = TrainingAnalytics()
    seen.feed(started(2))
    for step in range(10):
        seen.feed(metrics(0, step, 10 * step, loss=1.0))
        if step < 3:
            seen.feed(metrics(1, step, 10 * step + 1, loss=1.0))
    report = seen.training_health()
    assert report.silent_ranks == (1,)
    assert report.alerts[-1].text == "rank 1 last spoke at step 2, 7 steps behind"


def test_ranks_that_wait_together_are_not_silent() -> None:
    seen = TrainingAnalytics()
    seen.feed(started(2))
    for rank in (0, 1):
        seen.feed(metrics(rank, 5, 1.0, loss=1.0))
    seen.feed(event(Metrics({"eval/loss": 1.0}), step=5, at_s=500.0))  # rank 0 alone evaluates
    assert seen.training_health().silent_ranks == ()


def test_a_rank_that_never_spoke_is_silent_once_the_others_have_gone_on() -> None:
    seen = TrainingAnalytics()
    seen.feed(started(3))
    for rank in (0, 1):
        seen.feed(metrics(rank, 4, 100.0, loss=1.0))
    assert seen.training_health().silent_ranks == (2,)
    assert seen.ranks.count == 3


def test_a_rank_that_closed_in_order_is_not_silent() -> None:
    seen = TrainingAnalytics()
    seen.feed(metrics(1, 1, 0.0, loss=1.0))
    seen.feed(event(Mark("closed", {}), rank=1))
    seen.feed(metrics(0, 9, 1000.0, loss=1.0))
    assert seen.training_health().silent_ranks == ()


def test_the_end_of_a_rank_that_said_nothing_else_is_taken_in() -> None:
    seen = TrainingAnalytics()
    seen.feed(metrics(1, 1, 0.0, loss=1.0))
    seen.feed(Mark("closed"))  # of rank 0
    seen.feed(metrics(1, 9, 1000.0, loss=1.0))
    assert seen.ranks.count == 2
    assert seen.training_health().silent_ranks == ()


def test_the_slowest_rank_is_the_last_to_reach_the_step_they_share() -> None:
    seen = TrainingAnalytics()
    for rank, late_s in ((0, 0.0), (1, 2.5), (2, 0.5)):
        seen.feed(metrics(rank, 1, 10 + late_s, loss=1.0))
    slowest = seen.ranks.slowest()
    assert slowest is not None
    assert (slowest.rank, slowest.late_s, slowest.behind_steps) == (1, 2.5, 0)


def test_another_attempt_starts_with_its_own_ranks() -> None:
    seen = TrainingAnalytics()
    seen.feed(started(4))
    seen.feed(Event(VERSION, "t", 1, 0, 0, 0, Mark("resumed", {"ranks": 2})))
    assert seen.ranks.count == 2


# -- monitors of hidden states --------------------------------------------------------------------


def watched(*rows: tuple[float | None, float]) -> TrainingAnalytics:
    """`health/collapsed` and `health/nonfinite` of steps 0, 10, 20, …; the ratio is 0.97."""
    seen = TrainingAnalytics()
    for number, (collapsed, nonfinite) in enumerate(rows):
        values = {
            "health/svd_ratio": 0.97 if collapsed is not None else None,
            "health/activation_energy": math.nan if nonfinite else 3.0,
            "health/collapsed": collapsed,
            "health/nonfinite": nonfinite,
        }
        seen.feed(event(Metrics(values), step=10 * number))
    return seen


def test_a_collapse_is_told_when_it_begins_and_again_when_it_comes_back() -> None:
    report = watched((None, 0), (0, 0), (1, 0), (1, 0), (0, 0), (1, 0)).training_health()
    told = [(alert.level, alert.kind, alert.step) for alert in report.alerts]
    assert told == [
        ("warning", "structural_collapse", 20),
        ("warning", "structural_collapse", 50),
    ]
    assert report.alerts[0].text == "hidden states collapse (SVD ratio 0.970) at step 20"


def test_a_window_that_fills_again_is_no_end_of_a_collapse() -> None:
    assert kinds(watched((1, 0), (None, 0), (1, 0))) == ["structural_collapse"]


def test_hidden_states_that_are_nan_are_told_once_and_counted() -> None:
    report = watched((0, 0), (None, 1), (None, 1)).training_health()
    (alert,) = report.alerts
    assert (alert.level, alert.kind, alert.step) == ("critical", "nonfinite_activations", 10)
    assert alert.text == "hidden states are NaN or infinite at step 10"
    assert report.nonfinite == 2


# -- telemetry itself -----------------------------------------------------------------------------


def test_thinned_and_held_events_are_told() -> None:
    seen = TrainingAnalytics()
    seen.feed(event(Mark("thinned", {"events": 5})))
    seen.feed(event(Mark("closed", {"thinned": 7, "write_errors": 2})))
    report = seen.training_health()
    assert (report.thinned, report.held) == (7, 2)
    assert [a.kind for a in report.alerts] == ["thinned", "held"]


def test_dense_traces_are_told_with_what_set_them_off() -> None:
    seen = TrainingAnalytics()
    reason = "loss_spike:3.2x,gate_failure:mid"
    seen.feed(DenseTrace(trigger_reason=reason, window_start_epoch=3, window_end_epoch=5))
    seen.feed(Trace("attention", "entropy"), step=9)
    texts = [alert.text for alert in seen.training_health().alerts]
    assert texts == [
        "dense trace from epoch 3: loss_spike:3.2x,gate_failure:mid",
        "dense trace at step 9: entropy",
    ]


def test_traces_that_were_asked_for_are_no_alerts(tmp_path: Path) -> None:
    path = spool_path(tmp_path / "attempt-0000", 0)
    with (
        Emitter(path, trial="t", attempt=0) as emitter,
        DenseRecorder(emitter, "research") as recorder,
    ):
        for step in range(40):
            loss = 5.0 if step == 25 else 1.0
            recorder.batch(step=step, epoch=1 + step // 10, batch_idx=step % 10, loss=loss)
    seen = TrainingAnalytics()
    seen.feed_all(SpoolReader(path).read())
    assert sum(isinstance(e.payload, DenseTrace) for e in SpoolReader(path).read()) == 4
    texts = [alert.text for alert in seen.training_health().alerts]
    assert texts == ["dense trace from epoch 3: forced,loss_spike:5.0x"]


def test_alerts_are_bounded_and_the_grave_ones_stay() -> None:
    seen = TrainingAnalytics()
    seen.feed(metrics(0, 1, 0.0, loss=math.nan))
    for step in range(500):
        seen.feed(Trace("t", "x"), step=step)
    alerts = seen.training_health().alerts
    assert len(alerts) == 100
    assert (alerts[0].level, alerts[0].kind) == ("critical", "nonfinite")
    assert [alert.step for alert in alerts[1:]] == list(range(401, 500))


# -- averages -------------------------------------------------------------------------------------


def test_an_average_gives_what_it_was_before() -> None:
    average = RunningAverage(alpha=0.5)
    assert [average.add(value) for value in (4.0, None, math.nan, 8.0)] == [None, 4.0, 4.0, 4.0]
    assert average.value == 6.0


def test_a_short_trajectory_is_whole() -> None:
    line = Trajectory(limit=8)
    for step in range(7):
        line.add(step, float(step))
    assert line.values() == [0, 1, 2, 3, 4, 5, 6]
