"""The stand-in's slurmctld: a thread that queues jobs, starts them and answers the commands."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from tests.cluster.stand_in import words as answers
from tests.cluster.stand_in.jobs import Job, Refused, Script, indices, options_of

HERE = Path(__file__).parent
COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "sacctmgr")
TICK_S = 0.02


class SlurmStandIn:
    """A SLURM on this machine, until `stop`. Its attributes may be set at any time."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="orrery-si-", dir="/tmp"))
        self.bin = self.folder / "bin"
        self.calls: list[list[str]] = []
        """Every command that was given, with its words."""

        self.nodes: dict[str, int] = {"s1": 2, "s2": 2}
        """How many jobs or tasks each node runs at once."""
        self.partitions: dict[str, str] = {"main": "infinite", "short": "00:10:00"}
        """Names, the default first, and their time limits."""
        self.down_partitions: set[str] = set()
        self.cluster_name = "stand-in"
        self.max_array_size = 1001
        self.max_submit: int | None = None
        self.tells_max_submit = True
        """Whether sacctmgr tells it, or sbatch alone."""
        self.accounting: Literal["on", "off", "empty"] = "on"
        self.kill_wait_s = 5.0
        self.seconds_per_second = 1.0
        """A time limit of a minute takes so many minutes."""

        self.failing: dict[str, str] = {}
        """What commands say while they refuse, by their name."""
        self.failing_after: dict[str, int] = {}
        """How many more calls of a command are answered before it refuses."""
        self.losing: set[str] = set()
        """Commands that are carried out, but whose answer is lost."""
        self.silent: set[str] = set()
        """Commands that succeed and print nothing."""
        self.hanging: set[str] = set()
        """Commands that give no answer before `stop`."""

        self.away = False
        """Whether the controller cannot be reached; its jobs go on."""

        self.jobs: dict[str, Job] = {}
        self.lock = threading.RLock()
        self._forgotten: set[str] = set()
        self._stopped = threading.Event()
        self._next = 1
        self._threads: list[threading.Thread] = []
        self._server: socketserver.ThreadingUnixStreamServer | None = None

    def start(self) -> None:
        self._write_commands()
        stand_in = self

        class Answer(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                asked = json.loads(self.rfile.readline())
                if stand_in.away:
                    return
                code, out, err = stand_in._answer(**asked)
                with contextlib.suppress(BrokenPipeError):
                    self.wfile.write(json.dumps([code, out, err]).encode() + b"\n")

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(str(self.folder / "socket"), Answer)
        for work in (lambda: self._server and self._server.serve_forever(0.05), self._run):
            self._threads.append(threading.Thread(target=work, daemon=True))
            self._threads[-1].start()

    def stop(self) -> None:
        """Kills what runs and removes everything."""
        self._stopped.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        for thread in self._threads:
            thread.join(5)
        for job in self.running():
            job.kill()
            if job.process is not None:
                job.process.wait(5)
        shutil.rmtree(self.folder, ignore_errors=True)

    def count(self, command: str) -> int:
        """How often a command was given."""
        return sum(call[0] == command for call in self.calls)

    def running(self) -> list[Job]:
        with self.lock:
            return [job for job in self.jobs.values() if job.state == "RUNNING"]

    def wait(self, timeout_s: float = 30) -> None:
        """Until nothing runs or waits but what is held. Raises `TimeoutError`."""
        deadline = time.monotonic() + timeout_s
        while any(not job.ended and not job.held for job in list(self.jobs.values())):
            if time.monotonic() > deadline:
                raise TimeoutError({job.id: job.state for job in self.jobs.values()})
            time.sleep(TICK_S)

    def preempt(self, id: str) -> None:
        """As a job of a partition of higher priority does it, with PreemptMode=REQUEUE."""
        with self.lock:
            job = self.jobs[id]
            requeued = "no-requeue" not in job.script.options
            job.tell_to_leave("PENDING" if requeued else "PREEMPTED", self.kill_wait_s)

    def lose_node(self, node: str) -> None:
        """Kills what runs on a node at once; jobs that may be are put back into the queue."""
        with self.lock:
            for job in self.running():
                if node in job.nodes:
                    requeued = "no-requeue" not in job.script.options
                    job.leaving = "PENDING" if requeued else "NODE_FAIL"
                    job.kill()

    def forget_ended(self) -> None:
        """As slurmctld does some minutes after a job's end: the accounting alone knows it then."""
        with self.lock:
            self._forgotten |= {id for id, job in self.jobs.items() if job.ended}

    def visible(self) -> list[Job]:
        """What the controller knows of."""
        return [job for id, job in self.jobs.items() if id not in self._forgotten]

    def submit(self, given: list[str], folder: str, environment: dict[str, str]) -> str:
        options, path, text = options_of(
            [str(Path(folder, w)) if w.endswith(".sh") else w for w in given], environment
        )
        options.setdefault("partition", next(iter(self.partitions)))
        options.setdefault("job-name", Path(path).name or "wrap")
        which, _ = indices(options["array"]) if "array" in options else ([], 0)
        self._refuse(options, which)
        environment = {
            **environment,
            "STAND_IN_STEPS": str(self.folder / "steps"),
            "SLURM_CLUSTER_NAME": self.cluster_name,
        }
        base = self._next
        self._next += max(1, len(which))
        script = Script(base, text, options, folder, environment)
        held = "hold" in options
        for number, index in enumerate(which or [None]):
            job = Job(script, index, base + number, held=held)
            job.reason = "JobHeldUser" if held else "Priority"
            self.jobs[job.id] = job
        return f"Submitted batch job {base}\n"

    def _refuse(self, options: dict[str, str], which: list[int]) -> None:
        failed = "sbatch: error: Batch job submission failed: "
        if options["partition"] not in self.partitions:
            raise Refused(
                f"sbatch: error: invalid partition specified: {options['partition']}\n"
                f"{failed}Invalid partition name specified"
            )
        if which and max(which) >= self.max_array_size:
            raise Refused(f"{failed}Invalid job array specification")
        waiting = sum(not job.ended for job in self.jobs.values())
        if self.max_submit is not None and waiting + max(1, len(which)) > self.max_submit:
            raise Refused(
                "sbatch: error: AssocMaxSubmitJobLimit\n"
                f"{failed}Job violates accounting/QOS policy (job submit limit, user's size "
                "and/or time limits)"
            )

    def _answer(
        self, words: list[str], folder: str, environment: dict[str, str]
    ) -> tuple[int, str, str]:
        command = words[0]
        with self.lock:
            self.calls.append(words)
            if command in self.failing:
                left = self.failing_after.get(command, 0)
                self.failing_after[command] = left - 1
                if left <= 0:
                    return 1, "", self.failing[command]
            if command in self.silent:
                return 0, "", ""
        if command in self.hanging:
            self._stopped.wait()
            return 1, "", ""
        try:
            with self.lock:
                if command == "sbatch":
                    said = self.submit(words[1:], folder, environment)
                else:
                    said = answers.answer(self, words)
        except Refused as refusal:
            return 1, "", str(refusal)
        except Exception as error:  # shown to who asked, not lost in a thread
            return 1, "", f"{command}: error: the stand-in failed: {error!r}"
        if command in self.losing:
            return 1, "", f"{command}: error: Socket timed out on send/recv operation"
        return 0, said, ""

    def _run(self) -> None:
        """Starts what may start, tells and kills what has to leave, notices what has ended."""
        while not self._stopped.wait(TICK_S):
            with self.lock:
                for job in self.running():
                    self._look_after(job)
                self._start_waiting()

    def _look_after(self, job: Job) -> None:
        now = time.monotonic()
        assert job.process is not None
        code = job.process.poll()
        if code is not None:
            self._ended(job, code)
            return
        limit = job.script.limit_s * self.seconds_per_second
        left = job.started_at + limit - now
        notice = job.script.notice
        if notice and not job.noticed and left <= notice[1] * self.seconds_per_second:
            job.noticed = True
            job.signal_steps(signal.SIGCONT)
            job.signal_steps(notice[0])
        if left <= 0:
            job.tell_to_leave("TIMEOUT", self.kill_wait_s)
        if job.leaving and now >= job.kill_at:
            job.kill()

    def _ended(self, job: Job, code: int) -> None:
        job.kill()  # what it has left behind
        becomes = job.leaving or ("COMPLETED" if code == 0 else "FAILED")
        job.leaving, job.process = None, None
        job.state = becomes
        if becomes == "PENDING":
            job.restarts += 1
            job.nodes, job.reason = [], "BeginTime"
        else:
            job.ended_at = time.monotonic()
            job.reason = "None" if becomes == "COMPLETED" else "NonZeroExitCode"

    def _start_waiting(self) -> None:
        running = self.running()
        free = {
            node: slots - sum(node in job.nodes for job in running)
            for node, slots in self.nodes.items()
        }
        at_once: dict[int, int] = {}
        for job in running:
            at_once[job.script.base] = at_once.get(job.script.base, 0) + 1
        for job in self._startable(at_once):
            wanted = int(job.script.option("nodes", "1"))
            nodes = [node for node, slots in free.items() if slots > 0][:wanted]
            if len(nodes) < wanted:
                job.reason = "Resources"
                return
            try:
                job.start(nodes)
            except OSError:  # no such folder: as in SLURM, the job has failed
                job.state = "FAILED"
                continue
            at_once[job.script.base] = at_once.get(job.script.base, 0) + 1
            for node in nodes:
                free[node] -= 1

    def _startable(self, at_once: dict[int, int]) -> Iterator[Job]:
        for job in list(self.jobs.values()):
            if job.state != "PENDING" or job.held:
                continue
            array = job.script.option("array")
            if array and at_once.get(job.script.base, 0) >= indices(array)[1]:
                job.reason = "JobArrayTaskLimit"
            elif self._waits(job.script.option("dependency")):
                job.reason = "Dependency"
            else:
                yield job

    def _waits(self, dependency: str) -> bool:
        base = dependency.partition(":")[2]
        return any(str(job.script.base) == base and not job.ended for job in self.jobs.values())

    def _write_commands(self) -> None:
        self.bin.mkdir()
        (self.folder / "steps").mkdir()
        for name in (*COMMANDS, "srun"):
            script = HERE / ("srun.py" if name == "srun" else "client.py")
            path = self.bin / name
            path.write_text(
                f"#!/bin/sh\nexec '{sys.executable}' -I -S '{script}' "
                f'{"" if name == "srun" else self.folder / "socket"} {name} "$@"\n'
            )
            path.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment, with the stand-in's commands first on PATH."""
        return {**os.environ, "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}"}

    def command(self, *words: str) -> str:
        """What one of its commands prints, as a shell would run it."""
        done = subprocess.run(
            list(words), env=self.environment, capture_output=True, text=True, check=True
        )
        return done.stdout
