"""The page of `orrery report --html`, opened as a file on a phone at night, without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator import Study
from orchestrator.home import Home
from orchestrator.report_page import write_page
from orchestrator.reporting import report_study
from tests.browser.served import PATIENCE_MS, missing
from tests.orchestrator.quick_study import QUESTIONED, finish, quick_study, rule

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

ABSENT = missing()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(ABSENT is not None, reason=ABSENT or ""),
    pytest.mark.xdist_group("browser"),
]
PHONE: ViewportSize = {"width": 375, "height": 800}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    home = Home.find(tmp_path_factory.mktemp("page") / "home")
    study = Study.load(quick_study(workload=QUESTIONED, verdict=rule()), home=home.root)
    finish(study)
    plan = study.plan()
    return write_page(study, plan, report_study(study, plan)).as_uri()


@pytest.fixture(scope="module")
def opened(browser: Browser, address: str) -> tuple[Page, list[str]]:
    """The page, and what it said or asked for that it should not."""
    context = browser.new_context(viewport=PHONE, color_scheme="dark", offline=True)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: wrong.append(asked.url) if asked.url != address else None)
    page.goto(address)
    page.locator(".canvas .main-svg").first.wait_for()
    return page, wrong


def test_it_draws_every_plot_in_the_colours_and_the_width_of_the_page(
    opened: tuple[Page, list[str]],
) -> None:
    page, wrong = opened
    assert wrong == []
    plots = page.locator(".canvas")
    assert plots.count() == 2
    for plot in plots.all():
        assert plot.locator(".point").count() >= 1
        paper = plot.locator(".main-svg").first.evaluate("e => getComputedStyle(e).backgroundColor")
        assert paper == page.evaluate("getComputedStyle(document.body).backgroundColor")
        tied = (plot.get_attribute("aria-describedby") or "").split()
        assert len(tied) == 2
        assert all(page.locator(f"#{one}").text_content() for one in tied)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_a_pointer_and_the_arrow_keys_show_what_a_point_is(
    opened: tuple[Page, list[str]],
) -> None:
    page, wrong = opened
    plot = page.locator(".canvas").first
    plot.scroll_into_view_if_needed()
    box = plot.locator(".point").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    label = plot.locator(".hovertext")
    label.first.wait_for()
    shown = label.first.text_content() or ""
    assert "mean" in shown
    assert "trials 2 of 2" in shown
    page.mouse.move(1, 1)
    plot.focus()
    page.keyboard.press("ArrowRight")
    first = page.locator("#said").text_content() or ""
    page.keyboard.press("ArrowRight")
    second = page.locator("#said").text_content() or ""
    assert "mean" in first
    assert "mean" in second
    assert first != second
    assert wrong == []


def test_without_a_script_every_figure_is_still_there(browser: Browser, address: str) -> None:
    page = browser.new_context(viewport=PHONE, java_script_enabled=False).new_page()
    page.goto(address)
    assert page.locator(".canvas").first.is_hidden()
    strips = page.locator("figure.strips")
    assert strips.count() == 2
    assert strips.first.is_visible()
    assert "better" in strips.first.inner_text()
