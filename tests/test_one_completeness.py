"""A reporter has stopped: pages, charts, commands, notebooks and alerts give one answer on which days are in."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dmarcview import query
from dmarcview.alerts import completeness
from dmarcview.alerts.model import Finding
from dmarcview.cli import main
from dmarcview.dashboard import url, verdict
from dmarcview.dashboard.frames import Frames
from dmarcview.dashboard.pages import overview, reconcile
from dmarcview.dashboard.reconcile import ReconcileFrames
from dmarcview.library import Library
from dmarcview.store import sent
from tests.reconcile_world import RELAY, mails, seen, told
from tests.store_data import D0, DAY

TODAY = int(time.time()) // DAY - D0 // DAY  # commands ask the clock of this machine
STOPPED = TODAY - 6  # its last report
BIG, LARGE, SMALL = ("big.test", 60), ("gone.test", 30), ("slow.test", 10)


def as_date(day: int) -> date:
    return datetime.fromtimestamp(D0 + day * DAY, UTC).date()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three receivers over 20 days: one prompt, one that stopped a week ago, and one that needs three days."""
    folder = tmp_path_factory.mktemp("stopped")
    with Library.open(folder) as store:
        reports, deliveries = [], []
        for day in range(TODAY - 20, TODAY):
            for who, count in (BIG, LARGE, SMALL):
                deliveries += mails(count, day, host=f"mx.{who}", recipient_domain=who)
            reports.append(told((RELAY, 60, seen()), day=day, by="big.test", late=0))
            if day <= STOPPED:
                reports.append(told((RELAY, 30, seen()), day=day, by="gone.test", late=3_600))
            if day < TODAY - 2:
                reports.append(told((RELAY, 10, seen()), day=day, by="slow.test", late=2 * DAY))
        sent.append(store.ledger, "r1", list(enumerate(deliveries, 1)))
        store.append_many(reports)
        store.flush()
    return folder


@pytest.fixture
def store(data: Path) -> Iterator[Library]:
    with Library.open(data) as opened:
        yield opened


def said(capsys: Any, *words: str) -> str:
    assert main([*words]) == 0
    return str(capsys.readouterr().out)


def test_all_places_wait_for_the_same_days_and_not_for_a_reporter_that_stopped(
    store: Library, data: Path, capsys: Any
) -> None:
    judged = query.recent(store)
    waiting = {one.day for one in judged if not one.complete}
    assert waiting == {as_date(TODAY - 2), as_date(TODAY - 1)}, "those of slow.test"
    newest = [one for one in judged if one.day > as_date(STOPPED)]
    assert {(*one.late, *one.awaited) for one in newest} == {(), ("slow.test",)}
    assert all(one.silent == ("gone.test",) for one in newest)

    frames, view = Frames(store), url.View()
    strip, arrived = frames.freshness(view)
    assert {day.date() for day in strip.loc[~strip["complete"], "day"]} == waiting
    assert "gone.test stopped reporting" in [one.title for one in verdict.attention(frames.sources(view), arrived, {})]
    words = str(overview.freshness(strip, arrived))
    assert words.count("slow.test late") + words.count("slow.test awaited") == 2
    for name in ("gone.test late", "gone.test awaited"):
        assert name not in words

    month = url.View(since=as_date(TODAY - 19), until=as_date(TODAY - 1))
    compared = ReconcileFrames(frames)
    compared.slowly.patience = 60.0
    shown = compared.compared(month).answer
    compared.slowly.close()
    assert shown is not None
    for daily in (frames.daily(month), shown.daily):
        assert {day.date() for day in daily.loc[~daily["complete"], "day"]} == waiting
    assert {one.day for one in shown.open_days} == waiting
    assert all("gone.test silent" in reconcile.day_words(one) for one in shown.open_days)

    known = completeness.load(store, verified=True)
    flags = known.flags(["", "example.org"])
    days = [one.day for one in judged]
    for row in flags:
        assert {day for day, done in zip(days, row, strict=True) if not done} == waiting
    finding = Finding(kind="rate", domain="example.org", cause="x", first_day=days[0], last_day=days[-1],
                      weight=1, failed=1, total=1, text="", page="/", query="", members=())  # fmt: skip
    assert "gone.test silent" in known.said(finding).completeness

    window = ("--data", str(data), "--since", str(month.since), "--until", str(as_date(TODAY)))
    listed = [json.loads(said(capsys, name, *window, "--json"))["open_days"] for name in ("summary", "reconcile")]
    assert listed[0] == listed[1]
    assert {date.fromisoformat(one["day"]) for one in listed[0]} == waiting
    assert all(one["silent"] == ["gone.test"] and "gone.test" not in one["late"] + one["awaited"] for one in listed[0])
    for name in ("summary", "reconcile"):
        assert f"{as_date(TODAY - 1)} is 50 % in; usual reporters 1 of 3" in said(capsys, name, *window)


def test_what_went_to_a_reporter_that_stopped_is_not_awaited_but_counted_as_not_reported(store: Library) -> None:
    rows = store.reconcile(since=as_date(STOPPED), until=as_date(TODAY))
    states = rows.groupby("receiver")["state"].apply(set).to_dict()
    assert states == {"big.test": {"complete"}, "gone.test": {"complete"}, "slow.test": {"complete", "open"}}
    gone = rows[rows["receiver"] == "gone.test"]
    assert gone["coverage"].tolist() == [1.0, *[0.0] * 5]


def test_the_days_of_the_store_say_who_is_silent(store: Library) -> None:
    frame = store.completeness(days=3)
    assert frame["silent"].tolist() == [["gone.test"]] * 3
    assert as_date(TODAY - 1) - timedelta(days=2) == frame["day"].iloc[0].date()
