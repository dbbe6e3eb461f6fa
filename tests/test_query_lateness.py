"""Which day is in: each reporter by its own lateness, the same from arrays and from the ledger, in whatever order."""

from __future__ import annotations

import random
import tempfile
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmarcview import query
from dmarcview.library import Library
from dmarcview.query import Completeness, Filters, lateness
from dmarcview.query.complete import arrivals, each, words
from dmarcview.query.lateness import (
    ARRIVALS,
    FEW_RECEIPTS,
    HOURS,
    MOST_WAIT,
    UNKNOWN,
    USUAL_WAIT,
    Judged,
    judge,
    medians,
    through,
    waits,
)
from tests.store_data import D0, DAY, records, report, shape, taken
from tests.store_postgres import fresh_database

HOUR = 3_600
FIRST = D0 // DAY  # day 0 of the worlds below
JUDGED = FIRST + 30


def rows(who: str, days: range, hour: int, *, messages: int = 100, reports: int = 1) -> list[tuple[Any, ...]]:
    return [(who, FIRST + day, hour, reports, messages) for day in days]


def frame(*parts: list[tuple[Any, ...]]) -> pd.DataFrame:
    kinds = {"submitter": "str", "day": "int64", "hour": "int64", "reports": "int64", "messages": "int64"}
    return pd.DataFrame([row for part in parts for row in part], columns=list(ARRIVALS)).astype(kinds)


def one_day(after: float, *parts: list[tuple[Any, ...]], day: int = JUDGED) -> Completeness:
    """Day 30, judged so many hours after its end."""
    return each(judge(frame(*parts), day, day, int((day + 1) * DAY + after * HOUR)))[0]


def usual(counts: list[int]) -> Any:
    table = np.zeros((1, HOURS))
    for hour in counts:
        table[0, hour] += 1
    return table


def test_lateness_is_the_hour_by_which_99_of_100_reports_had_come() -> None:
    assert waits(usual([30] * 99 + [90]))[0] == 31 * HOUR
    assert waits(usual([30] * 98 + [90] * 2))[0] == 91 * HOUR
    assert waits(usual([30] * 28))[0] == 31 * HOUR
    assert medians(usual([4, 4, 5, 30]))[0] == 5 * HOUR


def test_lateness_keeps_its_bounds_and_few_receipts_teach_little() -> None:
    assert waits(usual([2] * FEW_RECEIPTS))[0] == DAY
    assert waits(usual([2] * (FEW_RECEIPTS - 1)))[0] == USUAL_WAIT
    assert waits(usual([100]))[0] == 101 * HOUR
    assert waits(usual([]))[0] == USUAL_WAIT
    assert waits(usual([HOURS - 1] * 20))[0] == MOST_WAIT


def test_a_day_says_who_has_come_who_is_late_and_who_is_not_due() -> None:
    """Six come after 4 hours, one after 30 or 40; the day is 93 % in until the last one is past its 99th percentile."""
    prompt = [rows(f"r{n}.example", range(31), 4) for n in range(6)]
    last = [
        *rows("microsoft.example", range(29), 30, messages=45),
        *rows("microsoft.example", range(29, 30), 40, messages=45),
    ]
    early, late, after = (one_day(hours, *prompt, last) for hours in (20, 35, 42))
    assert (early.complete, early.arrived, early.expected, early.awaited) == (False, 6, 7, ("microsoft.example",))
    assert early.share == pytest.approx(600 / 645)
    assert (late.complete, late.late, late.awaited) == (False, ("microsoft.example",), ())
    assert words(late) == "93 % in; usual reporters 6 of 7, microsoft.example late"
    assert (after.complete, after.silent, after.late) == (True, ("microsoft.example",), ())
    assert after.share == late.share
    until = late.reporters.set_index("submitter")["until"]
    assert until["microsoft.example"] == pd.Timestamp((JUDGED + 1) * DAY + 41 * HOUR, unit="s")
    assert until.drop("microsoft.example").isna().all()


