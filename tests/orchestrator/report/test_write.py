"""The files of a report: complete, self-contained, and honest about what is missing."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from orchestrator.report import StudyInfo, write_report
from orchestrator.report.rows import duration_text, size_text
from orchestrator.report.strips import Mark, StripRow, strip_plot, ticks
from orchestrator.verdict import ArmVerdict, Verdict

MakeArm = Callable[..., ArmVerdict]
MakeVerdict = Callable[..., Verdict]
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Balance(HTMLParser):
    """Checks that tags nest, and collects what a reader and a screen reader get."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.labels: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.labels += [value or "" for name, value in attrs if name == "aria-label"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read_page(path: Path) -> Balance:
    page = Balance()
    page.feed(path.read_text("utf-8"))
    assert page.open == []
    return page


def test_every_form_is_written(
    make_verdict: MakeVerdict, make_arm: MakeArm, info: StudyInfo, tmp_path: Path
) -> None:
    report = write_report(make_verdict(make_arm("a")), info, [{"trial": "t0"}], tmp_path / "deep")

    names = {path.name for path in report.paths()}
    assert names == {
        "report.md", "report.html", "report.csv", "trials.csv", "verdict.json", "means.png",
        "differences.png",
    }  # fmt: skip
    assert all(path.stat().st_size > 0 for path in report.paths())
    assert {path.name for path in report.folder.iterdir()} == names
    assert report.means_png.read_bytes().startswith(b"\x89PNG")
    assert json.loads(report.verdict_json.read_text())["study"] == "lora-sweep"


def test_what_was_not_measured_is_not_0(
    make_verdict: MakeVerdict,
    make_arm: MakeArm,
    unmeasured: dict[str, Any],
    info: StudyInfo,
    tmp_path: Path,
) -> None:
    verdict = make_verdict(make_arm("gone", **unmeasured))
    report = write_report(
        verdict, info, [{"trial": "t0", "f1": None, "em": float("nan")}], tmp_path
    )

    (row,) = [r for r in csv.DictReader(report.arms_csv.open()) if r["arm"] == "gone"]
    assert {row[name] for name in ("mean", "ci_low", "delta", "floor_corrected")} == {"n/a"}
    assert report.trials_csv.read_text() == "trial,f1,em\nt0,n/a,n/a\n"
    assert "| `gone` | 0 of 5, 5 failed | n/a | n/a | n/a | incomplete |" in (
        report.markdown.read_text()
    )
    assert "gone: not measured" in read_page(report.html).labels
    assert "- Python: n/a" in report.markdown.read_text()


def test_the_page_needs_no_network_and_no_script(
    make_verdict: MakeVerdict, make_arm: MakeArm, info: StudyInfo, tmp_path: Path
) -> None:
    text = write_report(make_verdict(make_arm("a")), info, [], tmp_path).html.read_text()

    assert not re.search(r'src\s*=|href\s*=\s*"[^#]|url\(|@import|<script', text)
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_plots_have_words_and_tables_have_headers(
    make_verdict: MakeVerdict, make_arm: MakeArm, info: StudyInfo, tmp_path: Path
) -> None:
    path = write_report(make_verdict(make_arm("a")), info, [{"trial": "t0"}], tmp_path).html
    page, text = read_page(path), path.read_text()

    assert "a: mean 41.5 points, 95 % interval 40.2 to 42.8" in page.labels
    assert "a: difference 1.5 points, 95 % interval -0.5 to 3.5. inconclusive" in page.labels
    assert text.count("<table") == text.count("<caption>") == 3
    assert text.count('role="img"') == 4  # base, a, text; and the difference of a


def test_names_are_escaped(
    make_verdict: MakeVerdict, make_arm: MakeArm, info: StudyInfo, tmp_path: Path
) -> None:
    verdict = make_verdict(make_arm("<script>alert('1')</script>|x"), notes=("a < b",))
    report = write_report(verdict, info, [], tmp_path)

    assert "<script" not in report.html.read_text()
    assert "<script>alert('1')</script>|x" in read_page(report.html).text
    assert r"</script>\|x" in report.markdown.read_text()


