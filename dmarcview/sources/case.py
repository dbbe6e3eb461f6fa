"""One source with all that bears on its class, and the evidence told as sentences."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from dmarcview.networks import NetworkMap
from dmarcview.organisation import aligned, organisational
from dmarcview.services import Service
from dmarcview.sources.evidence import Confidence, Evidence, Finding, Previous, SourceClass, Who, reason
from dmarcview.sources.labels import Labels
from dmarcview.sources.travel import Habits, Key, Way, anchored, busiest, checked_envelope, keys, other_envelope, way
from dmarcview.store.facts import SourceFacts

ESTABLISHED = 20  # messages that passed
ESTABLISHED_DAYS = 3
SIGNED_SHARE = 0.5  # of what passed, with the service's signature on it
UNLISTED = "unlisted"  # service_type of a sender that our table does not have; its envelope domain names it
GENERIC_OCTETS = 3  # of an address within its own name: the provider made the name, for whoever rents the address
GENERIC_DIGITS = 16  # hexadecimal ones of an IPv6 address in the first label, likewise
_NUMBERS = re.compile(r"\d+")


@dataclass(frozen=True)
class Said:
    """What the configuration and its people say, made ready to be asked."""

    own_networks: NetworkMap[str] = field(default_factory=NetworkMap)
    approved: frozenset[str] = frozenset()  # names of services, or domains of unlisted ones, folded
    labels: Labels = field(default_factory=Labels)


class Case:
    """One source, what is known of its address, its domain's habits, what people said, what was found before."""

    __slots__ = (
        "anchored", "checked", "facts", "habits", "operator", "other", "own", "own_name", "previous", "said",
        "signed_by", "way", "who",
    )  # fmt: skip

    def __init__(
        self, facts: SourceFacts, who: Who, habits: Habits, said: Said, previous: Previous | None = None
    ) -> None:
        self.facts = facts
        self.who = who
        self.habits = habits
        self.said = said
        self.previous = previous
        self.anchored = anchored(facts)  # our SPF record covers the address
        self.own: dict[Key, int] = keys(facts)  # our keys whose signatures passed here
        self.other = other_envelope(facts)  # somebody else's envelope organisation, when most of the mail carries it
        self.checked = checked_envelope(facts)  # SPF passed for it
        self.way: Way = way(self.own, self.other, habits)  # how what our keys signed came by
        self.operator: Service | None = who.operator.service if who.operator else None
        self.signed_by = _signed_by(facts, who)
        self.own_name = is_own_name(facts.domain, facts.source_ip, who.reverse_dns)

    @property
    def established(self) -> bool:
        """Enough passes on enough days?"""
        passed = max(self.facts.spf_aligned, self.facts.dkim_aligned)
        return passed >= ESTABLISHED and self.facts.days >= ESTABLISHED_DAYS

    @property
    def confidence(self) -> Confidence:
        """How much passed, on how many days."""
        passed = max(self.facts.spf_aligned, self.facts.dkim_aligned)
        if self.established:
            return "high"
        return "medium" if passed >= ESTABLISHED or self.facts.days >= ESTABLISHED_DAYS else "low"

    def finding(
        self,
        source_class: SourceClass,
        confidence: Confidence,
        *reasons: Evidence,
        by: Literal["rule", "user"] = "rule",
        named: str = "",
    ) -> Finding:
        """The finding with these reasons first, then all that was seen. `named` is an unlisted service."""
        service = self.operator or self.signed_by
        name, kind = (service.name, service.type) if service else (None, None)
        if named:
            name, kind = named, UNLISTED
        return Finding(source_class, confidence, by, name, kind, (*reasons, *self.seen(), *self.run_by()))

    def shared_key(self) -> Evidence:
        """The key is at home elsewhere."""
        return self.reason("shared_key", key=self.key_name(), permille=self.permille)

    def own_key(self) -> Evidence:
        """The key is used nowhere else."""
        return self.reason("own_key", key=self.key_name())

    def reason(self, code: str, **fields: int | str) -> Evidence:
        """The reason with this code, about this source."""
        return reason(code, self.facts.domain, **fields)

    @property
    def permille(self) -> int:
        """What this source carries of what its busiest key signs, in thousandths."""
        return round(1000 * self.way.share)

    def key_name(self) -> str:
        """Our busiest key here, for a sentence."""
        return key_name(busiest(self.own), self.facts.domain)

    def seen(self) -> tuple[Evidence, ...]:
        """What the reports saw."""
        facts, domain = self.facts, self.facts.domain
        total, both = facts.messages, facts.both
        found = []
        if both:
            found.append(self.reason("both_aligned", messages=both, of=total))
        if facts.spf_aligned > both:
            code = "spf_aligned" if self.anchored else "stray_spf"
            found.append(self.reason(code, messages=facts.spf_aligned, of=total))
        if facts.dkim_aligned > both:
            found.append(self.reason("dkim_aligned", messages=facts.dkim_aligned, of=total))
        if not facts.spf_aligned and not facts.dkim_aligned:
            found.append(self.reason("never_aligned", messages=0, of=total))
        if facts.forwarded:
            found.append(self.reason("override", messages=facts.forwarded, of=total))
        if self.other:
            found.append(self.reason("other_envelope", name=self.other))
        if self.checked:
            found.append(self.reason("checked_envelope", name=self.other))
        for name in facts.dkim:
            if name.passed and not aligned(name.name, domain):
                org = organisational(name.name)
                found.append(self.reason("other_signature", name=org, messages=name.messages, of=total))
                break
        return tuple(found)

    def run_by(self) -> tuple[Evidence, ...]:
        """Who runs the address, and who signs."""
        found = []
        if self.own_name:
            found.append(self.reason("own_name", name=self.who.reverse_dns or ""))
        for match in (self.who.operator, self.who.signer):
            if match:
                found.append(self.reason(f"service_{match.by}", name=match.service.name, key=match.key))
        return tuple(found)


def key_name(key: Key, domain: str) -> str:
    """A key of `domain`, for a sentence."""
    signer, selector = key
    if not signer:
        return f"The signing key of {domain}"
    return f"The key {selector} of {signer}" if selector else f"The key of {signer}"


def _signed_by(facts: SourceFacts, who: Who) -> Service | None:
    """The known service whose signature stands on at least half of what passed here."""
    if who.signer is None:
        return None
    key = who.signer.key
    carried = sum(n.messages for n in facts.dkim if n.passed and f".{n.name.lower()}".endswith("." + key))
    passed = max(facts.dkim_aligned, facts.spf_aligned, 1)
    return who.signer.service if carried >= SIGNED_SHARE * passed else None


def is_own_name(domain: str, source_ip: str, name: str | None) -> bool:
    """Is there a confirmed name under our domain that nobody made from the address itself?"""
    if not name or not aligned(name, domain):
        return False
    if ":" in source_ip:
        digits = sum(char in "0123456789abcdef" for char in name.partition(".")[0].lower())
        return digits < GENERIC_DIGITS
    numbers = set(_NUMBERS.findall(name))
    return sum(octet in numbers for octet in source_ip.split(".")) < GENERIC_OCTETS
