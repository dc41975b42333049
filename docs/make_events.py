"""Writes the tables of docs/events.md from the code: ``python docs/make_events.py``.

A test says when they have drifted apart.
"""

from __future__ import annotations

import ast
import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import msgspec

from telemetry import contracts, events
from telemetry.export import export_schema, flat_schema

PAGE = Path(__file__).with_name("events.md")
_MARK = re.compile(r"(<!-- tables:(\w+) -->\n).*?(<!-- end -->)", re.S)

COLUMNS = {
    "study": "the study's instance (of one trial alone: the study that ran it last)",
    "arm": "the arm",
    "replicate": "which replicate of the arm, from 0",
    "seed": "the trial's seed",
    "v": "the contract's version",
    "tier": "1 context and lifecycle, 2 metrics, 3 dense traces",
    "kind": "which payload it is: a section below",
    "trial": "the trial's identity",
    "attempt": "which attempt, from 0",
    "rank": "which process of the trial's training, from 0",
    "seq": "counts the events of a rank in an attempt; a gap was left out under pressure",
    "time_ms": "wall clock of the rank's host, milliseconds since 1970",
    "step": "training step; seconds since the trial's first attempt began for `sys/…`",
    "epoch": "may be a fraction; null: not told",
    "name": "of a `mark` or a `trace`",
    "reason": "of a `trace`: why it was taken",
    "values": "of `metrics`: key → value; null is not measured, NaN is NaN",
    "data": "every other payload, as JSON",
    "payload": "what is said: a section below",
    "key": "the metric's name",
    "value": "null is not measured, NaN is NaN (in JSON lines: the text nan, inf or -inf)",
}


def page(text: str) -> str:
    """The page with its tables made anew."""
    tables = {
        "columns": lambda: _columns(export_schema()),
        "flat": lambda: _columns(flat_schema()),
        "event": lambda: _fields(events.Event),
        "payloads": lambda: "\n".join(_payloads()),
        "parts": lambda: "\n".join(map(_contract, _parts())),
    }
    return _MARK.sub(lambda m: f"{m[1]}\n{tables[m[2]]().rstrip()}\n\n{m[3]}", text)


def _columns(schema: typing.Any) -> str:
    rows = [f"| `{field.name}` | {field.type} | {COLUMNS[field.name]} |" for field in schema]
    return "\n".join(["| column | type | what |", "|---|---|---|", *rows])


def _payloads() -> Iterator[str]:
    kinds = typing.get_args(events.Payload)
    for kind in sorted(kinds, key=lambda kind: events._TIERS[kind]):
        yield _contract(kind)


def _parts() -> list[type[msgspec.Struct]]:
    """Structs that stand inside a payload."""
    return [
        contracts.FactoredAction,
        contracts.RewardComponents,
        contracts.BatchMetrics,
        contracts.GateEvaluationTrace,
        contracts.CounterfactualResult,
    ]


def _contract(kind: type[msgspec.Struct]) -> str:
    tag = kind.__struct_config__.tag
    tier = events._TIERS.get(kind)
    title = f"### `{tag}`" if tier else f"### {kind.__name__}"
    told = inspect.getdoc(kind) or ""
    return f"{title}\n\n{told}\n\n{_fields(kind)}\n"


def _fields(kind: type[msgspec.Struct]) -> str:
    meanings = COLUMNS if kind is events.Event else _meanings(kind)
    names = [field.name for field in msgspec.structs.fields(kind)]
    rows = []
    for name in sorted(names, key="nonfinite".__eq__):
        told = meanings.get(name, "").replace("|", "\\|")
        rows.append(f"| `{name}` | {_type(kind, name)} | {f'{told} ' if told else ''}|")
    return "\n".join(["| field | type | what |", "|---|---|---|", *rows])


def _type(kind: type[msgspec.Struct], name: str) -> str:
    """The type as the source has it; vertical bars would end the table's cell."""
    for base in kind.__mro__:
        written = inspect.get_annotations(base).get(name)
        if written is not None:
            return f"`{written}`".replace("|", "or")
    raise KeyError(name)


def _meanings(kind: type[msgspec.Struct]) -> dict[str, str]:
    """The strings that stand below fields in the source."""
    found: dict[str, str] = {"nonfinite": "Where NaN and infinities stand: JSON has none."}
    for base in kind.__mro__:
        if not base.__module__.startswith("telemetry"):
            continue
        (tree,) = ast.parse(inspect.getsource(base)).body
        assert isinstance(tree, ast.ClassDef)
        for field, after in zip(tree.body, tree.body[1:], strict=False):
            told = after.value.value if _is_text(after) else None  # type: ignore[attr-defined]
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and told:
                found.setdefault(field.target.id, " ".join(told.split()))
    return found


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
