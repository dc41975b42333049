"""Seeds as a study file lists them: ranges mean what their numbers mean."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from orchestrator import Study, UsageError
from orchestrator.home import Home
from orchestrator.seeds import MOST_SEEDS, listed_seeds, shown_seeds
from orchestrator.study_file import StudyFile, parse_setting
from tests.orchestrator.quick_study import arm, configurations, quick_study


@pytest.mark.parametrize(
    ("given", "seeds"),
    [
        ("0-3", [0, 1, 2, 3]),
        (" 4 - 5 ", [4, 5]),
        ("7-7", [7]),
        (["0-2", 9], [0, 1, 2, 9]),
        ([5, "0-1", "3-4"], [5, 0, 1, 3, 4]),
        ([1, 2], [1, 2]),
    ],
)
def test_a_range_stands_for_its_seeds_with_both_ends(given: Any, seeds: list[int]) -> None:
    assert listed_seeds(given) == seeds


def test_a_range_and_its_list_are_one_study(home: Home) -> None:
    design = configurations(arm("plain"), {**arm("other"), "seeds": "5-8"})
    ranged = Study.load(quick_study(seeds="0-3", design=design), home=home.root)
    design = configurations(arm("plain"), {**arm("other"), "seeds": [5, 6, 7, 8]})
    listed = Study.load(quick_study(seeds=[0, 1, 2, 3], design=design), home=home.root)
    assert ranged.instance == listed.instance
    assert ranged.file.seeds == [0, 1, 2, 3]
    assert [t.seed for t in ranged.trials()] == [0, 1, 2, 3, 5, 6, 7, 8]


def test_a_range_can_be_set_on_the_command_line(home: Home) -> None:
    for text in ("seeds=0-4", "seeds=[0-3, 4]"):
        study = Study.load(quick_study(), settings=dict([parse_setting(text)]), home=home.root)
        assert study.file.seeds == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("3-0", "'3-0' runs backwards: write 0-3"),
        (["0-2", 1], "seeds must differ, but 1 is given more than once"),
        (f"0-{MOST_SEEDS}", "makes more than 100,000 seeds"),
        ("4294967295-4294967296", "should be less than 4294967296"),
        ("0-3,7", "should be a valid list"),
        (["a"], "should be a whole number"),
    ],
)
def test_what_is_no_list_of_seeds_is_refused(given: Any, told: str, home: Home) -> None:
    with pytest.raises(UsageError, match=told):
        Study.load(quick_study(seeds=given), home=home.root)
    mine = configurations({**arm("one"), "seeds": given})
    with pytest.raises(UsageError, match=told):
        Study.load(quick_study(design=mine), home=home.root)


def test_the_schema_takes_ranges_and_refuses_other_text() -> None:
    schema = StudyFile.model_json_schema()
    for good in ("0-98", ["0-98", 200], [0, 1]):
        jsonschema.validate(quick_study(seeds=good), schema)
    for bad in ("all", [1.5], ["0..9"]):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(quick_study(seeds=bad), schema)


def test_seeds_are_shown_as_a_person_would_list_them() -> None:
    assert shown_seeds([0, 1, 2, 3, 9, 11, 12]) == "0-3, 9, 11, 12"
    assert shown_seeds([]) == ""
