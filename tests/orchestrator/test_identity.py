"""A trial is named by what it computes, and by nothing else."""

from __future__ import annotations

import json
import math
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from orchestrator import Study
from orchestrator.errors import IdentityMismatchError
from orchestrator.home import Home
from orchestrator.identity import (
    canonical_json,
    document,
    identity_config,
    identity_of,
    label_of,
    observed_config,
)
from orchestrator.ledger import record_identity
from tests.orchestrator.quick_study import arm, finish, quick_study
from tests.quick_workload import Extra, Quick, QuickConfig
from workloads.contract import IdentityDefault, Input, Observed, Workload, WorkloadConfig

plain_data = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def by_name(source: Input, value: str) -> str:
    return f"{source.kind}:{value}"


def plain(**fields: Any) -> dict[str, Any]:
    return identity_config(QuickConfig(**fields), by_name)


def identity(seed: int = 0, **fields: Any) -> str:
    return identity_of(document("quick", 1, plain(**fields), seed))


def test_the_format_of_identities_has_not_changed() -> None:
    """Results that people have are found by these: a change needs a new IDENTITY_VERSION."""
    assert identity() == "7428454238aea6a187e5"
    assert identity(seed=3, effect=0.1, extra=Extra(gain=2.0)) == "5d4e60af921fc63539f1"
    assert identity(data="/some/where") == "50d209c25aa38db9a086"


def test_the_document_is_what_a_reader_can_check_by_hand() -> None:
    doc = document("quick", 1, plain(effect=0.1), 3)
    assert canonical_json(doc) == (
        '{"config":{"effect":0.1,"noise":1.0,"step_s":0.0,"steps":4,"threads":1},'
        '"identity_version":1,"seed":3,"workload":"quick","workload_version":1}'
    )


@given(st.dictionaries(st.text(max_size=5), plain_data, max_size=5), st.randoms())
def test_key_order_does_not_matter(data: dict[str, Any], chance: Any) -> None:
    items = list(data.items())
    chance.shuffle(items)
    assert canonical_json(dict(items)) == canonical_json(data)


@given(plain_data)
def test_canonical_json_says_what_it_was_given(data: Any) -> None:
    text = canonical_json(data)
    assert json.loads(text) == data
    assert canonical_json(json.loads(text)) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_canonical_json_refuses_numbers_that_json_lacks(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"x": value})


@given(
    st.floats(-1e6, 1e6),
    st.floats(0.0, 1e3),
    st.integers(1, 9),
    st.none() | st.builds(Extra, gain=st.floats(-5, 5)),
    st.integers(0, 2**31),
)
def test_a_config_that_went_through_json_keeps_its_identity(
    effect: float, noise: float, steps: int, extra: Extra | None, seed: int
) -> None:
    config = QuickConfig(effect=effect, noise=noise, steps=steps, extra=extra)
    again = QuickConfig.model_validate_json(config.model_dump_json())
    here, there = (document("quick", 1, identity_config(c, by_name), seed) for c in (config, again))
    assert identity_of(here) == identity_of(there)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"effect": 1.0}, {"effect": 2.0}),
        ({"threads": 1}, {"threads": 2}),
        ({"extra": None}, {"extra": {"gain": 0.0}}),
        ({"data": "a"}, {"data": "b"}),
    ],
    ids=["value", "threads", "factor on", "input"],
)
def test_what_changes_the_numbers_changes_the_identity(
    left: dict[str, Any], right: dict[str, Any]
) -> None:
    assert identity(**left) != identity(**right)


def test_seed_and_version_are_part_of_the_identity() -> None:
    doc = document("quick", 1, plain(), 0)
    assert identity_of(doc) != identity_of(document("quick", 1, plain(), 1))
    assert identity_of(doc) != identity_of(document("quick", 2, plain(), 0))
    assert identity_of(doc) != identity_of(document("quicker", 1, plain(), 0))


def test_what_only_observes_is_not_in_the_identity() -> None:
    assert identity(questions=5, metrics=3, log="x") == identity()
    assert observed_config(QuickConfig(questions=5))["questions"] == 5
    assert set(observed_config(QuickConfig())).isdisjoint(plain())


def test_a_field_at_its_identity_default_is_left_out() -> None:
    assert "later" not in plain(later=7)
    assert plain(later=8)["later"] == 8


def test_a_new_field_with_an_identity_default_renames_nothing() -> None:
    class Older(WorkloadConfig):
        rate: float = 0.5

    class Newer(WorkloadConfig):
        rate: float = 0.5
        momentum: Annotated[float, IdentityDefault(0.0)] = 0.0

    assert identity_config(Newer(), by_name) == identity_config(Older(), by_name)


def test_a_factor_that_is_off_equals_one_that_is_absent() -> None:
    assert identity(extra=None) == identity()


def test_markers_count_in_nested_parts_too() -> None:
    class Part(BaseModel):
        source: Annotated[str, Input("data")] = "a"
        later: Annotated[int, IdentityDefault(1)] = 1

    class Outer(WorkloadConfig):
        part: Part = Part()

    assert identity_config(Outer(), by_name)["part"] == {"source": "data:a"}


