"""JSON lines and JSON lists of objects; what is nested gets dotted names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from orchestrator.errors import UsageError
from orchestrator.outside.table import Table


def json_table(source: str, text: str) -> Table:
    """One row an object. Raises `UsageError` for anything that is no object, with its line."""
    import pyarrow as pa

    listed = text.lstrip().startswith("[")
    rows, places = _list(source, text) if listed else _lines(source, text)
    names = dict.fromkeys(name for row in rows for name in row)
    try:
        columns = {name: _column([row.get(name) for row in rows], pa) for name in names}
    except UnicodeEncodeError as error:
        raise UsageError(f"'{source}' holds half a character ({error.reason}).") from error
    word = "entry" if listed else "line"
    return Table(source, columns, lambda row: f"{word} {places[row]}")


def _lines(source: str, text: str) -> tuple[list[dict[str, Any]], list[int]]:
    rows, places = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            found = _decoded(source, line, f"line {number}")
            rows.append(_row(source, found, f"line {number}"))
            places.append(number)
    return rows, places


def _list(source: str, text: str) -> tuple[list[dict[str, Any]], list[int]]:
    found = _decoded(source, text, "")
    rows = [_row(source, one, f"entry {number}") for number, one in enumerate(found, 1)]
    return rows, list(range(1, len(rows) + 1))


def _decoded(source: str, text: str, place: str) -> Any:
    where = f" {place}" if place else ""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        return json.loads(text)  # takes NaN too, which Python writes
    except RecursionError as error:
        raise UsageError(f"'{source}'{where} is nested too deeply to be a row.") from error
    except ValueError as error:
        raise UsageError(
            f"'{source}'{where} is no JSON ({error}). Give an object a line, or a list of objects."
        ) from error


def _row(source: str, found: Any, place: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise UsageError(
            f"'{source}' {place} is {json.dumps(found)[:40]}, but should be an object such as "
            '{"arm": "a", "seed": 0, "score": 0.5}.'
        )
    if any(isinstance(value, dict) for value in found.values()):
        return dict(_flat(found, ""))
    return found


def _flat(found: Mapping[str, Any], under: str) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in found.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{under}{name}.")
        else:
            pairs.append((f"{under}{name}", value))
    return pairs


def _column(values: list[Any], pa: Any) -> Any:
    """Numbers as numbers, anything else as text."""
    kinds = {type(value) for value in values} - {type(None)}
    if kinds <= {int}:
        try:
            return pa.array(values, pa.int64())
        except (OverflowError, pa.ArrowInvalid):
            return pa.array([None if value is None else str(value) for value in values])
    if kinds <= {int, float}:
        floats = [None if value is None else float(value) for value in values]
        return pa.array(floats, pa.float64())
    return pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
