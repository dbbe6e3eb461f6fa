"""What only the join of sent log and reports can tell: bad signatures on our mail, mail never sent, ways around."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from dmarcview.alerts.joined import findings
from dmarcview.alerts.model import Finding
from dmarcview.query import Filters
from dmarcview.reconcile import Reconciled, reconcile
from dmarcview.store.facts import SourceRow
from dmarcview_relay.outcome import Attempt
from tests.reconcile_world import NOW, RELAY, mails, seen, told, world
from tests.store_data import D0, DAY

TODAY = D0 // DAY + 12


def compared(folder: Path, deliveries: Sequence[Attempt], reports: Sequence[Any]) -> Reconciled:
    with world(folder, deliveries, reports, now=D0 + 12 * DAY + DAY // 2) as store:
        store.put_sources([SourceRow("example.org", RELAY, "own"), SourceRow("example.org", "192.0.2.99", "own")])
        return reconcile(store)


def found(folder: Path, deliveries: Sequence[Attempt], reports: Sequence[Any]) -> list[Finding]:
    return findings(compared(folder, deliveries, reports), TODAY)


def days(count: int, failing: int = 0, **how: Any) -> tuple[list[Attempt], list[Any]]:
    """Ten mails a day to each of two receivers; of the newest `failing` days both say that the signature is bad."""
    deliveries, reports = [], []
    for day in range(count):
        bad = day >= count - failing
        for host in ("far.test", "away.test"):
            deliveries += mails(10, day, host=f"mx.{host}", recipient_domain=host)
            reports.append(told((RELAY, 10, seen("fail" if bad else "pass", **how)), day=day, by=host))
    return deliveries, reports


def test_bad_signatures_at_two_receivers_are_told_on_the_first_day(tmp_path: Path) -> None:
    (one,) = found(tmp_path, *days(11, 1))
    assert (one.kind, one.domain, one.cause) == ("signed_broken", "example.org", "selector s1 of example.org")
    assert (one.failed, one.total, one.first_day) == (20, 20, date(2026, 1, 11))
    assert {(member.name, member.failed, member.total) for member in one.members} == {
        ("far.test", 10, 10), ("away.test", 10, 10)}  # fmt: skip
    assert "we signed with s1 of example.org" in one.text


def test_good_signatures_are_no_word(tmp_path: Path) -> None:
    assert found(tmp_path, *days(11)) == []


def test_one_bad_signature_in_a_week_is_no_word(tmp_path: Path) -> None:
    deliveries, reports = days(11)
    deliveries += mails(1, 9, host="mx.third.test", recipient_domain="third.test")
    reports.append(told((RELAY, 1, seen("fail")), day=9, by="third.test"))
    assert found(tmp_path, deliveries, reports) == []


def test_what_the_relay_never_sent_and_its_address_is_named_for_is_told(tmp_path: Path) -> None:
    deliveries, reports = days(11)
    reports.append(told((RELAY, 9, seen()), day=8, by="elsewhere.test"))
    (one,) = found(tmp_path, deliveries, reports)
    assert (one.kind, one.cause, one.weight, one.level) == ("not_sent", RELAY, 9, "act")
    assert one.first_day == one.last_day == date(2026, 1, 9)


def test_a_host_that_goes_around_the_relay_is_told(tmp_path: Path) -> None:
    deliveries, reports = days(11)
    reports.append(told(("192.0.2.99", 7, seen(None)), day=8))
    (one,) = found(tmp_path, deliveries, reports)
    assert (one.kind, one.cause, one.weight, one.level) == ("bypass", "192.0.2.99", 7, "watch")


def test_where_the_relay_carries_little_others_may_send(tmp_path: Path) -> None:
    deliveries, reports = days(11)
    reports.append(told(("192.0.2.99", 9_000, seen(None)), day=8))
    assert found(tmp_path, deliveries, reports) == []


def test_forgers_are_not_hosts_of_ours(tmp_path: Path) -> None:
    deliveries, reports = days(11)
    reports.append(told(("203.0.113.66", 40, seen(None, "fail")), day=8))
    assert found(tmp_path, deliveries, reports) == []


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_reports_changes_nothing(order: int, tmp_path: Path) -> None:
    deliveries, reports = days(11, 2)
    assert found(tmp_path / "a", deliveries, reports[::order]) == found(tmp_path / "b", deliveries, reports)


def test_mail_from_before_the_relay_was_there_is_no_word(tmp_path: Path) -> None:
    deliveries, reports = days(11)
    fresh = [one for one in deliveries if one.at >= D0 + 8 * DAY]
    others = [told((RELAY, 10, seen(None)), ("192.0.2.99", 9, seen(None)), day=day, by=host)
              for day in range(8) for host in ("far.test", "away.test")]  # fmt: skip
    assert found(tmp_path, fresh, [*others, *reports[16:]]) == []


def test_a_new_relay_says_nothing_of_a_report_that_began_before_it(tmp_path: Path) -> None:
    deliveries, early = [], []
    for host in ("far.test", "away.test"):
        for day, hour in ((8, 19), (9, 5)):
            deliveries += mails(10, day, hour=hour, host=f"mx.{host}", recipient_domain=host)
        early.append(told((RELAY, 30, seen(None)), day=8 + 1 / 3, by=host))
    assert found(tmp_path, deliveries, early) == []


def test_mail_that_a_relay_of_three_days_never_sent_is_told(tmp_path: Path) -> None:
    deliveries, reports = days(11)
    fresh = [one for one in deliveries if one.at >= D0 + 7 * DAY]
    reports += [told((RELAY, 9, seen()), day=10, by="elsewhere.test"), told(("192.0.2.99", 7, seen(None)), day=10)]
    assert [(one.kind, one.cause, one.weight) for one in found(tmp_path, fresh, reports)] == [
        ("not_sent", RELAY, 9), ("bypass", "192.0.2.99", 7)]  # fmt: skip


@pytest.mark.parametrize("source", [RELAY, "10.0.0.5"])
def test_a_rare_mailing_is_judged_though_its_last_one_was_before_the_window(source: str, tmp_path: Path) -> None:
    """Mailings on days 20, 50 and 115; of the last all signatures are bad. The window has 60 days."""
    last, deliveries, reports = 115, [], []
    for day in (20, 50, last):
        for host in ("far.test", "away.test"):
            deliveries += mails(200, day, host=f"mx.{host}", recipient_domain=host, source=source)
            shapes = [(RELAY, 199, seen("fail" if day == last else "pass")), (RELAY, 1, seen())]
            reports.append(told(*shapes, day=day, by=host))
    with world(tmp_path, deliveries, reports, now=D0 + 120 * DAY) as store:
        within = reconcile(store, Filters(since=date(2026, 3, 2), until=date(2026, 5, 1)))
    assert within.rows["sent"].sum() == 400
    (one,) = findings(within, D0 // DAY + 120)
    assert (one.kind, one.failed, one.total) == ("signed_broken", 398, 400)


def test_of_a_log_without_recent_rows_nothing_is_said(tmp_path: Path) -> None:
    assert findings(compared(tmp_path, *days(11)), TODAY + 60) == []


def test_without_a_sent_log_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert found(tmp_path, [], [told((RELAY, 9, seen()), day=8)]) == []
    assert NOW > D0
