"""What telemetry asks of a file system: whether it is local, locks, whole writes, replacement."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

_LOCAL_TYPES = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "ramfs", "overlay", "bcachefs"}
)
_OCTAL = re.compile(rb"\\([0-7]{3})")


def is_local(path: str | os.PathLike[str]) -> bool:
    """True only if `path` lies on a disk of this host; an unknown file system counts as remote.

    Source: the longest mount point of ``/proc/self/mounts`` that holds the path.
    """
    try:
        mounts = Path("/proc/self/mounts").read_bytes()
    except OSError:
        return False
    return type_in(mounts, os.path.realpath(path)) in _LOCAL_TYPES


def type_in(mounts: bytes, path: str) -> str:
    """The type of the file system that holds the absolute `path`, by the text of a mount table.

    Empty if none holds it. A mount point's space, tab, line end and backslash stand there as
    three octal digits; every other byte stands for itself.
    """
    target = os.fsencode(path)
    best, kind = b"", b""
    for line in filter(None, mounts.split(b"\n")):
        fields = line.split(b" ")
        point = _OCTAL.sub(lambda found: bytes([int(found[1], 8) & 0xFF]), fields[1])
        inside = target == point or target.startswith(point.rstrip(b"/") + b"/")
        if inside and len(point) >= len(best):
            best, kind = point, fields[2]
    return os.fsdecode(kind)


class BusyError(RuntimeError):
    """Another process holds the lock."""


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds an exclusive advisory lock on the file `path`, which is made if it is missing.

    The kernel frees it when the holder dies. On a file system without locks it locks nothing.
    Raises `BusyError` if another process has it and `wait` is False.
    """
    import fcntl

    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise BusyError(f"{path} is held by another process") from error
        yield
    finally:
        os.close(handle)


def write_all(handle: int, data: bytes) -> None:
    """Writes all of `data`; a short write is continued. Raises `OSError`."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def sync(path: Path) -> None:
    """Has the disk take the content of a file, or the names in a folder, before going on."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace(path: Path, data: bytes) -> None:
    """Gives `path` the content `data` in one step: readers see the old or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            write_all(handle, data)
        finally:
            os.close(handle)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
