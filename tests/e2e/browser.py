"""Chromium as a person's browser: what a dashboard shows, and what the page complains of."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import evidence
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# No sandbox, because CI runs as root in a container; the rest keeps it from talking to anybody but the page's host.
SWITCHES = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
SWITCHES += " --disable-component-update --disable-sync"
WIDTH, HEIGHT = 1280, 900
# Resolves when nothing has been loading for half a second and each chart shows something, with the milliseconds since; null after a minute.
SETTLED = """() => new Promise(settled => {
  const bare = chart => !chart.querySelector("canvas, table, [role='alert']") && !/\\d|No results/.test(chart.textContent);
  const loading = () => document.querySelector(".loading, [data-test='loading-indicator'], .ant-skeleton")
    || [...document.querySelectorAll(".chart-slice .slice_container")].some(bare);
  const began = performance.now();
  let quiet = began;
  const look = () => {
    const now = performance.now();
    if (loading()) quiet = now;
    if (now - quiet >= 500) settled(now - quiet);
    else if (now - began >= 60000) settled(null);
    else setTimeout(look, 20);
  };
  look();
})"""
# Superset's telemetry is built into its pages. The policy of superset_config.py blocks it, and the console says so.
TELEMETRY = "scarf.sh"


def executable() -> str:
    """The browser on the PATH. Raises AssertionError that says how to get one."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    assert found, "No Chromium is on the PATH: install chromium or google-chrome (./test.sh does it as root on Debian)."
    return found


@contextmanager
def launched() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=SWITCHES.split())
        yield browser
        browser.close()


@contextmanager
def profiled() -> Iterator[BrowserContext]:
    """A browser with a profile on disk, as a person has: what it may keep, it keeps. The windows of `launched` are private ones, and
    forget the machine code of large scripts between two pages."""
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        context = playwright.chromium.launch_persistent_context(
            folder, executable_path=executable(), args=SWITCHES.split(), viewport={"width": WIDTH, "height": HEIGHT}
        )
        yield context
        context.close()