def test_a_day_whose_reporters_all_came_is_complete_once_it_is_over() -> None:
    parts = rows("a.example", range(31), 0), rows("b.example", range(31), 50)
    assert one_day(1, *parts).complete
    assert not one_day(-1, *parts).complete
    assert words(one_day(1, *parts)) == "100 % in; usual reporters 2 of 2"


def test_reporters_of_little_mail_keep_no_day_open() -> None:
    big = [row for name in ("a.example", "b.example") for row in rows(name, range(31), 4, messages=480)]
    found = one_day(5, big, rows("small.example", range(30), 100, messages=40))
    assert (found.complete, found.share, found.awaited) == (True, 0.96, ("small.example",))
    assert not one_day(5, big, rows("small.example", range(30), 100, messages=60)).complete


@pytest.mark.parametrize("claimed", [10**6, 10**18])
def test_a_reporter_weighs_no_more_than_all_others_together(claimed: int) -> None:
    """A stranger that claims any number of messages is half of what is usual, late or prompt."""
    real = [row for n in range(4) for row in rows(f"r{n}.example", range(31), 4, messages=100)]
    late = one_day(5, real, rows("stranger.example", range(30), 4, messages=claimed))
    assert (late.complete, late.share) == (False, 0.5)
    without = [row for row in real if row[:2] != ("r3.example", JUDGED)]
    prompt = one_day(5, without, rows("stranger.example", range(31), 4, messages=claimed))
    assert (prompt.complete, prompt.share) == (False, 1 - 100 / 800)
    alone = one_day(5, rows("stranger.example", range(30), 4, messages=claimed))
    assert (alone.complete, alone.share) == (False, 0.0)


def test_a_reporter_alone_keeps_no_day_open_for_longer_than_the_usual_wait() -> None:
    """Each report of it comes a week late; two such reporters are waited for."""
    real = [row for n in range(4) for row in rows(f"r{n}.example", range(60), 4, messages=500)]
    strangers = [rows(f"s{n}.example", range(52), HOURS - 2, messages=10**6) for n in range(2)]
    now = (FIRST + 60) * DAY + 12 * HOUR
    one, two = (judge(frame(real, *some), FIRST + 50, FIRST + 59, now).days for some in (strangers[:1], strangers))
    assert one["complete"].tolist() == [True] * 7 + [False] * 3
    assert two["complete"].tolist() == [True] * 3 + [False] * 7
    hourly = [judge(frame(real, strangers[0]), JUDGED + 25, JUDGED + 25, (JUDGED + 26) * DAY + h * HOUR).days
              for h in (71, 72)]  # fmt: skip
    assert [bool(found["complete"].iloc[0]) for found in hourly] == [False, True]


def test_a_reporter_is_usual_with_reports_on_seven_of_the_28_days_before() -> None:
    always = rows("a.example", range(31), 4)
    assert one_day(5, always, rows("b.example", range(24, 30), 4)).expected == 1
    assert one_day(5, always, rows("b.example", range(23, 30), 4)).expected == 2
    assert one_day(5, always, rows("b.example", range(2), 4)).expected == 1, "reports of before are forgotten"
    lines = one_day(5, always, rows("b.example", range(28, 31), 4)).reporters.set_index("submitter")
    assert lines.loc["b.example", ["usual", "state"]].tolist() == [False, "arrived"]


def test_while_nobody_is_usual_a_day_is_complete_after_the_usual_wait() -> None:
    few = rows("a.example", range(28, 31), 4)
    assert [one_day(hours, few).complete for hours in (0, 71, 72)] == [False, False, True]
    assert one_day(0, few).share is None
    assert words(one_day(0, few)) == "no usual reporter is known yet"
    assert one_day(0).expected == 0


def test_imports_arrive_and_say_nothing_about_lateness() -> None:
    imported = rows("a.example", range(30), UNKNOWN)
    assert [one_day(hours, imported).silent for hours in (71, 72)] == [(), ("a.example",)]
    assert one_day(0, imported, rows("a.example", range(30, 31), UNKNOWN)).complete


