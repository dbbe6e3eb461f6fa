"""Attacks on the relay as a whole, each of which succeeded once."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import os
import resource
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from relay_mails import AT, UNKNOWN, mail, settled
from relay_taking import DOMAIN, QUICK, Taking, keys, private_key, taking
from smtp_talk import RUA, Talk

from dmarcview_relay import drop
from dmarcview_relay.allow import AllowList
from dmarcview_relay.author import AuthorError, read_mailboxes
from dmarcview_relay.client_auth import MOST_ITERATIONS, Credentials, log_in
from dmarcview_relay.drop import AGAIN_SECONDS, Drop, leave
from dmarcview_relay.envelope import Recipient
from dmarcview_relay.keyfile import KeyFault
from dmarcview_relay.keys import KeyRing
from dmarcview_relay.message import Refused, Trace, prepare
from dmarcview_relay.queue import Queue
from dmarcview_relay.queue_admin import QueueAdmin
from dmarcview_relay.queue_schema import connect
from dmarcview_relay.relay import Relay, RelayError
from dmarcview_relay.saslprep import LONGEST, PrepError, saslprep
from dmarcview_relay.settings import Keys, RelayListener, RelaySettings
from dmarcview_relay.suppress import FOR_EVER
from dmarcview_relay.wire import Reply as WireReply
from dmarcview_smtp.address import Address, AddressError, read_address
from dmarcview_smtp.files import SPARE_FILES

V2 = b"\r\n\r\n\x00\r\nQUIT\n"  # how the binary PROXY header begins
MAIL = f"From: a@{DOMAIN}\n\nhello\n".encode()


def test_a_header_line_without_a_colon_costs_no_more_than_its_length() -> None:
    content = b"From: a@client.test\r\n" + b"a" * 190_000 + b"\r\n\r\nx\r\n"
    began = time.process_time()
    with pytest.raises(Refused):
        prepare(content, Trace("Q" * 12), hostname="mx.example.test", now=0.0)
    assert time.process_time() - began < 10, "it was five minutes"


def test_a_name_that_grows_when_it_is_prepared_is_too_long() -> None:
    with pytest.raises(PrepError, match="too long"):
        saslprep("\ufdfa" * LONGEST)  # eighteen letters each


# addresses that look alike


@pytest.mark.parametrize("domain", ["ban\u212a.test", "a\u3002test", "x.a\u3002test"])
def test_no_letter_or_dot_of_a_domain_is_another_one_to_somebody_else(domain: str) -> None:
    with pytest.raises(AddressError):
        read_address(f"a@{domain}")
    with pytest.raises(AuthorError):
        read_mailboxes(f"a@{domain}")


def test_an_address_that_looks_alike_does_not_have_another_one_suppressed(tmp_path: Path) -> None:
    queue = Queue(tmp_path, reserve=0)
    admin = QueueAdmin(tmp_path)
    admin.suppress(Address("\u212aim", "far.test"), "no such mailbox", 0.0, FOR_EVER)
    assert queue.suppressed(Address("\u212aim", "far.test"))
    assert not queue.suppressed(Address("kim", "far.test"))
    admin.close()
    queue.close()


@pytest.mark.parametrize("end", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_a_comment_in_a_list_ends_with_its_line_only(end: str, tmp_path: Path) -> None:
    path = tmp_path / "senders"
    path.write_text(f"@client.test\n# of {end}*\n", "utf-8")
    allowed = AllowList((str(path),))
    assert allowed.allows(Address("a", "client.test"))
    assert not allowed.allows(Address("a", "evil.test"))


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", V2 + b"\x21\0\0\0", V2 + b"\x20\0\0\0"])
def test_a_client_whom_the_balancer_does_not_name_is_not_the_balancer(header: bytes, tmp_path: Path) -> None:
    listener = RelayListener(port=0, proxy_peers=("127.0.0.0/8",))
    with taking(tmp_path, listeners=(listener,)) as relay:
        for said, code in ((header, "550 5.7.1 "), (b"PROXY TCP4 127.0.0.9 192.0.2.1 4711 25\r\n", "250 ")):
            with Talk(relay.port) as talk:
                talk.send(said)
                talk.hello()
                assert talk.ask(f"MAIL FROM:<a@{DOMAIN}>").startswith(code)


def test_settings_that_were_not_taken_allow_nothing(tmp_path: Path) -> None:
    senders = tmp_path / "senders"
    senders.write_text(f"@{DOMAIN}\n")
    keys = Keys(check="off")
    settings = RelaySettings(
        (RelayListener(port=0),), senders=(str(senders),), recipients=(RUA,), hostname="mx.test", keys=keys
    )

    async def asked(port: int, sender: str) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"EHLO c.test\r\nMAIL FROM:<{sender}>\r\nQUIT\r\n".encode())
        answer = (await reader.read()).decode().splitlines()[-2]
        writer.close()
        await writer.wait_closed()
        return answer

    async def run() -> None:
        relay = Relay(settings, tmp_path / "relay")
        await relay.start()
        try:
            senders.unlink()  # the new settings have no use for it
            taken = RelayListener(port=relay.listening[0][1], host="localhost")
            with pytest.raises(RelayError):
                await relay.reload(dataclasses.replace(settings, senders=("@evil.test",), listeners=(taken,)))
            assert (await asked(relay.listening[0][1], "a@evil.test")).startswith("550 5.7.1 ")
            assert (await asked(relay.listening[0][1], f"a@{DOMAIN}")).startswith("250 ")
        finally:
            await relay.stop()

    asyncio.run(run())


def test_the_rounds_that_a_smarthost_asks_for_hold_up_nobody_else(monkeypatch: Any) -> None:
    derive, threads = hashlib.pbkdf2_hmac, []

    def seen(*given: Any) -> bytes:
        threads.append(threading.current_thread())
        return derive(*given)

    async def ask(line: str) -> WireReply:
        if not line.startswith("AUTH"):
            return WireReply(535, (b"5.7.8 no",))
        nonce = base64.b64decode(line.split()[2]).decode().partition(",r=")[2]
        challenge = f"r={nonce}far,s=c2FsdA==,i={MOST_ITERATIONS}"
        return WireReply(334, (base64.b64encode(challenge.encode()),))

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", seen)
    assert asyncio.run(log_in(Credentials("me", "secret"), ["SCRAM-SHA-256"], ask)).startswith("refused")
    assert threads
    assert threads[0] is not threading.main_thread()


# what grows, and what half of is left


def test_as_many_clients_as_are_allowed_leave_files_for_the_rest(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        with taking(tmp_path, limits=dataclasses.replace(QUICK, connections=100)):
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 100 + SPARE_FILES
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_addresses_that_are_suppressed_no_more_leave_the_queue(tmp_path: Path) -> None:
    now = [AT]
    queue = Queue(tmp_path, reserve=0, clock=lambda: now[0], suppress=100.0)

    async def bounced(address: str) -> None:
        queued = await queue.put(mail(address), b"x\r\n")
        await queue.settle(queued, [settled(queued, reply=UNKNOWN)])

    asyncio.run(bounced("one@far.test"))
    now[0] += 200
    asyncio.run(bounced("two@far.test"))
    queue.close()
    with closing(connect(tmp_path)) as link:
        assert link.execute("select address from suppressed").fetchall() == [("two@far.test",)]


def test_a_key_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: Any) -> None:
    ring = keys(tmp_path, DOMAIN)
    monkeypatch.setattr(os, "fsync", lambda _: os.close(-1))  # the disk is full
    with pytest.raises(KeyFault):
        ring.add(DOMAIN, "s2", private_key())
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "keys" / DOMAIN).iterdir()] == ["s1.pem"]
    assert len(KeyRing(tmp_path / "keys").signing(DOMAIN)) == 1


# the drop folder: whoever of this machine may write into it


class Box:
    """A relay with a drop folder, and a clock that stands still."""

    def __init__(self, relay: Taking, path: Path) -> None:
        self.relay, self.folder, self.now = relay, path / "drop", 1_800_000_000.0
        self.drop = self.opened()

    def opened(self) -> Drop:
        return Drop(self.folder, self.relay.policy, QUICK, "mx", expire_seconds=1e9, clock=lambda: self.now)

    def leave(self, content: bytes = MAIL, at: float = 0.0) -> str:
        to = (Recipient(read_address(RUA)),)
        return leave(self.folder, Address("a", DOMAIN), to, content, clock=lambda: self.now + at)

    def take(self) -> int:
        return self.relay.run(self.drop.take())

    def bad(self) -> list[str]:
        return sorted(path.name for path in self.drop.bad.iterdir())


def test_a_file_that_cannot_be_taken_or_moved_stops_no_other(tmp_path: Path, monkeypatch: Any) -> None:
    with taking(tmp_path) as relay:
        box = Box(relay, tmp_path)
        (box.folder / "0.mail").mkdir()
        (box.folder / "1.mail").write_bytes(b"no envelope")
        box.leave()
        monkeypatch.setattr(box.drop, "bad", Path("/dev/null/bad"))
        assert box.take() == 1
        assert box.take() == 0


def test_a_fault_of_the_rules_is_met_by_the_next_mail_anew(tmp_path: Path, monkeypatch: Any) -> None:
    with taking(tmp_path) as relay:
        box = Box(relay, tmp_path)
        box.leave()
        box.leave(at=1)
        judge, calls = relay.policy.on_rcpt, []

        def once(*given: Any) -> Any:
            calls.append(given)
            if len(calls) == 1:
                raise RuntimeError("the disk burns")
            return judge(*given)

        monkeypatch.setattr(relay.policy, "on_rcpt", once)
        assert box.take() == 1
        box.now += AGAIN_SECONDS
        assert box.take() == 1


def test_a_mail_whose_file_cannot_be_removed_leaves_once(tmp_path: Path, monkeypatch: Any) -> None:
    with taking(tmp_path) as relay:
        box = Box(relay, tmp_path)
        name = box.leave()

        def denied(path: Path, **_: bool) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "unlink", denied)
        for _ in range(3):
            box.take()
            box.now += AGAIN_SECONDS
        assert relay.count() == 1
        monkeypatch.undo()
        box.take()
        assert not (box.folder / name).exists()
        assert relay.count() == 1


@pytest.mark.parametrize("name", ["a" * 250, "a\nERROR forged", "\udce4\udcff"])
def test_a_file_of_any_name_is_set_aside_with_its_reason(name: str, tmp_path: Path) -> None:
    with taking(tmp_path) as relay:
        box = Box(relay, tmp_path)
        for content in (b"one", b"two"):
            (box.folder / f"{name}.mail").write_bytes(content)
            assert box.take() == 0
        assert len(box.bad()) == 4, "the second one has not taken the place of the first"
        assert all(each.isascii() and each.isprintable() for each in box.bad())


def test_refused_mails_are_kept_as_long_as_there_is_room(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(drop, "BAD_MAILS", 3)
    with taking(tmp_path) as relay:
        box = Box(relay, tmp_path)
        for at in range(5):
            (box.folder / f"{at}.mail").write_bytes(b"x" * 100)
            box.take()
        assert box.bad() == [f"{at}.mail{end}" for at in (2, 3, 4) for end in ("", ".reason")]
        monkeypatch.setattr(drop, "BAD_BYTES", 250)
        box.opened()
        assert box.bad() == [f"{at}.mail{end}" for at in (3, 4) for end in ("", ".reason")]
