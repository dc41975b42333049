"""Every typed contract survives its way through a spool, and what it measured becomes rows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry import Emitter, EpisodeContext, Event, Mark, Metrics, Trace, decode, encode, fold
from telemetry.contracts import (
    STAGES,
    BatchMetrics,
    Contract,
    CounterfactualMatrix,
    CounterfactualResult,
    DenseTrace,
    FactoredAction,
    GateEvaluationTrace,
    HostBaseline,
    HostSnapshot,
    PolicySnapshot,
    RewardComponents,
    SlotSnapshot,
    Stage,
)
from telemetry.events import VERSION, Payload, values_of
from telemetry.spool import spool_path

PAYLOADS = tuple(
    kind for kind in get_args(Payload) if kind not in (EpisodeContext, Metrics, Trace, Mark)
)

# -- any contract at all, built from its own annotations -------------------------------------------

numbers = st.floats(allow_nan=True, allow_infinity=True)
names = st.text(min_size=1, max_size=6)


def contracts(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Instances with any fields, None and non-finite numbers included, and any left out."""
    hints = get_type_hints(kind)
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for field in msgspec.structs.fields(kind):
        if field.name == "nonfinite":
            continue
        strategy = values_for(hints[field.name])
        (required if field.required else optional)[field.name] = strategy
    return st.fixed_dictionaries(required, optional=optional).map(lambda given: kind(**given))


def values_for(hint: Any) -> st.SearchStrategy[Any]:
    plain = {
        float: numbers,
        int: st.integers(-(2**53), 2**53),
        bool: st.booleans(),
        str: st.text(max_size=8),
        type(None): st.none(),
        Stage: st.sampled_from(STAGES),
    }
    if hint in plain:
        return plain[hint]
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return contracts(hint)
    arguments = get_args(hint)
    origin = getattr(hint, "__origin__", None)
    if origin is list:
        return st.lists(values_for(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(names, values_for(arguments[1]), max_size=3)
    return st.one_of(*(values_for(each) for each in arguments))


def same(one: Any, other: Any) -> bool:
    """Equal, with NaN equal to NaN and None to nothing but None."""
    if isinstance(one, msgspec.Struct):
        return type(one) is type(other) and all(
            same(getattr(one, name), getattr(other, name)) for name in one.__struct_fields__
        )
    if isinstance(one, float) and isinstance(other, int | float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


def there_and_back(payload: Any, step: int | None = None) -> Any:
    event = Event(VERSION, "4c54", 0, 1, 7, 1_700_000_000_000, payload, step)
    line = encode(event)
    assert b"\n" not in line
    again = decode(line)
    assert (again.rank, again.seq, again.step) == (1, 7, step)
    return again.payload


@pytest.mark.parametrize("kind", PAYLOADS, ids=lambda kind: kind.__name__)
def test_any_contract_comes_back_from_a_spool_line_as_it_was(kind: type[Contract]) -> None:
    @settings(max_examples=60, deadline=None)
    @given(contracts(kind))
    def check(contract: Contract) -> None:
        assert same(there_and_back(contract), contract)

    check()


# -- by hand, where the fields say what is meant ---------------------------------------------------


def test_not_measured_is_not_zero() -> None:
    kept = there_and_back(HostSnapshot(epoch=0, train_loss=0.0, val_loss=None, host_params=0))
    assert kept.train_loss == 0.0
    assert kept.host_params == 0
    assert kept.val_loss is None
    assert kept.train_accuracy is None


def test_non_finite_numbers_survive_however_deep_they_are() -> None:
    trace = DenseTrace(
        trigger_reason="loss_nonfinite",
        window_start_epoch=1,
        window_end_epoch=2,
        batch_metrics=[
            BatchMetrics(epoch=1, batch_idx=0, loss=2.0, seed_grad_norms={"a/b~c": math.inf}),
            BatchMetrics(epoch=1, batch_idx=1, loss=math.nan),
        ],
        gradient_histograms={"mlp": [0.5, math.nan, None]},
        gradient_flow={"mlp": -math.inf},
    )
    kept = there_and_back(trace, step=9)
    assert kept.batch_metrics[0].seed_grad_norms == {"a/b~c": math.inf}
    assert kept.batch_metrics[0].loss == 2.0
    assert math.isnan(kept.batch_metrics[1].loss)
    assert math.isnan(kept.gradient_histograms["mlp"][1])
    assert kept.gradient_histograms["mlp"][2] is None
    assert kept.gradient_flow == {"mlp": -math.inf}
    policy = PolicySnapshot(
        observation_vector=[1.0, math.nan, None],
        action=FactoredAction("GERMINATE", "mid"),
        reward_components=RewardComponents(compute_rent=-math.inf),
    )
    seen = there_and_back(policy)
    assert math.isnan(seen.observation_vector[1])
    assert seen.observation_vector[2] is None
    assert seen.reward_components.compute_rent == -math.inf
    assert str(seen.action) == "GERMINATE(mid)"


@pytest.mark.parametrize("kind", [*PAYLOADS, EpisodeContext], ids=lambda kind: kind.__name__)
def test_a_contract_is_frozen(kind: type[msgspec.Struct]) -> None:
    assert kind.__struct_config__.frozen
    with pytest.raises(AttributeError):
        HostBaseline(initial_loss=1.0).initial_loss = 2.0  # type: ignore[misc]


def test_fields_that_a_newer_release_added_are_passed_over() -> None:
    line = encode(Event(VERSION, "4c54", 0, 0, 0, 17, HostSnapshot(epoch=3, val_loss=1.5)))
    newer = line.replace(b'"val_loss":1.5', b'"val_loss":1.5,"smoothness":{"x":[1,null]}')
    assert newer != line
    assert decode(newer).payload == HostSnapshot(epoch=3, val_loss=1.5)


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b'{"kind":"metrics","values":{"a":0.5,"b":null}}', Metrics),
        (b'{"kind":"mark","name":"started","facts":{"ranks":2}}', Mark),
        (b'{"kind":"context","base_seed":4,"facts":{"x":1}}', EpisodeContext),
        (b'{"kind":"trace","name":"t","data":{"b":[null]},"nonfinite":{"/b/0":"nan"}}', Trace),
    ],
)
def test_what_version_1_wrote_is_read(payload: bytes, kind: type) -> None:
    line = b'{"v":1,"trial":"4c54","attempt":0,"rank":0,"seq":1,"time_ms":17,"payload":%b}'
    assert isinstance(decode(line % payload).payload, kind)


