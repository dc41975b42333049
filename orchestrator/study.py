"""A study as a Python object: load, plan, run, table, verdict. The command line stands on this."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.arms import Arm, arms_of
from orchestrator.array.in_queue import trials_in_queue
from orchestrator.cancelling import cancelled_trials
from orchestrator.errors import UsageError, unknown
from orchestrator.evaluation.subjects import checkpoint_gone, subject_plans
from orchestrator.factorial import check_factorial, factorial_notes
from orchestrator.fraction_checks import check_fractions, check_models
from orchestrator.fraction_words import fractions_notes
from orchestrator.home import Home
from orchestrator.inputs import design_with_inputs, with_inputs
from orchestrator.ledger import Ledger, short_hash
from orchestrator.planning import Plan, Selection, make_plan
from orchestrator.search_list import SearchList
from orchestrator.statement_checks import check_statements, check_trials, statement_notes
from orchestrator.study_file import (
    Factorial,
    Fractions,
    Search,
    StudyFile,
    canonical_design,
    read_study_file,
    with_preset,
    with_settings,
)
from orchestrator.trials import Trial, TrialMaker
from orchestrator.validation import validated
from workloads.contract import Input, Workload
from workloads.errors import InputError
from workloads.monitors import PREFIX as HEALTH
from workloads.registry import load_workload, study_folders
from workloads.source_digest import workload_digest

WHILE_TRAINING = ("eval/", "train/")
"""How the names of metrics begin that a workload reports while it trains."""

if TYPE_CHECKING:
    import pandas as pd

    from orchestrator.running import RunReport
    from orchestrator.verdict import Verdict


def shipped_studies() -> dict[str, Path]:
    """Study files that registered workloads ship, by study name."""
    return {path.stem: path for folder in study_folders() for path in sorted(folder.glob("*.yaml"))}


def workload_named(name: str) -> Workload[Any]:
    """As `workloads.registry.load_workload`, with an error that the command line prints."""
    try:
        return load_workload(name)
    except InputError as error:
        raise UsageError(str(error)) from error


@dataclass(frozen=True)
class Study:
    """A question with all it takes to answer it. Build it with `Study.load`.

    >>> study = Study.load("lora-sweep", preset="smoke")       # doctest: +SKIP
    >>> study.run().table()                                    # doctest: +SKIP
    """

    file: StudyFile
    home: Home
    preset: str | None = None
    settings: Mapping[str, Any] | None = None
    source: str | None = None
    """What `load` was given: a shipped name or a file; None for a mapping."""

    @classmethod
    def load(
        cls,
        study: str | Path | Mapping[str, Any],
        *,
        settings: Mapping[str, Any] | None = None,
        preset: str | None = None,
        home: str | Path | None = None,
    ) -> Study:
        """A shipped study's name, a YAML file, or the same as a mapping.

        `settings` are dotted keys: of the study (`seeds`, `resources.cpus`), else of its base
        configuration (`samples`, `lora.rank`). Raises `UsageError`.
        """
        data, where = _read(study)
        data = with_settings(with_preset(data, preset), settings or {})
        file: StudyFile = validated(StudyFile, data, where)
        source = None if isinstance(study, Mapping) else str(study)
        _check_design(file, where)
        made = cls(file, Home.find(home), preset, dict(settings or {}), source)
        made = made._with_lasting_inputs()
        _check_curves(made, where)
        _check_comparator(made.file, where)
        _check_metric(made, where)
        _check_search_metric(made, where)
        _check_statements(made, where)
        return made

    @classmethod
    def last_run(cls, name: str, *, home: str | Path | None = None) -> Study | None:
        """The instance of `name` that was planned last in this home; None if there is none."""
        place = Home.find(home)
        plans = sorted(
            place.studies.glob(f"{name}-*/plan.json"), key=lambda path: path.stat().st_mtime
        )
        mine = [path for path in plans if path.parent.name.rpartition("-")[0] == name]
        if not mine:
            return None
        plan = json.loads(mine[-1].read_bytes())
        path = mine[-1].with_name("study.yaml")
        file = validated(StudyFile, read_study_file(path), str(path))
        return cls(file, place, plan.get("preset"), plan.get("settings"), plan.get("source"))

    @cached_property
    def workload(self) -> Workload[Any]:
        return workload_named(self.file.workload)

    @property
    def name(self) -> str:
        return self.file.name

    @cached_property
    def maker(self) -> TrialMaker:
        # planning makes no home: without one there is nowhere to keep hashes
        hashes = self.home.fingerprints if self.home.root.is_dir() else None
        return TrialMaker(self.workload, self.file.base, hashes)

    @cached_property
    def instance(self) -> str:
        """`name-hash` of design, workload, base configuration, seeds and decision rule."""
        design = self.file.design
        if not isinstance(design, Search):  # the list of proposals names a search's inputs by path
            design = design_with_inputs(design, self.workload.Config, self._fingerprint)
        rule = self.file.verdict.canonical() if self.file.verdict else None
        parts = {
            "design": canonical_design(design),
            "workload": [self.workload.name, self.workload.version],
            "base": with_inputs(self.workload.Config, self.file.base, self._fingerprint),
            "seeds": self.file.seeds,
            "verdict": rule,
        }
        if self.file.alarms is not None:
            parts["alarms"] = self.file.alarms.canonical()
        if self.file.claims:
            parts["claims"] = {name: one.canonical() for name, one in self.file.claims.items()}
        if self.file.endpoints:
            parts["endpoints"] = {
                name: one.canonical() for name, one in self.file.endpoints.items()
            }
        return f"{self.name}-{short_hash(parts)}"

    @property
    def folder(self) -> Path:
        return self.home.study(self.instance)

    @cached_property
    def code_digest(self) -> str:
        return workload_digest(type(self.workload))

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.home)

    @property
    def searching(self) -> Search | None:
        design = self.file.design
        return design if isinstance(design, Search) else None

    def arms(self) -> list[Arm]:
        """Listed arms, grid points, a search's proposals so far, and its winner once it has one."""
        from orchestrator.searching import search_arms

        found = list(arms_of(self.file.design))
        if self.searching is not None:
            found += search_arms(self, self.searching)
        return found

    def trials(self) -> list[Trial]:
        """Every trial that is known to belong to the study, in the order of its arms."""
        return list(self.maker.trials(self.arms(), self.file.seeds))

    def plan(self, selection: Selection = Selection()) -> Plan:  # noqa: B008  (frozen)
        """What would run. Loads no torch while every trial is known. Raises `UsageError`."""
        self.maker.forget()
        arms = self.arms()
        trials = list(self.maker.trials(arms, self.file.seeds))  # first of all refuses a wrong one
        if isinstance(self.file.design, Fractions):
            check_models(trials)
        compared = trials if self.file.endpoints else ()
        fixed = {t.arm for t in compared if self.workload.deterministic(t.config)}
        check_trials(self.file, trials, fixed)
        design = self.searching
        left, pruned = 0, set[str]()
        if design is not None:
            record = SearchList(self.folder)
            left = max(0, design.budget - len(record.proposals()))
            ended = record.pruned()
            pruned = {p.identity for p in record.proposals() if p.identity and p.ordinal in ended}
        made = make_plan(
            trials,
            arms,
            self.ledger,
            covers=self.workload.covers,
            code_digest=self.code_digest,
            selection=selection,
            proposals_left=left,
            pruned=pruned,
            queued=trials_in_queue(self.home),
            cancelled=cancelled_trials(self.folder),
            must_run=checkpoint_gone(self, selection),
        )
        made = replace(made, subjects=subject_plans(self, made.trials, selection))
        if isinstance(self.file.design, Factorial):
            told = factorial_notes(self.file.design, trials)
            made = replace(made, notes=(*told, *made.notes))
        if isinstance(self.file.design, Fractions):
            made = replace(made, notes=(*fractions_notes(self, trials), *made.notes))
        return replace(made, notes=(*statement_notes(self.file, trials, fixed), *made.notes))

    def run(self, on: str = "local", **options: Any) -> RunReport:
        """Plans, subtracts what is known, runs the rest; running again is how one resumes."""
        from orchestrator.running import run_study

        return run_study(self, on=on, **options)

    def table(self) -> pd.DataFrame:
        """One row per arm: n, mean, interval, difference, label, and the arm's factors."""
        from orchestrator.judging import arm_table

        return arm_table(self)

    def verdict(self) -> Verdict:
        """The decision rule applied to what is known now."""
        from orchestrator.judging import verdict_of

        return verdict_of(self)

    def _repr_html_(self) -> str:
        from orchestrator.notebook import study_html

        return study_html(self)

    def _fingerprint(self, source: Input, value: str) -> str:
        """What stands for an input in the instance's name."""
        config = self.maker.config(self._any_arm())
        try:
            return self.maker.fingerprint(source, value, config)
        except InputError as error:
            raise UsageError(str(error)) from error

    def _any_arm(self) -> Arm:
        """An arm under which the base validates: a base may leave fields to its arms."""
        return next(arms_of(self.file.design), Arm("base", "arm", {}))

    def _with_lasting_inputs(self) -> Study:
        """Inputs are named so that study.yaml means the same anywhere, and tomorrow."""
        model, named = self.workload.Config, self.maker.named
        changed = {
            "base": with_inputs(model, self.file.base, named),
            "design": design_with_inputs(self.file.design, model, named),
        }
        return replace(self, file=self.file.model_copy(update=changed))


