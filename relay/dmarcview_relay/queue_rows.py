"""Mails and rows: what a mail, a recipient and a try look like in the tables of the queue, and back."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Sequence
from typing import Any

from dmarcview_smtp.address import Address

from .envelope import Mail, Queued, Recipient, Ticket
from .outcome import Attempt, Link, RemoteReply

Row = tuple[Any, ...]

MAIL = (
    "number, id, sender_local, sender_domain, accepted, size, kind, user, client, from_domain, message_id, dkim, "
    "eight_bit, utf8, require_tls, ret, envid"
)
RECIPIENT = "number, mail, local, domain, notify, orcpt, hold, tries, next_at, warned"
SENT = (
    "number, at, queue_id, message_id, kind, user, client, sender, from_domain, dkim, recipient, recipient_domain, "
    "tries, source, host, address, tls_version, tls_cipher, tls_trust, code, enhanced, text, stage, said, outcome, size"
)


def places(columns: str) -> str:
    """As many question marks as there are columns."""
    return ", ".join("?" * (columns.count(",") + 1))


def plain(text: str) -> str:
    """Text that the database can hold: lone surrogates, which a reply in no known charset may bring, become `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def mail_row(number: int, id: str, mail: Mail) -> Row:
    """For the table `mail`."""
    local, domain = mail.sender or (None, None)
    dkim = json.dumps(mail.dkim) if mail.dkim else "[]"
    return (
        number, id, local, domain, mail.accepted, mail.size, mail.kind, plain(mail.user),
        mail.client, plain(mail.from_domain), plain(mail.message_id), dkim, mail.eight_bit, mail.utf8,
        mail.require_tls, plain(mail.ret), plain(mail.envid),
    )  # fmt: skip


def recipient_row(ticket: Ticket, mail: int, hold: str) -> Row:
    """For the table `recipient`."""
    recipient = ticket.recipient
    return (
        ticket.number, mail, recipient.address.local, recipient.address.domain, ",".join(recipient.notify),
        plain(recipient.orcpt), plain(hold), ticket.tries, ticket.next_at, ticket.warned,
    )  # fmt: skip


def sent_row(number: int, attempt: Attempt) -> Row:
    """For the table `sent`."""
    a, reply = attempt, attempt.reply
    return (
        number, a.at, a.queue_id, plain(a.message_id), a.kind, plain(a.user), a.client, plain(a.sender),
        plain(a.from_domain), json.dumps(a.dkim) if a.dkim else "[]", plain(a.recipient), plain(a.recipient_domain),
        a.tries, *map(plain, a.link), reply.code, plain(reply.enhanced), plain(reply.text), reply.stage, reply.said,
        a.outcome, a.size,
    )  # fmt: skip


def read_ticket(row: Row) -> Ticket:
    """A row of RECIPIENT."""
    number, _, local, domain, notify, orcpt, _, tries, next_at, warned = row
    recipient = Recipient(Address(local, sys.intern(domain)), tuple(notify.split(",")) if notify else (), orcpt)
    return Ticket(number, recipient, tries, next_at, bool(warned))


def read_queued(row: Row, recipients: Sequence[Row]) -> Queued:
    """A row of MAIL with its rows of RECIPIENT; the mail names just these recipients."""
    tickets = tuple(read_ticket(each) for each in recipients)
    local, domain = row[2], row[3]
    mail = Mail(
        None if local is None else _sender(local, domain), tuple(ticket.recipient for ticket in tickets), row[4],
        row[5], sys.intern(row[6]), sys.intern(row[7]), sys.intern(row[8]), sys.intern(row[9]), row[10],
        signatures(row[11]), bool(row[12]), bool(row[13]), bool(row[14]), sys.intern(row[15]), row[16],
    )  # fmt: skip
    return Queued(row[1], row[0], mail, tickets)


def read_attempt(row: Row) -> tuple[int, Attempt]:
    """A row of SENT with its number."""
    link, reply = Link(*row[13:19]), RemoteReply(row[19], row[20], row[21], row[22], bool(row[23]))
    values: Row = (*row[1:9], signatures(row[9]), *row[10:13], link, reply, *row[24:])
    return row[0], Attempt(*values)


# A hundred thousand mails in memory are mostly of few senders, who sign with few keys: these are kept once.


@functools.lru_cache(1_000)
def _sender(local: str, domain: str) -> Address:
    return Address(local, domain)


@functools.lru_cache(1_000)
def signatures(text: str) -> tuple[tuple[str, str], ...]:
    """The column `dkim`: d= and s= of each signature."""
    return tuple((domain, selector) for domain, selector in json.loads(text)) if text != "[]" else ()
