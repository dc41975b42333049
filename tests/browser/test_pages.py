"""MLflow's pages on a finished study, in Chromium, as `orrery ui` serves them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.home import Home
from tests.browser.served import Pages, finished_study, missing, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ABSENT = missing()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(ABSENT is not None, reason=ABSENT or ""),
    pytest.mark.xdist_group("browser"),
]
TRIALS = [f"{arm} · {seed}" for arm in ("plain", "better", "best", "worse") for seed in (0, 1)]
METRIC = "metrics.`final/f1`"
NAMES = """({runs, otherThan}) => {
    const rows = [...document.querySelectorAll(".ag-row")]
        .map(row => [Number(row.getAttribute("row-index")),
                     row.querySelector("[col-id='attributes.`Run Name`']")?.innerText.trim()])
        .filter(([, name]) => name)
        .sort(([one], [other]) => one - other)
        .map(([, name]) => name.split("\\n").pop());
    return rows.length === runs && rows.join() !== otherThan.join() ? rows : null;
}"""


@pytest.fixture(scope="module")
def pages(
    browser: Browser, mlflow_schema: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pages]:
    folder = tmp_path_factory.mktemp("browsed")
    home = Home.find(folder / "home").writable()
    shutil.copy(mlflow_schema, home.root / "mlflow.db")
    with served(finished_study(home), browser, folder) as shown:
        yield shown
        assert shown.asked_outside == []


def names_of(
    page: Page, runs: int = 1 + len(TRIALS), other_than: list[str] | None = None
) -> list[str]:
    """The names in the table of runs, from the top, when it has that many, in another order."""
    shown = page.wait_for_function(NAMES, arg={"runs": runs, "otherThan": other_than or []})
    return [str(name) for name in shown.json_value()]


def open_parent(page: Page) -> None:
    page.get_by_role("link", name="quick-study-").first.click()
    page.get_by_text("About this run").wait_for()


def test_the_study_opens_on_its_trials_under_it(pages: Pages) -> None:
    with pages.look(pages.opened) as page:
        parent, *children = names_of(page)
        assert parent.startswith("quick-study-")
        assert sorted(children) == sorted(TRIALS)
        heads = page.locator(".ag-header-cell").all_inner_texts()
        assert {"final/f1", "effect", "state", "verdict"} <= set(heads)
        pages.picture(page, "runs")
        page.set_viewport_size({"width": 1920, "height": 900})
        pages.picture(page, "runs-wide")


def test_a_list_of_studies_says_what_they_ask_and_leads_to_runs(pages: Pages) -> None:
    with pages.look("#/experiments") as page:
        page.get_by_text("Does it drift?").wait_for()
        pages.picture(page, "studies")
        page.get_by_role("link", name="quick-study", exact=True).click()
        assert len(names_of(page)) == 1 + len(TRIALS)
        assert "/runs" in page.url
        assert page.get_by_text("Judges", exact=True).count() == 0
        assert page.get_by_placeholder("Ask a question...").count() == 0


def test_runs_sort_by_the_metric_of_the_study(pages: Pages) -> None:
    with pages.look(pages.opened) as page:
        shown = names_of(page)
        head = page.locator(f".ag-header-cell[col-id='{METRIC}']")
        orders = []
        for _ in range(2):
            head.click()
            shown = names_of(page, other_than=shown)
            orders.append([name.split(" ")[0] for name in shown if " · " in name])
        falling, rising = orders if "orderByAsc=true" in page.url else orders[::-1]
        assert falling[:2] == ["best", "best"]
        assert falling[-2:] == ["worse", "worse"]
        assert rising[:2] == ["worse", "worse"]
        assert rising[-2:] == ["best", "best"]
        pages.picture(page, "runs-sorted")


def test_the_note_tells_the_verdict_and_leads_to_reports_and_arms(pages: Pages) -> None:
    with pages.look(pages.opened) as page:
        names_of(page)
        open_parent(page)
        page.get_by_text("Show more").click()
        for part in ("Question.", "Does it drift?", "Verdict.", "comparator", "orrery run"):
            assert page.get_by_text(part).first.is_visible(), part
        pages.picture(page, "note")
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="better", exact=True).click()
        arm = opened.value
        assert sorted(names_of(arm, 2)) == ["better · 0", "better · 1"]
        pages.picture(arm, "arm")
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="report.html", exact=True).click()
        report = opened.value.frame_locator("iframe")
        report.get_by_text("Does it drift?").first.wait_for()
        pages.picture(opened.value, "report-linked")


def test_each_file_of_the_report_opens_in_the_page(pages: Pages) -> None:
    with pages.look(pages.opened) as page:
        names_of(page)
        open_parent(page)
        page.get_by_role("tab", name="Artifacts").click()
        page.get_by_text("Select a file to preview").wait_for()
        for name in ("differences.png", "factors.png", "means.png"):
            page.get_by_text(name, exact=True).first.click()
            page.get_by_text(f"/artifacts/{name}").wait_for()
            image = page.locator("img[src^='blob:']").locator("visible=true")
            image.wait_for()
            assert image.evaluate("async e => { await e.decode(); return e.naturalWidth }") > 300
        pages.picture(page, "file-png")
        page.get_by_text("report.html", exact=True).first.click()
        page.frame_locator("iframe").get_by_text("Does it drift?").first.wait_for()
        pages.picture(page, "file-html")
        page.get_by_text("report.csv", exact=True).first.click()
        page.get_by_role("cell", name="better").first.wait_for()
        pages.picture(page, "file-csv")
        page.get_by_text("report.md", exact=True).first.click()
        page.get_by_role("heading", name="Arms").wait_for()
        pages.picture(page, "file-md")


def test_charts_of_a_trial_stand_in_groups(pages: Pages) -> None:
    with pages.look(pages.opened) as page:
        names_of(page)
        page.get_by_role("link", name="better · 1").click()
        page.get_by_role("tab", name="Model metrics").click()
        for group in ("eval", "final", "train"):
            page.get_by_text(group, exact=True).first.wait_for()
        pages.picture(page, "charts")
