"""Turns pydantic's errors into one line each: what was given, what is valid, the nearest match."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from orchestrator.errors import UsageError, unknown
from workloads.errors import nearest


def validated(model: type[BaseModel], data: Any, where: str, prefix: str = "") -> Any:
    """`model` built from `data`. Raises `UsageError` with one line per problem (at most 5)."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        told = [item for item in error.errors(include_url=False) if not _follows(item)]
        lines = [_line(item, model, prefix, data) for item in told[:5]]
        raise UsageError(f"{where}: " + " ".join(dict.fromkeys(lines))) from error


def _follows(item: Any) -> bool:
    """Whether it only says that nothing is left of a list whose items are wrong: told of them."""
    given = item["input"]
    return (
        item["type"] == "too_short"
        and isinstance(given, list | tuple)
        and len(given) >= item["ctx"]["min_length"]
    )


def _line(item: Any, model: type[BaseModel], prefix: str, data: Any) -> str:
    location = [part for part in item["loc"] if part != "function-after"]
    parts = _as_written(location, data, missing=item["type"] == "missing")
    key = prefix + ".".join(parts)
    if item["type"].startswith("union_tag_"):
        return _wrong_tag(item["ctx"], key)
    if item["type"] == "extra_forbidden":
        owner = _owner(model, location[:-1])
        valid = owner.model_fields if owner else ()
        under = key.removesuffix(parts[-1])
        return unknown("key", parts[-1], valid, under=under) if valid else f"Unknown key '{key}'."
    if item["type"] == "missing":
        return f"'{key}' is missing."
    message = item["msg"]
    if message.startswith("Value error, "):
        own = message.removeprefix("Value error, ")
        return f"{key}: {own}" if key else own
    given = repr(item["input"])
    given = given if len(given) <= 60 else given[:57] + "…"
    if item["type"] in ("int_parsing", "int_from_float", "int_type"):
        return f"'{key}' is {given}, but should be a whole number{_in_digits(item['input'])}."
    if item["type"] == "finite_number":  # YAML reads 1e400 as a text
        return f"'{key}' is {item['input']}, but should be a finite number."
    if item["type"] in _SHOULD_BE:
        return f"'{key}' is {given}, but should be {_SHOULD_BE[item['type']]}."
    if message.startswith("Input should be "):
        return f"'{key}' is {given}, but should be {message.removeprefix('Input should be ')}."
    return f"'{key}' is {given}: {message[:1].lower()}{message[1:]}."


_SHOULD_BE = {
    "model_type": "settings by name, {key: value}",
    "model_attributes_type": "settings by name, {key: value}",
    "float_parsing": "a number",
    "float_type": "a number",
}
"""Where pydantic's words are about itself."""


def _wrong_tag(context: Mapping[str, Any], key: str) -> str:
    """Of settings that come in kinds, and name none, or one that there is not."""
    field = context["discriminator"].strip("'")
    place = f"{key}.{field}" if key else field
    if "tag" not in context:
        return f"'{place}' is missing."
    given, valid = context["tag"], context["expected_tags"]
    near = nearest(given, [one.strip("'") for one in valid.split(", ")])
    guess = f" Did you mean '{near}'?" if near else ""
    return f"'{place}' is '{given}', but should be one of {valid}.{guess}"


def _in_digits(given: Any) -> str:
    """How a number such as 1e12, which YAML reads as a text, is to be written."""
    try:
        number = float(given)
    except (TypeError, ValueError):
        return ""
    return f"; write {int(number)}" if number.is_integer() and abs(number) < 1e18 else ""


def _as_written(location: list[Any], data: Any, *, missing: bool) -> list[str]:
    """The location as keys of `data`: without the tags that pydantic adds for a union's members.

    missing: its last part is a key that `data` lacks.
    """
    parts, current = [], data
    for place, part in enumerate(location, 1):
        inside = isinstance(current, Mapping) and part in current
        inside = inside or (isinstance(current, Sequence) and isinstance(part, int))
        if inside:
            current = current[part]
        if inside or (missing and place == len(location)):
            parts.append(str(part))
    return parts


def _owner(model: type[BaseModel], location: list[Any]) -> type[BaseModel] | None:
    """The model that holds the field at `location`; None if it cannot be told."""
    current: Any = model
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(str(part))
            if field is None:
                continue  # the tag of a discriminated union
            current = _single_model(field.annotation, location)
        if current is None:
            return None
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _single_model(annotation: Any, location: list[Any]) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    origin = typing.get_origin(annotation)
    found = [
        model
        for argument in typing.get_args(annotation)
        if (model := _single_model(argument, location)) is not None
    ]
    if origin in (typing.Union, types.UnionType) and len(found) > 1:
        tagged = [m for m in found if _tag(m) in location]
        return tagged[0] if tagged else None
    return found[0] if found else None


def _tag(model: type[BaseModel]) -> Any:
    field = model.model_fields.get("kind")
    arguments = typing.get_args(field.annotation) if field else ()
    return arguments[0] if arguments else None
