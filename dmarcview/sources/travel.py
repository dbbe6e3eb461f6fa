"""How a domain's mail usually travels: the home of each signing key, and the addresses that SPF covers.

A good signature tells who signed, not who delivered. A key's home is where it signs: the sources that SPF covers, or
when there are none, the envelope under which most of what it signed travels. What travels otherwise was passed on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from dmarcview.networks import address
from dmarcview.organisation import aligned, organisational
from dmarcview.sources.evidence import Who
from dmarcview.store.facts import SourceFacts

ANCHOR_SHARE = 0.05  # of a source's messages that pass SPF aligned: the record covers the address
ANCHOR_MESSAGES = 10  # that many such messages on ANCHOR_DAYS days are enough at ANCHOR_LEAST of the messages
ANCHOR_DAYS = 2
ANCHOR_LEAST = 0.005
HOME_SHARE = 0.05  # of what a key signs, sent by anchored sources: they are its home
OTHER_SHARE = 0.5  # of a source's messages under somebody else's envelope: it is the source's habit

ANY_KEY = ("", "")  # all keys of the domain together; stands in where reports name none
Key = tuple[str, str]  # (signing domain, selector)


class Home(NamedTuple):
    """What one key signed: messages sent by anchored sources, and by envelope organisation ("" = ours or unknown)."""

    anchored: int
    by_envelope: dict[str, int]

    @property
    def messages(self) -> int:
        """All that the key signed."""
        return sum(self.by_envelope.values())

    @property
    def is_anchored(self) -> bool:
        """Do sources that SPF covers send a fair part of it?"""
        return self.anchored > 0 and self.anchored >= HOME_SHARE * self.messages

    @property
    def envelope(self) -> str:
        """The envelope organisation of most of it; the first by name among equals."""
        return min(self.by_envelope, key=lambda name: (-self.by_envelope[name], name))


class Habits(NamedTuple):
    """The habits of one domain."""

    homes: dict[Key, Home]
    anchored_blocks: frozenset[tuple[int, int]]  # /24 and /64 of anchored sources that no service runs
    anchored_services: frozenset[str]

    @property
    def has_anchor(self) -> bool:
        """Is any of the domain's signed mail sent from where SPF covers?"""
        return ANY_KEY in self.homes and self.homes[ANY_KEY].is_anchored


class Way(NamedTuple):
    """How what our keys signed came by a source: was it passed on, and its share of what the key signs."""

    passed_on: bool
    share: float


def anchored(facts: SourceFacts) -> bool:
    """Does our SPF record cover the address? Passes of long ago still count, a stray one does not."""
    passed = facts.spf_aligned
    if not passed:
        return False
    if passed >= ANCHOR_SHARE * facts.messages:
        return True
    return passed >= ANCHOR_MESSAGES and facts.days >= ANCHOR_DAYS and passed >= ANCHOR_LEAST * facts.messages


def keys(facts: SourceFacts) -> dict[Key, int]:
    """Our own keys whose signatures passed here, with messages."""
    found: dict[Key, int] = {}
    for name in facts.dkim:
        if name.passed and aligned(name.name, facts.domain):
            key = (name.name.lower(), name.selector or "")
            found[key] = found.get(key, 0) + name.messages
    if not found and facts.dkim_aligned:
        found[ANY_KEY] = facts.dkim_aligned
    return found


def busiest(own: dict[Key, int]) -> Key:
    """The key that signed most; the first by name among equals."""
    return min(own, key=lambda key: (-own[key], key))


def other_envelope(facts: SourceFacts) -> str:
    """The organisation, not ours, whose envelope most of the messages carry; "" when there is none.

    Not all reports tell the envelope (RFC 9990 makes it optional), so a passed SPF check of the sender counts as well.
    """
    told: dict[str, int] = defaultdict(int)
    for name in facts.envelope_from:
        if name.name and not aligned(name.name, facts.domain):
            told[organisational(name.name)] += name.messages
    checked = _checked(facts)
    if not told and not checked:
        return ""
    most = {org: max(told[org], checked.get(org, 0)) for org in {*told, *checked}}
    first = min(most, key=lambda org: (-most[org], org))
    return first if most[first] >= OTHER_SHARE * facts.messages else ""


def checked_envelope(facts: SourceFacts) -> bool:
    """Did SPF pass for that organisation on most of the messages? An envelope can be written by anybody."""
    other = other_envelope(facts)
    return bool(other) and _checked(facts).get(other, 0) >= OTHER_SHARE * facts.messages


def _checked(facts: SourceFacts) -> dict[str, int]:
    """Messages by the organisation, not ours, for whose envelope SPF passed."""
    out: dict[str, int] = defaultdict(int)
    for name in facts.spf:
        # a HELO name is the host's, not the sender's (RFC 7208 section 2.3)
        if name.passed and name.name and name.selector != "helo" and not aligned(name.name, facts.domain):
            out[organisational(name.name)] += name.messages
    return out


def block(ip: str) -> tuple[int, int] | None:
    """The /24 (IPv4) or /64 (IPv6) that holds the address."""
    found = address(ip)
    if found is None:
        return None
    return (4, found.number >> 8) if found.version == 4 else (6, found.number >> 64)


def habits(sources: Iterable[tuple[SourceFacts, Who]]) -> Habits:
    """The habits that all sources of one domain show together."""
    counts: dict[Key, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    anchors: dict[Key, int] = defaultdict(int)
    blocks: set[tuple[int, int]] = set()
    services: set[str] = set()
    for facts, who in sources:
        is_anchor = anchored(facts)
        if is_anchor:
            if who.operator:
                services.add(who.operator.service.name)
            elif found := block(facts.source_ip):
                blocks.add(found)
        if not facts.dkim_aligned:
            continue
        envelope = "" if is_anchor else other_envelope(facts)
        for key, messages in {**keys(facts), ANY_KEY: facts.dkim_aligned}.items():
            counts[key][envelope] += messages
            if is_anchor:
                anchors[key] += messages
    homes = {key: Home(anchors[key], dict(found)) for key, found in counts.items()}
    return Habits(homes, frozenset(blocks), frozenset(services))


def way(own: dict[Key, int], envelope: str, known: Habits) -> Way:
    """How a source that SPF does not cover came by what our keys signed: the answer of its busiest key."""
    if not own:
        return Way(passed_on=False, share=0.0)
    key = busiest(own)
    home = known.homes.get(key)
    if home is None or not home.messages:
        return Way(passed_on=False, share=1.0)
    passed_on = home.is_anchored or home.envelope != envelope
    return Way(passed_on, min(1.0, own[key] / home.messages))
