"""Why a trial failed, told from its files."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.attempts import Attempt, attempts, outcomes
from orchestrator.errors import DamagedFileError, UsageError
from orchestrator.home import Home
from orchestrator.ledger import TrialRecord, read_trial
from orchestrator.log_files import log_path
from orchestrator.plan_file import NAME as PLAN_NAME
from orchestrator.plan_file import ListedTrial, read_plan
from telemetry.dense.causes import Cause, root_causes
from telemetry.events import Tier
from telemetry.parquet import events_in_order

TAIL_LINES = 30
CAUSES_SHOWN = 5
DENSE: tuple[Tier, ...] = (3,)


@dataclass(frozen=True)
class Trace:
    """A trial's story: its attempts, the last failure, and how to see it again.

    `causes` are the triggers of dense recording, the earliest first; `unreadable` says why its
    events cannot be asked for them.
    """

    record: TrialRecord
    label: str
    folder: Path
    story: Sequence[str]
    traceback: str
    reproduce: str
    replay: str | None
    """The command that runs it again from its record and touches nothing; None if it runs."""
    causes: Sequence[Cause] = ()
    unreadable: str | None = None
    log: Path | None = None
    """What the newest attempt that printed anything has printed, of rank 0."""

    def to_json(self) -> dict[str, Any]:
        failure = self.record.failure
        return {
            "id": self.record.identity,
            "label": self.label,
            "state": self.record.state,
            "attempts": self.record.attempts,
            "failure": {"kind": failure.kind, "cause": failure.cause} if failure else None,
            "story": list(self.story),
            "traceback": self.traceback,
            "folder": str(self.folder),
            "reproduce": self.reproduce,
            "replay": self.replay,
            "causes": [cause.to_json() for cause in self.causes],
            "unreadable": self.unreadable,
            "log": str(self.log) if self.log is not None else None,
        }

    def text(self) -> str:
        failure = self.record.failure
        lines = [f"{self.label}: {self.record.state}"]
        if failure is not None:
            lines.append(f"{failure.kind}: {failure.cause}")
        lines += [f"  {line}" for line in self.story]
        lines += _causes_text(self.causes)
        if self.unreadable is not None:
            lines.append(f"dense traces cannot be read: {self.unreadable}")
        if self.traceback:
            lines += ["", *self.traceback.splitlines()[-TAIL_LINES:], ""]
        lines.append(f"files: {self.folder}")
        if self.log is not None:
            lines.append(f"log: {self.log} (orrery logs {self.record.identity[:8]})")
        lines.append(f"reproduce: {self.reproduce}")
        if self.replay is not None:
            lines.append(f"replay: {self.replay}")
        return "\n".join(lines)


def trace_trial(name: str, home: str | Path | None = None) -> Trace:
    """Finds a trial as `find_trial` does. Raises `UsageError`."""
    place = Home.find(home)
    identity = find_trial(place, name)
    folder = place.trial(identity)
    record = read_trial(place, identity)
    tries = attempts(folder)
    arm, study, label = _asked_for(place, identity, tries)
    published = {outcome.attempt for outcome in outcomes(folder)}
    causes: Sequence[Cause] = ()
    unreadable = None
    try:
        causes = root_causes(events_in_order(folder, DENSE))
    except OSError as error:
        unreadable = str(error)
    return Trace(
        record=record,
        label=label,
        folder=folder,
        story=[_told(one, one.number in published) for one in tries],
        traceback=_traceback(tries),
        reproduce=_reproduce(place, study, identity, record) if study else f"(no study: {arm})",
        replay=_replay(place, identity) if record.state in ("done", "failed", "pruned") else None,
        causes=causes,
        unreadable=unreadable,
        log=next(
            (path for one in reversed(tries) if (path := log_path(one.folder)).exists()), None
        ),
    )


def find_trial(home: Home, name: str, *, planned: bool = False) -> str:
    """The one identity that `name` stands for: an id, the start of one, a label as `orrery status
    --json` lists it, or `ARM seed N` as `orrery watch` shows it.

    `planned`: of the trials too that no attempt has begun. Raises `UsageError` if none or several.
    """
    known = home.identities() | (_ever_planned(home) if planned else set())
    wanted = name.rpartition("-")[2] if "=" in name else name
    found = sorted(identity for identity in known if identity.startswith(wanted))
    if not found and (shown := re.fullmatch(r"(.+) seed (\d+)", name)):
        found = sorted(_planned(home, shown[1], int(shown[2])) & known)
        if len(found) > 1:
            raise UsageError(
                f"'{name}' are {len(found)} trials, of different studies or settings: "
                f"{', '.join(found[:5])}. Give the start of one."
            )
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"No trial '{name}' in '{home.root}'. orrery status STUDY --json lists their ids."
        )
    raise UsageError(
        f"'{name}' is the start of {len(found)} trials: {', '.join(found[:5])}. Give more of it."
    )


def studies_of(home: Home, identity: str) -> list[Path]:
    """The folders of the studies that have planned a trial."""
    files = home.studies.glob(f"*/{PLAN_NAME}")
    return [file.parent for file in files if identity.encode() in file.read_bytes()]


def _planned(home: Home, arm: str, seed: int) -> set[str]:
    """Identities under which studies of the home have planned an arm with a seed."""
    return {t.id for t in _listed(home) if (t.arm, t.seed) == (arm, seed)}


def _ever_planned(home: Home) -> set[str]:
    return {trial.id for trial in _listed(home)}


def _listed(home: Home) -> Iterator[ListedTrial]:
    """The trials that studies of the home have planned."""
    for file in home.studies.glob(f"*/{PLAN_NAME}"):
        with suppress(DamagedFileError):
            yield from read_plan(file.parent).trials


def _told(attempt: Attempt, published: bool) -> str:
    claim, end = attempt.claim(), attempt.end()
    who = f"process {claim.process.pid} on {claim.process.host}" if claim else "unclaimed"
    if end is None:
        how = {"dead": "died", "alive": "runs", "unknown": "of another host"}
        stands = "published" if published else how[attempt.life()]
        return f"attempt {attempt.number}: {who}: {stands}"
    cause = f": {end.failure.kind}: {end.failure.cause}" if end.failure else ""
    return f"attempt {attempt.number}: {who}: {end.state}{cause}"


def _causes_text(causes: Sequence[Cause]) -> list[str]:
    """What dense traces tell, the earliest of it: what came later mostly follows from that."""
    if not causes:
        return []
    lines = ["seen in dense traces:", *(f"  {cause.text()}" for cause in causes[:CAUSES_SHOWN])]
    if len(causes) > CAUSES_SHOWN:
        lines.append(f"  and {len(causes) - CAUSES_SHOWN} more triggers (--json lists them)")
    return lines


def _traceback(tries: Sequence[Attempt]) -> str:
    for attempt in reversed(tries):
        try:
            return (attempt.folder / "error.txt").read_text(errors="replace").strip()
        except FileNotFoundError:
            continue
    return ""


def _asked_for(home: Home, identity: str, tries: Sequence[Attempt]) -> tuple[str, str, str]:
    """Arm, study instance and label of the last attempt."""
    claim = next((c for a in reversed(tries) if (c := a.claim()) is not None), None)
    if claim is None:
        return "", "", identity
    try:
        plan = json.loads((home.study(claim.study) / "plan.json").read_bytes())
    except (OSError, ValueError):
        return "", claim.study, identity
    for trial in plan["trials"]:
        if trial["id"] == identity:
            label = f"{trial['arm']} replicate {trial['replicate']} ({identity})"
            return trial["arm"], claim.study, label
    return "", claim.study, identity


def _replay(home: Home, identity: str) -> str:
    return shlex.join(["orrery", "replay", identity[:8], "--home", str(home.root)])


def _reproduce(home: Home, study: str, identity: str, record: TrialRecord) -> str:
    verb = "retry" if record.state == "failed" else "run"
    file = home.study(study) / "study.yaml"
    words = ["orrery", verb, str(file), "--home", str(home.root), "--only", identity[:8]]
    words += ["--again", identity[:8]] if record.state == "done" else []
    return shlex.join(words)
