"""The page with plots: one file, with every figure in words, and nothing lost without a script."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from orchestrator.findings import Findings
from orchestrator.report import StudyInfo, interactive_page, write_report
from orchestrator.report.interactive import verdict_plots
from orchestrator.report.trial_places import Places, TrialPlace
from orchestrator.verdict import ArmVerdict, Verdict

MakeArm = Callable[..., ArmVerdict]
MakeVerdict = Callable[..., Verdict]
HOSTILE = "</script><img src=x onerror=alert(1)>"


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text of scripts apart from others."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts[-1] += data
        elif self.inside != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.found if name == tag]


@pytest.fixture(scope="module")
def trials() -> list[dict[str, object]]:
    return [{"id": "abc0", "arm": "a", "seed": 3, "state": "done", "f1": 40.0}]


@pytest.fixture
def page(
    make_verdict: MakeVerdict,
    make_arm: MakeArm,
    unmeasured: dict[str, object],
    info: StudyInfo,
    trials: list[dict[str, object]],
    tmp_path: Path,
) -> str:
    arms = (make_arm("a"), make_arm("b", **unmeasured), make_arm(HOSTILE))
    verdict = make_verdict(*arms, question=HOSTILE)
    write_report(verdict, info, trials, tmp_path)
    place = TrialPlace("abc0", "/h/trials/abc0", "../trials/abc0/", "../trials/abc0/a/", "run-7")
    places = Places((place,), (("report.csv", "report/report.csv"),))
    return interactive_page(verdict, Findings(), info, trials, tmp_path, {}, (), places)


def test_every_plot_is_named_and_described_by_what_is_in_the_page(page: str) -> None:
    elements = Elements(page)
    ids = {attrs["id"] for _, attrs in elements.found if attrs.get("id")}
    plots = [attrs for attrs in elements.all("div") if "data-plot" in attrs]
    assert len(plots) == 2
    for plot in plots:
        tied = f"{plot['aria-labelledby']} {plot['aria-describedby']} {plot['data-plot']}".split()
        assert set(tied) <= ids
        assert plot["role"] == "img"
        assert f"{plot['id']}-figures" in tied
    assert len(ids) == len([1 for _, attrs in elements.found if attrs.get("id")])


def test_the_figures_of_a_plot_stand_in_its_table(page: str) -> None:
    means, differences = re.findall(r'<table id="plot-\d-1-figures">(.*?)</table>', page)
    assert "41.5 [40.2, 42.8]" in means
    assert "62.0" in means  # a control
    assert "+1.5 [-0.5, +3.5]" in differences
    assert "n/a" in differences
    for table in (means, differences):
        assert table.startswith("<caption>")
        assert table.count('scope="col"') == 4


def test_headings_are_in_order_and_every_anchor_leads_somewhere(page: str) -> None:
    elements = Elements(page)
    levels = [int(tag[1]) for tag, _ in elements.found if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert set(levels[1:]) == {2}
    ids = {attrs.get("id") for _, attrs in elements.found}
    anchors = [a["href"] or "" for a in elements.all("a")]
    assert all(one[1:] in ids for one in anchors if one.startswith("#"))
    assert {"main", "header", "nav"} <= {tag for tag, _ in elements.found}


def test_the_page_asks_for_nothing(page: str) -> None:
    elements = Elements(page)
    assert not any("src" in attrs for tag, attrs in elements.found if tag != "img")
    assert not elements.all("link")
    addresses = [attrs["href"] for _, attrs in elements.found if attrs.get("href")]
    assert not [one for one in addresses if "//" in (one or "")]
    policy = next(m for m in elements.all("meta") if m.get("http-equiv"))
    assert "default-src 'none'" in (policy["content"] or "")
    assert "connect-src" not in (policy["content"] or "")


def test_plotly_is_in_it_once_and_what_is_drawn_is_data(page: str) -> None:
    elements = Elements(page)
    assert sum("plotly.js v" in one for one in elements.scripts) == 1
    typed = [attrs.get("type") for attrs in elements.all("script")]
    data = [t for t, kind in zip(elements.scripts, typed, strict=True) if kind]
    figures = [json.loads(text) for text in data]
    means = next(one for one in figures if "data" in one)
    said = [t for trace in means["data"] for t in trace.get("hovertext", ())]
    assert any("<b>a</b><br>mean 41.5 [40.2, 42.8] points<br>trials 5 of 5" in one for one in said)


def test_names_cannot_end_a_script_or_become_elements(page: str) -> None:
    elements = Elements(page)
    assert not any("onerror" in attrs for _, attrs in elements.found)
    assert HOSTILE in elements.text
    means = next(text for text in elements.scripts if '"narrow"' in text)
    assert "<b>" in str(json.loads(means))
    assert "&lt;/script&gt;" in str(json.loads(means))


def test_without_a_script_the_strips_of_the_light_page_are_there(page: str, tmp_path: Path) -> None:
    light = (tmp_path / "report.html").read_text(encoding="utf-8")
    strips = re.findall(r'<figure class="strips">.*?</figure>', light, re.DOTALL)
    assert len(strips) == 2
    for strip in strips:
        assert f"<noscript>{strip}</noscript>" in page
    assert "<script" not in light
    assert "data-plot" not in light


def test_each_trial_has_its_files_its_run_and_its_commands(page: str) -> None:
    addresses = [a["href"] for a in Elements(page).all("a")]
    assert {"../trials/abc0/", "../trials/abc0/a/", "report/report.csv"} <= set(addresses)
    assert "run-7" in page
    for word in ("trace", "logs", "replay"):
        assert f"orrery {word} abc0" in page


def test_an_arm_without_a_mean_is_not_a_point(
    make_verdict: MakeVerdict, make_arm: MakeArm, unmeasured: dict[str, object]
) -> None:
    verdict = make_verdict(make_arm("b", **unmeasured))
    (plot,) = verdict_plots(verdict)["differences"]
    points = [t for t in plot.figure["data"] if t.get("error_x")]
    assert points == []
    assert "n/a" in [one["text"] for one in plot.figure["layout"]["annotations"]]
