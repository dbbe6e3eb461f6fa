"""One source with all that bears on its class, and the evidence told as sentences."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from dmarcview.networks import NetworkMap
from dmarcview.organisation import aligned, organisational
from dmarcview.services import Service
from dmarcview.sources.evidence import Confidence, Evidence, Finding, Previous, SourceClass, Who
from dmarcview.sources.labels import Labels
from dmarcview.sources.travel import Habits, Key, Way, anchored, busiest, keys, other_envelope, way
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
        "anchored", "facts", "habits", "operator", "other", "own", "own_name", "previous", "said", "signed_by", "way",
        "who",
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
        self.way: Way = way(self.own, self.other, habits)  # how what our keys signed came by
        self.operator: Service | None = who.operator.service if who.operator else None
        self.signed_by = _signed_by(facts, who)
        self.own_name = _own_name(facts, who.reverse_dns)

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
        text = f"{self.key_name()} is at home elsewhere; {self.way.share:.1%} of what it signs comes from here."
        return Evidence("shared_key", text, {"permille": round(1000 * self.way.share)})

    def own_key(self) -> Evidence:
        """The key is used nowhere else."""
        return Evidence("own_key", f"{self.key_name()} signs only here and at sources like this one.")

    def key_name(self) -> str:
        """Our busiest key here, for a sentence."""
        domain, selector = busiest(self.own)
        if not domain:
            return f"The signing key of {self.facts.domain}"
        return f"The key {selector} of {domain}" if selector else f"The key of {domain}"

    def seen(self) -> tuple[Evidence, ...]:
        """What the reports saw."""
        facts, domain = self.facts, self.facts.domain
        total, both = facts.messages, facts.both
        found = []
        if both:
            found.append(_part("both_aligned", f"passed SPF and DKIM for {domain}", both, total))
        if facts.spf_aligned > both:
            code = "spf_aligned" if self.anchored else "stray_spf"
            found.append(_part(code, f"passed SPF for {domain}", facts.spf_aligned, total))
        if facts.dkim_aligned > both:
            found.append(_part("dkim_aligned", f"had a good signature of {domain}", facts.dkim_aligned, total))
        if not facts.spf_aligned and not facts.dkim_aligned:
            text = f"None of {total:,} messages passed SPF or DKIM for {domain}."
            found.append(Evidence("never_aligned", text, {"messages": 0, "of": total}))
        if facts.forwarded:
            found.append(_part("override", "were noted as forwarded or as list mail", facts.forwarded, total))
        if self.other:
            found.append(Evidence("other_envelope", f"The mail carries the envelope domain {self.other}, not yours."))
        for name in facts.dkim:
            if name.passed and not aligned(name.name, domain):
                text = f"Good signatures of {organisational(name.name)} stand on {name.messages:,} messages."
                found.append(Evidence("other_signature", text, {"messages": name.messages, "of": total}))
                break
        return tuple(found)

    def run_by(self) -> tuple[Evidence, ...]:
        """Who runs the address, and who signs."""
        found = []
        if self.own_name:
            text = f"Its confirmed reverse name {self.who.reverse_dns} lies under your own domain."
            found.append(Evidence("own_name", text))
        for match in (self.who.operator, self.who.signer):
            if match:
                text = _HOW[match.by].format(name=match.service.name, key=match.key)
                found.append(Evidence(f"service_{match.by}", text))
        return tuple(found)


def _signed_by(facts: SourceFacts, who: Who) -> Service | None:
    """The known service whose signature stands on at least half of what passed here."""
    if who.signer is None:
        return None
    key = who.signer.key
    carried = sum(n.messages for n in facts.dkim if n.passed and f".{n.name.lower()}".endswith("." + key))
    passed = max(facts.dkim_aligned, facts.spf_aligned, 1)
    return who.signer.service if carried >= SIGNED_SHARE * passed else None


def _own_name(facts: SourceFacts, name: str | None) -> bool:
    """Is there a confirmed name under our domain that nobody made from the address itself?"""
    if not name or not aligned(name, facts.domain):
        return False
    if ":" in facts.source_ip:
        digits = sum(char in "0123456789abcdef" for char in name.partition(".")[0].lower())
        return digits < GENERIC_DIGITS
    numbers = set(_NUMBERS.findall(name))
    return sum(octet in numbers for octet in facts.source_ip.split(".")) < GENERIC_OCTETS


_HOW: Mapping[str, str] = MappingProxyType(
    {
        "network": "The address lies in the sending range of {name}.",
        "host": "Its confirmed reverse name lies under {key}, of {name}.",
        "spf": "SPF passed for {key}, an envelope domain of {name}.",
        "asn": "The address lies in {key}, the network of {name}.",
        "dkim": "Signatures of {key}, of {name}, are good.",
    }
)


def _part(code: str, did: str, part: int, total: int) -> Evidence:
    return Evidence(code, f"{part:,} of {total:,} messages {did}.", {"messages": part, "of": total})
