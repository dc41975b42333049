"""What a lab looks like before anything runs: names, addresses, and the files SLURM reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

NODE_CPUS = 4
NODE_MEMORY_MIB = 8192
MOST_NODES = 100
NETWORK = "198.18"
"""Labs number their networks below the range that is set aside for benchmarks (RFC 2544)."""


@dataclass(frozen=True)
class NodePlan:
    """One node: its number from 1, and what follows from it."""

    number: int
    network: int

    @property
    def name(self) -> str:
        return f"n{self.number}"

    @property
    def address(self) -> str:
        return f"{NETWORK}.{self.network}.{10 + self.number}"

    @property
    def hardware_address(self) -> str:
        return hardware_address(self.network, self.number)

    @property
    def port_name(self) -> str:
        """Its end of the cable at the bridge, on the login node."""
        return f"orl{self.network}-{self.number}"


@dataclass(frozen=True)
class Layout:
    """One lab: its name, the number of its network (0 to 255), its folder and its nodes."""

    name: str
    network: int
    folder: Path
    count: int
    host: str
    """The machine's own short host name: slurmctld refuses to run under another."""

    @cached_property
    def nodes(self) -> tuple[NodePlan, ...]:
        return tuple(NodePlan(number, self.network) for number in range(1, self.count + 1))

    @property
    def address(self) -> str:
        """The login node's address."""
        return f"{NETWORK}.{self.network}.1"

    @property
    def bridge(self) -> str:
        return f"orl{self.network}"

    @property
    def bridge_hardware_address(self) -> str:
        return hardware_address(self.network, 0)

    @property
    def configuration(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def munge_socket(self) -> Path:
        return self.folder / "munge" / "socket"

    @property
    def shared(self) -> Path:
        return self.folder / "shared"

    def node_folder(self, node: NodePlan) -> Path:
        return self.folder / "nodes" / node.name


def hardware_address(network: int, number: int) -> str:
    return f"02:4f:52:00:{network:02x}:{number:02x}"


def slurm_conf(layout: Layout) -> str:
    """The slurm.conf of a lab.

    Times are short, so that tests see in seconds what a cluster does in minutes.
    """
    folder = layout.folder
    nodes = "\n".join(
        f"NodeName={node.name} NodeHostname={node.name} NodeAddr={node.address}"
        for node in layout.nodes
    )
    return f"""\
ClusterName={layout.name}
SlurmctldHost={layout.host}({layout.address})
SlurmctldPort={20000 + layout.network}
SlurmdPort=6818
SlurmUser=root
SlurmdUser=root

AuthType=auth/munge
CredType=cred/munge
# A requeued job waits until its old credential has expired: two minutes by default, and also
# where less than 5 s is said.
AuthInfo=socket={layout.munge_socket},cred_expire=5

StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/nodes/%n/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/nodes/%n/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/nodes/%n/slurmd.log
SlurmctldDebug=verbose
SlurmdDebug=verbose

# Nothing of SLURM's own limits a job here: cgroups may not be ours to use.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none

AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none

SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
EnforcePartLimits=ALL

SlurmdTimeout=15
SlurmctldTimeout=15
MessageTimeout=10
TCPTimeout=2
BatchStartTimeout=20
KillWait=5
# Finished jobs are forgotten soon: what asks for them later has to cope.
MinJobAge=30
ReturnToService=2
SlurmdParameters=config_overrides

NodeName=DEFAULT CPUs={NODE_CPUS} RealMemory={NODE_MEMORY_MIB} State=UNKNOWN
{nodes}

PartitionName=DEFAULT Nodes=ALL MaxTime=INFINITE DefaultTime=60 State=UP
PartitionName=normal Default=YES PriorityTier=1 GraceTime=5
PartitionName=abrupt PriorityTier=1 GraceTime=0
PartitionName=brief PriorityTier=1 MaxTime=1 DefaultTime=1
PartitionName=urgent PriorityTier=10 PreemptMode=OFF
"""


def hosts(layout: Layout) -> str:
    """The /etc/hosts of every node: each other, and the login node by its name."""
    lines = ["127.0.0.1 localhost", f"{layout.address} {layout.host} login"]
    lines += [f"{node.address} {node.name}" for node in layout.nodes]
    return "\n".join(lines) + "\n"
