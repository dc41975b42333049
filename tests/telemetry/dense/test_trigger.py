"""What sets a dense trace off, and what does not."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from telemetry.contracts import HostSnapshot, PolicySnapshot, SlotSnapshot
from telemetry.dense import DenseTraceTrigger, TriggerWatch
from telemetry.dense.trigger import kind_of


def host(epoch: int = 0, **values: Any) -> HostSnapshot:
    return HostSnapshot(epoch=epoch, **values)


def slot(**values: Any) -> SlotSnapshot:
    return SlotSnapshot(**{"slot_id": "mid", "stage": "TRAINING", "epochs_in_stage": 1, **values})


def test_the_source_s_defaults() -> None:
    trigger = DenseTraceTrigger()
    assert trigger.stage_transition
    assert trigger.loss_spike_threshold == 2.0
    assert trigger.accuracy_drop_threshold == 5.0
    assert trigger.gradient_explosion == 100.0
    assert trigger.gate_failure
    assert trigger.value_collapse
    assert trigger.entropy_collapse
    assert not trigger.force_dense
    with pytest.raises(AttributeError):
        trigger.force_dense = True  # type: ignore[misc]


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss_spike_threshold": 0.0},
        {"gradient_explosion": math.nan},
        {"ema_alpha": 0.0},
        {"ema_alpha": 1.5},
        {"value_std_window": 0},
    ],
)
def test_a_threshold_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        DenseTraceTrigger(**wrong)


def test_the_first_batch_has_nothing_to_be_compared_with() -> None:
    assert TriggerWatch().batch(loss=1e9, grad_norm=1e9) is None


@pytest.mark.parametrize(("loss", "reason"), [(2.0, None), (2.1, "loss_spike:2.1x")])
def test_a_loss_spikes_above_twice_its_average_and_not_at_it(
    loss: float, reason: str | None
) -> None:
    watch = TriggerWatch()
    watch.batch(loss=1.0)
    assert watch.batch(loss=loss) == reason


def test_a_loss_is_compared_before_it_enters_the_average() -> None:
    watch = TriggerWatch()
    watch.batch(loss=1.0)
    assert watch.batch(loss=3.2) == "loss_spike:3.2x"
    # The average is now 0.9 + 0.32 = 1.22; entered first, 3.2 would have been 2.6 times it.
    assert watch.batch(loss=2.44) is None
    assert watch.batch(loss=2.8) == "loss_spike:2.1x"  # of 0.9 x 1.22 + 0.244 = 1.342


@pytest.mark.parametrize(("norm", "reason"), [(1.0, None), (1.5, "gradient_explosion:150x")])
def test_gradients_explode_above_a_hundred_times_an_average_that_starts_at_a_hundredth(
    norm: float, reason: str | None
) -> None:
    watch = TriggerWatch()
    watch.batch(grad_norm=1e-9)
    assert watch.batch(grad_norm=norm) == reason


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_a_reason_and_does_not_poison_the_average(value: float) -> None:
    watch = TriggerWatch()
    watch.batch(loss=1.0, grad_norm=1.0)
    assert watch.batch(loss=value, grad_norm=value) == "loss_nonfinite,gradient_nonfinite"
    assert watch.batch(loss=1.0, grad_norm=1.0) is None
    assert watch.batch(loss=2.5) == "loss_spike:2.5x"


def test_what_was_not_measured_changes_nothing() -> None:
    watch = TriggerWatch()
    watch.batch(loss=1.0, grad_norm=1.0)
    before = watch.to_state()
    assert watch.batch() is None
    assert watch.epoch(host(), [], PolicySnapshot()) is None
    assert watch.to_state() == before


def test_an_average_at_or_below_zero_has_no_multiples() -> None:
    watch = TriggerWatch()
    watch.batch(loss=-1.0)
    assert watch.batch(loss=50.0) is None


@pytest.mark.parametrize(("after", "reason"), [(62.0, None), (61.5, "accuracy_drop:5.5")])
def test_accuracy_drops_by_more_than_five_points_from_epoch_to_epoch(
    after: float, reason: str | None
) -> None:
    watch = TriggerWatch()
    watch.epoch(host(0, val_accuracy=60.0))
    assert watch.epoch(host(1, val_accuracy=67.0)) is None
    assert watch.epoch(host(2, val_accuracy=None)) is None
    assert watch.epoch(host(3, val_accuracy=after)) == reason


def test_an_epoch_s_loss_is_that_of_the_validation_if_there_is_one() -> None:
    watch = TriggerWatch()
    watch.epoch(host(0, train_loss=1.0, val_loss=1.0))
    assert watch.epoch(host(1, train_loss=9.0, val_loss=1.0)) is None
    assert watch.epoch(host(2, train_loss=1.0, val_loss=3.0)) == "loss_spike:3.0x"
    without = TriggerWatch()
    without.epoch(host(0, train_loss=1.0))
    assert without.epoch(host(1, train_loss=3.0)) == "loss_spike:3.0x"


def test_batches_and_epochs_have_averages_of_their_own() -> None:
    watch = TriggerWatch()
    watch.batch(loss=1.0, grad_norm=0.1)
    assert watch.epoch(host(0, val_loss=100.0, host_grad_norm=100.0)) is None


def test_a_slot_that_enters_a_stage_or_fails_a_gate_is_named() -> None:
    watch = TriggerWatch()
    failed = slot(slot_id="late", last_gate_passed=False)
    entered = slot(epochs_in_stage=0)
    assert watch.epoch(slots=[entered, failed]) == "stage_transition:mid,gate_failure:late"
    assert watch.epoch(slots=[slot(last_gate_passed=None)]) is None
    assert watch.epoch(slots=[slot(last_gate_passed=True)]) is None


def test_a_slot_in_which_nothing_grows_enters_nothing() -> None:
    assert TriggerWatch().epoch(slots=[SlotSnapshot(slot_id="mid", stage="DORMANT")]) is None


def test_values_collapse_when_the_mean_of_the_last_three_deviations_is_small() -> None:
    watch = TriggerWatch()
    said = [watch.epoch(policy=PolicySnapshot(value_std=std)) for std in (1.0, 0.0, 0.0, 0.0)]
    assert said == [None, None, None, "value_collapse"]
    fresh = TriggerWatch()
    few = [fresh.epoch(policy=PolicySnapshot(value_std=0.0)) for _ in range(2)]
    assert few == [None, None]
    at = TriggerWatch()
    assert [at.epoch(policy=PolicySnapshot(value_std=0.01)) for _ in range(3)] == [None] * 3


def test_entropy_collapses_below_its_threshold() -> None:
    watch = TriggerWatch()
    assert watch.epoch(policy=PolicySnapshot(entropy=0.1)) is None
    assert watch.epoch(policy=PolicySnapshot(entropy=0.0)) == "entropy_collapse"


def test_conditions_can_be_switched_off_and_dense_can_be_forced() -> None:
    off = DenseTraceTrigger(
        stage_transition=False, gate_failure=False, value_collapse=False, entropy_collapse=False
    )
    watch = TriggerWatch(off)
    policy = PolicySnapshot(value_std=0.0, entropy=0.0)
    for _ in range(3):
        slots = [slot(epochs_in_stage=0, last_gate_passed=False)]
        assert watch.epoch(slots=slots, policy=policy) is None
    forced = TriggerWatch(DenseTraceTrigger(force_dense=True))
    forced.batch(loss=1.0)
    assert forced.batch(loss=3.0) == "forced,loss_spike:3.0x"
    assert forced.epoch() == "forced"


def test_a_watch_goes_on_from_its_state_as_if_never_stopped() -> None:
    def feed(watch: TriggerWatch, numbers: range) -> list[str | None]:
        said: list[str | None] = []
        for n in numbers:
            loss = 1.0 + 0.9 * math.sin(n * n) + (3.0 if n % 7 == 0 else 0.0)
            said.append(watch.batch(loss=loss, grad_norm=abs(math.sin(n)) ** 9))
            said.append(
                watch.epoch(
                    host(n, val_accuracy=60 + 5 * math.sin(n), val_loss=loss),
                    policy=PolicySnapshot(value_std=0.01 * abs(math.sin(n))),
                )
            )
        return said

    whole = feed(TriggerWatch(), range(60))
    first = TriggerWatch()
    parts = feed(first, range(31))
    state = json.loads(json.dumps(first.to_state(), allow_nan=False))
    parts += feed(TriggerWatch.from_state(state), range(31, 60))
    assert parts == whole
    assert len({each for each in whole if each}) > 5
    assert TriggerWatch.from_state({}).to_state() == TriggerWatch().to_state()


def test_the_kind_of_a_reason_leaves_its_measure_out_and_keeps_the_slot() -> None:
    assert kind_of("loss_spike:3.2x") == kind_of("loss_spike:9.9x") == "loss_spike"
    assert kind_of("gate_failure:0") != kind_of("gate_failure:1")
    assert kind_of("value_collapse") == "value_collapse"
