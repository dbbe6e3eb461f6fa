"""The sent log of the demo's relay, made from its deliveries: rows as the relay writes them, put into a store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import islice

from dmarcview import query
from dmarcview.demo.deliveries import Delivery, on_day, start
from dmarcview.demo.rhythm import SEED
from dmarcview.query import Sent
from dmarcview.store import Store, probes, sent
from dmarcview.store.probes import Probe
from dmarcview_relay.outcome import DEFERRED, DELIVERED, FAILED, Attempt, Link, RemoteReply

INSTANCE = "demo"  # of the relay's queue
AT_ONCE = 5_000  # rows in one transaction, so that others who write wait for less than a second
GREY_SECONDS = 900
PROBE_AGES, PROBE_FROM, PROBE_TO = (6, 1), "example.org", "mailbox-one.example"
PEOPLE = ("anna", "bo", "carl", "dora", "emil", "fay", "gus", "hilda")
CIPHER = "TLS_AES_256_GCM_SHA384"
TAKEN = RemoteReply(250, "2.0.0", "Ok: queued", "body")
LATER = RemoteReply(451, "4.7.1", "Greylisted, please come back later", "rcpt")
NEVER = RemoteReply(550, "5.1.1", "No such user here", "rcpt")


def put(store: Store, today: date, *, days: int, until: int) -> int:
    """Put the log into a store; how many rows were new. Raises StoreError."""
    rows, fresh = log(today, days=days, until=until), 0
    while part := list(islice(rows, AT_ONCE)):
        fresh += sent.append(store.ledger, INSTANCE, part)
    return fresh


def remember(store: Store, today: date) -> None:
    """Let two of its mails be probes of `dmarcview test loop`, one of them reported by now. Raises StoreError."""
    for age in PROBE_AGES:
        day = today - timedelta(days=age)
        asked = Sent((PROBE_FROM,), day, day + timedelta(days=1), PROBE_TO, DELIVERED)
        for one in query.sent(store, asked, limit=1).to_dict("records"):
            tag = hashlib.sha256(one["queue_id"].encode()).hexdigest()[:12]
            probes.put(
                store.ledger,
                Probe(tag, one["queue_id"], int(one["at"].timestamp()), one["sender"], one["from_domain"],
                      one["recipient"], one["recipient_domain"]),
            )  # fmt: skip


def log(today: date, *, days: int, until: int, seed: int = SEED) -> Iterator[tuple[int, Attempt]]:
    """The relay's sent log with the numbers of its rows: of `days` days, up to a second."""
    number, since = 0, start(today, days)
    for age in range(days + 1, -1, -1):
        for one in on_day(today, age, seed):
            if one.at < since:
                continue
            if one.at >= until:
                return
            for attempt in _tries(one, number):
                number += 1
                yield number, attempt


def _tries(one: Delivery, number: int) -> Iterator[Attempt]:
    if one.tries > 1:
        yield _attempt(one, number, one.at - GREY_SECONDS, 1, LATER, DEFERRED)
    if one.delivered:
        yield _attempt(one, number, one.at, one.tries, TAKEN, DELIVERED)
    else:
        yield _attempt(one, number, one.at, one.tries, NEVER, FAILED)


def _attempt(one: Delivery, number: int, at: int, tries: int, reply: RemoteReply, outcome: str) -> Attempt:  # noqa: PLR0917 - one row
    sender = one.sender
    return Attempt(
        at=float(at),
        queue_id=f"D{number:011d}",
        message_id=f"<{one.at}.{number}@{sender.header_from}>",
        kind="mail",
        user="",
        client="127.0.0.1",
        sender=f"noreply@{sender.envelope_from}",
        from_domain=sender.header_from,
        dkim=one.signatures,
        recipient=f"{PEOPLE[one.person % len(PEOPLE)]}{one.person}@{one.domain}",
        recipient_domain=one.domain,
        tries=tries,
        link=Link(one.source, one.host, one.receiver.address, "TLSv1.3", CIPHER, one.receiver.trust),
        reply=reply,
        outcome=outcome,
        size=one.size,
    )
