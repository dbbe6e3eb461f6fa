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
from dmarcview.demo.rhythm import DAY, HOUR, SEED, mean, midnight, outcomes, poisson
from dmarcview.demo.story import REPORTERS, SENDERS, Outcome, Sender

GREYLISTED = 0.02  # share of the mails that are put off once
GONE = 0.004  # share of the recipients that are not there (any more)
V6 = 0.4  # share of the mail that leaves by IPv6 where the receiver has it
BUSIEST = 14 * 3_600  # second of the day


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


@lru_cache(maxsize=400)  # reports, log and truth ask for the same days
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


def start(today: date, days: int) -> int:
    """The second at which a log of `days` days begins: with the earliest first day of a reporter."""
    return midnight(today - timedelta(days=days)) + HOUR * min(reporter.window for reporter in REPORTERS)


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
