"""The PROXY header of a load balancer, versions 1 and 2: whose connection this really is.

aiosmtpd parses it. Its reader is bounded here, and what does not name a client (LOCAL, UNKNOWN, unix
sockets: health checks of the balancer itself) says nothing of who it is.
"""

from __future__ import annotations

import ipaddress

from aiosmtpd.proxy_protocol import V2_CMD, get_proxy

from .gate import plain_address
from .inbox import Inbox

V1_BYTES = 107  # longest version 1 header, by its specification


class ProxyError(ConnectionError):
    """The header is missing or malformed: the connection cannot be served."""


class _Reader:
    """What aiosmtpd reads from."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    async def readexactly(self, n: int) -> bytes:
        return await self._inbox.exactly(n)

    async def read(self, n: int = 1) -> bytes:
        return await self._inbox.exactly(n)

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        line = bytearray()
        while not line.endswith(separator):
            if len(line) > V1_BYTES:
                raise ProxyError("header too long")
            line += await self._inbox.exactly(1)
        return bytes(line)


async def read_header(inbox: Inbox) -> str:
    """Read the header at the start of the input; the client's address, "" for none. Raises ProxyError."""
    header = await get_proxy(_Reader(inbox))
    if not header.valid:
        raise ProxyError(f"PROXY header: {header.error or 'not recognised'}")
    named = isinstance(header.src_addr, ipaddress.IPv4Address | ipaddress.IPv6Address)
    if not named or header.command == V2_CMD.LOCAL:
        return ""
    return plain_address(str(header.src_addr))
