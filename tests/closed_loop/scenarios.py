"""The mails of the loop: what our relay sends, and what others send in our name."""

from __future__ import annotations

import smtplib
from collections.abc import Sequence
from typing import NamedTuple

from tests.closed_loop.namespace import FORWARDER, MX, SPOOFER

FRIEND, PASSED_ON_TO, BEYOND_HOP = "friend@example.net", "elsewhere@example.net", "friend@changed.example.net"


class Sending(NamedTuple):
    """So many mails of one sender to one recipient, all by our relay."""

    name: str
    sender: str
    count: int
    recipient: str = FRIEND

    @property
    def domain(self) -> str:
        """Domain of its From."""
        return self.sender.partition("@")[2]


ALIGNED = Sending("aligned", "alerts@example.org", 12)
CHANGED = Sending("changed on the way", "alerts@example.org", 1, BEYOND_HOP)
SUBDOMAIN = Sending("subdomain, parent's key", "news@news.example.org", 3)
CONSENTED = Sending("rua elsewhere, with consent", "shop@example.com", 2)
WITHHELD = Sending("rua elsewhere, no consent", "shop@withheld.example", 2)
TWO_KEYS = Sending("RSA and Ed25519", "both@twice.example", 2)
BEFORE = Sending("before the key's rotation", "host@turned.example", 3)
AFTER = Sending("after the key's rotation", "host@turned.example", 2)
UTF8_NAME = Sending("SMTPUTF8, local part", "jörg@post.example", 2)
UTF8_DOMAIN = Sending("SMTPUTF8, domain", "gruß@bücher.example", 2)
SELECTOR = "first"  # of every key but the one that follows by rotation
FORWARDED, SPOOFED = "forwarded", "spoofed"

FIRST = (ALIGNED, CHANGED, SUBDOMAIN, CONSENTED, WITHHELD, TWO_KEYS, BEFORE, UTF8_NAME, UTF8_DOMAIN)
DOMAINS = tuple(dict.fromkeys(one.domain for one in FIRST))
RECIPIENTS = ("@example.net", "@changed.example.net")
SENT = sum(one.count for one in (*FIRST, AFTER))
MAILS = SENT + 2  # and the one that is passed on, and the forged one


def mails(sending: Sending) -> list[bytes]:
    """What a program of ours hands in."""
    return [
        (
            f"From: {sending.sender}\r\nTo: {sending.recipient}\r\nSubject: {sending.name} {number}\r\n"
            "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
            f"Number {number} of {sending.count}.\r\n"
        ).encode()
        for number in range(1, sending.count + 1)
    ]


def pass_on(stored: Sequence[bytes]) -> None:
    """Send one of our mails on as its receiver's forwarding does: the envelope sender stays, the address is another.

    `stored` are the receiver's files; what it put above our signature is left away.
    """
    subject = f"Subject: {ALIGNED.name} 1\n".encode()
    [mail] = [one for one in stored if subject in one]
    signed = mail[mail.index(b"DKIM-Signature:") :].replace(b"\n", b"\r\n")
    _send(FORWARDER, "mx.forwarder.example", ALIGNED.sender, PASSED_ON_TO, signed)


def spoof() -> None:
    """Forge our From, from an address of somebody else."""
    mail = (
        f"From: {ALIGNED.sender}\r\nTo: {FRIEND}\r\nSubject: {SPOOFED}\r\nDate: Thu, 01 Jan 2026 10:00:00 +0000\r\n"
        "Message-ID: <1@spoofer.example>\r\n\r\nPay here.\r\n"
    )
    _send(SPOOFER, "spoofer.example", ALIGNED.sender, FRIEND, mail.encode())


def _send(source: str, helo: str, sender: str, recipient: str, mail: bytes) -> None:
    with smtplib.SMTP(MX, 25, local_hostname=helo, source_address=(source, 0), timeout=30) as client:
        client.sendmail(sender, [recipient], mail)
