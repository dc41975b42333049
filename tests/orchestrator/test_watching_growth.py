"""What a watcher sees of a network that grows: its baseline, its seeds and what was undone."""

from __future__ import annotations

import pytest

from orchestrator import Study
from orchestrator.home import Home
from orchestrator.watching import Watcher
from telemetry.contracts import (
    CounterfactualMatrix,
    FactoredAction,
    HostSnapshot,
    PolicySnapshot,
    SlotSnapshot,
)
from telemetry.events import INTERVENTION
from tests.orchestrator.quick_study import (
    finish,
)
from tests.orchestrator.watching import (
    held,
    study_of,
    trial_of,
)


@pytest.fixture
def study(home: Home) -> Study:
    return study_of(home)


def grow(emitter: object, accuracies: dict[int, float], total: int = 123) -> None:
    for epoch, accuracy in accuracies.items():
        emitter.snapshot(  # type: ignore[attr-defined]
            HostSnapshot(epoch=epoch, val_accuracy=accuracy, host_params=100, total_params=total),
            step=epoch,
        )


def test_growth_is_compared_with_the_comparators_run_of_the_same_seed_and_says_so(
    study: Study,
) -> None:
    watcher = Watcher(study)
    with held(study, "plain", seed=1) as other:
        grow(other.emitter, {1: 5.0})
    with held(study, "plain") as host, held(study, "better") as grown:
        grow(host.emitter, {1: 60.0, 2: 62.3}, total=100)
        grow(grown.emitter, {1: 61.0, 2: 67.2})
        grown.emitter.snapshot(
            SlotSnapshot(slot_id="mid", stage="BLENDING", blueprint_id="norm", seed_params=100),
            step=2,
        )
        shapley: dict[str, float | None] = {"mid": 0.9}
        grown.emitter.snapshot(
            CounterfactualMatrix(epoch=2, slots=["mid"], shapley_values=shapley), step=2
        )
        wait = FactoredAction("WAIT")
        grown.emitter.snapshot(
            PolicySnapshot(action=wait, heuristic_action=wait, entropy=1.2, value_std=0.4), step=2
        )
        watcher.look()
        growth = watcher.look().growth
        host.publish(f1=1.0)
        grown.publish(f1=2.0)
    assert growth is not None
    assert growth.accuracy_delta == pytest.approx(4.9)
    assert growth.efficiency_ratio == pytest.approx(0.877, abs=5e-4)
    host_id = trial_of(study, "plain").identity[:8]
    assert growth.baseline_source == f"arm 'plain' with the same seed ({host_id})"
    (seed,) = growth.contributions
    assert (seed.contribution, seed.efficiency, seed.blueprint) == (0.9, 90.0, "norm")
    assert (growth.entropy, growth.agreement_rate, growth.recent_actions) == (1.2, 1.0, ("WAIT",))
    after = watcher.look().growth
    assert after is not None
    assert (after.running, after.accuracy_delta) == (False, growth.accuracy_delta)


def test_events_of_a_comparator_that_cannot_be_read_are_an_alert_and_not_the_end(
    study: Study,
) -> None:
    with held(study, "plain") as host, held(study, "better") as grown:
        grow(host.emitter, {1: 60.0})
        grow(grown.emitter, {1: 61.0})
        grown.emitter.snapshot(SlotSnapshot(slot_id="mid", stage="BLENDING"), step=1)
        host.publish(f1=1.0)
        folder = study.home.trial(host.trial.identity)
        (folder / "events.parquet").write_bytes(b"not a Parquet file")
        frame = Watcher(study).look()
    assert frame.growth is not None
    assert frame.growth.accuracy_delta is None
    (notice,) = frame.notices
    assert (notice.level, notice.kind) == ("warning", "damaged")
    assert notice.text.startswith("plain seed 0: its events cannot be read: ")


def test_growth_without_a_baseline_has_no_difference(study: Study) -> None:
    with held(study, "better") as grown:
        grow(grown.emitter, {1: 61.0})
        grown.emitter.snapshot(SlotSnapshot(slot_id="mid", stage="DORMANT"), step=1)
        growth = Watcher(study).look().growth
    assert growth is not None
    assert (growth.accuracy, growth.accuracy_delta, growth.baseline_source) == (61.0, None, None)
    assert (growth.efficiency_ratio, growth.agreement_rate, growth.contributions) == (
        None,
        None,
        (),
    )


def test_growth_is_of_a_trial_that_grows_though_a_host_alone_is_further(study: Study) -> None:
    wait = PolicySnapshot(action=FactoredAction("WAIT"))
    watcher = Watcher(study)
    with held(study, "plain") as host:
        with held(study, "better") as grown:
            for one, epochs in ((host, {1: 60.0, 9: 70.0}), (grown, {1: 61.0})):
                grow(one.emitter, epochs)
                one.emitter.snapshot(wait, step=max(epochs))
            grown.emitter.snapshot(SlotSnapshot(slot_id="mid", stage="DORMANT"), step=1)
            running = watcher.look().growth
            grown.publish(f1=2.0)
        ended = watcher.look().growth
    assert running is not None
    assert (running.arm, running.running) == ("better", True)
    assert ended is not None
    assert (ended.arm, ended.running) == ("better", False)


def test_what_a_trial_undid_is_an_alert(study: Study) -> None:
    with held(study, "better") as grown:
        done = {"done": "epoch 3 was undone"}
        reason = "governor: nonfinite in epoch 3"
        grown.emitter.trace(INTERVENTION, done, step=30, reason=reason)
        (notice,) = Watcher(study).look().notices
    assert notice.level == "warning"
    assert "governor: nonfinite in epoch 3 at step 30: epoch 3 was undone" in notice.text


def test_a_study_that_grows_nothing_shows_no_growth(study: Study) -> None:
    finish(study)
    assert Watcher(study).look().growth is None
