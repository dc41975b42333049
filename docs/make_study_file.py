"""Writes docs/study-file.md from the models of a study file: ``python docs/make_study_file.py``.

A test says when they have drifted apart.
"""

from __future__ import annotations

import ast
import inspect
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from orchestrator.designs import Level
from orchestrator.seeds import Seeds
from orchestrator.study_file import StudyFile

PAGE = Path(__file__).with_name("study-file.md")

_HEAD = """# The study file

Every key with its type, its default and what it means. A study is a YAML file of these keys; an
unknown key, a key given twice or a value of the wrong type is refused before anything starts, with
the nearest valid one. `orrery schema` prints the same as a JSON schema, for editors that complete
and check YAML. The keys of `base` and of an arm's `overrides` are the workload's: `orrery schema
WORKLOAD` prints those.

`-s key=value` on the command line sets any key of a study or of its base configuration; `presets`
are such settings under a name (`--preset NAME`). *Seeds* are a list of whole numbers and ranges,
`[0-98, 200]`, or one range, `0-98`; both ends count. A *plain value* is a number, a text, true,
false or null.
"""

_NAMES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    types.NoneType: "null",
    Any: "anything",
}

_BOUNDS = {
    annotated_types.Ge: ("≥", "ge"),
    annotated_types.Gt: (">", "gt"),
    annotated_types.Le: ("≤", "le"),
    annotated_types.Lt: ("<", "lt"),
}


_LIMIT_OF_A_TYPE = 1e9
"""A bound beyond this says how the number is kept, not what it may mean."""


def page() -> str:
    """The whole page: the study, then each part in the order in which it is first named."""
    sections = (_section(model, places) for model, places in _parts(StudyFile).items())
    return "\n".join([_HEAD, *sections])


def _parts(start: type[BaseModel]) -> dict[type[BaseModel], list[str]]:
    """Every model that stands somewhere in the file, depth first, with the keys it stands under."""
    found: dict[type[BaseModel], list[str]] = {}

    def visit(model: type[BaseModel], place: str) -> None:
        known = model in found
        found.setdefault(model, []).append(place)
        if not known:
            for name, field in model.model_fields.items():
                for below in _models_in(field.annotation):
                    visit(below, f"`{name}` of {_link(model)}")

    visit(start, "")
    return found


def _link(model: type[BaseModel]) -> str:
    return f"[{model.__name__}](#{model.__name__.lower()})"


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for below in typing.get_args(annotation):
        yield from _models_in(below)


def _section(model: type[BaseModel], places: Sequence[str]) -> str:
    said = _meanings(model)
    rows = [
        f"| `{name}` | {_field_type(field)} | {_default(field)} | {_what(name, field, said)} |"
        for name, field in model.model_fields.items()
    ]
    about = inspect.getdoc(model) if "__doc__" in vars(model) and model.__doc__ else ""
    table = ["| key | type | default | what |", "|---|---|---|---|", *rows]
    where = f"Stands in {', '.join(filter(None, places))}." if any(places) else ""
    parts = [f"## {model.__name__}", about, where, "\n".join(table)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _field_type(field: FieldInfo) -> str:
    bounds = ", ".join(_bounds(field.metadata))
    return _type(field.annotation) + (f", {bounds}" if bounds else "")


def _bounds(metadata: Sequence[Any]) -> Iterator[str]:
    for each in metadata:
        sign, name = _BOUNDS.get(type(each), (None, ""))
        if sign and abs(getattr(each, name)) < _LIMIT_OF_A_TYPE:
            yield f"{sign} {getattr(each, name):g}"
        elif isinstance(each, annotated_types.MinLen) and each.min_length == 1:
            yield "not empty"
        elif isinstance(each, annotated_types.MaxLen):
            yield f"{each.max_length} characters at most"


def _type(annotation: Any) -> str:
    """A type in words; parts link to their sections."""
    if annotation == Seeds.__origin__:
        return "seeds"
    if annotation == Level:
        return "plain value"
    if annotation in _NAMES:
        return _NAMES[annotation]
    origin, below = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        bounds = ", ".join(_bounds(_metadata(below[1:])))
        return _type(below[0]) + (f" {bounds}" if bounds else "")
    if origin is typing.Literal:
        return " or ".join(f"`{each}`" for each in below)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(each) for each in below)
    if origin is dict:
        return f"name → {_type(below[1])}"
    if origin in (list, tuple):
        several = [each for each in below if each is not Ellipsis]
        if len(several) == 1:
            return f"list of {_type(several[0])}"
        return f"[{', '.join(_type(each) for each in several)}]"
    return _link(annotation)


def _what(name: str, field: FieldInfo, said: dict[str, str]) -> str:
    """The key's sentence in the source; a key with one valid value needs none."""
    if name not in said and len(typing.get_args(field.annotation)) != 1:
        raise ValueError(f"{name}: {field.annotation} has no sentence below it in the source")
    return said.get(name, "Says which of the kinds this is.")


def _metadata(given: Sequence[Any]) -> Iterator[Any]:
    """`Annotated[int, Field(ge=1)]` has its bounds inside the field."""
    for each in given:
        yield from each.metadata if isinstance(each, FieldInfo) else (each,)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "its defaults"
    if value is None or value in ("", (), [], {}):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """The strings that stand below fields in the source."""
    (tree,) = ast.parse(inspect.getsource(model)).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, after in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            told = " ".join(str(after.value.value).split())
            found[field.target.id] = told.replace("|", "\\|")
    return found


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
