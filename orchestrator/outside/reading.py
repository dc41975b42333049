"""Files of results: CSV, TSV, JSON lines, a JSON list, Parquet; gzip or not, or standard input."""

from __future__ import annotations

import gzip
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError
from orchestrator.outside.table import Table

if TYPE_CHECKING:
    import pyarrow as pa

STDIN = "-"
FORMATS = ("csv", "tsv", "jsonl", "parquet")
_BY_SUFFIX = {
    ".csv": "csv",
    ".txt": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_SHEETS = (".xlsx", ".xls", ".ods", ".numbers")


def read_content(path: str) -> bytes:
    """What a file holds, or standard input for `-`, unpacked if it is gzip. Raises `UsageError`."""
    if path == STDIN and sys.stdin is None:
        raise UsageError("Standard input is closed. Give a file of results.")
    try:
        content = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except IsADirectoryError as error:
        raise UsageError(f"'{path}' is a folder. Give one file of results.") from error
    except FileNotFoundError as error:
        raise UsageError(
            f"There is no file '{path}'. Give the results' file, or - for standard input."
        ) from error
    except OSError as error:
        raise UsageError(f"'{path}' cannot be read ({error.strerror or error}).") from error
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise UsageError(f"'{path}' is no whole gzip file ({error}). Copy it again.") from error
    if not content.strip():
        raise UsageError(f"'{path}' is empty: it needs a row for each score.")
    return content


def read_table(path: str, content: bytes, format: str | None = None) -> Table:
    """The table in what was read from `path`. Raises `UsageError` for what is none."""
    from orchestrator.outside.delimited import delimited_table
    from orchestrator.outside.json_lines import json_table

    kind = _format(path, content, format)
    if kind == "parquet":
        table = _parquet(path, content)
    elif kind == "jsonl":
        table = json_table(path, decoded(path, content))
    else:
        table = delimited_table(path, decoded(path, content), "\t" if kind == "tsv" else None)
    if not table.rows:
        raise UsageError(f"'{path}' has columns ({', '.join(table.columns)}) and no row of scores.")
    return table


def decoded(path: str, content: bytes) -> str:
    """Text of UTF-8, with a mark or without, and of UTF-16, which Excel writes."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        coding = "utf-16"
    elif content[1:2] == b"\0":
        coding = "utf-16-le"
    elif content[:1] == b"\0":
        coding = "utf-16-be"
    else:
        coding = "utf-8-sig"
    try:
        return content.decode(coding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"'{path}' line {line} is not {coding.upper().removesuffix('-SIG')} (byte "
            f"0x{content[error.start]:02x}). Save it as UTF-8 (Excel: 'CSV UTF-8'), or: iconv -f "
            f"WINDOWS-1252 -t UTF-8 {path} > utf8.csv"
        ) from error


def _format(path: str, content: bytes, given: str | None) -> str:
    if given is not None:
        if given not in FORMATS:
            raise UsageError(f"Unknown format '{given}'. Valid: {', '.join(FORMATS)}.")
        return given
    if content.startswith(b"PAR1"):
        return "parquet"
    if path == STDIN:
        return "jsonl" if content.lstrip()[:1] in (b"{", b"[") else "csv"
    suffix = Path(path.removesuffix(".gz")).suffix.lower()
    if suffix in _SHEETS:
        raise UsageError(f"'{path}' is a spreadsheet. Save its sheet as CSV UTF-8, and give that.")
    if suffix not in _BY_SUFFIX:
        raise UsageError(
            f"'{path}' has an ending that says no format. Valid: {', '.join(_BY_SUFFIX)}, each "
            f"with .gz too; or give --format ({', '.join(FORMATS)})."
        )
    return _BY_SUFFIX[suffix]


def _parquet(path: str, content: bytes) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(content)).combine_chunks()
    except (OSError, pa.ArrowException) as error:
        raise UsageError(
            f"'{path}' is no Parquet file ({' '.join(str(error).split())})."
        ) from error
    columns = {name: _one(table[name]) for name in table.column_names}
    return Table(path, columns, lambda row: f"row {row + 1}")


def _one(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
