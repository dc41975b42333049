"""Where the ranks of a trial meet, and the environment in which each of them finds the others.

The variables are those of `torchrun`: torch.distributed and Accelerate read them by themselves.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

LOOPBACK = "127.0.0.1"

_AGENT_STORE = "TORCHELASTIC_USE_AGENT_STORE"
"""Set to "True", every rank is a client of the store, and none opens one of its own."""

_joined: Counter[tuple[str, int]] = Counter()
"""How many groups this process has joined, by where."""

_left: list[Any] = []
"""Groups that were left and may still be held by a model."""


@dataclass(frozen=True)
class Rendezvous:
    """A key-value store that the ranks of one attempt meet at. Keep it while they run.

    Its port is bound when it is made and held until it is dropped: nobody can take it meanwhile.
    """

    address: str
    port: int
    store: Any

    @classmethod
    def host(cls, address: str) -> Rendezvous:
        """A new one on a free port of this host's `address`, and on no other address."""
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.bind((address, 0))
        port = int(listening.getsockname()[1])
        store = TCPStore(
            address,
            port,
            is_master=True,
            wait_for_workers=False,
            master_listen_fd=listening.detach(),
        )
        return cls(address, port, store)


def rank_environments(hosts: Sequence[str], address: str, port: int) -> list[dict[str, str]]:
    """The variables of each rank, given the host that each one runs on.

    Where all share a host, gloo is held to the loopback interface.
    """
    found = []
    for rank, host in enumerate(hosts):
        variables = {
            "RANK": rank,
            "WORLD_SIZE": len(hosts),
            "LOCAL_RANK": hosts[:rank].count(host),
            "LOCAL_WORLD_SIZE": hosts.count(host),
            "MASTER_ADDR": address,
            "MASTER_PORT": port,
            _AGENT_STORE: True,
        }
        loopback = _loopback_interface() if len(set(hosts)) == 1 else None
        if loopback is not None:
            variables["GLOO_SOCKET_IFNAME"] = loopback
        found.append({name: str(value) for name, value in variables.items()})
    return found


@contextmanager
def environment(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Within the block this process has these variables, and none that is None here; those from
    before are put back."""
    before = {name: os.environ.get(name) for name in variables}
    _set(variables)
    try:
        yield
    finally:
        _set(before)


def join_group(backend: str) -> None:
    """Joins the process group that this process's environment names, if it names one.

    Every rank joins as often as the others: a group has its own part of the store, since what an
    earlier one has left there would mislead it.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _AGENT_STORE not in os.environ:
        return
    let_go_of_groups()
    from torch.distributed import (  # type: ignore[attr-defined]
        PrefixStore,
        TCPStore,
        init_process_group,
    )

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    _joined[address, port] += 1
    store = TCPStore(address, port, is_master=False)
    init_process_group(
        backend,
        store=PrefixStore(f"group-{_joined[address, port]}", store),
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
    )


def leave_group() -> None:
    """Ends this process's part in a process group; nothing happens where there is none.

    The group itself lives on until `let_go_of_groups`. Were a model wrapped for data parallelism
    the last to hold it, the model's end would wait for the group's thread with Python's global
    lock taken, and that thread may need the lock for its last clean-up: both would wait for ever.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        _left.append(distributed.group.WORLD)
        distributed.destroy_process_group()


def let_go_of_groups() -> None:
    """Frees the groups that were left, once no model uses them: after a trial, not within it."""
    if _left:
        gc.collect()  # a model that is only held by itself
        _left.clear()


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _loopback_interface() -> str | None:
    names = [name for _, name in socket.if_nameindex()]
    return next((name for name in ("lo", "lo0") if name in names), None)
