"""What a point may hold, and which of its keys change anything."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.dtdr.asking import Asked, asked, in_full
from workloads.errors import InputError

POINTS = st.fixed_dictionaries(
    {},
    optional={
        "fraction": st.sampled_from([1, 0.005, 0.5, 1.0]),
        "domain": st.sampled_from(["rows", "leading", "random", "largest"]),
        "fill": st.sampled_from(["zero", "random", "guided", "matched"]),
        "scale": st.sampled_from([0, 0.15, 1]),
        "shuffled": st.booleans(),
        "noise": st.sampled_from([0, 0.1]),
        "damage": st.sampled_from(["bits", "bytes", "codes"]),
        "checksums": st.booleans(),
        "draw": st.integers(0, 3),
    },
)


def test_an_empty_point_is_the_full_decode() -> None:
    assert asked({}) == Asked()
    assert in_full({}) == {"fraction": 1.0}


@given(POINTS)
def test_a_point_in_full_is_plain_json_and_stays_as_it_is(point: dict[str, Any]) -> None:
    full = in_full(point)
    assert json.loads(json.dumps(full)) == full
    assert in_full(full) == full


@given(POINTS)
def test_defaults_given_or_not_make_the_same_point(point: dict[str, Any]) -> None:
    assert in_full(asdict(asked(point))) == in_full(point)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"fill": "random", "draw": 1}, {}),
        ({"domain": "largest"}, {}),
        ({"fraction": 0.5, "draw": 1}, {"fraction": 0.5}),
        ({"fraction": 0.5, "scale": 0.9}, {"fraction": 0.5, "scale": 0.1}),
        ({"fraction": 0.5, "fill": "guided", "scale": 0}, {"fraction": 0.5}),
        ({"damage": "bits", "rate": 0, "checksums": True, "fill": "random"}, {}),
        ({"fraction": 0.5, "fill": "guided", "draw": 4}, {"fraction": 0.5, "fill": "guided"}),
        ({"fraction": 0.5, "shuffled": True, "draw": 4}, {"fraction": 0.5}),
        (
            {"damage": "bits", "rate": 0.1, "fill": "guided"},
            {"damage": "bits", "rate": 0.1, "domain": "random"},
        ),
    ],
)
def test_what_changes_nothing_is_left_out(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert in_full(one) == in_full(other)


@pytest.mark.parametrize(
    "point",
    [
        {"fraction": 0.5, "fill": "random"},
        {"fraction": 0.5, "domain": "random"},
        {"fraction": 0.5, "fill": "matched"},
        {"fraction": 0.5, "fill": "guided", "shuffled": True},
        {"noise": 0.1},
        {"damage": "bytes", "rate": 1e-6},
        {"damage": "bytes", "rate": 1e-6, "checksums": True},
    ],
)
def test_draws_are_told_apart_where_something_is_random(point: dict[str, Any]) -> None:
    assert in_full(point | {"draw": 0}) != in_full(point | {"draw": 1})


def test_damage_that_is_known_is_filled_even_in_a_whole_model() -> None:
    point = {"damage": "bits", "rate": 1e-6, "checksums": True}
    assert in_full(point | {"fill": "guided"}) != in_full(point | {"fill": "zero"})
    assert in_full(point | {"fill": "guided", "scale": 0.3})["scale"] == 0.3


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ({"fraction": 0}, "fraction: 0 is no share to keep; valid: more than 0, at most 1"),
        ({"fraction": 1.01}, "fraction: 1.01 is no share to keep"),
        ({"fraction": float("nan")}, "fraction: nan is no number"),
        ({"fraction": True}, "fraction: True is no number"),
        ({"fraction": "half"}, "fraction: 'half' is no number"),
        ({"domain": "row"}, "domain: 'row'; did you mean rows"),
        ({"fill": None}, "fill: None"),
        ({"fill": []}, "fill: []"),
        ({"damage": "byte"}, "did you mean bytes"),
        ({"scale": -0.1}, "scale: -0.1 is less than nothing; valid: 0 or more"),
        ({"scale": float("inf")}, "scale: inf is no number"),
        ({"noise": -1}, "noise: -1"),
        ({"damage": "bits", "rate": 2}, "rate: 2 is no share; valid: 0 to 1"),
        ({"rate": 0.1}, "rate: 0.1 of nothing; give damage as well. Valid: bits, bytes, codes"),
        ({"shuffled": 1}, "shuffled: 1 is neither true nor false"),
        ({"draw": -1}, "draw: -1 is no draw"),
        ({"draw": 0.5}, "draw: 0.5 is no draw"),
        ({"fractoin": 0.5}, "point: 'fractoin' is nothing to ask; did you mean fraction?"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(point: dict[str, Any], said: str) -> None:
    for read in (asked, in_full):
        with pytest.raises(InputError) as refusal:
            read(point)
        assert said in str(refusal.value)


def test_points_are_read_without_torch() -> None:
    code = "import sys, workloads.dtdr.asking; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
