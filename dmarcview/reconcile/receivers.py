"""Which organisation took a delivery: from the MX host, the recipient's domain, and who reports on what was sent there.

In this order: the user's word; the organisation of the MX host, where it reports, under its own name or another of its
own; what a receiver's reports say of recipients (`envelope_to`); the recipient's own organisation, where it reports; a
likeness of counts (`learn`); else the MX host's organisation. So a hosted domain counts with its host.
"""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from dmarcview.organisation import organisational

LEARN_DAYS = 90  # the newest so many days of reports are compared
LEARN_WINDOWS = 3  # reports of different periods that must fit
LEARN_LIKENESS = 0.8  # sum of the smaller counts by sum of the larger ones
LEARN_MARGIN = 0.2  # by which the best must be better than the second
LEARN_RECEIVERS = 500  # the busiest receivers without a reporter are compared
# Organisations whose MX hosts and reports go by several registrable names: the name on the left counts as the one on
# the right. No stranger can write from one of these.
TABLE: Mapping[str, str] = MappingProxyType(
    {
        "mx.microsoft": "microsoft.com",
        "yahoodns.net": "yahooinc.com",
        "mimecast.com": "mimecast.org",
        "mimecastreport.com": "mimecast.org",
        "messagingengine.com": "fastmaildmarc.com",
    }
)
# Names of mailboxes. They say who takes a mail, and never who reports: anybody may open one, and mail a report from it.
MAILBOXES: Mapping[str, str] = MappingProxyType(
    {
        "googlemail.com": "google.com",
        "gmail.com": "google.com",
        "outlook.com": "microsoft.com",
        "hotmail.com": "microsoft.com",
        "live.com": "microsoft.com",
        "yahoo.com": "yahooinc.com",
        "aol.com": "yahooinc.com",
        "fastmail.com": "fastmaildmarc.com",
    }
)


class Taker(NamedTuple):
    """The organisation that took a delivery, and how it is known: user, mx, envelope, recipient, learned, guess."""

    receiver: str
    known_by: str


def organisation(name: str) -> str:
    """The organisation that takes mail by the name of an MX host or of a recipient's domain."""
    found = organisational(name)
    return TABLE.get(found) or MAILBOXES.get(found, found)


def reporter(submitter: str) -> str:
    """The organisation that reports under this name."""
    found = organisational(submitter)
    return TABLE.get(found, found)


def names_of(organisation: str) -> list[str]:
    """The registrable names by which the MX hosts of an organisation go."""
    return [organisation, *(name for name, one in {**TABLE, **MAILBOXES}.items() if one == organisation)]


def host_name(host: str) -> str:
    """An MX host's name; nothing for an address or a path, which stand for no organisation."""
    name = host.strip("[]").rstrip(".").lower()
    if not name or "/" in name:
        return ""
    try:
        ipaddress.ip_address(name.removeprefix("ipv6:"))
    except ValueError:
        return name
    return ""


class Receivers:
    """Deliveries to organisations. `reporters` are those that have ever reported; `said` the user's word."""

    def __init__(
        self,
        reporters: Iterable[str],
        said: Mapping[str, str] | None = None,
        envelopes: Mapping[str, str] | None = None,
    ) -> None:
        self.reporters = {reporter(name) for name in reporters}
        self._said = {name.lower().rstrip("."): organisation(who) for name, who in (said or {}).items()}
        self._envelopes = dict(envelopes or {})

    def taker(self, host: str, recipient_domain: str) -> Taker:
        """Who took a delivery to this MX host for this domain."""
        name, domain = host_name(host), recipient_domain.rstrip(".").lower()
        for one in (name, domain):
            if named := self._named(one):
                return Taker(named, "user")
        by_host, by_recipient = organisation(name), organisation(domain)
        if by_host in self.reporters:
            return Taker(by_host, "mx")
        if domain in self._envelopes:  # after the MX: a stranger's report may name any recipients
            return Taker(reporter(self._envelopes[domain]), "envelope")
        if by_recipient in self.reporters and by_host == organisational(name):
            return Taker(by_recipient, "recipient")
        return Taker(by_host or by_recipient, "guess")

    def _named(self, name: str) -> str | None:
        labels = name.split(".") if name else []
        rests = (".".join(labels[start:]) for start in range(len(labels)))
        return next((self._said[rest] for rest in rests if rest in self._said), None)


def learn(cursor: Any) -> dict[str, str]:
    """Receivers that only guesses name, and the reporters whose counts run like theirs; by `takers`, `cells`, `said`.

    A reporter that no delivery is known to go to is compared with each such receiver, over its periods: what it reports
    from the relay's addresses, and what the relay delivered there then. One that is alike, clearly more than any other,
    is taken for it.
    """
    found = cursor.execute(
        f"""
        with lost as (
            select receiver as reporter, b, e, sum(n) as n from said
            where (source_ip, header_from) in (select source_ip, header_from from keys)
              and receiver not in (select receiver from takers where known_by <> 'guess')
              and e > (select max(e) from said) - {LEARN_DAYS * 86_400}
            group by all
        ), busy as (
            select receiver, sum(n) as n from cells join takers using (pair) where known_by = 'guess'
            group by receiver order by n desc, receiver limit {LEARN_RECEIVERS}
        ), sent as (
            select receiver, slot, sum(c.n) as n from cells c join takers using (pair)
            where known_by = 'guess' and receiver in (select receiver from busy) group by all
        ), both_sides as (
            select reporter, s.receiver, l.b, l.e, l.n as reported, sum(s.n) as sent
            from lost l join sent s on s.slot >= l.b // 900 and s.slot * 900 < l.e group by all
        ), whole as (select reporter, sum(n) as n from lost group by all)
        select v.reporter, receiver,
            cast(sum(least(reported, sent)) as double)
                / (sum(greatest(reported, sent)) + any_value(w.n) - sum(reported)) as likeness
        from both_sides v join whole w on w.reporter = v.reporter
        group by v.reporter, receiver having count(distinct b) >= {LEARN_WINDOWS}
        order by likeness desc, v.reporter, receiver
        """
    ).fetchall()
    by_reporter: dict[str, list[tuple[float, str]]] = {}
    by_receiver: dict[str, list[tuple[float, str]]] = {}
    for reporter, receiver, likeness in found:
        by_reporter.setdefault(reporter, []).append((likeness, receiver))
        by_receiver.setdefault(receiver, []).append((likeness, reporter))
    out = {}
    for reporter, ranked in by_reporter.items():
        receiver = _clear(ranked)
        if receiver is not None and _clear(by_receiver[receiver]) == reporter:
            out[receiver] = reporter
    return out


def _clear(ranked: list[tuple[float, str]]) -> str | None:
    """The first, when it is alike and well ahead of the second."""
    best = ranked[0][0]
    second = ranked[1][0] if len(ranked) > 1 else 0.0
    return ranked[0][1] if best >= LEARN_LIKENESS and best - second >= LEARN_MARGIN else None
