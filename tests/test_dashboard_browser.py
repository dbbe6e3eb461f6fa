"""Journeys through the dashboard in a real Chromium against a real store and server; nothing may leave loopback."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from conftest import need
from dashboard_data import HOSTILE_NAME, TODAY, Reporter, fill, noon, record_xml, report_xml, taken

from dmarcview.alerts import memory
from dmarcview.alerts.model import Finding, Member
from dmarcview.dashboard import shell
from dmarcview.dashboard.app import create_app
from dmarcview.dashboard.serve import Server
from dmarcview.store import Store, incidents, sent
from dmarcview_relay.outcome import FAILED, RemoteReply
from tests.sent_data import attempt

pytestmark = pytest.mark.browser

PAGES = tuple(path for _, path, _ in shell.PAGES)
# the log of the relay: a mail that arrived, and one whose strangers all try to break out
SENT = [
    attempt(at=noon() - 3_600),
    attempt(
        at=noon() - 60, queue_id="Qevil", sender=f"{HOSTILE_NAME}@evil.example", recipient=f"{HOSTILE_NAME}@x.example",
        recipient_domain="x.example", message_id=HOSTILE_NAME, dkim=((HOSTILE_NAME, "s"),), outcome=FAILED,
        reply=RemoteReply(550, "5.0.0", HOSTILE_NAME + "\n\x1b[31m", "rcpt"),
    ),
]  # fmt: skip
# an incident in which strangers wrote every name
INCIDENT = Finding(
    "dmarc_failing", "example.com", HOSTILE_NAME, TODAY - timedelta(days=9), TODAY - timedelta(days=2), 99,
    HOSTILE_NAME, 99, 120, 0.01, HOSTILE_NAME, "/sources", "?domain=example.com&source=" + HOSTILE_NAME,
    (Member(HOSTILE_NAME, 99, 120),),
)  # fmt: skip
LOOPBACK = ("127.0.0.1", "localhost", "::1")
SLOW = 60_000  # milliseconds that a loaded machine may take to answer
WEIGHT = 3_000_000  # bytes on the wire of the first visit
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"]


class Site:
    """A running dashboard."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.server = Server(create_app(store), threads=4)
        self.url = self.server.url.rstrip("/")
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.server.stop()

    def reports(self) -> list[str]:
        """Keys of a few reports."""
        from dmarcview import query

        return list(query.reports(self.store)["report_key"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with fill(tmp_path_factory.mktemp("site"), hostile=True, days=50) as store:
        sent.append(store.ledger, "r1", list(enumerate(SENT, 1)))
        memory.settle(store.ledger, [INCIDENT], int(noon()))
        running = Site(store)
        yield running
        running.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    path = need("chromium", "chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


class Visit:
    """One page of one visitor, with all that went wrong in it."""

    def __init__(self, browser: Any, site: Any, **more: Any) -> None:
        more.setdefault("viewport", {"width": 1440, "height": 900})
        self.site, self.context = site, browser.new_context(**more)
        self.page = self.context.new_page()
        self.faults: list[str] = []
        self.outside: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self._said)
        self.page.route("**/*", self._guard)

    def _said(self, message: Any) -> None:
        if message.type == "error":
            self.faults.append(message.text)

    def _guard(self, route: Any) -> None:
        address = urlsplit(route.request.url)
        if address.hostname in LOOPBACK or address.scheme in ("data", "blob"):
            route.continue_()
        else:
            self.outside.append(route.request.url)
            route.abort()

    def open(self, path: str) -> Any:
        self.page.goto(self.site.url + path)
        self.page.wait_for_selector("h1")
        return self.page

    def number(self, id: str) -> float:
        self.page.wait_for_selector(f"#{id}")
        return float(self.page.get_attribute(f"#{id}", "data-value"))


@pytest.fixture
def visit(chromium: Any, site: Site, request: pytest.FixtureRequest) -> Iterator[Visit]:
    one = Visit(chromium, site, **getattr(request, "param", {}))
    yield one
    one.context.close()
    assert one.outside == []
    assert one.faults == []


PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
DARK = {"color_scheme": "dark"}


def until(page: Any, expression: str, seconds: float = 60.0) -> None:
    """Wait for a JavaScript expression; Playwright's own way needs `eval`, which our policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"not so after {seconds} s: {expression}"
        page.wait_for_timeout(50)


def pick(page: Any, filter: str, option: str) -> None:
    page.click(f"#{filter}")
    page.get_by_role("option", name=option, exact=True).click()


def test_a_filter_goes_into_the_url_and_a_reload_and_the_back_button_keep_the_view(visit: Visit) -> None:
    page = visit.open("/")
    everything = visit.number("tile-own-fail")
    pick(page, "filter-domain", "example.net")
    page.wait_for_url("**/?domain=example.net")
    until(page, f"document.querySelector('#tile-own-fail').dataset.value !== '{everything:.0f}'")
    alone = visit.number("tile-own-fail")
    page.reload()
    page.wait_for_selector("#tile-own-fail")
    assert visit.number("tile-own-fail") == alone
    assert page.input_value("#filter-domain") == "example.net"
    page.click("#nav-sources")
    page.wait_for_url("**/sources?domain=example.net")
    page.wait_for_selector(".ag-row")
    assert page.locator(".ag-row").count() == 2
    page.go_back()
    page.wait_for_selector("#tile-own-fail")
    page.go_back()
    until(page, f"document.querySelector('#tile-own-fail').dataset.value === '{everything:.0f}'")
    assert page.input_value("#filter-domain") == "All domains"


@pytest.mark.parametrize("path", ["/sources", "/reports"])
def test_the_link_of_a_row_that_stays_keeps_the_view_that_was_chosen_since(visit: Visit, path: str) -> None:
    page = visit.open(path)
    page.wait_for_selector(".ag-row:has-text('example.net')")
    pick(page, "filter-domain", "example.net")
    shown = "[...document.querySelectorAll('.ag-row')]"
    until(page, f"{shown}.length && {shown}.every(row => row.innerText.includes('example.net'))")
    until(page, f"{shown}.every(row => row.querySelector('.cell-link')?.search.includes('domain=example.net'))")


def test_the_picker_shows_the_days_of_the_page_that_is_open(visit: Visit) -> None:
    page = visit.open("/sources")
    days = "document.querySelector('#filter-dates').innerText"
    until(page, f"{days} + ', UTC' === document.querySelector('#sources-window').innerText")
    reported = page.inner_text("#filter-dates")
    assert not reported.endswith("22 Nov 2026")
    page.click("#nav-sent")
    until(page, f"{days} === '24 Oct 2026 – 22 Nov 2026'")
    until(page, f"{days} + ', UTC' === document.querySelector('#sent-window')?.innerText")
    page.click("#nav-reconcile")
    until(page, f"{days} + ', UTC' === document.querySelector('#reconcile-window')?.innerText")
    assert page.inner_text("#filter-dates") == "24 Oct 2026 – 22 Nov 2026"
    page.click("#nav-intake")
    until(page, f"{days} === '{reported.split(' – ')[0]} – 22 Nov 2026'")
    until(
        page,
        f"document.querySelector('#intake-window')?.innerText === 'Received since {reported.split(' – ')[0]}, UTC'",
    )
    page.click("#nav-reports")
    until(page, f"{days} === '{reported}'")
    pick(page, "filter-period", "Last 7 days")
    page.wait_for_url("**/reports?days=7")
    page.click("#nav-sent")
    until(page, f"{days} === '16 Nov 2026 – 22 Nov 2026'")
    assert urlsplit(page.url).query == "days=7"
    visit.open("/sent?from=2026-11-01&to=2026-11-03")
    until(page, f"{days} === '1 Nov 2026 – 3 Nov 2026'")


def test_the_way_from_a_source_to_its_label_and_back(visit: Visit) -> None:
    page = visit.open("/sources?domain=example.com")
    page.click("a.cell-link:has-text('vps-67')")
    page.wait_for_url("**source=example.com~203.0.113.67")
    page.wait_for_selector("#label-state")
    body = page.inner_text(".mantine-Drawer-body")
    assert "Alignment: the three identifiers" in body
    assert "mailbox-one.example" in body
    page.click(".label-button:has-text('Third party')")
    page.wait_for_selector(".label-button.label-on:has-text('Third party')")
    assert "Labelled third party by dashboard on 22 Nov 2026 12:00 UTC" in page.inner_text("#label-state")
    found = [each for each in visit.site.store.labels() if each.value == "203.0.113.67"]
    assert [(f.source_class, f.domain, f.author) for f in found] == [("third_party", "example.com", "dashboard")]
    page.keyboard.press("Escape")
    until(page, "!location.search.includes('source=')")
    page.wait_for_selector(".ag-row:has-text('vps-67') .chip-class-third_party")
    page.reload()
    page.wait_for_selector(".ag-row:has-text('vps-67') .chip-class-third_party")
    visit.site.store.remove_label(found[0].id)


def test_a_report_leads_to_its_records_and_its_raw_xml(visit: Visit) -> None:
    page = visit.open("/reports")
    page.click("a.cell-link:has-text('BigMail') >> nth=0")
    page.wait_for_selector("#report-body h1")
    assert "BigMail (bigmail.example)" in page.inner_text("h1")
    page.wait_for_selector("table.stacked tbody tr")
    page.click("#raw-button")
    page.wait_for_selector("#raw-xml")
    assert page.inner_text("#raw-xml").startswith("<?xml")
    with page.expect_download() as download:
        page.click("#raw-download")
    content = Path(download.value.path()).read_bytes()
    assert content.startswith(b"<?xml")
    assert b"bigmail.example" in content


def test_a_hostile_reporter_is_inert(visit: Visit) -> None:
    page = visit.open("/reports")
    page.click("a.cell-link:has-text('onerror') >> nth=0")
    page.wait_for_selector("#report-body h1")
    assert "<img src=x" in page.inner_text("h1")
    assert "[U+202E]" in page.inner_text("h1")
    page.click("#raw-button")
    page.wait_for_selector("#raw-xml")
    number = memory.listed(visit.site.store.ledger, int(noon()))[0].id
    for path in (*PAGES, f"/alerts?incident={number}", "/sent?row=r1-2"):
        visit.open(path)
        page.wait_for_timeout(400)
        assert page.evaluate("window.hacked === undefined"), path
        assert page.locator("img[src=x]").count() == 0, path
    page.wait_for_selector("#sent-reply")
    assert "[U+202E]<img src=x" in page.inner_text("#sent-reply")
    assert page.evaluate("window.hacked === undefined")
    assert page.locator("img[src=x]").count() == 0


def test_new_reports_move_the_numbers_of_an_open_page(visit: Visit) -> None:
    page = visit.open("/")
    before = visit.number("tile-own-fail")
    page.evaluate("document.querySelector('#outcome-chart .main-svg').dataset.kept = 'yes'")
    rows = record_xml("192.0.2.10", 1234, "example.com", "none", False, False)
    day = TODAY - timedelta(days=4)
    visit.site.store.append_many(
        [taken(report_xml(Reporter("live.example", "Live", 1, 1), "example.com", day, rows), "live", int(noon()))]
    )
    until(page, f"document.querySelector('#tile-own-fail').dataset.value === '{before + 1234:.0f}'")
    assert page.evaluate("document.querySelector('#outcome-chart .main-svg').dataset.kept") == "yes"


def test_charts_have_a_table_twin_and_a_percent_view(visit: Visit) -> None:
    page = visit.open("/")
    page.wait_for_selector("#outcome-chart .scatterlayer .trace")
    page.click("#outcome-button")
    page.wait_for_selector("#outcome-table table")
    assert page.locator("#outcome-table tbody tr").count() == 31
    assert "(not complete)" in page.inner_text("#outcome-table tbody tr >> nth=0")
    page.click("#unit label:has-text('%')")
    page.wait_for_url("**/?unit=share")
    until(page, "document.querySelector('#outcome-chart .ytick:last-of-type').textContent.includes('%')")


def test_days_that_are_not_complete_are_hatched_on_every_chart_of_a_chosen_window(visit: Visit) -> None:
    chosen = f"from={TODAY - timedelta(days=9)}&to={TODAY - timedelta(days=1)}"
    hatched = "document.querySelectorAll('#{} .xy2 .barlayer .trace').length"
    page = visit.open(f"/?{chosen}")
    for chart in ("outcome-chart", "rate-chart"):
        until(page, f"{hatched.format(chart)} === 1")
    until(page, "document.querySelector('#overview-window').innerText.includes('1 day is not complete')")
    assert visit.number("tile-own-pass") > 0
    page = visit.open(f"/sources?{chosen}&source=example.com~192.0.2.10")
    until(page, f"{hatched.format('source-trend')} === 1")
    page.click("#source-trend-button")
    page.wait_for_selector("#source-trend-table table")
    until(page, "document.querySelector('#source-trend-table').innerText.split('(not complete)').length === 2")
    until(page, "document.querySelector('#sources-window').innerText.includes('1 day is not complete')")
    page = visit.open("/sent")
    until(page, f"{hatched.format('sent-chart')} === 1")
    page = visit.open("/")
    until(page, "document.querySelector('#overview-window').innerText.includes('UTC')")
    assert "not complete" not in page.inner_text("#overview-window"), "a default window ends with a complete day"


@pytest.mark.parametrize("visit", [DARK], indirect=True)
def test_dark_follows_the_system_and_the_choice_is_remembered(visit: Visit) -> None:
    def scheme() -> str:
        return str(page.evaluate("document.documentElement.dataset.mantineColorScheme"))

    def ink() -> str:
        return str(page.evaluate("getComputedStyle(document.querySelector('#outcome-chart .xtick text')).fill"))

    page = visit.open("/")
    page.wait_for_selector("#outcome-chart .xtick text")
    assert scheme() == "dark"
    assert ink() == "rgb(163, 171, 184)"
    page.click("#scheme-button")
    until(page, "document.documentElement.dataset.mantineColorScheme === 'light'")
    until(page, "getComputedStyle(document.querySelector('#outcome-chart .xtick text')).fill === 'rgb(89, 97, 110)'")
    visit.open("/sources")
    page.wait_for_selector(".ag-row")
    assert scheme() == "light"
    page.click("#scheme-button")
    until(page, "document.documentElement.dataset.mantineColorScheme === 'dark'")
    assert page.evaluate("getComputedStyle(document.querySelector('.ag-row')).backgroundColor") == "rgb(26, 30, 37)"


@pytest.mark.parametrize("visit", [PHONE], indirect=True)
def test_a_phone_gets_cards_a_menu_and_no_sideways_scroll(visit: Visit) -> None:
    for path in (*PAGES, "/sources?source=example.com~192.0.2.10"):
        page = visit.open(path)
        page.wait_for_timeout(500)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    visit.open("/sources")
    page.wait_for_selector(".cards li")
    assert not page.is_visible("#sources-grid")
    assert not page.is_visible("#filter-domain")
    page.click("#filters-button")
    page.wait_for_selector("#filter-domain", state="visible")
    page.click("#burger")
    page.click("#nav-reports")
    page.wait_for_url("**/reports")
    page.wait_for_selector(".cards li")
    visit.open("/")
    page.wait_for_selector("#tile-spoof-blocked")
    tops = "['own-pass', 'own-fail', 'spoof-blocked'].map(one => document.getElementById(`tile-${one}`).offsetTop)"
    first, second, third = page.evaluate(tops)  # in one look: what is drawn above them moves them
    assert first == second < third


def test_every_page_has_one_h1_a_language_labels_and_a_skip_link(visit: Visit) -> None:
    for path in PAGES:
        page = visit.open(path)
        page.wait_for_timeout(500)
        assert page.locator("h1").count() == 1
        assert page.get_attribute("html", "lang") == "en"
        unnamed = page.evaluate(
            """() => [...document.querySelectorAll('button, input:not([type=hidden]), select, a[href]')]
               .filter(e => e.checkVisibility() && !(e.innerText || '').trim() && !e.ariaLabel && !e.title
                            && !(e.labels && e.labels.length) && !e.getAttribute('aria-labelledby'))
               .map(e => e.outerHTML.slice(0, 160))"""
        )
        assert unnamed == [], path
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"


def grave(page: Any) -> list[str]:
    """What axe finds serious or critical on a page as it is now."""
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:160]}" for each in found if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_page(chromium: Any, site: Site, scheme: str) -> None:
    import axe_playwright_python

    axe = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    one = Visit(chromium, site, color_scheme=scheme, reduced_motion="reduce")
    key = site.reports()[0]
    ready = {
        "/": "#tile-own-pass",
        "/sources": ".ag-row .cell-bar",
        "/sources?source=example.com~192.0.2.10": "#label-state",
        "/reports": ".ag-row .chip",
        f"/reports/{key}": "table.stacked tbody tr",
        "/intake": "#intake-backlog",
        "/sent": ".ag-row .chip",
        "/sent?row=r1-2": "#sent-reply",
        "/sent?find=nothing": "#sent-none .empty",
        "/reconcile": "#reconcile-tiles .tile",
        "/alerts": ".incident",
        "/reconcile?domain=nobody.example": "#reconcile-empty .empty",
        "/?domain=example.net&class=forwarder": ".empty",
    }
    for path, drawn in ready.items():
        page = one.open(path)
        page.wait_for_selector(drawn, timeout=SLOW)
        page.evaluate(axe)  # by the debugger, which the page's policy does not bind
        assert grave(page) == [], path
    page = one.open("/")
    page.wait_for_selector("#tile-own-pass", timeout=SLOW)
    for twin in ("outcome", "rate"):
        page.click(f"#{twin}-button")
        page.wait_for_selector(f"#{twin}-table table", timeout=SLOW)
    page.evaluate("document.querySelector('.by-reporter').open = true")
    page.evaluate(axe)
    assert grave(page) == []
    one.context.close()
    assert one.outside == []


def test_every_period_of_the_reports_is_shown(visit: Visit) -> None:
    day = TODAY - timedelta(days=3)
    xml = report_xml(Reporter("odd.example", "Odd Hours", 1, 1), "example.com", day, "").decode()
    begin = int(re.search(r"<begin>(\d+)", xml)[1])  # type: ignore[index]
    for stamp in (begin, begin + 86399):
        xml = xml.replace(str(stamp), str(stamp + 5 * 3600))
    visit.site.store.append_many([taken(xml.encode(), "odd.xml", int(noon()))])
    page = visit.open("/reports")
    page.wait_for_selector(".ag-row:has-text('Odd Hours')", timeout=SLOW)
    periods = page.locator(".ag-row [col-id=period]").all_inner_texts()
    assert all(periods)
    assert any("05:00" in period for period in periods)


def test_filters_that_leave_nothing_offer_a_way_out(visit: Visit) -> None:
    page = visit.open("/?domain=example.net&class=forwarder")
    page.click("a:has-text('Clear the filters')")
    page.wait_for_selector("#overview-verdict .verdict")
    assert urlsplit(page.url).query == ""


def test_the_first_visit_is_light(chromium: Any, site: Site) -> None:
    one = Visit(chromium, site)
    sizes: list[int] = []
    session = one.context.new_cdp_session(one.page)
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
    one.open("/")
    one.page.wait_for_selector("#outcome-chart .scatterlayer .trace")
    one.page.wait_for_timeout(300)
    one.context.close()
    assert 300_000 < sum(sizes) < WEIGHT


class Process:
    """The dashboard as its own process, which can be killed and started again on the same port."""

    def __init__(self, data: Path, log: Path, port: int = 0) -> None:
        command = [sys.executable, "-m", "dmarcview", "dashboard", "--data", str(data), "--port", str(port)]
        with log.open("wb") as out:
            self._running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=out)
        line = self._running.stdout.readline().decode()  # type: ignore[union-attr]
        assert line.startswith("pages: "), log.read_text()
        self.url = line.removeprefix("pages: ").strip().rstrip("/")

    def kill(self) -> None:
        self._running.kill()
        self._running.communicate()


def test_a_server_that_goes_away_is_said_and_its_return_brings_the_new_numbers(chromium: Any, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with fill(data, days=20) as store:
        running: Any = Process(data, tmp_path / "log")
        try:
            one = Visit(chromium, running)
            page = one.open("/")
            before = one.number("tile-own-fail")
            running.kill()
            page.wait_for_selector("#live.live-off", timeout=SLOW)
            assert page.inner_text("#live") == "Offline, retrying"
            assert one.number("tile-own-fail") == before
            rows = record_xml("192.0.2.10", 321, "example.com", "none", False, False)
            report = report_xml(Reporter("live.example", "Live", 1, 1), "example.com", TODAY - timedelta(days=4), rows)
            store.append_many([taken(report, "live", int(noon()))])
            running = Process(data, tmp_path / "log", urlsplit(running.url).port or 0)
            page.wait_for_selector("#live:not(.live-off)", timeout=SLOW)
            until(page, f"document.querySelector('#tile-own-fail').dataset.value === '{before + 321:.0f}'", SLOW / 1000)
            assert page.inner_text("#live") == "Live"
            one.context.close()
            assert one.outside == []
        finally:
            running.kill()


def test_an_error_is_told_in_place_with_an_id_of_the_log_and_can_be_tried_again(
    chromium: Any, site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from dmarcview.dashboard.frames import Frames
    from dmarcview.store import StoreError

    def broken(*_: Any) -> Any:
        raise StoreError("the ledger is <b>gone</b>")

    one = Visit(chromium, site)
    with monkeypatch.context() as patched:
        patched.setattr(Frames, "daily", broken)
        page = one.open("/")
        page.wait_for_selector("#fault:not([hidden])", timeout=SLOW)
        words = page.inner_text("#fault-words")
        assert "The store does not answer: the ledger is <b>gone</b>." in words
        mark = re.search(r"under the id ([0-9a-f]{8})\.", words)
        assert mark is not None
        assert any(mark[1] in record.getMessage() for record in caplog.records)
    page.click("#fault-retry")
    page.wait_for_selector("#tile-own-pass", timeout=SLOW)
    page.wait_for_selector("#fault", state="hidden")
    one.context.close()
    assert one.faults == []


# without a browser


def ask(site: Site, path: str, **headers: str) -> tuple[int, Any, bytes]:
    request = urllib.request.Request(site.url + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def test_a_foreign_host_name_is_refused_and_health_is_told(site: Site) -> None:
    assert ask(site, "/healthz")[0] == 200
    assert ask(site, "/readyz")[2] == b"ready\n"
    told = json.loads(ask(site, "/version")[2])
    assert told.pop("slow") >= 0
    ledger = site.store.ledger
    known = {"sent": sent.version(ledger), "alerts": incidents.version(ledger)}
    assert told == {"version": str(site.store.version()), "waiting": 0, **known}
    assert ask(site, "/", Host="evil.example")[0] == 421
    assert ask(site, "/raw/" + "0" * 24 + ".xml")[0] == 404
    assert ask(site, "/raw/..%2f..%2fledger.xml")[0] in (404, 200)
    assert b"sqlite" not in ask(site, "/raw/..%2f..%2fledger.xml")[2].lower()


def test_another_site_cannot_write_through_the_users_browser(site: Site) -> None:
    body = json.dumps({"output": "label-said.children", "inputs": []}).encode()
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        request = urllib.request.Request(
            site.url + "/_dash-update-component", body, {"Content-Type": "application/json", **headers}
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        assert refused.value.code == 403
        refused.value.close()


def test_pages_carry_a_policy_without_inline_scripts(site: Site) -> None:
    _, headers, body = ask(site, "/")
    rules = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert "unsafe" not in rules["script-src"]
    assert rules["connect-src"] == "'self'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    addresses = re.findall(rb'(?:src|href)="([^"]+)"', body)
    assert addresses
    assert not [a for a in addresses if a.startswith((b"http", b"//"))]


def test_csv_of_what_is_shown_is_defused(site: Site) -> None:
    status, headers, body = ask(site, "/export/reports.csv?domain=example.com")
    assert status == 200
    assert headers["Content-Disposition"] == 'attachment; filename="reports.csv"'
    lines = body.decode().splitlines()
    assert lines[0].startswith("report_key,domain,submitter")
    assert not [cell for line in lines for cell in line.split(",") if cell.startswith(("=", "@"))]
    sources = ask(site, "/export/sources.csv?class=unknown")[2].decode()
    assert "203.0.113.66" in sources
    assert "192.0.2.10" not in sources
