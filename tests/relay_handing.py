"""A client of the relay in the test's own loop: it says one command at a time and hands in whole mails."""

from __future__ import annotations

import asyncio
import ssl
from types import TracebackType

from dmarcview_relay.relay import Relay


class Caller:
    """One connection to a listener of a relay."""

    def __init__(self, relay: Relay, listener: int = 0) -> None:
        self._place = relay.listening[listener]

    async def __aenter__(self) -> Caller:
        self._reader, self._writer = await asyncio.open_connection(*self._place)
        assert (await self.reply()).startswith("220 ")
        self.greeting = await self.ask("EHLO load.test")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.transport.abort()

    async def reply(self) -> str:
        """All lines of the next one; "" when the connection has ended."""
        lines = [""]
        async with asyncio.timeout(20):
            while not lines[-1] or lines[-1][3:4] == "-":
                line = (await self._reader.readline()).decode()
                if not line:
                    return ""
                lines.append(line)
        return "".join(lines)

    def say(self, data: bytes) -> None:
        self._writer.write(data)

    async def ask(self, line: str) -> str:
        self.say(line.encode() + b"\r\n")
        return await self.reply()

    async def start_tls(self, context: ssl.SSLContext, name: str) -> None:
        await self._writer.start_tls(context, server_hostname=name)
        await self.ask("EHLO load.test")

    async def envelope(self, *recipients: str) -> str:
        """Up to DATA; its reply, or the first refusal."""
        for line in ("MAIL FROM:<a@load.test>", *(f"RCPT TO:<{each}>" for each in recipients), "DATA"):
            if (said := await self.ask(line))[0:1] not in ("2", "3"):
                break
        return said

    async def mail(self, name: str, *recipients: str, body: bytes = b"hello\r\n") -> str:
        """The last reply."""
        said = await self.envelope(*recipients)
        if not said.startswith("354"):
            return said
        self.say(b"From: a@load.test\r\nMessage-ID: <%s>\r\n\r\n%s.\r\n" % (name.encode(), body))
        return await self.reply()


async def hand_in(relay: Relay, name: str, *recipients: str, body: bytes = b"hello\r\n") -> str:
    """One mail by a connection of its own; the last reply."""
    async with Caller(relay) as caller:
        return await caller.mail(name, *recipients, body=body)
