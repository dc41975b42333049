"""The event contract: what one rank of one attempt of a trial says, in three tiers.

An event is one JSON object on one line of a spool. `v` is the contract's version; a reader of
version n reads every older one, and counts and passes over newer ones. Fields are only ever added,
with a default.

Tier 1 is context and lifecycle (once per trial, all that is needed to run it again), tier 2 are
metrics by step, tier 3 dense traces. "Not measured" is None and is never the same as 0; NaN and
infinities survive (see `telemetry.nonfinite`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, cast

import msgspec

from telemetry import nonfinite
from telemetry.contracts import (
    Contract,
    CounterfactualMatrix,
    DenseTrace,
    HostBaseline,
    HostSnapshot,
    PolicySnapshot,
    SlotSnapshot,
    Snapshot,
)

VERSION = 2
"""2 added the typed contracts (`telemetry.contracts`); whatever version 1 wrote is read."""

Tier = Literal[1, 2, 3]
Reducer = Literal["mean", "sum", "min", "max", "last"]
MarkName = Literal["started", "resumed", "finished", "failed", "thinned", "closed"]


class EventError(ValueError):
    """A line that is no event of a version this code knows."""


class EpisodeContext(
    msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="context"
):
    """Tier 1: facts that are needed to run the trial again. None means "not known (yet)".

    A trial may send several; later ones add to earlier ones (`merged`). `facts` holds whatever
    has no field of its own.
    """

    episode_id: str | None = None
    timestamp: str | None = None
    """When training started, ISO 8601 with its offset."""
    git_commit: str | None = None
    git_dirty: bool | None = None
    base_seed: int | None = None
    torch_seed: int | None = None
    numpy_seed: int | None = None
    seeds: dict[str, int] | None = None
    """The seed of every generator, by its name (torch, numpy, python, data, ...)."""
    host_architecture: str | None = None
    host_params: int | None = None
    slot_config: dict[str, int] | None = None
    max_epochs: int | None = None
    task_type: str | None = None
    hyperparameters: dict[str, Any] | None = None
    environment: dict[str, Any] | None = None
    """The digest of the environment lock, under which a home keeps package -> version."""
    hardware: dict[str, Any] | None = None
    facts: dict[str, Any] = {}
    nonfinite: dict[str, str] = {}
    """JSON pointers, from this object, of the numbers that JSON can't hold."""

    def __post_init__(self) -> None:
        if self.nonfinite:
            for name in ("hyperparameters", "environment", "hardware", "facts"):
                nonfinite.restore({name: getattr(self, name)}, self.nonfinite)

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> EpisodeContext:
        """Sorts JSON-like facts into fields by name; what fits no field's type goes to `facts`."""
        known: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        for key, value in facts.items():
            kind = _CONTEXT_TYPES.get(key)
            try:
                if kind is None:
                    raise msgspec.ValidationError
                known[key] = msgspec.convert(value, kind)
            except msgspec.ValidationError:
                rest[key] = value
        everything = {**known, "facts": rest}
        return cls(**everything, nonfinite=nonfinite.find(everything))

    def merged(self, later: EpisodeContext) -> EpisodeContext:
        """This context with what `later` adds or corrects; facts are merged key by key."""
        fields = {
            name: mine if (theirs := getattr(later, name)) is None else theirs
            for name in _CONTEXT_TYPES
            for mine in [getattr(self, name)]
        }
        facts = {**self.facts, **later.facts}
        return EpisodeContext(
            **fields, facts=facts, nonfinite=nonfinite.find({**fields, "facts": facts})
        )


_CONTEXT_TYPES: dict[str, Any] = {
    field.name: field.type
    for field in msgspec.structs.fields(EpisodeContext)
    if field.name not in ("facts", "nonfinite")
}


class Metrics(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="metrics"):
    """Tier 2: values at a step. None is "not measured".

    `nonfinite` is derived: it names the keys whose value is NaN or infinite (JSON shows null).
    """

    values: dict[str, float | None]
    nonfinite: dict[str, str] = {}

    def __post_init__(self) -> None:
        if self.nonfinite:
            for key, name in self.nonfinite.items():
                self.values[key] = nonfinite.value_of(name)
            return
        for value in self.values.values():
            if value is not None and not math.isfinite(value):
                break
        else:
            return
        names = {
            key: nonfinite.name_of(value)
            for key, value in self.values.items()
            if value is not None and not math.isfinite(value)
        }
        msgspec.structs.force_setattr(self, "nonfinite", names)


INTERVENTION = "intervention"
"""The name of a `Trace` of what a trial undid or changed because training had broken; its `reason`
says why, `data["done"]` what was done."""


class Trace(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="trace"):
    """Tier 3: a dense record. May be thinned under pressure; what was thinned is counted."""

    name: str
    reason: str = ""
    data: dict[str, Any] = {}
    nonfinite: dict[str, str] = {}
    """JSON pointers, from `data`, of the numbers that JSON can't hold."""

    def __post_init__(self) -> None:
        if self.nonfinite:
            nonfinite.restore(self.data, self.nonfinite)


