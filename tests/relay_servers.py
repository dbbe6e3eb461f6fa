"""Far mail hosts for the relay's client: one that behaves as told at each command, on a real socket of loopback.

`answers` maps a verb (greeting, EHLO, MAIL, RCPT, DATA, END for the final dot, ...) to the bytes that are written for
it instead of a good reply; a list gives one after the other, the last one again. CUT at the end of the bytes
cuts; no bytes are silence from there on.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from dmarcview_relay.deliver import Courier
from dmarcview_relay.dns import Answer, DnsFailure
from dmarcview_relay.envelope import Mail, Recipient
from dmarcview_relay.mx import Own
from dmarcview_relay.outcome import RemoteReply
from dmarcview_relay.routes import hop
from dmarcview_relay.settings import Delivery, RelaySettings, Route
from dmarcview_smtp.address import read_address

CUT = b"<cut>"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CONTENT = b"From: a@sender.test\r\nSubject: x\r\n\r\nHello.\r\n"
QUICK = Delivery(tls="none", private=True, connect=2.0, command=2.0, final=2.0)
EXTENSIONS = ("PIPELINING", "SIZE 1000000", "8BITMIME", "DSN")


@dataclass
class FarHost:
    """What it is, and after a session what it saw: the commands, and mails as they were before dots were doubled."""

    extensions: tuple[str, ...] = EXTENSIONS
    answers: Mapping[str, bytes | list[bytes]] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None  # offers STARTTLS with it
    implicit_tls: bool = False
    drip: float = 0.0  # seconds between the bytes of an answer
    lmtp: bool = False
    commands: list[str] = field(default_factory=list)
    mails: list[bytes] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)  # contents as they were on the wire, with the final dot
    sessions: int = 0
    port: int = 0
    path: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One session."""
        self.sessions += 1
        turn = _Turn(self, writer)
        with contextlib.suppress(_Over, asyncio.LimitOverrunError):
            if self.implicit_tls and self.tls:
                await writer.start_tls(self.tls)
            await turn.say("greeting", b"220 far.test ESMTP\r\n")
            while True:
                line = (await reader.readuntil(b"\r\n"))[:-2].decode()
                self.commands.append(line)
                await turn.command(line, reader)


class _Over(Exception):
    """The session is over."""


class _Turn:
    """The state of one session."""

    def __init__(self, host: FarHost, writer: asyncio.StreamWriter) -> None:
        self.host, self.writer = host, writer
        self.encrypted = host.implicit_tls
        self.taken = 0
        self.said: dict[str, int] = {}

    async def say(self, verb: str, good: bytes) -> bytes:
        told = self.host.answers.get(verb, good)
        if isinstance(told, list):
            turn = self.said.get(verb, 0)
            self.said[verb] = turn + 1
            told = told[min(turn, len(told) - 1)]
        if not told:
            await asyncio.sleep(3_600)
        answer = told.removesuffix(CUT)
        if self.host.drip:
            for byte in answer:
                self.writer.write(bytes((byte,)))
                await asyncio.sleep(self.host.drip)
        else:
            self.writer.write(answer)
        await self.writer.drain()
        if told.endswith(CUT):
            raise _Over
        return answer

    async def command(self, line: str, reader: asyncio.StreamReader) -> None:
        verb = line.partition(" ")[0].upper()
        if verb in ("EHLO", "LHLO"):
            offered = [*self.host.extensions, *(["STARTTLS"] if self.host.tls and not self.encrypted else [])]
            lines = ["far.test", *offered]
            parts = [f"250{' ' if number == len(lines) - 1 else '-'}{text}" for number, text in enumerate(lines)]
            await self.say(verb + ("-TLS" if self.encrypted else ""), "\r\n".join((*parts, "")).encode())
        elif verb == "STARTTLS":
            answer = await self.say(verb, b"220 2.0.0 go\r\n")
            if answer.startswith(b"220") and self.host.tls:
                await self.writer.start_tls(self.host.tls)
                self.encrypted = True
        elif verb == "DATA":
            if (await self.say(verb, b"354 go\r\n" if self.taken else b"503 5.5.1 no recipients\r\n")).startswith(
                b"354"
            ):
                await self._content(reader)
        elif verb == "QUIT":
            await self.say(verb, b"221 2.0.0 bye\r\n")
            raise _Over
        else:
            if verb in ("MAIL", "RSET"):
                self.taken = 0
            answer = await self.say(verb, b"250 2.0.0 ok\r\n")
            self.taken += verb == "RCPT" and answer.startswith(b"25")

    async def _content(self, reader: asyncio.StreamReader) -> None:
        lines = []
        while (line := await reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line)
        self.host.raw.append(b"".join(lines) + b".\r\n")
        self.host.mails.append(b"".join(line[1:] if line.startswith(b".") else line for line in lines))
        for _ in range(self.taken if self.host.lmtp else 1):
            await self.say("END", b"250 2.0.0 taken\r\n")
        self.taken = 0


