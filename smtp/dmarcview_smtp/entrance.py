"""Opens and closes the listeners: TCP or unix sockets, all through one gate."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .connection import Connection
from .door import Door
from .files import allow_files
from .gate import Gate
from .policy import Policy
from .settings import MODES, PROTOCOLS, DoorSettings, Listener
from .site import Site
from .tls import Certificate

BACKLOG = 512
Certificates = Certificate | Callable[[Listener], Certificate | None] | None


@dataclass(slots=True, eq=False)
class _Gateway:
    """One listening socket. New connections meet `site`, those that are inside keep the one they came to."""

    site: Site
    listening: tuple[str, int] = ("", 0)
    server: asyncio.Server | None = None
    former: list[Site] = field(default_factory=list)

    @property
    def sites(self) -> list[Site]:
        return [self.site, *self.former]


class Entrance:
    """All listeners of one service."""

    def __init__(
        self,
        policy: Policy,
        settings: DoorSettings,
        *,
        hostname: str,
        certificate: Certificates = None,
        spill: Path | None = None,
        door: Callable[[Site], Connection] = Door,
    ) -> None:
        """`spill` is the folder for large mails on their way in, the system's temporary folder when None.

        `certificate` is one for all listeners, or a function that gives each its own.
        """
        self.gate = Gate(settings)
        self._policy = policy
        self._settings = settings
        self._hostname = hostname
        self._certificate: Certificates = certificate
        self._spill = spill
        self._door = door
        self._open: list[_Gateway] = []
        self._shut: list[_Gateway] = []  # nobody comes in any more, some may be inside

    async def open(self, listener: Listener) -> tuple[str, int]:
        """Listen; gives the address and port in use, or (path, 0). Raises OSError, and ValueError for bad settings."""
        allow_files(self._settings.connections)
        gateway = _Gateway(self._site(listener))
        loop = asyncio.get_running_loop()

        def door() -> Connection:
            return self._door(gateway.site)

        if listener.path:
            sock = _unix_socket(Path(listener.path), listener.path_mode)
            gateway.server = await loop.create_unix_server(door, sock=sock, backlog=BACKLOG)
            gateway.listening = listener.path, 0
        else:
            gateway.server = await loop.create_server(door, listener.host, listener.port, backlog=BACKLOG)
            gateway.listening = gateway.server.sockets[0].getsockname()[:2]
        self._open.append(gateway)
        return gateway.listening

    def _site(self, listener: Listener) -> Site:
        if listener.mode not in MODES or listener.protocol not in PROTOCOLS:
            raise ValueError(f"mode is one of {', '.join(MODES)}; protocol one of {', '.join(PROTOCOLS)}")
        certificate = self._certificate(listener) if callable(self._certificate) else self._certificate
        if listener.mode != "plain" and certificate is None:
            raise ValueError(f"mode {listener.mode} needs a certificate")
        return Site(self._policy, self._settings, listener, self._hostname, self.gate, certificate, self._spill)

    async def change(
        self, listeners: Sequence[Listener], settings: DoorSettings, certificate: Certificates
    ) -> list[tuple[str, int]]:
        """Listen on these and with these bounds from now on; who is inside notices nothing. Gives what is in use.

        Raises OSError and ValueError, and then all is as it was.
        """
        before = self._settings, self._certificate
        self._settings, self._certificate = settings, certificate
        known = {_place(gateway.site.listener): gateway for gateway in self._open}
        opened = len(self._open)
        try:
            sites = {place: self._site(each) for each in listeners if (place := _place(each)) in known}
            for listener in listeners:
                if _place(listener) not in known:
                    await self.open(listener)
        except BaseException:
            self._settings, self._certificate = before
            for gateway in self._open[opened:]:
                _stop_listening(gateway)
            del self._open[opened:]
            raise
        self.gate.settings = settings
        allow_files(settings.connections)
        for place, gateway in known.items():
            if place in sites:
                gateway.former.append(gateway.site)
                gateway.former = [site for site in gateway.former if site.doors or site.deliveries]
                gateway.site = sites[place]
            else:
                _stop_listening(gateway)
                self._open.remove(gateway)
                self._shut.append(gateway)
        return [gateway.listening for gateway in self._open]

    async def close(self, grace: float = 10.0) -> None:
        """Take no more connections, let mails under way end within `grace` seconds, then cut what is left."""
        for gateway in self._open:
            _stop_listening(gateway)
        sites = [site for gateway in (*self._open, *self._shut) for site in gateway.sites]
        for site in sites:
            for door in list(site.doors):
                door.leave()
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
        self._shut.clear()


def _place(listener: Listener) -> tuple[str, int]:
    return (listener.path, 0) if listener.path else (listener.host, listener.port)


def _stop_listening(gateway: _Gateway) -> None:
    if gateway.server is not None:
        gateway.server.close()
    if gateway.site.listener.path:
        Path(gateway.site.listener.path).unlink(missing_ok=True)


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
