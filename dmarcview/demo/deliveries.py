"""What the demo's relay delivered, mail by mail: made from the tables and a seed, before any report is made of it.

Reports on the relay's mail are counted from these deliveries, so what a comparison of both must say is known. A day's
deliveries depend on that day and the seed alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from random import Random
from typing import NamedTuple

from dmarcview.demo.receivers import RECEIVERS, Receiver
from dmarcview.demo.rhythm import DAY, SEED, mean, midnight, outcomes, poisson
from dmarcview.demo.story import SENDERS, Outcome, Sender
from dmarcview_relay.outcome import DEFERRED, DELIVERED, FAILED, Attempt, Link, RemoteReply

GREYLISTED = 0.02  # share of the mails that are put off once
GREY_SECONDS = 900
GONE = 0.004  # share of the recipients that are not there (any more)
V6 = 0.4  # share of the mail that leaves by IPv6 where the receiver has it
BUSIEST = 14 * 3_600  # second of the day
PEOPLE = ("anna", "bo", "carl", "dora", "emil", "fay", "gus", "hilda")
CIPHER = "TLS_AES_256_GCM_SHA384"
TAKEN = RemoteReply(250, "2.0.0", "Ok: queued", "body")
LATER = RemoteReply(451, "4.7.1", "Greylisted, please come back later", "rcpt")
NEVER = RemoteReply(550, "5.1.1", "No such user here", "rcpt")


class Delivery(NamedTuple):
    """The last try of one mail to one recipient, and how its receiver judged it."""

    at: int
    sender: Sender
    receiver: Receiver
    source: str  # our address
    host: str
    domain: str  # of the recipient
    signatures: tuple[tuple[str, str], ...]
    outcome: Outcome
    person: int
    size: int
    tries: int
    delivered: bool


@lru_cache(maxsize=128)  # reports, log and truth ask for the same days
def on_day(today: date, age: int, seed: int = SEED) -> tuple[Delivery, ...]:
    """Those of the UTC day `age` days before `today` (0 is today), oldest first."""
    day = today - timedelta(days=age)
    return tuple(sorted((one for sender in SENDERS if sender.relayed for one in _of(sender, day, age, seed)),
                        key=lambda one: one.at))  # fmt: skip


def _of(sender: Sender, day: date, age: int, seed: int) -> Iterator[Delivery]:
    rng = Random(f"{seed}/relay/{age}/{sender.name}")  # noqa: S311 - traffic, no secret
    whole, start, signatures = mean(sender, day, age, rng), midnight(day), sender.signed(age)
    judged = outcomes(sender, age)
    shares = [outcome.share for outcome in judged]
    v4, v6 = sender.addresses
    for receiver in RECEIVERS:
        domains, weights = zip(*receiver.domains, strict=True)
        for _ in range(poisson(rng, whole * receiver.share)):
            yield Delivery(
                at=start + min(DAY - 1, int(rng.triangular(0, DAY, BUSIEST))),
                sender=sender,
                receiver=receiver,
                source=v6 if receiver.v6 and rng.random() < V6 else v4,
                host=rng.choice(receiver.hosts),
                domain=rng.choices(domains, weights)[0],
                signatures=signatures,
                outcome=rng.choices(judged, shares)[0],
                person=rng.randrange(2_000),
                size=rng.randrange(2_500, 9_000),
                tries=2 if rng.random() < GREYLISTED else 1,
                delivered=rng.random() >= GONE,
            )


def accepted(today: date, begin: int, end: int, reporter: str, seed: int = SEED) -> Iterator[Delivery]:
    """What the receiver of these reports accepted in `begin <= t < end`, oldest first."""
    for age in range(_age(today, begin), _age(today, end - 1) - 1, -1):
        for one in _by_reporter(today, age, seed).get(reporter, ()):
            if begin <= one.at < end:
                yield one


@lru_cache(maxsize=8)
def _by_reporter(today: date, age: int, seed: int) -> dict[str, list[Delivery]]:
    found: dict[str, list[Delivery]] = {}
    for one in on_day(today, age, seed):
        if one.delivered:
            found.setdefault(one.receiver.reporter, []).append(one)
    return found


def _age(today: date, second: int) -> int:
    return (today - datetime.fromtimestamp(second, UTC).date()).days


def log(today: date, *, days: int, until: int, seed: int = SEED) -> Iterator[tuple[int, Attempt]]:
    """The relay's sent log with the numbers of its rows: `days` days and the one before them, up to a second.

    The day before is there for reporters whose first day begins earlier than the UTC day.
    """
    number = 0
    for age in range(days + 1, -1, -1):
        for one in on_day(today, age, seed):
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
