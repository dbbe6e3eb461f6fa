"""Made-up mails for the tests of the queue and of the bounces."""

from __future__ import annotations

from dmarcview_relay.envelope import Mail, Queued, Recipient, Ticket
from dmarcview_relay.outcome import DEFERRED, DELIVERED, FAILED, Attempt, Link, RemoteReply
from dmarcview_relay.queue import Settled
from dmarcview_smtp.address import Address, read_address

AT = 1_800_000_000.0
LINK = Link("192.0.2.1", "mx.example.net", "192.0.2.25", "TLSv1.3", "TLS_AES_256_GCM_SHA384", "verified")
TAKEN = RemoteReply(250, "2.0.0", "Ok: queued as 4XyZ", "body")
BUSY = RemoteReply(451, "4.7.1", "Greylisted,\nsee https://example.net/why", "rcpt")
UNKNOWN = RemoteReply(550, "5.1.1", "No such user", "rcpt")


def recipients(*addresses: str) -> tuple[Recipient, ...]:
    return tuple(Recipient(read_address(each)) for each in addresses)


def mail(*addresses: str, size: int = 0, hold: str = "", sender: str = "news@example.org", **more: object) -> Mail:
    known = {"user": "shop", "client": "192.0.2.7", "from_domain": "example.org", "message_id": "<1@example.org>",
             "dkim": (("example.org", "s1"), ("example.org", "s2"))}  # fmt: skip
    return Mail(
        sender=read_address(sender) if sender else None,
        recipients=recipients(*(addresses or ("bob@example.net",))),
        accepted=AT,
        size=size,
        hold=hold,
        **{**known, **more},  # type: ignore[arg-type]
    )


def attempt(queued: Queued, ticket: Ticket, reply: RemoteReply = TAKEN, outcome: str = "") -> Attempt:
    m = queued.mail
    outcome = outcome or (DELIVERED if reply.taken else FAILED if reply.permanent else DEFERRED)
    return Attempt(
        AT + 1, queued.id, m.message_id, m.kind, m.user, m.client, str(m.sender or ""), m.from_domain, m.dkim,
        str(ticket.recipient.address), ticket.recipient.address.ascii_domain, ticket.tries + 1, LINK, reply, outcome,
        m.size,
    )  # fmt: skip


def settled(queued: Queued, at: int = 0, reply: RemoteReply = TAKEN, **more: object) -> Settled:
    ticket = queued.tickets[at]
    return Settled(ticket, attempt(queued, ticket, reply), **more)  # type: ignore[arg-type]


def address(text: str) -> Address:
    return read_address(text)
