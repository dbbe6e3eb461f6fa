"""The page Sent: its address, its pieces on empty and hostile rows, and a visit in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import plotly
import pytest
from dashboard_data import HOSTILE_NAME, TODAY, fill, noon
from hypothesis import given, settings
from hypothesis import strategies as st
from test_dashboard_browser import DARK, PHONE, Site, Visit, chromium, grave, pick, until

from dmarcview.dashboard import figures, url
from dmarcview.dashboard.frames import Frames
from dmarcview.dashboard.pages import sent as page_of
from dmarcview.dashboard.plain import plain
from dmarcview.dashboard.sent import SentFrames
from dmarcview.store import Store, sent
from dmarcview_relay.outcome import DEFERRED, EXPIRED, FAILED, RemoteReply
from tests.sent_data import LATER, NEVER, attempt

__all__ = ["chromium"]  # the fixture

NOW = int(noon(TODAY))
LONG = RemoteReply(550, "5.7.26", "This mail is unauthenticated.\nSee https://far.example/help\n<b>bold</b>", "body")
HOSTILE = attempt(
    at=NOW - 50, queue_id="Qevil", sender='"<script>x</script>"@evil.example', recipient=f"{HOSTILE_NAME}@x.example",
    recipient_domain="x.example", outcome=FAILED, message_id=HOSTILE_NAME, tries=2,
    reply=RemoteReply(550, "5.0.0", HOSTILE_NAME + "\n\x1b[31m", "rcpt"), dkim=((HOSTILE_NAME, "s"),),
)  # fmt: skip
ROWS = [
    attempt(at=NOW - 3_600),
    attempt(at=NOW - 3_000, queue_id="Q2", outcome=DEFERRED, reply=LATER),
    attempt(at=NOW - 100, queue_id="Q2", outcome=FAILED, reply=LONG, tries=2, recipient_domain="far.example"),
    attempt(at=NOW - 86_400, queue_id="Q3", from_domain="example.com", recipient="bob@far.example",
            recipient_domain="far.example", outcome=EXPIRED, link=attempt().link._replace(host="", tls_trust=""),
            reply=RemoteReply(0, "", "no host could be reached", "connect", said=False)),
    attempt(at=NOW - 86_400 * 60, queue_id="Qold", outcome=FAILED, reply=NEVER),
    HOSTILE,
]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with fill(tmp_path_factory.mktemp("sent"), days=20) as opened:
        sent.append(opened.ledger, "r1", list(enumerate(ROWS, 1)))
        yield opened


@pytest.fixture
def frames(store: Store) -> SentFrames:
    return SentFrames(Frames(store))


def drawn(component: Any) -> str:
    return json.dumps(component, cls=plotly.utils.PlotlyJSONEncoder)


TEXT = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=60)


@given(
    st.none() | st.sampled_from(url.SENT),
    st.lists(st.sampled_from(["far.example", "xn--bcher-kva.example", "near.example"]), unique=True, max_size=3),
    st.none() | TEXT,
    st.none() | st.sampled_from(["r1-1", "00ff-99999999999"]),
    st.none() | st.sampled_from([("", ""), ("example.org", "s1"), ("b\u00fccher.example", "s:1,2")]),
    st.none() | st.sampled_from(["192.0.2.25", "2001:db8::1"]),
)
def test_every_view_survives_its_own_link(outcome: Any, to: Any, find: Any, row: Any, key: Any, address: Any) -> None:
    view = url.View(
        outcome=outcome, rcpt=tuple(to), host=tuple(to), find=find, row=row, key=key, ip=address, by="far.example"
    )
    assert url.parse(url.write(view)) == view


@settings(max_examples=200)
@given(st.text(), st.text(), st.text())
def test_whatever_a_browser_sends_becomes_a_view_that_its_link_keeps(outcome: str, rcpt: str, find: str) -> None:
    view = url.for_sent(url.View(row="r1-1"), outcome, rcpt, find)
    assert view.row is None
    try:
        assert url.parse(url.write(view)) == view
    except UnicodeEncodeError:
        pytest.fail("a view that no link can hold")


def test_links_to_other_pages_leave_out_what_only_this_page_knows() -> None:
    view = url.View(domain="example.org", outcome="failed", rcpt=("far.example",), find="Q2", row="r1-1",
                    ip="192.0.2.25", by="far.example")  # fmt: skip
    assert url.href("/", "/sources", view) == "/sources?domain=example.org"
    assert url.href("/", "/reports", view) == "/reports?domain=example.org&ip=192.0.2.25&by=far.example"
    assert "by=" not in url.href("/", "/sent", view)
    assert "find=Q2" in url.href("/", "/sent", view)
    assert "find=Q2" in url.href("/", "/export/sent.csv", view)


def test_the_window_ends_today_and_the_totals_do_not_follow_the_outcome(frames: SentFrames) -> None:
    view = url.View()
    assert frames.window(view)[1] == TODAY
    daily = frames.daily(view)
    assert len(daily) == 30
    assert int(daily["failed"].sum()) == 2
    assert frames.daily(replace(view, outcome="delivered")).equals(daily)
    assert [row["id"] for row in page_of.rows(frames.rows(view), str)] == ["r1-6", "r1-3", "r1-2", "r1-1", "r1-4"]
    assert len(frames.rows(replace(view, outcome="failed"))) == 2
    assert "25% of 4 recipients" in page_of.words(daily)


def test_new_rows_are_seen_although_no_report_came(tmp_path: Path) -> None:
    with Store.open(tmp_path, clock=lambda: float(NOW)) as opened:
        frames = SentFrames(Frames(opened))
        assert not frames.any_row()
        assert frames.rows(url.View()).empty
        sent.append(opened.ledger, "r1", [(1, attempt(at=NOW))])
        assert frames.any_row()
        assert len(frames.rows(url.View())) == 1
        assert frames.domains() == ["example.org"]


def test_the_drawer_has_the_whole_reply_and_says_who_spoke(frames: SentFrames) -> None:
    row = frames.row("r1-3")
    assert row is not None
    said = drawn(plain(page_of.detail(row)))
    assert "550 5.7.26 This mail is unauthenticated.\\nSee https://far.example/help\\n<b>bold</b>" in said
    assert "The other side said" in said
    own = frames.row("r1-4")
    assert own is not None
    assert "It never came to a reply" in drawn(plain(page_of.detail(own)))
    assert frames.row("r1-77") is None


def test_what_strangers_wrote_is_shown_as_text_with_its_hidden_characters_visible(frames: SentFrames) -> None:
    row = frames.row("r1-6")
    assert row is not None
    said = drawn([plain(page_of.detail(row)), page_of.rows(frames.rows(url.View()), str), page_of.recipient(row)])
    assert "[U+202E]" in said
    assert "\\u202e" not in said
    assert "\\u001b" not in said


def test_every_piece_draws_without_rows_and_without_anything_ended(frames: SentFrames) -> None:
    view = url.View(find="nothing")
    rows, daily = frames.rows(view), frames.daily(view)
    assert rows.empty
    assert page_of.rows(rows, str) == page_of.cards(rows, str) == []
    assert "Nothing has ended" in page_of.words(daily)
    drawn([page_of.tiles(daily), page_of.table(daily), page_of.legend(daily), page_of.nothing_here("/sent")])
    assert figures.sent(daily, "dark")["layout"]["annotations"][0]["text"] == "Nothing was sent in this view"
    assert "example.net" in drawn(page_of.nothing_sent(("example.net",)))


def test_the_chart_stacks_the_outcomes_that_there_are(frames: SentFrames) -> None:
    figure = figures.sent(frames.daily(url.View()), None)
    assert {trace["name"]: sum(trace["y"]) for trace in figure["data"]} == {
        "Delivered": 1, "Put off": 1, "Refused": 2, "Given up": 1, "Not over": 1,
    }  # fmt: skip
    assert pd.Timestamp(figure["layout"]["xaxis"]["range"][1]).date() == TODAY


@pytest.fixture(scope="module")
def site(store: Store) -> Iterator[Site]:
    running = Site(store)
    yield running
    running.stop()


@pytest.mark.browser
def test_a_visitor_finds_the_whole_reply_and_keeps_the_view(chromium: Any, site: Site) -> None:
    visit = Visit(chromium, site)
    page = visit.open("/sent")
    assert visit.number("sent-failed") == 2
    assert not page.is_visible("#filter-class")
    pick(page, "sent-outcome", "Refused")
    until(page, "location.search.includes('outcome=failed')")
    until(page, "document.querySelectorAll('#sent-grid .cell-link').length === 2")
    page.fill("#sent-rcpt", "far.example")
    until(page, "location.search.includes('rcpt=far.example')")
    until(page, "document.querySelectorAll('#sent-grid .cell-link').length === 1")
    page.click("#sent-grid .cell-link")
    page.wait_for_selector("#sent-reply")
    assert "See https://far.example/help\n<b>bold</b>" in page.inner_text("#sent-reply")
    until(page, "location.search === '?outcome=failed&rcpt=far.example&row=r1-3'")
    page.reload()
    page.wait_for_selector("#sent-reply")
    page.keyboard.press("Escape")
    until(page, "!location.search.includes('row=')")
    assert page.input_value("#sent-rcpt") == "far.example"
    page.fill("#sent-rcpt", "")
    until(page, "location.search === '?outcome=failed'")
    page.fill("#sent-find", "Q3")
    until(page, "location.search.includes('find=Q3')")
    page.wait_for_selector("#sent-none .empty")
    page.click("text=Clear the filters")
    until(page, "location.search === ''")
    until(page, "document.getElementById('sent-find').value === ''")
    sent.append(site.store.ledger, "r1", [(50, attempt(at=NOW, queue_id="Qnew"))])
    until(page, "document.querySelector('#sent-delivered')?.dataset.value === '2'")
    with page.expect_download() as got:
        page.click("#sent-csv")
    assert "Qnew" in Path(got.value.path()).read_text()
    visit.context.close()
    assert (visit.outside, visit.faults) == ([], [])


@pytest.mark.browser
@pytest.mark.parametrize("look", [{}, DARK, PHONE], ids=["light", "dark", "phone"])
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_screen(
    chromium: Any,
    site: Site,
    look: dict[str, Any],
) -> None:
    import axe_playwright_python

    axe = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    visit = Visit(chromium, site, **look)
    for path in ("/sent", "/sent?row=r1-3"):
        page = visit.open(path)
        page.wait_for_selector("#sent-reply" if "row" in path else "#sent-tiles .tile")
        page.wait_for_timeout(400)  # the drawer slides in
        page.evaluate(axe)
        assert grave(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    visit.context.close()
    assert (visit.outside, visit.faults) == ([], [])
