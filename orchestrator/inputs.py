"""Inputs among a configuration's values: what to do to each, wherever a study file names one."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from orchestrator.study_file import Choice, Design, Factorial, Grid, Search
from workloads.contract import Input

Change = Callable[[Input, str], str]
M = TypeVar("M", bound=BaseModel)


def absolute(source: Input, value: str) -> str:
    """A path that is there, made absolute; any other name as it is."""
    path = Path(value).expanduser()
    return str(path.resolve()) if path.exists() else value


def with_inputs(
    model: type[BaseModel], values: Mapping[str, Any], change: Change
) -> dict[str, Any]:
    """`values` of `model` with each text under an `Input` field changed.

    Keys may be dotted, and values nested mappings or parts, as in a study file.
    """
    return {key: _changed(model, key, value, change) for key, value in values.items()}


def config_with_inputs(config: M, change: Change) -> M:
    """The same of a configuration that was validated; itself where nothing changes."""
    before = dict(config)
    after = with_inputs(type(config), before, change)
    update = {name: value for name, value in after.items() if value is not before[name]}
    return config.model_copy(update=update) if update else config


def design_with_inputs(design: Design, model: type[BaseModel], change: Change) -> Design:
    """The same of a design: arms' and factors' overrides, a grid's levels, a search's choices."""

    def levels(factor: str, given: list[Any]) -> list[Any]:
        return [_changed(model, factor, level, change) for level in given]

    update: dict[str, Any] = {
        "arms": [
            arm.model_copy(update={"overrides": with_inputs(model, arm.overrides, change)})
            for arm in design.arms
        ]
    }
    if isinstance(design, Grid):
        update["factors"] = {name: levels(name, given) for name, given in design.factors.items()}
    if isinstance(design, Factorial):
        update["factors"] = {
            name: with_inputs(model, overrides, change)
            for name, overrides in design.factors.items()
        }
    if isinstance(design, Search):
        update["space"] = {
            name: Choice(choice=levels(name, given.choice)) if isinstance(given, Choice) else given
            for name, given in design.space.items()
        }
    return design.model_copy(update=update)


def _changed(model: type[BaseModel], key: str, value: Any, change: Change) -> Any:
    if value is None or isinstance(value, int | float):  # most are: neither text nor a part
        return value
    head, dot, rest = key.partition(".")
    field = model.model_fields.get(head)
    if field is None:
        return value
    if dot:
        part = _part(field, [rest])
        return value if part is None else _changed(part, rest, value, change)
    source = _source(model, head)
    if source is not None:
        changed = change(source, value) if isinstance(value, str) else value
        return value if changed == value else changed
    if isinstance(value, BaseModel):
        return config_with_inputs(value, change)
    if isinstance(value, Mapping):
        part = _part(field, value)
        return value if part is None else with_inputs(part, value, change)
    return value


@lru_cache(maxsize=1024)
def _source(model: type[BaseModel], name: str) -> Input | None:
    """What kind of input a field names; None if it names none."""
    metadata = model.model_fields[name].metadata
    return next((item for item in metadata if isinstance(item, Input)), None)


def _part(field: FieldInfo, keys: Iterable[str]) -> type[BaseModel] | None:
    """The model among the field's types that has all of the keys."""
    heads = {str(key).partition(".")[0] for key in keys}
    return next((m for m in _models(field.annotation) if heads <= m.model_fields.keys()), None)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        for argument in typing.get_args(annotation):
            yield from _models(argument)
