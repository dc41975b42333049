"""What telemetry asks of a file system: whether it is local, locks, whole writes, replacement."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

_LOCAL_TYPES = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "ramfs", "overlay", "bcachefs"}
)


def is_local(path: str | os.PathLike[str]) -> bool:
    """True only if `path` lies on a disk of this host; an unknown file system counts as remote.

    Source: the longest mount point of ``/proc/self/mounts`` that holds the path.
    """
    target = os.path.realpath(path)
    best, kind = "", ""
    try:
        mounts = Path("/proc/self/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return False
    for line in mounts:
        fields = line.split(" ")
        point = fields[1].encode().decode("unicode_escape")
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind in _LOCAL_TYPES


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
