"""MLflow as a sink: one experiment per study, a parent run per instance, a run per trial.

Only `MlflowClient` is used, by one writer (sixteen writers on SQLite lock each other out). Runs are
looked up by their tags before they are made. All calls of one trial are put into as few
transactions as MLflow allows: make the run with its tags, log a batch, end it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from telemetry.rowlog import Row
from telemetry.runs import ROWS_TAG, StudyRun, TrialEnd, TrialRun, figure_rows, flattened
from telemetry.sinks import mlflow_names as names
from telemetry.sinks import mlflow_pages as pages
from telemetry.sinks.mlflow_store import MlflowStore, translated
from telemetry.sinks.protocol import RunGoneError

if TYPE_CHECKING:
    from mlflow.entities import Run

_PAGE = 1000


@dataclass
class _KnownRun:
    run_id: str
    artifact_uri: str
    ended: str | None = None
    """`TrialEnd.mark` (or a study's state) of the end that stands in the store, if it has ended."""
    params: set[str] = field(default_factory=set)
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class _KnownStudy:
    experiment_id: str
    parent: _KnownRun
    trials: dict[str, _KnownRun]
    view: str = ""
    """The saved view that was sent last."""


class MlflowSink:
    """Writes to the tracking store at `tracking_uri`.

    That is ``sqlite:////path/mlflow.db``, a server (``http://…``), or a database that the runs go
    into directly (``postgresql://…``). `artifact_root`, if given, is where new experiments of a
    database keep their artifacts; a server decides that itself. Nothing is imported or opened
    before the first call.
    """

    def __init__(
        self, tracking_uri: str, *, artifact_root: str | None = None, own: bool = False
    ) -> None:
        """`own`: the file is a home's own; one that is damaged is set aside and made anew."""
        self.tracking_uri = tracking_uri
        self.artifact_root = None if tracking_uri.startswith("http") else artifact_root
        self._store = MlflowStore(tracking_uri, own=own)
        self._studies: dict[str, _KnownStudy] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_studies": {}}

    # -- the protocol ---------------------------------------------------------------------------

    def prepare(self) -> None:
        """Makes the schema of a database (seconds, the first time)."""
        self._store.prepare()

    def store_id(self) -> str:
        """The URI, and when the store's first experiment was made."""
        return self._store.store_id()

    def write_study(self, study: StudyRun) -> str:
        """As `Sink.write_study`. A run that was removed is made again."""
        with translated():
            try:
                return self._bring_up_to_date(study)
            except RunGoneError:
                return self._bring_up_to_date(study)

    def write_trial(
        self,
        study: StudyRun,
        trial: TrialRun,
        rows: Sequence[Row] = (),
        end: TrialEnd | None = None,
    ) -> str:
        """As `Sink.write_trial`. What MLflow would refuse in a key is replaced in it.

        A parameter that is there keeps its value: MLflow never changes one. Nor does it replace a
        row, so a run whose rows are from another making of the row log is removed and made anew.
        """
        with translated():
            known = self._study(study)
        run = known.trials.get(trial.identity)
        try:
            with translated():
                if run is not None and run.tags.get(ROWS_TAG) != trial.tags.get(ROWS_TAG):
                    self._store.client().delete_run(run.run_id)
                    del known.trials[trial.identity]
                    run = None
                if run is None:
                    run = self._create_trial(study, known, trial, end)
                self._fill(run, trial, rows, end, study)
                return run.run_id
        except RunGoneError:
            known.trials.pop(trial.identity, None)
            raise

    def log_artifacts(self, study: StudyRun, folder: Path, under: str = "") -> None:
        """As `Sink.log_artifacts`."""
        with translated():
            parent = self._study(study).parent
            self._store.copy_artifacts(parent.artifact_uri, str(folder), under)

    def study_page(self, study: StudyRun, *, shared: bool = False) -> str | None:
        """The path of the page with a study's runs, None if it has none here. `shared`: by the
        saved view, for a server that knows nothing of it (`orchestrator.mlflow_app` does)."""
        with translated():
            experiment = self._store.client().get_experiment_by_name(study.name)
            if experiment is None:
                return None
            wanted = f"tags.`{names.INSTANCE_TAG}` = '{study.instance}'"
            if not self._store.client().search_runs(
                [experiment.experiment_id], wanted, max_results=1
            ):
                return None
            return pages.study_page(str(experiment.experiment_id), shared=shared)

    # -- studies --------------------------------------------------------------------------------

    def _study(self, study: StudyRun) -> _KnownStudy:
        known = self._studies.get(study.key)
        if known is None:
            experiment_id = self._experiment(study)
            parent, trials = self._runs_of(experiment_id, study)
            if parent is None:
                parent = self._create_parent(experiment_id, study)
            known = self._studies[study.key] = _KnownStudy(experiment_id, parent, trials)
        return known

    def _experiment(self, study: StudyRun) -> str:
        client = self._store.client()
        name, tags = study.name, names.experiment_tags(study)
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            location = f"{self.artifact_root}/{name}" if self.artifact_root else None
            try:
                return str(client.create_experiment(name, location, tags=tags))
            except Exception as error:
                if getattr(error, "error_code", "") != "RESOURCE_ALREADY_EXISTS":
                    raise
                experiment = client.get_experiment_by_name(name)  # another process was first
        if experiment.lifecycle_stage != "active":
            client.restore_experiment(experiment.experiment_id)
        for tag in tags.keys() - experiment.tags.keys():  # what a person has changed stays
            client.set_experiment_tag(experiment.experiment_id, tag, tags[tag])
        return str(experiment.experiment_id)

    def _runs_of(
        self, experiment_id: str, study: StudyRun
    ) -> tuple[_KnownRun | None, dict[str, _KnownRun]]:
        parent: _KnownRun | None = None
        trials: dict[str, _KnownRun] = {}
        token: str | None = None
        quoted = study.instance.replace("'", "")
        while True:
            page = self._store.client().search_runs(
                [experiment_id],
                f"tags.`{names.INSTANCE_TAG}` = '{quoted}'",
                max_results=_PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            for found in page:
                tags = found.data.tags
                if tags.get(names.ORIGIN_TAG, study.origin) != study.origin:
                    continue
                identity = tags.get(names.TRIAL_TAG)
                if identity is not None:
                    trials.setdefault(identity, _known(found))
                elif parent is None:
                    parent = _known(found)
            token = page.token
            if not token:
                return parent, trials

    def _create_parent(self, experiment_id: str, study: StudyRun) -> _KnownRun:
        tags = {**names.study_tags(study), **_origin()}
        run = self._store.client().create_run(
            experiment_id, start_time=study.started_ms, tags=tags, run_name=study.instance
        )
        return _KnownRun(run.info.run_id, run.info.artifact_uri, tags=tags)

    def _bring_up_to_date(self, study: StudyRun) -> str:
        known = self._study(study)
        parent = known.parent
        try:
            with translated():
                rows = figure_rows(study.figures, study.figures_ms)
                note = pages.linked_note(study, known.experiment_id, parent.run_id)
                tags = names.study_tags(msgspec.structs.replace(study, note=note))
                self._log(parent, rows, flattened(study.params), tags)
                self._save_view(known, study)
                self._tell_state(parent, study)
        except RunGoneError:
            del self._studies[study.key]
            raise
        return parent.run_id

    def _save_view(self, known: _KnownStudy, study: StudyRun) -> None:
        view = pages.view(study.overview, known.parent.run_id)
        if known.view == view or len(view) > names.EXPERIMENT_TAG_CHARACTERS:
            return
        self._store.client().set_experiment_tag(known.experiment_id, pages.VIEW_TAG, view)
        known.view = view

    def _tell_state(self, parent: _KnownRun, study: StudyRun) -> None:
        state = study.state if study.state in names.STATUS else None
        if state == parent.ended:
            return
        client = self._store.client()
        if state:
            client.set_terminated(parent.run_id, names.STATUS[state], study.ended_ms)
        else:
            client.update_run(parent.run_id, status="RUNNING")
        parent.ended = state

    # -- trials ---------------------------------------------------------------------------------

    def _create_trial(
        self, study: StudyRun, known: _KnownStudy, trial: TrialRun, end: TrialEnd | None
    ) -> _KnownRun:
        tags = names.trial_tags(study, trial, end)
        extra = {**_origin(), names.PARENT_TAG: known.parent.run_id}
        if trial.reused:
            extra[names.NOTE_TAG] = self._reuse_note(trial)
        run = self._store.client().create_run(
            known.experiment_id,
            start_time=end.started_ms if end and end.started_ms else trial.started_ms,
            tags={**tags, **extra},
            run_name=trial.run_name,
        )
        made = _KnownRun(run.info.run_id, run.info.artifact_uri, tags=tags)
        known.trials[trial.identity] = made
        return made

    def _fill(
        self,
        run: _KnownRun,
        trial: TrialRun,
        rows: Sequence[Row],
        end: TrialEnd | None,
        study: StudyRun,
    ) -> None:
        client = self._store.client()
        if run.ended is not None and (end is None or end.mark != run.ended):
            client.update_run(run.run_id, status="RUNNING")
            run.ended = None
            run.tags = dict(client.get_run(run.run_id).data.tags)  # maybe another's since
        tags = names.trial_tags(study, trial, end)
        self._log(run, rows, flattened(trial.params), tags)
        if end is None:
            return
        for given in end.folders if rows or run.ended != end.mark else ():
            self._store.copy_artifacts(run.artifact_uri, given)
        if run.ended != end.mark:
            status = names.STATUS.get(end.state, "FAILED")
            for name in (names.PASSING_TAGS & run.tags.keys()) - tags.keys():
                client.delete_tag(run.run_id, name)
                del run.tags[name]
            client.set_terminated(run.run_id, status, end.ended_ms)
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
        if not (metrics or new_params or new_tags):
            return
        self._store.client().log_batch(
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
            experiment_id = self._store.client().get_run(run_id).info.experiment_id
        except Exception:
            return text
        return f"{text} [Its run](#/experiments/{experiment_id}/runs/{run_id})."


def _known(run: Run) -> _KnownRun:
    ended = run.info.status in ("FINISHED", "FAILED", "KILLED")
    tags = dict(run.data.tags)
    mark = tags.get(names.END_TAG, tags.get("state", "")) if ended else None
    return _KnownRun(run.info.run_id, run.info.artifact_uri, mark, set(run.data.params), tags)


def _origin() -> dict[str, str]:
    import getpass

    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return {"mlflow.user": user, "mlflow.source.name": "orrery", "mlflow.source.type": "LOCAL"}
