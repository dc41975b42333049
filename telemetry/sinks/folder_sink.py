"""What the sinks that write plain files share: everything but the form of the metric rows.

    FOLDER/store.json                           names the store
           studies/<study>.json                 question, verdict, tags, parameters, state
           runs/<study>/<trial>.json            arm, factors, parameters, tags, how it ended
           metrics/<study>/<trial>.*            metric rows
           artifacts/<study>/study/…            artifacts/<study>/<trial>/…

`<study>` is `StudyRun.key`. Every JSON file appears whole or not at all.
"""

from __future__ import annotations

import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Protocol
from urllib.parse import quote

import msgspec

from telemetry.filesystem import locked, replace
from telemetry.rowlog import Row
from telemetry.runs import StudyRun, TrialEnd, TrialRun, flattened
from telemetry.sinks.protocol import RunGoneError, SinkError, SinkUnavailableError

FORM_VERSION = 1
_REFUSED = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)


class StudyFile(msgspec.Struct, frozen=True, kw_only=True):
    """A study as it stands in ``studies/<study>.json``."""

    run: str
    study: str
    instance: str
    origin: str
    state: str
    note: str
    tags: dict[str, str]
    params: dict[str, str]
    started_ms: int | None = None
    ended_ms: int | None = None
    figures: dict[str, float | None] = {}
    v: int = FORM_VERSION


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """A trial's run as it stands in ``runs/<study>/<trial>.json``. None: it has not ended."""

    run: str
    study: str
    trial: str
    name: str
    arm: str
    role: str
    replicate: int
    label: str
    state: str
    reused: bool
    owner: str | None
    factors: dict[str, Any]
    params: dict[str, str]
    tags: dict[str, str]
    started_ms: int | None = None
    ended_ms: int | None = None
    attempts: int | None = None
    resumed_at: int | None = None
    failure: str | None = None
    cause: str | None = None
    v: int = FORM_VERSION


class RunRow(Row, frozen=True, omit_defaults=False, kw_only=True):
    """A metric row that says whose it is."""

    study: str
    trial: str
    arm: str
    replicate: int


class RowStore(Protocol):
    """The metric rows of one run."""

    def append(self, rows: Sequence[RunRow]) -> None:
        """Keeps those whose (key, step) has no row yet."""

    def settle(self) -> None:
        """The run has ended: its rows take their lasting form."""

    def gone(self) -> bool:
        """Whether rows that were kept have been removed since."""


