"""Look-ups for delivery, as values: what the DNS says, that it says nothing, or that it could not be asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.rdatatype
import dns.resolver


class DnsFailure(Exception):
    """No answer for now (SERVFAIL, timeout): the mail waits."""


class Answer(NamedTuple):
    """Records in presentation format. `exists` is False for NXDOMAIN; `secure` is the AD bit, believed only when set
    so in the settings; `ttl` in seconds; `name` the owner at the end of all CNAMEs, lower case, without the last dot.
    """

    records: tuple[str, ...]
    exists: bool
    secure: bool = False
    ttl: int = 0
    name: str = ""


class Resolver(Protocol):
    """Who answers. Tests put a table here."""

    async def ask(self, kind: str, name: str) -> Answer:
        """Records of one kind (A, AAAA, MX, TXT, TLSA, PTR). Raises DnsFailure."""
        ...


class SystemResolver:
    """The system's servers, or those given as (address, port)."""

    def __init__(self, servers: Sequence[tuple[str, int]] = (), timeout: float = 10.0, *, dnssec: bool = False) -> None:
        self._timeout = timeout
        self._servers = tuple(servers)
        self._dnssec = dnssec
        self._resolver: dns.asyncresolver.Resolver | None = None

    def _made(self) -> dns.asyncresolver.Resolver:
        if self._resolver is None:
            made = dns.asyncresolver.Resolver(configure=not self._servers)
            if self._servers:
                made.nameservers = [dns.nameserver.Do53Nameserver(host, port) for host, port in self._servers]
            made.lifetime = self._timeout
            made.use_edns(0, dns.flags.DO if self._dnssec else 0, 1232)
            if self._dnssec:
                made.flags = dns.flags.RD | dns.flags.AD
            made.cache = dns.resolver.LRUCache(10_000)
            self._resolver = made
        return self._resolver

    async def ask(self, kind: str, name: str) -> Answer:
        """See Resolver."""
        try:
            found = await self._made().resolve(name, kind, search=False, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return Answer((), False)
        except (dns.exception.DNSException, OSError) as error:
            raise DnsFailure(f"{kind} {name}: {type(error).__name__}") from None
        except (UnicodeError, ValueError):
            return Answer((), False)  # no name that the DNS could hold
        records = tuple(record.to_text() for record in found.rrset or ())
        secure = bool(self._dnssec and found.response.flags & dns.flags.AD)
        ttl = int(found.rrset.ttl) if found.rrset else 0
        return Answer(records, True, secure, ttl, found.canonical_name.to_text(omit_final_dot=True).lower())
