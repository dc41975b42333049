"""`--on slurm` measures points of finished models on pilots: none twice but what a node lost."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.evaluation.tables import point_table
from tests.lab.lab import Lab
from tests.lab.proving import Case, queue_empties
from tests.lab.test_faults_in_lab import running
from tests.orchestrator.evaluation.games import GAME, worth
from tests.orchestrator.quick_study import wait_until

pytestmark = pytest.mark.lab

PLAYERS = 8
POINT_S = 0.15


def game(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "question": "Who brings what?",
        "workload": GAME,
        "base": {"players": PLAYERS, "work_s": POINT_S},
        "seeds": [0],
        "design": {"kind": "factorial", "arms": [{"name": "whole"}], "removal": {"full": True}},
        "resources": {"cpus": 1},
        "slurm": {"time": "00:30:00", "pilots": 2, "extra": {"exclusive": True}},
    }


def measured(case: Case) -> list[tuple[str, str]]:
    """(node, point) of all that any worker began to measure, the earliest first."""
    if not case.log.exists():
        return []
    lines = [line.split() for line in case.log.read_text().splitlines()]
    return [(where.partition("/")[0], on) for where, _, on in lines]


def test_a_node_that_dies_in_the_middle_costs_what_was_on_it_and_no_more(
    lab: Lab, cases: Callable[..., Case]
) -> None:
    case = cases(game("points-by-pilots"))
    with running(case) as driver:

        def both_measure() -> bool:
            assert driver.process.poll() is None, driver.told.read_text()
            counts = Counter(node for node, _ in measured(case))
            return len(counts) == 2 and min(counts.values()) > 16

        wait_until(both_measure, "two nodes measure", 200)
        lost = measured(case)[-1][0]
        lab.kill(lost)
        back = threading.Timer(20, lab.revive, [lost])
        back.start()
        try:
            assert driver.process.wait(300) == 0, driver.told.read_text()
        finally:
            back.cancel()
            back.join()
    queue_empties(case)
    study = case.study()
    (subject,) = study.plan().subjects
    assert (subject.state, subject.known, subject.failed) == ("done", 2**PLAYERS, 0)
    table = point_table(study, subject.trial)
    assert table.complete
    assert list(table.values["accuracy"]) == [worth(subject.trial, on) for on in table.on]
    first: dict[str, str] = {}
    again = []
    for node, on in measured(case):
        if on in first:
            again.append((first[on], on))
        first.setdefault(on, node)
    assert {node for node, _ in again} <= {lost}, "only what the dead node had is measured again"
    assert max(Counter(on for _, on in again).values(), default=0) <= 1
    assert len(again) <= 2**PLAYERS // 4
