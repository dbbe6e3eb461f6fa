"""An incident of several domains has the days of them all behind it; a notebook shows the one that it hit most."""

from __future__ import annotations

from pathlib import Path

from dmarcview.alerts import evidence, overdue, series
from dmarcview.alerts.evaluate import evaluate
from dmarcview.alerts.joined import RECENT_DAYS
from dmarcview.analysis import autopsy
from dmarcview.config import read
from dmarcview.store import SourceRow
from tests.reconcile_world import RELAY, mails, seen, told, world
from tests.store_data import D0, DAY

HOST = "192.0.2.99"  # sends for all of them
DOMAINS = {"a.example": 20, "b.example": 30, "c.example": 25}  # messages a day and reporter
SECOND = "192.0.2.26"  # another address of the relay
OTHER = "198.51.100.77"  # an address of ours that goes around the relay
DAYS, FAILS = 60, 54  # days since D0
NOW = D0 + DAYS * DAY + DAY // 2


def test_an_incident_of_many_domains_has_its_days_and_its_worst_domain(tmp_path: Path) -> None:
    reports = [
        told((HOST, count, seen(*["fail" if day >= FAILS else "pass"] * 2, d=name, header_from=name)), day=day, by=by,
             domain=name)
        for day in range(DAYS) for name, count in DOMAINS.items() for by in ("far.test", "away.test")
    ]  # fmt: skip
    with world(tmp_path, [], reports, now=NOW) as store:
        store.put_sources([SourceRow(name, HOST, "own", first_seen=D0) for name in DOMAINS])
        found = [one for one in evaluate(store, read("", {}, tmp_path), NOW) if one.cleared is None]
        (one,) = [one for one in found if one.kind == "dmarc_failing"]
        assert (one.domain, one.cause, one.domains) == ("", HOST, tuple(DOMAINS))
        days = evidence.of(store, one, NOW)
        assert days is not None
        during = days.daily[days.daily["day"].dt.date >= one.first_day]
        assert (during["failed"].sum(), during["total"].sum()) == (one.failed, one.total)
        picked = autopsy.pick(found, "dmarc_failing")
        assert picked is not None
        assert (picked.domain, picked.failed) == ("b.example", 6 * 2 * 30)
        cells = autopsy.cells(series.load(store, NOW // DAY), picked, overdue.load(store, NOW))
        assert cells["failed"].sum() == picked.failed


def test_what_only_the_join_or_a_name_can_tell_has_its_days_too(tmp_path: Path) -> None:
    news = seen("pass", "fail", d="news.example")
    reports, deliveries = [], []
    for day in range(DAYS):
        deliveries += [*mails(30, day), *mails(10, day, source=SECOND)]
        broken = 25 if day >= FAILS else 0
        rows = [(RELAY, 30 - broken, seen()), (RELAY, broken, seen("fail")), (OTHER, 4, seen(None, "pass"))]
        rows += [(SECOND, 10 + 8 * (day >= FAILS), seen())]
        rows += [("203.0.113.7", 9, news)] if day >= FAILS else []
        reports.append(told(*(row for row in rows if row[1]), day=day))
    with world(tmp_path, deliveries, reports, now=NOW) as store:
        store.put_sources(
            [SourceRow("example.org", ip, "own", messages=9, first_seen=D0) for ip in (RELAY, SECOND, OTHER)]
            + [SourceRow("example.org", "203.0.113.7", "unknown", messages=9, first_seen=D0, service="News")]
        )
        found = {one.kind: one for one in evaluate(store, read("", {}, tmp_path), NOW)}
        counted = {}
        for kind in ("signed_broken", "bypass", "not_sent", "new_source"):
            days = evidence.of(store, found[kind], NOW)
            assert days is not None
            counted[kind] = days.daily.set_index(days.daily["day"].dt.date)
        one = found["signed_broken"]
        during = counted["signed_broken"].loc[one.first_day :]
        assert (during["failed"].sum(), during["total"].sum()) == (one.failed, one.total) == (6 * 25, 6 * 48)
        around = counted["bypass"].loc[found["bypass"].first_day :]
        assert around["total"].sum() == found["bypass"].weight == 4 * len(around)
        assert len(around) > 2 * RECENT_DAYS
        assert counted["not_sent"]["total"].sum() == found["not_sent"].failed == 6 * 8
        assert counted["new_source"]["total"].sum() == found["new_source"].weight == 6 * 9
