"""Whether settings fit the cluster: told by `orrery doctor --on slurm`, and looked at before
anything is submitted."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from cluster.contract import ClusterError
from cluster.slurm.commands import Slurm, SlurmError
from cluster.slurm.limits import Partition, signal_s
from cluster.slurm.settings import SlurmSettings, seconds

Finding = tuple[str, bool, str]
"""What was looked at, whether it is as it should be, what was found."""

_LOCAL_ONLY = ("tmpfs", "ramfs", "overlay", "devtmpfs")
_SHARED = ("nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "cifs", "smb", "9p")


def check(settings: SlurmSettings, home: Path | None = None) -> list[Finding]:
    """Looks at SLURM and at whether these settings would be accepted. Submits nothing.

    `home`: the ORRERY_HOME, whose file system is named. Raises nothing.
    """
    try:
        slurm = Slurm.find()
        limits = slurm.settings_of_cluster()
        partitions = slurm.partitions()
    except ClusterError as error:
        return [("SLURM", False, str(error))]
    findings: list[Finding] = [("SLURM", True, f"version {limits.version or 'not told'}")]
    findings += _partition_findings(settings, partitions)
    findings += _account_findings(slurm, settings)
    findings.append(("arrays", True, f"of at most {limits.max_array_size} tasks (MaxArraySize)"))
    most = "not told" if limits.max_submit is None else str(limits.max_submit)
    findings.append(("jobs in the queue", True, f"at most: {most} (MaxSubmitJobs)"))
    findings.append(
        ("notice", True, f"at least {signal_s(settings)} s before the limit of {settings.time}")
    )
    findings.append(_seen_by_nodes("python", Path(sys.executable)))
    if home is not None:
        findings.append(_seen_by_nodes("home", home))
    return findings


def refuse_wrong(settings: SlurmSettings) -> None:
    """Raises `ClusterError` for a partition that does not exist, naming those that do, for one
    that takes no jobs, and for a time limit that it would let wait for ever. Submits nothing."""
    for what, ok, found in _partition_findings(settings, Slurm.find().partitions()):
        if not ok:
            raise ClusterError(f"SLURM: {what} {found}")


def _partition_findings(settings: SlurmSettings, partitions: list[Partition]) -> list[Finding]:
    if not partitions:
        return [("partition", False, "not to be checked: sinfo names none that you may see.")]
    names = settings.partition.split(",") if settings.partition else _default_of(partitions)
    if not names:
        listed = ", ".join(p.name for p in partitions)
        return [("partition", False, f"not given, and none is the default. There are: {listed}.")]
    findings: list[Finding] = []
    for name in names:
        findings += _one_partition(settings, name, {p.name: p for p in partitions})
    return findings


def _default_of(partitions: list[Partition]) -> list[str]:
    return [partition.name for partition in partitions if partition.is_default]


def _one_partition(
    settings: SlurmSettings, name: str, there: dict[str, Partition]
) -> list[Finding]:
    partition = there.get(name)
    if partition is None:
        near = difflib.get_close_matches(name, there, n=1, cutoff=0.5)
        guess = f" Did you mean '{near[0]}'?" if near else ""
        return [
            ("partition", False, f"'{name}' does not exist.{guess} There are: {', '.join(there)}.")
        ]
    if not partition.up:
        return [("partition", False, f"'{name}' takes no jobs now: it is not up.")]
    findings: list[Finding] = [("partition", True, f"'{name}', nodes: {partition.nodes}")]
    limit = partition.max_time_s
    if limit is not None and seconds(settings.time) > limit:
        findings.append(
            (
                "time",
                False,
                f"limit {settings.time} is more than the {_clock(limit)} that '{name}' allows, so "
                "the job would never start. Give a shorter slurm.time.",
            )
        )
    else:
        most = "no limit" if limit is None else _clock(limit)
        findings.append(("time", True, f"limit {settings.time}; '{name}' allows: {most}"))
    return findings


def _account_findings(slurm: Slurm, settings: SlurmSettings) -> list[Finding]:
    """Whether the accounting, where there is one, lets this user submit so."""
    asked = [("account", settings.account, "account"), ("qos", settings.qos, "qos")]
    findings: list[Finding] = []
    for what, given, field in asked:
        if given is None:
            continue
        try:
            there = slurm.associations(field)
        except SlurmError as error:
            findings.append((what, True, f"'{given}', not checked: {error}"))
            continue
        listed = ", ".join(sorted(there)) or "none"
        found = f"'{given}'" if given in there else f"'{given}' is none of yours: {listed}."
        findings.append((what, given in there, found))
    return findings


def _seen_by_nodes(what: str, path: Path) -> Finding:
    """A hint by the kind of file system: only a job can tell for certain."""
    kind = _file_system(path)
    if kind in _LOCAL_ONLY:
        return what, False, f"'{path}' is on {kind}, which other nodes do not see."
    if kind in _SHARED or (kind or "").startswith("fuse"):
        return what, True, f"'{path}' is on {kind}"
    return what, True, f"'{path}' is on {kind or 'an unknown file system'}: a job will tell"


def _file_system(path: Path) -> str | None:
    """Its type, as the kernel names it; None where there is no /proc."""
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return None
    place, best, kind = path.resolve(), -1, None
    for line in lines:
        mount, type = line.split(" ")[1:3]
        at = Path(mount.replace("\\040", " "))
        if (at == place or at in place.parents) and len(at.parts) >= best:
            best, kind = len(at.parts), type
    return kind


def _clock(time_s: int) -> str:
    days, rest = divmod(time_s, 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{clock}" if days else clock