class Mark(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="mark"):
    """Tier 1: a point in the life of one rank of one attempt.

    `started` and `resumed` carry ``ranks`` (how many there are) and ``reducers`` (metric -> how
    its values are reduced over ranks); `thinned` carries the ``events`` that were left out;
    `closed` is the last event of an emitter that was closed in order.
    """

    name: MarkName
    facts: dict[str, Any] = {}
    nonfinite: dict[str, str] = {}

    def __post_init__(self) -> None:
        if self.nonfinite:
            nonfinite.restore(self.facts, self.nonfinite)


Payload = (
    EpisodeContext
    | Metrics
    | Trace
    | Mark
    | HostBaseline
    | HostSnapshot
    | SlotSnapshot
    | PolicySnapshot
    | CounterfactualMatrix
    | DenseTrace
)

_TIERS: dict[type, Tier] = {
    EpisodeContext: 1,
    Mark: 1,
    HostBaseline: 1,
    Metrics: 2,
    HostSnapshot: 2,
    SlotSnapshot: 2,
    PolicySnapshot: 2,
    CounterfactualMatrix: 2,
    Trace: 3,
    DenseTrace: 3,
}


def values_of(payload: Payload) -> Mapping[str, float | None] | None:
    """What a payload of tier 2 measured, by metric key; None for the other tiers."""
    if isinstance(payload, Metrics):
        return payload.values
    return payload.values() if isinstance(payload, Snapshot) else None


def checked(contract: Contract) -> Payload:
    """The contract as a reader will find it: arrays and tensors as plain numbers.

    Raises `TypeError` for what is no payload of an event, `msgspec.ValidationError` for a field
    that does not hold what it is declared to hold.
    """
    kind = type(contract)
    if not isinstance(contract, Contract) or kind not in _TIERS:
        kinds = ", ".join(sorted(k.__name__ for k in _TIERS if issubclass(k, Contract)))
        raise TypeError(f"{kind.__name__} is no event of its own; valid: {kinds}")
    plainly = msgspec.to_builtins(contract, enc_hook=plain)
    return cast("Payload", msgspec.convert(plainly, kind))


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event. `seq` counts from 0 within (trial, attempt, rank); a gap in it was thinned.

    `time_ms` is the wall clock of the rank's host, in milliseconds since 1970. `step` counts
    training steps, and every event of tier 2 has one; `epoch` may be a fraction.
    """

    v: int
    trial: str
    attempt: int
    rank: int
    seq: int
    time_ms: int
    payload: Payload
    step: int | None = None
    epoch: float | None = None

    @property
    def tier(self) -> Tier:
        """1 context and lifecycle, 2 metrics, 3 dense traces: follows from the payload's type."""
        return _TIERS[type(self.payload)]

    @property
    def kind(self) -> str:
        """The payload's tag: ``context``, ``metrics``, ``mark``, ``host_snapshot``, …"""
        return str(type(self.payload).__struct_config__.tag)


class _Version(msgspec.Struct):
    v: int = 0


def _plain_or_text(value: Any) -> Any:
    return plain(value)


_encoder = msgspec.json.Encoder(enc_hook=_plain_or_text)
_decoder = msgspec.json.Decoder(Event)
_version_decoder = msgspec.json.Decoder(_Version)


def encode(event: Event) -> bytes:
    """The event as one line of JSON without its line end.

    Values that JSON has no form for are written by `plain`, at worst as their text.
    """
    return _encoder.encode(event)


def decode(line: bytes) -> Event:
    """The event of one line. Raises `EventError` if it is torn, foreign or of a newer version."""
    try:
        event = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise EventError(f"{_what(line)}: {error}") from error
    if not 1 <= event.v <= VERSION:
        raise EventError(f"event of version {event.v}; this code reads 1 to {VERSION}")
    return event


def _what(line: bytes) -> str:
    try:
        version = _version_decoder.decode(line).v
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "not a whole event"
    return f"unreadable event of version {version} (this code writes {VERSION})"


def plain(value: Any) -> Any:
    """`value` as nested dicts, lists and scalars: arrays and tensors by ``tolist``, else text.

    >>> plain({"shape": (2, 3), 1: {"x"}})
    {'shape': [2, 3], '1': ['x']}
    """
    if value is None or isinstance(value, (str, bool, int, float)):
        # a subclass (numpy.float64, an enum) would not survive a strict decoder
        for kind in (bool, int, float, str):
            if isinstance(value, kind):
                return value if type(value) is kind else kind(value)
        return None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=str)
    to_list = getattr(value, "tolist", None)
    if callable(to_list):
        return plain(to_list())
    if isinstance(value, msgspec.Struct):
        return plain(msgspec.to_builtins(value, enc_hook=_plain_or_text))
    return str(value)
