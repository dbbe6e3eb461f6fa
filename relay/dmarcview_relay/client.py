"""Our SMTP and LMTP client: one session with one host, from the greeting to the reply to the final dot.

RFC 5321, RFC 2033 (LMTP), RFC 2920 (PIPELINING), RFC 1870 (SIZE), RFC 6152 (8BITMIME), RFC 6531 (SMTPUTF8), RFC 3461
(DSN), RFC 8689 (REQUIRETLS). Content leaves byte by byte as it was signed, but for the dots.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import NamedTuple

from .client_auth import Credentials, log_in
from .commands import is_one_line, mail_command, rcpt_command, stuffed, unfit
from .envelope import Mail, Recipient
from .outcome import Link, RemoteReply
from .settings import Delivery
from .wire import CHUNK, Broken, Reply, Wire

WHOLE = 4 * CHUNK  # content up to here is written at once
LEAST_RATE = 2_000  # bytes by the second at which a large mail must leave


class Refused(Exception):
    """The session cannot carry mail; `reply` says why."""

    def __init__(self, reply: RemoteReply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class Facts(NamedTuple):
    """What the one who connects knows of the other side."""

    host: str
    address: str
    lmtp: bool = False
    certain: bool = False  # no forger chose the host's name: see `Host`


class Client:
    """A session. `greet`, `hello`, `start_tls` and `log_in` in that order, then any number of `send`, then `close`."""

    def __init__(self, wire: Wire, facts: Facts, hostname: str, delivery: Delivery) -> None:
        self.extensions: dict[str, str] = {}
        self.link = Link(host=facts.host, address=facts.address, tls_trust="none")
        self._wire = wire
        self._facts = facts
        self._hostname = hostname
        self._delivery = delivery
        self._stage = "greeting"
        self._open = False  # a transaction that was begun and not ended
        self._usable = False
        if wire.transport and isinstance(name := wire.transport.get_extra_info("sockname"), tuple):
            self.link = self.link._replace(source=str(name[0]))

    # the start of a session

    async def greet(self) -> None:
        """Take the greeting. Raises Refused."""
        self._stage = "greeting"
        reply = await self._answer(self._delivery.connect)
        if reply.code != 220:
            raise Refused(self._no_session(reply))

    async def hello(self) -> None:
        """EHLO, or LHLO, or HELO where EHLO is not known. Raises Refused."""
        self._stage = "hello"
        verb = "LHLO" if self._facts.lmtp else "EHLO"
        reply = await self._ask(f"{verb} {self._hostname}")
        self.extensions = {}
        if reply.code >= 500 and not self._facts.lmtp:
            reply = await self._ask(f"HELO {self._hostname}")
        elif reply.code == 250:
            for line in reply.lines[1:]:
                keyword, _, rest = line.decode("ascii", "replace").partition(" ")
                self.extensions[keyword.upper()] = rest.strip()
        if reply.code != 250:
            raise Refused(self._no_session(reply))
        self._usable = True

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """STARTTLS, which must have been offered, and the greeting again. Raises Refused."""
        self._stage = "tls"
        assert "STARTTLS" in self.extensions
        self._usable = False
        reply = await self._ask("STARTTLS")
        if reply.code != 220:
            raise Refused(self._no_session(reply, "4.7.0"))
        try:
            await self._wire.start_tls(context, host, self._delivery.connect)
        except Broken as broken:
            raise Refused(RemoteReply(454, "4.7.5", self._words(broken), "tls", said=False)) from None
        self.secured("encrypted")
        await self.hello()

    def secured(self, trust: str) -> None:
        """Note what TLS runs, and how far the other side is known."""
        tls = self._wire.tls
        cipher = tls.cipher()
        self.link = self.link._replace(
            tls_version=tls.version() or "", tls_cipher=cipher[0] if cipher else "", tls_trust=trust
        )

    async def log_in(self, credentials: Credentials) -> None:
        """AUTH by the best mechanism that both know. Raises Refused, always with a reply to try again: a wrong
        password of ours is no fault of the mail's.
        """
        self._stage = "auth"
        offered = self.extensions.get("AUTH", "").upper().split()
        try:
            fault = await log_in(credentials, offered, self._ask)
        except Broken as broken:
            raise Refused(self._cut(broken)) from None
        if fault:
            self._usable = False
            raise Refused(RemoteReply(454, "4.7.0", f"{self._facts.host} {fault}", "auth", said=False))

    # mails

    @property
    def usable(self) -> bool:
        """Whether another mail may be sent."""
        return self._usable and self._wire.idle

    @property
    def dsn(self) -> bool:
        """Whether the other side reports success itself (RFC 3461)."""
        return "DSN" in self.extensions

    async def send(self, mail: Mail, recipients: Sequence[Recipient], content: bytes) -> list[RemoteReply]:
        """One transaction; one reply for each recipient, in their order. Faults of the other side are replies:
        a cut is 4.4.2, with stage body when the final dot was written, so that the mail may have arrived.
        """
        if gone := self._gone():
            return [gone] * len(recipients)
        if fault := unfit(mail, content, self.extensions, self.link, certain=self._facts.certain):
            return [fault] * len(recipients)
        results: list[RemoteReply | None] = [None] * len(recipients)
        self._stage = "mail"
        try:
            await self._transaction(mail, recipients, content, results)
        except Broken as broken:
            self._usable = False
            ours = self._cut(broken)
            return [result or ours for result in results]
        except BaseException:
            self._wire.abort()  # nobody knows where the dialogue stands
            raise
        assert all(results)
        return [result for result in results if result]

    async def close(self) -> None:
        """QUIT, and the end. Never raises."""
        self._usable = False
        await self._wire.close()

    async def _transaction(
        self, mail: Mail, recipients: Sequence[Recipient], content: bytes, results: list[RemoteReply | None]
    ) -> None:
        """Fill in the results."""
        dialogue = _Dialogue(self._wire, self._delivery, pipelined="PIPELINING" in self.extensions)
        commands = [mail_command(mail, len(content), self.extensions)]
        commands += [rcpt_command(recipient, mail, self.extensions) for recipient in recipients]
        commands.append(b"DATA\r\n")
        if not all(is_one_line(command) for command in commands):
            results[:] = [_ours(553, "5.1.3", "an address or parameter holds control bytes", "mail")] * len(results)
            return
        if self._open:
            commands.insert(0, b"RSET\r\n")
        dialogue.begin(commands)
        if self._open:
            self._heard(await dialogue.next())
            self._open = False
        reply = self._heard(await dialogue.next())
        refusal = None if reply.code == 250 else self._remote(reply, "mail")
        self._open = refusal is None
        if refusal and not dialogue.pipelined:
            results[:] = [refusal] * len(results)
            return
        for number in range(len(recipients)):
            self._stage = "mail" if refusal else "rcpt"
            reply = self._heard(await dialogue.next())
            results[number] = refusal or (None if reply.code in (250, 251, 252) else self._recipient(reply, results))
        taken = [number for number, result in enumerate(results) if result is None]
        if not taken and not dialogue.pipelined:
            return
        self._stage = "data"
        reply = self._heard(await dialogue.next())
        if reply.code != 354:
            fault = self._remote(reply, "data")
            for number in taken:
                results[number] = fault
        elif taken:
            await self._content(content, taken, results)
        else:
            await self._nothing()

    async def _nothing(self) -> None:
        """End a DATA that was let in though no recipient was: with the lone dot (RFC 2920 section 3.1)."""
        self._wire.write(b".\r\n", 1)
        self._heard(await self._wire.reply(self._delivery.final))
        self._open = False

    async def _content(self, content: bytes, taken: list[int], results: list[RemoteReply | None]) -> None:
        replies = len(taken) if self._facts.lmtp else 1  # RFC 2033 section 4.2
        if await self._write(stuffed(content), replies):
            self._stage = "body"
        clock = _Clock(self._delivery.final, self._delivery.final)
        for number in taken:
            if number == taken[0] or self._facts.lmtp:
                reply = self._remote(self._heard(await self._wire.reply(clock.left())), "body")
            if reply.taken and self._stage == "data":
                raise Broken("took a mail before its end")
            results[number] = reply
        self._open = False
        if self._stage == "data":
            self._usable = False  # it spoke before the end: what follows is anybody's guess

    async def _write(self, data: bytes, replies: int) -> bool:
        """Write the content; False when the other side spoke before its end. A large one in pieces that each must
        leave in the time of a command, so that a drip ends and memory stays small.
        """
        if len(data) <= WHOLE:
            self._wire.write(data, replies)
            return True
        view = memoryview(data)
        clock = _Clock(self._delivery.command, self._delivery.final + len(data) / LEAST_RATE)
        self._wire.write(b"", replies)
        last = (len(view) - 1) // CHUNK * CHUNK
        for start in range(0, len(view), CHUNK):
            if start == last:
                self._stage = "body"
            self._wire.write(bytes(view[start : start + CHUNK]), 0)
            if not await self._wire.flush(clock.left()) and start != last:
                return False
        return True

    # replies

    async def _ask(self, line: str) -> Reply:
        self._wire.write(line.encode() + b"\r\n", 1)
        return await self._answer(self._delivery.command)

    async def _answer(self, seconds: float) -> Reply:
        try:
            return self._heard(await self._wire.reply(seconds))
        except Broken as broken:
            raise Refused(self._cut(broken)) from None

    def _heard(self, reply: Reply) -> Reply:
        """Every reply comes by here: a 421 ends the session wherever it is said (RFC 5321 section 3.8)."""
        if reply.code == 421:
            self._usable = False
        return reply

    def _recipient(self, reply: Reply, before: Sequence[RemoteReply | None]) -> RemoteReply:
        """552 after others were taken means too many of them: to be tried again (RFC 5321 section 4.5.3.1.10)."""
        remote = self._remote(reply, "rcpt")
        many = remote.enhanced == "5.5.3" or (not remote.enhanced and "too many" in remote.text.lower())
        if reply.code == 552 and many and any(result is None for result in before):
            return remote._replace(code=452, enhanced="4.5.3")
        return remote

    def _remote(self, reply: Reply, stage: str) -> RemoteReply:
        remote = reply.remote(stage)
        if remote.code < 400 and not (stage == "body" and remote.taken):
            self._usable = False
            return _ours(451, "4.5.0", f"{self._facts.host} gave a reply that does not fit: {remote}", stage)
        return remote

    def _no_session(self, reply: Reply, enhanced: str = "") -> RemoteReply:
        """A refused start. What is refused here says nothing of the mail when it is about TLS."""
        remote = reply.remote(self._stage)
        if enhanced or remote.code < 400:
            return _ours(
                454 if enhanced else 451, enhanced or "4.5.0", f"{self._facts.host} said: {remote}", self._stage
            )
        return remote

    def _gone(self) -> RemoteReply | None:
        """Why an idle connection is no longer one."""
        if self._wire.broken:
            return _ours(421, "4.4.2", self._words(self._wire.broken), "mail")
        if self._wire.farewell:
            return _ours(421, "4.4.2", f"{self._facts.host} closed: {self._wire.farewell.remote('mail')}", "mail")
        return None if self.usable else _ours(421, "4.4.2", f"{self._facts.host}: the session had ended", "mail")

    def _cut(self, broken: Broken) -> RemoteReply:
        return _ours(421, "4.4.2", self._words(broken), self._stage)

    def _words(self, broken: Broken) -> str:
        """Who did it, what, and when."""
        facts = self._facts
        where = f"{facts.host} [{facts.address}]" if facts.address not in ("", facts.host) else facts.host
        return f"{where} {broken}{_WHEN[self._stage]}"


_WHEN = {
    "greeting": ", before the greeting",
    "hello": ", after our greeting",
    "tls": "",
    "auth": ", while we logged in",
    "mail": ", after MAIL",
    "rcpt": ", after RCPT",
    "data": ", after DATA",
    "body": ", after the final dot",
}


class _Clock:
    """Each wait has a limit, and all of them together have one: a host that drips replies ends, too. In seconds."""

    def __init__(self, each: float, together: float) -> None:
        self._now = asyncio.get_running_loop().time
        self._each = each
        self._until = self._now() + max(each, together)

    def left(self) -> float:
        """How long the next wait may be."""
        return max(0.001, min(self._each, self._until - self._now()))


class _Dialogue:
    """Commands of one transaction: all at once where the other side allows it, else one after the other."""

    def __init__(self, wire: Wire, delivery: Delivery, *, pipelined: bool) -> None:
        self.pipelined = pipelined
        self._wire = wire
        self._clock = _Clock(delivery.command, delivery.final)
        self._left: list[bytes] = []

    def begin(self, commands: list[bytes]) -> None:
        """Write them, or keep them."""
        if self.pipelined:
            self._wire.write(b"".join(commands), len(commands))
        else:
            self._left = commands[::-1]

    async def next(self) -> Reply:
        """The reply to the next command. Raises Broken."""
        if self._left:
            self._wire.write(self._left.pop(), 1)
        return await self._wire.reply(self._clock.left())


def _ours(code: int, enhanced: str, text: str, stage: str) -> RemoteReply:
    return RemoteReply(code, enhanced, text, stage, said=False)