def _check_design(file: StudyFile, where: str) -> None:
    """Raises `UsageError` for a factorial that means nothing, before anything else is asked."""
    if not isinstance(file.design, Factorial):
        return
    try:
        check_factorial(file.design)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _check_curves(study: Study, where: str) -> None:
    """Raises `UsageError` for a design of curves that means nothing, or that states a rule too."""
    design = study.file.design
    if not isinstance(design, Fractions):
        return
    try:
        check_fractions(design, study.workload)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    if study.file.verdict is not None:
        raise UsageError(
            f"{where}: 'verdict' is a rule for trials, and the design fractions compares curves: "
            "leave it out, and state design.questions."
        )


def _check_comparator(file: StudyFile, where: str) -> None:
    """Raises `UsageError` if the rule compares with an arm that the design does not have."""
    from orchestrator.searching import WINNER

    if file.verdict is None:
        return
    names = {arm.name for arm in arms_of(file.design)}
    if isinstance(file.design, Search):
        names.add(WINNER)
    if file.verdict.comparator not in names:
        raise UsageError(f"{where}: " + unknown("comparator", file.verdict.comparator, names))
    for one in file.verdict.comparisons:
        for name in (one.arm, one.against):
            if name not in names:
                raise UsageError(f"{where}: " + unknown("arm in verdict.comparisons", name, names))


