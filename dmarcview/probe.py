"""A tagged mail through our own relay: handed in, followed to the far host's last word."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import NamedTuple

from dmarcview.config import Config
from dmarcview.sendmail.session import Handed, Session, Wishes, connect
from dmarcview_relay.outcome import RemoteReply
from dmarcview_relay.queue_admin import HELD, QueueAdmin
from dmarcview_relay.queue_schema import Gone, QueueError
from dmarcview_relay.sentlog import SentLog
from dmarcview_smtp.address import Address, AddressError, read_address

LOOK_SECONDS = 0.3
_QUEUED = "Queued as "


class ProbeError(Exception):
    """The test cannot be made; the text says what to do."""


class Draft(NamedTuple):
    """A test mail that is not handed in yet."""

    tag: str
    sender: Address
    recipient: Address


class Sent(NamedTuple):
    """A test mail on its way."""

    tag: str
    queue_id: str
    sender: Address
    recipient: Address


class News(NamedTuple):
    """What is known of it: delivered, deferred, failed, expired, held or waiting; `reply` is the last word so far."""

    state: str
    text: str
    host: str = ""
    tls: str = ""


def sender_for(config: Config, text: str = "") -> Address:
    """The sender of a test: as named, else the first that [relay] senders allows. Raises ProbeError."""
    for pattern in (text,) if text else config.relay.senders:
        try:
            return read_address(f"postmaster{pattern}" if pattern.startswith("@") else pattern)
        except AddressError:
            continue
    raise ProbeError("name a sender with --from: [relay] senders names none that could be used")


def draft(sender: Address, recipient: Address) -> Draft:
    """A test mail with a tag of its own."""
    return Draft(secrets.token_hex(6), sender, recipient)


def send(config: Config, mail: Draft, say: Callable[[str], object]) -> Sent:
    """Hand it in; `say` gets the dialogue. Raises Declined, Unreachable and Unanswered of `sendmail.session`."""
    tag, sender, recipient = mail
    hostname = config.relay.hostname or sender.ascii_domain
    talk = Session(connect(config.relay.listeners), say)
    try:
        reply = talk.hand_in(Handed(sender, (recipient,), letter(tag, sender, recipient, hostname)), Wishes(), hostname)
    finally:
        talk.close()
    return Sent(tag, reply.text.rpartition(_QUEUED)[2].strip(), sender, recipient)


def letter(tag: str, sender: Address, recipient: Address, hostname: str) -> bytes:
    """The test mail, by which a person finds it among others."""
    lines = [
        f"From: <{sender}>",
        f"To: <{recipient}>",
        f"Subject: dmarcview test {tag}",
        f"Date: {format_datetime(datetime.now(UTC))}",
        f"Message-ID: <test.{tag}@{hostname}>",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "",
        f"This is test {tag} of the mail relay at {hostname}.",
        "",
        "Show the original of this mail, copy it, and give it to",
        "",
        "    dmarcview test --explain -",
        "",
        "which says what the receiver thought of it.",
    ]
    return "".join(f"{line}\r\n" for line in lines).encode()


def follow(folder: Path, sent: Sent, seconds: float, clock: Callable[[], float] = time.monotonic) -> Iterator[News]:
    """What becomes of it, each time that changes, until its end or for so many seconds. `folder` is the relay's.

    Raises QueueError.
    """
    end, last = clock() + seconds, None
    while True:
        seen = news(folder, sent.queue_id)
        if seen != last:
            last = seen
            yield seen
        if seen.state not in ("waiting", "deferred") or clock() >= end:
            return
        time.sleep(LOOK_SECONDS)


def news(folder: Path, queue_id: str) -> News:
    """What the relay of this folder knows of a mail now. Raises QueueError."""
    queue = QueueAdmin(folder)
    try:
        entry = queue.show(queue_id).entries[0]
    except Gone:
        return _end(folder, queue_id)
    finally:
        queue.close()
    if entry.state == HELD:
        return News("held", entry.hold)
    if entry.last is None:
        return News("waiting", "not tried yet")
    return News("deferred", _said(entry.last), entry.host)


def _end(folder: Path, queue_id: str) -> News:
    """Of a mail that left the queue: its last row in the relay's own log, as long as that is not shipped."""
    log = SentLog(folder)
    try:
        found = log.of(queue_id)
    finally:
        log.close()
    if not found:
        return News("left", "it left the queue; `dmarcview sent` has the reply")
    attempt = found[-1]
    tls = " ".join(part for part in (attempt.link.tls_version, attempt.link.tls_cipher, attempt.link.tls_trust) if part)
    return News(attempt.outcome, _said(attempt.reply), attempt.link.host, tls)


def _said(reply: RemoteReply) -> str:
    return " ".join(str(reply).split())


__all__ = ["News", "ProbeError", "QueueError", "Sent", "follow", "letter", "news", "send", "sender_for"]
