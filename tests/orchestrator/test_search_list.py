"""A search is an append-only list: it can be interrupted anywhere and goes on as if it had not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator import Selection, Study, UsageError
from orchestrator.driver import listed_trials
from orchestrator.engine.ticket import Ticket
from orchestrator.engine.worker import AttemptFailed, run_attempt
from orchestrator.home import Home
from orchestrator.records import Provenance
from orchestrator.search_list import Learned, Proposal, SearchList, searcher_for
from orchestrator.searching import SearchTickets
from orchestrator.study_file import Search
from orchestrator.trials import Trial
from tests.orchestrator.quick_study import arm, quick_study

BUDGET = 12
SPACE = {
    "effect": {"uniform": [-5.0, 5.0]},
    "noise": {"loguniform": [0.1, 2.0]},
    "steps": {"randint": [2, 4]},
    "later": {"choice": [7, 8]},
}


def searching(searcher: str = "random", **parts: Any) -> dict[str, Any]:
    design = {
        "kind": "search",
        "space": SPACE,
        "budget": BUDGET,
        "metric": "train/x",
        "searcher": searcher,
        **parts,
    }
    return quick_study(design=design, base={})


class Engine:
    """Carries a search out in this process, one ticket at a time or several at once."""

    def __init__(self, mapping: Mapping[str, Any], home: Home) -> None:
        self.study = Study.load(mapping, home=home.root)
        assert self.study.searching is not None
        self.source = SearchTickets(self.study, self.study.searching, self._ticket)
        self.ran: list[int] = []

    def _ticket(self, trial: Trial, ordinal: int) -> Ticket:
        return Ticket(
            home=str(self.study.home.root),
            study=self.study.instance,
            identity=trial.identity,
            label=trial.label,
            arm=trial.arm,
            replicate=trial.replicate,
            seed=trial.seed,
            workload=self.study.file.workload,
            config=trial.config.model_dump(mode="json"),
            document=dict(trial.document),
            observed=dict(trial.observed),
            outcome_number=0,
            provenance=Provenance(code_digest="c"),
            ordinal=ordinal,
        )

    def run(self, ticket: Ticket) -> None:
        def report(step: int, metrics: Mapping[str, float | None]) -> None:
            self.source.reported(ticket, step, metrics)

        assert ticket.ordinal is not None
        self.ran.append(ticket.ordinal)
        try:
            run_attempt(ticket, report)
        except AttemptFailed:
            self.source.ended(ticket, "failed")
        else:
            self.source.ended(ticket, "done")

    def tickets(self) -> Iterator[Ticket]:
        while not self.source.exhausted():
            ticket = self.source.next()
            if ticket is not None:
                yield ticket

    def to_the_end(self) -> None:
        for ticket in self.tickets():
            self.run(ticket)


def points(home: Home, mapping: Mapping[str, Any]) -> list[dict[str, Any]]:
    folder = Study.load(mapping, home=home.root).folder
    return [proposal.point for proposal in SearchList(folder).proposals()]


# -- the list -------------------------------------------------------------------------------------


def test_lines_come_back_in_the_order_of_time(tmp_path: Path) -> None:
    lines = [
        Proposal(0, {"x": 0.1}, identity="a"),
        Proposal(1, {"x": 2}, refused="no"),
        Learned(1),
        Learned(0, 0.5, pruned_at=3, rule="asha"),
    ]
    for line in lines:
        SearchList(tmp_path).append(line)
    assert SearchList(tmp_path).lines() == lines
    assert SearchList(tmp_path).pruned() == {0: lines[3]}


def test_a_list_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert SearchList(tmp_path / "nowhere").lines() == []


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_last_line_is_passed_over_and_written_past(tmp_path: Path, cut: int) -> None:
    record = SearchList(tmp_path)
    first, second = Proposal(0, {"x": 0.1}, identity="a"), Proposal(1, {"x": 0.2}, identity="b")
    record.append(first)
    record.append(second)
    content = record.path.read_bytes()
    record.path.write_bytes(content[:-cut])
    kept = [first, second] if cut == 1 else [first]
    assert record.lines() == kept
    record.append(Learned(0, 1.0))
    assert record.lines() == [*kept, Learned(0, 1.0)]


# -- replay ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("searcher", ["random", "optuna"])
def test_replaying_what_was_learned_proposes_the_same(searcher: str) -> None:
    """With results that come late and out of order, as they do with several places."""
    design = Search.model_validate({**searching(searcher)["design"], "budget": 40})
    first, second = searcher_for(design), searcher_for(design)
    script: list[tuple[str, int, float | None]] = []
    for ordinal in range(40):
        script.append(("propose", ordinal, None))
        if ordinal % 3 == 2:  # three at a time, the last first
            script += [
                ("learn", o, None if o % 7 == 0 else -float(o))
                for o in range(ordinal, ordinal - 3, -1)
            ]

    def live(searcher: Any) -> list[dict[str, Any]]:
        found = []
        for what, ordinal, value in script:
            if what == "propose":
                found.append(searcher.propose(ordinal))
            else:
                searcher.learn(ordinal, value)
        return found

    assert live(first) == live(second)


def test_another_searcher_seed_proposes_other_points() -> None:
    one, two = (
        searcher_for(Search.model_validate(searching(searcher_seed=seed)["design"]))
        for seed in (0, 1)
    )
    assert one.propose(0) != two.propose(0)


def test_points_stay_inside_the_space() -> None:
    searcher = searcher_for(Search.model_validate(searching()["design"]))
    for ordinal in range(50):
        point = searcher.propose(ordinal)
        assert -5 <= point["effect"] <= 5
        assert 0.1 <= point["noise"] <= 2
        assert point["steps"] in (2, 3)
        assert point["later"] in (7, 8)


def test_learning_of_an_ordinal_twice_or_of_none_does_no_harm() -> None:
    searcher = searcher_for(Search.model_validate(searching()["design"]))
    searcher.learn(5, 1.0)
    searcher.propose(0)
    searcher.learn(0, float("nan"))
    searcher.learn(0, 1.0)


# -- a whole search -------------------------------------------------------------------------------


@pytest.mark.parametrize("searcher", ["random", "optuna"])
@pytest.mark.parametrize("stop_after", [0, 1, 7, BUDGET - 1])
def test_a_search_that_was_cut_off_proposes_what_it_would_have(
    home: Home, tmp_path: Path, searcher: str, stop_after: int
) -> None:
    mapping = searching(searcher)
    whole = Home.find(tmp_path / "whole").writable()
    Engine(mapping, whole).to_the_end()

    cut = Engine(mapping, home)
    for ticket in cut.tickets():
        if len(cut.ran) == stop_after:
            break  # killed with this one proposed and never run
        cut.run(ticket)
    resumed = Engine(mapping, home)
    resumed.to_the_end()

    assert points(home, mapping) == points(whole, mapping)
    assert sorted(cut.ran + resumed.ran) == list(range(BUDGET))


def test_a_trial_that_finished_unlearned_is_learned_and_not_run_again(home: Home) -> None:
    mapping = searching()
    cut = Engine(mapping, home)
    ticket = next(cut.tickets())
    run_attempt(ticket, lambda step, metrics: None)  # killed before the list was told
    resumed = Engine(mapping, home)
    resumed.to_the_end()
    assert resumed.ran == list(range(1, BUDGET))
    learned = [line for line in SearchList(cut.study.folder).lines() if isinstance(line, Learned)]
    assert sorted(line.ordinal for line in learned) == list(range(BUDGET))
    assert all(line.value is not None for line in learned)


def test_the_budget_counts_proposals_over_all_runs(home: Home) -> None:
    mapping = searching()
    Engine(mapping, home).to_the_end()
    again = Engine(mapping, home)
    again.to_the_end()
    assert again.ran == []
    assert len(points(home, mapping)) == BUDGET


def test_a_refused_point_uses_its_ordinal_and_no_trial(home: Home) -> None:
    mapping = searching(space={"effect": {"choice": [1.0, 666.0]}}, budget=6, searcher_seed=1)
    engine = Engine(mapping, home)
    engine.to_the_end()
    proposals = SearchList(engine.study.folder).proposals()
    refused = [p for p in proposals if p.refused]
    assert len(proposals) == 6
    assert 0 < len(refused) < 6
    assert all("effect 666 is refused" in (p.refused or "") for p in refused)
    assert all(p.identity is None for p in refused)


def test_two_points_of_one_trial_run_it_once(home: Home) -> None:
    engine = Engine(searching(space={"effect": {"choice": [1.0]}}, budget=3), home)
    engine.to_the_end()
    assert engine.ran == [0]


def test_a_failed_proposal_is_learned_and_the_search_goes_on(home: Home) -> None:
    space = {"fault": {"choice": ["raise", None]}, "effect": {"uniform": [0.0, 1.0]}}
    engine = Engine(searching("optuna", space=space, budget=6), home)
    engine.to_the_end()
    lines = SearchList(engine.study.folder).lines()
    values = {line.ordinal: line.value for line in lines if isinstance(line, Learned)}
    assert sorted(values) == list(range(6))
    assert None in values.values()


def test_a_list_made_by_another_searcher_is_refused(home: Home) -> None:
    mapping = searching()
    engine = Engine(mapping, home)
    engine.run(next(engine.tickets()))
    record = SearchList(engine.study.folder)
    first = record.proposals()[0]
    record.path.unlink()
    record.append(msgspec.structs.replace(first, point={**first.point, "effect": 0.5}))
    with pytest.raises(UsageError, match=r"Resuming the search .* another Optuna made it"):
        Engine(mapping, home).to_the_end()


def test_the_winner_is_the_best_finished_proposal_on_fresh_seeds(home: Home) -> None:
    mapping = searching(mode="min", arms=[arm("plain", "baseline")])
    engine = Engine(mapping, home)
    assert [a.name for a in engine.study.arms()] == ["plain"]
    for ticket in engine.tickets():
        assert "winner" not in [a.name for a in engine.study.arms()]
        engine.run(ticket)
    lines = SearchList(engine.study.folder).lines()
    values = {line.ordinal: line.value for line in lines if isinstance(line, Learned)}
    best = min(values, key=lambda ordinal: values[ordinal] or 0.0)
    winner = engine.study.arms()[-1]
    proposals = SearchList(engine.study.folder).proposals()
    assert (winner.name, winner.role, winner.overrides) == ("winner", "arm", proposals[best].point)
    seeds = {t.arm: t.seed for t in engine.study.trials()}
    assert seeds["proposal-0000"] == 1000
    assert [t.seed for t in engine.study.trials() if t.arm == "winner"] == [0, 1]


def test_a_pruned_proposal_cannot_win_and_is_not_waited_for(home: Home) -> None:
    engine = Engine(searching(), home)
    for ticket in engine.tickets():
        if ticket.ordinal == 0:
            engine.source.reported(ticket, 1, {"train/x": 1e9})
            engine.source.ended(ticket, "pruned")
            continue
        engine.run(ticket)
    assert SearchList(engine.study.folder).pruned()[0].pruned_at == 1
    winner = engine.study.arms()[-1]
    assert winner.name == "winner"
    assert winner.overrides != points(home, searching())[0]


# -- wanted again ---------------------------------------------------------------------------------


def listed(study: Study, selection: Selection) -> set[str]:
    """Arms that a run with that selection takes from the list, not from the searcher."""
    return {item.trial.arm for item in listed_trials(study.plan(selection))}


def test_settled_proposals_that_are_wanted_again_go_out_by_list(home: Home) -> None:
    engine = Engine(searching(), home)
    engine.to_the_end()
    study = engine.study
    proposals = {f"proposal-{ordinal:04d}" for ordinal in range(BUDGET)}
    assert listed(study, Selection()) == {"winner"}
    assert listed(study, Selection(again=("proposal-0003",))) == {"proposal-0003", "winner"}
    assert listed(study, Selection(again=True)) == proposals | {"winner"}
    assert len(listed(study, Selection(again=True, limit=1))) == 1


def test_failed_proposals_go_out_by_list_when_they_are_retried(home: Home) -> None:
    space = {"fault": {"choice": ["raise", None]}, "effect": {"uniform": [0.0, 1.0]}}
    engine = Engine(searching(space=space, budget=6), home)
    engine.to_the_end()
    failed = {i.trial.arm for i in engine.study.plan().trials if i.action == "failed"}
    assert 0 < len(failed) < 6
    assert listed(engine.study, Selection()) == {"winner"}
    assert listed(engine.study, Selection(retry=True)) == failed | {"winner"}
