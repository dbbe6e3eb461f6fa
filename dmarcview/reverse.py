"""Reverse names of addresses, believed only when the name points back (RFC 8601 section 3, `iprev`), and cached.

Slow by nature: call `run` from a background thread or timer, never while mail or a page waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dmarcview.networks import Address, address
from dmarcview.store.facts import NamedAddress

if TYPE_CHECKING:
    import dns.asyncresolver

    from dmarcview.config import Config

DAY = 86_400
KEPT = 7 * DAY  # seconds for which a confirmed name is kept
KEPT_NONE = DAY  # for which "there is none" is kept
KEPT_FAILED = 3_600  # for which an address whose look-up failed is left alone
NAMES = 5  # PTR names of one address that are tried; RFC 8601 section 3 asks for a limit
BATCH = 200  # addresses of one run
AT_ONCE = 20  # look-ups under way
LONGEST = 253  # characters of a name (RFC 1035 section 2.3.4)


class LookupFailed(Exception):
    """The resolver gave no answer, neither yes nor no; ask again later."""


class Resolver(Protocol):
    """The two questions asked. No such name is an empty answer; no answer raises LookupFailed."""

    async def pointers(self, ip: str) -> Sequence[str]:
        """PTR names of an address, without the last dot."""
        ...

    async def addresses(self, name: str, version: int) -> Sequence[str]:
        """A (version 4) or AAAA (6) addresses of a name."""
        ...


class AddressBook(Protocol):
    """What the names are kept in; `dmarcview.store.Store` has it."""

    def busy_addresses(self) -> dict[str, int]: ...
    def addresses(self, ips: Iterable[str]) -> dict[str, NamedAddress]: ...
    def put_addresses(self, found: Sequence[NamedAddress]) -> None: ...


class Asked(NamedTuple):
    """What one run did: addresses asked, names confirmed, addresses that still wait."""

    asked: int
    confirmed: int
    waiting: int


async def confirmed_name(resolver: Resolver, ip: str) -> str | None:
    """The first of the address's PTR names, in order of the alphabet, that has the address; None when none has."""
    wanted = address(ip)
    if wanted is None or not _public(wanted):
        return None
    for name in sorted(await resolver.pointers(ip))[:NAMES]:
        clean = name.rstrip(".").lower()
        if not 0 < len(clean) <= LONGEST or not clean.isascii() or not clean.isprintable() or " " in clean:
            continue
        if any(address(found) == wanted for found in await resolver.addresses(clean, wanted.version)):
            return clean
    return None


def _public(where: Address) -> bool:
    """Not loopback, link-local or multicast: whose names mean nothing to others."""
    import ipaddress

    found = (
        ipaddress.IPv4Address(where.number) if where.version == 4 else ipaddress.IPv6Address(where.number)
    )  # fmt: skip
    return not (found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified)


async def look_up(resolver: Resolver, ips: Iterable[str], now: int, *, at_once: int = AT_ONCE) -> list[NamedAddress]:
    """Confirmed names of addresses, `at_once` at a time, with the second at which each answer expires."""
    gate = asyncio.Semaphore(at_once)

    async def one(ip: str) -> NamedAddress:
        async with gate:
            try:
                name = await confirmed_name(resolver, ip)
            except LookupFailed:
                return NamedAddress(ip, None, now + KEPT_FAILED)
        return NamedAddress(ip, name, now + (KEPT if name else KEPT_NONE))

    return list(await asyncio.gather(*(one(ip) for ip in dict.fromkeys(ips))))


class DnsResolver:
    """The two questions, asked through dnspython."""

    def __init__(self, resolver: dns.asyncresolver.Resolver) -> None:
        self._resolver = resolver

    async def pointers(self, ip: str) -> Sequence[str]:
        """PTR names of an address."""
        import dns.reversename

        return await self._ask(dns.reversename.from_address(ip).to_text(), "PTR")

    async def addresses(self, name: str, version: int) -> Sequence[str]:
        """A or AAAA addresses of a name."""
        return await self._ask(name, "A" if version == 4 else "AAAA")

    async def _ask(self, name: str, kind: str) -> Sequence[str]:
        import dns.exception
        import dns.resolver

        try:
            answer = await self._resolver.resolve(name, kind, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ()
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise LookupFailed(f"{kind} {name}: {error}") from error
        return [rdata.to_text().rstrip(".") for rdata in answer]


def dns_resolver(config: Config) -> DnsResolver:
    """The resolver of `[dns]`: its servers, else the system's; its timeout for each look-up."""
    import dns.asyncresolver
    import dns.nameserver

    from dmarcview.config import server

    resolver = dns.asyncresolver.Resolver(configure=not config.dns.servers)
    if config.dns.servers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(*server(text)) for text in config.dns.servers]
    resolver.timeout = resolver.lifetime = config.dns.timeout
    return DnsResolver(resolver)


def run(book: AddressBook, resolver: Resolver, now: int, *, batch: int = BATCH) -> Asked:
    """Look up the busiest addresses of the book without a fresh answer, `batch` at most, and keep the answers.

    Run the sources' `Refresher` with `everything` afterwards when `confirmed` is not 0.
    """
    busy = book.busy_addresses()
    known = book.addresses(busy)
    waiting = sorted((ip for ip in busy if ip not in known), key=lambda ip: (-busy[ip], ip))
    found = asyncio.run(look_up(resolver, waiting[:batch], now))
    book.put_addresses(found)
    return Asked(len(found), sum(answer.reverse_dns is not None for answer in found), max(0, len(waiting) - batch))
