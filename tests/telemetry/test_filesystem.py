"""Which file system a path lies on, from the text of a mount table."""

from __future__ import annotations

from pathlib import Path

import pytest

from telemetry.filesystem import is_local, type_in

MOUNTS = r"""
overlay / overlay rw,relatime 0 0
/dev/sda1 /data ext4 rw 0 0
nas:/x /data/dät nfs4 rw 0 0
nas:/y /data/with\040space\134and\011tab nfs rw 0 0
tmpfs /data/dät/scratch tmpfs rw 0 0
""".encode()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me", "overlay"),
        ("/data", "ext4"),
        ("/data/dät/home", "nfs4"),
        ("/data/dät/scratch/x", "tmpfs"),
        ("/data/dätx", "ext4"),
        ("/data/with space\\and\ttab/x", "nfs"),
    ],
)
def test_the_longest_mount_point_that_holds_a_path_says_its_type(path: str, kind: str) -> None:
    assert type_in(MOUNTS, path) == kind


def test_a_path_on_no_known_file_system_is_not_local() -> None:
    assert type_in(b"", "/data") == ""
    assert not is_local(Path("/proc/self"))
