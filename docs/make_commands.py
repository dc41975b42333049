"""Writes docs/commands.md from the command line: ``python docs/make_commands.py``.

A test says when they have drifted apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from orchestrator.cli.app import app

PAGE = Path(__file__).with_name("commands.md")

_HEAD = """# Commands

Every command with what it takes, as `orrery COMMAND --help` prints it. Exit codes: 0 all trials
done, 1 some failed, 2 wrong use, 130 interrupted. What a machine reads (`--json`) goes to standard
output, what is said beside it to standard error.

| command | what it does |
|---|---|"""

_FOR_THE_SHELL = ("--install-completion", "--show-completion")
"""Typer's own; the page's last section names them once."""

_FOOT = """## Completion

`orrery --install-completion` makes the Tab key complete commands and options in the shell that
runs it; `orrery --show-completion` prints what it would install. `orrery --version` prints the
version.
"""


def page() -> str:
    """The whole page."""
    context = typer.Context(typer.main.get_command(app), info_name="orrery")
    commands = list(_leaves(context))
    rows = [
        f"| [`{each.command_path}`](#{each.command_path.replace(' ', '-')}) | {_first(each)} |"
        for each in commands
    ]
    sections = [_section(each) for each in commands]
    return "\n".join([_HEAD, *rows, ""]) + "\n" + "\n".join([*sections, _FOOT])


def _leaves(context: Any) -> Iterator[Any]:
    """A context for each command that does something, groups opened, in the order of the help."""
    for name in context.command.list_commands(context):
        command = context.command.get_command(context, name)
        below = typer.Context(command, info_name=name, parent=context)
        if hasattr(command, "list_commands"):
            yield from _leaves(below)
        elif not command.hidden:
            yield below


def _first(context: Any) -> str:
    """What the command does, in its first sentence."""
    text = " ".join(context.command.help.split("\n\n")[0].split())
    sentence, stop, _ = text.partition(". ")
    return (sentence + stop).strip().replace("|", "\\|")


def _section(context: Any) -> str:
    records = [
        (each.param_type_name, each.get_help_record(context))
        for each in context.command.get_params(context)
        if not set(each.opts) & {*_FOR_THE_SHELL, "--help"}
    ]
    told = [(kind, record) for kind, record in records if record is not None]
    usage = re.sub(r"[{}]", "", " ".join(context.command.collect_usage_pieces(context)))
    parts = [
        f"## `{context.command_path}`",
        context.command.help,
        f"```text\n{context.command_path} {usage}\n```",
    ]
    lines = [_item(*record) for of, record in sorted(told, key=lambda each: each[0])]
    if lines:
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _item(name: str, told: str) -> str:
    """`STUDY <str>` as the help has it is a name and what Python makes of it: only the name."""
    return f"- `{name.split(' <')[0]}`" + (f": {' '.join(told.split())}" if told else "")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
