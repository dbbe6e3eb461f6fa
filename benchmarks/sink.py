"""A far mail host that takes everything at once and counts: `python benchmarks/sink.py PORT COUNTER-FILE`.

It acknowledges TCP at once, so that a client without TCP_NODELAY is not measured by delayed acknowledgements. The count
of taken mails stands in the first eight bytes of the counter file, for whoever maps it.
"""

from __future__ import annotations

import asyncio
import mmap
import socket
import struct
import sys
from pathlib import Path


class Sink(asyncio.Protocol):
    """One session."""

    counter: mmap.mmap
    taken = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.buffer, self.in_mail = transport, b"", False
        self.socket = transport.get_extra_info("socket")
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.write(b"220 sink.test ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        self.buffer += data
        replies = []
        while reply := self._next():
            replies.append(reply)
        if replies:
            self.transport.write(b"".join(replies))

    def _next(self) -> bytes:
        end = self.buffer.find(b"\r\n.\r\n" if self.in_mail else b"\r\n")
        if end < 0:
            return b""
        line, self.buffer = self.buffer[:end], self.buffer[end + (5 if self.in_mail else 2) :]
        if self.in_mail:
            self.in_mail = False
            Sink.taken += 1
            self.counter[:8] = struct.pack("q", Sink.taken)
            return b"250 2.0.0 ok\r\n"
        verb = line[:4].upper()
        if verb == b"EHLO":
            return b"250-sink.test\r\n250-PIPELINING\r\n250-SIZE 50000000\r\n250 8BITMIME\r\n"
        if verb == b"DATA":
            self.in_mail = True
            return b"354 go\r\n"
        return b"221 bye\r\n" if verb == b"QUIT" else b"250 2.0.0 ok\r\n"


async def main(port: int, counter: Path) -> None:
    with counter.open("r+b") as file:
        Sink.counter = mmap.mmap(file.fileno(), 8)
        server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port, backlog=512)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
