"""The relay's front door: the receiver's, with logins, chunks, DSN and REQUIRETLS.

RFC 4954 (AUTH), 3030 (CHUNKING), 3461 (DSN), 8689 (REQUIRETLS).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import ssl
from collections.abc import Sequence
from pathlib import Path

from dmarcview_smtp import replies
from dmarcview_smtp.address import AddressError, read_address
from dmarcview_smtp.connection import Dismissed
from dmarcview_smtp.content import Chunks
from dmarcview_smtp.door import MAIL_PARAMETERS, Command, Door, Parameters
from dmarcview_smtp.replies import Reply
from dmarcview_smtp.site import Site

from .auth import MECHANISMS, Guard, Malformed, Outcome, Verdict
from .settings import RelayListener

AUTH_BYTES = 12_288  # a line of a login with its end (RFC 4954 section 4)
PATH_BYTES = 2_048  # MAIL and RCPT with all their parameters (RFC 3461 section 5.4, RFC 4954 section 3)
CHUNK_BYTES = 4_096  # smaller chunks count as commands, of which there is a bound
ENVID_CHARS, ORCPT_CHARS = 100, 500  # RFC 3461 sections 4.4 and 4.2
EXTERNAL = "EXTERNAL"

NEED_TLS = Reply(538, "5.7.11", "Start TLS first", "auth_without_tls")
NEED_LOGIN = Reply(530, "5.7.0", "Log in first", "login_needed")
WELCOME = Reply(235, "2.7.0", "Welcome")
WRONG = Reply(535, "5.7.8", "Wrong name or password", "login_wrong")
TOO_MANY_WRONG = Reply(421, "4.7.0", "Too many wrong passwords, closing", "login_wrong")
LOCKED_OUT = Reply(454, "4.7.0", "Too many wrong passwords, try again later", "locked_out")
BUSY = Reply(454, "4.7.0", "Too many logins at once, try again later", "logins_busy")
MALFORMED = Reply(501, "5.5.2", "Not what this mechanism says", "syntax")
CANCELLED = Reply(501, "5.7.0", "Login cancelled", "login_cancelled")
UNKNOWN_MECHANISM = Reply(504, "5.5.4", "Mechanism not offered", "syntax")
TOO_LONG = Reply(500, "5.5.6", "Line of the login too long", "line_too_long")
LOGGED_IN = Reply(503, "5.5.1", "Logged in already", "order")

BDAT_RUNS = Reply(503, "5.5.1", "The mail comes in chunks already", "order")
BDAT_SYNTAX = Reply(501, "5.5.4", "Syntax: BDAT size [LAST]; closing", "syntax")

_BDAT = re.compile(r"(?P<size>[0-9]{1,20})(?: +(?P<last>LAST))?", re.IGNORECASE)
_XTEXT = re.compile(r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})*")  # RFC 3461 section 4
_UNITEXT = re.compile(r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e\u0080-\U0010ffff]|\+[0-9A-F]{2})*")  # RFC 6533 section 3
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-]*")


class _Refused(Exception):
    """The login ends with this reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


