"""The temporary folder of one Ray: nobody else's, and removed even if its owner was killed."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

# A Ray socket's path has to fit in 107 bytes, so its folder is a short one.
_SOCKET_ROOT = Path("/tmp")
_PREFIX = "orrery-ray-"
_LOCK = "in-use"


class RayFolder:
    """A new folder for one Ray, held by this process until it is removed or the process ends."""

    def __init__(self) -> None:
        """Removes what killed processes have left, too."""
        root = _SOCKET_ROOT if _SOCKET_ROOT.is_dir() else Path(tempfile.gettempdir())
        _remove_leavings(root)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        self._lock: int | None = _hold(self.path)

    def remove(self) -> None:
        """May be called twice."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _hold(folder: Path) -> int:
    """Marks a folder as in use until this process ends, however it ends; gives the open file."""
    import fcntl

    # locked before it has its name: another process that starts now must not take it for left over
    unnamed = folder / f".{_LOCK}"
    handle = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    unnamed.rename(folder / _LOCK)
    return handle


def _remove_leavings(root: Path) -> None:
    """Folders of Rays whose owners were killed: nobody else removes them. One whose lock is held
    is in use, by a process of this or of another container."""
    import fcntl

    for folder in root.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if folder.stat().st_uid != os.getuid() or not (folder / _LOCK).exists():
                continue
            handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)
