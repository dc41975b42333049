"""Tables and lines that a report shows beside its verdict, the same in every form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.verdict.result import Verdict

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.measure import Measurement
    from rich.text import Text

    from orchestrator.report.interactive.embedding import Plots

MOST_SHOWN = 40
"""Rows of a table in the terminal; the rest is in the files."""


@dataclass(frozen=True)
class ShownTable:
    """A table as text. `numbers` are the columns that are aligned to the right."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Section:
    """A part of a report: what it leads with, lines, tables, and pictures that lie beside it, by
    their text."""

    title: str
    lines: tuple[str, ...] = ()
    tables: tuple[ShownTable, ...] = ()
    pictures: tuple[tuple[str, str], ...] = field(default=())
    lead: str = ""


def comparison_sections(verdict: Verdict) -> tuple[Section, ...]:
    """The comparisons that the rule states beside those with its comparator; none without any."""
    if not verdict.comparisons:
        return ()
    how = f"{verdict.confidence * 100:g} % intervals"
    if verdict.family > 1:
        how += f", simultaneous over all {verdict.family} comparisons of the verdict"
    lines = (f"Stated before the run; {how}.", *(one.sentence for one in verdict.comparisons))
    return (Section("Stated comparisons", lines),)


def section_markdown(section: Section) -> list[str]:
    """The parts of a section, headline first."""
    parts = [f"## {section.title}", *([section.lead] if section.lead else [])]
    parts += [f"- {line}" for line in section.lines]
    for table in section.tables:
        parts += [table.caption, _markdown_table(table)]
    parts += [f"![{_safe(text)}]({name})" for text, name in section.pictures]
    return parts


def section_html(section: Section, folder: Path | None = None, plots: Plots | None = None) -> str:
    """The body of a section, without its headline; pictures from `folder` are part of the text, so
    that a page stands alone. `plots` stand in place of pictures where a script can draw them."""
    from base64 import b64encode
    from html import escape

    lines = "".join(f"<li>{escape(line)}</li>" for line in section.lines)
    lead = escape(section.lead)
    body = f'<div class="answer"><p class="text">{lead}</p></div>' if lead else ""
    body += f"<ul>{lines}</ul>" if lines else ""
    body += "".join(_html_table(table) for table in section.tables)
    if folder is None:
        return body
    for text, name in section.pictures:
        data = b64encode((folder / name).read_bytes()).decode()
        picture = (
            f'<figure><img alt="{escape(text)}" src="data:image/png;base64,{data}">'
            f"<figcaption>{escape(text)}</figcaption></figure>"
        )
        body += plots.shown(text, picture) if plots else picture
    return body


def section_rich(section: Section) -> list[RenderableType]:
    """What the terminal shows of a section."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = [Text(section.title, style="bold")]
    parts += [Text(section.lead)] if section.lead else []
    parts += [Text(f"- {line}", style="dim") for line in section.lines]
    for shown in section.tables:
        # a line of its own: a table's title is folded to the width of the table
        parts.append(Text(shown.caption, style="italic"))
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for i, name in enumerate(shown.head):
            table.add_column(
                name,
                justify="right" if i in shown.numbers else "left",
                overflow="fold",
                min_width=max(map(len, name.split()), default=0),
            )
        for row in shown.rows[:MOST_SHOWN]:
            table.add_row(*map(_Cell, row))
        parts.append(table)
        if len(shown.rows) > MOST_SHOWN:
            parts.append(Text(f"{len(shown.rows) - MOST_SHOWN} more rows are in the report."))
    return parts


@dataclass(frozen=True)
class _Cell:
    """Text whose names part at their hyphens where a column is too narrow for them."""

    text: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        words = self.text.split(" ")
        yield Text(" ".join(_parted(word, options.max_width) for word in words))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.measure import Measurement
        from rich.text import Text

        return Measurement.get(console, options, Text(self.text))


def _parted(word: str, width: int) -> str:
    """A word in lines of at most `width`, as far as its hyphens allow: those of numbers do not."""
    if len(word) <= width:
        return word
    lines = [""]
    for part in re.split(r"(?<=[A-Za-z]-)(?=[A-Za-z])", word):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _markdown_table(table: ShownTable) -> str:
    rule = tuple("---:" if i in table.numbers else "---" for i in range(len(table.head)))
    lines: Sequence[Sequence[str]] = [table.head, rule, *table.rows]
    return "\n".join("| " + " | ".join(map(_safe, line)) + " |" for line in lines)


def _safe(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _html_table(table: ShownTable) -> str:
    from orchestrator.report.tables_html import table_html

    return table_html(table.caption, table.head, table.rows, table.numbers)
