"""Walks an SPF record as a receiver would (RFC 7208), to tell what it costs and which addresses it covers."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dmarcview.dns.records import addresses, exchangers, texts

if TYPE_CHECKING:
    from dmarcview_reports.trust_dns import Resolver

LOOKUPS = 10  # RFC 7208 section 4.6.4
VOIDS = 2  # the same section
EXCHANGERS = 10  # the same section, for each mx
WALKED = 40  # look-ups after which we stop: the record is broken long before
TERMS = 200  # most terms of one record that are read

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_TERM = re.compile(r"([+\-~?]?)(all|include|a|mx|ptr|ip4|ip6|exists)(?:([:/])(.*))?", re.IGNORECASE)
_MODIFIER = re.compile(r"([a-z][a-z0-9_.-]*)=(.*)", re.IGNORECASE)
_PREFIX = re.compile(r"(.*?)(?:/(\d{1,3}))?(?://(\d{1,3}))?")
RESULTS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One mechanism. It matches an address in `networks`, one that `included` passes, or, as `all`, every one."""

    qualifier: str
    networks: tuple[Network, ...] = ()
    included: Record | None = None
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """One SPF record with the records that it includes."""

    domain: str
    text: str
    mechanisms: tuple[Mechanism, ...] = ()
    redirect: Record | None = None

    def result(self, address: str) -> str:
        """pass, fail, softfail or neutral for an address."""
        ip = ipaddress.ip_address(address)
        for one in self.mechanisms:
            within = any(ip.version == net.version and ip in net for net in one.networks)
            if one.everything or within or (one.included and one.included.result(address) == "pass"):
                return RESULTS[one.qualifier]
        return self.redirect.result(address) if self.redirect else "neutral"

    @property
    def otherwise(self) -> str:
        """The qualifier of what matches nothing: that of `all`, "" when there is none."""
        last = next((one.qualifier for one in self.mechanisms if one.everything), "")
        return last or (self.redirect.otherwise if self.redirect else "")


@dataclass(slots=True)
class Walk:
    """What a walk came to: the record, its cost, and what is wrong with it, each a sentence."""

    record: Record | None = None
    lookups: int = 0
    voids: int = 0
    faults: list[str] = field(default_factory=list)  # receivers take the record for broken (permerror, section 2.6.7)
    flaws: list[str] = field(default_factory=list)  # it works, and should be mended
    notes: list[str] = field(default_factory=list)  # what could not be judged here


def records(domain: str, ask: Resolver) -> list[str]:
    """The SPF records of a domain; more than one is an error (RFC 7208 section 4.5). Raises DnsFailure."""
    return [text for text in texts(domain, ask) if text.lower().split(" ")[0] == "v=spf1"]


def walk(domain: str, ask: Resolver) -> Walk:
    """Walk the record of a domain with all its includes. Raises DnsFailure."""
    walker = _Walker(ask)
    found = walker.found
    found.record = walker.record(domain, ())
    if found.voids > VOIDS:
        found.faults.insert(0, f"{found.voids} of its look-ups find nothing; receivers stop after {VOIDS}")
    if found.lookups > LOOKUPS:
        found.faults.insert(
            0,
            f"it needs {'more than ' if found.lookups > WALKED else ''}{min(found.lookups, WALKED)} look-ups; receivers"
            f" stop at {LOOKUPS}, and SPF then fails for all your mail (RFC 7208 section 4.6.4)",
        )
    return found


class _Walker:
    """Follows the terms of records and counts."""

    def __init__(self, ask: Resolver) -> None:
        self.found = Walk()
        self._ask = ask

    def record(self, domain: str, above: tuple[str, ...]) -> Record | None:
        """The record of a domain that those `above` include; None when it has not exactly one."""
        if domain in above:
            self.found.faults.append(f"{domain} includes itself")
            return None
        found = records(domain, self._ask)
        if len(found) != 1:
            if above:
                what = "several SPF records" if found else "no SPF record"
                self.found.faults.append(f"it includes {domain}, which has {what}")
            elif found:
                self.found.faults.append(f"there are {len(found)} SPF records; receivers take none (section 4.5)")
            return None
        mechanisms: list[Mechanism] = []
        redirect = ""
        for term in found[0].split()[1 : TERMS + 1]:
            if match := _TERM.fullmatch(term):
                mechanisms += self._mechanism(match, domain, above)
            elif match := _MODIFIER.fullmatch(term):
                redirect = match[2].rstrip(".").lower() if match[1].lower() == "redirect" else redirect
            else:
                self.found.faults.append(f"{domain}: {term!r} is no term of SPF")
        followed = None
        if redirect and not any(one.everything for one in mechanisms) and self._spend():
            followed = self.record(redirect, (*above, domain))
        return Record(domain, found[0], tuple(mechanisms), followed)

    def _spend(self) -> bool:
        """Count one look-up; False when there were so many that we stop."""
        self.found.lookups += 1
        return self.found.lookups <= WALKED

    def _mechanism(self, match: re.Match[str], domain: str, above: tuple[str, ...]) -> list[Mechanism]:
        term, qualifier, kind, rest = match[0], match[1] or "+", match[2].lower(), match[4] or ""
        if kind == "all":
            return [Mechanism(qualifier, everything=True)]
        if kind in ("ip4", "ip6"):
            return [Mechanism(qualifier, (net,)) for net in self._network(kind, rest, f"{domain}: {term!r}")]
        if not self._spend():
            return []
        if kind == "ptr":
            self.found.flaws.append(f"{domain}: `ptr` is slow and often ignored; name the addresses (section 5.5)")
        elif kind == "exists" or "%" in rest:
            self.found.notes.append(f"{domain}: {term!r} depends on the mail and is not judged here")
        elif kind == "include":
            if included := self.record(rest.rstrip(".").lower(), (*above, domain)):
                return [Mechanism(qualifier, included=included)]
        else:
            nets = self._hosts(kind, match[3] + rest if match[3] else "", domain)
            return [Mechanism(qualifier, nets)]
        return []

    def _network(self, kind: str, text: str, where: str) -> list[Network]:
        try:
            net = ipaddress.ip_network(text, strict=False)
        except ValueError:
            net = None
        if net is None or f"ip{net.version}" != kind:
            self.found.faults.append(f"{where} is no network")
            return []
        return [net]

    def _hosts(self, kind: str, rest: str, domain: str) -> tuple[Network, ...]:
        """The addresses of `a` and `mx`, each with a name and lengths of prefixes (sections 5.3, 5.4, 5.6)."""
        found = _PREFIX.fullmatch(rest)
        name = (found[1].removeprefix(":").rstrip(".").lower() if found else "") or domain
        hosts = exchangers(name, self._ask)[:EXCHANGERS] if kind == "mx" else [name]
        ips = [ip for host in hosts if host for ip in addresses(host, self._ask)]
        if not ips:
            self.found.voids += 1
            self.found.notes.append(f"{domain}: {kind}{rest} names no address")
        lengths = {4: found[2] if found else None, 6: found[3] if found else None}
        nets: list[Network] = []
        for ip in ips:
            version = 6 if ":" in ip else 4
            length = lengths[version] or ("128" if version == 6 else "32")
            nets += self._network(f"ip{version}", f"{ip}/{length}", f"{domain}: {kind}{rest}")
        return tuple(nets)