def test_what_a_nested_part_observes_is_asked_for_and_not_in_the_identity() -> None:
    class Probe(BaseModel):
        width: int = 1
        looks: Annotated[int, Observed()] = 5

    class Outer(WorkloadConfig):
        probe: Probe | None = Probe()
        questions: Annotated[int, Observed()] = 20

    unmonitored = {"monitors": [], "monitor_window": 10, "monitor_layer": None}
    mode = {"telemetry": "standard", **unmonitored}
    assert observed_config(Outer()) == {"probe.looks": 5, "questions": 20, **mode}
    assert identity_config(Outer(), by_name)["probe"] == {"width": 1}
    assert observed_config(Outer(probe=None)) == {"questions": 20, **mode}
    assert Quick().covers({"probe.looks": 5}, {"probe.looks": 4})


def test_none_where_the_default_is_something_else_is_said() -> None:
    class Older(WorkloadConfig):
        rate: float = 0.5

    class Newer(WorkloadConfig):
        rate: float = 0.5
        clip: Annotated[float | None, IdentityDefault(1.0)] = 1.0
        decay: Annotated[float | None, IdentityDefault(0.1)] = None
        warmup: int | None = 10
        extra: Extra | None = Field(default_factory=Extra)
        off: float | None = None

    older = identity_config(Older(), by_name)
    at_defaults = {"clip": 1.0, "decay": 0.1, "warmup": 10, "extra": {"gain": 0.0}}
    plain_newer = identity_config(Newer(**at_defaults), by_name)
    assert plain_newer == {**older, "warmup": 10, "extra": {"gain": 0.0}}
    for name in at_defaults:
        off = identity_config(Newer(**{**at_defaults, name: None}), by_name)
        assert off[name] is None
        assert off != plain_newer
    assert "off" not in plain_newer


def test_an_input_enters_by_its_fingerprint_and_not_by_its_path(tmp_path: Path, home: Home) -> None:
    (tmp_path / "here").write_text("12345")
    (tmp_path / "there").write_text("54321")
    (tmp_path / "longer").write_text("123456")

    def names(path: str) -> list[str]:
        study = Study.load(quick_study(base={"data": str(tmp_path / path)}), home=home.root)
        return [trial.identity for trial in study.trials()]

    assert names("here") == names("there")
    assert names("here") != names("longer")


def test_two_routes_to_one_configuration_share_their_trials(home: Home) -> None:
    nested = quick_study(arm("one", extra={"gain": 2.0}), name="by-nesting")
    dotted = quick_study(arm("two", **{"extra.gain": 2}), name="by-dots")
    base = quick_study(arm("three"), name="by-base", base={"steps": 3, "extra": {"gain": "2"}})
    level = quick_study(
        name="by-level", design={"kind": "grid", "factors": {"extra.gain": [2.0], "steps": [3]}}
    )
    found = [
        [trial.identity for trial in Study.load(mapping, home=home.root).trials()]
        for mapping in (nested, dotted, base, level)
    ]
    assert found[0] == found[1] == found[2] == found[3]


def test_the_question_and_an_arms_name_are_not_in_the_identity(home: Home) -> None:
    one = Study.load(quick_study(arm("a", effect=1)), home=home.root)
    two = Study.load(quick_study(arm("b", effect=1), question="Another?"), home=home.root)
    assert [t.identity for t in one.trials()] == [t.identity for t in two.trials()]


@given(
    st.dictionaries(st.text(max_size=12), st.text(max_size=30) | st.floats() | st.none()),
    st.integers(0, 10**12),
)
def test_a_label_is_short_plain_text_that_ends_in_the_identity(
    factors: dict[str, Any], seed: int
) -> None:
    label = label_of(factors, seed, "0123456789abcdef0123")
    assert len(label) <= 80
    assert set(label) <= set(string.ascii_letters + string.digits + "=,._+-")
    assert label.endswith("-0123456789abcdef0123")


def test_a_label_that_is_too_long_keeps_its_seed() -> None:
    factors = {"mode": "modulate", "core": "kuramoto", "site": "before_norm", "layer": 12}
    label = label_of(factors, 1234, "0123456789abcdef0123")
    assert len(label) == 80
    assert label.startswith("mode=modulate,core=kuramoto,site=before")
    assert label.endswith(",seed=1234-0123456789abcdef0123")


def test_a_document_of_a_newer_version_is_refused() -> None:
    with pytest.raises(ValueError, match="newer than this Orrery"):
        identity_of({**document("quick", 1, {}, 0), "identity_version": 99})


def test_a_file_that_was_edited_is_refused_and_the_field_is_named(home: Home) -> None:
    study = Study.load(quick_study(arm("a", effect=1)), home=home.root)
    (first, *_) = finish(study)
    path = home.trial(first) / "identity.json"
    path.write_text(path.read_text().replace('"effect": 1.0', '"effect": 2.0'))
    trial = study.trials()[0]
    with pytest.raises(IdentityMismatchError, match=r"config\.effect.*2\.0 there, 1\.0 asked"):
        record_identity(home, trial.identity, dict(trial.document))


def test_a_denser_recording_covers_a_sparser_one_and_an_older_outcome_is_standard() -> None:
    class Recorded(Quick):
        def covers(self, observed: Mapping[str, object], asked: Mapping[str, object]) -> bool:
            return Workload.covers(self, observed, asked)

    covers = Recorded().covers
    assert covers({}, {"telemetry": "standard"})
    assert covers({"telemetry": "research"}, {"telemetry": "adaptive"})
    assert not covers({"telemetry": "adaptive"}, {"telemetry": "research"})
    assert not covers({}, {"telemetry": "adaptive"})
