"""MLflow as a sink: one experiment per study, a parent run per instance, a run per trial.

Only `MlflowClient` is used, by one writer (sixteen writers on SQLite lock each other out). Runs are
looked up by their tags before they are made. All calls of one trial are put into as few
transactions as MLflow allows: make the run with its tags, log a batch, end it.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from telemetry.filesystem import is_local, locked
from telemetry.rowlog import Row
from telemetry.runs import StudyRun, TrialEnd, TrialRun, flattened
from telemetry.sinks import mlflow_names as names
from telemetry.sinks.mlflow_schema import make_whole
from telemetry.sinks.protocol import RunGoneError, SinkError, SinkUnavailableError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_SQLITE = "sqlite:///"
_REFUSALS = frozenset(
    {
        "BAD_REQUEST",
        "CUSTOMER_UNAUTHORIZED",
        "INVALID_PARAMETER_VALUE",
        "NOT_IMPLEMENTED",
        "PERMISSION_DENIED",
        "RESOURCE_ALREADY_EXISTS",
        "UNAUTHENTICATED",
    }
)
_PAGE = 1000


@dataclass
class _KnownRun:
    run_id: str
    ended: str | None = None
    """`TrialEnd.mark` (or a study's state) of the end that stands in the store, if it has ended."""
    params: set[str] = field(default_factory=set)
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class _KnownStudy:
    experiment_id: str
    parent: _KnownRun
    trials: dict[str, _KnownRun]


class MlflowSink:
    """Writes to the tracking store at `tracking_uri` (``sqlite:////path/mlflow.db``, ``http://…``).

    `artifact_root`, if given, is where new experiments of a local store keep their artifacts.
    Nothing is imported or opened before the first call.
    """

    def __init__(self, tracking_uri: str, *, artifact_root: str | None = None) -> None:
        self.tracking_uri = tracking_uri
        self.artifact_root = artifact_root
        self._made: MlflowClient | None = None
        self._studies: dict[str, _KnownStudy] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": None, "_studies": {}}

    # -- the protocol ---------------------------------------------------------------------------

    def prepare(self) -> None:
        """Makes the schema of a SQLite store (seconds, the first time); WAL on a local disk."""
        with _translated():
            database = self._database()
            if database is None:
                self._client().search_experiments(max_results=1)
                return
            database.parent.mkdir(parents=True, exist_ok=True)
            with locked(database.with_name(f"{database.name}.lock")):
                make_whole(database)
                self._client().search_experiments(max_results=1)
                if is_local(database.parent):
                    with closing(sqlite3.connect(database)) as connection:
                        connection.execute("PRAGMA journal_mode=WAL")

    def store_id(self) -> str:
        """The URI, and when the store's first experiment was made."""
        database = self._database()
        if database is None:
            with _translated():
                return f"{self.tracking_uri}#{self._client().get_experiment('0').creation_time}"
        try:
            uri = f"file:{database}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True)) as connection:
                query = "SELECT MIN(creation_time) FROM experiments"
                return f"{self.tracking_uri}#{connection.execute(query).fetchone()[0]}"
        except sqlite3.Error:
            return f"{self.tracking_uri}#none"

    def write_study(self, study: StudyRun) -> str:
        """As `Sink.write_study`."""
        with _translated():
            known = self._study(study)
            self._bring_up_to_date(known.parent, study)
            return known.parent.run_id

    def write_trial(
        self,
        study: StudyRun,
        trial: TrialRun,
        rows: Sequence[Row] = (),
        end: TrialEnd | None = None,
    ) -> str:
        """As `Sink.write_trial`. A reused trial's `rows` are not written, only its end."""
        with _translated():
            known = self._study(study)
        run = known.trials.get(trial.identity)
        if run is not None and end is not None and run.ended == end.mark and not rows:
            return run.run_id
        try:
            with _translated():
                if run is None:
                    run = self._create_trial(study, known, trial, end)
                self._fill(run, trial, rows, end, study)
                return run.run_id
        except RunGoneError:
            known.trials.pop(trial.identity, None)
            raise

    def log_artifacts(self, study: StudyRun, folder: Path, under: str = "") -> None:
        """As `Sink.log_artifacts`."""
        with _translated():
            parent = self._study(study).parent
            self._client().log_artifacts(parent.run_id, str(folder), under or None)

    # -- studies --------------------------------------------------------------------------------

    def _study(self, study: StudyRun) -> _KnownStudy:
        known = self._studies.get(study.instance)
        if known is None:
            experiment_id = self._experiment(study.name)
            parent, trials = self._runs_of(experiment_id, study.instance)
            if parent is None:
                parent = self._create_parent(experiment_id, study)
            known = self._studies[study.instance] = _KnownStudy(experiment_id, parent, trials)
        return known

    def _experiment(self, name: str) -> str:
        client = self._client()
        tag, kind = names.EXPERIMENT_KIND
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            location = f"{self.artifact_root}/{name}" if self.artifact_root else None
            return str(client.create_experiment(name, location, tags={tag: kind}))
        if experiment.lifecycle_stage != "active":
            client.restore_experiment(experiment.experiment_id)
        if tag not in experiment.tags:
            client.set_experiment_tag(experiment.experiment_id, tag, kind)
        return str(experiment.experiment_id)

    def _runs_of(
        self, experiment_id: str, instance: str
    ) -> tuple[_KnownRun | None, dict[str, _KnownRun]]:
        parent: _KnownRun | None = None
        trials: dict[str, _KnownRun] = {}
        token: str | None = None
        quoted = instance.replace("'", "")
        while True:
            page = self._client().search_runs(
                [experiment_id],
                f"tags.`{names.INSTANCE_TAG}` = '{quoted}'",
                max_results=_PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            for found in page:
                identity = found.data.tags.get(names.TRIAL_TAG)
                if identity is not None:
                    trials.setdefault(identity, _known(found))
                elif parent is None:
                    parent = _known(found)
            token = page.token
            if not token:
                return parent, trials

    def _create_parent(self, experiment_id: str, study: StudyRun) -> _KnownRun:
        tags = {**_study_tags(study), **_origin()}
        run = self._client().create_run(
            experiment_id, start_time=study.started_ms, tags=tags, run_name=study.instance
        )
        return _KnownRun(run.info.run_id, tags=tags)

    def _bring_up_to_date(self, parent: _KnownRun, study: StudyRun) -> None:
        self._log(parent, (), flattened(study.params), _study_tags(study))
        state = study.state if study.state in names.STATUS else None
        if state != parent.ended:
            status = names.STATUS[state] if state else "RUNNING"
            if state:
                self._client().set_terminated(parent.run_id, status)
            else:
                self._client().update_run(parent.run_id, status=status)
            parent.ended = state

    # -- trials ---------------------------------------------------------------------------------

    def _create_trial(
        self, study: StudyRun, known: _KnownStudy, trial: TrialRun, end: TrialEnd | None
    ) -> _KnownRun:
        tags = names.trial_tags(study.instance, study.name, trial, end)
        extra = {**_origin(), names.PARENT_TAG: known.parent.run_id}
        if trial.reused:
            extra[names.NOTE_TAG] = self._reuse_note(trial)
        run = self._client().create_run(
            known.experiment_id,
            start_time=trial.started_ms,
            tags={**tags, **extra},
            run_name=trial.run_name,
        )
        made = known.trials[trial.identity] = _KnownRun(run.info.run_id, tags=tags)
        return made

    def _fill(
        self,
        run: _KnownRun,
        trial: TrialRun,
        rows: Sequence[Row],
        end: TrialEnd | None,
        study: StudyRun,
    ) -> None:
        if run.ended is not None and (end is None or end.mark != run.ended):
            self._client().update_run(run.run_id, status="RUNNING")
            run.ended = None
            run.tags = dict(self._client().get_run(run.run_id).data.tags)  # maybe another's since
        tags = names.trial_tags(study.instance, study.name, trial, end)
        self._log(run, rows, flattened(trial.params), tags)
        if end is not None and run.ended != end.mark:
            if end.artifacts and os.path.isdir(end.artifacts) and os.listdir(end.artifacts):
                self._client().log_artifacts(run.run_id, end.artifacts)
            status = names.STATUS.get(end.state, "FAILED")
            for name in (names.PASSING_TAGS & run.tags.keys()) - tags.keys():
                self._client().delete_tag(run.run_id, name)
                del run.tags[name]
            self._client().set_terminated(run.run_id, status, end.ended_ms)
            run.ended = end.mark

    def _log(
        self, run: _KnownRun, rows: Sequence[Row], params: dict[str, str], tags: dict[str, str]
    ) -> None:
        """One call for what is new; MLflow's client cuts it into batches of 1,000 and 100."""
        from mlflow.entities import Metric, Param, RunTag

        new_tags = {name: text for name, text in tags.items() if run.tags.get(name) != text}
        new_params = {}
        for name, text in params.items():
            if (key := names.key(name)) not in run.params:
                new_params[key] = names.value(text, names.PARAM_CHARACTERS)
        metrics = [
            Metric(names.key(row.key), row.value, row.time_ms, row.step)
            for row in rows
            if row.value is not None
        ]
        self._client().log_batch(
            run.run_id,
            metrics=metrics,
            params=[Param(name, text) for name, text in new_params.items()],
            tags=[RunTag(name, text) for name, text in new_tags.items()],
        )
        run.tags.update(new_tags)
        run.params.update(new_params)

    def _reuse_note(self, trial: TrialRun) -> str:
        text = f"Reused: measured by study instance `{trial.owner or 'unknown'}`."
        run_id = trial.tags.get("owner_run")
        if run_id is None:
            return text
        try:
            experiment_id = self._client().get_run(run_id).info.experiment_id
        except Exception:
            return text
        return f"{text} [Its run](#/experiments/{experiment_id}/runs/{run_id})."

    # -- the store ------------------------------------------------------------------------------

    def _database(self) -> Path | None:
        if not self.tracking_uri.startswith(_SQLITE):
            return None
        return Path(self.tracking_uri[len(_SQLITE) :].split("?")[0])

    def _client(self) -> MlflowClient:
        if self._made is None:
            os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
            if self.tracking_uri.startswith("http"):  # `RetryingSink` waits, not MLflow
                os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
                os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
            from mlflow import MlflowClient

            for chatty in ("mlflow.store.db.utils", "alembic"):
                logging.getLogger(chatty).setLevel(logging.WARNING)
            self._made = MlflowClient(self.tracking_uri)
        return self._made


@contextmanager
def _translated() -> Iterator[None]:
    """MLflow's errors as ours: refused for good, run gone, or (all else) absent for now."""
    try:
        yield
    except (SinkError, ImportError):
        raise
    except Exception as error:
        code = str(getattr(error, "error_code", ""))
        text = f"MLflow: {error}"
        if code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND") or "'active' state" in text:
            raise RunGoneError(text) from error
        if code in _REFUSALS or isinstance(error, (TypeError, ValueError, AttributeError)):
            raise SinkError(text) from error
        raise SinkUnavailableError(text) from error


def _known(run: Run) -> _KnownRun:
    ended = run.info.status in ("FINISHED", "FAILED", "KILLED")
    tags = dict(run.data.tags)
    mark = tags.get(names.END_TAG, tags.get("state", "")) if ended else None
    return _KnownRun(run.info.run_id, mark, set(run.data.params), tags)


def _study_tags(study: StudyRun) -> dict[str, str]:
    tags = {
        **study.tags,
        "study": study.name,
        "state": study.state,
        names.INSTANCE_TAG: study.instance,
    }
    if study.note:
        tags[names.NOTE_TAG] = study.note
    return {
        name[: names.KEY_CHARACTERS]: names.value(text, names.TAG_CHARACTERS)
        for name, text in tags.items()
    }


def _origin() -> dict[str, str]:
    import getpass

    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return {"mlflow.user": user, "mlflow.source.name": "orrery", "mlflow.source.type": "LOCAL"}
