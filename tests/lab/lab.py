"""A lab: a SLURM of several nodes on this machine, whose nodes and cables can fail."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.lab import network, node
from tests.lab.errors import LabError
from tests.lab.layout import MOST_NODES, Layout, NodePlan, hosts, slurm_conf
from tests.lab.processes import Started, start, tail
from tests.lab.requirements import SYSTEM_PATH, why_not
from tests.lab.state import State, changed, folder_of, load, names, save, there_is

_LIMIT_S = 300
_DAEMONS = {"munged", "slurmctld"}
_WORKING = {"idle", "mixed", "allocated", "completing"}


class Lab:
    """The lab of that name: one to be made by `up`, or one that is up already.

    What it needs to know it reads from its folder, so several processes may hold it.
    """

    def __init__(self, name: str = "lab", nodes: int = 2, share: Sequence[Path | str] = ()) -> None:
        """`nodes` and `share` (folders below /tmp that all nodes see) count for `up` only."""
        if not name or not name.replace("-", "").isalnum() or len(name) > 30:
            raise LabError(
                f"'{name}' is no name of a lab: give letters, digits and '-', at most 30"
            )
        if not 1 <= nodes <= MOST_NODES:
            raise LabError(f"a lab has 1 to {MOST_NODES} nodes, not {nodes}")
        self.name = name
        self.folder = folder_of(name)
        self._count = nodes
        self._share = [Path(path) for path in share]

    # -- as a whole

    def up(self, *, owned: bool = False) -> Lab:
        """Build it and wait until all nodes can take jobs. A lab of that name goes first.

        An owned lab may be taken down by anyone once this process has gone. Raises `LabError`,
        with nothing left behind.
        """
        reason = why_not()
        if reason:
            raise LabError(reason)
        self.down()
        try:
            self._build(Started.of(os.getpid()) if owned else None)
            self._wait(self._all_idle, "nodes are not ready")
        except BaseException:
            self.down()
            raise
        return self

    def down(self) -> None:
        """End all that it has started and remove its folder and network. May be called always."""
        state = load(self.name)
        if state is not None:
            for name, process in state.processes.items():
                if name in _DAEMONS:
                    process.end()
                else:
                    node.rob_of_power(process)
            network.remove_bridge(_layout(state))
        shutil.rmtree(self.folder, ignore_errors=True)

    def restore(self) -> None:
        """Make it as new for the next test: no jobs, all nodes there, nothing cut or hidden."""
        state = self._state
        if "slurmctld" not in state.processes:
            self.start_controller()
        jobs = set(self.ask(["squeue", "-h", "-o", "%A"]).split())
        if jobs:
            self.ask(["scancel", *jobs])
        for name in self.nodes:
            if self.condition(name) == "off":
                self.revive(name)
            elif self.condition(name) == "cut":
                self.heal(name)
            for folder in state.hidden.get(name, []):
                self.show(name, folder)
        self._wait(lambda: not self.ask(["squeue", "-h"]).strip(), "jobs do not leave")
        for name, said in self.node_states().items():
            if said.startswith("drain"):
                self.ask(["scontrol", "update", f"nodename={name}", "state=resume"])
        self._wait(self._all_idle, "nodes are not idle")

    # -- what it is

    @property
    def address(self) -> str:
        """The login node's address, which all nodes reach."""
        return self._layout.address

    @property
    def shared(self) -> Path:
        """A folder that all nodes and all users see and write."""
        return self._layout.shared

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(plan.name for plan in self._layout.nodes)

    def address_of(self, name: str) -> str:
        return self._plan(name).address

    @property
    def env(self) -> dict[str, str]:
        """What a shell of the login node has set, so that sbatch and the others find this SLURM."""
        return {
            "SLURM_CONF": str(self._layout.configuration),
            "ORRERY_LAB": self.name,
            "ORRERY_LAB_ADDRESS": self.address,
            "ORRERY_LAB_SHARED": str(self.shared),
        }

    def node_states(self) -> dict[str, str]:
        """What SLURM says of each node, e.g. idle, mixed, down."""
        # A star is SLURM's sign for a node that does not answer.
        return {name: said.rstrip("*") for name, said in self._node_states().items()}

    def condition(self, name: str) -> str:
        """What was done to a node: on, cut or off."""
        state = self._state
        if name not in state.processes:
            return "off"
        return "cut" if name in state.cut else "on"

    # -- commands

    def ask(self, words: Sequence[str], timeout_s: float = 60, user: str | None = None) -> str:
        """What a command on the login node says, e.g. `["squeue"]`. Raises `LabError` with its
        error output."""
        return _said([*_as(user), *words], words, timeout_s, self.env)

    def run(
        self,
        name: str,
        words: Sequence[str],
        timeout_s: float = 60,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> str:
        """What a command on a node says. Raises `LabError` with its error output."""
        inside = self.words_on(name, words, user)
        return _said(inside, words, timeout_s, {**self.env, **(env or {})})

    def start(
        self,
        name: str,
        words: Sequence[str],
        log: Path,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a command on a node and go on. It ends with this process, or with the node."""
        known = _environment({**self.env, **(env or {})})
        return start(self.words_on(name, words, user), log, known)

    def words_on(self, name: str, words: Sequence[str], user: str | None = None) -> list[str]:
        """The words that run a command on a node, for a process that the caller starts. It ends
        with the caller, or with the node."""
        return [*self._enter(name), *_as(user), *words]

    # -- failures

    def cut(self, name: str) -> None:
        """The node falls silent: packets are lost, no connection is told."""
        self._enter(name)
        network.cut(self._plan(name))
        self._note_cut(name, True)

    def heal(self, name: str) -> None:
        """The node is reached again. What ran there still runs."""
        self._enter(name)
        network.heal(self._layout, self._plan(name))
        self._note_cut(name, False)

    def kill(self, name: str) -> None:
        """The node loses its power: silent at once, and all that ran there is gone."""
        self.cut(name)
        with changed(self.name) as state:
            first = state.processes.pop(name)
            state.hidden.pop(name, None)
        node.rob_of_power(first)

    def revive(self, name: str) -> None:
        """The node boots again; returns when SLURM has it back, and knows that its jobs died."""
        self._plan(name)
        if name in self._state.processes:
            raise LabError(f"'{name}' has power: only a node that was killed can be revived")
        # A real node boots for longer than SLURM waits for it. One that is back sooner is taken
        # for one that was never away, and its jobs as running for minutes.
        self.ask(["scontrol", "update", f"nodename={name}", "state=down", "reason=power"])
        self._boot([self._plan(name)])
        self._note_cut(name, False)
        self._wait(lambda: self.node_states()[name] in _WORKING, f"{name} does not come back")

    def hide(self, name: str, folder: Path | str) -> None:
        """The node sees an empty folder there from now on, until `show` or its next boot."""
        self.run(name, ["mount", "-t", "tmpfs", "tmpfs", str(folder)])
        with changed(self.name) as state:
            state.hidden.setdefault(name, []).append(str(folder))

    def show(self, name: str, folder: Path | str) -> None:
        """The node sees what is really there again."""
        self.run(name, ["umount", "--lazy", str(folder)])
        with changed(self.name) as state:
            state.hidden[name].remove(str(folder))

    def stop_controller(self, *, crash: bool = False) -> None:
        """slurmctld ends, as for an upgrade: squeue and sbatch fail, jobs go on. In a crash it
        forgets what it was told in its last seconds (it saves every 5 s)."""
        with changed(self.name) as state:
            state.processes.pop("slurmctld").end(0.0 if crash else _LIMIT_S)

    def start_controller(self) -> None:
        """slurmctld starts from what it had saved; returns when it answers. For some seconds it
        takes every node as one that does not answer."""
        configuration = str(self._layout.configuration)
        self._start("slurmctld", ["slurmctld", "-D", "-f", configuration])
        self._wait(self._controller_answers, "slurmctld does not answer")

    def restart_controller(self, *, crash: bool = False) -> None:
        self.stop_controller(crash=crash)
        self.start_controller()

    # -- inside

    @property
    def _state(self) -> State:
        return there_is(self.name)

    @property
    def _layout(self) -> Layout:
        return _layout(self._state)

    def _plan(self, name: str) -> NodePlan:
        for plan in self._layout.nodes:
            if plan.name == name:
                return plan
        raise LabError(f"no node '{name}' in lab '{self.name}': it has {', '.join(self.nodes)}")

    def _enter(self, name: str) -> list[str]:
        self._plan(name)
        state = self._state
        if name not in state.processes:
            raise LabError(f"'{name}' has no power: python -m tests.lab revive {name}")
        return node.entering(state.processes[name])

    def _note_cut(self, name: str, is_cut: bool) -> None:
        with changed(self.name) as state:
            state.cut = sorted({*state.cut, name} if is_cut else {*state.cut} - {name})

    def _build(self, owner: Started | None) -> None:
        self.folder.mkdir()
        share = [str(path) for path in node.shared_below_tmp(self._share)]
        state = State(self.name, 0, self._count, _host(), share, owner)
        while not network.make_bridge(_layout(state)):
            state.network += 1
            if state.network > 255:
                raise LabError("256 labs are up already")
        save(state)
        layout = _layout(state)
        for folder in (layout.shared, layout.munge_socket.parent, self.folder / "state"):
            folder.mkdir()
        layout.shared.chmod(0o1777)
        layout.configuration.write_text(slurm_conf(layout))
        (self.folder / "hosts").write_text(hosts(layout))
        (self.folder / "resolv.conf").touch()
        self._start_munged()
        self.start_controller()
        self._boot(layout.nodes)

    def _start_munged(self) -> None:
        socket_path = self._layout.munge_socket
        folder = socket_path.parent
        key = folder / "key"
        key.touch(0o600)
        key.write_bytes(os.urandom(128))
        files = [f"--key-file={key}", f"--socket={socket_path}", f"--seed-file={folder}/seed"]
        files += [f"--pid-file={folder}/pid", f"--log-file={folder}/log"]
        # By force: it takes offence at folders below /tmp, which others may write to.
        self._start("munged", ["munged", "--foreground", "--force", *files])
        self._wait(socket_path.exists, "munged does not answer")

    def _start(self, daemon: str, words: Sequence[str]) -> None:
        process = start(words, self.folder / f"{daemon}.out", _environment(self.env, bare=True))
        with changed(self.name) as state:
            state.processes[daemon] = Started.of(process.pid)

    def _boot(self, plans: Sequence[NodePlan]) -> None:
        layout = self._layout
        environment = _environment(self.env, bare=True)
        for plan in plans:
            process = node.boot(layout, plan, self._state.share, environment)
            with changed(self.name) as state:
                state.processes[plan.name] = Started.of(process.pid)
            node.plug_in(layout, plan, process)

    def _node_states(self) -> dict[str, str]:
        lines = self.ask(["sinfo", "-h", "-N", "-p", "normal", "-o", "%N %T"]).splitlines()
        return dict(line.split(maxsplit=1) for line in lines)

    def _all_idle(self) -> bool:
        return set(self._node_states().values()) == {"idle"}

    def _controller_answers(self) -> bool:
        try:
            return "is UP" in self.ask(["scontrol", "ping"])
        except LabError:
            return False

    def _wait(self, reached: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + _LIMIT_S
        while not reached():
            for name, process in self._state.processes.items():
                if not process.runs():
                    raise LabError(f"{name} of lab '{self.name}' has ended: {self._heard(name)}")
            if time.monotonic() > deadline:
                heard = self._heard("slurmctld")
                raise LabError(f"lab '{self.name}': {otherwise} after {_LIMIT_S} s; {heard}")
            time.sleep(0.1)

    def _heard(self, name: str) -> str:
        if name in _DAEMONS:
            return tail(self.folder / f"{name}.out")
        return tail(self.folder / "nodes" / name / "console.log")


def sweep() -> None:
    """Take down the labs whose owners have gone without doing it."""
    for name in names():
        state = load(name)
        if state is not None and state.owner is not None and not state.owner.runs():
            Lab(name).down()


def _layout(state: State) -> Layout:
    return Layout(state.name, state.network, folder_of(state.name), state.count, state.host)


def _host() -> str:
    return socket.gethostname().split(".")[0]


def _environment(known: Mapping[str, str], *, bare: bool = False) -> dict[str, str]:
    """This process's environment with that added; bare: only what a system's daemon has."""
    if bare:
        return {"HOME": "/root", "LANG": "C.UTF-8", "PATH": SYSTEM_PATH, **known}
    return {**os.environ, "PATH": SYSTEM_PATH, **known}


def _as(user: str | None) -> list[str]:
    """The words before a command of that user; the command ends with the one who started it."""
    words = ["setpriv", "--pdeathsig", "KILL"]
    if user is None:
        return words
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise LabError(f"this machine has no user '{user}'") from None
    ids = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    return [*words, *ids, "env", f"USER={user}", f"HOME={account.pw_dir}"]


def _said(
    words: Sequence[str], shown: Sequence[str], timeout_s: float, known: Mapping[str, str]
) -> str:
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=_environment(known),
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"'{shlex.join(shown)}' did not end within {timeout_s:g} s") from None
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
        raise LabError(f"'{shlex.join(shown)}' failed: {said}")
    return done.stdout
