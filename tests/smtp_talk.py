"""A receiver in a thread of its own, and a raw client that says exactly the bytes it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import trustme

from dmarcview_reports.model import Origin
from dmarcview_reports.receive import Receiver, ReceiveSettings
from dmarcview_reports.spool import Spool
from dmarcview_smtp.settings import DoorSettings, Listener

RUA = "rua@example.test"
QUICK = DoorSettings(linger_seconds=0.5, greeting_wait=0)


@dataclass
class Running:
    """A receiver that runs. `port` is of its first listener."""

    receiver: Receiver
    spool: Spool
    loop: asyncio.AbstractEventLoop

    @property
    def port(self) -> int:
        return self.receiver.listening[0][1]

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.receiver.stop(), self.loop).result(30)

    def mails(self) -> list[tuple[Origin, bytes]]:
        """What is in the spool, taken out of it."""
        found: list[tuple[Origin, bytes]] = []
        for batch in self.spool.take():
            found += batch.items
            self.spool.done(batch)
        return found


@contextlib.contextmanager
def running(
    path: Path,
    *,
    limits: DoorSettings = QUICK,
    spool: Spool | None = None,
    receiver: type[Receiver] = Receiver,
    **settings: Any,
) -> Iterator[Running]:
    """Start a receiver on a free loopback port (unless `listeners` says otherwise), stop it at the end."""
    settings.setdefault("listeners", (Listener(port=0),))
    settings.setdefault("rua", (RUA,))
    spool = spool or Spool(path / "spool", reserve=0)
    service = receiver(ReceiveSettings(hostname="mx.example.test", limits=limits, stop_seconds=2, **settings), spool)
    loop = asyncio.new_event_loop()
    faults: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: faults.append(context))
    thread = threading.Thread(target=loop.run_forever, name="receiver")
    thread.start()
    site = Running(service, spool, loop)
    try:
        asyncio.run_coroutine_threadsafe(service.start(), loop).result(10)
        yield site
    finally:
        site.stop()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        loop.close()
        spool.close()
    assert not faults, faults
    assert not left, left


class Talk:
    """One raw connection. Replies are whole: `code`, then the lines joined."""

    def __init__(self, port: int, *, source: str = "127.0.0.1", path: str = "", timeout: float = 10) -> None:
        if path:
            self.sock: socket.socket = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(timeout)
            self.sock.connect(path)
        else:
            self.sock = socket.create_connection(("127.0.0.1", port), timeout, (source, 0))
        self.buffer = b""

    def __enter__(self) -> Talk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def line(self) -> bytes:
        """One line without CR LF; b"" at the end of the connection."""
        while b"\r\n" not in self.buffer:
            try:
                data = self.sock.recv(65536)
            except (ConnectionResetError, ssl.SSLEOFError):
                data = b""
            if not data:
                rest, self.buffer = self.buffer, b""
                return rest
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def reply(self) -> str:
        lines = [self.line()]
        while lines[-1][3:4] == b"-":
            lines.append(self.line())
        return "\n".join(line.decode() for line in lines)

    def ask(self, command: str | bytes) -> str:
        self.send((command.encode() if isinstance(command, str) else command) + b"\r\n")
        return self.reply()

    def closed(self) -> bool:
        """Whether the server closed, after what it may still have said."""
        while self.line():
            pass
        return True

    def hello(self, verb: str = "EHLO") -> str:
        assert self.reply().startswith("220 ")
        return self.ask(f"{verb} client.test")

    def envelope(self, recipient: str = RUA) -> None:
        assert self.ask("MAIL FROM:<a@client.test>") == "250 2.1.0 Sender ok"
        assert self.ask(f"RCPT TO:<{recipient}>") == "250 2.1.5 Recipient ok"

    def data(self, content: bytes) -> str:
        """DATA with these very bytes, the end of the mail with them."""
        assert self.ask("DATA").startswith("354 ")
        self.send(content)
        return self.reply()

    def start_tls(self, context: ssl.SSLContext) -> None:
        self.buffer = b""
        self.sock = context.wrap_socket(self.sock, server_hostname="mx.example.test")

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)


@dataclass
class Authority:
    """A private certificate authority, and one server certificate by it in two files."""

    ca: trustme.CA
    chain: Path
    key: Path

    def issue(self, name: str = "mx.example.test") -> None:
        """Write a new certificate over the old."""
        cert = self.ca.issue_cert(name)
        self.key.write_bytes(cert.private_key_pem.bytes())
        self.chain.write_bytes(b"".join(part.bytes() for part in cert.cert_chain_pems))

    def client_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        return context

    @property
    def settings(self) -> dict[str, str]:
        return {"certificate": str(self.chain), "key": str(self.key)}


def authority(path: Path) -> Authority:
    """Make one with a certificate for mx.example.test."""
    made = Authority(trustme.CA(), path / "chain.pem", path / "key.pem")
    made.issue()
    return made
