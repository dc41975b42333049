"""The lab by hand: `python -m tests.lab up`, `down`, `cut`, `heal`, `kill`, `revive`, `status`,
`env`, `run`, `hide`, `show`, `restart-controller`."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence

from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.state import names


def main(words: Sequence[str] | None = None) -> int:
    """Carry out one command; gives the exit code."""
    asked = _parser().parse_args(words)
    try:
        return _carry_out(asked)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _carry_out(asked: argparse.Namespace) -> int:
    lab = Lab(asked.name)
    match asked.command:
        case "up":
            lab = Lab(asked.name, asked.nodes, asked.share).up()
            print(f"lab '{lab.name}' is up: {', '.join(lab.nodes)}; login node {lab.address}")
            print(f'eval "$({sys.executable} -m tests.lab env --name {lab.name})"')
        case "down":
            lab.down()
        case "status":
            _show(lab, as_json=asked.json)
        case "env":
            for name, value in lab.env.items():
                print(f"export {name}={shlex.quote(value)}")
        case "run":
            environment = {**os.environ, **lab.env}
            return subprocess.run(lab.words_on(asked.node, asked.words), env=environment).returncode
        case "hide" | "show":
            getattr(lab, asked.command)(asked.node, asked.folder)
        case "restart-controller":
            lab.restart_controller()
        case _:
            getattr(lab, asked.command)(asked.node)
    return 0


def _show(lab: Lab, *, as_json: bool) -> None:
    said = lab.node_states()
    rows = [
        {
            "node": name,
            "address": lab.address_of(name),
            "condition": lab.condition(name),
            "slurm": said.get(name),
        }
        for name in lab.nodes
    ]
    if as_json:
        print(json.dumps({"lab": lab.name, "address": lab.address, "nodes": rows}, indent=2))
        return
    print(f"lab '{lab.name}', login node {lab.address} (labs here: {', '.join(names())})")
    for row in rows:
        print("  ".join(str(value).ljust(14) for value in row.values()).rstrip())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, told: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=told)
        added.add_argument("--name", default="lab", help="which lab")
        return added

    up = command("up", "build a lab")
    up.add_argument("--nodes", type=int, default=3)
    up.add_argument(
        "--share", action="append", default=[], help="a folder below /tmp for all nodes"
    )
    command("down", "end all of it")
    command("status", "its nodes").add_argument("--json", action="store_true")
    command("env", "prints the exports for a shell")
    command("restart-controller", "kill slurmctld and start it")
    for name, told in (
        ("cut", "lose all packets of a node, silently"),
        ("heal", "undo a cut"),
        ("kill", "take a node's power"),
        ("revive", "boot a killed node"),
        ("hide", "show a node an empty folder"),
        ("show", "undo a hide"),
        ("run", "run a command on a node"),
    ):
        added = command(name, told)
        added.add_argument("node")
        if name in {"hide", "show"}:
            added.add_argument("folder")
        if name == "run":
            added.add_argument("words", nargs="+", metavar="WORD", help="after --")
    return parser


if __name__ == "__main__":
    sys.exit(main())
