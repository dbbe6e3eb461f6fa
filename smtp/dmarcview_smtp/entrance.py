"""Opens and closes the listeners: TCP or unix sockets, all through one gate."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import Callable
from pathlib import Path

from .connection import Connection
from .door import Door
from .gate import Gate
from .policy import Policy
from .settings import MODES, PROTOCOLS, DoorSettings, Listener
from .site import Site
from .tls import Certificate

BACKLOG = 512


class Entrance:
    """All listeners of one service."""

    def __init__(
        self,
        policy: Policy,
        settings: DoorSettings,
        *,
        hostname: str,
        certificate: Certificate | None = None,
        spill: Path | None = None,
        door: Callable[[Site], Connection] = Door,
    ) -> None:
        """`spill` is the folder for large mails on their way in, the system's temporary folder when None."""
        self.gate = Gate(settings)
        self._policy = policy
        self._settings = settings
        self._hostname = hostname
        self._certificate = certificate
        self._spill = spill
        self._door = door
        self._open: list[tuple[asyncio.Server, Site]] = []

    async def open(self, listener: Listener) -> tuple[str, int]:
        """Listen; gives the address and port in use, or (path, 0). Raises OSError, and ValueError for bad settings."""
        if listener.mode not in MODES or listener.protocol not in PROTOCOLS:
            raise ValueError(f"mode is one of {', '.join(MODES)}; protocol one of {', '.join(PROTOCOLS)}")
        if listener.mode != "plain" and self._certificate is None:
            raise ValueError(f"mode {listener.mode} needs a certificate")
        site = Site(self._policy, self._settings, listener, self._hostname, self.gate, self._certificate, self._spill)
        loop = asyncio.get_running_loop()

        def door() -> Connection:
            return self._door(site)

        if listener.path:
            sock = _unix_socket(Path(listener.path), listener.path_mode)
            server = await loop.create_unix_server(door, sock=sock, backlog=BACKLOG)
        else:
            server = await loop.create_server(door, listener.host, listener.port, backlog=BACKLOG)
        self._open.append((server, site))
        if listener.path:
            return listener.path, 0
        host, port = server.sockets[0].getsockname()[:2]
        return host, port

    async def close(self, grace: float = 10.0) -> None:
        """Take no more connections, let mails under way end within `grace` seconds, then cut what is left."""
        for server, site in self._open:
            server.close()
            _forget_socket(site.listener.path)
            for door in list(site.doors):
                door.leave()
        sites = [site for _, site in self._open]
        try:
            async with asyncio.timeout(grace):
                for door in [door for site in sites for door in site.doors]:
                    await door.gone.wait()
        except TimeoutError:
            pass
        for site in sites:
            for door in list(site.doors):
                door.abort()
        deliveries = [task for site in sites for task in site.deliveries]
        if deliveries:  # no grace here: what was taken is made durable
            await asyncio.wait(deliveries)
        await asyncio.sleep(0)
        self._open.clear()


def _forget_socket(path: str) -> None:
    if path:
        Path(path).unlink(missing_ok=True)


def _unix_socket(path: Path, mode: int) -> socket.socket:
    """Bind with the right permissions before anybody can connect. A socket left by a dead process is replaced."""
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        path.chmod(mode)
    except OSError:
        sock.close()
        raise
    return sock
