"""The button "Copy for a notebook": its code, run by Python, says what the page says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from dashboard_data import HOSTILE_NAME, TODAY, fill, noon

from dmarcview.alerts import memory
from dmarcview.alerts.model import Finding
from dmarcview.dashboard import notebook, shell, url
from dmarcview.dashboard.callbacks.frame import _days
from dmarcview.dashboard.frames import Frames
from dmarcview.dashboard.papers import Papers
from dmarcview.dashboard.reconcile import ReconcileFrames
from dmarcview.dashboard.sent import SentFrames
from dmarcview.dashboard.verdict import totals
from dmarcview.store import Store, sent
from dmarcview_relay.outcome import FAILED
from tests.sent_data import attempt

VIEWS = ("", "?domain=example.com&days=7", "?from=2026-10-20&to=2026-11-05&class=own", "?result=fail")


class Site:
    """What the pages of one store are made of."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.frames = Frames(store)
        self.papers, self.compared = Papers(self.frames), ReconcileFrames(self.frames)
        self.sent = SentFrames(self.frames)
        self.prefix = "/"

    def run(self, path: str, search: str) -> dict[str, Any]:
        """Execute what the button copies; its store is opened at the clock of this one."""
        view = url.parse(search)
        text = notebook.code(path, view, notebook.Days(*_days(self, path, view)), notebook.Where(str(self.store.data)))
        found: dict[str, Any] = {}
        head, _, asks = text.partition("store = ")
        exec(compile(head + "store = " + asks.partition("\n")[0], "head", "exec"), found)
        found["store"].clock = lambda: noon()
        try:
            exec(compile(asks.partition("\n")[2], "cell", "exec"), found)
        finally:
            found["store"].close()
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with fill(tmp_path_factory.mktemp("notebook"), days=50) as store:
        rows = [attempt(at=noon() - 3_600 * hour, from_domain="example.com", recipient_domain="x.example",
                        outcome=FAILED if hour % 3 == 0 else "delivered") for hour in range(400)]  # fmt: skip
        sent.append(store.ledger, "r1", list(enumerate(rows, 1)))
        yield Site(store)


@pytest.mark.parametrize("search", VIEWS)
def test_code_of_the_overview_says_the_tiles(site: Site, search: str) -> None:
    found, view = site.run("/", search), url.parse(search)
    now = totals(site.frames.daily(view))
    assert now.messages > 0
    for name in ("messages", "own_pass", "own_fail", "unknown_delivered", "unknown_blocked"):
        assert found["daily"][name].sum() == getattr(now, name)
    assert found["domains"].equals(site.frames.domains(view))


@pytest.mark.parametrize("search", VIEWS)
def test_code_of_the_sources_gives_the_rows_of_the_grid(site: Site, search: str) -> None:
    found, shown = site.run("/sources", search)["sources"], site.frames.sources(url.parse(search))
    assert len(shown) > 0
    assert found["source_ip"].tolist() == shown["source_ip"].tolist()
    assert found["messages"].tolist() == shown["messages"].tolist()


def test_code_of_an_open_drawer_gives_its_source_whatever_the_filters(site: Site) -> None:
    search = "?domain=example.net&source=example.com~192.0.2.11"
    found, view = site.run("/sources", search), url.parse(search)
    shown = site.frames.source(view, "example.com", "192.0.2.11")
    assert shown.row is not None
    assert found["source"].total["messages"].sum() == shown.row["messages"] > 0
    assert found["source"].identities["messages"].sum() == shown.identities["messages"].sum()


@pytest.mark.parametrize("search", ["", "?domain=example.net", "?from=2026-10-20&to=2026-11-05"])
def test_code_of_the_reports_gives_the_rows_of_the_grid(site: Site, search: str) -> None:
    found, shown = site.run("/reports", search)["reports"], site.papers.reports(url.parse(search))
    assert sorted(found["report_key"]) == sorted(shown["report_key"])
    assert len(shown) > 10


def test_code_of_one_report_gives_its_records(site: Site) -> None:
    key = str(site.papers.reports(url.View())["report_key"].iloc[0])
    found, shown = site.run(f"/reports/{key}", ""), site.papers.report(key)
    assert shown is not None
    assert found["records"]["count"].sum() == shown[1]["count"].sum() > 0
    assert found["report"].facts["report_id"] == shown[0]["report_id"]


@pytest.mark.parametrize("search", ["", "?from=2026-10-20&to=2026-11-05"])
def test_code_of_the_intake_gives_its_tiles(site: Site, search: str) -> None:
    found, shown = site.run("/intake", search), site.papers.intake(url.parse(search))
    assert found["intake"].inputs == shown.inputs > 0
    assert found["intake"].reports == shown.reports
    assert len(found["refused"]) == len(site.papers.refused(url.parse(search)))


