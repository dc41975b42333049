from __future__ import annotations

import math

import pytest

from telemetry import EpisodeContext, Event, EventError, Mark, Metrics, Trace, decode, encode
from telemetry.events import VERSION, Payload, plain


def event_with(payload: Payload, step: int | None = None) -> Event:
    return Event(VERSION, "4c54", 0, 0, 7, 1_700_000_000_000, payload, step)


def test_none_zero_nan_and_infinities_stay_apart() -> None:
    values = {"n": None, "zero": 0.0, "nan": math.nan, "up": math.inf, "down": -math.inf}
    payload = decode(encode(event_with(Metrics(values), step=3))).payload
    assert isinstance(payload, Metrics)
    assert payload.values["n"] is None
    assert payload.values["zero"] == 0.0
    assert math.isnan(payload.values["nan"] or 0.0)
    assert payload.values["up"] == math.inf
    assert payload.values["down"] == -math.inf


def test_a_trace_keeps_nan_in_nested_data() -> None:
    from telemetry.nonfinite import find

    data = {"batches": [{"loss": math.nan, "a/b~c": math.inf}, {"loss": None}]}
    before = event_with(Trace("dense", "loss_spike", data, find(data)), step=1)
    payload = decode(encode(before)).payload
    assert isinstance(payload, Trace)
    first, second = payload.data["batches"]
    assert math.isnan(first["loss"])
    assert first["a/b~c"] == math.inf
    assert second["loss"] is None


def test_context_facts_find_their_fields_and_the_rest_stays() -> None:
    context = EpisodeContext.of(
        {"host_params": 12, "seeds": {"torch": 4}, "git_dirty": "?", "x": 1}
    )
    again = decode(encode(event_with(context))).payload
    assert again == context
    assert (context.host_params, context.seeds, context.git_dirty) == (12, {"torch": 4}, None)
    assert context.facts == {"git_dirty": "?", "x": 1}
    merged = context.merged(EpisodeContext.of({"git_dirty": True, "y": 2}))
    assert merged.git_dirty is True
    assert merged.host_params == 12
    assert merged.facts == {"git_dirty": "?", "x": 1, "y": 2}


def test_tiers_follow_from_the_payload() -> None:
    payloads: list[Payload] = [EpisodeContext(), Mark("started"), Metrics({}), Trace("t")]
    assert [event_with(payload).tier for payload in payloads] == [1, 1, 2, 3]


def test_version_1_lines_stay_readable() -> None:
    line = (
        b'{"v":1,"trial":"4c54","attempt":2,"rank":1,"seq":7,"time_ms":17,"payload":{"kind":'
        b'"metrics","values":{"a":0.5,"b":null},"nonfinite":{"b":"nan"}},"step":3,"epoch":0.5}'
    )
    event = decode(line)
    assert (event.attempt, event.rank, event.seq, event.step, event.epoch) == (2, 1, 7, 3, 0.5)
    assert isinstance(event.payload, Metrics)
    assert math.isnan(event.payload.values["b"] or 0.0)


@pytest.mark.parametrize(
    "line", [b"", b'{"v":1,"trial":"4c', b'{"v":99}', b'{"v":2,"trial":"x"}', b"\xff\x00", b"[]"]
)
def test_a_line_that_is_no_event_is_refused(line: bytes) -> None:
    with pytest.raises(EventError):
        decode(line)


def test_a_newer_event_is_refused_by_its_version() -> None:
    written, newer = b'"v":%d' % VERSION, b'"v":%d' % (VERSION + 1)
    line = encode(event_with(Mark("started")))
    with pytest.raises(EventError, match=f"version {VERSION + 1}"):
        decode(line.replace(written, newer))


def test_plain_takes_numpy_and_odd_objects() -> None:
    import numpy as np

    data = {"a": np.float64(1.5), "b": np.arange(3), 3: {2, 1}, "d": object, "e": np.float32(2)}
    assert plain(data) == {"a": 1.5, "b": [0, 1, 2], "3": [1, 2], "d": str(object), "e": 2.0}
    assert type(plain(np.float64(1.5))) is float
