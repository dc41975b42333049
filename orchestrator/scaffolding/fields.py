"""The settings of a workload as lines of a study file, each with what its configuration says."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from workloads.contract import WorkloadConfig

WIDTH = 100
INDENT = "  "


def yaml_line(value: Any) -> str:
    """A value in YAML's flow style, on one line."""
    import yaml

    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True
    )
    return str(text).removesuffix("\n").removesuffix("\n...")


def field_lines(config: type[WorkloadConfig], base: Mapping[str, Any]) -> str:
    """What `base` sets, and as comments all other settings with their defaults: the workload's own
    first, then those that every workload has."""
    shared = WorkloadConfig.model_fields
    own = [name for name in config.model_fields if name not in shared]
    told = _told(config)
    if not base:  # YAML needs one: the first with a default
        given = [name for name in (*own, *shared) if not config.model_fields[name].is_required()]
        base = {given[0]: _plain(config, given[0])}
    lines = list(_lines(config, own, base, told))
    lines += ["", f"{INDENT}# Settings that every workload has."]
    lines += _lines(config, list(shared), base, told)
    return "\n".join(lines)


def required_fields(config: type[WorkloadConfig], base: Mapping[str, Any]) -> list[str]:
    """Settings that have no default and that `base` does not give."""
    fields = config.model_fields.items()
    return [name for name, field in fields if field.is_required() and name not in base]


def _lines(
    config: type[WorkloadConfig],
    names: list[str],
    base: Mapping[str, Any],
    told: Mapping[str, str],
) -> Iterator[str]:
    for name in names:
        field = config.model_fields[name]
        if name in base:
            line = f"{INDENT}{name}: {yaml_line(base[name])}"
        elif field.is_required():
            line = f"{INDENT}{name}:  # no default: give a value"
        else:
            line = f"{INDENT}# {name}: {yaml_line(_plain(config, name))}"
        yield from _with_comment(line, told.get(name, ""))


def _with_comment(line: str, comment: str) -> Iterator[str]:
    """The comment behind the line where it has room there, else on lines above it."""
    if not comment:
        yield line
    elif len(line) + len(comment) + 4 <= WIDTH:
        yield f"{line}  # {comment}"
    else:
        mark = f"{INDENT}# "
        yield from textwrap.wrap(
            comment, WIDTH, initial_indent=mark, subsequent_indent=mark, break_on_hyphens=False
        )
        yield line


def _plain(config: type[WorkloadConfig], name: str) -> Any:
    """The default of a setting as plain data."""
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(config.model_fields[name].get_default(call_default_factory=True))


def _told(config: type[WorkloadConfig]) -> dict[str, str]:
    """The first sentence of what stands below each field in the sources; none where there are no
    sources."""
    told: dict[str, str] = {}
    for owner in reversed(config.__mro__):
        if not issubclass(owner, WorkloadConfig):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
        except (OSError, TypeError, SyntaxError):
            continue
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for field, below in itertools.pairwise(body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                told[field.target.id] = _first_sentence(below.value.value)
    return told


def _first_sentence(text: str) -> str:
    words = " ".join(text.split())
    return words.split(". ")[0].removesuffix(".").replace("`", "")
