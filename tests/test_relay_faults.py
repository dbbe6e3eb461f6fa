"""A full disk, a broken queue, missing keys and a restart: the relay says so, promises nothing false, and goes on."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from relay_handing import Caller
from relay_handing import hand_in as hand
from relay_sink import Sink
from test_relay_worker import put, relaying, route, sent, settings, until

from dmarcview_relay import drop, settling, worker
from dmarcview_relay import relay as relay_module
from dmarcview_relay.dkimdns import record
from dmarcview_relay.dns import Answer
from dmarcview_relay.envelope import Recipient
from dmarcview_relay.keys import KeyRing
from dmarcview_relay.queue import Queue, QueueError
from dmarcview_relay.queue_admin import HELD, QueueAdmin
from dmarcview_relay.relay import Relay
from dmarcview_relay.settings import Care, ClientLimits, Keys, Schedule
from dmarcview_smtp.address import read_address
from tests.relay_mails import mail

MAIL = b"From: a@load.test\r\nMessage-ID: <m@load.test>\r\n\r\nhello\r\n.\r\n"


class Table:
    """A DNS that shows these TXT records and no others."""

    def __init__(self) -> None:
        self.shown: dict[str, str] = {}

    async def ask(self, kind: str, name: str) -> Answer:
        text = self.shown.get(name) if kind == "TXT" else None
        return Answer((f'"{text}"',) if text else (), text is not None)


async def hand_in(relay: Relay) -> list[str]:
    """Send one mail; the replies to RCPT or whatever ended it."""
    reader, writer = await asyncio.open_connection(*relay.listening[0])
    replies = []
    for line in (
        b"",
        b"HELO load.test\r\n",
        b"MAIL FROM:<a@load.test>\r\n",
        b"RCPT TO:<x@far.test>\r\n",
        b"DATA\r\n",
        MAIL,
    ):
        writer.write(line)
        async with asyncio.timeout(20):
            replies.append((await reader.readline()).decode())
        if replies[-1][0] in "45":
            break
    writer.close()
    await writer.wait_closed()
    return replies


def test_a_domain_without_a_key_is_550_and_nothing_is_queued(tmp_path: Path) -> None:
    async def story() -> None:
        async with relaying(tmp_path, settings()) as relay:
            last = (await hand_in(relay))[-1]
            assert last.startswith("550 5.7.20 ")
            assert "load.test" in last
            assert relay.queue.count()["mails"] == 0

    asyncio.run(story())


def test_a_mail_whose_key_the_dns_does_not_show_waits_and_leaves_when_it_does(tmp_path: Path) -> None:
    key = KeyRing(tmp_path / "relay" / "keys").new("load.test", "sel")

    async def story() -> None:
        table, sink = Table(), await Sink().start()
        wanted = settings(route("*", sink.port), keys=Keys(check="hold", check_seconds=0.0))
        relay = Relay(wanted, tmp_path / "relay", table)
        await relay.start()
        assert (await hand_in(relay))[-1].startswith("250 2.0.0 Queued")
        admin = QueueAdmin(tmp_path / "relay")
        (held,) = admin.found(state=HELD)
        admin.close()
        assert "sel._domainkey.load.test" in held.entries[0].hold
        assert await relay.free_held() == 0
        assert not sink.connections
        table.shown[key.name] = record(key)
        assert await relay.free_held() == 1
        await until(lambda: sink.taken["m@load.test"])
        await relay.stop()
        await sink.stop()

    asyncio.run(story())


def test_a_queue_that_cannot_be_written_gives_452_and_no_250(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    KeyRing(tmp_path / "relay" / "keys").new("load.test", "sel")

    async def story() -> None:
        async with relaying(tmp_path, settings()) as relay:
            full = True
            write = relay.queue._writer._transaction

            def transaction(*values: object) -> object:
                if full:
                    raise OSError(28, "No space left on device")
                return write(*values)  # type: ignore[arg-type]

            monkeypatch.setattr(relay.queue._writer, "_transaction", transaction)
            assert (await hand_in(relay))[-1].startswith("452 4.3.1 ")
            assert relay.queue.count()["mails"] == 0
            full = False
            assert (await hand_in(relay))[-1].startswith("250 ")
            relay.queue._free = lambda _: 0
            relay.queue._writer.spare = 0
            relay.queue.reserve = 1
            replies = await hand_in(relay)
            assert len(replies) == 3
            assert replies[-1].startswith("452 4.3.1 ")  # at MAIL, before anything is sent

    asyncio.run(story())


def test_what_was_delivered_while_the_queue_cannot_be_written_is_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "UNWRITTEN_SECONDS", 0.1)

    async def story() -> None:
        sink = await Sink().start()
        async with relaying(tmp_path, settings(route("*", sink.port))) as relay:
            write, tries = relay.queue.settle, 0

            async def broken(*values: object) -> object:
                nonlocal tries
                tries += 1
                if tries <= 3:
                    raise QueueError("disk full")
                return await write(*values)  # type: ignore[arg-type]

            monkeypatch.setattr(relay.queue, "settle", broken)
            await put(relay, "m", "x@far.test")
            await until(lambda: len(sent(tmp_path)) == 1)
            assert tries == 4
            assert sink.taken["m"] == 1
            assert relay.queue.count()["mails"] == 0
        await sink.stop()

    asyncio.run(story())


def test_a_queue_that_cannot_be_read_for_a_while_is_read_when_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, broken = Queue.waiting, True

    def waiting(queue: Queue) -> object:
        if broken:
            raise QueueError("the disk does not answer")
        return read(queue)

    monkeypatch.setattr(Queue, "waiting", waiting)

    async def story() -> None:
        nonlocal broken
        sink = await Sink().start()
        queue = Queue(tmp_path / "relay", reserve=0)
        await queue.put(mail("x@far.test", message_id="<m>"), b"Message-ID: <m>\r\n\r\nhello\r\n")
        queue.close()
        async with relaying(tmp_path, settings(route("*", sink.port))):
            await asyncio.sleep(0.8)
            assert not sink.connections
            broken = False
            await until(lambda: sink.taken["m"])
        await sink.stop()

    asyncio.run(story())


def test_a_report_that_cannot_be_made_leaves_the_mail_on_the_dead_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with relaying(tmp_path, settings(queue=Schedule(reserve_bytes=0, expire_hours=0))) as relay:

            def broken(*_: object) -> object:
                raise RuntimeError("a fault of ours")

            monkeypatch.setattr(relay.worker._settling.returns, "make", broken)
            await put(relay, "m", "x@far.invalid")
            await until(lambda: relay.queue.count()["dead"] == 1)

    asyncio.run(story())


def test_ten_thousand_queued_mails_do_not_keep_a_start_waiting(tmp_path: Path) -> None:
    KeyRing(tmp_path / "relay" / "keys").new("load.test", "sel")
    content = b"Message-ID: <old>\r\n\r\nhello\r\n"

    async def story() -> tuple[float, float]:
        queue = Queue(tmp_path / "relay", reserve=0)
        old = dataclasses.replace(mail("x@far.test"), accepted=time.time())
        for _ in range(20):
            await asyncio.gather(*(queue.put(old, content) for _ in range(500)))
        queue.close()
        sink = await Sink().start()
        began = time.monotonic()
        async with relaying(tmp_path, settings(route("*", sink.port))) as relay:
            assert (await hand_in(relay))[-1].startswith("250 ")
            taken = time.monotonic() - began
            await until(lambda: sink.taken["old"])
            delivers = time.monotonic() - began
        await sink.stop()
        return taken, delivers

    taken, delivers = asyncio.run(story())
    print(f"10,000 queued: takes mail after {taken:.2f} s, delivers after {delivers:.2f} s")
    assert max(taken, delivers) < 20.0


@pytest.mark.parametrize(
    ("name", "owner", "method"),
    [
        ("delivery", worker.Worker, "_start_due"),
        ("held mails", relay_module.Relay, "free_held"),
        ("drop", drop.Drop, "take"),
    ],
)
def test_a_part_that_a_fault_of_ours_ends_is_logged_and_begins_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    owner: type,
    method: str,
) -> None:
    KeyRing(tmp_path / "relay" / "keys").new("load.test", "sel")
    monkeypatch.setattr(relay_module, "AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(relay_module, "HELD_SECONDS", 0.05)
    monkeypatch.setattr(drop, "LOOK_SECONDS", 0.05)
    whole, calls = getattr(owner, method), 0

    def broken(self: object) -> object:
        nonlocal calls
        calls += 1
        if calls in (2, 4):
            raise ZeroDivisionError("a fault of ours")
        return whole(self)

    monkeypatch.setattr(owner, method, broken)

    async def story() -> None:
        sink = await Sink().start()
        async with relaying(tmp_path, settings(route("*", sink.port))) as relay:
            for at in range(8):
                await put(relay, f"m{at}", "x@far.test")
                await until(lambda n=at: calls > n)  # type: ignore[misc]
            await until(lambda: len(sink.taken) == 8)
            sender, recipients = read_address("a@load.test"), (Recipient(read_address("x@far.test")),)
            drop.leave(tmp_path / "relay" / "drop", sender, recipients, MAIL.removesuffix(b".\r\n"))
            await until(lambda: sink.taken["m@load.test"])
        assert set(sink.taken.values()) == {1}
        await sink.stop()

    asyncio.run(story())
    faults = [each for each in caplog.records if each.exc_info and each.exc_info[0] is ZeroDivisionError]
    assert [each.getMessage() for each in faults] == [f"{name}: ended by a fault, begins again in 0.1 s"] * 2


@pytest.mark.parametrize("foreseen", [True, False], ids=["seen before", "met while writing"])
def test_on_a_full_disk_nothing_is_promised_nor_left_by_half_and_mail_is_taken_when_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, foreseen: bool
) -> None:
    """Small mails lie in the queue's file, larger ones beside it, and the largest come by a temporary file."""
    place = tmp_path / "relay"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a tmpfs here")
    bodies = {
        "small": b"s" * 70 + b"\r\n",
        "large": (b"l" * 70 + b"\r\n") * 1_500,
        "huge": (b"h" * 70 + b"\r\n") * 5_000,
    }

    async def story() -> None:
        sink = await Sink().start()
        wanted = settings(route("*", sink.port), care=Care(hold_all=True), limits=ClientLimits(errors=1_000))
        taken, refused = {"first": b"hello\r\n"}, Counter[str]()
        async with relaying(tmp_path, wanted) as relay:
            assert (await hand(relay, "first", "x@far.test")).startswith("250 ")
            (place / "filler").write_bytes(bytes(os.statvfs(place).f_bavail * os.statvfs(place).f_frsize - 1_500_000))
            if not foreseen:
                relay.queue._free = lambda _: 1 << 40
            async with Caller(relay) as caller:
                for at in range(600):
                    kind = ("huge", "large", "small")[at % 3]
                    said = await caller.mail(f"{kind}{at}", "x@far.test", body=bodies[kind])
                    if said.startswith("250 "):
                        taken[f"{kind}{at}"] = bodies[kind]
                    else:
                        assert said.startswith("452 4.3.1 "), said
                        refused[kind] += 1
                    if refused["small"] > 20:
                        break
                assert min(refused[kind] for kind in bodies) >= 1
                assert foreseen or "disk is full" in caplog.text  # SQLite's words
                assert foreseen or "No space left on device" in caplog.text  # the kernel's, for a file
                assert relay.queue.count()["mails"] == len(taken)
                (place / "filler").unlink()
                for kind, body in bodies.items():
                    assert (await caller.mail(f"again-{kind}", "x@far.test", body=body)).startswith("250 ")
                    taken[f"again-{kind}"] = body
            admin = QueueAdmin(place)
            listed = {each.message_id.strip("<>"): each for each in admin.found()}
            assert listed.keys() == taken.keys()
            for name, each in listed.items():
                assert len(admin.content(each.id)) == each.size
                assert admin.content(each.id).endswith(b"\r\n\r\n" + taken[name])
            assert {each.name for each in (place / "bodies").iterdir()} == {
                each.id for each in listed.values() if each.size > 65_536
            }
            assert not list((place / "tmp").iterdir())
            admin.release("all")
            admin.close()
            await until(lambda: not relay.queue.count()["mails"])
            assert sink.taken == Counter(taken.keys())
        await sink.stop()

    try:
        KeyRing(place / "keys").new("load.test", "sel")
        asyncio.run(story())
    finally:
        subprocess.run(["umount", str(place)], check=True)
