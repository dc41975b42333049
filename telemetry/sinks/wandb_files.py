"""What W&B has on this disk of a run: read from its own files, since there is no other record.

``run-<id>.wandb`` is a log in LevelDB's form: a header of 7 bytes, then blocks of 32 KiB, in which
each piece of a record has a checksum (4 bytes), a length (2) and a kind (1: whole, 2: first,
3: middle, 4: last). A record is a protocol buffer of `wandb.proto`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HEADER_BYTES = 7
_BLOCK_BYTES = 32 * 1024
_PIECE = struct.Struct("<IHB")
_WHOLE, _FIRST, _LAST = 1, 2, 4


def files_of(folder: Path, run_id: str) -> list[Path]:
    """The log files of a run below W&B's `folder`, oldest first."""
    found = (folder / "wandb").glob(f"*run-*-{run_id}*/run-{run_id}.wandb")
    return sorted(found, key=lambda path: _started(path.parent.name, run_id))


def _started(name: str, run_id: str) -> tuple[str, int]:
    """From ``offline-run-20261121_023903-<id>``, or with ``-1`` if started within one second."""
    stem, _, number = name.partition(run_id)
    return stem.partition("run-")[2], int(number.strip("-") or 0)


def records(path: Path) -> Iterator[Any]:
    """The records of one log file, in order; a torn end is left out."""
    from wandb.proto import wandb_internal_pb2

    for data in _pieces(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        yield record


def history(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The history of one log file: W&B's own step, and the values by key, its own among them."""
    for record in records(path):
        if record.WhichOneof("record_type") == "history":
            values = {_key(item): json.loads(item.value_json) for item in record.history.item}
            yield record.history.step.num, values


def is_whole(path: Path) -> bool:
    """Whether a log file ends with the end of its run. W&B writes it a moment after it says so."""
    kinds = [record.WhichOneof("record_type") for record in records(path)]
    return bool(kinds) and kinds[-1] == "exit"


def next_step(folder: Path, run_id: str) -> int:
    """How many steps of history the files of a run hold, counted as W&B does: the last, and one."""
    steps = (step for path in files_of(folder, run_id) for step, _ in history(path))
    return max(steps, default=-1) + 1


def _key(item: Any) -> str:
    return item.key or ".".join(item.nested_key)


def _pieces(data: bytes) -> Iterator[bytes]:
    place, record = _HEADER_BYTES, b""
    while place + _PIECE.size <= len(data):
        left = _BLOCK_BYTES - place % _BLOCK_BYTES
        if left < _PIECE.size:
            place += left
            continue
        _, length, kind = _PIECE.unpack_from(data, place)
        place += _PIECE.size
        piece = data[place : place + length]
        if len(piece) < length or kind == 0:
            return
        place += length
        record = piece if kind in (_WHOLE, _FIRST) else record + piece
        if kind in (_WHOLE, _LAST):
            yield record
