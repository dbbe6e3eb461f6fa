"""The queue keeps what was promised, gives it back as it was, and lets it go when all is done."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from dmarcview_relay import queue_schema
from dmarcview_relay.envelope import Recipient
from dmarcview_relay.queue import Gone, Queue, QueueError
from dmarcview_relay.sentlog import SentLog
from dmarcview_relay.suppress import hard
from dmarcview_smtp.address import Address
from tests.relay_mails import AT, BUSY, LINK, TAKEN, UNKNOWN, address, attempt, mail, settled

SMALL, LARGE = b"Subject: small\r\n\r\nhello\r\n", b"Subject: large\r\n\r\n" + b"x" * 70_000 + b"\r\n"


class Clock:
    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Queue]]:
    made: list[Queue] = []

    def open_it(**more: Any) -> Queue:
        for each in made:
            each.close()
        made[:] = [Queue(tmp_path / "relay", reserve=0, clock=clock, **more)]
        return made[0]

    yield open_it
    for each in made:
        each.close()


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


def test_a_mail_comes_back_after_a_restart_just_as_it_was_put(opened: Callable[..., Queue]) -> None:
    queue = opened()
    full = dataclasses.replace(
        mail(eight_bit=True, utf8=True, require_tls=True, ret="FULL", envid="a+2Bb"),
        sender=Address("jö", "exämple.org"),
        recipients=(
            Recipient(Address("a b", "example.net"), ("SUCCESS", "DELAY"), "rfc822;a+20b@example.net"),
            Recipient(Address("jö", "exämple.net"), ("NEVER",)),
        ),
        size=len(SMALL),
    )
    put = run(queue.put(full, SMALL))
    assert put.mail == full
    (found,) = opened().waiting()
    assert found == put
    assert run(opened().content(found)) == SMALL


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["inside", "as a file"])
def test_a_mail_and_its_body_leave_with_the_last_recipient(
    opened: Callable[..., Queue], tmp_path: Path, content: bytes
) -> None:
    queue = opened()
    put = run(queue.put(mail("a@example.net", "b@example.org"), content))
    assert run(queue.content(put)) == content
    run(queue.settle(put, [settled(put, 0)]))
    (left,) = queue.waiting()
    assert left.tickets == put.tickets[1:]
    assert left.mail.recipients == put.mail.recipients[1:]
    assert run(queue.content(left)) == content
    run(queue.settle(left, [settled(left, 0, UNKNOWN)]))
    assert list(queue.waiting()) == []
    assert queue.count() == {"mails": 0, "bytes": 0, "waiting": 0, "held": 0, "dead": 0, "sent": 2}
    assert list((tmp_path / "relay" / "bodies").iterdir()) == []
    with pytest.raises(Gone):
        run(queue.content(put))


def test_a_wrong_size_in_the_envelope_loses_no_body(opened: Callable[..., Queue]) -> None:
    for content, size in ((SMALL, 1_000_000), (LARGE, 1)):
        put = run(opened().put(mail(size=size), content))
        assert put.mail.size == len(content)
        assert run(opened().content(put)) == content


def test_a_deferred_recipient_waits_with_what_was_said_and_counts_its_tries(opened: Callable[..., Queue]) -> None:
    queue = opened()
    put = run(queue.put(mail(), SMALL))
    run(queue.settle(put, [settled(put, 0, BUSY, next_at=AT + 300, warned=True)]))
    (found,) = opened().waiting()
    assert found.tickets == (put.tickets[0]._replace(tries=1, next_at=AT + 300, warned=True),)


def test_bounces_are_queued_in_the_transaction_that_settles(opened: Callable[..., Queue]) -> None:
    queue = opened()
    put = run(queue.put(mail(), SMALL))
    bounce = mail("news@example.org", sender="", kind="bounce")
    (new,) = run(queue.settle(put, [settled(put, 0, UNKNOWN)], [(bounce, LARGE)]))
    assert new.mail.sender is None
    assert run(queue.content(new)) == LARGE
    assert list(queue.waiting()) == [new]


def test_what_a_hostile_host_says_never_stops_a_settlement(opened: Callable[..., Queue], tmp_path: Path) -> None:
    queue = opened()
    put = run(queue.put(mail("a@example.net", "b@example.net"), SMALL))
    evil = BUSY._replace(text="\udcff\udc80 \x00\x1b[2J é 名", enhanced="\ud800")
    run(queue.settle(put, [settled(put, 0, evil, next_at=AT + 1), settled(put, 1)]))
    log = SentLog(tmp_path / "relay")
    (_, first), (_, second) = log.pending(10)
    log.close()
    assert first.reply.text == "?? \x00\x1b[2J é 名"
    assert second.reply == TAKEN


def test_held_mail_waits_until_it_is_released_for_its_reason(opened: Callable[..., Queue]) -> None:
    queue = opened()
    by_hand = run(queue.put(mail(hold="by hand"), SMALL))
    by_dns = run(queue.put(mail("a@example.net", "b@example.net", hold="dkim s1: not in the DNS"), SMALL))
    assert list(queue.waiting()) == []
    assert queue.count()["held"] == 3
    (freed,) = run(queue.release("dkim "))
    assert (freed.id, freed.tickets, freed.mail.hold) == (by_dns.id, by_dns.tickets, "")
    assert list(queue.waiting()) == [freed]
    assert run(queue.release("dkim ")) == []
    assert run(queue.release("%")) == []
    assert [each.id for each in run(queue.release("by"))] == [by_hand.id]


def test_a_dead_recipient_is_kept_and_not_tried(opened: Callable[..., Queue]) -> None:
    queue = opened()
    put = run(queue.put(mail(sender=""), SMALL))
    run(queue.settle(put, [settled(put, 0, UNKNOWN, dead=True)]))
    assert list(opened().waiting()) == []
    assert opened().count()["dead"] == 1
    assert run(opened().content(put)) == SMALL


def test_a_late_result_for_a_recipient_that_is_gone_meets_no_other(opened: Callable[..., Queue]) -> None:
    queue = opened()
    first = run(queue.put(mail(), SMALL))
    run(queue.settle(first, [settled(first)]))
    second = run(opened().put(mail(), SMALL))
    assert not {second.number, second.tickets[0].number} & {first.number, first.tickets[0].number}
    run(opened().settle(first, [settled(first)]))
    assert [each.id for each in opened().waiting()] == [second.id]


def test_ids_are_never_given_twice_even_when_the_clock_stands_or_jumps_back(
    opened: Callable[..., Queue], clock: Clock
) -> None:
    seen = [opened().new_id() for _ in range(50)]
    clock.now -= 1_000
    queue = opened()
    seen += [queue.new_id() for _ in range(50)]
    clock.now -= 1_000
    seen += [queue.new_id() for _ in range(50)]
    assert len(set(seen)) == 150
    assert all(each.isascii() and each.isalnum() and len(each) == 12 for each in seen)


def test_a_mail_may_be_put_under_an_id_that_was_asked_for_before(opened: Callable[..., Queue]) -> None:
    queue = opened()
    wanted = queue.new_id()
    assert run(queue.put(mail(), SMALL, wanted)).id == wanted


def test_the_reserve_of_the_disk_is_for_bounces_and_results_only(tmp_path: Path) -> None:
    room = 1_000
    queue = Queue(tmp_path, reserve=900, free=lambda _: room)
    assert queue.has_room(100)
    assert not queue.has_room(101)
    put = run(queue.put(mail(), SMALL))
    room = 10
    with pytest.raises(QueueError, match="reserve"):
        run(queue.put(mail(), SMALL))
    assert len(run(queue.settle(put, [settled(put, 0, UNKNOWN)], [(mail(sender=""), SMALL)]))) == 1
    queue.close()


def test_ten_thousand_mails_are_found_again_without_their_bodies(opened: Callable[..., Queue]) -> None:
    queue = opened()

    async def fill() -> None:
        each = mail()
        await asyncio.gather(*(queue.put(each, SMALL * 40) for _ in range(10_000)))

    run(fill())
    queue = opened()
    statements: list[str] = []
    queue._reader.set_trace_callback(statements.append)
    found = list(queue.waiting())
    assert len({each.id for each in found}) == 10_000
    assert len(statements) < 40
    assert not any("content" in each for each in statements)


# what recipients may get


def test_a_host_that_knows_no_such_mailbox_suppresses_the_address_for_a_time(
    opened: Callable[..., Queue], clock: Clock
) -> None:
    queue = opened(suppress=100.0)
    put = run(queue.put(mail("Bob@Example.net", "full@example.net", "gone@example.net"), SMALL))
    full = UNKNOWN._replace(enhanced="5.2.2", text="Mailbox full")
    run(queue.settle(put, [settled(put, 0, UNKNOWN), settled(put, 1, full), settled(put, 2, UNKNOWN, dead=True)]))
    found = queue.suppressed(address("bob@EXAMPLE.net"))
    assert found
    assert (found.address, found.reason, found.until) == ("bob@example.net", "550 5.1.1 No such user", AT + 100)
    assert queue.suppressed(address("full@example.net")) is None
    clock.now += 101
    assert queue.suppressed(address("bob@example.net")) is None


def test_nothing_is_suppressed_when_it_is_switched_off_or_not_final(opened: Callable[..., Queue]) -> None:
    queue = opened(suppress=0)
    put = run(queue.put(mail(), SMALL))
    run(queue.settle(put, [settled(put, 0, UNKNOWN)]))
    assert queue.suppressed(address("bob@example.net")) is None
    assert not hard(attempt(put, put.tickets[0], UNKNOWN._replace(code=450), "deferred"))


def test_the_daily_cap_counts_each_recipient_by_utc_day_and_across_restarts(
    opened: Callable[..., Queue], clock: Clock
) -> None:
    queue, bob = opened(), address("bob@example.net")
    assert [queue.within_day(bob, 2) for _ in range(3)] == [True, True, False]
    assert queue.within_day(address("ann@example.net"), 2)
    run(queue.put(mail(), SMALL))
    assert not opened().within_day(address("BOB@EXAMPLE.NET"), 2)
    queue = opened()
    clock.now += 86_400
    assert [queue.within_day(bob, 2) for _ in range(3)] == [True, True, False]
    run(queue.put(mail(), SMALL))
    assert not opened().within_day(bob, 2)
    clock.now += 86_400
    assert opened().within_day(bob, 2)


# the sent log


def test_the_sent_log_gives_rows_until_they_are_shipped_and_never_reuses_a_number(
    opened: Callable[..., Queue], tmp_path: Path
) -> None:
    queue = opened()
    puts = [run(queue.put(mail(), SMALL)) for _ in range(3)]
    for put in puts:
        run(queue.settle(put, [settled(put)]))
    log = SentLog(tmp_path / "relay")
    rows = log.pending(2)
    assert [row for _, row in rows] == [attempt(put, put.tickets[0]) for put in puts[:2]]
    assert rows[0][1].link == LINK
    log.shipped(log.pending(10)[-1][0])
    assert log.pending(10) == []
    last = run(opened().put(mail(), SMALL))
    run(opened().settle(last, [settled(last)]))
    assert log.pending(1)[0][0] > rows[-1][0] + 1
    log.prune(AT)
    assert len(log.pending(10)) == 1
    log.prune(AT + 2)
    assert log.pending(10) == []
    log.close()


def test_the_sent_log_hides_local_parts_alike_for_all_who_ask_and_otherwise_in_each_queue(
    opened: Callable[..., Queue], tmp_path: Path
) -> None:
    queue, bob = opened(), address("Bob@Exämple.net")
    log = SentLog(tmp_path / "relay")
    hidden = log.logged(bob, plain=False)
    assert hidden == queue.logged(address("bob@exämple.net"), plain=False)
    assert hidden.endswith("@xn--exmple-cua.net")
    assert "bob" not in hidden.lower()
    assert log.logged(bob, plain=True) == "Bob@Exämple.net"
    other = Queue(tmp_path / "other", reserve=0)
    assert other.logged(bob, plain=False) != hidden
    other.close()
    log.close()


def test_the_sent_log_of_a_relay_that_never_ran_is_gone(tmp_path: Path) -> None:
    with pytest.raises(Gone, match="no queue"):
        SentLog(tmp_path)
    assert list(tmp_path.iterdir()) == []


# the file


def test_a_queue_of_a_newer_version_is_refused_in_a_sentence_and_left_alone(
    opened: Callable[..., Queue], tmp_path: Path
) -> None:
    run(opened().put(mail(), SMALL))
    opened().close()
    path = tmp_path / "relay" / queue_schema.FILE
    link = sqlite3.connect(path)
    link.execute("pragma user_version = 99")
    link.close()
    before = path.read_bytes()
    for use in (lambda: Queue(tmp_path / "relay", reserve=0), lambda: SentLog(tmp_path / "relay")):
        with pytest.raises(QueueError, match="format 99, this version knows format 1: run the version that wrote it"):
            use()
    assert path.read_bytes() == before
    link = sqlite3.connect(path)
    link.execute("pragma user_version = 1")
    link.close()
    assert len(list(opened().waiting())) == 1


@pytest.mark.parametrize("wrong", [b"not a database at all" * 100, None], ids=["noise", "another database"])
def test_a_file_that_is_no_queue_is_refused(tmp_path: Path, wrong: bytes | None) -> None:
    path = tmp_path / queue_schema.FILE
    if wrong is None:
        link = sqlite3.connect(path)
        link.execute("create table other (a)")
        link.close()
    else:
        path.write_bytes(wrong)
    with pytest.raises(QueueError, match=r"not a queue|cannot open"):
        Queue(tmp_path, reserve=0)


def test_the_queue_keeps_the_promises_of_the_database_that_durability_needs(opened: Callable[..., Queue]) -> None:
    link = opened()._writer._link
    assert link is not None
    assert link.execute("pragma journal_mode").fetchone() == ("wal",)
    assert link.execute("pragma synchronous").fetchone() == (2,)  # FULL: a sync for each commit


def test_two_queues_made_at_the_same_moment_are_one(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from dmarcview_relay.queue_schema import connect, meta\n"
        "sys.stdin.readline(); print(meta(connect(pathlib.Path(sys.argv[1]), create=True), 'instance'))"
    )
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "relay")], stdin=subprocess.PIPE, env=path,
                         stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]  # fmt: skip
    said = [process.communicate("go\n", timeout=60)[0] for process in started]
    assert len(set(said)) == 1
    assert len(json.dumps(said[0].strip())) == 18


def test_after_a_rush_the_file_gives_its_room_back(opened: Callable[..., Queue], tmp_path: Path) -> None:
    queue = opened()
    body = b"y" * 65_000

    async def rush() -> None:
        puts = await asyncio.gather(*(queue.put(mail(), body) for _ in range(1_300)))
        await asyncio.gather(*(queue.settle(put, [settled(put)]) for put in puts))

    run(rush())
    link = queue._writer._link
    assert link is not None
    assert link.execute("pragma freelist_count").fetchone()[0] > 16_000
    left = run(queue.put(mail(), SMALL))
    queue._free = lambda _: 0
    assert queue.has_room(60_000_000), "room inside the file is room"
    assert not queue.has_room(200_000_000)
    opened()
    assert (tmp_path / "relay" / queue_schema.FILE).stat().st_size < 10_000_000
    assert [each.id for each in opened().waiting()] == [left.id]
