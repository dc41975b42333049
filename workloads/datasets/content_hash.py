"""Content hashes of files and folders: what enters an identity instead of a path."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

CHUNK_BYTES: Final = 1 << 20


class HashCache:
    """File hashes kept in one JSON file, valid while path, size, mtime_ns and inode are the same.

    Losing the file, or a write by another process in between, only costs hashing again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, str] = {}
        try:
            loaded = json.loads(path.read_text())
            self._known = {str(key): str(value) for key, value in loaded.items()}
        except (OSError, ValueError, AttributeError):
            pass

    @staticmethod
    def key(path: Path) -> str:
        """What a cached hash is found by."""
        stat = path.stat()
        return f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ino}"

    def get(self, path: Path) -> str | None:
        """The hash, or None when the file is new or was touched."""
        return self._known.get(self.key(path))

    def put(self, hashes: dict[str, str]) -> None:
        """Adds key -> hash and replaces the cache file in one step."""
        self._known |= hashes
        with suppress(OSError):  # a folder that can only be read: it is a cache
            self._write()

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=self._path.name)
        with os.fdopen(handle, "w") as file:
            json.dump(self._known, file)
        os.replace(temporary, self._path)


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def hash_file_cached(path: Path, cache: Path | None = None) -> str:
    """`sha256:` of one file's content; neither its name nor its place is in it."""
    (content,) = _contents([path], cache)
    return f"sha256:{content}"


def hash_files(root: Path, files: Iterable[Path], cache: Path | None = None) -> str:
    """`sha256:` of the files' names relative to `root` and of their contents.

    The folder's own place, and times and owners of files, are not in it.
    """
    ordered = sorted(files, key=lambda file: file.relative_to(root).as_posix())
    whole = hashlib.sha256()
    for path, content in zip(ordered, _contents(ordered, cache), strict=True):
        whole.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def _contents(files: Sequence[Path], cache: Path | None) -> list[str]:
    known = HashCache(cache) if cache is not None else None
    fresh: dict[str, str] = {}
    hashes: list[str] = []
    for path in files:
        key = HashCache.key(path)
        content = known.get(path) if known is not None else None
        if content is None:
            content = fresh[key] = hash_file(path)
        hashes.append(content)
    if known is not None and fresh:
        known.put(fresh)
    return hashes
