"""One line of a spool for metrics that are all finite numbers, encoded without making an event.

To make an `Event` costs more than a microsecond, so an emitter keeps one `Line` and fills it anew.
What `encode_lines` gives is byte for byte `encode` of the event, with its line end.
"""

from __future__ import annotations

import msgspec

from telemetry.events import VERSION


class Values(msgspec.Struct, tag_field="kind", tag="metrics"):
    """As `Metrics`, and to be filled anew."""

    values: dict[str, float]


class Line(msgspec.Struct, omit_defaults=True):
    """As `Event`, and to be filled anew."""

    v: int
    trial: str
    attempt: int
    rank: int
    seq: int
    time_ms: int
    payload: Values
    step: int
    epoch: float | None = None


def line_of(trial: str, attempt: int, rank: int) -> Line:
    """A line of this emitter; the payload's values and the fields from `seq` on are to be set."""
    return Line(VERSION, trial, attempt, rank, 0, 0, Values({}), 0)


encode_lines = msgspec.json.Encoder().encode_lines
