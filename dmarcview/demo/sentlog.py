"""The sent log of the demo's relay, made from its deliveries: rows as the relay writes them, put into a store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import islice

from dmarcview.demo.deliveries import Delivery, on_day, start
from dmarcview.demo.rhythm import SEED
from dmarcview.store import Store, sent
from dmarcview_relay.outcome import DEFERRED, DELIVERED, FAILED, Attempt, Link, RemoteReply

INSTANCE = "demo"  # of the relay's queue
AT_ONCE = 5_000  # rows in one transaction, so that others who write wait for less than a second
GREY_SECONDS = 900
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