class FolderSink(ABC):
    """A sink that writes below `folder`, which is made. A subclass says how rows are kept.

    Two processes may write different studies at once; what stands there already is not read as a
    whole. Nothing is made before the first call.
    """

    scheme: ClassVar[str]

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self._runs: dict[Path, str] = {}
        self._rows: dict[Path, RowStore] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "_runs": {}, "_rows": {}}

    @abstractmethod
    def row_store(self, path: Path) -> RowStore:
        """The rows of a run; `path` is ``metrics/<study>/<trial>``, to be given a suffix."""

    # -- the protocol ---------------------------------------------------------------------------

    def prepare(self) -> None:
        """Makes the folder and names the store."""
        with _translated():
            self.folder.mkdir(parents=True, exist_ok=True)
            place = self.folder / "store.json"
            with locked(self.folder / ".lock"):
                if not place.exists():
                    replace(place, _json({"store": uuid.uuid4().hex, "v": FORM_VERSION}))

    def store_id(self) -> str:
        """The folder, and the name it was given when it was made."""
        try:
            made = msgspec.json.decode((self.folder / "store.json").read_bytes())["store"]
        except (OSError, msgspec.MsgspecError, KeyError, TypeError):
            made = "none"
        return f"{self.scheme}:{self.folder}#{made}"

    def write_study(self, study: StudyRun) -> str:
        """As `Sink.write_study`."""
        with _translated():
            path = self._study_path(study)
            told = StudyFile(
                run=self._run_id(path),
                study=study.name,
                instance=study.instance,
                origin=study.origin,
                state=study.state,
                note=study.note,
                tags=study.tags,
                params=flattened(study.params),
                started_ms=study.started_ms,
                ended_ms=study.ended_ms,
                figures=study.figures,
            )
            self._write(path, told)
            return told.run

    def write_trial(
        self,
        study: StudyRun,
        trial: TrialRun,
        rows: Sequence[Row] = (),
        end: TrialEnd | None = None,
    ) -> str:
        """As `Sink.write_trial`."""
        if not self._study_path(study).exists():
            self.write_study(study)
        with _translated():
            name = _name(study.key)
            path = self.folder / "runs" / name / f"{_name(trial.identity)}.json"
            store = self._row_store(self.folder / "metrics" / name / _name(trial.identity))
            if path in self._runs and (not path.exists() or store.gone()):
                self._forget(path)
                raise RunGoneError(f"'{path}' or its rows were removed")
            run = self._run_id(path)
            store.append([_of_run(row, study, trial) for row in rows if row.value is not None])
            if end is not None:
                store.settle()
                for given in end.folders:
                    self._copy(Path(given), "artifacts", name, _name(trial.identity))
            self._write(path, _run_file(run, study, trial, end))
            return run

    def log_artifacts(self, study: StudyRun, folder: Path, under: str = "") -> None:
        """As `Sink.log_artifacts`."""
        with _translated():
            self._copy(folder, "artifacts", _name(study.key), "study", under)

    # -- files ----------------------------------------------------------------------------------

    def _study_path(self, study: StudyRun) -> Path:
        return self.folder / "studies" / f"{_name(study.key)}.json"

    def _row_store(self, path: Path) -> RowStore:
        if path not in self._rows:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._rows[path] = self.row_store(path)
        return self._rows[path]

    def _forget(self, run: Path) -> None:
        """A run that was removed in part is removed whole, to be made again."""
        run.unlink(missing_ok=True)
        self._runs.pop(run)
        self._rows.pop(self.folder / "metrics" / run.parent.name / run.stem, None)

    def _run_id(self, path: Path) -> str:
        """The id that the run's file has, or a new one."""
        if path not in self._runs or not path.exists():
            try:
                self._runs[path] = str(msgspec.json.decode(path.read_bytes())["run"])
            except (FileNotFoundError, msgspec.MsgspecError, KeyError, TypeError):
                self._runs[path] = uuid.uuid4().hex
        return self._runs[path]

    def _write(self, path: Path, told: StudyFile | RunFile) -> None:
        if not (self.folder / "store.json").exists():
            self.prepare()
        path.parent.mkdir(parents=True, exist_ok=True)
        content = _json(told)
        if not path.exists() or path.read_bytes() != content:
            replace(path, content)

    def _copy(self, folder: Path, *to: str) -> None:
        shutil.copytree(folder, self.folder.joinpath(*to), dirs_exist_ok=True)


def _run_file(run: str, study: StudyRun, trial: TrialRun, end: TrialEnd | None) -> RunFile:
    return RunFile(
        run=run,
        study=study.instance,
        trial=trial.identity,
        name=trial.run_name,
        arm=trial.arm,
        role=trial.role,
        replicate=trial.replicate,
        label=trial.label,
        state=trial.state if end is None else end.state,
        reused=trial.reused,
        owner=trial.owner,
        factors=dict(trial.factors),
        params=flattened(trial.params),
        tags={**trial.tags, **(end.tags if end is not None else {})},
        started_ms=end.started_ms if end and end.started_ms else trial.started_ms,
        ended_ms=end.ended_ms if end is not None else None,
        attempts=end.attempts if end is not None else None,
        resumed_at=end.resumed_at if end is not None else None,
        failure=end.failure_kind if end is not None else None,
        cause=end.failure_cause if end is not None else None,
    )


def _of_run(row: Row, study: StudyRun, trial: TrialRun) -> RunRow:
    return RunRow(
        row.key,
        row.step,
        row.time_ms,
        row.value,
        row.attempt,
        row.ranks,
        study=study.instance,
        trial=trial.identity,
        arm=trial.arm,
        replicate=trial.replicate,
    )


def _name(text: str) -> str:
    """A text as the name of a file; those of our own identities stay as they are."""
    return quote(text, safe="@ ") if text.strip(".") else quote(f"_{text}")


def _json(data: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(data), indent=1) + b"\n"


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the file system as ours: refused for good, or (all else) absent for now."""
    try:
        yield
    except shutil.Error as error:  # copytree gathers what failed
        raise SinkUnavailableError(f"cannot copy: {error}") from error
    except _REFUSED as error:
        raise SinkError(f"cannot write: {error}") from error
    except OSError as error:
        raise SinkUnavailableError(f"cannot write now: {error}") from error
