"""Whether a lab can be had on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache

_PACKAGES = {
    "slurmctld": "slurm-wlm",
    "slurmd": "slurm-wlm",
    "sbatch": "slurm-wlm",
    "munged": "munge",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}
SYSTEM_PATH = os.pathsep.join(
    [os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"]
)

_TRIED = """
ip link add tried type bridge
ip link add tried-1 type veth peer name tried-2
mount -t tmpfs tmpfs /tmp
"""


@cache
def why_not() -> str | None:
    """Why no lab can be had here, or None where one can."""
    if not sys.platform.startswith("linux"):
        return f"a lab needs Linux's network namespaces; this is {sys.platform}"
    if os.geteuid() != 0:
        return "a lab needs root, for network namespaces and slurmd; run it as root"
    missing = sorted(word for word in _PACKAGES if shutil.which(word, path=SYSTEM_PATH) is None)
    if missing:
        packages = " ".join(sorted({_PACKAGES[word] for word in missing}))
        return f"a lab needs {', '.join(missing)}: apt-get install {packages}"
    tried = subprocess.run(
        [*unshare(), "sh", "-ec", _TRIED], capture_output=True, text=True, env={"PATH": SYSTEM_PATH}
    )
    if tried.returncode:
        return f"a lab needs namespaces, and this machine refuses: {tried.stderr.strip()}"
    return None


def unshare() -> list[str]:
    """The words that start a process, and what it starts, in namespaces of a node's own."""
    kinds = ["--net", "--uts", "--ipc", "--mount", "--pid"]
    return ["unshare", *kinds, "--fork", "--kill-child", "--mount-proc"]
