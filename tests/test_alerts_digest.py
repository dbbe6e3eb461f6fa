"""The weekly summary: when it is due, that its figures are those of the store, and that it is safe and whole."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dashboard_data import HOSTILE_FORMULA, TODAY, fill, noon
from hypothesis import given
from hypothesis import strategies as st
from sent_data import attempt

from dmarcview import query
from dmarcview.alerts import digest, memory, summary
from dmarcview.alerts.digest import WEEKDAYS, Line
from dmarcview.alerts.model import Finding, Incident
from dmarcview.config import Alerts, Config
from dmarcview.query import Filters
from dmarcview.store import Store, sent

DAY = 86_400
NOW = int(noon(TODAY))
BASE = "https://pages.example.org"
SETTINGS = Alerts(mail_to=("admin@example.org",))
FAILING = Finding("dmarc_failing", "example.com", "192.0.2.11", TODAY - timedelta(days=5),
                  TODAY - timedelta(days=2), 90, "It fails.", 90, 100)  # fmt: skip
CHANGED = Finding("record_changed", "example.net", "<script>alert(1)</script> https://evil.test",
                  TODAY - timedelta(days=3), TODAY, 1, "x")  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with fill(tmp_path_factory.mktemp("digest"), hostile=True) as filled:
        memory.settle(filled.ledger, [replace(FAILING, cause="old"), FAILING], NOW - 20 * DAY)
        memory.settle(filled.ledger, [FAILING, CHANGED], NOW - 2 * DAY)
        yield filled


@given(
    st.sampled_from(WEEKDAYS),
    st.integers(0, 23),
    st.lists(st.integers(1, 9 * DAY), min_size=1, max_size=60),
    st.booleans(),
)
def test_however_the_clock_is_run_each_week_has_at_most_one_summary_and_none_is_late(
    weekday: str, hour: int, steps: list[int], fresh: bool
) -> None:
    settings = replace(SETTINGS, digest=weekday, digest_hour=hour)
    now, last, asked = 1_790_000_000, None if fresh else 1_789_000_000, []
    for step in steps:
        now += step
        if digest.due(settings, last, now):
            at = datetime.fromtimestamp(now, UTC)
            begin = at.replace(hour=hour, minute=0, second=0)
            begin -= timedelta(days=begin > at)
            assert WEEKDAYS[begin.weekday()] == weekday, "on its day, or the night after"
            assert not digest.due(settings, now, now), "never twice"
            assert not digest.due(settings, now, now + DAY - 1)
            asked.append(int(begin.timestamp()))
            last = now
    assert len(set(asked)) == len(asked)
    assert all(later - sooner >= 7 * DAY for sooner, later in itertools.pairwise(asked))


def test_a_clock_that_runs_all_the_time_asks_once_a_week_at_the_hour() -> None:
    last, asked = None, []
    tuesday = 1_790_080_000
    for now in range(tuesday, tuesday + 28 * DAY, 600):
        if digest.due(SETTINGS, last, now):
            last = now
            asked.append(f"{datetime.fromtimestamp(now, UTC):%A %H}")
    assert asked == ["Monday 07"] * 4


def test_what_was_missed_is_made_up_on_that_day_and_not_later() -> None:
    monday = int(datetime(2026, 11, 2, 7, tzinfo=UTC).timestamp())
    before = monday - 7 * DAY
    assert digest.due(SETTINGS, before, monday + 23 * 3_600)
    assert not digest.due(SETTINGS, before, monday + 25 * 3_600)
    assert not digest.due(SETTINGS, before, monday - 1)


def test_without_recipients_or_when_off_there_is_none() -> None:
    monday = int(datetime(2026, 11, 2, 7, tzinfo=UTC).timestamp())
    assert not digest.due(replace(SETTINGS, mail_to=()), None, monday)
    assert not digest.due(replace(SETTINGS, digest="off"), None, monday)


def test_the_figures_are_those_of_the_store(store: Store) -> None:
    week = digest.gather(store, Config(alerts=SETTINGS), NOW)
    assert (week.first, week.last) == (date(2026, 11, 14), date(2026, 11, 20))
    span = Filters(since=week.first, until=week.last + timedelta(days=1))
    days = query.daily(store, span)
    assert week.total.messages == days["messages"].sum()
    assert week.total.own_pass == days["own_pass"].sum()
    assert week.total.own == days["own_pass"].sum() + days["own_fail"].sum()
    assert week.total.delivered == days["unknown_delivered"].sum()
    assert week.total.blocked == days["unknown_blocked"].sum()
    before = query.daily(store, replace(span, since=week.first - timedelta(days=7), until=week.first))
    assert week.total.pass_before == before["own_pass"].sum()
    assert [line.domain for line in week.lines] == ["example.com", "example.net"]
    assert (week.complete.day, week.complete.arrived, week.complete.expected) == (week.last, 3, 4)
    assert week.coverage is None
    assert [one.finding.kind for one in week.open] == ["dmarc_failing", "record_changed"]
    assert (week.opened, [one.finding.cause for one in week.ended]) == (1, ["old"])


def test_the_text_says_all_and_the_gravest_step_first(store: Store) -> None:
    made = summary.message(
        digest.gather(store, Config(alerts=SETTINGS), NOW), BASE, ["example.org", "example.net", "example.com"]
    )
    assert made.title == "Your mail in the week from 14 Nov 2026 to 20 Nov 2026"
    for words in (
        "of your own", "points", "example.net: ", "2 open, 1 opened, 0 cleared and 1 taken for usual within the week.",
        "20 Nov 2026 is 96 % in; usual reporters 3 of 4, smallbox[.]example silent.",
        "NEXT STEPS\n- Mail of example.com fails DMARC: 192.0.2.11.", "was delivered", "Rows: https://pages.example.org/",
    ):  # fmt: skip
        assert words in made.text, words
    assert "alert(1)" not in made.html.replace("\u203aalert(1)", "")


def test_the_page_takes_nothing_from_elsewhere_and_leads_only_to_our_pages(store: Store) -> None:
    page = summary.message(digest.gather(store, Config(alerts=SETTINGS), NOW), BASE).html
    assert set(re.findall(r'(?:href|src|url\()="?([^">)]+)', page)) == {"https://pages.example.org/"}
    assert not re.search(r"<(?:img|script|link|svg|iframe|object|form)\b|@import|javascript:", page)
    assert page.count("://") == 2
    assert HOSTILE_FORMULA not in page


def test_mail_that_the_relay_sent_is_held_against_reports(tmp_path: Path) -> None:
    with fill(tmp_path, days=30) as store:
        at = NOW - 4 * DAY
        rows = [
            attempt(at=at + n, queue_id=f"Q{n:011d}", from_domain="example.com", sender="a@example.com",
                    dkim=(("example.com", "s2026"),), recipient_domain="mailbox-one.example")
            for n in range(10)
        ]  # fmt: skip
        sent.append(store.ledger, "relay", list(enumerate(rows, 1)))
        week = digest.gather(store, Config(alerts=SETTINGS), NOW)
    assert week.coverage is not None


def test_an_empty_store_makes_a_summary_that_says_so(tmp_path: Path) -> None:
    with Store.open(tmp_path, clock=lambda: float(NOW)) as store:
        made = summary.message(digest.gather(store, Config(alerts=SETTINGS), NOW), BASE)
    assert "No reports on this week have come." in made.text
    assert "Nothing. Your mail is in order." not in made.text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            Line("", 100, 100, 100, 100, 90),
            "100 % of your own 100 messages passed DMARC, 10.0 points more than the week before.",
        ),
        (
            Line("", 100, 100, 90, 100, 100),
            "90 % of your own 100 messages passed DMARC, 10.0 points less than the week before.",
        ),
        (Line("", 100, 100, 90, 0, 0), "90 % of your own 100 messages passed DMARC. "),
        (
            Line("", 9_000, 9_000, 8_999, 100, 100),
            ">99.9 % of your own 9,000 messages passed DMARC, as in the week before.",
        ),
        (Line("", 100, 0, 0, 9, 9), "None of the messages came from a sender of yours. Nobody forged your name."),
        (Line("", 10, 0, 0, 0, 0, 4, 6), "Of forged ones, 4 were delivered and 6 blocked."),
    ],
)
def test_the_verdict_says_share_change_and_forgeries(store: Store, line: Line, words: str) -> None:
    week = replace(digest.gather(store, Config(alerts=SETTINGS), NOW), total=line)
    assert words in summary.verdict(week)


def test_many_domains_and_incidents_stay_a_short_mail(store: Store) -> None:
    week = digest.gather(store, Config(alerts=SETTINGS), NOW)
    many: tuple[Any, ...] = tuple(replace(week.open[0], id=n) for n in range(500))
    long = replace(week, open=many, ended=many, more=980, lines=(week.lines[0],) * 20)
    made = summary.message(long, BASE)
    assert "and 980 more domains" in made.text
    assert len(made.text) < 12_000
    assert len(made.html) < 60_000
    assert isinstance(many[0], Incident)


def test_what_ended_without_being_mended_is_not_said_to_have_cleared(store: Store) -> None:
    week = digest.gather(store, Config(alerts=SETTINGS), NOW)
    over = [replace(week.open[0], id=n, ended=NOW - DAY, outcome=how) for n, how in enumerate(("usual", "taken_up"), 1)]
    made = summary.message(replace(week, ended=tuple(over)), BASE)
    for text in (made.text, made.html):
        assert "2 open, 1 opened, 0 cleared, 1 taken for usual and 1 taken up by another incident" in text
        assert "Taken for usual 21 Nov 2026" in text
        assert "Taken up by another incident 21 Nov 2026" in text
        assert "Cleared" not in text
