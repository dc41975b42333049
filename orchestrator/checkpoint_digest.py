"""What a checkpoint holds, in one hash: a finished trial's model is known again by it."""

from __future__ import annotations

import hashlib
from pathlib import Path


def checkpoint_digest(folder: Path) -> str:
    """64 hexadecimal digits over the names and contents of every file in it, whatever their order.

    Raises `OSError` for a file that cannot be read.
    """
    whole = hashlib.sha256()
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    for name, path in sorted(files.items()):
        if path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256")
            whole.update(f"{name}\0{content.hexdigest()}\n".encode())
    return whole.hexdigest()