@pytest.mark.parametrize("search", ["", "?outcome=failed&rcpt=x.example", "?days=7&find=news@example.org"])
def test_code_of_the_sent_mail_gives_rows_and_days(site: Site, search: str) -> None:
    found, view = site.run("/sent", search), url.parse(search)
    assert found["sent"]["row"].tolist() == site.sent.rows(view)["row"].tolist()
    assert len(found["sent"]) > 0
    for name in ("delivered", "failed", "deferred", "expired"):
        assert found["daily"][name].sum() == site.sent.daily(view)[name].sum()


def test_code_of_the_comparison_gives_its_findings(site: Site) -> None:
    found, view = site.run("/reconcile", "?domain=example.com"), url.parse("?domain=example.com")
    rows = site.compared.rows(view)
    assert found["compared"].rows["sent"].sum() == rows["sent"].sum() > 0
    assert found["compared"].rows["reported"].sum() == rows["reported"].sum() > 0


def test_code_of_the_alerts_gives_incidents_of_the_domain(site: Site) -> None:
    findings = [Finding("mail_held", name, "no key", TODAY, TODAY, 1, "") for name in ("example.com", "example.net")]
    memory.settle(site.store.ledger, findings, int(noon()))
    assert len(site.run("/alerts", "")["incidents"]) == 2
    (one,) = site.run("/alerts", "?domain=example.net")["incidents"]
    assert one.finding.domain == "example.net"


def test_code_of_an_open_incident_gives_it_with_its_days(site: Site) -> None:
    day = TODAY - timedelta(days=9)
    failing = Finding("dmarc_failing", "example.com", "192.0.2.11", day, TODAY - timedelta(days=1), 9, "")
    memory.settle(site.store.ledger, [failing], int(noon()))
    at = memory.listed(site.store.ledger, int(noon()), open_only=True)[0].id
    found = site.run("/alerts", f"?incident={at}")
    assert found["incident"].finding == failing
    assert found["days"].daily["total"].sum() > found["days"].daily["failed"].sum() > 0
    assert site.run("/alerts", "?incident=999999")["days"] is None


def test_every_page_of_the_menu_has_code(site: Site) -> None:
    for _, path, _ in shell.PAGES:
        assert len(site.run(path, "")) > 4, path


def test_a_ledger_elsewhere_is_opened_by_the_environment_and_no_password_is_copied() -> None:
    days = notebook.Days(TODAY, TODAY)
    text = notebook.code("/", url.View(), days, notebook.Where("/data", elsewhere=True, doubtful=True))
    assert "dmarcview.open('/data', url=os.environ[\"DMARCVIEW_DATA_URL\"])" in text
    assert "verified=False" in text
    assert text.startswith("import os\n")


def test_text_of_a_link_can_neither_run_nor_hide_in_the_code() -> None:
    evil = "\"');__import__('os')#\u202e" + HOSTILE_NAME.replace(" ", "")
    view = url.View(domain=evil, find=evil, rcpt=(evil,), host=(evil,), by=evil, key=(evil, evil),
                    source=(evil, "192.0.2.1"))  # fmt: skip
    for path in (*notebook.PAGES, f"/reports/{evil}"):
        text = notebook.code(path, view, notebook.Days(TODAY, TODAY), notebook.Where(evil))
        assert text.isascii()
        called = {node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                  for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)}  # fmt: skip
        assert "__import__" not in called


@pytest.mark.browser
def test_the_button_copies_the_code_of_the_page_that_is_shown(site: Site) -> None:
    import threading

    from conftest import need
    from playwright.sync_api import sync_playwright

    from dmarcview.dashboard.app import create_app
    from dmarcview.dashboard.serve import Server

    path = need("chromium", "chromium")
    server = Server(create_app(site.store), threads=4)
    threading.Thread(target=server.run, daemon=True).start()
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
            context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
            page = context.new_page()
            page.goto(server.url.rstrip("/") + "/sources?domain=example.net&days=7")
            page.wait_for_selector("#sources-grid .ag-row", timeout=60_000)
            page.click("#copy-code")
            page.get_by_text("Copied").wait_for(timeout=60_000)
            copied = page.evaluate("navigator.clipboard.readText()")
            page.set_viewport_size({"width": 390, "height": 844})
            assert not page.is_visible("#copy-code")
            browser.close()
    finally:
        server.stop()
    view = url.parse("?domain=example.net&days=7")
    days = notebook.Days(*_days(site, "/sources", view))
    assert copied == notebook.code("/sources", view, days, notebook.Where(str(site.store.data)))