def test_the_report_says_what_a_reader_asks(
    make_verdict: MakeVerdict, make_arm: MakeArm, info: StudyInfo, tmp_path: Path
) -> None:
    verdict = make_verdict(
        make_arm("a"), notes=("A note.",), next_steps=("Do this.",), mixed=("trials differ",)
    )
    told = replace(info, hypothesis="It helps.")
    report = write_report(verdict, told, [], tmp_path)

    for text in (report.markdown.read_text(), read_page(report.html).text):
        for said in (
            "Does it help?",
            "Hypothesis: It helps.",
            "Inconclusive: nothing is known.",
            "Gate met: (plain - floor) / (text - floor) = 0.50 [0.40, 0.60] at 90 %",
            "floor 15.0 (constant)",
            "a, chosen on dev (44.0); on test 41.5, difference +1.5: inconclusive",
            "simultaneous over 1 arms" if verdict.family > 1 else "95 % intervals",
            "A note.",
            "Do this.",
            "orrery run lora-sweep",
            "lora-sweep-0123456789ab",
            "1 h 02 min",
            "3.0 MiB",
        ):
            assert said in text


def test_a_verdict_without_gate_controls_or_arms_is_still_a_report(
    make_verdict: MakeVerdict, info: StudyInfo, tmp_path: Path
) -> None:
    report = write_report(
        make_verdict(gate=None, controls=(), best=None, family=0), info, [], tmp_path
    )

    assert "Controls" not in report.markdown.read_text()
    assert "No arm to compare." in read_page(report.html).text


def test_factors_on_a_grid_get_a_picture_and_tables(
    make_verdict: MakeVerdict, make_arm: MakeArm, info: StudyInfo, tmp_path: Path
) -> None:
    arms = [
        make_arm(f"r{r}a{a}", factors={"rank": r, "alpha": a}, mean=30.0 + r)
        for r, a in ((4, 8), (8, 8), (8, 16))
    ]
    report = write_report(make_verdict(*arms), info, [], tmp_path)

    assert report.factors_png is not None
    assert report.factors_png.stat().st_size > 0
    assert "alpha / rank" in read_page(report.html).text
    assert "(factors.png)" in report.markdown.read_text()


def test_a_picture_of_an_earlier_report_does_not_stay(
    make_verdict: MakeVerdict, make_arm: MakeArm, info: StudyInfo, tmp_path: Path
) -> None:
    arms = [make_arm(f"r{r}", factors={"rank": r}) for r in (4, 8)]
    first = write_report(make_verdict(*arms), info, [], tmp_path)
    second = write_report(make_verdict(make_arm("a")), info, [], tmp_path)

    assert first.factors_png is not None
    assert second.factors_png is None
    assert not first.factors_png.exists()


def test_the_same_verdict_gives_the_same_bytes(
    make_verdict: MakeVerdict, make_arm: MakeArm, info: StudyInfo, tmp_path: Path
) -> None:
    verdict = make_verdict(make_arm("a"))
    one = write_report(verdict, info, [], tmp_path / "one")
    two = write_report(verdict, info, [], tmp_path / "two")

    assert [p.read_bytes() for p in one.paths()] == [p.read_bytes() for p in two.paths()]


def test_less_is_better_is_drawn_without_complaint(
    make_verdict: MakeVerdict, make_arm: MakeArm, info: StudyInfo, tmp_path: Path
) -> None:
    verdict = make_verdict(make_arm("a"), direction="lower")

    assert write_report(verdict, info, [], tmp_path).differences_png.stat().st_size > 0


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-4.0, 66.0, [0.0, 20.0, 40.0, 60.0]),
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-0.011, 0.023, [-0.01, 0.0, 0.01, 0.02]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == expected


def test_marks_outside_the_data_widen_the_plot_and_shades_do_not() -> None:
    row = StripRow("a", 1.0, 0.0, 2.0, "", "", "plain", "")
    page = strip_plot("", [("", [row])], [Mark(4.0, "line"), Mark(3.0, "", "band", until=1e12)])

    assert 'class="mark line" style="left:96.30%"' in page  # 4 on -0.16 to 4.16
    assert 'class="range" style="left:73.15%;width:26.85%"' in page


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "n/a"), (0.2, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (3720, "1 h 02 min")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"), [(None, "n/a"), (0, "0 B"), (1536, "1.5 KiB"), (5 * 1024**4, "5.0 TiB")]
)
def test_sizes(size: int | None, text: str) -> None:
    assert size_text(size) == text
