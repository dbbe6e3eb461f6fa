"""What domains published and when, in the ledger: on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dmarcview.store import Store
from dmarcview.store import records_seen as seen
from dmarcview.store.ledger import Ledger, counter
from dmarcview.store.records_seen import DKIM, SPF, Observed, Seen
from tests.store_data import D0, DAY

A, B, C = "v=spf1 -all", "v=spf1 mx -all", "v=spf1 a -all"
LATER = 300  # seconds until a second look
HOURS = 6 * 3_600


@pytest.fixture
def ledger(ledger_url: str | None, tmp_path: Path) -> Iterator[Ledger]:
    with Store.open(tmp_path / "data", url=ledger_url) as store:
        yield store.ledger


def look(ledger: Ledger, value: str, now: int, domain: str = "example.org", name: str = "", kind: str = SPF) -> int:
    return seen.note(ledger, [Observed(domain, kind, name or domain, value)], now)


def rows(ledger: Ledger, domain: str = "example.org") -> list[tuple[str, int, int]]:
    return [(one.value, one.first - D0, one.last - D0) for one in seen.history(ledger, [domain])]


def test_a_record_that_stays_is_one_row_whose_end_moves_on(ledger: Ledger) -> None:
    assert [look(ledger, A, D0 + n * HOURS) for n in range(4)] == [1, 0, 0, 0]
    assert rows(ledger) == [(A, 0, 3 * HOURS)]


def test_a_change_is_a_row_of_its_own_from_the_first_look_that_found_it(ledger: Ledger) -> None:
    for at, value in ((0, A), (HOURS, A), (2 * HOURS, B), (2 * HOURS + LATER, B)):
        look(ledger, value, D0 + at)
    assert rows(ledger) == [(A, 0, HOURS), (B, 2 * HOURS, 2 * HOURS + LATER)]
    assert [one.lasts for one in seen.history(ledger, ["example.org"])] == [True, True]
    (now,) = seen.current(ledger, "example.org")
    assert now == Seen("example.org", SPF, "example.org", B, D0 + 2 * HOURS, D0 + 2 * HOURS + LATER, now.id)


def test_what_one_look_alone_has_seen_is_forgotten(ledger: Ledger) -> None:
    for at, value in ((0, A), (HOURS, A), (2 * HOURS, ""), (2 * HOURS + LATER, A), (3 * HOURS, A)):
        look(ledger, value, D0 + at)
    assert rows(ledger) == [(A, 0, 3 * HOURS)]
    assert seen.changes(ledger, ["example.org"]) == []


def test_what_one_look_has_seen_gives_way_to_what_the_next_one_finds(ledger: Ledger) -> None:
    for at, value in ((0, A), (HOURS, A), (2 * HOURS, B), (2 * HOURS + LATER, C), (3 * HOURS, C)):
        look(ledger, value, D0 + at)
    assert rows(ledger) == [(A, 0, HOURS), (C, 2 * HOURS + LATER, 3 * HOURS)]


def test_two_looks_within_a_moment_are_one(ledger: Ledger) -> None:
    for at, value in ((0, A), (HOURS, A), (2 * HOURS, ""), (2 * HOURS + 2, "")):
        look(ledger, value, D0 + at)
    assert [one.lasts for one in seen.history(ledger, ["example.org"])] == [True, False]


def test_a_look_that_comes_late_changes_nothing(ledger: Ledger) -> None:
    look(ledger, A, D0 + HOURS)
    assert look(ledger, B, D0) == 0
    assert rows(ledger) == [(A, HOURS, HOURS)]


def test_changes_are_given_newest_first_with_what_was_before(ledger: Ledger) -> None:
    key = "s1._domainkey.example.org"
    for at, value in ((0, A), (DAY, A), (2 * DAY, B), (3 * DAY, B), (4 * DAY, C), (5 * DAY, C)):
        look(ledger, value, D0 + at + 60)
    for at, value in ((0, "p=QUJD"), (2 * DAY, "p=QUJD"), (3 * DAY, ""), (4 * DAY, "")):
        look(ledger, value, D0 + at, name=key, kind=DKIM)
    look(ledger, A, D0, domain="example.net")
    found = seen.changes(ledger, ["example.org", "example.net"])
    assert [((one.day - D0) // DAY, one.kind, one.before, one.after) for one in found] == [
        (4, SPF, B, C),
        (3, DKIM, "p=QUJD", ""),
        (2, SPF, A, B),
    ]
    within = seen.changes(ledger, ["example.org"], since=D0 + 3 * DAY, until=D0 + 4 * DAY)
    assert [(one.name, one.at - D0) for one in within] == [(key, 3 * DAY)]
    assert len(seen.changes(ledger, ["example.org"], limit=2)) == 2


def test_one_record_may_concern_two_domains(ledger: Ledger) -> None:
    key = "s1._domainkey.example.org"
    for domain in ("example.org", "news.example.org"):
        look(ledger, "p=QUJD", D0, domain=domain, name=key, kind=DKIM)
    assert rows(ledger) == rows(ledger, "news.example.org") == [("p=QUJD", 0, 0)]


def test_the_history_of_a_record_that_never_rests_is_bounded(ledger: Ledger) -> None:
    for n in range(seen.KEPT + 20):
        look(ledger, f"{A} {n}", D0 + n * DAY)
        look(ledger, f"{A} {n}", D0 + n * DAY + LATER)
    found = rows(ledger)
    assert len(found) == seen.KEPT
    assert found[-1][0] == f"{A} {seen.KEPT + 19}"


def test_a_record_of_any_bytes_is_kept_and_a_very_long_one_is_told_from_another(ledger: Ledger) -> None:
    evil = "v=spf1 \x00\ud800\x1b[2J" + "x" * 70_000
    assert look(ledger, evil, D0) == 1
    assert look(ledger, evil, D0 + HOURS) == 0
    assert look(ledger, evil + "y", D0 + 2 * HOURS) == 1
    first = seen.history(ledger, ["example.org"])[0].value
    assert len(first) < seen.VALUE_CHARACTERS + 100
    assert "\x00" not in first


def test_pages_hear_of_a_change_and_of_nothing_else(ledger: Ledger) -> None:
    def count() -> int:
        with ledger.read() as conn:
            return counter(conn, "alerts")

    look(ledger, A, D0)
    first = count()
    look(ledger, A, D0 + HOURS)
    assert seen.note(ledger, [], D0 + HOURS) == 0
    assert count() == first
    look(ledger, B, D0 + 2 * HOURS)
    assert count() == first + 1


def test_what_nobody_has_found_for_long_is_let_go(ledger: Ledger) -> None:
    look(ledger, A, D0)
    look(ledger, A, D0 + 90 * DAY, domain="example.net")
    assert seen.prune(ledger, D0 + 100 * DAY, 0) == 0
    assert seen.prune(ledger, D0 + 100 * DAY, 30) == 1
    assert (rows(ledger), len(rows(ledger, "example.net"))) == ([], 1)
