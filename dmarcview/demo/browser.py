"""Reads the dashboard's numbers as a person sees them: in headless Chromium, with everything but loopback blocked."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dmarcview.demo.world import DemoError

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
POLL = 0.1
PAGE_SECONDS = 30.0
NUMBERS = """() => Object.fromEntries(
    [...document.querySelectorAll('[id][data-value]')].map(e => [e.id, e.dataset.value]))"""

ROWS = "rows => rows.map(row => [...row.children].map(cell => cell.innerText))"


def program() -> str:
    """Path of a Chromium. Raises DemoError that says what to install."""
    for name in PROGRAMS:
        found = shutil.which(name)
        if found:
            return found
    raise DemoError("no Chromium was found; on Debian: apt-get install chromium")


class Browser:
    """One page in a headless Chromium; use it as a context manager."""

    def __init__(self) -> None:
        self.outside: list[str] = []  # requests that would have left this machine
        self._open: list[Any] = []
        self._page: Page | None = None

    def __enter__(self) -> Browser:
        try:
            from playwright.sync_api import sync_playwright
        except ModuleNotFoundError:
            raise DemoError("playwright is missing; it comes with `pip install dmarcview[dev]`") from None
        path = program()
        driver = sync_playwright().start()
        self._open.append(driver.stop)
        browser = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        self._open.append(browser.close)
        self._page = browser.new_page(viewport={"width": 1400, "height": 1000})
        self._page.route("**/*", self._guard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._open:
            self._open.pop()()

    def _guard(self, route: Route) -> None:
        if urlsplit(route.request.url).hostname in LOOPBACK:
            route.continue_()
        else:
            self.outside.append(route.request.url)
            route.abort()

    @property
    def page(self) -> Page:
        """The page itself."""
        assert self._page is not None, "entered before"
        return self._page

    def open(self, url: str) -> None:
        """Go to an address and wait for its document."""
        self.page.goto(url, wait_until="domcontentloaded", timeout=PAGE_SECONDS * 1000)

    def text(self, id: str, until: str) -> str:
        """All that an element says, as soon as it has something of the kind `until` in it."""
        self.page.wait_for_selector(f"#{id} {until}", timeout=PAGE_SECONDS * 1000)
        return self.page.inner_text(f"#{id}")

    def ids(self, selector: str) -> list[str]:
        """The ids of the elements that a CSS selector finds, in the order of the page."""
        found: list[str] = self.page.eval_on_selector_all(selector, "all => all.map(one => one.id)")
        return found

    def table(self, id: str) -> list[dict[str, str]]:
        """The rows of a chart that is shown as a table, by the heads of their columns."""
        self.page.click(f"#{id}-button", timeout=PAGE_SECONDS * 1000)
        self.page.wait_for_selector(f"#{id}-table tbody tr", timeout=PAGE_SECONDS * 1000)
        heads, *rows = self.page.eval_on_selector_all(f"#{id}-table tr", ROWS)
        return [dict(zip(heads, row, strict=True)) for row in rows]

    def numbers(self) -> Mapping[str, int | float]:
        """Every number that stands on the page now, by the id of its element."""
        found: Mapping[str, str] = self.page.evaluate(NUMBERS)
        return {name: number(text) for name, text in found.items() if re.fullmatch(r"-?\d+(\.\d+)?", text)}

    def wait(
        self, enough: Callable[[Mapping[str, int | float]], bool], seconds: float = PAGE_SECONDS
    ) -> tuple[Mapping[str, int | float], float]:
        """Look at the page until its numbers are `enough` or time is over; gives the last numbers and the seconds."""
        started = time.monotonic()
        while True:
            numbers = self.numbers()
            spent = time.monotonic() - started
            if enough(numbers) or spent > seconds:
                return numbers, spent
            self.page.wait_for_timeout(POLL * 1000)


def number(text: str) -> int | float:
    """A plain number as the page carries it."""
    return float(text) if "." in text else int(text)
