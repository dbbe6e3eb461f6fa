"""One look at what a domain publishes: its records as they stand now, to be held against what stood there before."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dmarcview.dns import spf
from dmarcview.dns.records import consents, dmarc_texts, texts
from dmarcview.store.records_seen import CONSENT, DKIM, DMARC, SPF, SPF_COST, Observed
from dmarcview_reports.trust_dns import DnsFailure

if TYPE_CHECKING:
    from dmarcview_reports.trust_dns import Resolver

CONSENTS = 10  # most hosts elsewhere whose consent is looked up
FAULTS = 5  # of an SPF record, kept
FAULT_CHARACTERS = 300
_COST = re.compile(r"(\d{1,6}) look-ups, (\d{1,6}) void(?:\n|$)")


class Cost(NamedTuple):
    """What a receiver spends on an SPF record (RFC 7208 section 4.6.4), and why it would give up, each a sentence."""

    lookups: int
    voids: int
    faults: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """As the history keeps it: numbers first, then a fault a line."""
        faults = [" ".join(one.split())[:FAULT_CHARACTERS] for one in self.faults[:FAULTS]]
        return "\n".join([f"{self.lookups} look-ups, {self.voids} void", *faults])

    @classmethod
    def read(cls, text: str) -> Cost | None:
        """What `text` wrote; None for no record."""
        match = _COST.match(text)
        return cls(int(match[1]), int(match[2]), tuple(text.split("\n")[1:])) if match else None


def look(domain: str, keys: Sequence[str], ask: Resolver) -> list[Observed]:
    """The records of a domain and of these names of DKIM keys. What the DNS does not answer now is left out."""
    found: list[Observed] = []

    def add(kind: str, name: str, read: Callable[[str], Sequence[str]]) -> str | None:
        try:
            lines = [" ".join(text.splitlines()) for text in read(name)]
        except DnsFailure:
            return None
        found.append(Observed(domain, kind, name, "\n".join(sorted(lines))))
        return found[-1].value

    if add(SPF, domain, lambda name: spf.records(name, ask)) is not None:
        found += _cost(found[-1], ask)
    record = add(DMARC, f"_dmarc.{domain}", lambda name: dmarc_texts(name, ask))
    for host in list(consents(domain, record or ""))[:CONSENTS]:
        add(CONSENT, host, lambda name: dmarc_texts(name, ask))
    for key in dict.fromkeys(keys):
        add(DKIM, key, lambda name: [one for one in texts(name, ask) if "p=" in one.replace(" ", "")])
    return found


def _cost(record: Observed, ask: Resolver) -> list[Observed]:
    """What the SPF record that was found costs; nothing when the walk finds no end for now."""
    try:
        walk = spf.walk(record.name, ask) if record.value else None
    except DnsFailure:
        return []
    text = Cost(walk.lookups, walk.voids, tuple(walk.faults)).text if walk else ""
    return [record._replace(kind=SPF_COST, value=text)]
