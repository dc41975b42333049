"""Weights & Biases as a sink: a run per trial, grouped by study, and one for the study itself.

W&B keeps what it is sent, twice if it is sent twice, and takes history only in ascending steps of
its own. So each record of history has a number from a log that is written before it is sent
(`SentLog`); that number is W&B's step, and the training step is the metric ``orrery/step``, by
which all others are drawn. What W&B says it has, or its files offline, tells what is still to be
sent.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from telemetry.filesystem import locked, replace
from telemetry.rowlog import Row
from telemetry.runs import StudyRun, TrialEnd, TrialRun, figure_rows, flattened
from telemetry.sinks import wandb_files
from telemetry.sinks.mlflow_names import trial_tags
from telemetry.sinks.protocol import RunGoneError, SinkError, SinkUnavailableError
from telemetry.sinks.sent_log import SentLog

if TYPE_CHECKING:
    from wandb import Run

STEP = "orrery/step"
"""The metric that holds the training step."""
_INIT_LIMIT_S = 30.0
_FINISH_LIMIT_S = 120.0
_HOST = "api.wandb.ai"
_GOOD = frozenset({"done", "pruned", "running"})


@dataclass
class _Open:
    run: Run
    sent: SentLog
    to: tuple[Path, str, str | None]
    """Folder, project and entity."""


_OPEN: dict[tuple[int, str], _Open] = {}
"""Runs of trials that go on, by process and id: W&B opens an id once in a process."""


class WandbSink:
    """Writes to `project` of `entity` (default: the user's own).

    Online if the user is logged in (``wandb login``, ``$WANDB_API_KEY``) and ``$WANDB_MODE`` does
    not say otherwise; offline else: then `folder` (default: the current one) holds files for
    ``wandb sync``. `folder` also keeps what was sent, and must last as long as the project.

    A run's id follows from study and trial. A run that was deleted at W&B can't be made again, W&B
    never gives an id twice: publish to another project then. Nothing is imported before the first
    call. Needs ``pip install 'orrery[wandb]'``.
    """

    def __init__(
        self, project: str, entity: str | None = None, *, folder: Path | str | None = None
    ) -> None:
        self.project, self.entity = project, entity
        self.folder = Path(folder or os.environ.get("WANDB_DIR") or ".").expanduser().absolute()

    @property
    def offline(self) -> bool:
        """Whether runs go into files for ``wandb sync``."""
        return _mode() == "offline"

    # -- the protocol ---------------------------------------------------------------------------

    def prepare(self) -> None:
        """Makes the folder and names the store."""
        with _translated():
            self._notes.mkdir(parents=True, exist_ok=True)
            with locked(self._notes / ".lock"):
                if not (self._notes / "store").exists():
                    replace(self._notes / "store", os.urandom(8).hex().encode())

    def store_id(self) -> str:
        """Project, whether online, and the name of the folder."""
        try:
            made = (self._notes / "store").read_text()
        except OSError:
            made = "none"
        return f"wandb:{self.entity or ''}/{self.project}#{_mode()}#{made}"

    def write_study(self, study: StudyRun) -> str:
        """As `Sink.write_study`."""
        run_id = _run_id(study)
        figures = {row.key: row.value for row in figure_rows(study.figures, study.figures_ms)}
        told = [study.tags, study.params, study.note, *([figures] if figures else [])]
        mark = _mark(told, study.state)
        if self._mark(run_id) != mark or not self._is_there(run_id):
            with _translated():
                run = self._study_run(study)
                run.summary.update(figures)
                _finish(run, study.state)
                self._note(run_id, mark)
                if self.offline:
                    self._replace_files(run_id, Path(run.dir).parent)
        return run_id

    def write_trial(
        self,
        study: StudyRun,
        trial: TrialRun,
        rows: Sequence[Row] = (),
        end: TrialEnd | None = None,
    ) -> str:
        """As `Sink.write_trial`."""
        if self._mark(_run_id(study)) is None:
            self.write_study(study)
        run_id = _run_id(study, trial)
        config = {**flattened(trial.params), "orrery": trial_tags(study, trial, end)}
        mark = _mark(config, end.mark if end is not None else None)
        with _translated():
            place = (os.getpid(), run_id)
            if place not in _OPEN and self._has_all(run_id, mark, rows):
                return run_id
            opened = self._opened(place, study, trial, rows, config)
            self._send(opened, rows)
            opened.run.config.update(config, allow_val_change=True)
            if end is not None:
                for given in end.folders:
                    _save(opened.run, Path(given))
                del _OPEN[place]
                _finish(opened.run, end.state)
                self._note(run_id, mark)
            return run_id

    def log_artifacts(self, study: StudyRun, folder: Path, under: str = "") -> None:
        """As `Sink.log_artifacts`: they are files of the study's run."""
        with _translated():
            run = self._study_run(study)
            _save(run, folder, under)
            _finish(run, study.state)

    # -- runs -----------------------------------------------------------------------------------

    @property
    def _to(self) -> tuple[Path, str, str | None]:
        return self.folder, self.project, self.entity

    @property
    def _notes(self) -> Path:
        return self.folder / "wandb" / "orrery"

    def _study_run(self, study: StudyRun) -> Run:
        told = {**study.tags, "study": study.name, "state": study.state}
        config = {**flattened(study.params), "orrery": told}
        return self._init(_run_id(study), study.instance, study, "study", config, study.note)

    def _opened(
        self,
        place: tuple[int, str],
        study: StudyRun,
        trial: TrialRun,
        rows: Sequence[Row],
        config: dict[str, Any],
    ) -> _Open:
        opened = _OPEN.get(place)
        if opened is not None:
            if opened.to == self._to and Path(opened.run.dir).is_dir():
                return opened
            del _OPEN[place]  # another sink's, or its files were removed under it
            with suppress(Exception):
                opened.run.finish(exit_code=1)
        sent = self._log(place[-1])
        run = self._init(place[-1], trial.run_name, study, "trial", config)
        opened = _Open(run, sent, self._to)
        try:
            self._compare(opened, rows)
            run.define_metric("*", step_metric=STEP)
        except BaseException:
            _finish(run, "running")
            raise
        _OPEN[place] = opened
        return opened

    def _log(self, run_id: str) -> SentLog:
        return SentLog(self._notes / f"{run_id}.jsonl")

    def _compare(self, opened: _Open, rows: Sequence[Row]) -> None:
        """Forgets what W&B never got. Raises `RunGoneError` if `rows` do not bring it again."""
        has = self._history_of(opened.run)
        if has > len(opened.sent):
            raise SinkError(
                f"W&B has {has} records of run '{opened.run.id}', but '{self._notes}' knows of "
                f"{len(opened.sent)}: sending more would double rows. Publish to another project."
            )
        lost = opened.sent.cut(has)
        if lost - {(row.key, row.step) for row in rows}:
            raise RunGoneError(f"W&B lacks {len(lost)} rows of run '{opened.run.id}'")

    def _history_of(self, run: Run) -> int:
        if self.offline:
            return wandb_files.next_step(self.folder, str(run.id))
        return int(run.step)

    def _send(self, opened: _Open, rows: Sequence[Row]) -> None:
        records = opened.sent.fresh(rows)
        if not records:
            return
        number = opened.sent.append(records)
        for place, record in enumerate(records, start=number):
            values: dict[str, Any] = {row.key: row.value for row in record}
            values[STEP] = record[0].step
            values["_timestamp"] = record[0].time_ms / 1000
            opened.run.log(values, step=place)

    def _init(
        self,
        run_id: str,
        name: str,
        study: StudyRun,
        kind: str,
        config: dict[str, Any],
        notes: str | None = None,
    ) -> Run:
        try:
            import wandb
        except ImportError as error:
            raise SinkError(
                f"W&B is not installed: pip install 'orrery[wandb]' ({error})"
            ) from None
        self.prepare()
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        settings = wandb.Settings(
            console="off",
            disable_git=True,
            finish_timeout=_FINISH_LIMIT_S,
            finish_timeout_raises=True,
            init_timeout=_INIT_LIMIT_S,
            save_code=False,
            silent=True,
            x_disable_stats=True,
        )
        run = wandb.init(
            config=config,
            notes=notes,
            project=self.project,
            entity=self.entity,
            id=run_id,
            name=name,
            group=study.key,
            job_type=kind,
            dir=str(self.folder),
            mode=_mode(),
            reinit="create_new",
            resume="allow",
            settings=settings,
        )
        run.config.update(config, allow_val_change=True)  # a run that is resumed keeps its own
        return run

    # -- notes of what is finished --------------------------------------------------------------

    def _has_all(self, run_id: str, mark: str, rows: Sequence[Row]) -> bool:
        """Whether a finished run has these rows and this end."""
        if self._mark(run_id) != mark or not self._is_there(run_id):
            return False
        sent = self._log(run_id)
        if self.offline and wandb_files.next_step(self.folder, run_id) < len(sent):
            return False
        return not sent.fresh(rows)

    def _replace_files(self, run_id: str, made: Path) -> None:
        """A note that is refreshed for hours leaves the files of one time, not of each."""
        note = self._notes / f"{run_id}.files"
        with suppress(OSError):
            before = made.with_name(note.read_text())
            if not list(before.glob("*.synced")):
                shutil.rmtree(before)
        replace(note, made.name.encode())

    def _is_there(self, run_id: str) -> bool:
        return not self.offline or bool(wandb_files.files_of(self.folder, run_id))

    def _mark(self, run_id: str) -> str | None:
        try:
            return (self._notes / f"{run_id}.end").read_text()
        except OSError:
            return None

    def _note(self, run_id: str, mark: str) -> None:
        replace(self._notes / f"{run_id}.end", mark.encode())


def _run_id(study: StudyRun, trial: TrialRun | None = None) -> str:
    text = f"{study.key}\n{trial.identity if trial is not None else ''}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _mark(told: Any, end: str | None) -> str:
    return hashlib.sha256(msgspec.json.encode([told, end], order="sorted")).hexdigest()[:16]


def _save(run: Run, folder: Path, under: str = "") -> None:
    """Copies the content of a folder to a run's files, which W&B uploads."""
    to = Path(run.dir, under)
    shutil.copytree(folder, to, dirs_exist_ok=True)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            place = to / path.relative_to(folder)
            run.save(str(place), base_path=run.dir, policy="now", glob=False)


def _finish(run: Run, state: str) -> None:
    """Waits until W&B, or its file, has all of a run."""
    run.finish(exit_code=0 if state in _GOOD else 1)
    if not run.offline:
        return
    path = Path(run.dir).parent / f"run-{run.id}.wandb"
    deadline = time.monotonic() + _FINISH_LIMIT_S
    while not wandb_files.is_whole(path):
        if time.monotonic() > deadline:
            raise SinkUnavailableError(f"W&B has not finished '{path}'")
        time.sleep(0.01)


def _mode() -> Literal["online", "offline"]:
    """``online`` or ``offline``, found without importing W&B."""
    asked = os.environ.get("WANDB_MODE")
    if asked:
        return "online" if asked in ("online", "run", "shared") else "offline"
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return "online"
    return "online" if _in_netrc() else "offline"


def _in_netrc() -> bool:
    import netrc

    host = os.environ.get("WANDB_BASE_URL", "").partition("://")[2].split("/")[0] or _HOST
    path = os.environ.get("NETRC") or os.path.expanduser("~/.netrc")
    try:
        return host.partition(":")[0] in netrc.netrc(path).hosts
    except (OSError, netrc.NetrcParseError):
        return False


@contextmanager
def _translated() -> Iterator[None]:
    """W&B's errors as ours: refused for good, or (all else) absent for now."""
    try:
        yield
    except (SinkError, ImportError):
        raise
    except (TypeError, ValueError, AttributeError) as error:
        raise SinkError(f"W&B: {error}") from error
    except OSError as error:
        raise SinkUnavailableError(f"cannot write now: {error}") from error
    except Exception as error:
        refused = type(error).__name__ in ("AuthenticationError", "UsageError", "UnsupportedError")
        raise (SinkError if refused else SinkUnavailableError)(f"W&B: {error}") from error