def test_every_measure_becomes_a_row_and_what_was_not_measured_becomes_none() -> None:
    host = HostSnapshot(
        epoch=2, val_accuracy=0.0, host_params=12, seed_grad_norms={"mid": 0.5, "late": None}
    )
    rows = {key: value for key, value in host.values().items() if value is not None}
    assert rows == {"eval/accuracy": 0.0, "params/host": 12.0, "grad_norm/mid": 0.5}
    slot = SlotSnapshot(slot_id="mid", stage="BLENDING", last_gate_passed=False).values()
    assert slot["slot/mid/stage"] == 4.0
    assert slot["slot/mid/gate_passed"] == 0.0
    assert slot["slot/mid/alpha"] is None
    parts = RewardComponents(stage_bonus=0.5, action_name="WAIT", action_success=True)
    policy = PolicySnapshot(reward_total=0.5, reward_components=parts).values()
    assert policy["reward/stage_bonus"] == 0.5
    assert policy["reward/action_success"] == 1.0
    assert policy["reward/total"] == 0.5
    assert "reward/action_name" not in policy
    matrix = CounterfactualMatrix(
        epoch=2,
        slots=["early", "mid"],
        configs=[CounterfactualResult(config=[True, False], val_accuracy=63.5)],
        marginal_contributions={"early": 1.3},
        interaction_effects={"early+mid": -0.1},
        shapley_values=None,
    )
    assert matrix.values() == {"marginal/early": 1.3, "interaction/early+mid": -0.1}


def test_the_total_of_the_components_stands_for_a_reward_that_was_not_given() -> None:
    parts = RewardComponents(total_reward=-0.5)
    assert PolicySnapshot(reward_components=parts).values()["reward/total"] == -0.5


def test_contexts_and_dense_traces_give_no_rows() -> None:
    gate = GateEvaluationTrace(gate="G2", passed=False, checks_failed=["epochs_in_stage"])
    trace = DenseTrace(
        trigger_reason="gate_failure:mid",
        window_start_epoch=1,
        window_end_epoch=4,
        gate_evaluation_details=gate,
    )
    assert values_of(trace) is None
    assert values_of(HostBaseline(initial_loss=1.0)) is None
    tiers = [
        Event(VERSION, "t", 0, 0, 0, 0, payload).tier
        for payload in (HostBaseline(), HostSnapshot(epoch=0), PolicySnapshot(), trace)
    ]
    assert tiers == [1, 2, 2, 3]


def test_snapshots_become_rows_of_the_fold_once(tmp_path: Path) -> None:
    with Emitter(spool_path(tmp_path / "attempt-0000", 0), trial="4c54", attempt=0) as emitter:
        emitter.snapshot(HostSnapshot(epoch=1, val_loss=math.nan, val_accuracy=0.0), step=8)
        emitter.snapshot(
            SlotSnapshot(slot_id="mid", stage="TRAINING", last_gate_passed=True), step=8
        )
        emitter.snapshot(PolicySnapshot(value_estimate=None, entropy=1.25), step=8)
        emitter.snapshot(
            DenseTrace(trigger_reason="forced", window_start_epoch=1, window_end_epoch=1), step=8
        )
    rows = {row.key: row.value for row in fold(tmp_path, ended=True)}
    assert rows.pop("eval/loss") != 0.0
    assert rows == {
        "eval/accuracy": 0.0,
        "slot/mid/stage": 3.0,
        "slot/mid/epochs_in_stage": 0.0,
        "slot/mid/gate_passed": 1.0,
        "policy/entropy": 1.25,
    }
    assert fold(tmp_path, ended=True) == []
