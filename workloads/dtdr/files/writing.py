"""Folders that appear whole or not at all, and rows of safetensors files within them."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from telemetry.filesystem import BusyError, locked, sync
from workloads.dtdr.files.safetensors_files import Place, Writer
from workloads.errors import InputError

if TYPE_CHECKING:
    import torch

SHARD_BYTES: Final = 4 << 30
"""A file is closed once it has so many bytes."""
_LOCK: Final = ".lock"
_REFUSED: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
_LISTED: Final = 3


@contextmanager
def new_folder(
    out: Path,
    *,
    force: bool = False,
    written: Callable[[Path], Collection[str] | None] = lambda folder: None,
) -> Iterator[Path]:
    """A folder beside `out` to write into; it becomes `out` when the block ends well, and is
    removed when the block raises (Ctrl-C, a full disk). What a killed process left is removed too.

    An empty folder may be in place. Raises `InputError` where anything else is, unless `force`
    is given and all files in it are `written` by us (a function of the folder: None of one that is
    not ours at all); then it stays until the new one is whole. Raises `InputError`, too, where no
    folder can be, and `OSError` where the disk refuses one.
    """
    out = Path(os.path.abspath(out))
    try:
        _check_target(out, force, written)
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_leavings(out)
        folder = Path(tempfile.mkdtemp(prefix=_prefix(out), dir=out.parent))
    except OSError as error:
        if error.errno in _REFUSED:
            raise
        in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
        why = "a file is in the way" if in_the_way else error.strerror
        raise InputError(f"{out.parent} takes no folder ({why}); give another --out") from error
    try:
        with locked(folder / _LOCK):
            yield folder
        (folder / _LOCK).unlink()
        folder.chmod(0o777 & ~_umask())  # mkdtemp makes it private
        for path in folder.iterdir():
            sync(path)
        sync(folder)
        _check_target(out, force, written)
        _put_in_place(folder, out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


class Shards:
    """Files `<stem>-00001.safetensors`, … that take tensors one by one; each is closed once it has
    `limit` bytes. `names`: of all tensors that may come."""

    def __init__(
        self, folder: Path, stem: str, names: Collection[str], limit: int = SHARD_BYTES
    ) -> None:
        self._folder, self._stem, self._names, self._limit = folder, stem, names, limit
        self._open: Writer | None = None
        self.paths: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._open is None:
            return
        if kind is None:
            self._open.close()
        else:
            self._open.abandon()

    def add(self, name: str, tensor: torch.Tensor) -> Place:
        """Appends a tensor; says where it lies. Raises `OSError`."""
        if self._open is not None and self._open.data_bytes >= self._limit:
            self._open.close()
            self._open = None
        if self._open is None:
            path = self._folder / f"{self._stem}-{len(self.paths) + 1:05d}.safetensors"
            self._open = Writer(path, self._names)
            self.paths.append(path)
        return self._open.add(name, tensor)


def _check_target(
    out: Path, force: bool, written: Callable[[Path], Collection[str] | None]
) -> None:
    if out.is_symlink():
        raise InputError(f"{out} is a link; give the folder itself, or another --out")
    if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
        return
    if not force:
        raise InputError(f"{out} exists; give another --out, or --force to replace what is there")
    names = written(out) if out.is_dir() else None
    if names is None:
        raise InputError(
            f"{out} was not written by orrery encode or decode, and --force replaces nothing else; "
            "give another --out"
        )
    foreign = sorted(path.name for path in out.iterdir() if path.name not in names)
    if foreign:
        more = f" and {len(foreign) - _LISTED} more" if len(foreign) > _LISTED else ""
        raise InputError(
            f"{out} has files that orrery encode or decode did not write "
            f"({', '.join(foreign[:_LISTED])}{more}), and --force would remove them; move them, or "
            "give another --out"
        )


def _put_in_place(folder: Path, out: Path) -> None:
    if not out.exists() or not any(out.iterdir()):
        os.replace(folder, out)  # also over an empty folder
        sync(out.parent)
        return
    old = Path(tempfile.mkdtemp(prefix=_prefix(out), dir=out.parent))
    os.replace(out, old)
    try:
        os.replace(folder, out)
    except BaseException:
        os.replace(old, out)
        raise
    sync(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def _remove_leavings(out: Path) -> None:
    """Removes what processes have begun for `out` that are no more."""
    for left in out.parent.glob(_prefix(out) + "*"):
        if not (left / _LOCK).exists():
            continue
        try:
            with locked(left / _LOCK, wait=False):
                shutil.rmtree(left, ignore_errors=True)
        except BusyError:
            continue  # another process is writing just now


def _prefix(out: Path) -> str:
    return f".{out.name}.part-"


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
