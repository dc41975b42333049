"""Records the source digests of the registered workloads in `digests.json`.

python tests/workloads/record_digest.py WORKLOAD --why "only a comment changed"
python tests/workloads/record_digest.py WORKLOAD            (its version was raised)
python tests/workloads/record_digest.py --reset             (before a first release)
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from workloads.registry import load_workload, registered
from workloads.source_digest import source_digest

RECORD = Path(__file__).with_name("digests.json")


def current(name: str) -> dict[str, Any]:
    """Version and digest of a workload as it stands."""
    workload = load_workload(name)
    return {"version": workload.version, "digest": source_digest(workload.sources), "waivers": []}


def problem(name: str, record: dict[str, Any] | None, now: dict[str, Any]) -> str | None:
    """What is wrong with the record of a workload; None if it is right."""
    command = f"{Path(sys.executable).name} tests/workloads/record_digest.py {name}"
    if record is None:
        return f"workload '{name}' is not recorded. Run: {command}"
    if now["version"] != record["version"]:
        return (
            f"workload '{name}' is version {now['version']}, recorded is {record['version']}. "
            f"Run: {command}"
        )
    accepted = [record["digest"], *(w["digest"] for w in record["waivers"] if w["why"].strip())]
    if now["digest"] in accepted:
        return None
    return (
        f"the sources of workload '{name}' have changed ({record['digest']} to {now['digest']}) "
        f"and its version has not. If an unchanged configuration now gives other numbers, raise "
        f"`version` and run: {command}\n"
        f'If it gives the same numbers, say why: {command} --why "…"'
    )


def read() -> dict[str, Any]:
    """The record; empty if there is none."""
    found: dict[str, Any] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    return found


def main() -> None:
    """Writes the record anew; refuses a change that is neither versioned nor explained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("workload", nargs="?")
    parser.add_argument("--why", default="")
    parser.add_argument("--reset", action="store_true", help="forget versions and waivers")
    given = parser.parse_args()
    record = {} if given.reset else read()
    for name in [given.workload] if given.workload else sorted(registered()):
        now, before = current(name), record.get(name)
        if before is None or now["version"] > before["version"]:
            record[name] = now
        elif problem(name, before, now) is not None:
            if now["version"] < before["version"] or not given.why.strip():
                parser.error(str(problem(name, before, now)))
            before["waivers"].append({"digest": now["digest"], "why": given.why.strip()})
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
