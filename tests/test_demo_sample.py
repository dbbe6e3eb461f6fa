"""The demo's sample: made of what the relay sent, verified as mail is, and reconciled to the last message."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import func, select

from dmarcview.demo import rhythm, sample, sentlog, traffic
from dmarcview.demo.receivers import RECEIVERS
from dmarcview.demo.sample import Sample
from dmarcview.demo.story import REPORTERS, SENDERS
from dmarcview.query import Filters
from dmarcview.reconcile import OPEN, SILENT, Reconciled, reconcile
from dmarcview.store.tables import items, reports
from dmarcview.store.tables import sent as sent_table
from dmarcview_relay.outcome import DELIVERED

TODAY = date(2026, 3, 4)
DAYS = 70
RELAYED = [sender for sender in SENDERS if sender.relayed]
OURS = {address for sender in RELAYED for address in sender.addresses}
UTC_DAYS = {reporter.domain for reporter in REPORTERS if reporter.window == 0}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return sample.build(tmp_path_factory.mktemp("sample"), days=DAYS, today=TODAY)


@pytest.fixture(scope="module")
def answer(made: Sample) -> Reconciled:
    with made.open() as store:
        return reconcile(store, Filters(domains=("example.org",)), made.config.reconcile.receivers)


@cache
def arrived() -> tuple[traffic.Made, ...]:
    now = rhythm.midnight(TODAY) + 12 * rhythm.HOUR
    return tuple(one for one in traffic.year(TODAY, days=DAYS) if one.arrives < now)


def sums(answer: Reconciled, column: str) -> Counter[tuple[date, str]]:
    rows = answer.rows[answer.rows["matched_by"] != ""]
    found: Counter[tuple[date, str]] = Counter()
    for day, who, n in zip(rows["day"], rows["receiver"], rows[column], strict=True):
        found[day.date(), who] += int(n)
    return +found


def by_receiver(cells: Counter[tuple[date, str]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for (_, who), n in cells.items():
        found[who] += n
    return found


def test_each_report_counts_what_the_relay_delivered_in_its_period_to_its_receiver() -> None:
    log = [one for _, one in sentlog.log(TODAY, days=DAYS, until=rhythm.midnight(TODAY) + rhythm.DAY)]
    host_of = {host: receiver.reporter for receiver in RECEIVERS for host in receiver.hosts}
    checked = 0
    for one in arrived():
        if one.domain.name != "example.org":
            continue
        wanted = Counter(
            (mail.link.source, mail.from_domain, mail.dkim[0][1])
            for mail in log
            if mail.outcome == DELIVERED
            and host_of[mail.link.host] == one.reporter.domain
            and one.begin <= mail.at < one.end
        )
        told: Counter[tuple[str, str, str]] = Counter()
        for record in one.records:
            if record.source_ip in OURS:
                told[record.source_ip, record.shape.header_from, record.shape.dkim[0].selector or ""] += record.count
        assert told == wanted
        checked += len(wanted) > 0
    assert checked > 7 * DAYS


def test_the_same_day_makes_the_same_log_and_rows_have_growing_numbers() -> None:
    until = rhythm.midnight(TODAY)
    log = list(sentlog.log(TODAY, days=9, until=until))
    assert log == list(sentlog.log(TODAY, days=9, until=until))
    assert [number for number, _ in log] == list(range(1, len(log) + 1))
    assert all(one.at < until for _, one in log)
    assert {one.outcome for _, one in log} == {"delivered", "deferred", "failed"}


def test_the_store_says_what_was_made(made: Sample) -> None:
    with made.open() as store:
        with store.ledger.read() as conn:
            found = conn.execute(select(func.count(), func.sum(reports.c.messages))).one()
            duplicates = conn.execute(select(func.sum(reports.c.duplicates))).scalar()
            delivered = select(func.count()).select_from(sent_table).where(sent_table.c.outcome == DELIVERED)
            assert conn.execute(delivered).scalar() == sum(made.loop.sent.values())
        assert tuple(found) == (made.truth.reports, made.truth.messages)
        assert duplicates == made.truth.duplicates > 0
        assert int(store.daily()["messages"].sum()) == made.truth.messages


def test_every_report_came_at_its_own_second_and_was_verified(made: Sample) -> None:
    with made.open() as store, store.ledger.read() as conn:
        came = conn.execute(select(reports.c.received, reports.c.end, reports.c.auth, reports.c.submitter)).all()
        channels = set(conn.execute(select(items.c.channel)).scalars())
    assert Counter(one.received for one in came) == Counter(one.arrives for one in arrived())
    assert {one.auth for one in came} == {"pass"}
    assert channels == {"smtp"}
    assert all(one.end < one.received < made.now for one in came)
    late = [one.received - one.end for one in came if one.submitter == "officesuite.example"]
    assert max(late) > 48 * rhythm.HOUR


def test_the_comparison_says_of_each_day_and_receiver_what_was_sent_and_reported(
    made: Sample, answer: Reconciled
) -> None:
    assert sums(answer, "sent") == made.loop.sent
    assert sums(answer, "reported") == made.loop.reported
    assert set(answer.rows.loc[answer.rows["matched_by"] != "", "matched_by"]) == {"address"}


def test_the_comparison_says_how_many_signatures_broke_and_where(made: Sample, answer: Reconciled) -> None:
    found, wanted = sums(answer, "dkim_fail"), made.loop.broken
    assert by_receiver(found) == by_receiver(wanted)
    whole = {cell: n for cell, n in wanted.items() if cell[1] in UTC_DAYS}
    assert {cell: n for cell, n in found.items() if cell[1] in UTC_DAYS} == whole
    lost = [TODAY - timedelta(days=age) for age in range(20, 25)]
    during = sum(n for (day, _), n in whole.items() if day in lost)
    assert during > 10 * (sum(whole.values()) - during) > 0


def test_the_comparison_finds_what_happened_and_nothing_else(made: Sample, answer: Reconciled) -> None:
    found = answer.findings.groupby("code")["messages"].sum().astype(int).to_dict()
    assert {code: found.pop(code) for code in made.loop.other} == dict(made.loop.other)
    assert found.pop("dkim_broken") == sum(made.loop.broken.values())
    assert found == {}


def test_in_the_last_thirty_days_the_silent_reporter_is_told_of(made: Sample) -> None:
    window = Filters(domains=("example.org",), since=TODAY - timedelta(days=30), until=TODAY)
    with made.open() as store:
        recent = reconcile(store, window, made.config.reconcile.receivers)
    quiet = recent.findings[recent.findings["code"] == "unreported"]
    assert set(quiet["receiver"]) == {"quietpost.example"}
    first, yesterday = TODAY - timedelta(days=9), TODAY - timedelta(days=1)
    rows = recent.rows[(recent.rows["receiver"] == "quietpost.example") & (recent.rows["day"].dt.date >= first)]
    assert int(rows["reported"].sum()) == 0
    assert int(rows["sent"].sum()) == made.loop.by_receiver(made.loop.sent, first, yesterday)["quietpost.example"] > 0


def test_receivers_are_known_in_every_way_and_those_without_reports_are_left_out(
    made: Sample, answer: Reconciled
) -> None:
    known = dict(zip(answer.receivers["receiver"], answer.receivers["known_by"], strict=True))
    assert known["bigpost.example"] == ["recipient"]
    assert known["officesuite.example"] == ["envelope"]
    assert known["freemail-north.example"] == ["user"]
    assert known["krautmail.example"] == ["learned"]
    assert known["mailbox-one.example"] == ["mx"]
    lines = answer.receivers.set_index("receiver")
    assert made.loop.silent == {"village-hall.example", "old-mill.example"}
    for name in made.loop.silent:
        assert lines.loc[name, "counted"] == 0
        assert lines.loc[name, "silent"] == lines.loc[name, "sent"] > 0


def test_the_newest_day_is_open_where_a_report_is_late(answer: Reconciled) -> None:
    yesterday = answer.rows[answer.rows["day"].dt.date == TODAY - timedelta(days=1)]
    states = dict(zip(yesterday["receiver"], yesterday["state"], strict=True))
    assert states["officesuite.example"] == OPEN
    assert states["old-mill.example"] == SILENT


def test_without_a_day_the_sample_ends_in_the_past_also_where_a_loop_runs_as_in_a_notebook(tmp_path: Path) -> None:
    async def cell() -> Sample:
        return sample.build(tmp_path / "s", days=2)

    built = asyncio.run(cell())
    assert built.now <= datetime.now(UTC).timestamp()
    with built.open() as store:
        assert len(store.reports()) == built.truth.reports > 0