@contextlib.asynccontextmanager
async def serving(handler: Handler, address: str = "127.0.0.1", port: int = 0, path: str = "") -> AsyncIterator[int]:
    """A server of any behaviour, on a port (given) or a unix socket; its sessions end with it."""
    tasks: set[asyncio.Task[None]] = set()

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            with contextlib.suppress(OSError, EOFError):
                await handler(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            writer.transport.abort()

    if path:
        server = await asyncio.start_unix_server(session, path, limit=1 << 22)
    else:
        server = await asyncio.start_server(session, address, port, limit=1 << 22)
    try:
        yield port if path else server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
        await asyncio.sleep(0)  # the aborted transports close their sockets


@contextlib.asynccontextmanager
async def far(host: FarHost, address: str = "127.0.0.1", port: int = 0) -> AsyncIterator[FarHost]:
    """The host, listening; on the unix socket `host.path` when that is set."""
    async with serving(host.serve, address, port, host.path) as host.port:
        yield host


@dataclass
class Table:
    """A resolver that answers from a table of (kind, name); what is not in it does not exist. None is a failure."""

    records: Mapping[tuple[str, str], tuple[str, ...] | None] = field(default_factory=dict)
    secure: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def ask(self, kind: str, name: str) -> Answer:
        """See dmarcview_relay.dns.Resolver."""
        self.asked.append((kind, name))
        if (kind, name) in self.records:
            records = self.records[kind, name]
            if records is None:
                raise DnsFailure(f"{kind} {name}: SERVFAIL")
            return Answer(records, True, self.secure, 300, name)
        known = any(name == other for _, other in self.records)
        return Answer((), known, self.secure, 300, name)


def world(*addresses: str, name: str = "mx.far.test", domain: str = "far.test", secure: bool = False) -> Table:
    """A DNS in which `domain` has one MX host with these addresses."""
    return Table(
        {
            ("MX", domain): (f"10 {name}.",),
            ("A", name): tuple(address for address in addresses if ":" not in address),
            ("AAAA", name): tuple(address for address in addresses if ":" in address),
        },
        secure,
    )


def to(*addresses: str) -> list[Recipient]:
    return [Recipient(read_address(address)) for address in addresses]


def mail(sender: str = "a@sender.test", **more: object) -> Mail:
    return Mail(read_address(sender) if sender else None, (), 0.0, len(CONTENT), **more)  # type: ignore[arg-type]


def courier(
    resolver: Table | None = None, delivery: Delivery = QUICK, *routes: Route, own: Own = tuple, **more: object
) -> Courier:
    settings = RelaySettings(delivery=delivery, routes=routes, **more)  # type: ignore[arg-type]
    return Courier(settings, "relay.test", resolver or Table(), own)


async def deliver(
    made: Courier, *recipients: str, content: bytes = CONTENT, what: Mail | None = None
) -> list[RemoteReply]:
    """Connect, send one mail, close."""
    people = to(*recipients or ("b@far.test",))
    session = await made.connect(hop(people[0].address.ascii_domain, made.settings))
    try:
        return await session.send(what or mail(), people, content)
    finally:
        await session.close()


def smart(port: int, scheme: str = "smtp", **more: str) -> Route:
    """A route to loopback."""
    return Route(to=f"{scheme}://127.0.0.1:{port}", **more)  # type: ignore[arg-type]


class Certificates:
    """A CA of the test; `context(name)` is a server's, `file` the CA's certificate for [relay.delivery] ca."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.file)

    def context(self, *names: str, ca: trustme.CA | None = None) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (ca or self.ca).issue_cert(*names).configure_cert(made)
        return made
