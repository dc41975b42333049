"""The stand-in's srun: starts a job's ranks on this machine and waits for them.

Run as `srun.py srun [--option[=value]…] COMMAND WORD…` inside a batch script of the stand-in.
"""

import os
import signal
import subprocess
import sys
import time

TAKES_A_WORD = ("--output", "--error", "--ntasks", "-n")


def main() -> int:
    options, command = read(sys.argv[2:])
    count = int(options.get("--ntasks") or options.get("-n") or os.environ["SLURM_NTASKS"])
    # SLURM signals the ranks themselves
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ranks = [start(rank, count, options, command) for rank in range(count)]
    with open(
        os.path.join(os.environ["STAND_IN_STEPS"], f"{os.environ['SLURM_JOB_ID']}.steps"), "a"
    ) as steps:
        steps.write("".join(f"{rank.pid}\n" for rank in ranks))
    return wait(ranks, "--kill-on-bad-exit" in options)


def start(rank, count, options, command):
    nodes = os.environ["SLURM_JOB_NODELIST"].split(",")
    per_node = max(1, count // len(nodes))
    node = min(rank // per_node, len(nodes) - 1)
    environment = {
        **os.environ,
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank - node * per_node),
        "SLURM_NODEID": str(node),
        "SLURMD_NODENAME": nodes[node],
        "SLURM_NTASKS": str(count),
        "SLURM_STEP_NUM_TASKS": str(count),
        "SLURM_STEP_ID": "0",
    }
    # as since 22.05: what sbatch was told is not srun's
    environment["SLURM_CPUS_PER_TASK"] = options.get("--cpus-per-task", "1")
    output = options.get("--output")
    if output is None:
        return process(command, environment, None)
    with open(filled(output, rank), "ab") as log:
        return process(command, environment, log)


def process(command, environment, log):
    return subprocess.Popen(
        command,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT if log else None,
        preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL),
    )


def filled(pattern, rank):
    job = os.environ["SLURM_JOB_ID"]
    marks = {
        "%A": os.environ.get("SLURM_ARRAY_JOB_ID", job),
        "%a": os.environ.get("SLURM_ARRAY_TASK_ID", "4294967294"),
        "%j": job,
        "%t": str(rank),
    }
    for mark, value in marks.items():
        pattern = pattern.replace(mark, value)
    return pattern


def wait(ranks, together):
    """The worst exit status; with `--kill-on-bad-exit`, one that fails takes the others along."""
    while any(rank.poll() is None for rank in ranks):
        if together and any(rank.poll() for rank in ranks):
            for rank in ranks:
                if rank.poll() is None:
                    rank.terminate()
        time.sleep(0.02)
    return max(rank.returncode if rank.returncode >= 0 else 128 - rank.returncode for rank in ranks)


def read(words):
    options = {}
    while words and words[0].startswith("-"):
        word = words.pop(0)
        name, equals, value = word.partition("=")
        options[name] = words.pop(0) if not equals and name in TAKES_A_WORD else value
    return options, words


sys.exit(main())