def test_a_reporter_of_many_reports_a_day_has_come_with_nine_tenths_of_them() -> None:
    """A fleet: 20 domains a day."""
    before = rows("a.example", range(30), 4, reports=20)
    some = one_day(5, before, rows("a.example", range(30, 31), 4, reports=17))
    assert (some.complete, some.arrived, some.share) == (False, 0, 0.85)
    most = one_day(5, before, rows("a.example", range(30, 31), 4, reports=18))
    assert (most.complete, most.arrived, most.share) == (True, 1, 1.0)


def test_a_reporter_that_goes_silent_keeps_no_day_open_and_lowers_the_share_until_it_is_forgotten() -> None:
    big = [row for name in ("a.example", "b.example") for row in rows(name, range(60), 4, messages=350)]
    gone = rows("gone.example", range(20), 4, messages=300)
    found = judge(frame(big, gone), FIRST + 21, FIRST + 50, (FIRST + 51) * DAY + 30 * HOUR)
    assert found.days["complete"].all()
    assert found.days["share"].iloc[0] == 0.7
    assert found.days["silent"].iloc[10] == ["gone.example"]
    assert found.days["share"].iloc[-1] == 1.0, "28 days later it is not usual any more"


def test_a_reporter_that_has_stopped_is_awaited_no_more_and_one_that_pauses_as_ever_is() -> None:
    big = rows("big.example", range(60), 4, messages=700)

    def said(*days: range, day: int = 30) -> tuple[bool, tuple[str, ...], tuple[str, ...]]:
        small = [one for some in days for one in rows("small.example", some, 4, messages=300)]
        found = one_day(1, big, small, day=FIRST + day)
        return found.complete, found.awaited, found.silent

    waits_for, stopped = (False, ("small.example",), ()), (True, (), ("small.example",))
    assert said(range(27)) == stopped, "three days are over without it"
    assert said(range(28)) == waits_for, "of the third its report may still come"
    assert said(range(16), range(20, 27)) == waits_for, "it left out four before"
    assert said(range(16), range(20, 27), day=32) == stopped


def test_complete_through_ends_before_the_first_open_day() -> None:
    days = pd.DataFrame(
        {"day": pd.date_range("2026-01-01", periods=4, unit="s"), "complete": [True, True, False, True]}
    )
    assert through(days) == date(2026, 1, 2)
    assert through(days.assign(complete=True)) == date(2026, 1, 4)
    assert through(days.assign(complete=False)) is None
    assert through(days.head(0)) is None


CELLS = st.lists(
    st.tuples(st.sampled_from(["a.example", "b.example", "c.example"]), st.integers(0, 44),
              st.integers(UNKNOWN, HOURS - 1), st.integers(1, 3), st.integers(0, 10**9)),
    max_size=120,
)  # fmt: skip


def values(found: Judged) -> tuple[str, str]:
    return repr(found.days.to_dict("records")), repr(found.reporters.to_dict("records"))


