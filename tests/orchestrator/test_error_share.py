"""Parts that answer one study share the error of its answer."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator import Study
from orchestrator.error_share import answering_parts, judged_rule, shared_confidence
from orchestrator.home import Home
from tests.orchestrator.quick_study import finish
from tests.orchestrator.test_findings_of_endpoints import endpoints, texts_study

CLAIM = {"arm": "far", "statistic": "mean", "column": "kl", "split": "texts", "expected": [0, 1]}
RULE = {"metric": "entropy", "comparator": "base", "bands": [{"at_least": 1, "name": "seen"}]}


def loaded(home: Home, **parts: Any) -> Study:
    return Study.load(texts_study(**parts), home=home.root)


def test_one_part_has_the_whole_error(home: Home) -> None:
    file = loaded(home).file
    assert answering_parts(file) == ("endpoints",)
    assert shared_confidence(file, 0.95) == 0.95


def test_secondary_endpoints_answer_nothing_and_take_no_share(home: Home) -> None:
    secondary = {"entropy": endpoints()["entropy"]}
    file = loaded(home, endpoints=secondary, claims={"far": CLAIM}).file
    assert answering_parts(file) == ("claims",)


def test_two_parts_have_half_each_and_every_result_says_so(home: Home) -> None:
    study = loaded(home, claims={"far": CLAIM})
    alone = loaded(home)
    assert shared_confidence(study.file, 0.95) == pytest.approx(0.975)
    finish(study)
    plan = study.plan()
    assert any("endpoints and claims answer this study" in note for note in plan.notes)
    from orchestrator.findings import findings_of
    from orchestrator.report.claims import claim_sections
    from orchestrator.report.endpoints import endpoint_sections

    found = findings_of(study, plan)
    assert found.endpoints is not None
    assert found.claims is not None
    assert {one.confidence for one in found.endpoints.comparisons} == {found.claims.confidence}
    told = [
        section.lines[0]
        for section in (
            *endpoint_sections(found.endpoints, {}),
            *claim_sections(found.claims, {}),
        )
    ]
    assert all("97.5 %" in line for line in told)
    wider = found.endpoints.find("kl", "far")
    one_part = findings_of(alone, alone.plan()).endpoints
    assert one_part is not None
    narrower = one_part.find("kl", "far")
    assert wider is not None
    assert narrower is not None
    assert wider.low is not None
    assert narrower.low is not None
    assert wider.low < narrower.low


def test_a_rule_beside_claims_is_judged_with_its_share(home: Home) -> None:
    file = loaded(home, endpoints={}, verdict=RULE, claims={"far": CLAIM}).file
    rule = judged_rule(file)
    assert rule is not None
    assert rule.confidence == pytest.approx(0.975)
    assert file.verdict is not None
    assert file.verdict.confidence == 0.95
