"""The records that let reports arrive: the DMARC record with its rua, the authorisation of the address, the MX."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dmarcview.config import server
from dmarcview.organisation import aligned

if TYPE_CHECKING:
    from dmarcview.config import Config
    from dmarcview_reports.trust_dns import DnsResolver, Resolver

DMARC_TAG = "v=dmarc1"


def resolver(config: Config) -> DnsResolver:
    """The resolver that [dns] names. Raises DnsFailure when the system names none."""
    import dns.nameserver
    from dns.resolver import NoResolverConfiguration

    from dmarcview_reports.trust_dns import DnsFailure, DnsResolver

    servers = [dns.nameserver.Do53Nameserver(*server(text)) for text in config.dns.servers]
    try:
        return DnsResolver(servers, config.dns.timeout)  # type: ignore[arg-type] # dnspython takes both, with ports
    except NoResolverConfiguration:
        raise DnsFailure("the system names no resolver; set [dns] servers") from None


class Destination(NamedTuple):
    """Where a domain asks for aggregate reports: a mail address, and whether its host has agreed to take them."""

    address: str
    authorised: bool | None  # None: the same organisation, nothing to agree
    record: str  # the name that must hold `v=DMARC1`, when it is another organisation's host


class Published(NamedTuple):
    """What a domain publishes."""

    domain: str
    record: str | None  # the DMARC record; None when there is none, or several, which count as none
    destinations: tuple[Destination, ...]


def texts(name: str, ask: Resolver) -> list[str]:
    """TXT records of a name. Raises DnsFailure."""
    return [value.decode("utf-8", "replace") for value in ask.ask("TXT", name)]


def exchangers(name: str, ask: Resolver) -> list[str]:
    """Mail exchangers of a name, best first. Raises DnsFailure."""
    return [host for _, host in sorted(ask.ask("MX", name))]


def addresses(name: str, ask: Resolver) -> list[str]:
    """IPv4 and IPv6 addresses of a name. Raises DnsFailure."""
    return [*ask.ask("A", name), *ask.ask("AAAA", name)]


def tags(record: str) -> dict[str, str]:
    """The tags of a DMARC record (RFC 9989 section 4.7), names in lower case; the first of a repeated tag holds."""
    found: dict[str, str] = {}
    for part in record.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            found.setdefault(name.strip().lower(), value.strip())
    return found


def _is_dmarc(text: str) -> bool:
    return "".join(text.partition(";")[0].split()).lower() == DMARC_TAG


def dmarc_texts(name: str, ask: Resolver) -> list[str]:
    """The DMARC records at a name; anything else that stands there is left out. Raises DnsFailure."""
    return [text for text in texts(name, ask) if _is_dmarc(text)]


def dmarc_record(domain: str, ask: Resolver) -> str | None:
    """The record at `_dmarc.<domain>`; several are as good as none (RFC 9989 section 4.10)."""
    found = dmarc_texts(f"_dmarc.{domain}", ask)
    return found[0] if len(found) == 1 else None


def addresses_of(rua: str) -> list[str]:
    """Mail addresses of a rua or ruf tag; a size limit such as `!10m` is left off."""
    found = []
    for uri in rua.split(","):
        scheme, colon, rest = uri.strip().partition(":")
        local, at, host = rest.partition("!")[0].strip().rpartition("@")
        if colon and at and scheme.lower() == "mailto":
            found.append(f"{local}@{host.lower()}")
    return found


def consents(domain: str, record: str) -> dict[str, str]:
    """The hosts of other organisations to which a DMARC record sends reports, by the name that holds their consent."""
    hosts = {address.rpartition("@")[2] for address in addresses_of(tags(record).get("rua", ""))}
    return {f"{domain}._report._dmarc.{host}": host for host in sorted(hosts) if not aligned(host, domain)}


def published(domain: str, ask: Resolver) -> Published:
    """What `domain` publishes about its reports, with the consent of hosts elsewhere (RFC 9990). Raises DnsFailure."""
    record = dmarc_record(domain, ask)
    if record is None:
        return Published(domain, None, ())
    destinations = []
    for address in addresses_of(tags(record).get("rua", "")):
        host = address.rpartition("@")[2]
        if aligned(host, domain):
            destinations.append(Destination(address, None, ""))
            continue
        name = f"{domain}._report._dmarc.{host}"
        destinations.append(Destination(address, bool(dmarc_texts(name, ask)), name))
    return Published(domain, record, tuple(destinations))