@settings(max_examples=60, deadline=None)
@given(CELLS, st.integers(0, 30 * 24), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing_and_what_is_said_holds_together(cells: Any, hours: int, rng: Any) -> None:
    lines = [(who, FIRST + day, *rest) for who, day, *rest in cells]
    now = (FIRST + 30) * DAY + hours * HOUR
    found = judge(frame(lines), FIRST + 30, FIRST + 44, now)
    rng.shuffle(lines)
    assert values(judge(frame(lines), FIRST + 30, FIRST + 44, now)) == values(found)
    for one in each(found):
        missing = (*one.late, *one.awaited, *one.silent)
        assert one.arrived + len(missing) == one.expected == len(one.reporters[one.reporters["usual"]])
        assert len(set(missing)) == len(missing)
        assert one.share is None or 0 <= one.share <= 1 + 1e-9
        assert (one.share is None) == (one.expected == 0)
        if now >= D0 + (one.day - date(2026, 1, 1)).days * DAY + DAY + MOST_WAIT:
            assert one.complete
            assert not one.late + one.awaited
        if one.expected and not one.late + one.awaited:
            over = now >= D0 + ((one.day - date(2026, 1, 1)).days + 1) * DAY
            assert one.complete == over


@settings(max_examples=40, deadline=None)
@given(CELLS, st.integers(0, 13), st.lists(st.integers(0, 400), min_size=2, max_size=5))
def test_a_complete_day_stays_complete_as_time_goes_by(cells: Any, ahead: int, hours: list[int]) -> None:
    lines = [(who, FIRST + day, *rest) for who, day, *rest in cells]
    day = FIRST + 30 + ahead
    told = [judge(frame(lines), day, day, (day + 1) * DAY + h * HOUR).days["complete"].iloc[0] for h in sorted(hours)]
    assert told == sorted(told)


@settings(max_examples=60, deadline=None)
@given(CELLS, st.integers(0, 13), st.integers(0, 200), st.integers(0, 9), st.integers(UNKNOWN, HOURS - 1))
def test_late_reports_on_later_days_change_nothing_about_a_day(
    cells: Any, ahead: int, hours: int, later: int, hour: int
) -> None:
    lines = [(who, FIRST + day, *rest) for who, day, *rest in cells]
    day = FIRST + 30 + ahead
    now = (day + 1) * DAY + hours * HOUR
    more = [("b.example", day + 1 + later, hour, 2, 10**6)]
    assert values(judge(frame(lines, more), day, day, now)) == values(judge(frame(lines), day, day, now))


def told_at(who: str, day: int, late: float, *, zone: float = 0, messages: int = 10, auth: str = "pass") -> Any:
    """One report of a day in a zone, received so many hours after the end of its period."""
    begin = int(D0 + day * DAY + zone * HOUR)
    rows = records(("192.0.2.1", messages, shape()))
    one = report(uuid.uuid4().hex, rows, submitter=who, begin=begin, end=begin + DAY - 1)
    return taken(one.report_id, one, auth=auth, received=int(begin + DAY + late * HOUR))


def test_the_ledger_gives_days_hours_and_sums(tmp_path: Path) -> None:
    with Library.open(tmp_path, clock=lambda: D0 + 9 * DAY) as store:
        store.append_many(
            [
                told_at("utc.example", 3, 5.5),
                told_at("east.example", 3, 4, zone=-1),  # a day from 23:00 on: most of it is this day
                told_at("west.example", 3, 4, zone=8),
                told_at("old.example", 3, 24 * 30),
                told_at("file.example", 3, 4, auth="unknown"),
                told_at("forged.example", 3, 4, auth="fail"),
            ]
        )
        found = {row.submitter: (row.day - FIRST, row.hour) for row in arrivals(store).itertuples()}
        assert found == {
            "utc.example": (3, 5),
            "east.example": (3, 3),
            "west.example": (3, 12),
            "old.example": (3, HOURS - 1),
            "file.example": (3, UNKNOWN),
        }
        assert set(arrivals(store, Filters(verified=False))["submitter"]) - set(found) == {"forged.example"}
        assert arrivals(store, Filters(domains=("example.net",))).empty
        assert arrivals(store, Filters(since=date(2026, 1, 5))).empty
        assert len(arrivals(store, Filters(since=date(2026, 1, 4), until=date(2026, 1, 5)))) == 5
        assert arrivals(store, Filters(submitter="utc.example"))["messages"].tolist() == [10]


def test_submitters_of_one_organisation_are_one_reporter(tmp_path: Path) -> None:
    """A stranger's mail domain brings reports of any name below its own."""
    with Library.open(tmp_path, clock=lambda: D0 + 30 * DAY + 12 * HOUR) as store:
        store.append_many([told_at("mail.real.example", day, 3) for day in range(30)])
        store.append_many([told_at(f"n{n}.evil.example", day, 3) for day in range(29) for n in range(4)])
        found = query.completeness(store, date(2026, 1, 30))
        assert set(found.reporters["submitter"]) == {"mail.real.example", "evil.example"}
        assert words(found) == "50 % in; usual reporters 1 of 2, evil.example late"


REPORTS = st.lists(
    st.tuples(st.sampled_from(["a.example", "b.example"]), st.integers(0, 30), st.floats(0, 200)), max_size=60
)


@settings(max_examples=12, deadline=None)
@given(REPORTS, st.randoms(use_true_random=False))
def test_reports_in_any_order_and_sent_again_are_judged_the_same(made: Any, rng: Any) -> None:
    mails = [told_at(*one) for one in made]
    shuffled = list(mails)
    rng.shuffle(shuffled)
    answers = []
    for order in (mails, [*shuffled, *shuffled]):
        with tempfile.TemporaryDirectory() as folder, Library.open(folder, clock=lambda: D0 + 31 * DAY) as store:
            for one in order:
                store.append_many([one])
            answers.append(values(query.complete_days(store, date(2026, 1, 20), date(2026, 1, 31))))
    assert answers[0] == answers[1]


def test_a_ledger_in_postgresql_judges_the_same(tmp_path: Path, postgres: Callable[[], str]) -> None:
    rng = random.Random(5)
    mails = [told_at(who, day, rng.uniform(1, 90)) for day in range(20) for who in ("a.example", "b.example")]
    mails = [one for one in mails if one.origin.received < D0 + 21 * DAY]
    found = []
    for folder, url in ((tmp_path / "a", None), (tmp_path / "b", fresh_database(postgres(), uuid.uuid4().hex))):
        with Library.open(folder, url=url, clock=lambda: D0 + 21 * DAY) as store:
            store.append_many(mails)
            found.append(values(query.complete_days(store, date(2026, 1, 10), date(2026, 1, 20))))
            frame = store.completeness(days=12)
    assert found[0] == found[1]
    assert not frame["complete"].all()


def test_recent_days_end_yesterday(tmp_path: Path) -> None:
    now = D0 + 31 * DAY + 5 * HOUR
    with Library.open(tmp_path, clock=lambda: now) as store:
        store.append_many([told_at("a.example", day, 3) for day in range(30)])
        days = query.recent(store, days=3)
        yesterday = datetime.fromtimestamp(now, UTC).date() - timedelta(days=1)
        assert [one.day for one in days] == [yesterday - timedelta(days=n) for n in (2, 1, 0)]
        assert [one.complete for one in days] == [True, True, False]
        assert query.completeness(store, yesterday).late == ("a.example",)


@pytest.mark.parametrize("at_once", [1, 4_000])
def test_who_is_usual_on_many_domains_is_who_is_on_each_alone(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lateness, "PAIRS_AT_ONCE", at_once)
    parts = {
        "example.com": [*rows("far.test", range(31), 5), *rows("rare.test", range(0, 30, 9), 5)],
        "example.org": [*rows("far.test", range(30), 5, reports=2), *rows("far.test", range(30, 31), 5)],
        "example.net": rows("near.test", range(2, 31, 2), 30),
    }
    arrived = pd.concat([frame(part).assign(domain=name) for name, part in parts.items()], ignore_index=True)
    now = (JUDGED + 1) * DAY + 6 * HOUR
    found = lateness.usual(arrived.sample(frac=1, random_state=7), JUDGED - 1, JUDGED + 1, now)
    alone = []
    for name, part in parts.items():
        each_day = judge(frame(part), JUDGED - 1, JUDGED + 1, now).reporters
        for row in each_day[each_day["usual"]].itertuples():
            day = row.day.to_datetime64().astype("datetime64[D]").astype(int)
            alone.append((name, row.submitter, int(day), row.state in ("awaited", "late") or day == JUDGED + 1))
    assert sorted(found.itertuples(index=False, name=None)) == sorted(alone)
    assert ("example.org", "far.test", JUDGED, True) in alone
    assert ("example.com", "far.test", JUDGED, False) in alone


def test_of_no_arrivals_nobody_is_usual() -> None:
    assert lateness.usual(frame().assign(domain=""), JUDGED, JUDGED, (JUDGED + 1) * DAY).empty
