"""Studies of `Game`, and its points measured with or without Ray."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.evaluation.actor import PointWorker
from orchestrator.evaluation.stage import Evaluated, _work, measure_points
from orchestrator.evaluation.store import PointStore
from orchestrator.evaluation.subjects import SubjectPlan
from orchestrator.evaluation.work import Rows
from orchestrator.home import Home
from orchestrator.planning import Selection
from orchestrator.study import Study
from orchestrator.trials import Trial

GAME = "tests.orchestrator.evaluation.game_workload:Game"


def game_mapping(
    arms: Mapping[str, Mapping[str, Any]] | None = None,
    removal: Mapping[str, Any] | None = None,
    **parts: Any,
) -> dict[str, Any]:
    """A study of the removal costs in models of listed arms; by default of one arm, `whole`."""
    listed = arms or {"whole": {}}
    return {
        "name": "game",
        "question": "Who brings what?",
        "workload": GAME,
        "seeds": [0],
        "design": {
            "kind": "factorial",
            "arms": [{"name": name, "overrides": dict(over)} for name, over in listed.items()],
            "removal": dict(removal or {}),
        },
        **parts,
    }


def game_study(home: Home, *args: Any, **parts: Any) -> Study:
    return Study.load(game_mapping(*args, **parts), home=home.root)


def measure(
    study: Study,
    selection: Selection = Selection(),  # noqa: B008
    size: int = 2,
    tell: Callable[[str], None] = lambda line: None,
) -> Evaluated:
    """Measures what is missing, with Ray's session."""
    return measure_points(
        study,
        study.plan(selection).subjects,
        size,
        tell=tell,
        show=lambda done, total, per_s: None,
        code=study.code_digest if selection.same_code else None,
    )


def measure_here(study: Study, selection: Selection = Selection()) -> int:  # noqa: B008
    """The same in this process, without Ray: of subjects that nothing goes wrong with."""
    count = 0
    for plan in study.plan(selection).subjects:
        if plan.state != "open":
            continue
        work, store = _work(study, plan), store_of(study, plan)
        held = store.claim(study.instance, study.code_digest)
        store.note_open(work.spec.trial, work.spec.outcome)
        worker, rows = PointWorker(), Rows(study.code_digest)
        opened = worker.open(work.spec, *worker.pack(work.spec))
        assert opened.examples is not None, opened.why
        work.opened(opened.examples)
        work.begin(frozenset(plan.missing))
        while (piece := work.take(1)) is not None:
            rows.add(work, work.measured(piece, worker.measure(work.points(piece))))
        batch = rows.batch(work)
        assert batch is not None
        store.append(held, batch)
        store.note_whole()
        store.release(held)
        count += len(plan.missing)
    return count


def store_of(study: Study, plan: SubjectPlan) -> PointStore:
    return PointStore.of(study.home, plan.subject, study.workload.version)


def worth(trial: Trial, on: frozenset[str]) -> float:
    """What a coalition of the trial's players is worth."""
    import numpy as np

    players = trial.config.players  # type: ignore[attr-defined]
    brings = np.random.default_rng(trial.seed).uniform(1, 10, players)
    there = [f"p{index}" in on for index in range(players)]
    pairs = sum(a and b for a, b in itertools.pairwise(there))
    return float(sum(b for b, is_on in zip(brings, there, strict=True) if is_on) + 5 * pairs)


def fault(folder: Path, name: str, point: str = "") -> str:
    """Puts a fault in place; the folder as the configuration names it."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(point)
    return str(folder)
