"""What all connections of one listener share."""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .gate import Gate, Network
from .policy import Policy
from .settings import DoorSettings, Listener
from .tls import Certificate

if TYPE_CHECKING:
    from .connection import Connection


@dataclass(slots=True)
class Site:
    """`gate` may be shared with other listeners; `spill` is the folder for large mails on their way in."""

    policy: Policy
    settings: DoorSettings
    listener: Listener
    hostname: str
    gate: Gate
    certificate: Certificate | None = None
    spill: Path | None = None
    doors: set[Connection] = field(default_factory=set)
    deliveries: set[asyncio.Task[object]] = field(default_factory=set)
    proxy_networks: tuple[Network, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.proxy_networks = tuple(ipaddress.ip_network(peer) for peer in self.listener.proxy_peers)
