"""The bytes that have come and are not used yet: bounded, with the sender held back while we are busy."""

from __future__ import annotations

import asyncio

HIGH_WATER = 128 * 1024  # above this the socket is not read


class Inbox:
    """Input of one connection. The door looks into `buffer` and deletes what it has used."""

    __slots__ = ("_paused", "_transport", "_waiter", "buffer", "eof")

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.eof = False
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.ReadTransport | None = None

    def attach(self, transport: asyncio.ReadTransport) -> None:
        """Take the input of this transport from now on (a new one after a TLS handshake)."""
        self._transport = transport
        self._paused = False

    def feed(self, data: bytes) -> None:
        """Add what the transport delivered."""
        self.buffer += data
        if len(self.buffer) > HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self.wake()

    def feed_eof(self) -> None:
        """Nothing more will come."""
        self.eof = True
        self.wake()

    def wake(self) -> None:
        """Let the one who waits look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def more(self) -> bool:
        """Wait until bytes have come, or someone calls `wake`; False when the end has come instead."""
        if self.eof:
            return False
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        before = len(self.buffer)
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        return len(self.buffer) > before or not self.eof

    async def exactly(self, count: int) -> bytes:
        """Exactly `count` bytes. Raises ConnectionError at the end of input."""
        while len(self.buffer) < count:
            if not await self.more():
                raise ConnectionResetError("the client left")
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data
