"""Who sends for a domain, by the settings and by the keys that this host has."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmarcview.config import data_dir
from dmarcview.dns.records import addresses
from dmarcview.dns.sending import Sender
from dmarcview_relay.keys import KeyRing, checked_domain
from dmarcview_reports.trust_dns import DnsFailure

if TYPE_CHECKING:
    from dmarcview.config import Config
    from dmarcview_reports.trust_dns import Resolver


def sender_of(config: Config, domain: str, sources: Sequence[str] = (), ring: KeyRing | None = None) -> Sender:
    """The sender of a domain; `sources` go before the addresses that are set. Raises KeyFault, ValueError."""
    name = checked_domain(domain)
    ring = ring or KeyRing(data_dir(config) / "relay" / "keys")
    ring.refresh()
    signing = ring.signing(name)
    homes = {name, *(key.domain for key in signing)}
    delivery = config.relay.delivery
    given = sources or [ip for ip in (delivery.source_ipv4, delivery.source_ipv6) if ip]
    hostname = config.relay.hostname or config.receive.hostname
    return Sender(
        domain=name,
        hostname=hostname.rstrip(".").lower(),
        sources=tuple(str(ipaddress.ip_address(ip)) for ip in given),
        keys=tuple(key for key in ring.all() if key.domain in homes),
        signing=signing,
        rua=config.receive.rua,
        tlsrpt=config.receive.tlsrpt,
        holds=config.relay.keys.check == "hold",
    )


def sending_domains(config: Config, ring: KeyRing) -> list[str]:
    """Domains that have a key, and those that the settings let send, by alphabet."""
    listed = [one for one in (*config.relay.senders, *config.relay.froms) if "@" in one and not one.startswith("/")]
    return sorted({key.domain for key in ring.all()} | {one.rpartition("@")[2].lower() for one in listed})


def own_addresses(hostname: str, ask: Resolver) -> tuple[str, ...]:
    """The addresses of this host's name: where mail most likely leaves from."""
    try:
        return tuple(addresses(hostname, ask)) if hostname else ()
    except DnsFailure:
        return ()
