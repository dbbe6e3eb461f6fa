"""A far mail host in the test's own loop: remembers every mail it took, and misbehaves when asked to."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from dataclasses import dataclass, field

MESSAGE_ID = re.compile(rb"^Message-ID: <([^>]*)>\r$", re.MULTILINE | re.IGNORECASE)


@dataclass
class Sink:
    """`taken` counts mails by Message-ID at the moment the 250 is written; `cut` those whose reply never left."""

    defer: float = 0.0  # share of mails answered 451 after the final dot
    drop: float = 0.0  # share whose connection is cut instead of the final reply, the mail being kept
    hang: bool = False  # never answers
    taken: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    mails: list[bytes] = field(default_factory=list)
    keep: bool = False  # keep whole mails
    random: random.Random = field(default_factory=lambda: random.Random(1))
    port: int = 0
    connections: int = 0
    _server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> Sink:
        """Listen on loopback."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Session(self), "127.0.0.1", port, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Close the listener."""
        if self._server is not None:
            self._server.close()


class _Session(asyncio.Protocol):
    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.buffer, self.in_mail = transport, b"", False
        self.sink.connections += 1
        if not self.sink.hang:
            transport.write(b"220 sink.test ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while not self.sink.hang and not self.transport.is_closing():
            end = self.buffer.find(b"\r\n.\r\n" if self.in_mail else b"\r\n")
            if end < 0:
                return
            line, self.buffer = self.buffer[: end + 2], self.buffer[end + (5 if self.in_mail else 2) :]
            if self.in_mail:
                self.in_mail = False
                self._end(line)
            else:
                self._command(line[:4].upper())

    def _command(self, verb: bytes) -> None:
        if verb == b"EHLO":
            self.transport.write(b"250-sink.test\r\n250-PIPELINING\r\n250-SIZE 50000000\r\n250 8BITMIME\r\n")
        elif verb == b"DATA":
            self.in_mail = True
            self.transport.write(b"354 go\r\n")
        elif verb == b"QUIT":
            self.transport.write(b"221 bye\r\n")
            self.transport.close()
        else:
            self.transport.write(b"250 2.0.0 ok\r\n")

    def _end(self, mail: bytes) -> None:
        sink = self.sink
        found = MESSAGE_ID.search(mail)
        name = found[1].decode() if found else ""
        chance = sink.random.random()
        if chance < sink.defer:
            self.transport.write(b"451 4.3.0 later\r\n")
            return
        sink.taken[name] += 1
        if sink.keep:
            sink.mails.append(mail)
        if chance < sink.defer + sink.drop:
            sink.cut[name] += 1
            self.transport.abort()
        else:
            self.transport.write(b"250 2.0.0 ok\r\n")
