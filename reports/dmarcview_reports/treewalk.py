"""The DNS tree walk of DMARC (RFC 9989 section 4.10): policy record and organisational domain of a name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .trust_dns import Resolver

QUERIES = 8  # most look-ups in one walk (RFC 9989 section 4.10)
_RECORD = re.compile(rb"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_POLICIES = ("none", "quarantine", "reject")


class Record(NamedTuple):
    """A DMARC policy record where it was found."""

    domain: str
    tags: dict[str, str]

    @property
    def policy(self) -> str | None:
        """p=; a record without a valid one counts as none if it has somewhere to report to, else not at all."""
        p = self.tags.get("p", "").lower()
        bad = [tag for tag in ("sp", "np") if tag in self.tags and self.tags[tag].lower() not in _POLICIES]
        if p in _POLICIES and not bad:
            return p
        return "none" if "mailto:" in self.tags.get("rua", "").lower() else None


def record_at(domain: str, resolver: Resolver) -> Record | None:
    """The one valid record at `_dmarc.<domain>`; several are none. Raises DnsFailure."""
    found = [text for text in resolver.ask("TXT", f"_dmarc.{domain}") if _RECORD.match(text)]
    if len(found) != 1:
        return None
    tags: dict[str, str] = {}
    for spec in found[0].decode("ascii", "replace").split(";"):
        name, equals, value = spec.partition("=")
        if equals:
            tags.setdefault(name.strip().lower(), value.strip())
    return Record(domain, tags)


def walk(domain: str, resolver: Resolver) -> list[Record]:
    """Records from `domain` up to the top, the longest name first; a psd= of y or n ends the walk."""
    found: list[Record] = []
    for name in _names(domain):
        record = record_at(name, resolver)
        if record is not None:
            found.append(record)
            if record.tags.get("psd", "").lower() in ("y", "n"):
                break
    return found


def _names(domain: str) -> Iterator[str]:
    """The name itself, then its parents; of eight labels and more, only the last seven are walked."""
    yield domain
    labels = domain.split(".")
    for start in range(max(1, len(labels) - (QUERIES - 1)), len(labels)):
        yield ".".join(labels[start:])


def organisational(domain: str, resolver: Resolver) -> str:
    """The organisational domain of `domain` (RFC 9989 section 4.10.2). Raises DnsFailure."""
    records = walk(domain, resolver)
    for record in records:
        psd = record.tags.get("psd", "").lower()
        if psd == "n":
            return record.domain
        if psd == "y" and record.domain != domain:
            below = len(record.domain.split(".")) + 1
            return ".".join(domain.split(".")[-below:])
    return records[-1].domain if records else domain


def policy_of(domain: str, resolver: Resolver) -> Record | None:
    """The record that applies to mail from `domain` (RFC 9989 section 4.10.1): its own, else its organisation's, else
    its public suffix's; None when DMARC does not apply. Raises DnsFailure.
    """
    own = record_at(domain, resolver)
    if own is None:
        records = walk(domain, resolver)
        if not records:
            return None
        at = organisational(domain, resolver)
        own = next((record for record in records if record.domain == at), records[-1])
    return own if own.policy is not None else None


def aligned(author: str, identifier: str, strict: bool, resolver: Resolver) -> bool:
    """Is an authenticated name aligned with the From domain (RFC 9989 section 4.10.2)? Raises DnsFailure."""
    if author == identifier:
        return True
    if strict or author.rpartition(".")[2] != identifier.rpartition(".")[2]:
        return False
    return organisational(author, resolver) == organisational(identifier, resolver)
