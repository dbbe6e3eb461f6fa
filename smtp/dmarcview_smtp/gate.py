"""How many may be inside at once: connections in all and for each client."""

from __future__ import annotations

import ipaddress
from collections import Counter
from functools import lru_cache

from .replies import TOO_BUSY, TOO_MANY_FROM_CLIENT, Reply
from .settings import DoorSettings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def plain_address(text: str) -> str:
    """An IP address in one spelling: without zone, and IPv4 when it is IPv4 mapped into IPv6. Other text comes back."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return text
    mapped = address.ipv4_mapped if address.version == 6 else None
    return str(mapped or address)


def client_key(address: str) -> str:
    """What counts as one client: an IPv4 address, or an IPv6 /64, which is what one customer has."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ip) if ip.version == 4 else str(ipaddress.IPv6Network((int(ip) >> 64 << 64, 64)))


@lru_cache(maxsize=10_000)  # asked several times for each mail
def is_within(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether the address lies in one of the networks."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in networks)


class Gate:
    """Counts who is inside. The caller gives back each key that it was given."""

    def __init__(self, settings: DoorSettings) -> None:
        self.settings = settings
        self._clients: Counter[str] = Counter()
        self.inside = 0

    def enter(self) -> Reply | None:
        """Count one connection; None, or the reply that refuses it (it is counted all the same until `leave`)."""
        self.inside += 1
        return TOO_BUSY if self.inside > self.settings.connections else None

    def leave(self) -> None:
        """The connection is gone."""
        self.inside -= 1

    def admit(self, key: str) -> Reply | None:
        """Count one more of this client, or refuse it and count nothing. Unix sockets ("") have no own limit."""
        if key and self._clients[key] >= self.settings.connections_per_client:
            return TOO_MANY_FROM_CLIENT
        self._clients[key] += 1
        return None

    def dismiss(self, key: str) -> None:
        """One of this client is gone."""
        self._clients[key] -= 1
        if self._clients[key] <= 0:
            del self._clients[key]
