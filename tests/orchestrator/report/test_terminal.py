"""The verdict in a terminal."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from orchestrator.report import render_verdict
from orchestrator.verdict import ArmVerdict, Verdict

MakeArm = Callable[..., ArmVerdict]
MakeVerdict = Callable[..., Verdict]


def printed(verdict: Verdict, width: int = 80, **console: Any) -> str:
    out = io.StringIO()
    Console(file=out, width=width, **console).print(render_verdict(verdict))
    return out.getvalue()


def test_it_fits_80_columns_whole(make_verdict: MakeVerdict, make_arm: MakeArm) -> None:
    arm = make_arm(
        "r16_a32_layers16_and_more_words",
        delta=13.64,
        delta_ci_low=11.07,
        delta_ci_high=16.2,
        label="at least 10 (strong)",
        extra={"diverged": 1},
    )
    text = printed(make_verdict(arm))

    assert max(map(len, text.splitlines())) <= 80
    assert "+13.6 [+11.1, +16.2]" in text
    assert "…" not in text


def test_the_answer_comes_last(make_verdict: MakeVerdict, make_arm: MakeArm) -> None:
    lines = printed(make_verdict(make_arm("a"))).rstrip().splitlines()

    assert lines[-1].strip() == "Inconclusive: nothing is known."


def test_controls_are_apart_below_the_arms(make_verdict: MakeVerdict, make_arm: MakeArm) -> None:
    text = printed(make_verdict(make_arm("a")))

    assert text.index(" a ") < text.index("Controls (shown apart") < text.index(" text ")


@pytest.mark.parametrize(("met", "said"), [(True, "met"), (False, "not met"), (None, "cannot be")])
def test_the_gate_has_its_line(make_verdict: MakeVerdict, met: bool | None, said: str) -> None:
    from dataclasses import replace

    verdict = make_verdict()
    assert verdict.gate is not None
    text = printed(make_verdict(gate=replace(verdict.gate, met=met)))

    assert f"Gate {said}" in text


def test_missing_numbers_are_not_available(
    make_verdict: MakeVerdict, make_arm: MakeArm, unmeasured: dict[str, Any]
) -> None:
    (row,) = [
        line
        for line in printed(make_verdict(make_arm("gone", **unmeasured))).splitlines()
        if line.strip().startswith("gone")
    ]

    assert row.split() == ["gone", "0/5", "n/a", "n/a", "incomplete"]


def test_a_collapse_shows_how_many(make_verdict: MakeVerdict, make_arm: MakeArm) -> None:
    arm = make_arm("a", label="collapsed", extra={"collapsed": 2})

    assert "collapsed (2 of 5)" in printed(make_verdict(arm))


def test_no_colour_when_none_is_wanted(
    make_verdict: MakeVerdict, make_arm: MakeArm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = printed(make_verdict(make_arm("a")), force_terminal=True)

    assert "\x1b[3" not in text.replace("\x1b[3m", "")  # italics are not colours