class Visitor:
    """A logged-in person with one page. `complaints`: errors of the console, failed requests, and requests to other hosts.

    When a test fails, a picture of the page is kept, and all that it said.
    """

    def __init__(self, browser: Browser | BrowserContext, url: str, user: str, password: str) -> None:
        self.url = url
        self.user = user
        self.complaints: list[str] = []
        self._began = time.monotonic()
        self._events: list[str] = []
        self.page: Page = browser.new_page()
        self.page.on("console", lambda message: self._note(f"console {message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self._note(f"script: {error.stack or error}"))
        self.page.on("requestfailed", lambda request: self._note(f"{request.failure}: {request.method} {request.url}"))
        self.page.on("response", lambda answer: self._note(f"{answer.status}: {answer.request.method} {answer.url}"))
        evidence.on_failure(self._keep)
        self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        # A bound of a failure only: a busy machine is slow.
        self.page.set_default_timeout(120_000)
        # The form is drawn by a script, which may draw it anew until the page is at rest.
        self.page.goto(f"{url}/login/", wait_until="networkidle")
        for field, value in (("#username", user), ("#password", password)):
            self.page.fill(field, value)
            expect(self.page.locator(field)).to_have_value(value)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url("**/welcome/**")
        self.page.wait_for_load_state("networkidle")
        self.page.on("console", lambda message: self._said(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        self.page.on("response", lambda answer: self._answered(answer.status, answer.url))

    def _note(self, event: str) -> None:
        self._events.append(f"{time.monotonic() - self._began:9.3f} {event}")

    def _keep(self, folder: Path) -> None:
        (folder / f"page-of-{self.user}.txt").write_text("\n".join([f"at {self.page.url}", *self._events[-2000:]]))
        self.page.screenshot(path=folder / f"page-of-{self.user}.png", timeout=10_000)

    def _said(self, kind: str, text: str) -> None:
        if kind == "error" and TELEMETRY not in text:
            self.complaints.append(f"console: {text}")

    def _answered(self, status: int, address: str) -> None:
        if urlsplit(address).scheme.startswith("http") and not address.startswith(self.url):
            self.complaints.append(f"another host answered: {address}")
        if status >= 400:
            self.complaints.append(f"{status}: {address}")

    def open(self, slug: str) -> float:
        """Opens a dashboard by its address and waits until every chart is drawn; returns how many seconds ago the last one was. The page is
        made as high as the dashboard, so that all charts load."""
        self._go(f"/superset/dashboard/{slug}/")
        return self._whole()

    def list_dashboards(self) -> None:
        """Opens the list of dashboards, and waits until it has loaded."""
        self._go("/dashboard/list/")
        self.page.wait_for_load_state("networkidle")

    def click(self, title: str) -> float:
        """As `open`, by a click on a dashboard's title in the list: Superset's scripts run already."""
        self.page.get_by_role("link", name=title, exact=True).first.click()
        return self._whole()

    def _go(self, path: str) -> None:
        self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        self.page.goto(self.url + path)

    def _whole(self) -> float:
        self.page.wait_for_selector(".dashboard-component-chart-holder")
        self.fit()
        return self.settle()

    def fit(self) -> None:
        bottom = self.page.evaluate(
            "() => Math.max(...[...document.querySelectorAll('.dashboard-component, .chart-slice')]"
            ".map(part => part.getBoundingClientRect().bottom))"
        )
        self.page.set_viewport_size({"width": WIDTH, "height": int(bottom) + 40})

    def settle(self) -> float:
        """Until nothing has been loading for half a second; returns the seconds since something was."""
        quiet = self.page.evaluate(SETTLED)
        assert quiet is not None, "Charts were still loading after a minute."
        return float(quiet) / 1000

    def charts(self) -> Locator:
        return self.page.locator(".dashboard-component-chart-holder:has(.chart-slice)")

    def chart(self, title: str) -> Locator:
        name = self.page.locator("[data-test='slice-header'], .header-title").filter(has_text=title)
        return self.charts().filter(has=name).first

    def errors(self) -> list[str]:
        """The texts of error boxes."""
        return self.page.locator("[role='alert']:visible, .ant-alert-error:visible").all_inner_texts()

    def empty(self) -> list[str]:
        """Titles of charts without rows."""
        rows = self.charts().filter(has_text="No results were returned")
        return [text.split("\n")[0] for text in rows.all_inner_texts()]

    def drawn(self) -> int:
        """How many charts show a picture, a table or a number."""
        return int(
            self.page.evaluate(
                "() => [...document.querySelectorAll('.chart-slice .slice_container')]"
                ".filter(part => part.querySelector('canvas, table') || /\\d/.test(part.innerText)).length"
            )
        )

    def cut(self) -> list[str]:
        """Texts of titles and of table heads that do not fit their box."""
        return list(
            self.page.evaluate(
                "() => [...document.querySelectorAll('.dashboard-component-chart-holder .header-title *, "
                ".dashboard-component-chart-holder th')]"
                ".filter(part => part.scrollWidth > part.clientWidth + 1 && getComputedStyle(part).display !== 'inline')"
                ".map(part => part.innerText).filter(Boolean)"
            )
        )

    def filter(self, name: str, value: str) -> None:
        """Chooses a value in the bar on the left and applies it."""
        box = self.page.locator(
            "[data-test='form-item-value'], .filter-item-wrapper, [class*='FilterControlContainer']"
        )
        control = self.page.get_by_role("combobox", name=name)
        (control if control.count() else box.filter(has_text=name).get_by_role("combobox")).first.click()
        self.page.keyboard.type(value)
        self.page.locator(f".ant-select-item-option[title='{value}']").first.click()
        self.page.keyboard.press("Escape")
        self.page.locator("[data-test='filter-bar__apply-button']").click()
        self.settle()

    def picture(self, name: str) -> Path:
        """Kept as test output in $TEST_OUTPUT, or below .stack/."""
        folder = Path(os.environ.get("TEST_OUTPUT", Path(__file__).resolve().parents[2] / ".stack" / "test-output"))
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{name}.png"
        self.page.screenshot(path=file)
        return file