def _check_metric(study: Study, where: str) -> None:
    """Raises `UsageError` if the rule judges a metric that trials do not end with."""
    if study.file.verdict is None:
        return
    metric, final = study.file.verdict.metric, _final_metrics(study)
    if metric not in final:
        raise UsageError(f"{where}: " + unknown("verdict.metric", metric, final))


def _check_statements(study: Study, where: str) -> None:
    """Raises `UsageError` for statements that name what the study does not have."""
    try:
        columns = study.workload.score_columns
        check_statements(study.file, _final_metrics(study), columns)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _final_metrics(study: Study) -> list[str]:
    """What trials end with."""
    on_the_way = (*WHILE_TRAINING, HEALTH)
    return [name for name in study.workload.metrics if not name.startswith(on_the_way)]


def _check_search_metric(study: Study, where: str) -> None:
    """Raises `UsageError` for a search by a metric that trials do not report as they train."""
    if study.searching is None:
        return
    metric = study.searching.metric
    declared = [name for name in study.workload.metrics if name.startswith(WHILE_TRAINING)]
    if metric in declared:
        return
    hint = "A search learns from what is reported on the way, never from the report split."
    if f"eval/{metric}" in declared:
        hint += f" Did you mean 'eval/{metric}'?"
    raise UsageError(f"{where}: " + unknown("search metric", metric, declared, hint))


def _read(study: str | Path | Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    if isinstance(study, Mapping):
        return study, "study"
    text = str(study)
    path = Path(text).expanduser()
    if text.endswith((".yaml", ".yml")) or path.is_file():
        if not path.is_file():
            raise UsageError(f"There is no study file '{text}'.")
        return read_study_file(path), f"study file '{text}'"
    shipped = shipped_studies()
    if text not in shipped:
        raise UsageError(
            unknown(
                "study", text, shipped, "A study is a shipped name (orrery list) or a .yaml file."
            )
        )
    return read_study_file(shipped[text]), f"study '{text}'"
