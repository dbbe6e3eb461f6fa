"""A load of SMTP clients that remember what they were promised.

`run(load)` opens `sessions` connections that send numbered mails until told to stop. Each mail carries its number in
its Message-ID, so that what is in the spool or store can be held against `Load.acknowledged` and `Load.in_flight`.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from dataclasses import dataclass, field

MESSAGE_ID = re.compile(rb"^Message-ID: <([^@>]+)@load\.test>\r$", re.MULTILINE)


@dataclass
class Load:
    """The plan and the book of one load. `reply_timeout` is in seconds."""

    host: str
    port: int
    recipient: str
    sessions: int = 10
    mails: int = 0  # for all sessions together; 0 is until `stop`
    body: bytes = b"x" * 76 + b"\r\n"
    prefix: str = "m"
    mails_per_connection: int = 20
    reply_timeout: float = 20.0
    acknowledged: set[str] = field(default_factory=set)
    in_flight: set[str] = field(default_factory=set)  # sent whole, but the reply never came
    refused: list[bytes] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def take_number(self) -> str | None:
        """The next mail's number, or None when enough were sent."""
        number = next(self.numbers)
        if self.stop.is_set() or (self.mails and number >= self.mails):
            return None
        return f"{self.prefix}{number}"

    def mail(self, number: str) -> bytes:
        """The mail with that number, dots not stuffed: the body must not begin a line with one."""
        head = f"From: reports@load.test\r\nMessage-ID: <{number}@load.test>\r\nSubject: {number}\r\n\r\n"
        return head.encode() + self.body


def number_of(raw: bytes) -> str:
    """The number of a mail that this load sent."""
    found = MESSAGE_ID.search(raw)
    assert found, raw[:200]
    return found[1].decode()


async def run(load: Load) -> None:
    """Send until all is sent or `load.stop` is set; connections that fail are made again."""
    async with asyncio.TaskGroup() as group:
        for _ in range(load.sessions):
            group.create_task(_session(load))


async def _session(load: Load) -> None:
    number = load.take_number()
    while number is not None:
        try:
            reader, writer = await asyncio.open_connection(load.host, load.port)
        except OSError:
            await asyncio.sleep(0.01)
            if load.stop.is_set():
                return
            continue
        try:
            number = await _connection(load, reader, writer, number)
        except (OSError, EOFError, TimeoutError):
            if number in load.in_flight or number in load.acknowledged:
                number = load.take_number()
        finally:
            writer.close()


async def _connection(
    load: Load, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: str | None
) -> str | None:
    """One connection; the number that is to be sent next when it ends in order."""
    await _reply(load, reader, writer, b"")
    await _reply(load, reader, writer, b"EHLO load.test\r\n")
    for _ in range(load.mails_per_connection):
        if number is None:
            break
        await _reply(load, reader, writer, b"MAIL FROM:<reports@load.test>\r\n")
        await _reply(load, reader, writer, f"RCPT TO:<{load.recipient}>\r\n".encode())
        if not (await _reply(load, reader, writer, b"DATA\r\n")).startswith(b"354"):
            raise ConnectionResetError
        load.in_flight.add(number)
        answer = await _reply(load, reader, writer, load.mail(number) + b".\r\n")
        load.in_flight.discard(number)
        if answer.startswith(b"250"):
            load.acknowledged.add(number)
        else:
            load.refused.append(answer)
        number = load.take_number()
    await _reply(load, reader, writer, b"QUIT\r\n")
    return number


async def _reply(load: Load, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, command: bytes) -> bytes:
    """Send, and read one whole reply."""
    writer.write(command)
    async with asyncio.timeout(load.reply_timeout):
        while True:
            line = await reader.readuntil(b"\n")
            if line[3:4] != b"-":
                return line
