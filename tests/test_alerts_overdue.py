"""What is said when reports stop: of one reporter, of a whole domain, of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dmarcview.alerts.model import Member
from dmarcview.alerts.overdue import EVERYONE, Receipt, findings, load
from dmarcview.alerts.silence import DAY
from tests.reconcile_world import seen, told, world
from tests.store_data import D0

TODAY = 20_500
NOW = TODAY * DAY + DAY // 2
REPORTERS = tuple(f"r{number}.example" for number in range(6))


def daily(domain: str, reporters: Iterable[str] = REPORTERS, *, until: int = 1, since: int = 80) -> list[Receipt]:
    """A report a day, the newest `until` days ago."""
    return [Receipt(domain, who, TODAY - ago, (TODAY - ago + 1) * DAY + 6 * 3600, (TODAY - ago + 1) * DAY + 6 * 3600)
            for who in reporters for ago in range(until, since)]  # fmt: skip


def test_a_domain_that_nobody_reports_on_any_more_is_told_beside_others() -> None:
    (one,) = findings([*daily("example.org"), *daily("example.net", until=6)], NOW)
    assert (one.kind, one.domain, one.cause, one.level) == ("intake_fault", "example.net", EVERYONE, "act")
    assert (one.weight, (one.last_day - one.first_day).days) == (5, 4)
    assert one.members == tuple(Member(name, 0, 74) for name in REPORTERS)
    assert "of example.net are overdue" in one.text


def test_two_reporters_that_leave_a_domain_are_members_of_one_finding() -> None:
    rows = [*daily("example.org"), *daily("example.net", REPORTERS[:2], until=6)]
    assert [(one.kind, one.domain, len(one.members)) for one in findings(rows, NOW)] == [
        ("intake_fault", "example.net", 2)]  # fmt: skip


def test_the_only_reporter_of_a_domain_is_told_by_its_name() -> None:
    rows = [*daily("example.org"), *daily("example.net", REPORTERS[:1], until=6)]
    assert [(one.kind, one.domain, one.cause) for one in findings(rows, NOW)] == [
        ("reporter_silent", "example.net", REPORTERS[0])]  # fmt: skip


def test_a_reporter_that_leaves_all_domains_is_told_once() -> None:
    rows = [row for domain in ("example.org", "example.net") for row in
            [*daily(domain, REPORTERS[1:]), *daily(domain, REPORTERS[:1], until=6)]]  # fmt: skip
    (one,) = findings(rows, NOW)
    assert (one.kind, one.domain, one.cause) == ("reporter_silent", "", REPORTERS[0])
    assert one.members == (Member("example.net", 0, 74), Member("example.org", 0, 74))


def test_a_crowd_of_one_stranger_is_one_reporter_and_hides_no_silence() -> None:
    """Sixty submitters of one organisation that stop on the day on which a real reporter does."""
    good = [*daily("example.org", REPORTERS[:4]), *daily("example.org", REPORTERS[4:5], until=9)]
    crowd = daily("example.org", [f"n{n}.evil.example" for n in range(60)], until=9)
    assert [one.cause for one in findings(good, NOW)] == [REPORTERS[4]]
    assert [one.cause for one in findings([*good, *crowd], NOW)] == ["evil.example", REPORTERS[4]]
    shifting = [row for n in range(60) for row in daily("example.org", [f"n{n}.evil.example"], since=n + 8, until=n)]
    assert [one.cause for one in findings([*good, *shifting], NOW)] == [REPORTERS[4]]


def test_a_reporter_is_called_by_its_submitter_where_it_has_one() -> None:
    rows = daily("example.org")
    assert [one.cause for one in findings([*rows, *daily("example.org", ["mail.gone.example"], until=9)], NOW)] == [
        "mail.gone.example"]  # fmt: skip
    going_on = [*daily("example.org", ["mail.gone.example"], until=9), *daily("example.org", ["gone.example"])]
    assert findings([*rows, *going_on], NOW) == []


def test_when_nobody_reports_on_anything_that_is_told_once() -> None:
    (one,) = findings([*daily("example.org", until=6), *daily("example.net", until=6)], NOW)
    assert (one.kind, one.domain, one.cause) == ("intake_fault", "", EVERYONE)
    (alone,) = findings(daily("example.org", until=6), NOW)
    assert (alone.kind, alone.domain, alone.cause) == ("intake_fault", "example.org", EVERYONE)


def test_nobody_is_overdue_where_all_report_or_nothing_came() -> None:
    assert findings([*daily("example.org"), *daily("example.net")], NOW) == []
    assert findings([], NOW) == []


def test_receipts_of_one_day_are_one_row_with_the_first_and_the_last(tmp_path: Path) -> None:
    row = ("192.0.2.25", 1, seen())
    reports = [
        told(row, day=1, late=5 * DAY),
        told(row, day=1, late=DAY),
        told(row, day=2),
        told(row, day=1, by="b.test"),
    ]
    with world(tmp_path, [], reports, now=D0 + 40 * DAY) as store:
        first, end = D0 // DAY + 1, D0 + 2 * DAY
        assert sorted(load(store, D0 + 40 * DAY)) == [
            Receipt("example.org", "b.test", first, end + DAY // 2, end + DAY // 2),
            Receipt("example.org", "far.test", first, end + DAY, end + 5 * DAY),
            Receipt("example.org", "far.test", first + 1, end + DAY + DAY // 2, end + DAY + DAY // 2),
        ]
