"""The dialogue of SMTP and LMTP with one client.

RFC 5321 and 2033 (LMTP), 1870 (SIZE), 2034 (enhanced codes), 2920 (pipelining), 3207 (STARTTLS), 6152 (8BITMIME), 6531.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from . import replies
from .address import AddressError, read_helo, read_parameters, read_path
from .connection import TLS_HANDSHAKE, Connection, Dismissed
from .content import Collector, Content
from .policy import Transaction
from .replies import Reply
from .site import Site

Command = Callable[[str], Awaitable[Reply | None]]

OTHER_PROTOCOLS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI", "HOST:", "USER-AGENT:")
)


def _is_size(value: str | None) -> bool:
    return value is not None and value.isascii() and value.isdigit() and len(value) <= 20  # RFC 1870 section 4


Parameters = Mapping[str, Callable[[str | None], bool]]  # keyword -> whether its value is one
MAIL_PARAMETERS: Parameters = {
    "SIZE": _is_size,
    "BODY": lambda value: (value or "").upper() in ("7BIT", "8BITMIME"),
    "SMTPUTF8": lambda value: value is None,
}


def _parameter_fault(given: Mapping[str, str | None], known: Parameters) -> Reply | None:
    for keyword, value in given.items():
        if keyword not in known:
            return replies.UNKNOWN_PARAMETER
        if not known[keyword](value):
            return replies.BAD_PARAMETER
    return None


class Door(Connection):
    """The server side of one session."""

    long_commands = frozenset(("MAIL", "RCPT"))  # their lines may be longer than `command_bytes`

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.commands = self.lmtp_commands() if site.listener.protocol == "lmtp" else self.smtp_commands()
        self._errors = 0
        self._since_mail = 0  # commands

    def smtp_commands(self) -> dict[str, Command]:
        """The commands of SMTP by verb. Each gives the reply, or None when it has spoken itself."""
        return {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": self._noop,
            "QUIT": self._quit,
            "VRFY": self._vrfy,
            "STARTTLS": self._starttls,
            **dict.fromkeys(("AUTH", "BDAT", "ETRN", "EXPN", "HELP", "TURN"), self._not_offered),
        }

    def lmtp_commands(self) -> dict[str, Command]:
        """The same with LHLO as the only hello (RFC 2033 section 4.1)."""
        commands = self.smtp_commands()
        del commands["HELO"]
        commands["LHLO"] = commands.pop("EHLO")
        return commands

    def extensions(self) -> list[str]:
        """The lines of the EHLO reply after the first."""
        size = f"SIZE {self.site.settings.message_bytes}"
        lines = ["PIPELINING", size, "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
        return [*lines, "STARTTLS"] if self._tls_offered() else lines

    async def _converse(self) -> None:
        settings, loop = self.site.settings, self.loop
        ends = self._began + settings.session_seconds
        while True:
            left = ends - loop.time()
            if left <= 0:
                raise Dismissed(replies.SESSION_TOO_LONG)
            if self._leaving:
                raise Dismissed(replies.SHUTTING_DOWN)
            self._reset_timeout(min(settings.idle_seconds, left))
            line = await self._line()
            self._since_mail += 1
            if self._since_mail > settings.commands:
                raise Dismissed(replies.TOO_MANY_COMMANDS)
            reply = await self._obey(line)
            if reply is None:
                continue
            self._say(reply)
            if reply.refused:
                self._errors += 1
                if self._errors >= settings.errors:
                    raise Dismissed(replies.TOO_MANY_ERRORS)

    async def _obey(self, line: bytes) -> Reply | None:
        """Run one command. Raises Dismissed."""
        if not line:
            return replies.LINE_TOO_LONG
        verb, _, argument = self._body(line).partition(b" ")
        name = verb.decode("ascii", "replace").upper()
        command = self.commands.get(name)
        if command is None:
            if name in OTHER_PROTOCOLS:
                raise Dismissed(replies.NOT_SMTP)
            return replies.UNKNOWN
        if len(line) > self.site.settings.command_bytes and name not in self.long_commands:
            return replies.LINE_TOO_LONG
        try:
            return await command(argument.decode().strip(" "))
        except UnicodeDecodeError:
            return replies.bad_address("not UTF-8")
        except (Dismissed, OSError):
            raise
        except Exception:
            return self._own_fault()

    def _body(self, line: bytes) -> bytes:
        """A line without its end. Raises Dismissed when it ends otherwise than with CR LF, or holds CR or NUL."""
        body = line[:-2]
        if not line.endswith(b"\r\n") or b"\r" in body or b"\0" in body:
            raise Dismissed(replies.NOT_SMTP if line[0] == TLS_HANDSHAKE else replies.BAD_LINE)
        return body

    # hello

    async def _ehlo(self, argument: str) -> Reply | None:
        return self._hello(argument, self.extensions())

    async def _helo(self, argument: str) -> Reply | None:
        return self._hello(argument, [])

    def _hello(self, argument: str, extensions: Sequence[str]) -> Reply | None:
        try:
            name = read_helo(argument)
        except AddressError:
            return replies.NEED_HOST
        self._set_rset_state()
        self.client.helo, self.client.extended = name, bool(extensions)
        if refusal := self.site.policy.on_helo(self.client):
            self.client.helo = ""
            return refusal
        lines = [self.site.hostname, *extensions]
        text = "".join(f"250{' ' if at == len(lines) else '-'}{line}\r\n" for at, line in enumerate(lines, 1))
        self._out.append(text.encode())
        return None

    def _tls_offered(self) -> bool:
        return self.site.listener.mode == "starttls" and self.site.certificate is not None and not self.client.tls

    async def _starttls(self, argument: str) -> Reply | None:
        if argument:
            return replies.NO_ARGUMENT
        if self.client.tls:
            return replies.TLS_ALREADY
        if not self._tls_offered():
            return replies.NOT_OFFERED
        if self._inbox.buffer:  # RFC 3207 section 6: it would be read as if it had been protected
            raise Dismissed(replies.PIPELINED_STARTTLS)
        self._say(replies.TLS_READY)
        await self._flush()
        await self._start_tls()
        self._set_rset_state()  # section 4.2
        self.client.helo = ""
        return None

    # the envelope

    def mail_parameters(self) -> Parameters:
        """The parameters that MAIL may have."""
        return MAIL_PARAMETERS

    def recipient_parameters(self) -> Parameters:
        """The parameters that RCPT may have."""
        return {}

    async def _mail(self, argument: str) -> Reply:  # noqa: PLR0911 (one return for each reply of the RFC)
        if not self.client.helo:
            return replies.HELLO_FIRST
        if self.mail.begun:
            return replies.NESTED_MAIL
        if argument[:5].upper() != "FROM:":
            return replies.MAIL_SYNTAX
        try:
            sender, rest = read_path(argument[5:].lstrip(" "), null=True)
            parameters = read_parameters(rest)
        except AddressError as error:
            return replies.bad_address(str(error))
        if fault := _parameter_fault(parameters, self.mail_parameters()):
            return fault
        mail = Transaction(True, sender, [], parameters)
        if sender is not None and not sender.is_ascii and not mail.utf8:
            return replies.NEED_UTF8
        if mail.declared_size > self.site.settings.message_bytes:
            return replies.TOO_BIG
        if refusal := self.site.policy.on_mail(self.client, mail):
            return refusal
        self.mail = mail
        return replies.SENDER_OK

    async def _rcpt(self, argument: str) -> Reply:  # noqa: PLR0911 (one return for each reply of the RFC)
        if not self.mail.begun:
            return replies.MAIL_FIRST
        if argument[:3].upper() != "TO:":
            return replies.RCPT_SYNTAX
        try:
            recipient, rest = read_path(argument[3:].lstrip(" "), bare_postmaster=True)
            parameters = read_parameters(rest)
        except AddressError as error:
            return replies.bad_address(str(error))
        assert recipient is not None
        if fault := _parameter_fault(parameters, self.recipient_parameters()):
            return fault
        if not recipient.is_ascii and not self.mail.utf8:
            return replies.NEED_UTF8
        if len(self.mail.recipients) >= self.site.settings.recipients:
            return replies.TOO_MANY_RECIPIENTS
        if refusal := self.site.policy.on_rcpt(self.client, self.mail, recipient):
            return refusal
        self.mail.recipients.append(recipient)
        self.mail.recipient_parameters.append(parameters)
        return replies.RECIPIENT_OK

    # the mail

    async def _data(self, argument: str) -> Reply | None:
        mail = self.mail
        if argument:
            return replies.NO_ARGUMENT
        if not mail.begun:
            return replies.MAIL_FIRST
        if not mail.recipients:
            return replies.NO_RECIPIENTS
        self._say(replies.GO_AHEAD)
        collector = Collector(self.site.settings, self.site.spill)
        return await self._conclude_mail(mail, collector, self._collect(collector))

    async def _conclude_mail(self, mail: Transaction, collector: Collector, rest: Awaitable[None]) -> Reply:
        """Read the rest of a mail, judge the whole and hand it over; the last reply. Raises Dismissed."""
        try:
            await rest
            outcome = collector.finish(self.site.hostname, utf8=mail.utf8)
        except (Dismissed, OSError):
            raise
        except Exception:  # what follows might be the rest of the mail: never read it as commands
            raise Dismissed(self._own_fault()) from None
        finally:
            collector.drop()
        answer = await self._hand_over(mail, outcome) if isinstance(outcome, Content) else outcome
        self.mail = Transaction()
        # RFC 2033 section 4.2: one reply for each recipient that was accepted
        wanted = len(mail.recipients) if self.client.protocol == "lmtp" else 1
        answers = [answer] * wanted if isinstance(answer, Reply) else list(answer)
        assert len(answers) == wanted
        for each in answers[:-1]:
            self._say(each)
        if collector.closes:
            raise Dismissed(answers[-1])
        if not all(each.refused for each in answers):
            self._since_mail = 0
        return answers[-1]

    async def _collect(self, collector: Collector) -> None:
        """Read up to the end of the mail, within its times. Raises Dismissed when the client leaves before."""
        settings, loop, inbox = self.site.settings, self.loop, self._inbox
        began = loop.time()
        collector.start(inbox.buffer)
        while not collector.scan(inbox.buffer):
            await self._flush()
            passed = loop.time() - began
            earned = settings.data_grace_seconds + collector.received / settings.data_bytes_per_second
            self._reset_timeout(
                max(0.0, min(settings.data_idle_seconds, settings.data_seconds - passed, earned - passed))
            )
            if not await inbox.more():
                raise Dismissed

    async def _hand_over(self, mail: Transaction, content: Content) -> Reply | Sequence[Reply]:
        """Let the policy have the mail. It goes on when the client leaves: the mail was whole."""
        self._reset_timeout(None)
        self._send()
        task = asyncio.create_task(self._deliver(mail, content))
        self.site.deliveries.add(task)
        task.add_done_callback(self.site.deliveries.discard)
        return await asyncio.shield(task)

    async def _deliver(self, mail: Transaction, content: Content) -> Reply | Sequence[Reply]:
        try:
            return await self.site.policy.on_message(self.client, mail, content)
        except Exception:
            return self._own_fault()
        finally:
            content.close()

    # the rest

    async def _rset(self, argument: str) -> Reply:
        if argument:
            return replies.NO_ARGUMENT
        self._set_rset_state()
        return replies.OK

    async def _noop(self, _argument: str) -> Reply:
        return replies.OK

    async def _quit(self, argument: str) -> Reply:
        if argument:
            return replies.NO_ARGUMENT
        raise Dismissed(replies.BYE)

    async def _vrfy(self, argument: str) -> Reply:
        return replies.CANNOT_VERIFY if argument else replies.NEED_ADDRESS

    async def _not_offered(self, _argument: str) -> Reply:
        return replies.NOT_OFFERED
