"""A finished study in MLflow, served by `orrery ui`, and a browser that looks at it."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import Study
from orchestrator.home import Home
from orchestrator.plan_file import write_plan
from orchestrator.publishing import publish, state_of
from orchestrator.reporting import report_study
from tests.orchestrator.quick_study import (
    arm,
    configurations,
    driver,
    finish,
    quick_study,
    rule,
    wait_until,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Request

CHROMIUM = "/usr/bin/chromium"
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
"""With the last, no page reaches anything but this machine: `Pages` tells what it tried."""
SCREENSHOTS = "ORRERY_SCREENSHOTS"
"""The environment variable that names the folder where pictures of the pages are kept."""
WORKLOAD = "tests.quick_workload:QuestionedQuick"
READY = re.compile(r"MLflow is ready: (http://127\.0\.0\.1:\d+/)(\S*)")
OURS = ("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")
PATIENCE_MS = 120_000
"""How long a page may take to show something; only a failure takes that long."""
READY_WITHIN_S = 240.0


def finished_study(home: Home) -> Study:
    """A study of three arms and a control that has run, with its verdict, in the home's MLflow."""
    arms = [
        arm("plain", "baseline"),
        arm("better", effect=5.0),
        arm("best", effect=20.0),
        arm("worse", "control", effect=-20.0),
    ]
    mapping = quick_study(workload=WORKLOAD, design=configurations(*arms), verdict=rule())
    study = Study.load(mapping, home=home.root)
    finish(study)
    plan = study.plan()
    write_plan(study, plan)
    report = report_study(study, plan)
    publish(study, plan, report.verdict, state_of(plan), report.folder, findings=report.findings)
    return study


@dataclass
class Pages:
    """MLflow's pages of a study. `asked_outside` fills with what they wanted from elsewhere."""

    context: BrowserContext
    address: str
    opened: str
    """The path that `orrery ui STUDY` tells."""
    pictures: Path
    asked_outside: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.on("request", self._note)

    @contextmanager
    def look(self, path: str, width: int = 1280, height: int = 900) -> Iterator[Page]:
        """A page as somebody sees it who was never here, but for files that are kept."""
        page = self.context.new_page()
        try:
            page.set_viewport_size({"width": width, "height": height})
            page.goto(self.address + path)
            yield page
            page.evaluate("localStorage.clear()")
        finally:
            for one in self.context.pages:
                one.close()

    def picture(self, page: Page, name: str) -> None:
        page.screenshot(path=self.pictures / f"{name}.png", animations="disabled")

    def _note(self, request: Request) -> None:
        if not request.url.startswith(OURS):
            self.asked_outside.append(request.url)


@contextmanager
def launched() -> Iterator[Browser]:
    """Chromium. Only one may be there in a process."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def served(study: Study, browser: Browser, folder: Path) -> Iterator[Pages]:
    """The study's pages while `orrery ui STUDY` runs, which ends at Ctrl-C without a word."""
    pictures = Path(os.environ.get(SCREENSHOTS) or folder / "screenshots")
    pictures.mkdir(parents=True, exist_ok=True)
    words = ("ui", study.name, "--home", study.home.root, "--port", "5830", "--no-open")
    with driver(*words, cwd=folder) as ui:
        wait_until(
            lambda: READY.search(ui.out) or ui.process.poll() is not None,
            "it is ready",
            READY_WITHIN_S,
        )
        told = READY.search(ui.out)
        assert told is not None, ui.err
        context = browser.new_context()
        context.set_default_timeout(PATIENCE_MS)
        try:
            yield Pages(context, told[1], told[2], pictures)
        finally:
            context.close()
            ui.process.send_signal(signal.SIGINT)
        assert ui.end() == 0
        assert "Traceback" not in ui.out + ui.err


def missing() -> str | None:
    """What this machine lacks for these tests."""
    try:
        import playwright  # noqa: F401
    except ImportError:
        return "needs playwright: pip install playwright"
    return None if shutil.which(CHROMIUM) else f"needs Chromium at {CHROMIUM}"
