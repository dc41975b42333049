"""Text and JSON files, read so that a broken one is named in one line."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

from workloads.errors import InputError


def existing(path: Path) -> Path:
    """The path; InputError with the nearest name beside it when there is nothing there."""
    if path.exists():
        return path
    parent = path.parent
    if not parent.is_dir():
        raise InputError(f"no data at {path}: its folder {parent} does not exist; give a path")
    names = [entry.name for entry in parent.iterdir()]
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    hint = f"did you mean {parent / near[0]}?" if near else "give an existing file or folder"
    raise InputError(f"no data at {path}; {hint}")


def read_text(path: Path) -> str:
    """The file as UTF-8; InputError when it is empty, binary or differently encoded."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); give a readable file"
        ) from error
    if not raw.strip():
        raise InputError(f"{path} is empty; give a file with data")
    if b"\0" in raw:
        raise InputError(f"{path} is a binary file; valid: text in UTF-8 (.json, .jsonl, .txt)")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 (byte 0x{raw[error.start]:02x} at {error.start}); save it so"
        ) from error


def read_json(path: Path) -> Any:
    """The file's JSON value; InputError with line and column when it has none."""
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise InputError(f"{path} is not JSON ({where}: {error.msg}); give a valid file") from error
    except RecursionError as error:
        raise InputError(f"{path} is JSON nested too deeply; give a flatter file") from error


def read_json_lines(path: Path) -> list[Any]:
    """One JSON value per line that is not blank."""
    values = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            values.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise InputError(
                f"{path} is not JSON lines (line {number}: {error.msg}); give one value per line"
            ) from error
    return values


def kind_of(value: Any) -> str:
    """A short account of a JSON value for messages."""
    if isinstance(value, dict):
        return f"an object with the keys {', '.join(map(str, list(value)[:5])) or '(none)'}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return f"a {type(value).__name__}"