class RelayDoor(Door):
    """The server side of one session that may hand in mail for others."""

    long_commands = Door.long_commands | {"AUTH"}

    def __init__(self, site: Site, guard: Guard) -> None:
        self._chunks: Chunks | None = None  # of a mail that comes by BDAT
        super().__init__(site)
        assert isinstance(site.listener, RelayListener)
        self._listener = site.listener
        self._mode = site.listener.auth
        self._guard = guard
        self._by_certificate = ""
        self._logged_in = False
        self._wrong = 0
        self._in_login = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See Connection."""
        super().connection_made(transport)
        self.client.may_log_in = self._mode != "none" and self.site.listener.mode != "plain"

    def smtp_commands(self) -> dict[str, Command]:
        """See Door."""
        return {**super().smtp_commands(), "AUTH": self._auth, "BDAT": self._bdat}

    def extensions(self) -> list[str]:
        """See Door."""
        lines = [*super().extensions(), "CHUNKING", "DSN"]
        if self.client.tls:
            lines.append("REQUIRETLS")
        if offered := self._offered():
            lines.append("AUTH " + " ".join(offered))
        return lines

    def _offered(self) -> list[str]:
        """The mechanisms that may be used now (RFC 4954 section 4: none that shows a password before TLS)."""
        if not self.client.tls or self._mode == "none" or self._logged_in:
            return []
        return [*MECHANISMS, *([EXTERNAL] if self._by_certificate else [])]

    def _longest_line(self) -> int:
        buffer = self._inbox.buffer
        if self._in_login or (buffer[:5].upper() == b"AUTH " and self._offered()):
            return AUTH_BYTES
        return max(super()._longest_line(), PATH_BYTES)

    def _tls_context(self) -> ssl.SSLContext:
        if not self._listener.client_ca:
            return super()._tls_context()
        assert self.site.certificate is not None
        return self.site.certificate.asking(Path(self._listener.client_ca)).context

    async def _start_tls(self) -> None:
        await super()._start_tls()
        assert self._wire is not None
        tls = self._wire.get_extra_info("ssl_object")
        self.client.user = self._by_certificate = self._guard.by_certificate(self._listener.client_ca, tls)

    # the envelope

    def mail_parameters(self) -> Parameters:
        """See Door."""
        more: Parameters = {
            "RET": lambda value: (value or "").upper() in ("FULL", "HDRS"),
            "ENVID": lambda value: _is_xtext(value, ENVID_CHARS),
            "AUTH": _is_mailbox,
        }
        if self.client.tls:  # RFC 8689 section 4.2.1
            more = {**more, "REQUIRETLS": lambda value: value is None}
        return {**MAIL_PARAMETERS, **more}

    def recipient_parameters(self) -> Parameters:
        """See Door."""
        return {"NOTIFY": _is_notify, "ORCPT": self._is_original}

    def _is_original(self, value: str | None) -> bool:
        """ORCPT (RFC 3461 section 4.2, RFC 6533 section 3)."""
        kind, semicolon, address = (value or "").partition(";")
        if not semicolon or not address or not _TYPE.fullmatch(kind) or len(address) > ORCPT_CHARS:
            return False
        if kind.lower() == "utf-8" and self.mail.utf8:
            return bool(_UNITEXT.fullmatch(address)) and _is_printable(address)
        return _is_xtext(address, ORCPT_CHARS)

    async def _mail(self, argument: str) -> Reply:
        client = self.client
        if client.user and self._guard.users.find(client.user) is None:  # removed since
            client.user = self._by_certificate = ""
        if self._mode == "required" and not client.user and client.helo:
            return NEED_LOGIN if self._offered() else NEED_TLS
        return await super()._mail(argument)

    async def _rcpt(self, argument: str) -> Reply:
        return BDAT_RUNS if self._chunks else await super()._rcpt(argument)

    async def _data(self, argument: str) -> Reply | None:
        return BDAT_RUNS if self._chunks else await super()._data(argument)

    # chunks

    def _set_rset_state(self) -> None:
        super()._set_rset_state()
        self._drop_chunks()

    def connection_lost(self, error: Exception | None) -> None:
        """See Connection."""
        self._drop_chunks()
        super().connection_lost(error)

    def _drop_chunks(self) -> None:
        if self._chunks is not None:
            self._chunks.drop()
            self._chunks = None

    async def _bdat(self, argument: str) -> Reply:
        """One chunk (RFC 3030 section 2). Its octets are read in any case: they are never commands."""
        match = _BDAT.fullmatch(argument)
        size = int(match["size"]) if match else 0
        if match is None or size > 4 * self.site.settings.message_bytes:
            raise Dismissed(replies.TOO_BIG if match else BDAT_SYNTAX)
        mail = self.mail
        if not mail.recipients:
            await self._read_chunk(size, None)
            return replies.NO_RECIPIENTS if mail.begun else replies.MAIL_FIRST
        chunks = self._chunks = self._chunks or Chunks(self.site.settings, self.site.spill)
        if match["last"] is None:
            await self._read_chunk(size, chunks)
            if chunks.hopeless:
                raise Dismissed(chunks.fault)
            if size >= CHUNK_BYTES:
                self._since_mail -= 1  # the size of the mail bounds these
            return chunks.fault or Reply(250, "2.0.0", f"{size} octets taken")
        reply = await self._conclude_mail(mail, chunks, self._read_last(size, chunks))
        self._chunks = None
        return reply

    async def _read_last(self, size: int, chunks: Chunks) -> None:
        await self._read_chunk(size, chunks)
        chunks.end()

    async def _read_chunk(self, size: int, chunks: Chunks | None) -> None:
        """Read this many octets, within the times of a mail. Raises Dismissed when the client leaves before."""
        settings, inbox, began = self.site.settings, self._inbox, self.loop.time()
        left = size
        while left:
            if not inbox.buffer:
                await self._flush()
                passed = self.loop.time() - began
                earned = settings.data_grace_seconds + (size - left) / settings.data_bytes_per_second
                ends = min(settings.data_idle_seconds, settings.data_seconds - passed, earned - passed)
                self._reset_timeout(max(0.0, ends))
                if not await inbox.more():
                    raise Dismissed
                continue
            piece = bytes(inbox.buffer[:left])
            del inbox.buffer[: len(piece)]
            left -= len(piece)
            if chunks is not None:
                chunks.add(piece)

    # logins

    async def _auth(self, argument: str) -> Reply:  # noqa: PLR0911 (one return for each reply of the RFC)
        if self._mode == "none":
            return replies.NOT_OFFERED
        if not self.client.tls:
            return NEED_TLS
        if not self.client.helo:
            return replies.HELLO_FIRST
        if self._logged_in:
            return LOGGED_IN
        if self.mail.begun:
            return replies.NESTED_MAIL
        name, _, rest = argument.partition(" ")
        name = name.upper()
        if name not in self._offered():
            return UNKNOWN_MECHANISM
        self._in_login = True
        try:
            outcome = await self._run(name, _initial(rest.strip(" ")))
        except _Refused as end:
            return end.reply
        except Malformed:
            return MALFORMED
        finally:
            self._in_login = False
        return await self._conclude(outcome)

    async def _run(self, name: str, initial: bytes | None) -> Outcome:
        if name == EXTERNAL:  # RFC 4422 appendix A: an empty message, or the very name
            said = await self._ask(b"") if initial is None else initial
            if said.decode("utf-8", "replace") not in ("", self._by_certificate):
                raise Malformed
            return Outcome(Verdict.GOOD, self._by_certificate)
        outcome = await MECHANISMS[name](self._guard, self.client.address, initial, self._ask)
        if outcome.last and await self._ask(outcome.last):  # RFC 4954 has no room for data in the 235
            raise Malformed
        return outcome

    async def _ask(self, challenge: bytes) -> bytes:
        """Send a challenge and give the response. Raises _Refused, Dismissed."""
        self._say(Reply(334, "", base64.b64encode(challenge).decode()))
        self._reset_timeout(self.site.settings.idle_seconds)
        line = await self._line()
        self._reset_timeout(None)
        if not line:
            raise _Refused(TOO_LONG)
        return _decoded(self._body(line))

    async def _conclude(self, outcome: Outcome) -> Reply:
        """The reply to a login; a wrong one waits for it, longer each time. Raises Dismissed."""
        if outcome.verdict is Verdict.GOOD:
            self.client.user = outcome.user
            self._logged_in = True
            self._wrong = 0
            return WELCOME
        if outcome.verdict is Verdict.BUSY:
            return BUSY
        self._wrong += 1
        wrong = outcome.verdict is Verdict.WRONG
        if wrong:
            self._reset_timeout(None)
            await asyncio.sleep(self._guard.lockout.delay(self.client.address, self._wrong))
        if self._wrong >= self._guard.login.tries:
            raise Dismissed(TOO_MANY_WRONG)
        return WRONG if wrong else LOCKED_OUT


def _initial(text: str) -> bytes | None:
    """The initial response; `=` is an empty one (RFC 4954 section 4). Raises _Refused."""
    if not text:
        return None
    return b"" if text == "=" else _decoded(text.encode())


def _decoded(line: bytes) -> bytes:
    """A response without its base64. Raises _Refused."""
    if line == b"*":
        raise _Refused(CANCELLED)
    try:
        return base64.b64decode(line, validate=True)
    except binascii.Error:
        raise _Refused(MALFORMED) from None


def _is_xtext(value: str | None, longest: int) -> bool:
    """RFC 3461 section 4: decoded, printable ASCII only."""
    if not value or len(value) > 3 * longest or not value.isascii() or not _XTEXT.fullmatch(value):
        return False
    return _is_printable(value) and len(value) - 2 * value.count("+") <= longest


def _is_printable(xtext: str) -> bool:
    return all(0x20 <= int(code, 16) <= 0x7E for code in re.findall(r"\+([0-9A-F]{2})", xtext))


def _is_notify(value: str | None) -> bool:
    """RFC 3461 section 4.1."""
    words: Sequence[str] = (value or "").upper().split(",")
    if words == ["NEVER"]:
        return True
    return all(word in ("SUCCESS", "FAILURE", "DELAY") for word in words) and len(set(words)) == len(words)


def _is_mailbox(value: str | None) -> bool:
    """AUTH= of MAIL (RFC 4954 section 5): who wrote the mail first, or `<>`. It is checked, and not believed."""
    if value == "<>":
        return True
    if not _is_xtext(value, ORCPT_CHARS):
        return False
    assert value is not None
    try:
        read_address(re.sub(r"\+([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), value))
    except AddressError:
        return False
    return True
