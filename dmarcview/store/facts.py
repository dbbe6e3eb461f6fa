"""Who is behind an address: the values that classification reads from the store and writes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Named(NamedTuple):
    """A name seen with a source, and how many messages carried it."""

    name: str
    selector: str | None  # of a DKIM signature; scope of an SPF check; else None
    passed: bool | None  # did that mechanism pass for this name; None where it makes no sense
    messages: int


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What believed reports said of one address sending as one policy domain, as far as it bears on its class.

    Counts are messages.
    """

    domain: str
    source_ip: str
    messages: int
    dmarc_pass: int
    spf_aligned: int
    dkim_aligned: int
    both: int  # SPF and DKIM aligned
    forwarded: int  # with an override that names a detour
    first_seen: int  # first second of the first day with a message
    last_seen: int  # last second of the last day with a message
    days: int  # days with at least one message
    dkim: tuple[Named, ...] = ()  # signing domains, most messages first
    spf: tuple[Named, ...] = ()  # domains of SPF checks
    envelope_from: tuple[Named, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceRow:
    """What classification found out about one address sending as one policy domain."""

    domain: str
    source_ip: str
    source_class: str  # own, third_party, forwarder, unknown
    by: str = "rule"  # or "user": a label decided
    confidence: str = ""
    evidence: tuple[dict[str, object], ...] = ()  # each {"code", "text", ...numbers}
    service: str | None = None
    service_type: str | None = None
    country: str | None = None
    asn: int | None = None
    as_name: str | None = None
    reverse_dns: str | None = None
    first_seen: int = 0
    last_seen: int = 0
    messages: int = 0


@dataclass(frozen=True, slots=True)
class Label:
    """A user's word on a source. It wins over every rule."""

    scope: str  # one of SCOPES
    value: str
    source_class: str
    domain: str = ""  # "" is every domain
    author: str = ""
    at: int = 0
    note: str = ""
    id: int = field(default=0, compare=False)


class NamedAddress(NamedTuple):
    """A reverse DNS answer, kept until it expires; `reverse_dns` None says: asked, and there is no confirmed name."""

    source_ip: str
    reverse_dns: str | None
    expires: int


SCOPES = ("ip", "network", "service", "asn", "dkim")
CLASSES = ("own", "third_party", "forwarder", "unknown")
