"""CSV as it comes: commas, semicolons or tabs between cells, points or commas in numbers."""

from __future__ import annotations

import csv
import io
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestrator.counted import counted
from orchestrator.errors import UsageError
from orchestrator.outside.table import Table

if TYPE_CHECKING:
    import pyarrow as pa

DELIMITERS = (",", ";", "\t", "|")
MOST_COLUMNS = 20_000
LONGEST_CELL = 16 * 1024**2


def delimited_table(source: str, text: str, delimiter: str | None = None) -> Table:
    """A table whose cells are all text. Raises `UsageError` for rows that are no table."""
    if "\n" not in text:  # lines as old spreadsheets of the Mac end them
        text = text.replace("\r", "\n")
    try:
        delimiter = delimiter or _told_delimiter(text) or _likely_delimiter(text)
        names = _names(source, next(_records(text, delimiter))[1])
        columns = _columns(source, text, delimiter, names)
    except csv.Error as error:
        raise UsageError(f"'{source}' cannot be read as CSV ({error}).") from error

    def place(row: int) -> str:
        line, _ = next(itertools.islice(_records(text, delimiter), row + 1, None))
        return f"line {line}"

    return Table(source, columns, place, decimal_comma=delimiter in ";\t")


def _told_delimiter(text: str) -> str | None:
    """Excel's own first line `sep=;`."""
    first = text.lstrip().partition("\n")[0].strip().strip('"')
    return first[4] if first.lower().startswith("sep=") and len(first) == 5 else None


def _likely_delimiter(text: str) -> str:
    """The one that makes most columns of the header."""
    header = text.lstrip("\r\n").partition("\n")[0].rstrip("\r")
    return max(DELIMITERS, key=lambda one: len(next(csv.reader([header], delimiter=one), [])))


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The header and every row after it, each with the line it begins in."""
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    begins = 1
    for record in reader:
        told = begins == 1 and _told_delimiter(text) is not None
        if any(cell.strip() for cell in record) and not told:
            yield begins, record
        begins = reader.line_num + 1


def _names(source: str, header: list[str]) -> list[str]:
    if len(header) > MOST_COLUMNS:
        raise UsageError(
            f"'{source}' has {len(header):,} columns, and at most {MOST_COLUMNS:,} are read. Leave "
            "out those that are neither of a run nor its scores."
        )
    names = [name.strip() or f"column {place}" for place, name in enumerate(header, 1)]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise UsageError(f"'{source}' has two columns called '{twice}'. Rename one.")
    return names


def _columns(source: str, text: str, delimiter: str, names: list[str]) -> dict[str, pa.Array]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    body = _body(text, delimiter)
    if body.count('"') % 2:
        *_, (line, _) = _records(text, delimiter)
        raise UsageError(f"'{source}' line {line} opens a quote (\") that nothing closes.")
    if not body.strip():
        return {name: pa.array([], pa.string()) for name in names}
    try:
        table = arrow_csv.read_csv(
            io.BytesIO(body.encode()),
            arrow_csv.ReadOptions(column_names=names, block_size=max(1 << 20, len(body) // 8)),
            arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values='"' in body),
            arrow_csv.ConvertOptions(
                column_types={name: pa.string() for name in names}, strings_can_be_null=False
            ),
        )
    except pa.ArrowException as error:
        raise _no_table(source, text, delimiter, names, error) from error
    whole = table.combine_chunks()
    return {name: whole[name].chunk(0) for name in names}


def _body(text: str, delimiter: str) -> str:
    """What follows the header; lines of nothing but delimiters, which spreadsheets leave, go."""
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter)
    told = _told_delimiter(text) is not None
    for record in reader:
        if told:
            told = False
        elif any(cell.strip() for cell in record):
            break
    rest = text[lines.tell() :]
    bare = delimiter * (len(record) - 1)
    if bare and f"\n{bare}" in f"\n{rest}":
        return "".join(
            line for line in io.StringIO(rest, newline="") if line.strip("\r\n ") != bare
        )
    return rest


def _no_table(
    source: str, text: str, delimiter: str, names: list[str], error: Exception
) -> UsageError:
    for line, record in itertools.islice(_records(text, delimiter), 1, None):
        if len(record) != len(names):
            return UsageError(
                f"'{source}' line {line} has {counted(len(record), 'cell')}, and the header "
                f"{len(names)} ({', '.join(names)}). Quote what holds {_name(delimiter)}."
            )
    return UsageError(f"'{source}' cannot be read as CSV ({' '.join(str(error).split())}).")


def _name(delimiter: str) -> str:
    return {",": "a comma", ";": "a semicolon", "\t": "a tab"}.get(delimiter, repr(delimiter))
